"""`understudy ledger ...`: what a ledger holds, and what is done with it. Nothing is computed here.

LEDGER is a ledger.sqlite, or the folder of a run that holds one. Imports wait until a command runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from understudy.ledger.selection import Selection
    from understudy.types import Completion

DAMAGED = 1


@click.group()
def ledger() -> None:
    """Read, copy, clear and check what was paid for."""


_LEDGER = click.argument(
    "path",
    metavar="LEDGER",
    type=click.Path(path_type=Path),
    callback=lambda _context, _parameter, path: path / "ledger.sqlite" if path.is_dir() else path,
)


def _selected(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--errors", is_flag=True, help="Only records of why there is no answer."),
        click.option("--before", metavar="DATE", help="Only what was stored before, such as 2026-11-21."),
        click.option("--model", help="Only what this model answered."),
        click.option("--endpoint", help="Only what was answered there."),
        click.option("--run", help="Only what this run or step stored."),
    ):
        command = option(command)
    return command


def _selection(options: dict[str, Any]) -> Selection:
    from understudy.ledger.selection import Selection

    return Selection(**options)


@ledger.command()
@_LEDGER
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_selected
def ls(path: Path, as_json: bool, **options: Any) -> None:
    """Print what each model at each endpoint has answered."""
    from dataclasses import asdict

    from understudy.ledger.reading import summaries

    for summary in summaries(path, _selection(options)):
        if as_json:
            click.echo(json.dumps(asdict(summary)))
            continue
        unpriced = f" and {summary.unpriced:,} without a price" if summary.unpriced else ""
        click.echo(
            f"{summary.endpoint} {summary.model}\n"
            f"  {summary.completions:,} completions of {summary.questions:,} questions, "
            f"{summary.errors:,} errors\n"
            f"  {summary.prompt_tokens:,} prompt and {summary.completion_tokens:,} completion tokens, "
            f"{summary.usd or 0:.4f} USD{unpriced}\n"
            f"  {summary.first} to {summary.last}, runs: {', '.join(summary.runs)}"
        )


@ledger.command()
@_LEDGER
@click.argument("wanted", metavar="KEY|QUESTION_ID")
def show(path: Path, wanted: str) -> None:
    """Print everything about one completion, or about all of a question.

    A key may be cut after 6 digits.
    """
    from understudy.ledger.reading import find

    for entry in find(path, wanted):
        click.echo(json.dumps(entry, indent=2))


@ledger.command()
@_LEDGER
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@_selected
def export(path: Path, target: Path, **options: Any) -> None:
    """Write completions to FILE: JSON Lines, or Parquet by its name; - is the standard output."""
    from understudy.ledger.export import write_file, write_lines
    from understudy.ledger.reading import entries

    chosen = entries(path, _selection(options))
    if str(target) == "-":
        write_lines(chosen, sys.stdout)
    else:
        click.echo(f"{write_file(chosen, target):,} completions", err=True)


@ledger.command("import")
@_LEDGER
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--requests", type=click.Path(path_type=Path), help="The input file of a batch's output.")
@click.option("--endpoint", default="", help="Who answered, where FILES do not say it: the address asked.")
@click.option("--model", default="", help="The model, where FILES do not say it.")
@click.option("--revision", default="", help="The revision, where FILES do not say it.")
@click.option("--temperature", type=float, default=0.0, show_default=True)
@click.option("--top-p", type=float, default=1.0, show_default=True)
@click.option("--max-tokens", type=int, default=512, show_default=True)
@click.option("--stop", multiple=True)
@click.option("--seed", type=int)
@click.option("--run", default="import", show_default=True, help="What their rows say of the run.")
def import_(
    path: Path,
    files: Sequence[Path],
    requests: Path | None,
    endpoint: str,
    model: str,
    revision: str,
    run: str,
    **sampling: Any,
) -> None:
    """Take in generations that were paid for elsewhere, so that they count as paid.

    FILES: Fine-tune-CoT's completion data, curator's responses, batch outputs, exports, or JSON Lines with
    messages (or prompt, or question) and text (or output).
    """
    from understudy.ledger.importing import Origin, import_file
    from understudy.types import Sampling

    origin = Origin(endpoint, model, revision, Sampling(**sampling), run)
    for file in files:
        imported = import_file(file, path, origin, requests)
        click.echo(f"{file}: {imported.added:,} new, {imported.known:,} known")
        for reason, count in imported.skipped.items():
            click.echo(f"  {count:,} left out: {reason}")


@ledger.command()
@_LEDGER
@_selected
@click.option("--dry-run", is_flag=True, help="Only count.")
def gc(path: Path, dry_run: bool, **options: Any) -> None:
    """Drop what is selected; it would have to be paid for again."""
    from understudy.ledger.dropping import drop

    dropped = drop(path, _selection(options), dry_run=dry_run)
    click.echo(
        f"{'would drop' if dry_run else 'dropped'} {dropped.completions:,} completions, "
        f"{dropped.prompts:,} prompts and {dropped.replies:,} replies"
    )


@ledger.command()
@_LEDGER
@click.pass_context
def verify(context: click.Context, path: Path) -> None:
    """Check the file, every key and hash, and every row against the reply it was read from.

    The exit code is 1 if anything is wrong.
    """
    from understudy.ledger.verifying import problems

    wrong = 0
    for sentence in problems(path, _parse):
        click.echo(sentence)
        wrong += 1
    click.echo(f"{wrong:,} problems" if wrong else "whole")
    if wrong:
        context.exit(DAMAGED)


@ledger.command()
@_LEDGER
@_selected
def reparse(path: Path, **options: Any) -> None:
    """Read the replies that were kept once more, with today's parser; costs nothing."""
    from understudy.ledger import Ledger

    with Ledger(path) as opened:
        click.echo(f"{opened.reparse(_parse, _selection(options)):,} completions changed")


def _parse(raw: str, samples: tuple[int, ...]) -> Sequence[Completion]:
    """As the teachers read a reply today; nothing where no teacher knows its kind."""
    from understudy.teachers._messages import MessagesDialect
    from understudy.teachers._wire import OpenAIDialect
    from understudy.types import Question, Request

    nobody = Request(Question("", ""), (), samples)
    for dialect in (OpenAIDialect("", True, {}), MessagesDialect("", {})):
        read = dialect.read(200, {}, raw, nobody, samples)
        if isinstance(read, list):
            return read
    return ()
