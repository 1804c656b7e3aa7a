"""Which public question sets share questions: `python benchmarks/contamination.py [--write]`.

Every set is read from its original files, found as the tests find them. Prints Markdown; with --write the
tables go into docs/contamination.md. Questions are counted once each, by their id, so n may be less than the
number of rows. The catch: each level includes those before it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from understudy import shelves
from understudy.contamination import LEVELS, Index, counts, text_overlaps
from understudy.roles import Source
from understudy.rows import Row, read
from understudy.types import Question

PAGE = Path(__file__).resolve().parents[1] / "docs" / "contamination.md"
BEGIN, END = "<!-- contamination -->", "<!-- /contamination -->"

Questions = Sequence[Question]
Pair = tuple[str, Questions, str, Questions]

GENERATED = ("arithmetic", "coin_flip", "last_letters")

# Set, held-out splits, the split they are looked for in.
OFFICIAL = (
    ("arc_easy", ("dev", "test"), "train"),
    ("arc_easy", ("test",), "dev"),
    ("arc_challenge", ("dev", "test"), "train"),
    ("arc_challenge", ("test",), "dev"),
    ("openbookqa", ("dev", "test"), "train"),
    ("openbookqa", ("test",), "dev"),
    ("commonsenseqa", ("test",), "train"),
    ("strategyqa", ("dev", "test", "dev_229"), "train"),
    ("gsm8k", ("test",), "train"),
    ("asdiv", ("test",), "train"),
    ("svamp", ("test",), "train"),
    ("mawps", ("dev", "test"), "train"),
    ("mawps", ("test",), "dev"),
)
FOLDERS = {"arc_easy": "arc", "arc_challenge": "arc"}


def data_folder() -> Path:
    named = os.environ.get("UNDERSTUDY_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        sys.exit(f"{folder} is not here; set UNDERSTUDY_SHARED_DATA to the folder that holds the data sets")
    return folder


# ---------------------------------------------------------------- the sets


def split(root: Path, task: str, name: str) -> list[Question]:
    questions: list[Question] = shelves.load("tasks", task).load(
        name, Source(path=str(root / FOLDERS.get(task, task)))
    )
    return questions


def texts(path: Path, *columns: str) -> list[Question]:
    """The questions of a file that no task reads; their answers play no part."""
    return [Question(_joined(row, columns), "") for row in read(path)]


def _joined(row: Row, columns: Sequence[str]) -> str:
    return " ".join(str(row.fields[column]) for column in columns)


def qasc(root: Path) -> dict[str, list[Question]]:
    """Stems alone: the official test has no answers, and of train only 814 questions are on disk."""
    names = {"train (814)": "in_house_dev_814_of_train", "dev": "dev", "test": "test_no_answers"}
    return {
        name: [
            Question(row.fields["question"]["stem"], "") for row in read(root / "qasc" / f"{file}.jsonl.gz")
        ]
        for name, file in names.items()
    }


def folds(root: Path, name: str) -> list[list[Question]]:
    """The five folds of MAWPS or ASDiv-A that came with SVAMP, their numbers put back."""
    load = shelves.load("tasks", "mawps").load
    paths = sorted((root / "svamp" / name).glob("fold*_dev.csv*"))
    return [load("test", Source(path={"test": str(path)})) for path in paths]


# ---------------------------------------------------------------- who is looked for where


def pairs(root: Path) -> Iterator[Pair]:
    for task, held_out, other in OFFICIAL:
        for name in held_out:
            title = shelves.load("tasks", task).title
            yield f"{title} {name}", split(root, task, name), other, split(root, task, other)
    for task in GENERATED:
        made = shelves.load("tasks", task)
        yield f"{made.title} test", made.load("test", Source()), "train", made.load("train", Source())
    stems = qasc(root)
    for name in ("dev", "test"):
        yield f"QASC {name}, stems", stems[name], "train (814)", stems["train (814)"]
    yield from _word_problems(root)
    yield from _rationale_sets(root)


def _word_problems(root: Path) -> Iterator[Pair]:
    train = split(root, "mawps", "train")
    for name in ("MultiArith", "AddSub", "SingleEq"):
        yield name, texts(root / "mawps" / f"{name}.json.gz", "sQuestion"), "MAWPS train", train
    load = shelves.load("tasks", "mawps").load
    file = str(root / "svamp" / "mawps-asdiv-a_svamp" / "train.csv.gz")
    older = load("train", Source(path={"train": file}))
    yield "SVAMP all", split(root, "svamp", "all"), "MAWPS and ASDiv-A of its paper", older


def _rationale_sets(root: Path) -> Iterator[Pair]:
    eit = root / "eit_cot_distill"
    strategy = texts(eit / "stqa_gemini_level1_ranked.json.gz", "instruction")
    yield "StrategyQA dev_229", split(root, "strategyqa", "dev_229"), "EIT-NLP's 2,000", strategy
    own = texts(eit / "eval" / "strategyQA_test.json", "instruction")
    yield "EIT-NLP's StrategyQA test", own, "EIT-NLP's 2,000", strategy
    varied = texts(eit / "SVAMP_only_ans.json.gz", "instruction")
    yield "SVAMP test", split(root, "svamp", "test"), "EIT-NLP's 700", varied


def row(pair: Pair) -> list[str]:
    held, held_out, other, others = pair
    found, n = _found(held_out, others)
    return [held, other, f"{n:,}", *(f"{count:,}" for count in found)]


def _found(held_out: Questions, others: Questions) -> tuple[list[int], int]:
    index = Index(others, "near")
    questions = {question.id: question for question in held_out}
    matches = [match for question in questions.values() if (match := index.find(question))]
    return list(counts(matches).values()), len(questions)


def fold_row(root: Path, name: str, title: str) -> list[str]:
    """Each fold in the other four, summed over the folds."""
    parts = folds(root, name)
    tallies = [
        _found(part, [question for other in parts if other is not part for question in other])
        for part in parts
    ]
    found = (f"{sum(column):,}" for column in zip(*(tally for tally, _ in tallies), strict=True))
    return [f"{title}, each of 5 folds", "the other four", f"{sum(n for _, n in tallies):,}", *found]


# ---------------------------------------------------------------- rationales, and time


def quotes(root: Path) -> Iterator[list[str]]:
    """Rationales that were written for training questions, and the test questions that they quote."""
    files = (
        ("gsm8k_llama_level1_ranked.json.gz", "gsm8k", "test"),
        ("gsm8k_gemini_level2_ranked.json.gz", "gsm8k", "test"),
        ("SVAMP_llama_level4_ranked.json.gz", "svamp", "test"),
        ("stqa_gemini_level6_ranked.json.gz", "strategyqa", "dev_229"),
    )
    for file, task, name in files:
        written = [question.text for question in texts(root / "eit_cot_distill" / file, "output")]
        held_out = split(root, task, name)
        found = text_overlaps(held_out, written)
        title = f"{shelves.load('tasks', task).title} {name}"
        counted = (len(written), len(found.texts), len(held_out), len(found.questions))
        yield [f"`{file.split('_ranked')[0]}`", title, *(f"{count:,}" for count in counted)]


def seconds(size: int = 10_000) -> float:
    """Processor time to look `size` texts of 45 words up in as many others, at every level."""
    draw = random.Random(0)
    words = [f"word{number}" for number in range(5_000)]
    made = [Question(" ".join(draw.choices(words, k=45)), "") for _ in range(2 * size)]
    started = time.process_time()
    _found(made[:size], made[size:])
    return time.process_time() - started


def table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """Markdown; the first `words` columns hold words, the others numbers."""
    rule = ["---"] * words + ["--:"] * (len(header) - words)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def page(root: Path) -> str:
    rows = [row(pair) for pair in pairs(root)]
    rows += [fold_row(root, "cv_asdiv-a", "ASDiv-A"), fold_row(root, "cv_mawps", "MAWPS")]
    found = table(("questions of", "in", "n", *LEVELS), rows, 2)
    quoted = table(
        ("rationales", "questions of", "rationales", "that quote", "questions", "quoted"),
        list(quotes(root)),
        2,
    )
    return f"{found}\n\n{quoted}"


def main() -> None:
    text = page(data_folder())
    print(text)
    print(f"\n10,000 questions in 10,000, at every level: {seconds():.1f} s of processor time")
    if "--write" in sys.argv[1:]:
        before, opening, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, closing, after = rest.partition(END)
        if not opening or not closing:
            sys.exit(f"{PAGE} has no {BEGIN} ... {END}; put the two markers there")
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
