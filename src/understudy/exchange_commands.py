"""`understudy compare` and `understudy export ...`: what goes to and comes from other evaluation tools.

Nothing is computed here. Imports wait until a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from understudy.types import AnswerForm

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--method", "methods", multiple=True, metavar="M", help="Arm: method[/student[/seed]]; twice: A's, B's."
)
@click.option("--split", default="", help="Split of a run that evaluates several.")
@click.option("--filter", "filter_", default="", help="Filter of the harness, or scorer of inspect_ai.")
@click.option("--metric", default="", help="Metric of the harness that says what is right.")
@click.option("--strict", is_flag=True, help="Judge our texts by the strict reading.")
@click.option("--judge", is_flag=True, help="Also judge their texts with our judge.")
@click.option(
    "--form",
    type=click.Choice(("number", "choice", "boolean", "text", "letters", "list")),
    help="What answers look like, for --judge where no side tells.",
)
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Also write the raw numbers.")
@click.option("--markdown", "markdown_file", type=_FILE, metavar="FILE", help="Also write a page.")
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
def compare(
    a: Path,
    b: Path,
    methods: tuple[str, ...],
    split: str,
    filter_: str,
    metric: str,
    strict: bool,
    judge: bool,
    form: AnswerForm | None,
    json_file: Path | None,
    markdown_file: Path | None,
) -> None:
    """Compare A and B, question by question.

    Each is the folder of a run, a samples_*.jsonl of lm-evaluation-harness or the folder that holds it, or a
    JSON log of inspect_ai.
    """
    from understudy.comparing import command, wording
    from understudy.store import write_text

    wanted = command.Wanted(methods, split, filter_, metric, strict, judge, form)
    found = command.comparisons(a, b, wanted)
    for line in wording.lines(found):
        click.echo(line)
    if json_file:
        write_text(json_file, command.as_json(found))
    if markdown_file:
        write_text(markdown_file, wording.markdown(found) + "\n")


@click.group()
def export() -> None:
    """Hand questions and prompts to other tools."""


@export.command("lm-eval")
@click.option(
    "--method", "methods", multiple=True, metavar="M", help="Only this method's prompts; may be repeated."
)
@click.option("--split", default="", help="Only this split.")
@click.option(
    "--scoring", is_flag=True, help="Let it score the options of a question instead of reading texts."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the tasks.")
@click.argument("what", metavar="RECIPE|TASK")
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
def lm_eval(
    what: str, overrides: tuple[str, ...], methods: tuple[str, ...], split: str, scoring: bool, out: Path
) -> None:
    """Write tasks for lm-evaluation-harness."""
    from understudy.exchange.lm_eval import export as written

    done = written(what, out, methods, split, overrides, scoring=scoring)
    for one in done:
        click.echo(f"{one.name}: {one.n:,} questions in {one.path}")
    click.echo(
        f"lm_eval run --model hf --model_args pretrained=FOLDER --tasks {','.join(one.name for one in done)} "
        f"--include_path {out} --log_samples --output_path results"
    )
