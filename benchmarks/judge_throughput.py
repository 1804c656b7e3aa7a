"""How fast the judge is, and how well it and its peers agree with recorded verdicts on the same rows.

    python benchmarks/judge_throughput.py

Rates are completions a second of processor time on one core, with both readings and the reason of every
verdict: in the first round, and in the best of five, when golds and options have been read before. The peers
are math-verify and lm-evaluation-harness's own GSM8K filters; the latter takes part where it is installed
beside this project (`pip install lm-eval`). The catch: math-verify evaluates what it reads, so it is given
recorded outputs only, never the hostile texts.
"""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

import known_verdicts
from known_verdicts import Group, Known
from understudy import answers
from understudy.types import AnswerForm

ROUNDS = 5
PEER_ROUNDS = 2
"""Peers are up to a hundred times slower, and one round of theirs is long enough to be steady."""
ROWS = 2000
MEGABYTE = 1_000_000
HOSTILE = (
    *("9", "1,", "1/", "-", " ", "\n", "**", "{", "(A", "A or ", "\\boxed{", "\\frac{1", "<answer>", "#### "),
    *("the answer is ", "The answer is 1. ", "\nQ: a", "not ", "one hundred ", "0123456789abcdef", "é½"),
)

Reader = Callable[[str, str], bool]
"""(text, gold) -> whether the text is right."""


# ---------------------------------------------------------------- texts


def number_groups(folder: Path) -> list[Group]:
    """Chains of thought in prose by three models, and what small fine-tuned models write."""
    gold = _golds(folder, "gsm_train_onlyans")
    return [
        *(group for group in known_verdicts.llm_adapters(folder) if group.name == "gsm8k"),
        _chains(folder, "gsm8k_llama_level2_ranked", "number", gold),
        _chains(folder, "gsm8k_gemini_level2_ranked", "number", gold),
        known_verdicts.openai(folder)[0],
    ]


def other_groups(folder: Path) -> list[Group]:
    """Chains that choose among options, and bare statements of an answer."""
    gold = _golds(folder, "openbookQA_onlyans")
    bare = [
        Known(row.key, "", answers.write(row.gold, "number"), row.gold, None)
        for row in known_verdicts.openai(folder)[0].rows
    ]
    return [
        _chains(folder, "obqa_llama_level3_ranked", "choice", gold),
        _chains(folder, "openbookQA_ChatGPT_0_shot_without_gt_ranked", "choice", gold),
        Group("bare statements", "number", tuple(bare)),
    ]


def _golds(folder: Path, name: str) -> dict[str, str]:
    records = known_verdicts.records(folder / "eit_cot_distill" / f"{name}.json.gz")
    return {row["instruction"]: row["output"] for row in records}


def _chains(folder: Path, name: str, form: AnswerForm, gold: dict[str, str]) -> Group:
    records = known_verdicts.records(folder / "eit_cot_distill" / f"{name}.json.gz")
    return Group(
        name.removesuffix("_ranked"),
        form,
        tuple(
            Known("", row["instruction"], row["output"], gold[row["instruction"]], None, choices=choices)
            for row in records
            if row["instruction"] in gold and (choices := _options(row["instruction"], form)) is not None
        )[:ROWS],
    )


def _options(question: str, form: AnswerForm) -> tuple[str, ...]:
    if form != "choice":
        return ()
    return tuple(option.rstrip(", ") for option in re.split(r"[ ,][A-H]: ", question)[1:])


# ---------------------------------------------------------------- peers


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    right: Reader


def math_verify_reader() -> Peer:
    """math-verify as its page says: parse both texts, verify one against the other."""
    from math_verify import parse, verify

    return Peer("math-verify", lambda text, gold: bool(verify(parse(gold), parse(text))))


def lm_eval_readers() -> list[Peer]:
    """The filters and the metric of its own GSM8K tasks; none where it is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        return []
    peers: dict[str, Peer] = {}
    for task in ("gsm8k", "gsm8k-cot"):
        path = importlib.resources.files("lm_eval") / "tasks" / "gsm8k" / f"{task}.yaml"
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        for pipeline in config["filter_list"]:
            settings = pipeline["filter"][0]
            peer = Peer(
                f"lm-eval {task} {pipeline['name']}", _lm_eval_reader(settings, config["metric_list"][0])
            )
            peers.setdefault(settings["regex_pattern"], peer)  # both tasks have the same flexible filter
    return list(peers.values())


def _lm_eval_reader(settings: dict[str, Any], metric: dict[str, Any]) -> Reader:
    filters = importlib.import_module("lm_eval.filters.extraction")
    exact_match = importlib.import_module("lm_eval.api.metrics").exact_match_fn
    extract = filters.RegexFilter(**{key: value for key, value in settings.items() if key != "function"})
    how = {key: metric[key] for key in ("regexes_to_ignore", "ignore_case", "ignore_punctuation")}

    def right(text: str, gold: str) -> bool:
        ((found,),) = extract.apply([[text]], [{}])
        return bool(exact_match(predictions=[found], references=[gold], **how)["exact_match"])

    return right


def ours(text: str, gold: str) -> bool:
    return answers.judge(text, gold, "number").name == "correct"


def ours_strict(text: str, gold: str) -> bool:
    return answers.judge(text, gold, "number").strict == "correct"


# ---------------------------------------------------------------- measuring


def rates(judge_all: Callable[[], object], count: int, rounds: int) -> list[float]:
    """Completions a second of processor time, round by round."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        judge_all()
        found.append(count / (time.process_time() - began))
    return found


