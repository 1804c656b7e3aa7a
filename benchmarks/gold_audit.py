"""The gold audit on real data: `python benchmarks/gold_audit.py [--write]`.

Samples are the chains of several teachers and levels of detail that "Unveiling the Key Factors for Distilling
Chain-of-Thought Reasoning" (EIT-NLP 2025) published, and OpenAI's four model outputs on GSM8K's test split.
Prints Markdown; with --write the tables go into docs/audit.md. The catch: the chains of EIT-NLP were made or
filtered with the gold in view, OpenAI's were not; recall with planted wrong golds is shown for both.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from leak import between_markers, data_folder
from understudy import answers
from understudy.audit.gold import FEWEST, Suspect, suspects
from understudy.audit.material import Material, gather
from understudy.report.wording import percent, percent_range
from understudy.rows import read
from understudy.statistics import wilson
from understudy.types import LABELS, AnswerForm, Completion, Question

PLANTED_EVERY = 20
"""One gold in so many is made wrong, to see how many of them are found."""
READ_BY_HAND = 20
"""Suspects of a set that are read, from the first rank."""

Made = tuple[list[Question], list[Completion]]


@dataclass(frozen=True, slots=True)
class Collection:
    name: str
    form: AnswerForm
    filtered: str
    make: Callable[[Path], Made]


# ---------------------------------------------------------------- reading the collections


def eit(golds: str, patterns: Sequence[str], form: AnswerForm, options: str = "") -> Callable[[Path], Made]:
    """Rows {instruction, output}; `options` is what stands before each option, after the last question."""

    def make(root: Path) -> Made:
        folder = root / "eit_cot_distill"
        questions: dict[str, Question] = {}
        for number, row in enumerate(read(folder / golds), start=1):
            text = str(row.fields["instruction"]).strip()
            question = _question(text, str(row.fields["output"]), options, number)
            if answers.canonical(question.answer, form, question.choices) is not None:
                questions.setdefault(text, question)
        files = sorted(path for pattern in patterns for path in folder.glob(pattern))
        completions = [
            Completion(question.id, sample, text, "stop")
            for sample, path in enumerate(files)
            for question, text in _answers(path, questions)
        ]
        return list(questions.values()), completions

    return make


def _question(text: str, gold: str, options: str, number: int) -> Question:
    if not options:
        return Question(text, gold, source=str(number))
    stem, _, listed = text.partition(" Answer choices: ")
    choices = tuple(part.strip().rstrip(",") for part in re.split(options, listed)[1:])
    return Question(stem, gold, choices, source=str(number))


def _answers(path: Path, questions: Mapping[str, Question]) -> list[tuple[Question, str]]:
    """The first answer of a file to each question."""
    found: dict[str, tuple[Question, str]] = {}
    for row in read(path):
        question = questions.get(str(row.fields["instruction"]).strip())
        if question is not None:
            found.setdefault(question.id, (question, str(row.fields["output"])))
    return list(found.values())


MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def openai(root: Path) -> Made:
    path = root / "gsm8k_openai_model_solutions" / "example_model_solutions.jsonl.gz"
    questions, completions = [], []
    for number, row in enumerate(read(path), start=1):
        gold = str(row.fields["ground_truth"]).rpartition("A:")[2].strip()
        question = Question(str(row.fields["question"]), gold, source=str(number))
        questions.append(question)
        for sample, model in enumerate(MODELS):
            completions.append(Completion(question.id, sample, str(row.fields[model]["solution"]), "stop"))
    return questions, completions


LETTERED = r"(?:^|(?<= ))[A-H]: "
COLLECTIONS = (
    Collection(
        "StrategyQA",
        "boolean",
        "yes",
        eit("strategyQA_onlyans.json.gz", ["stqa_[gl]*", "strategyQA_chatgpt*"], "boolean"),
    ),
    Collection(
        "OpenBookQA",
        "choice",
        "yes, but one file",
        eit(
            "openbookQA_onlyans.json.gz",
            ["obqa_*", "openbookQA_[Cc]hat*", "openbookqa_*"],
            "choice",
            LETTERED,
        ),
    ),
    Collection("SVAMP", "number", "yes", eit("SVAMP_only_ans.json.gz", ["SVAMP_[Cgl]*"], "number")),
    Collection(
        "CommonsenseQA",
        "choice",
        "yes",
        eit("commonsenseQA_onlyans.json.gz", ["csqa_*"], "choice", LETTERED),
    ),
    Collection("GSM8K train", "number", "yes", eit("gsm_train_onlyans.json.gz", ["gsm8k_*"], "number")),
    Collection("GSM8K test", "number", "no", openai),
)

# ---------------------------------------------------------------- read by hand

JUDGEMENTS: dict[tuple[str, int], tuple[str, str]] = {
    ("StrategyQA", 1227): ("wrong", "its own facts say that there is no water to paddle on"),
    ("StrategyQA", 1190): ("wrong", "900,000 pounds were about 1.1 million dollars"),
    ("StrategyQA", 1298): ("ambiguous", "means one famous line in the infinitive"),
    ("StrategyQA", 386): ("ambiguous", "means thermometers, which may hold mercury, for fever"),
    ("StrategyQA", 493): ("ambiguous", "nylon can be made from coal, and need not be"),
    ("StrategyQA", 1758): ("ambiguous", "seven times 512 mg is enough for 3,500 mg, not for 4,700 mg"),
    ("StrategyQA", 843): ("ambiguous", "the operation has its name from a crusader"),
    ("StrategyQA", 1770): ("ambiguous", "rests on the claims of speed readers"),
    ("StrategyQA", 292): ("ambiguous", "his play was destroyed, which is not quite banned"),
    ("StrategyQA", 469): ("ambiguous", "meant as ten years of life, read as dates"),
    ("StrategyQA", 1176): ("ambiguous", "mills may run on water, but chaff comes off before"),
    ("StrategyQA", 1310): ("ambiguous", "a chain of causes through a world war"),
    ("StrategyQA", 895): ("sound", "grey is not in the rainbow; the samples missed the colours"),
    ("StrategyQA", 1822): ("sound", "through listeria on the leaves"),
    ("StrategyQA", 751): ("sound", "founded in 1696"),
    ("StrategyQA", 1494): ("sound", "7 December is in autumn by the sun"),
    ("OpenBookQA", 1994): ("wrong", "they lay eggs"),
    ("SVAMP", 76): ("wrong", "42 packages of 6 are 252; the gold divides"),
    ("SVAMP", 352): ("wrong", "4 − 2 + 3 is 5, by its own equation"),
    ("CommonsenseQA", 1185): ("ambiguous", "three of the five options had centavos"),
    ("CommonsenseQA", 1677): ("wrong", "tiles; the gold is the place itself"),
    ("CommonsenseQA", 9660): ("wrong", "a cellar is where furnaces are"),
    ("GSM8K test", 98): ("sound", ""),
    ("GSM8K test", 355): ("sound", ""),
    ("GSM8K test", 455): ("wrong", "two people with 4 a day eat 240; the gold counts 4 + 1"),
    ("GSM8K test", 846): ("sound", ""),
    ("GSM8K test", 966): ("sound", ""),
    ("GSM8K test", 1045): ("sound", ""),
    ("GSM8K test", 1120): ("sound", ""),
    ("GSM8K test", 107): ("sound", ""),
    ("GSM8K test", 123): ("sound", ""),
    ("GSM8K test", 133): ("sound", ""),
    ("GSM8K test", 137): ("sound", ""),
    ("GSM8K test", 147): ("ambiguous", "a quarter of the first set, or of the second"),
    ("GSM8K test", 155): ("sound", ""),
    ("GSM8K test", 156): ("sound", ""),
    ("GSM8K test", 183): ("sound", ""),
    ("GSM8K test", 297): ("sound", ""),
    ("GSM8K test", 365): ("sound", ""),
    ("GSM8K test", 381): ("sound", ""),
    ("GSM8K test", 410): ("sound", ""),
    ("GSM8K test", 507): ("sound", ""),
}
"""(collection, row of its gold file) -> is the gold wrong, ambiguous or sound, and why; "sound" without a
reason is a mistake in the samples' own sums."""


