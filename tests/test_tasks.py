"""The tasks: original layouts by hand, official counts on the real files, generated questions by sums."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shared_data import shared_data
from understudy import shelves
from understudy.answers import canonical, judge, write
from understudy.errors import DataError
from understudy.roles import Source, Task
from understudy.types import Question

GENERATED = tuple(name for name in shelves.names("tasks") if shelves.load("tasks", name).generated)
PUBLISHED = tuple(name for name in shelves.names("tasks") if name not in (*GENERATED, "jsonl"))


def task(name: str) -> Task:
    loaded = shelves.load("tasks", name)
    assert isinstance(loaded, Task)
    return loaded


def write_file(path: Path, content: Any) -> Path:
    """A data file: text as it is, a list of rows as JSON Lines or, under .json, as an array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        array = path.suffix == ".json"
        content = (
            json.dumps(content, indent=1) if array else "".join(json.dumps(row) + "\n" for row in content)
        )
    path.write_text(content, encoding="utf-8")
    return path


# ---------------------------------------------------------------- every task


@pytest.mark.parametrize("name", [*PUBLISHED, *GENERATED])
def test_exemplars_reason_and_their_answers_are_canonical(name: str) -> None:
    exemplars = task(name).exemplars
    assert 6 <= len(exemplars) <= 8
    for exemplar in exemplars:
        assert canonical(exemplar.answer, task(name).form, exemplar.choices) == exemplar.answer
        assert len(exemplar.rationale.split()) >= 5
        assert "answer is" not in exemplar.rationale.lower()
        stated = f"{exemplar.rationale} {write(exemplar.answer, task(name).form)}"
        assert judge(stated, exemplar.answer, task(name).form, exemplar.choices).name == "correct"


@pytest.mark.parametrize("name", [*PUBLISHED, *GENERATED])
def test_the_sums_in_exemplars_are_right(name: str) -> None:
    for exemplar in task(name).exemplars:
        for left, op, right, result in re.findall(
            r"([\d.]+) ([-+*/]) ([\d.]+) = ([\d.]*\d)", exemplar.rationale
        ):
            assert apply(float(left), op, float(right)) == pytest.approx(float(result)), exemplar


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_task_is_pinned_on_the_hub(name: str) -> None:
    hub = task(name).hub
    assert hub is not None
    assert re.fullmatch(r"[0-9a-f]{40}", hub.revision)
    assert set(task(name).counts) == set(task(name).splits)


@pytest.mark.parametrize("name", [*PUBLISHED, *GENERATED])
def test_an_unknown_split_names_those_that_are_there(name: str) -> None:
    with pytest.raises(DataError, match=r"no split 'nowhere'; there are .*test"):
        task(name).load("nowhere", Source())


# ---------------------------------------------------------------- the real files

FOLDERS = {"arc_easy": "arc", "arc_challenge": "arc"}
ABSENT = {("qasc", "train")}  # the official train file is not among the real data
SPLITS = [(name, split) for name in PUBLISHED for split in task(name).splits if (name, split) not in ABSENT]


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_official_counts_and_golds_on_the_real_files(name: str, split: str) -> None:
    source = Source(path=str(shared_data(FOLDERS.get(name, name))))
    questions = task(name).load(split, source)
    assert len(questions) == task(name).counts[split]
    form = task(name).form
    for question in questions:
        assert canonical(question.answer, form, question.choices) == question.answer
        verdict = judge(write(question.answer, form), question.answer, form, question.choices)
        assert verdict.name == "correct", (question, verdict)
    files = task(name).files
    assert files is not None
    assert files(source)
    assert all(path.is_file() for path in files(source))


@pytest.mark.parametrize("name", ["svamp", "asdiv"])
def test_real_splits_of_one_file_partition_it(name: str) -> None:
    source = Source(path=str(shared_data(name)))
    parts = [question.source for split in ("train", "test") for question in task(name).load(split, source)]
    assert sorted(parts) == sorted(question.source for question in task(name).load("all", source))


