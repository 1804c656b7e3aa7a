"""sweep.json's content as one page and as Markdown. Styles, drawings and tables are the report's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from understudy.report import plots
from understudy.report.markdown import _table, _text
from understudy.report.tables import ROLES
from understudy.sweep import drawing, listing

if TYPE_CHECKING:
    from jinja2 import Template

Content = dict[str, Any]


def html(content: Content) -> str:
    """The page for a sweep as `assemble` makes it or as sweep.json holds it."""
    return _template().render(sweep=content)


@cache
def _template() -> Template:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("understudy.sweep", "."), PackageLoader("understudy.report", ".")],
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(plots=plots, drawing=drawing, listing=listing, roles=ROLES)
    return environment.get_template("sweep.html.jinja")


def markdown(content: Content) -> str:
    """The whole file, ending in a newline. All text that came from elsewhere is escaped."""
    return "\n\n".join(part for part in _parts(content) if part) + "\n"


def _parts(content: Content) -> Iterator[str]:
    yield f"# {_text(content['title'])}"
    yield f"**{_text(content['headline'])}**"
    yield listing.CAVEAT
    for split in listing.splits(content):
        yield f"## Accuracy on {_text(split)}"
        yield _text(listing.asked(content, split))
        yield _table(listing.accuracies(content, split))
        yield f"### From one value to the next on {_text(split)}"
        yield _table(listing.comparisons(content, split))
        if drawing.cost_unit(content):
            yield f"### Price of a point on {_text(split)}"
            yield listing.PRICE_CAVEAT
            yield _table(listing.prices(content, split))
    yield "## What each variant cost"
    yield _table(listing.variants(content))
    yield _text(listing.paid(content))
    if content["notes"]:
        yield "## Notes"
        yield "\n".join(f"- {_text(note)}" for note in content["notes"])