def judgement(collection: Collection, suspect: Suspect) -> tuple[str, str]:
    return JUDGEMENTS.get((collection.name, int(suspect.question.source)), ("not read", ""))


# ---------------------------------------------------------------- the tables


def material(questions: Sequence[Question], completions: Sequence[Completion], form: AnswerForm) -> Material:
    return gather({"all": tuple(questions)}, "all", completions, [], form)


def wrong_gold(question: Question, form: AnswerForm) -> Question:
    """The same question with another gold: the next label, the other word, or one more."""
    gold = answers.canonical(question.answer, form, question.choices) or ""
    if form == "choice":
        other = LABELS[(LABELS.index(gold) + 1) % len(question.choices)]
    elif form == "boolean":
        other = "no" if gold == "yes" else "yes"
    else:
        other = f"1{gold}" if gold[0].isdigit() else f"-1{gold[1:]}"
    return replace(question, answer=other)


def planted(questions: Sequence[Question], completions: Sequence[Completion], form: AnswerForm) -> str:
    """Of golds made wrong on purpose, at questions with enough samples, how many become suspects."""
    wrong = {q.id: wrong_gold(q, form) for q in questions[::PLANTED_EVERY]}
    changed = material([wrong.get(q.id, q) for q in questions], completions, form)
    read_often = Counter(one.question.id for one in changed.answered if one.verdict.extracted is not None)
    asked = [question for question in wrong if read_often[question] >= FEWEST]
    found = {suspect.question.id for suspect in suspects(changed)}
    return share(sum(question in found for question in asked), len(asked))


