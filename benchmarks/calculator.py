"""What the calculator mends, and which rationales have a program: `python benchmarks/calculator.py [--write]`

Two tables for docs/calculator.md: the accuracy of recorded outputs before and after the calculator, with the
exact test of the change; and the share of right rationales that `checks.program` makes a program of. Needs
the shared collections, see known_verdicts.py. The catch: OpenAI's four models had a calculator of their own
while they wrote, which filled in what stands between << and >>, so little is left to mend. GPT-3.5 had none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import known_verdicts
from known_verdicts import Group, records
from understudy import answers, shelves
from understudy.checks.calculator import calculate
from understudy.checks.program import program_of, run
from understudy.roles import Source, Task
from understudy.statistics import mcnemar_exact, wilson

PAGE = Path(__file__).resolve().parents[1] / "docs" / "calculator.md"
NEEDED = ("gsm8k_openai_model_solutions", "llm_adapters_gpt35_cot", "gsm8k", "eit_cot_distill")
TEACHERS = ("gsm8k_llama_level1", "gsm8k_llama_level2", "gsm8k_gemini_level1", "gsm8k_gemini_level2")
NAMES = {"gsm8k_llama": "Llama-3-70B", "gsm8k_gemini": "Gemini-1.5-Flash"}


def share(count: int, n: int) -> str:
    low, high = wilson(count, n)
    return f"{100 * count / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


# ---------------------------------------------------------------- outputs before and after


def table(groups: Sequence[tuple[str, Group]]) -> Iterator[str]:
    yield "| outputs | n | accuracy, % | with calculator, % | mended | broken | p | texts changed |"
    yield "|---|---|---|---|---|---|---|---|"
    for title, group in groups:
        yield line(title, group)


def line(title: str, group: Group) -> str:
    """One group's line; the judge reads both columns, and the p-value is McNemar's exact one."""
    after = [calculate(row.output) for row in group.rows]
    right = [
        [answers.judge(text, row.gold, "number").name == "correct" for text, row in rows]
        for rows in (
            [(row.output, row) for row in group.rows],
            list(zip(after, group.rows, strict=True)),
        )
    ]
    n, test = len(group.rows), mcnemar_exact(right[1], right[0])
    changed = sum(text != row.output for text, row in zip(after, group.rows, strict=True))
    p = "< 0.0001" if test.p_value < 0.0001 else f"{test.p_value:.4f}"
    shares = " | ".join(share(sum(arm), n) for arm in right)
    return f"| {title} | {n:,} | {shares} | {test.only_a} | {test.only_b} | {p} | {changed:,} |"


def outputs(folder: Path) -> list[tuple[str, Group]]:
    openai = [(f"GSM8K, OpenAI {group.name}", group) for group in known_verdicts.openai(folder)]
    chains = [group for group in known_verdicts.llm_adapters(folder) if group.form == "number"]
    return openai + [(f"{group.name}, GPT-3.5", group) for group in chains]


# ---------------------------------------------------------------- programs


def programs(folder: Path) -> Iterator[str]:
    yield "| rationales | n | with a program, % |"
    yield "|---|---|---|"
    for task, source in (("arithmetic", Source()), ("gsm8k", Source(path=str(folder / "gsm8k")))):
        loaded: Task = shelves.load("tasks", task)
        for split in loaded.splits:
            questions = loaded.load(split, source)
            yield counted(f"{task}, {split}", [(q.rationale, q.answer, q.text) for q in questions])
    gold = {row["instruction"]: row["output"].strip() for row in records(golds(folder))}
    for name in TEACHERS:
        rows = records(folder / "eit_cot_distill" / f"{name}_ranked.json.gz")
        teacher, _, level = name.rpartition("_level")
        right = [
            (answers.reasoning(row["output"], "number"), gold[row["instruction"]], row["instruction"])
            for row in rows
            if row["instruction"] in gold
            and answers.judge(row["output"], gold[row["instruction"]], "number").name == "correct"
        ]
        yield counted(f"gsm8k, {NAMES[teacher]}, level {level} of detail, right ones", right)


def golds(folder: Path) -> Path:
    return folder / "eit_cot_distill" / "gsm_train_onlyans.json.gz"


def counted(title: str, rationales: Sequence[tuple[str, str, str]]) -> str:
    return f"| {title} | {len(rationales):,} | {share(sum(map(has_program, rationales)), len(rationales))} |"


def has_program(rationale: tuple[str, str, str]) -> bool:
    """Whether there is one; that it runs and comes to the answer is looked at again."""
    program = program_of(*rationale)
    if program is None:
        return False
    outcome = run(program)
    if outcome is None or outcome.value is None:
        raise click.ClickException(f"this program does not run: {program}")
    return True


# ---------------------------------------------------------------- the page


def put(marker: str, text: str, into: str) -> str:
    """`into` with `text` between the two marks of `marker`, whatever stood there before."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(into):
        raise click.ClickException(f"docs/calculator.md has no {begin} ... {end}; put the two marks there")
    return pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", into)


@click.command()
@click.option("--write", is_flag=True, help="Put the tables into docs/calculator.md.")
def main(write: bool) -> None:
    """Measure the calculator and the programs on recorded texts."""
    folder = known_verdicts.root(*NEEDED)
    pages = {"calculator": table(outputs(folder)), "programs": programs(folder)}
    for marker, lines in pages.items():
        text = "\n".join(lines)
        click.echo(f"{text}\n")
        if write:
            PAGE.write_text(put(marker, text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
