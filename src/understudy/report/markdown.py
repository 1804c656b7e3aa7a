"""report.json's content as GitHub Markdown: the page's key tables, for a pull request or a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.report import pairings, tables
from understudy.report.headline import CAVEAT
from understudy.report.matrix import Matrix, matrices
from understudy.report.tables import Table
from understudy.report.wording import count, percent, percent_range

MATRIX = (
    "The best first. Right of the diagonal: points by which the row is better than the column; left of it: "
    "the adjusted p of the same pair. Bold where it is below 0.05."
)


def markdown(report: dict[str, Any]) -> str:
    """The whole file, ending in a newline. All text that came from elsewhere is escaped."""
    return "\n\n".join(part for part in _parts(report) if part) + "\n"


def _parts(report: dict[str, Any]) -> Iterator[str]:
    yield f"# {_text(report['title'])}"
    yield f"**{_text(report['headline'])}**"
    yield "\n".join(f"- {_text(finding)}" for finding in report["findings"])
    yield CAVEAT
    for split in tables.splits(report):
        yield from _split(report, split)
    yield from _training(report)
    yield from _origins(report)
    yield from audit(report["audit"])
    if report["notes"]:
        yield "## Notes"
        yield "\n".join(f"- {_text(note)}" for note in report["notes"])


def _split(report: dict[str, Any], split: str) -> Iterator[str]:
    yield f"## Results on {_text(split)}"
    yield _table(tables.results(report, split))
    yield _noted(report, split)
    yield _table(tables.seeds(report, split))
    steps = tables.by_steps(report, split)
    if steps.lines:
        yield f"### Accuracy by number of steps on {_text(split)}"
        yield _table(steps)
    yield from _costs(report, split)
    found = matrices(report, split)
    pairs = pairings.against_controls(report, split)
    others = pairings.other_pairs(report, split)
    if pairs or others:
        yield f"### Paired comparisons on {_text(split)}"
        yield pairings.caption(report)
        yield _table(pairings.comparisons(report, pairs if found else [*pairs, *others]))
    for matrix in found:
        yield f"### Every method against every other on {_text(split)}: {_text(matrix.student)}"
        yield f"{MATRIX} {matrix.summary}"
        yield _matrix(matrix)


def _costs(report: dict[str, Any], split: str) -> Iterator[str]:
    yield f"### Accuracy and what it costs on {_text(split)}"
    yield tables.COSTS
    yield _table(tables.costs(report, split))
    lengths = tables.by_length(report, split)
    if lengths.lines:
        yield f"### Accuracy by length of the answer on {_text(split)}"
        yield tables.LENGTHS
        yield _table(lengths)


def _matrix(matrix: Matrix) -> str:
    """The compact form: columns are numbered like the rows, and intervals and p are left to the page."""
    heads = ["", "accuracy", *(str(number) for number in range(1, len(matrix.standings) + 1))]
    rows = [
        [
            f"{number} {_text(standing.method)}",
            standing.accuracy,
            *(f"**{_text(cell.text)}**" if cell.significant else _text(cell.text) for cell in standing.cells),
        ]
        for number, standing in enumerate(matrix.standings, 1)
    ]
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, rule, *rows])


def _noted(report: dict[str, Any], split: str) -> str:
    noted = [row for row in tables.rows_of(report, split) if row["note"]]
    return "\n".join(f"- {_text(tables.label(report, row))}: {_text(row['note'])}" for row in noted)


def _training(report: dict[str, Any]) -> Iterator[str]:
    table = tables.training(report)
    if table.lines or report["students"]:
        yield "## Training"
        yield "\n".join(f"- {_text(name)}: {_text(what)}" for name, what in report["students"].items())
        yield _table(table)


def _origins(report: dict[str, Any]) -> Iterator[str]:
    teacher, curation = report["teacher"], report["curation"]
    if teacher.get("name") or teacher["accuracy"] is not None:
        yield "## Teacher and curation"
        yield _text(teacher_sentence(teacher))
    if curation["annotated"]:
        yield _table(tables.drops(report))
    if report["spending"]:
        yield "What was bought from teachers:"
        yield _table(tables.spending(report))


def audit(sections: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each part of an audit under its heading: what it found, then its table."""
    if sections:
        yield "## Audit of the data and rationales"
    for section in sections:
        yield f"### {_text(section['title'])}"
        yield "\n".join(f"- {_text(sentence)}" for sentence in section["sentences"])
        yield _table(tables.audited(section))


def teacher_sentence(teacher: dict[str, Any]) -> str:
    """Who taught, how good it was, and whether it was shown the answers."""
    name, model = (str(teacher.get(key) or "") for key in ("name", "model"))
    who = f"{name} ({model})" if name and model else name or model or "not named"
    parts = [f"Teacher: {who}."]
    if teacher["accuracy"] is not None:
        interval = percent_range(teacher.get("interval"))
        on = f" on {teacher['on']}" if teacher.get("on") else ""
        n = f" (n = {count(teacher['n'])})" if teacher.get("n") else ""
        parts.append(
            f"Its accuracy{on}: {' '.join(filter(None, [percent(teacher['accuracy']), interval]))}{n}."
        )
    if teacher.get("shown_answer"):
        parts.append(
            "It was shown the gold answer, so its accuracy says little and the filter lets more pass."
        )
    return " ".join(parts)


def _table(table: Table) -> str:
    if not table.lines:
        return ""
    rows = [(_name(line), *line.cells) for line in table.lines]
    rule = " | ".join(["---", *["---:"] * (len(table.heads) - 1)])
    body = [" | ".join(_text(cell) for cell in row) for row in [table.heads, *rows]]
    return "\n".join(f"| {line} |" for line in [body[0], rule, *body[1:]])


def _name(line: tables.Line) -> str:
    return f"{line.label} ({line.role})" if line.role and line.role not in line.label else line.label


def _text(text: object) -> str:
    """Text that cannot end a cell, start a link, a code span or a tag."""
    flat = " ".join(str(text).split())
    for mark, safe in (
        ("\\", "\\\\"),
        ("&", "&amp;"),
        ("<", "&lt;"),
        ("|", "\\|"),
        ("`", "\\`"),
        ("*", "\\*"),
    ):
        flat = flat.replace(mark, safe)
    return flat.replace("](", "]\\(")
