"""The hint leak on real data: `python benchmarks/leak.py [--write]`.

One teacher (GPT-4o), one question set (OpenBookQA train), asked with the gold answer shown and without it:
the pair that "Unveiling the Key Factors for Distilling Chain-of-Thought Reasoning" (EIT-NLP 2025) published.
Everything is paired over the questions that both files answer. Prints Markdown; with --write the tables go
into docs/audit.md. The catch: the reader is `lexical`, a floor; the table of hand readings says what its
misses are worth.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from understudy.audit.leak import answers_first, hinted
from understudy.audit.material import Answered, Material, gather
from understudy.audit.reader import Read, ReadBack, read_back
from understudy.ledger import Ledger
from understudy.report.wording import p_value, percent, percent_range, points
from understudy.roles import Source
from understudy.statistics import mcnemar_exact, wilson
from understudy.tasks.openbookqa import openbookqa
from understudy.teachers.lexical import Lexical
from understudy.teachers.recorded import Recorded
from understudy.types import Question, Request, Sampling

PAGE = Path(__file__).resolve().parents[1] / "docs" / "audit.md"
SHOWN = "openbookQA_ChatGPT_0_shot_with_gt_ranked"
NOT_SHOWN = "openbookQA_ChatGPT_0_shot_without_gt_ranked"
LEVELS = (
    *(f"openbookQA_chatgpt_level_{level}_ranked" for level in range(1, 7)),
    *(f"obqa_gemini_level{level}_ranked" for level in range(1, 7)),
    *(f"obqa_llama_level{level}_ranked" for level in range(1, 7)),
)
READ_BY_HAND = 20

T = TypeVar("T")


def data_folder() -> Path:
    named = os.environ.get("UNDERSTUDY_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        sys.exit(f"{folder} is not here; set UNDERSTUDY_SHARED_DATA to the folder that holds the data sets")
    return folder


def between_markers(name: str, text: str) -> None:
    """Put `text` between `<!-- name -->` and `<!-- /name -->` in docs/audit.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, opening, rest = page.partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not opening or not closing:
        sys.exit(f"{PAGE} has no <!-- {name} --> ... <!-- /{name} -->; put the two markers there")
    PAGE.write_text(f"{before}{opening}{text}\n{closing}{after}", encoding="utf-8")


# ---------------------------------------------------------------- one file


@dataclass(frozen=True, slots=True)
class File:
    """One file of rationales, judged and read back."""

    name: str
    material: Material
    read: ReadBack

    def answered(self) -> Mapping[str, Answered]:
        return {one.question.source: one for one in self.material.answered}

    def reads(self) -> Mapping[str, Read]:
        """Of right rationales only: a wrong one should not lead to the gold."""
        return {
            one.answered.question.source: one
            for one in self.read.reads
            if one.answered.verdict.name == "correct"
        }


def load(root: Path, questions: Sequence[Question], name: str, shown: bool | None) -> File:
    teacher = Recorded(path=root / "eit_cot_distill" / f"{name}.json.gz").build(None)
    requests = [Request(question, ()) for question in questions]
    completions = [said for batch in teacher.complete(requests, Sampling()) for _, said in batch]
    material = gather({"train": tuple(questions)}, "train", completions, [], openbookqa.form, shown)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        return File(name, material, read_back(material, Lexical().build(None), ledger))


def right(one: Answered) -> bool:
    return one.verdict.name == "correct"


def strictly_right(one: Answered) -> bool:
    return one.verdict.strict == "correct"


def first(one: Answered) -> bool:
    return answers_first(one, openbookqa.form)


def recovered(one: Read) -> bool:
    return one.after.name == "correct"


def recovered_alone(one: Read) -> bool:
    return one.alone.name == "correct"


# ---------------------------------------------------------------- the pair


def paired_row(title: str, a: Mapping[str, T], b: Mapping[str, T], holds: Callable[[T], bool]) -> str:
    """One trait over the questions that both hold, with the exact test of their disagreements."""
    both = [key for key in a if key in b]
    with_hint, without = [holds(a[key]) for key in both], [holds(b[key]) for key in both]
    test = mcnemar_exact(with_hint, without)
    gain = points((sum(with_hint) - sum(without)) / len(both))
    return (
        f"| {title} | {len(both)} | {share(with_hint)} | {share(without)} | {gain} "
        f"| {test.only_a} / {test.only_b} | {p_value(test.p_value).removeprefix('= ')} |"
    )