def test_real_strategyqa_splits_partition_the_labelled_file_in_order() -> None:
    source = Source(path=str(shared_data("strategyqa")))
    parts = [
        question for split in ("train", "dev", "test") for question in task("strategyqa").load(split, source)
    ]
    assert parts == task("strategyqa").load("all", source)


def test_asdiv_test_is_the_authors_fold_0() -> None:
    folder = shared_data("asdiv")
    fold = (folder / "nfolds" / "asdiv-w" / "fold0.txt").read_text(encoding="utf-8").split()
    test = task("asdiv").load("test", Source(path=str(folder)))
    assert sorted(question.source for question in test) == sorted(fold)


def test_svamp_train_is_the_700_that_rationales_were_written_for() -> None:
    train = task("svamp").load("train", Source(path=str(shared_data("svamp"))))
    rows = task("jsonl").load(
        "train",
        Source(path=str(shared_data("eit_cot_distill") / "SVAMP_only_ans.json.gz")),
    )
    assert {question.id for question in train} == {question.id for question in rows}


def test_the_folds_of_mawps_are_read_with_their_numbers_put_back() -> None:
    fold = shared_data("svamp") / "cv_mawps" / "fold0_dev.csv.gz"
    questions = task("mawps").load("test", Source(path={"test": str(fold)}))
    assert len(questions) == 384
    assert not any("number0" in question.text for question in questions)


def test_seven_arc_easy_test_stems_occur_in_train() -> None:
    source = Source(path=str(shared_data("arc")))
    train = {question.text for question in task("arc_easy").load("train", source)}
    assert sum(question.text in train for question in task("arc_easy").load("test", source)) == 7


# ---------------------------------------------------------------- the original layouts, by hand

AI2 = {
    "id": "q1",
    "question": {
        "stem": "Which is a metal?",
        "choices": [
            {"text": "wood", "label": "A"},
            {"text": "iron", "label": "B"},
            {"text": "air", "label": "C"},
        ],
    },
    "answerKey": "B",
}
HUB_ARC = {
    "id": "q1",
    "question": "Which is a metal?",
    "choices": {"text": ["wood", "iron", "air"], "label": ["1", "2", "3"]},
    "answerKey": "2",
}
HUB_OPENBOOKQA = {
    "id": "q1",
    "question_stem": "Which is a metal?",
    "choices": {"text": ["wood", "iron", "air"], "label": ["A", "B", "C"]},
    "answerKey": "B",
}
METAL = Question("Which is a metal?", "B", ("wood", "iron", "air"), source="q1")
TSV = (
    "ID\tQuestion Stem\tChoices\tComplete Question\tAnswer Key\n"
    "q1\tWhich is a metal?\t(A) wood (B) iron (C) air\t..\tB\n"
)
FACTS = {"fact1": "Iron is a metal.", "fact2": "Wood is not", "combinedfact": "Iron it is"}

