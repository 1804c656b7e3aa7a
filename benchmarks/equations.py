"""What the checks of curation catch in published rationales, and how many of their flags are right.

    python benchmarks/equations.py [--write]

The rationales are GSM8K's own, and those of several teachers from "Unveiling the Key Factors for Distilling
Chain-of-Thought Reasoning" (EIT-NLP 2025); MR-GSM8K's solutions come with people's verdicts. Prints Markdown;
with --write it goes into docs/curation.md. The catch: the judgements below are one reader's. Equations were
read in odd-numbered rows only, for the parser was tuned on even-numbered ones; the words that betray a hint
were tuned on the files that they are counted in.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from known_verdicts import records, root
from understudy import answers
from understudy.checks.equations import equations, wrong
from understudy.checks.hints import betrays
from understudy.curate import Curated, CurateSpec, curate
from understudy.statistics import wilson
from understudy.types import AnswerForm, Completion, Question

PAGE = Path(__file__).resolve().parents[1] / "docs" / "curation.md"
NAMES = ("gsm8k_llama_level1", "gsm8k_llama_level2", "gsm8k_gemini_level1", "gsm8k_gemini_level2")
SEED, READ = 777, 20
HINTS_SEED, HINTS_READ = 30, 30
HINTS_FALSE_ALARMS = 0
"""Of the flags that were drawn and read; which these are is told by a digest of their files and rows."""
HINTS_DRAWN = "5026f581cc99ea55"


class Judgement(NamedTuple):
    should_be: str
    real: bool
    why: str


# By file and row, counted from 0: the first wrong equation of the row, read in its place.
JUDGEMENTS: dict[tuple[str, int], Judgement] = {
    ("gsm8k_llama_level1", 6053): Judgement("4", True, "bent to reach the answer 7"),
    ("gsm8k_llama_level2", 6887): Judgement("540000", True, "half of the product"),
    ("gsm8k_llama_level2", 4225): Judgement("130", True, "bent to reach the answer 52"),
    ("gsm8k_llama_level1", 6945): Judgement("765", True, "bent to reach the answer 815"),
    ("gsm8k_llama_level2", 2739): Judgement("12400", True, "6000 too many"),
    ("gsm8k_gemini_level2", 7057): Judgement("9", True, "bent to reach the answer 6"),
    ("gsm8k_llama_level1", 1405): Judgement("35", True, "nothing was taken away"),
    ("gsm8k_llama_level2", 4755): Judgement("$88.70", True, "bent to reach the answer 95"),
    ("gsm8k_llama_level2", 271): Judgement("401", True, "and the answer is 401 after all"),
    ("gsm8k_llama_level1", 3211): Judgement("0", True, "no reading gives 45"),
    ("gsm8k_llama_level1", 3127): Judgement("6", True, "the product is 4, not 2"),
    ("gsm8k_llama_level1", 2161): Judgement("25", True, "bent to reach the answer 23"),
    ("gsm8k_llama_level2", 2495): Judgement("85", True, "bent to reach the answer 65"),
    ("gsm8k_llama_level1", 2813): Judgement("84", True, "24 too many"),
    ("gsm8k_llama_level1", 185): Judgement("42", True, "6 too few; a second one is wrong as well"),
    ("gsm8k_llama_level2", 2747): Judgement("6200", True, "nothing was taken away"),
    ("gsm8k_llama_level1", 6897): Judgement("1420", True, "600 too many"),
    ("gsm8k_llama_level1", 2835): Judgement("30", True, "bent to reach the answer 22"),
    ("gsm8k_llama_level1", 5339): Judgement("37.5", True, "no reading of the percentage gives 50"),
    ("gsm8k_llama_level2", 1271): Judgement("112.5", True, "bent to reach the answer 150"),
}


@dataclass(frozen=True, slots=True)
class Rationales:
    name: str
    texts: tuple[str, ...]

    @property
    def flagged(self) -> list[int]:
        return [row for row, text in enumerate(self.texts) if wrong(text)]


def share(count: int, n: int) -> str:
    if not n:
        return "–"
    low, high = wilson(count, n)
    return f"{100 * count / n:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


# ---------------------------------------------------------------- tables


def human(folder: Path) -> Iterator[Rationales]:
    for split in ("train", "test"):
        texts = tuple(row["answer"] for row in records(folder / "gsm8k" / f"{split}.jsonl.gz"))
        yield Rationales(f"GSM8K's own, {split}", texts)


def counts(files: Sequence[Rationales]) -> Iterator[str]:
    yield "| rationales | n | with an equation | equations | with a wrong one | of all [95% interval] |"
    yield "|---|---|---|---|---|---|"
    for file in files:
        found = [equations(text) for text in file.texts]
        n, some, bad = len(found), sum(map(bool, found)), len(file.flagged)
        cells = (file.name, n, f"{some} ({100 * some / n:.1f}%)", sum(map(len, found)), bad, share(bad, n))
        yield "| " + " | ".join(map(str, cells)) + " |"


def judged(files: Sequence[Rationales]) -> Iterator[str]:
    """The sample that was read by hand, drawn anew; a flag that nobody has judged is an error."""
    texts = {file.name: file.texts for file in files}
    flags = [(file.name, row) for file in files for row in file.flagged if row % 2]
    sample = random.Random(SEED).sample(flags, READ)
    unjudged = [key for key in sample if key not in JUDGEMENTS]
    if unjudged:
        sys.exit(f"the check has changed: read and judge {unjudged} in {Path(__file__).name}")
    real = sum(JUDGEMENTS[key].real for key in sample)
    yield f"Of {READ} flagged rationales drawn at random and read by hand, {real} hold a real mistake:"
    yield f"{share(real, READ)}."
    yield ""
    yield "| file | row | equation | should be | judgement | |"
    yield "|---|---|---|---|---|---|"
    for name, row in sample:
        found, judgement = wrong(texts[name][row])[0], JUDGEMENTS[name, row]
        verdict = "real mistake" if judgement.real else "false alarm"
        yield f"| {name} | {row} | `{found.text}` | {judgement.should_be} | {verdict} | {judgement.why} |"


def solutions(folder: Path) -> Iterator[str]:
    """MR-GSM8K by people's verdicts: answer right or wrong, reasoning right or wrong; each solution once."""
    found = {
        row["uuid"]: row
        for path in sorted((folder / "mr_gsm8k" / "gpt4-grading").glob("*.json*"))
        for row in records(path)
    }
    yield "| answer | reasoning | n | with an equation | with a wrong one [95% interval] |"
    yield "|---|---|---|---|---|"
    for answer, reasoning in (("correct", "correct"), ("correct", "wrong"), ("wrong", "wrong")):
        texts = [
            "\n".join(row["model_output_steps"])
            for row in found.values()
            if row["model_output_answer_correctness"] == answer
            and row["model_output_solution_correctness"] == reasoning
        ]
        some, bad = sum(bool(equations(text)) for text in texts), sum(bool(wrong(text)) for text in texts)
        yield f"| {answer} | {reasoning} | {len(texts)} | {some} | {bad}, {share(bad, len(texts))} |"


