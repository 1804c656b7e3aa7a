"""Does the judge give the verdicts that others have recorded? `python benchmarks/conformance.py [--write]`

Runs what `understudy judge` runs over the four collections of known_verdicts.py, prints a page of tables and
puts it into docs/judge.md with --write. It exits with 1 when a collection falls short of its bar, or when
our verdict differs from a recorded one and nobody has written into hand_judgements.py who is right.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

import known_verdicts
from conformance_tables import Collection, Compared, Section, accuracies, right_for_the_wrong_reason, verdicts
from known_verdicts import Group
from understudy.judging import judge_file

PAGE = Path(__file__).resolve().parents[1] / "docs" / "judge.md"
BEGIN, END = "<!-- conformance -->", "<!-- /conformance -->"
STYLES = {"reasoned": "cot", "direct": "direct"}
COLLECTIONS = (
    Collection(
        "openai", "GSM8K, four models of OpenAI", known_verdicts.openai, 1.0, "model", "authors: right"
    ),
    Collection(
        "llm_adapters",
        "GPT-3.5 chains, LLM-Adapters",
        known_verdicts.llm_adapters,
        0.995,
        "data set",
        "authors: right",
        "by `pred == answer`",
    ),
    Collection(
        "mr_gsm8k",
        "MR-GSM8K",
        known_verdicts.mr_gsm8k,
        0.98,
        "question",
        "people: answer right",
        "reasoning right",
    ),
)


def compare(group: Group) -> Compared:
    """Judge a group's outputs as the command would: from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outputs.jsonl"
        fields = ({"output": row.output, "gold": row.gold, "choices": row.choices} for row in group.rows)
        path.write_text("".join(json.dumps(row) + "\n" for row in fields), encoding="utf-8")
        return Compared(group, tuple(row.verdict for row in judge_file(path, group.form)))


# ---------------------------------------------------------------- the page


def sections(folder: Path) -> list[tuple[str, Section]]:
    """Every collection of `folder` with its title."""
    styles = {
        name: [compare(group) for group in known_verdicts.bbh(folder, style)]
        for name, style in STYLES.items()
    }
    found = [("BIG-Bench Hard", accuracies("BIG-Bench Hard", styles))]
    for collection in COLLECTIONS:
        compared = [compare(group) for group in collection.load(folder)]
        section = verdicts(collection, compared)
        if collection.name == "mr_gsm8k":
            note = right_for_the_wrong_reason(compared)
            section = Section(section.summary, (*section.lines, "", note), section.shortfalls)
        found.append((collection.title, section))
    return found


def page(found: Sequence[tuple[str, Section]]) -> str:
    """The text between the markers of docs/judge.md."""
    lines = [
        "Verdicts of this judge beside those that others have recorded. Written by",
        "`python benchmarks/conformance.py --write`, which needs the four collections on disk.",
        "",
        "| collection | outputs | agreement | bar | no answer | strict reading differs |",
        "|---|---|---|---|---|---|",
        *(line for _, section in found for line in section.summary),
    ]
    for title, section in found:
        lines += ["", f"### {title}", "", *section.lines]
    return "\n".join(lines)


def put(text: str, into: str) -> str:
    """`into` with `text` between its two markers, whatever stood there before."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(into):
        raise click.ClickException(f"docs/judge.md has no {BEGIN} ... {END}; put the two markers there")
    return pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", into)


@click.command()
@click.option("--write", is_flag=True, help="Put the page into docs/judge.md.")
def main(write: bool) -> None:
    """Compare the judge's verdicts with recorded ones."""
    folder = known_verdicts.root(*known_verdicts.FOLDERS)
    found = sections(folder)
    click.echo(page(found))
    if write:
        PAGE.write_text(put(page(found), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    shortfalls = [line for _, section in found for line in section.shortfalls]
    for line in shortfalls:
        click.echo(f"short: {line}", err=True)
    sys.exit(bool(shortfalls))


if __name__ == "__main__":
    main()