# Task, split, file name, content, the first question.
LAYOUTS: list[tuple[str, str, str, Any, Question]] = [
    (
        "gsm8k",
        "test",
        "test.jsonl",
        [
            {
                "question": "How many?",
                "answer": "It is 2 * 3 = <<2*3=6>>6.\nThen  6 + 1 = <<6+1=7>>7.\n#### 1,007",
            }
        ],
        Question(
            "How many?",
            "1007",
            rationale="It is 2 * 3 = 6.\nThen 6 + 1 = 7.",
            source="line 1",
            steps=2,
        ),
    ),
    (
        "svamp",
        "test",
        "SVAMP.json",
        [{"ID": "chal-1", "Body": "A has 3", "Question": "How many?", "Answer": 3.0}],
        Question("A has 3 How many?", "3", source="chal-1"),
    ),
    (
        "asdiv",
        "all",
        "ASDiv.xml",
        '<M><Problem ID="nluds-0001"><Body>Ann has 9.</Body><Question>How many?</Question>'
        "<Answer>9 (apples)</Answer></Problem></M>",
        Question("Ann has 9. How many?", "9", source="nluds-0001"),
    ),
    (
        "mawps",
        "dev",
        "validset.json",
        [{"id": 7, "original_text": "How many ?", "equation": "x=2", "ans": 2.0}],
        Question("How many ?", "2", source="7"),
    ),
    (
        "mawps",
        "train",
        "train.csv",
        "Question,Numbers,Answer\nnumber0 and N_01 and number10 ?,3.0 4.5 0 0 0 0 0 0 0 0 12.0,7.5\n",
        Question("3 and 4.5 and 12 ?", "7.5", source="line 2"),
    ),
    (
        "strategyqa",
        "dev_229",
        "dev.json",
        [
            {
                "qid": "s1",
                "question": "Is it?",
                "answer": False,
                "facts": ["One.", "Two."],
                "decomposition": ["a", "b"],
            }
        ],
        Question("Is it?", "no", rationale="One. Two.", source="s1", steps=2),
    ),
    ("commonsenseqa", "test", "dev_rand_split.jsonl", [AI2], METAL),
    ("arc_easy", "train", "ARC-Easy/ARC-Easy-Train.jsonl", [AI2], METAL),
    ("arc_challenge", "test", "arc_challenge/official/test.jsonl", [AI2], METAL),
    ("arc_challenge", "test", "test.jsonl", [HUB_ARC], METAL),
    ("openbookqa", "train", "Main/train.tsv", TSV, METAL),
    ("openbookqa", "dev", "dev.jsonl", [HUB_OPENBOOKQA], METAL),
    (
        "qasc",
        "test",
        "dev.jsonl",
        [{**AI2, **FACTS}],
        Question(
            METAL.text, "B", METAL.choices, rationale="Iron is a metal. Wood is not. Iron it is.", source="q1"
        ),
    ),
]


@pytest.mark.parametrize(("name", "split", "file", "content", "expected"), LAYOUTS)
@pytest.mark.parametrize("given", ["folder", "file", "mapping"])
def test_original_layouts(
    tmp_path: Path, name: str, split: str, file: str, content: Any, expected: Question, given: str
) -> None:
    path = write_file(tmp_path / file, content)
    paths: dict[str, str | dict[str, str]] = {
        "folder": str(tmp_path),
        "file": str(path),
        "mapping": {split: str(path)},
    }
    source = Source(path=paths[given])
    assert task(name).load(split, source)[0] == expected
    files = task(name).files
    assert files is not None
    assert files(source) == (path,)


def test_every_published_task_has_a_layout_by_hand() -> None:
    assert {name for name, *_ in LAYOUTS} == set(PUBLISHED)


def test_svamp_is_cut_by_the_ids_of_the_usual_split(tmp_path: Path) -> None:
    rows = [
        {"ID": f"chal-{n}", "Body": "A", "Question": f"Is it {n}?", "Answer": 1.0} for n in range(1, 1001)
    ]
    source = Source(path=str(write_file(tmp_path / "SVAMP.json", rows)))
    train, test = (task("svamp").load(split, source) for split in ("train", "test"))
    assert (len(train), len(test)) == (700, 300)
    assert [question.source for question in test][:4] == ["chal-1", "chal-4", "chal-7", "chal-8"]
    assert not {question.id for question in train} & {question.id for question in test}


def test_strategyqa_is_cut_80_10_10_in_order(tmp_path: Path) -> None:
    rows = [{"qid": str(n), "question": f"Is {n} even?", "answer": n % 2 == 0} for n in range(2061)]
    source = Source(path=str(write_file(tmp_path / "train.json", rows)))
    parts = [task("strategyqa").load(split, source) for split in ("train", "dev", "test")]
    assert [len(part) for part in parts] == [1648, 206, 207]
    assert [question.source for part in parts for question in part] == [str(n) for n in range(2061)]


def test_a_mapping_is_taken_as_already_cut(tmp_path: Path) -> None:
    rows = [{"qid": str(n), "question": f"Is {n} even?", "answer": n % 2 == 0} for n in range(10)]
    path = write_file(tmp_path / "mine.json", rows)
    assert len(task("strategyqa").load("test", Source(path={"test": str(path)}))) == 10


