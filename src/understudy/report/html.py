"""report.json's content as one page: styles and drawings inside, no script, nothing fetched.

Model text is hostile: it reaches the page only through a template that escapes everything, and a
content policy in the page forbids scripts and requests besides.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from understudy.report import matrix, pairings, plots, scatter, scored, tables, wording
from understudy.report.headline import CAVEAT
from understudy.report.markdown import teacher_sentence

if TYPE_CHECKING:
    from jinja2 import Template


def html(report: dict[str, Any]) -> str:
    """The page for a report as `assemble` makes it or as report.json holds it."""
    return _template().render(report=report)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("understudy.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        tables=tables,
        pairings=pairings,
        matrix=matrix,
        scatter=scatter,
        scored=scored,
        plots=plots,
        wording=wording,
        caveat=CAVEAT,
        teacher_sentence=teacher_sentence,
        dump=_dump,
    )
    return environment.get_template("page.html.jinja")


def _dump(value: Any) -> str:
    """A recipe or manifest as YAML, in the order it was given."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