def pair_table(shown: File, other: File) -> list[str]:
    a, b, reads, other_reads = shown.answered(), other.answered(), shown.reads(), other.reads()
    return [
        "| | n | answer shown | not shown | difference | only shown / only not | p |",
        "|---|---|---|---|---|---|---|",
        paired_row("right", a, b, right),
        paired_row("right by the strict reading", a, b, strictly_right),
        paired_row("answer before any reasoning", a, b, first),
        paired_row("wording betrays the hint", a, b, hinted),
        paired_row("reader finds the answer in the cut rationale", reads, other_reads, recovered),
        paired_row("reader finds it in the question alone", reads, other_reads, recovered_alone),
    ]


def bent_table(shown: File, other: File) -> list[str]:
    """Does any detection tell rationales that needed the hint from those that did not?"""
    alone, reads = other.answered(), shown.reads()
    lines = [
        "| right with the answer shown, and without it | n | betrays | n read | found in the cut rationale |",
        "|---|---|---|---|---|",
    ]
    for title, expected in (("right as well", True), ("not right: it needed the hint", False)):
        group = [
            (key, one)
            for key, one in shown.answered().items()
            if right(one) and key in alone and right(alone[key]) is expected
        ]
        read = [reads[key] for key, _ in group if key in reads]
        told = of(hinted, [one for _, one in group])
        lines.append(f"| {title} | {len(group)} | {told} | {len(read)} | {of(recovered, read)} |")
    return lines


def share(holds: Sequence[bool]) -> str:
    count, n = sum(holds), len(holds)
    return f"{count}, {percent(count / n)} {percent_range(wilson(count, n))}" if n else "–"


def of(holds: Callable[[T], bool], found: Sequence[T]) -> str:
    return share([holds(one) for one in found])


# ---------------------------------------------------------------- the other files