def test_arc_challenge_prefers_ai2s_own_test_file(tmp_path: Path) -> None:
    write_file(tmp_path / "official" / "test.jsonl", [AI2])
    write_file(tmp_path / "ARC-Challenge-Test.jsonl", [AI2, {**AI2, "id": "q2"}])
    assert len(task("arc_challenge").load("test", Source(path=str(tmp_path)))) == 2


# Task, split, file name, content, and what the message must hold.
MALFORMED: list[tuple[str, str, str, Any, str]] = [
    ("gsm8k", "test", "test.jsonl", [{"question": "a", "answer": "7"}], "line 1: the answer has no '####'"),
    (
        "gsm8k",
        "test",
        "test.jsonl",
        [{"question": "a", "answer": "#### many"}],
        "'many' cannot be read as a number",
    ),
    ("gsm8k", "test", "test.jsonl", [{"answer": "#### 7"}], "line 1: no text in the field 'question'"),
    ("svamp", "test", "SVAMP.json", [{"ID": "x-1"}], "the ID is not one of chal-1 to chal-1000"),
    (
        "mawps",
        "test",
        "test.csv",
        "Question,Numbers,Answer\nnumber1 ?,3,4\n",
        "line 2: the question speaks of number1",
    ),
    (
        "mawps",
        "test",
        "testset.json",
        [{"original_text": "a"}],
        "line 2: no text in the field 'ans' or 'Answer'",
    ),
    (
        "strategyqa",
        "dev_229",
        "dev.json",
        [{"question": "a", "answer": "perhaps"}],
        "cannot be read as a boolean",
    ),
    (
        "strategyqa",
        "dev_229",
        "dev.json",
        [{"question": "a", "answer": True, "facts": [1]}],
        "'facts' must be a list",
    ),
    (
        "commonsenseqa",
        "test",
        "dev.jsonl",
        [{**AI2, "answerKey": None}],
        "line 1: no text in the field 'answerKey'",
    ),
    (
        "arc_easy",
        "test",
        "test.jsonl",
        [AI2, {**AI2, "answerKey": "E"}],
        "line 2: the answer key 'E' is none of the",
    ),
    (
        "arc_easy",
        "test",
        "test.jsonl",
        [{**HUB_ARC, "choices": {"text": ["a"], "label": []}}],
        "1 choices but 0 labels",
    ),
    (
        "openbookqa",
        "test",
        "test.tsv",
        TSV.replace("(B) iron (C) air", ""),
        "line 2: the choices must be 2 to 26",
    ),
    ("openbookqa", "test", "test.tsv", TSV + "q2\tWhich?\n", "line 3: 2 fields, but the header names 5"),
    ("qasc", "test", "dev.jsonl", '{"id": \n', "line 1: not valid JSON"),
]


@pytest.mark.parametrize(("name", "split", "file", "content", "expected"), MALFORMED)
def test_a_malformed_row_names_file_and_line(
    tmp_path: Path, name: str, split: str, file: str, content: Any, expected: str
) -> None:
    path = write_file(tmp_path / file, content)
    with pytest.raises(DataError) as raised:
        task(name).load(split, Source(path=str(tmp_path)))
    assert str(raised.value).startswith(f"{path}, line ")
    assert expected in str(raised.value)


