"""The command line: parses, calls, prints. Nothing is computed here.

The catch: everything beyond click is imported inside the commands, so that `understudy --help` answers
at once. Results go to the standard output, progress and errors to the standard error.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from understudy import __version__
from understudy.errors import StoreError, TrainingError, UnderstudyError
from understudy.exchange_commands import compare, export
from understudy.ledger_commands import ledger

if TYPE_CHECKING:
    from understudy.distill import Outcome
    from understudy.recipe import Recipe
    from understudy.types import AnswerForm

DEMOS = ("arithmetic", "coin_flip", "last_letters")
FORMS = ("number", "choice", "boolean", "text", "letters", "list")
INTERRUPTED = 130


class _Commands(click.Group):
    """Turns what a user can mend into one sentence and an exit code; UNDERSTUDY_DEBUG=1 shows the rest."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (UnderstudyError, KeyboardInterrupt, OSError) as error:
            if os.environ.get("UNDERSTUDY_DEBUG") or getattr(error, "errno", None) == errno.EPIPE:
                raise  # click ends quietly when the reader of a pipe has gone
            _leave(context, error)


def _leave(context: click.Context, error: BaseException) -> NoReturn:
    if isinstance(error, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to continue", err=True)
        context.exit(INTERRUPTED)
    if isinstance(error, UnderstudyError):
        click.echo(f"error: {error}", err=True)
        context.exit(error.exit_code)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        sentence = "the disk is full; free some space and run the same command again, what was done is kept"
    elif isinstance(error, OSError) and error.filename:
        sentence = f"{error.filename}: {error.strerror}"
    else:
        sentence = " ".join(str(error).split())
    click.echo(f"error: {sentence}", err=True)
    context.exit(StoreError.exit_code)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="understudy")
def main() -> None:
    """Teach a small language model to reason the way a large one does, and prove whether it did.

    Start with `understudy demo`. A recipe's keys can be changed on the command line: key=value, such
    as train.budget.amount=3 or methods.1.label=mine.
    """


def _out(command: Any) -> Any:
    return click.option(
        "--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/<recipe's name>]"
    )(command)


main.add_command(compare)
main.add_command(export)
main.add_command(ledger)

_RECIPE = click.argument("recipe", type=click.Path(path_type=Path))
_OVERRIDES = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)


