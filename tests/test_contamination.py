"""Whether a question stands in another set: each level by hand, then the known counts of real sets."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from shared_data import shared_data
from understudy import shelves
from understudy.audit.contamination import contamination
from understudy.audit.material import Material
from understudy.checks.likeness import ngrams, normal
from understudy.contamination import LEVELS, NEAR, Index, Level, Match, counts, overlaps, text_overlaps
from understudy.roles import Source
from understudy.rows import read
from understudy.types import Question, Rationale

NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
WORDS = NUMBERS.split()
THIRTEEN = " ".join(WORDS[:13])


def ask(text: str, *choices: str, context: str = "") -> Question:
    return Question(text, "", choices, context)


def level(one: Question, other: Question) -> Level | None:
    """The strictest level at which two questions are the same; the same both ways round."""
    found = Index([other], "near").find(one)
    back = Index([one], "near").find(other)
    assert (found and (found.level, found.similarity)) == (back and (back.level, back.similarity))
    return found.level if found else None


SAME: list[tuple[Question, Question, Level | None]] = [
    (ask("Is ice cold?"), ask("Is  ice\ncold?"), "exact"),
    (ask("Which is up?", "sea", "sky"), ask("Which is up?", "sea", "sky"), "exact"),
    (ask("Which is up?", "sea", "sky"), ask("Which is up?", "sky", "sea"), "normalised"),
    (ask("Is ice cold?"), ask("is ICE cold"), "normalised"),
    (ask("It has 1,000 legs ."), ask("It has 1000 legs."), "normalised"),
    (ask("“Is ice cold?”"), ask('"Is ice cold?"'), "normalised"),
    (ask("Is ice cold?"), ask("Is ice old?"), None),
    # A passage belongs to its question: the same question on another passage is another one.
    (ask("Who won?", context="Ann beat Ben."), ask("Who won?", context="Ann beat Ben!"), "normalised"),
    (ask("Who won?", context="Ann beat Ben."), ask("Who won?", context="Ben beat Ann."), None),
    # Signs that make another question, though the words are the same.
    (ask("What is 2 + 3?"), ask("What is 2 - 3?"), None),
    (ask("What is 2 × 3?"), ask("What is 2 * 3?"), "normalised"),
    (ask("What is -5 + 7?"), ask("What is 5 + 7?"), None),
    (ask("Close: ( ["), ask("Close: [ ("), None),
    (ask("+"), ask("?"), None),
    (ask("A well-known song"), ask("a well known song"), "normalised"),
    # Thirteen words in a row, wherever they stand; twelve are not enough.
    (ask(f"Ann says {THIRTEEN} to Ben"), ask(f"{THIRTEEN}, says Cara."), "13-gram"),
    (ask(f"Ann says {' '.join(WORDS[:12])} to Ben"), ask(f"{' '.join(WORDS[:12])}, says Cara."), None),
    # A shorter text counts as a whole only.
    (ask(" ".join(WORDS[:12])), ask(THIRTEEN), "near"),
    (ask("Is ice cold?"), ask(f"Is ice cold? {THIRTEEN}"), None),
    # 12 words make 8 runs of five; of two with another last word 7 are shared, 7 / 9 is less than 0.8.
    (ask(" ".join(WORDS[:12])), ask(" ".join([*WORDS[:11], "zero"])), None),
    # One word less: 7 of 8 runs, 0.875.
    (ask(" ".join(WORDS[:12])), ask(" ".join(WORDS[:11])), "near"),
    (ask("two three four five"), ask("two three four"), None),
    (ask("..."), ask("..."), "exact"),
    (ask("..."), ask("!?"), None),
]


@pytest.mark.parametrize(("one", "other", "expected"), SAME)
def test_the_strictest_level_at_which_two_are_the_same(
    one: Question, other: Question, expected: Level | None
) -> None:
    assert level(one, other) == expected


@pytest.mark.parametrize(("one", "other", "expected"), SAME)
def test_each_level_includes_the_stricter_ones(
    one: Question, other: Question, expected: Level | None
) -> None:
    found = [bool(overlaps([one], [other], wanted)) for wanted in LEVELS]
    assert found == [expected is not None and LEVELS.index(expected) <= i for i in range(len(LEVELS))]


def test_what_is_found_names_the_other_and_its_likeness() -> None:
    eleven, twelve = ask(" ".join(WORDS[:11])), ask(" ".join(WORDS[:12]))
    other = ask("Something else entirely, of no importance")
    assert overlaps([twelve, other], [ask("no"), eleven], "near") == {twelve.id: Match("near", eleven, 0.875)}
    shifted = ask(f"{THIRTEEN} and more")
    # 9 runs of five in thirteen words; two more in the longer text.
    assert overlaps([ask(THIRTEEN)], [shifted], "13-gram") == {
        ask(THIRTEEN).id: Match("13-gram", shifted, 9 / 11)
    }


def test_the_most_similar_is_named_and_the_first_of_equals() -> None:
    question = ask(" ".join(WORDS[:12]))
    ten, eleven, again = ask(" ".join(WORDS[:10])), ask(" ".join(WORDS[:11])), ask(" ".join(WORDS[1:12]))
    assert overlaps([question], [ten, eleven, again], "near")[question.id].question is eleven
    assert overlaps([question], [again, ten, eleven], "near")[question.id].question is again


def test_counts_add_up() -> None:
    question = ask("Is ice cold?")
    found = [Match("exact", question, 1.0)] * 2 + [Match("13-gram", question, 0.5)]
    assert counts(found) == {"exact": 2, "normalised": 2, "13-gram": 3, "near": 3}


def test_a_rationale_quotes_thirteen_words_or_all_of_eight_to_twelve() -> None:
    long = ask(f"Tell me: {THIRTEEN} fourteen?")
    short = ask("Ann has two red pens and four caps")
    brief = ask("Is ice cold?")
    rationales = [
        "Ice is cold. Is ice cold? Yes.",
        f"We read {THIRTEEN.upper()}. So 3.",
        "Ann has two red pens and four hats.",
        "We know that Ann has two red pens, and four caps: 6.",
        f"Again {THIRTEEN}!",
    ]
    quotes = text_overlaps([long, short, brief], rationales)
    assert quotes.questions == {long.id: 1, short.id: 3}
    assert quotes.texts == (1, 3, 4)
    assert text_overlaps([], rationales).questions == {}


HOSTILE = {
    "one word": "a" * 1_000_000,
    "one word again and again": "a " * 500_000,
    "words": " ".join(map(str, range(150_000))),
    "signs": "-" * 1_000_000,
    "minus and spaces": "- " * 500_000,
    "accents": "a" + "\N{COMBINING ACUTE ACCENT}" * 500_000,
    "surrogates": "\ud800 x" * 250_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_long_hostile_text_takes_its_length(text: str) -> None:
    long, question = ask(text), ask("Is ice cold?")
    started = time.process_time()
    assert overlaps([question], [long], "13-gram") == {}
    assert text_overlaps([question], [text]).questions == {}
    assert time.process_time() - started < 2.0
    assert overlaps([long], [long, question], "near")[long.id].level == "exact"


# ---------------------------------------------------------------- the audit


def test_the_audit_counts_every_pair_of_splits() -> None:
    train = (ask("Is ice cold?"), ask(f"Ann says {THIRTEEN}"), ask("Who is it?"))
    test = (ask("Is ICE cold?"), ask(f"Ben says {THIRTEEN}"), ask("What else?"), ask("Who is it?"))
    material = Material(
        "text",
        {"train": train, "dev": (ask("Why not?"),), "test": test},
        "train",
        (),
        (
            Rationale(train[0].id, 0, "Ice is frozen.", "yes"),
            Rationale(train[1].id, 0, f"{THIRTEEN}.", "13"),
        ),
    )
    section = contamination(material, {"other": [ask("Who is it?"), ask("Who is it?")]})
    assert section.columns == ("questions of", "in", "n", "exact", "normalised", "13-gram", "near")
    assert section.rows == (
        ("dev", "train", "1", "0", "0", "0", "0"),
        ("test", "train", "4", "1", "2", "3", "3"),
        ("test", "dev", "4", "0", "0", "0", "0"),
        ("other", "train", "1", "1", "1", "1", "1"),
    )
    assert section.sentences[0] == (
        "1 of the 1 questions of other (100.0 %) stands in train, but for case, punctuation and options."
    )
    assert section.sentences[1] == "1 of the 2 kept rationales of train quote 1 of the 4 questions of test."
    assert section.numbers["quotes"][1] == {"held_out": "test", "n": 4, "questions": 1, "rationales": 1}


def test_the_audit_of_splits_that_share_nothing_says_so() -> None:
    splits = {"train": (ask("Is ice cold?"),), "test": (ask("Is fire hot?"), ask("Is it?"))}
    section = contamination(Material("text", splits, "train", (), ()))
    assert section.sentences[0].startswith("No question stands in another split")
    assert "(1 pair of splits, 2 look-ups)" in section.sentences[0]
    with_rationale = Material(
        "text", splits, "train", (), (Rationale(splits["train"][0].id, 0, "Yes.", "yes"),)
    )
    assert "None of the 1 kept rationales of train quotes a question of test." in (
        contamination(with_rationale).sentences
    )
    alone = Material("text", {"train": splits["train"]}, "train", (), ())
    assert contamination(alone).sentences[0].startswith("There is one split only")


# ---------------------------------------------------------------- real sets


def load(task: str, split: str, folder: str | None = None) -> list[Question]:
    path = shared_data(folder or task)
    questions: list[Question] = shelves.load("tasks", task).load(split, Source(path=str(path)))
    return questions


def texts(path: Path, column: str) -> list[Question]:
    return [ask(str(row.fields[column])) for row in read(path)]


def tally(held_out: Sequence[Question], others: Sequence[Question]) -> list[int]:
    return list(counts(overlaps(held_out, others, "near").values()).values())


@pytest.mark.parametrize(("task", "stems"), [("arc_easy", 7), ("arc_challenge", 6)])
def test_arc_test_stems_that_occur_in_train(task: str, stems: int) -> None:
    test = load(task, "test", "arc")
    found = overlaps(test, load(task, "train", "arc"), "normalised")
    # Seven questions of the Challenge test have six stems between them.
    assert len(found) == 7
    assert len({normal(question.text) for question in test if question.id in found}) == stems


@pytest.mark.parametrize(
    ("held_out", "other", "exact", "shared"),
    [("dev", "train", 39, 40), ("test", "train", 27, 27), ("test", "dev", 7, 7)],
)
def test_mawps_splits_share_texts(held_out: str, other: str, exact: int, shared: int) -> None:
    assert tally(load("mawps", held_out), load("mawps", other))[:2] == [exact, shared]


# SingleEq: 416 by words alone (415 distinct texts); 20 more write thousands with a comma, which the normal
# form takes out.
@pytest.mark.parametrize(
    ("name", "n", "words", "found"),
    [("MultiArith", 600, 432, 432), ("AddSub", 395, 327, 327), ("SingleEq", 508, 415, 436)],
)
def test_mawps_train_holds_most_of_its_older_sets(name: str, n: int, words: int, found: int) -> None:
    older, train = texts(shared_data("mawps") / f"{name}.json.gz", "sQuestion"), load("mawps", "train")
    assert len(older) == n
    assert len(_by_words(older) & _by_words(train)) == words
    shared = overlaps(older, train, "normalised")
    assert len(shared) == found
    commas = [question for question in older if question.id in shared and "," in _thousands(question.text)]
    assert len(commas) == (20 if name == "SingleEq" else 0)


def _by_words(questions: Sequence[Question]) -> set[str]:
    return {" ".join(re.findall(r"\w+", question.text.lower())) for question in questions}


def _thousands(text: str) -> str:
    """The commas of a text that stand between digits."""
    return "".join(
        mark
        for before, mark, after in zip(text, text[1:], text[2:], strict=False)
        if mark == "," and before.isdecimal() and after.isdecimal()
    )


def test_strategyqa_and_the_2000_that_rationales_were_written_for() -> None:
    dev = load("strategyqa", "dev_229")
    assert tally(dev, load("strategyqa", "all")) == [0, 0, 0, 0]
    written = texts(shared_data("eit_cot_distill") / "stqa_gemini_level1_ranked.json.gz", "instruction")
    assert tally(dev, written) == [199, 199, 199, 199]


def test_svamp_splits_share_templates_and_no_question() -> None:
    assert tally(load("svamp", "test"), load("svamp", "train")) == [0, 0, 99, 99]


@pytest.mark.parametrize(("task", "found"), [("arc_easy", 9), ("openbookqa", 24), ("mawps", 29)])
def test_minhash_finds_what_comparing_all_pairs_finds(task: str, found: int) -> None:
    test, train = (load(task, split, "arc" if task == "arc_easy" else None) for split in ("test", "train"))
    held, other = ([ngrams(normal(question.text), 5) for question in part] for part in (test, train))
    holders: dict[str, list[int]] = {}
    for position, runs in enumerate(other):
        for run in runs:
            holders.setdefault(run, []).append(position)
    alike = {
        test[i].id
        for i, runs in enumerate(held)
        for j in {position for run in runs for position in holders.get(run, ())}
        if len(runs & other[j]) / len(runs | other[j]) >= NEAR
    }
    assert len(alike) == found
    matches: Mapping[str, Match] = overlaps(test, train, "near")
    assert alike <= matches.keys()
    assert all(match.similarity >= NEAR for match in matches.values() if match.level == "near")


GENERATED = [("arithmetic", "ood"), ("coin_flip", "test_3"), ("last_letters", "test_3")]


@pytest.mark.parametrize(("task", "further"), GENERATED)
def test_generated_splits_share_no_question_by_their_normalised_text(task: str, further: str) -> None:
    splits = {
        name: shelves.load("tasks", task).load(name, Source()) for name in ("train", "dev", "test", further)
    }
    index = Index([*splits["train"], *splits["dev"]], "normalised")
    assert not [question for name in ("test", further) for question in splits[name] if index.find(question)]