def test_a_missing_file_names_what_was_looked_for_and_where(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        task("openbookqa").load("test", Source(path=str(tmp_path)))
    assert str(tmp_path) in str(raised.value)
    assert "looked for test.jsonl, test.tsv, Main/test.jsonl, Main/test.tsv" in str(raised.value)
    with pytest.raises(DataError, match="there is no such file"):
        task("gsm8k").load("test", Source(path=str(tmp_path / "gsm9k")))
    with pytest.raises(DataError, match="names no file for the split 'test'; it has train"):
        task("gsm8k").load("test", Source(path={"train": "x.jsonl"}))


@pytest.mark.parametrize("source", [Source(path="x.jsonl", columns={"question": "q"}), Source(form="text")])
def test_a_published_task_knows_its_own_columns(source: Source) -> None:
    with pytest.raises(DataError, match="use the task 'jsonl'"):
        task("gsm8k").load("test", source)


# ---------------------------------------------------------------- the Hub


def fake_hub(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]] | Exception) -> list[Any]:
    """Stand in for the `datasets` package; returns what it was asked for."""
    asked: list[Any] = []

    def load_dataset(*where: Any, **which: Any) -> list[dict[str, Any]]:
        asked.append((*where, which["split"], which["revision"]))
        if isinstance(rows, Exception):
            raise rows
        return rows

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return asked


def test_the_hub_is_asked_for_the_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_hub(monkeypatch, [HUB_ARC])
    assert task("arc_easy").load("dev", Source()) == [METAL]
    assert task("arc_easy").load("dev", Source(revision="mine")) == [METAL]
    pinned = "210d026faf9955653af8916fad021475a3f00453"
    assert asked == [("allenai/ai2_arc", "ARC-Easy", "validation", revision) for revision in (pinned, "mine")]


def test_asdiv_on_the_hub_is_cut_by_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"body": f"{n}.", "question": "How many?", "answer": f"{n} (x)"} for n in range(1, 2306)]
    fake_hub(monkeypatch, rows)
    assert {split: len(task("asdiv").load(split, Source())) for split in task("asdiv").splits} == {
        "train": 1861,
        "test": 444,
        "all": 2305,
    }


def test_a_row_of_the_hub_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, [HUB_ARC, {**HUB_ARC, "answerKey": "9"}])
    with pytest.raises(DataError, match="allenai/ai2_arc, line 2: the answer key '9'"):
        task("arc_easy").load("dev", Source())


def test_an_unreachable_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, ConnectionError("no\nroute"))
    with pytest.raises(
        DataError, match=r"openai/gsm8k at 7403.*ConnectionError: no route.*or give task\.path="
    ):
        task("gsm8k").load("test", Source())


def test_without_the_hub_client_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"install understudy\[hub\], or give task\.path="):
        task("gsm8k").load("test", Source())


def test_a_split_that_the_hub_lacks_points_to_the_files() -> None:
    with pytest.raises(DataError, match=r"mwpt5/MAWPS\) has no split 'test'.*give task\.path="):
        task("mawps").load("test", Source())


# ---------------------------------------------------------------- generated tasks


@pytest.mark.parametrize("name", GENERATED)
def test_generated_splits_have_their_size_and_share_no_question_over_seeds(name: str) -> None:
    owner: dict[str, str] = {}
    for split in task(name).splits:
        for seed in (0, 1):
            questions = generated(name, split, seed)
            assert len({question.id for question in questions}) == len(questions) == task(name).counts[split]
            for question in questions:
                assert owner.setdefault(question.id, split) == split, question.text


@pytest.mark.parametrize("name", GENERATED)
def test_generated_questions_depend_on_the_seed_alone(name: str) -> None:
    first = task(name).load("dev", Source())
    assert first == task(name).load("dev", Source())
    assert first != task(name).load("dev", Source(seed=1))
    code = (
        "from understudy import shelves; from understudy.roles import Source;"
        f"print(shelves.load('tasks', '{name}').load('dev', Source())[-1].id)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == first[-1].id


@pytest.mark.parametrize("name", GENERATED)
def test_generated_golds_follow_from_their_rationales(name: str) -> None:
    form = task(name).form
    for split in task(name).splits:
        for question in generated(name, split)[:400]:
            stated = f"{question.rationale} {write(question.answer, form)}"
            assert judge(stated, question.answer, form).name == "correct"


@pytest.mark.parametrize("name", GENERATED)
def test_generated_tasks_take_no_file(name: str) -> None:
    with pytest.raises(DataError, match="is generated"):
        task(name).load("test", Source(path="x.jsonl"))


@cache
def generated(name: str, split: str, seed: int = 0) -> tuple[Question, ...]:
    return tuple(task(name).load(split, Source(seed=seed)))


def apply(left: float, op: str, right: float) -> float:
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else 0.0}[op]