def our_rates(group: Group) -> list[float]:
    def judge_all() -> None:
        for row in group.rows:
            answers.judge(row.output, row.gold, group.form, row.choices)

    return rates(judge_all, len(group.rows), ROUNDS)


def peer_rate(peer: Peer, group: Group) -> float:
    def judge_all() -> None:
        for row in group.rows:
            peer.right(row.output, row.gold)

    return max(rates(judge_all, len(group.rows), PEER_ROUNDS))


def hostile_seconds() -> dict[str, float]:
    """The seconds of a megabyte of each unit, the slower of two forms."""
    return {unit: _seconds("The answer is " + unit * (MEGABYTE // len(unit))) for unit in HOSTILE}


def _seconds(text: str) -> float:
    began = time.process_time()
    answers.judge(text, "18", "number")
    middle = time.process_time()
    answers.judge(text, "B", "choice", ("cat", "dog"))
    return max(middle - began, time.process_time() - middle)


# ---------------------------------------------------------------- the tables


def speed_lines(folder: Path, peers: Sequence[Peer]) -> list[str]:
    lines = [
        _cells(
            "texts", "form", "n", "characters", "first/s", "best/s", *(f"{p.name}/s (ours x)" for p in peers)
        ),
        "|---" * (6 + len(peers)) + "|",
    ]
    for group in number_groups(folder):
        mine = our_rates(group)
        theirs = [peer_rate(peer, group) for peer in peers]
        lines.append(
            _speed_line(group, mine, *(f"{their:,.0f} ({max(mine) / their:.1f})" for their in theirs))
        )
    for group in other_groups(folder):
        lines.append(_speed_line(group, our_rates(group), *("" for _ in peers)))
    return lines


def _speed_line(group: Group, mine: Sequence[float], *rest: str) -> str:
    characters = sum(len(row.output) for row in group.rows) // len(group.rows)
    cells = (group.name, group.form, len(group.rows), characters, f"{mine[0]:,.0f}", f"{max(mine):,.0f}")
    return _cells(*cells, *rest)


def agreement_lines(folder: Path, peers: Sequence[Peer]) -> list[str]:
    """How many of the recorded verdicts each reader comes to. Golds are given in their shortest form."""
    readers = [Peer("ours", ours), Peer("ours, strict", ours_strict), *peers]
    sets = {
        "openai": [row for group in known_verdicts.openai(folder) for row in group.rows],
        "llm_adapters": [
            row
            for group in known_verdicts.llm_adapters(folder)
            if group.form == "number"
            for row in group.rows
        ],
        "mr_gsm8k": [
            row for group in known_verdicts.mr_gsm8k(folder) if group.name != "program" for row in group.rows
        ],
    }
    lines = [
        _cells("reader", *(f"{name}, n = {len(rows):,}" for name, rows in sets.items())),
        "|---|---|---|",
    ]
    for reader in readers:
        lines.append(_cells(reader.name, *(agreement(reader, rows) for rows in sets.values())))
    return lines


def agreement(reader: Peer, rows: Sequence[Known]) -> str:
    agree = sum(
        reader.right(row.output, answers.canonical(row.gold, "number") or "") == row.theirs for row in rows
    )
    return f"{agree:,} ({100 * agree / len(rows):.2f} %)"


def _cells(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


@click.command()
def main() -> None:
    """Measure the judge and its peers."""
    folder = known_verdicts.root(*known_verdicts.FOLDERS, "eit_cot_distill")
    filters = lm_eval_readers()
    click.echo(f"Python {platform.python_version()}, {platform.machine()}, one core, processor time\n")
    if not filters:
        click.echo("lm-evaluation-harness is not installed here and takes no part\n")
    peers = [math_verify_reader(), *filters]
    for line in [*speed_lines(folder, peers), "", *agreement_lines(folder, peers), ""]:
        click.echo(line)
    seconds = hostile_seconds()
    worst = max(seconds, key=lambda unit: seconds[unit])
    click.echo(
        f"hostile texts of 1 MB: {len(seconds)}, the slowest {seconds[worst]:.2f} s ({worst!r} repeated)"
    )


if __name__ == "__main__":
    main()