# ---------------------------------------------------------------- the other checks


def hints(folder: Path) -> Iterator[str]:
    """Where teachers speak of an answer that they were shown, and the flags that were read."""
    flags = []
    n = 0
    for path in sorted((folder / "eit_cot_distill").glob("*_ranked.json.gz")):
        texts = [row["output"] for row in records(path)]
        n += len(texts)
        flags += [f"{path.name} {row}" for row, text in enumerate(texts) if betrays(text)]
    drawn = random.Random(HINTS_SEED).sample(flags, HINTS_READ)
    digest = hashlib.sha256("\n".join(drawn).encode()).hexdigest()[:16]
    if digest != HINTS_DRAWN:
        sys.exit(f"the check has changed: read these flags, then set HINTS_DRAWN to {digest}: {drawn}")
    right = HINTS_READ - HINTS_FALSE_ALARMS
    yield f"Words that betray a hint stand in {len(flags)} of {n} rationales of all teachers and question"
    yield f"sets. Of {HINTS_READ} flags drawn at random and read by hand, {right} are right:"
    yield f"{share(right, HINTS_READ)}."


def caught(folder: Path) -> Iterator[str]:
    """What `flagged` says of whole files, asked with every switch that needs a bound."""
    spec = CurateSpec(language="en", min_words=5, max_words=300, near_duplicates=0.8)
    columns: list[Curated] = [
        curate(*_material(folder, name, golds, form), form, spec, "") for name, golds, form in CAUGHT
    ]
    yield "| what | " + " | ".join(name for name, *_ in CAUGHT) + " |"
    yield "|---|" + "---|" * len(CAUGHT)
    yield "| completions | " + " | ".join(str(column.n) for column in columns) + " |"
    for reason in columns[0].flagged:
        yield f"| {reason} | " + " | ".join(str(column.flagged[reason]) for column in columns) + " |"


CAUGHT: tuple[tuple[str, str, AnswerForm], ...] = (
    ("gsm8k_llama_level1", "gsm_train_onlyans", "number"),
    ("gsm8k_gemini_level2", "gsm_train_onlyans", "number"),
    ("openbookQA_ChatGPT_0_shot_with_gt", "openbookQA_onlyans", "choice"),
    ("openbookQA_ChatGPT_0_shot_without_gt", "openbookQA_onlyans", "choice"),
    ("stqa_llama_level1", "strategyQA_onlyans", "boolean"),
)
_OPTION = re.compile(r"(?:^|[ ,])[A-H]: (.*?)(?=, [A-H]: |$)", re.DOTALL)


def _material(
    folder: Path, name: str, golds: str, form: AnswerForm
) -> tuple[list[Question], list[Completion]]:
    """The questions of one file with their golds, and what the teacher said; rows without a gold left out."""
    folder = folder / "eit_cot_distill"
    gold = {row["instruction"]: row["output"].strip() for row in records(folder / f"{golds}.json.gz")}
    found: dict[str, tuple[Question, Completion]] = {}
    for row in records(folder / f"{name}_ranked.json.gz"):
        text, _, options = row["instruction"].partition("Answer choices:")
        choices = tuple(_OPTION.findall(options)) if form == "choice" else ()
        if row["instruction"] in gold:
            question = Question(text, gold[row["instruction"]], choices)
            if answers.canonical(question.answer, form, choices) is not None:
                found[question.id] = question, Completion(question.id, 0, row["output"], "stop")
    return [question for question, _ in found.values()], [said for _, said in found.values()]


def main() -> None:
    folder = root("eit_cot_distill", "mr_gsm8k", "gsm8k")
    eit = folder / "eit_cot_distill"
    files = [
        Rationales(name, tuple(row["output"] for row in records(eit / f"{name}_ranked.json.gz")))
        for name in NAMES
    ]
    pages = {
        "equations": [*counts([*files, *human(folder)]), "", *judged(files), "", *solutions(folder)],
        "caught": [*caught(folder), "", *hints(folder)],
    }
    for marker, lines in pages.items():
        text = "\n".join(["", "", *lines, "", ""])
        print(text)
        if "--write" in sys.argv:
            page = PAGE.read_text(encoding="utf-8")
            head, _, rest = page.partition(f"<!-- {marker} -->")
            tail = rest.partition(f"<!-- /{marker} -->")[2]
            PAGE.write_text(f"{head}<!-- {marker} -->{text}<!-- /{marker} -->{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