def arithmetic_questions() -> Iterator[tuple[str, Question]]:
    for split in task("arithmetic").splits:
        for question in generated("arithmetic", split):
            yield split, question


def test_arithmetic_is_right_whole_and_within_bounds() -> None:
    for split, question in arithmetic_questions():
        start, *rest = question.source.split()
        chain = list(zip(rest[::2], map(int, rest[1::2]), strict=True))
        assert len(chain) == question.steps
        assert (question.steps == 5) == (split == "ood")
        value = int(start)
        assert 2 <= value <= 16
        steps = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)\.", question.rationale)
        for (op, operand), step in zip(chain, steps, strict=True):
            assert 2 <= operand <= 9
            result = apply(value, op, operand)
            assert result == int(result)
            assert 0 <= result <= 16
            assert step == (str(value), op, str(operand), str(int(result)))
            value = int(result)
        assert question.answer == str(value)
        assert all(number in question.text for number in (start, *(str(n) for _, n in chain if n != 2)))


def test_arithmetic_chains_belong_to_one_split() -> None:
    owner: dict[str, str] = {}
    for split, question in arithmetic_questions():
        assert owner.setdefault(question.source, split) == split


def test_arithmetic_is_short_has_few_words_and_no_answer_worth_guessing() -> None:
    words: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    for _, question in arithmetic_questions():
        text, rationale = (re.findall(r"\w+|[^\w\s]", part) for part in (question.text, question.rationale))
        words.update(text + rationale)
        answers[question.answer] += 1
        assert question.steps is not None
        assert len(text) <= 14 * question.steps + 18
        assert len(rationale) <= 9 * (question.steps + 1)
    assert len(words) < 250
    assert len(answers) == 17
    assert max(answers.values()) < 0.1 * answers.total()


def test_arithmetic_lengths_are_mixed_from_the_front() -> None:
    steps = [question.steps for question in generated("arithmetic", "train")[:300]]
    assert Counter(steps) == {2: 100, 3: 100, 4: 100}


@pytest.mark.parametrize(("split", "length"), [("train", 2), ("test", 2), ("test_3", 3), ("test_4", 4)])
def test_last_letters_are_the_last_letters(split: str, length: int) -> None:
    for question in generated("last_letters", split):
        names = question.text.split('"')[1].split()
        assert len(names) == question.steps == length
        assert question.answer == "".join(name[-1] for name in names)
        assert re.findall(r'"(\w+)" is "(\w)"', question.rationale) == [(name, name[-1]) for name in names]


@pytest.mark.parametrize(("split", "length"), [("train", 2), ("test", 2), ("test_3", 3), ("test_4", 4)])
def test_coins_are_flipped_as_often_as_told(split: str, length: int) -> None:
    questions = generated("coin_flip", split)
    for question in questions:
        told, kept = (len(re.findall(part, question.text)) for part in (r"\w flips", "does not flip"))
        assert told + kept == question.steps == length
        assert question.answer == ("no" if told % 2 else "yes")
        assert question.rationale.endswith("heads up." if question.answer == "yes" else "tails up.")
    share = sum(question.answer == "yes" for question in questions) / len(questions)
    assert 0.4 < share < 0.6


# ---------------------------------------------------------------- your own file