def share(count: int, n: int) -> str:
    return f"{count} of {n}, {percent(count / n)} {percent_range(wilson(count, n))}"


def report(root: Path) -> tuple[str, int]:
    """Both tables, and how many suspects of the first ranks have not been read by hand."""
    summary = [
        "| questions | samples | gold seen | suspects | read by hand | wrong | ambiguous | sound "
        "| planted golds found |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    listed = [
        "| set | row | gold | samples say | votes | the gold is | why |",
        "|---|---|---|---|---|---|---|",
    ]
    unread = 0
    for collection in COLLECTIONS:
        questions, completions = collection.make(root)
        judged = material(questions, completions, collection.form)
        doubted = suspects(judged)
        first = [(suspect, *judgement(collection, suspect)) for suspect in doubted[:READ_BY_HAND]]
        verdicts = Counter(verdict for _, verdict, _ in first)
        unread += verdicts["not read"]
        read_often = Counter(one.question.id for one in judged.answered if one.verdict.extracted is not None)
        enough = sum(count >= FEWEST for count in read_often.values())
        files = len({completion.sample for completion in completions})
        summary.append(
            f"| {collection.name} | {files} | {collection.filtered} | {share(len(doubted), enough)} "
            f"| {len(first)} | {verdicts['wrong']} | {verdicts['ambiguous']} | {verdicts['sound']} "
            f"| {planted(questions, completions, collection.form)} |"
        )
        for suspect, verdict, why in first:
            if verdict != "sound" or why:
                listed.append(
                    f"| {collection.name} | {suspect.question.source} | {suspect.question.answer} "
                    f"| {suspect.answer} | {suspect.votes} of {suspect.read} | {verdict} | {why} |"
                )
    return "\n".join([*summary, "", *listed]), unread


def main() -> int:
    text, unread = report(data_folder())
    print(text)
    if "--write" in sys.argv[1:]:
        between_markers("gold", text)
    if unread:
        print(f"{unread} suspects have not been read by hand", file=sys.stderr)
    return 1 if unread else 0


if __name__ == "__main__":
    sys.exit(main())