def level_table(files: Sequence[File]) -> list[str]:
    lines = [
        "| file | n | right | answer first | betrays | right and read | found in the cut rationale "
        "| in the question alone | one sentence |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for file in files:
        answered, reads = list(file.answered().values()), list(file.reads().values())
        lines.append(
            f"| {file.name.removesuffix('_ranked')} | {len(answered)} | {of(right, answered)} "
            f"| {of(first, answered)} | {of(hinted, answered)} | {len(reads)} "
            f"| {of(recovered, reads)} | {of(recovered_alone, reads)} | {len(file.read.nothing_left)} |"
        )
    return lines


# ---------------------------------------------------------------- read by hand

Key = tuple[str, str]
"""The file and the data set's own id of the question."""

REAL = ""
ELIMINATED, SAID, FOLLOWS = (
    "the other options are ruled out",
    "says so, and names the other options as often",
    "it follows, in other words than the option's",
)


def real(*keys: Key) -> dict[Key, str]:
    return dict.fromkeys(keys, REAL)


JUDGEMENTS: dict[str, dict[Key, str]] = {
    "answer first": real(
        ("openbookQA_chatgpt_level_5_ranked", "12-601"),
        ("obqa_gemini_level4_ranked", "1898"),
        (SHOWN, "9-96"),
        ("openbookQA_chatgpt_level_2_ranked", "14-997"),
        (SHOWN, "13-28"),
        ("obqa_gemini_level3_ranked", "12-96"),
        ("openbookQA_chatgpt_level_5_ranked", "13-910"),
        ("openbookQA_chatgpt_level_4_ranked", "14-104"),
        (SHOWN, "12-356"),
    ),
    "wording": real(
        ("openbookQA_chatgpt_level_3_ranked", "10-1195"),
        (SHOWN, "7-898"),
        ("obqa_gemini_level5_ranked", "13-892"),
        ("openbookQA_chatgpt_level_3_ranked", "9-274"),
        (SHOWN, "12-692"),
        ("openbookQA_chatgpt_level_5_ranked", "13-494"),
        ("openbookQA_chatgpt_level_6_ranked", "8-87"),
        ("openbookQA_chatgpt_level_6_ranked", "631"),
        (SHOWN, "752"),
        ("openbookQA_chatgpt_level_2_ranked", "13-387"),
        ("openbookQA_chatgpt_level_6_ranked", "7-1002"),
        ("openbookQA_chatgpt_level_6_ranked", "9-111"),
        ("openbookQA_chatgpt_level_2_ranked", "11-36"),
        ("openbookQA_chatgpt_level_4_ranked", "12-524"),
        ("openbookQA_chatgpt_level_6_ranked", "13-123"),
        ("openbookQA_chatgpt_level_1_ranked", "11-192"),
        ("openbookQA_chatgpt_level_4_ranked", "7-700"),
        (SHOWN, "10-740"),
        ("openbookQA_chatgpt_level_6_ranked", "12-105"),
        ("obqa_llama_level6_ranked", "9-286"),
    ),
    "not recovered": {
        (SHOWN, "9-236"): SAID,
        (NOT_SHOWN, "8-407"): SAID,
        (SHOWN, "7-969"): FOLLOWS,
        (SHOWN, "14-158"): ELIMINATED,
        (NOT_SHOWN, "12-1003"): SAID,
        (SHOWN, "12-673"): SAID,
        (NOT_SHOWN, "13-922"): FOLLOWS,
        (SHOWN, "11-645"): FOLLOWS,
        (SHOWN, "10-649"): ELIMINATED,
        (SHOWN, "10-856"): SAID,
        (SHOWN, "7-766"): SAID,
        (NOT_SHOWN, "10-453"): FOLLOWS,
        (NOT_SHOWN, "12-227"): SAID,
        (SHOWN, "13-21"): ELIMINATED,
        (NOT_SHOWN, "13-864"): ELIMINATED,
        (NOT_SHOWN, "14-196"): SAID,
        (SHOWN, "10-220"): SAID,
        (NOT_SHOWN, "8-286"): FOLLOWS,
        (SHOWN, "12-56"): SAID,
        (NOT_SHOWN, "13-313"): SAID,
    },
}
"""Detection -> what was read -> why the flag is a false alarm, or REAL. For "not recovered" it is real if a
person would not find the answer in the cut rationale either."""


def flagged(files: Sequence[File]) -> dict[str, list[Key]]:
    """Detection -> what it flags; the reader's misses in the pair alone."""
    found: dict[str, list[Key]] = {"answer first": [], "wording": [], "not recovered": []}
    for file in files:
        answered, reads = file.answered(), file.reads() if file.name in (SHOWN, NOT_SHOWN) else {}
        found["answer first"] += [(file.name, key) for key, one in answered.items() if first(one)]
        found["wording"] += [(file.name, key) for key, one in answered.items() if hinted(one)]
        found["not recovered"] += [(file.name, key) for key, one in reads.items() if not recovered(one)]
    return found


def sample(keys: Iterable[Key]) -> list[Key]:
    """The first few in the order of a hash, so that a small change of what is flagged moves few of them."""
    return sorted(keys, key=lambda key: hashlib.sha256("/".join(key).encode()).hexdigest())[:READ_BY_HAND]


def hand_table(files: Sequence[File]) -> tuple[list[str], int]:
    """How many of each detection's flags are real, why the others are not, and how many were not read."""
    lines = ["| detection | flagged | read by hand | real | false alarms |", "|---|---|---|---|---|"]
    unread = 0
    for detection, found in flagged(files).items():
        judged = [JUDGEMENTS[detection].get(key, "not read") for key in sample(found)]
        unread += judged.count("not read")
        why = ", ".join(f"{n}: {reason}" for reason, n in Counter(judged).most_common() if reason != REAL)
        is_real = [reason == REAL for reason in judged]
        lines.append(f"| {detection} | {len(found)} | {len(judged)} | {share(is_real)} | {why or '–'} |")
    return lines, unread


def report(root: Path) -> tuple[str, int]:
    questions = openbookqa.load("train", Source(path=str(root / "openbookqa")))
    shown, other = load(root, questions, SHOWN, True), load(root, questions, NOT_SHOWN, False)
    levels = [load(root, questions, name, None) for name in LEVELS]
    hand, unread = hand_table([shown, other, *levels])
    tables = (
        pair_table(shown, other),
        bent_table(shown, other),
        hand,
        level_table([shown, other, *levels]),
    )
    return "\n\n".join("\n".join(table) for table in tables), unread


def main() -> int:
    text, unread = report(data_folder())
    print(text)
    if "--write" in sys.argv[1:]:
        between_markers("leak", text)
    if unread:
        print(f"{unread} flags have not been read by hand", file=sys.stderr)
    return 1 if unread else 0


if __name__ == "__main__":
    sys.exit(main())