# Content, the columns and form given, and the question that must come out.
OWN: list[tuple[str, Any, Source, Question]] = [
    ("a.jsonl", [{"question": "2 + 3?", "answer": 5}], Source(), Question("2 + 3?", "5", source="line 1")),
    (
        "a.json",
        [{"problem": "2 + 3?", "solution": "Add.", "target": "5"}],
        Source(),
        Question("2 + 3?", "5", rationale="Add.", source="line 2"),
    ),
    (
        "a.jsonl",
        [{"input": "Is it?", "label": True, "qid": 4}],
        Source(),
        Question("Is it?", "yes", source="4"),
    ),
    (
        "a.jsonl",
        [{"prompt": "Who?", "output": "Ann", "passage": "Ann did."}],
        Source(),
        Question("Who?", "ann", context="Ann did.", source="line 1"),
    ),
    (
        "a.jsonl",
        [{"question": "Yes or no?", "answer": "no"}],
        Source(form="text"),
        Question("Yes or no?", "no", source="line 1"),
    ),
    (
        "a.jsonl",
        [{"stem": "Which?", "options": ["x", "y"], "answerKey": "y"}],
        Source(),
        Question("Which?", "B", ("x", "y"), source="line 1"),
    ),
    (
        "a.jsonl",
        [{"question": "Which?", "choices": {"p": "x", "q": "y"}, "answer": "q"}],
        Source(),
        Question("Which?", "B", ("x", "y"), source="line 1"),
    ),
    ("a.jsonl", [HUB_ARC], Source(), METAL),
    (
        "a.csv",
        "q,a,id\n2 + 3?,5,x7\n",
        Source(columns={"question": "q", "answer": "a"}),
        Question("2 + 3?", "5", source="x7"),
    ),
    (
        "a.tsv",
        "question\tanswer\tchoices\nWhich?\t(B)\t(A) x (B) y\n",
        Source(),
        Question("Which?", "B", ("x", "y"), source="line 2"),
    ),
]


@pytest.mark.parametrize(("file", "content", "source", "expected"), OWN)
def test_your_own_file(tmp_path: Path, file: str, content: Any, source: Source, expected: Question) -> None:
    path = write_file(tmp_path / file, content)
    given = Source(path=str(path), columns=source.columns, form=source.form)
    assert task("jsonl").load("train", given) == [expected]


OWN_WRONG: list[tuple[Any, Source, str]] = [
    ([{"answer": "5"}], Source(), "line 1: no question"),
    ([{"question": "a"}], Source(), "line 1: no answer"),
    (
        [{"question": "a", "answer": "5"}],
        Source(columns={"answer": "b"}),
        "no field 'b', which task.columns names",
    ),
    ([{"question": "a", "answer": "5"}], Source(columns={"reply": "b"}), "task.columns maps 'reply'"),
    ([{"question": "a", "answer": "x"}], Source(form="number"), "'x' cannot be read as a number"),
    ([{"question": "a", "answer": "C", "choices": ["x", "y"]}], Source(), "'C' cannot be read as a choice"),
    (
        [{"question": "a", "answer": "A", "choices": ["x", "y"]}, {"question": "b", "answer": "A"}],
        Source(),
        "line 2: no choices",
    ),
]


@pytest.mark.parametrize(("content", "source", "expected"), OWN_WRONG)
def test_what_is_wrong_with_your_own_file(
    tmp_path: Path, content: Any, source: Source, expected: str
) -> None:
    path = write_file(tmp_path / "a.jsonl", content)
    with pytest.raises(DataError, match=re.escape(expected)):
        task("jsonl").load("train", Source(path=str(path), columns=source.columns, form=source.form))


def test_your_own_task_needs_a_path() -> None:
    with pytest.raises(DataError, match=r"needs task\.path="):
        task("jsonl").load("train", Source())


def test_your_own_folder_holds_one_file_a_split(tmp_path: Path) -> None:
    train = write_file(tmp_path / "train.jsonl", [{"question": "a", "answer": "1"}])
    hard = tmp_path / "hard.csv"
    with hard.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["question", "answer"], ["b", "2"]])
    source = Source(path=str(tmp_path))
    assert [task("jsonl").load(split, source)[0].text for split in ("train", "hard")] == ["a", "b"]
    files = task("jsonl").files
    assert files is not None
    assert files(source) == (hard, train)
    with pytest.raises(DataError, match=r"looked for test\.jsonl, test\.json, test\.csv"):
        task("jsonl").load("test", source)