@main.command()
@click.option("--task", type=click.Choice(DEMOS), default="arithmetic", show_default=True)
@_out
@_OVERRIDES
def demo(task: str, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Run the whole path offline, in minutes.

    Trains a teacher, lets it annotate, trains students by every method, and reports.
    """
    from understudy.recipe import builtin, parse_recipe

    name = f"demo_{task}"
    _run(parse_recipe(builtin(name), f"{name}.yaml", overrides), out)


@main.command()
@_RECIPE
@_out
@click.option("--dry-run", is_flag=True, help="Do as `plan` does: spend nothing.")
@_OVERRIDES
def run(recipe: Path, out: Path | None, dry_run: bool, overrides: tuple[str, ...]) -> None:
    """Run RECIPE to its report; what is done is not done again."""
    from understudy.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    if dry_run:
        _plan(loaded, out, pilot=0)
    else:
        _run(loaded, out)


@main.command()
@_RECIPE
@_out
@click.option(
    "--pilot",
    type=click.IntRange(min=0),
    default=0,
    metavar="K",
    help="First ask the teacher K questions, and pay for them, to estimate what the others will cost.",
)
@_OVERRIDES
def plan(recipe: Path, out: Path | None, pilot: int, overrides: tuple[str, ...]) -> None:
    """Print the steps of RECIPE, its price and what would be lost.

    Each step comes with its hash and whether it is done. Spends nothing and writes nothing, unless there is
    a pilot.
    """
    from understudy.recipe import load_recipe

    _plan(load_recipe(recipe, overrides), out, pilot)


def _plan(recipe: Recipe, out: Path | None, pilot: int) -> None:
    from understudy import costing, distill, sizing
    from understudy.console import output, print_sections
    from understudy.preflight import preflight

    folder = _folder(recipe, out)
    steps = distill.plan(recipe, folder)
    for step in steps:
        click.echo(f"{'done' if step.done else 'to do':<5}  {step.hash[:12]}  {step.title}")
    done = sum(step.done for step in steps)
    click.echo(f"{done} of {len(steps)} steps are done; a run would do {len(steps) - done}.")
    for line in costing.lines(costing.costs(recipe, folder, pilot)):
        click.echo(line)
    for line in sizing.lines(recipe):
        click.echo(line)
    try:
        section = preflight(recipe, folder)
    except TrainingError as error:
        click.echo(f"The tokenizers are not checked: {error}")
        return
    if section is None:
        click.echo("The tokenizers are not checked: the questions are on the Hub and not prepared yet.")
    else:
        print_sections(output(), [section])


@main.command()
@_RECIPE
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the sweep.  [default: runs/<recipe's name>-sweep]",
)
@click.option("--dry-run", is_flag=True, help="Print the steps and the price of what is left: spend nothing.")
@click.option("--other-questions", is_flag=True, help="Let an axis change which questions are evaluated.")
@click.option(
    "-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A key that is the same everywhere."
)
@click.argument("axes", metavar="KEY=VALUE,VALUE...", nargs=-1, required=True)
def sweep(
    recipe: Path,
    out: Path | None,
    dry_run: bool,
    other_questions: bool,
    overrides: tuple[str, ...],
    axes: tuple[str, ...],
) -> None:
    """Run RECIPE at several values of one key or two.

    Such as data.train=250,500,1000. Shares every step that can be shared, and writes one report of all.
    questions=0.04,0.2,1 gives shares of the training questions; rationales=1,2,4 is short for sampling.n.
    """
    from understudy import costing
    from understudy import sweep as sweeps
    from understudy.console import watching

    if dry_run:
        found, folder = sweeps.load(recipe, axes, out, overrides, other_questions)
        steps = sweeps.plan(found, folder)
        for step in steps:
            state, users = "done" if step.done else "to do", f"{step.variants} of {len(found.variants)}"
            click.echo(f"{state:<5}  {step.hash[:12]}  {users:<8}  {step.title}")
        done = sum(step.done for step in steps)
        click.echo(f"{done} of {len(steps)} steps are done; a sweep would do {len(steps) - done}.")
        for line in costing.lines(sweeps.estimates(found, folder)):
            click.echo(line)
        return
    with watching() as listen:
        found, folder = sweeps.load(recipe, axes, out, overrides, other_questions, listen)
        outcome = sweeps.run(found, folder, listen)
    if not outcome.ran:
        click.echo(f"nothing to do: all {outcome.reused} steps were already done")
    for line in outcome.lines():
        click.echo(line)
    click.echo(f"report: {outcome.html}")


@main.command("list")
@click.argument("shelf", required=False)
def list_shelves(shelf: str | None) -> None:
    """List what stands on every shelf, or on one SHELF.

    The shelves are tasks, teachers, methods, students and metrics.
    """
    from understudy import catalogue

    for line in catalogue.listing(shelf):
        click.echo(line)


@main.command()
@click.argument("name", metavar="[SHELF/]NAME")
def show(name: str) -> None:
    """Show one thing: what it is, and its keys or splits."""
    from understudy import catalogue

    for line in catalogue.description(name):
        click.echo(line)


@main.command()
@click.option("--task", help="Judge as this task does.")
@click.option("--form", type=click.Choice(FORMS), help="Judge answers of this form.")
@click.option("--json", "as_json", is_flag=True, help="Print every row's reading as JSON.")
@click.option("--disagreements", is_flag=True, help="List the rows that the strict reading judges otherwise.")
@click.argument("file", type=click.Path(path_type=Path))
def judge(task: str | None, form: AnswerForm | None, as_json: bool, disagreements: bool, file: Path) -> None:
    """Judge the model outputs in FILE.

    Each line is a JSON object {output, gold[, choices][, finish_reason]}.
    """
    if (task is None) == (form is None):
        raise click.UsageError("give either --task or --form")
    from understudy import judging, shelves

    rows = judging.judge_file(file, form or shelves.load("tasks", str(task)).form)
    if as_json:
        click.echo(json.dumps(judging.as_json(rows), ensure_ascii=False))
        return
    from understudy.console import counts_table, disagreements_table, output

    apart = judging.disagreements(rows)
    output().print(counts_table(judging.summary(rows), judging.strict_summary(rows)))
    click.echo(f"the two readings disagree on {len(apart)} of {len(rows)} rows")
    if disagreements and apart:
        output().print(disagreements_table(apart))


@main.command()
@click.option("--task", help="Judge a file's answers as this task does.")
@click.option("--form", type=click.Choice(FORMS), help="Judge a file's answers as of this form.")
@click.option("--json", "as_json", is_flag=True, help="Print every part with its raw numbers as JSON.")
@click.argument("what", metavar="RUN|FILE", type=click.Path(path_type=Path))
@_OVERRIDES
def audit(
    task: str | None, form: AnswerForm | None, as_json: bool, what: Path, overrides: tuple[str, ...]
) -> None:
    """Audit the data and rationales of RUN, or a FILE.

    RUN is the folder of a run; keys such as audit.reader=lexical may be changed, and the findings enter
    its report. Each line of FILE is a JSON object {question, output, gold[, choices]}.
    """
    from understudy import auditing
    from understudy.console import output, print_sections

    if what.is_dir():
        if task or form:
            raise click.UsageError("--task and --form are for a file; a run knows its own")
        found = auditing.audit_folder(what, overrides)
    else:
        if overrides:
            raise click.UsageError("KEY=VALUE is for a run; a file has no recipe")
        found = auditing.audit_file(what, task, form)
    if as_json:
        click.echo(json.dumps([asdict(section) for section in found], ensure_ascii=False, indent=2))
        return
    print_sections(output(), found)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write the report of the run in FOLDER again, and show it."""
    from understudy import distill

    _print(distill.report(folder))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Look at this machine: versions, devices, keys, caches, Hub."""
    from understudy import doctor as house_call

    findings = house_call.examine()
    if as_json:
        click.echo(json.dumps(findings, indent=2))
        return
    for line in house_call.lines(findings):
        click.echo(line)


def _folder(recipe: Recipe, out: Path | None) -> Path:
    return out or Path("runs") / recipe.name


def _run(recipe: Recipe, out: Path | None) -> None:
    from understudy import distill
    from understudy.console import watching

    with watching() as listen:
        outcome = distill.run(recipe, _folder(recipe, out), listen)
    if not outcome.ran:
        click.echo(f"nothing to do: all {outcome.reused} steps were already done")
    _print(outcome)


def _print(outcome: Outcome) -> None:
    from understudy.console import output, results_table

    output().print(results_table(outcome.report))
    headline = outcome.report.get("headline")
    if headline:
        click.echo(headline)
    click.echo(f"report: {outcome.html}")
