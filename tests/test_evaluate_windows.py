"""A long evaluation: worked on in windows, held in memory one at a time, and judged again for nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from outside.counting import noted
from test_evaluate import QUESTIONS, Parrot
from tiny import TEXTS, quiet
from understudy import answers, evaluate
from understudy.data import Prepared
from understudy.evaluate import Asked, predict
from understudy.examining import ask_students
from understudy.ledger import Ledger
from understudy.methods.two_stage import TwoStage
from understudy.types import AnswerForm, Question, Sampling
from understudy.work import Work, student_of

GREEDY = Sampling(max_tokens=8)
MIB = 1 << 20
COUNT = 40
ROOT = Path(__file__).parents[1]


# ---------------------------------------------------------------- windows


def small_windows(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(evaluate, "WINDOW", size)


def test_a_window_goes_through_all_stages_before_the_next_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 2)
    thinker, answerer = Parrot(lambda _: "hm", "a"), Parrot(lambda _: "5", "b")
    students = {"rationale": thinker, "answer": answerer}
    shares: list[tuple[float, str]] = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        told = predict(
            QUESTIONS, TwoStage(), students, Asked(GREEDY), ledger, lambda *heard: shares.append(heard)
        )
        assert (thinker.heard, answerer.heard) == ([], []), "nobody is asked before it is wanted"
        first = next(told)
        assert (len(thinker.heard), len(answerer.heard)) == (2, 2)
        rest = list(told)
    assert [[part.text for part in texts] for (texts,) in (first, *rest)] == [["hm", "5"]] * 3
    assert [share for share, _ in shares] == pytest.approx([n / 6 for n in range(1, 7)])
    assert shares[-1][1] == "2 of 3 questions, then 1 of 1 answers"


def test_chains_make_windows_of_fewer_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 4)
    thinker, answerer = Parrot(lambda _: "hm", "a"), Parrot(lambda _: "5", "b")
    asked = Asked(GREEDY, Sampling(temperature=1.0, max_tokens=8), chains=3)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        told = predict(
            QUESTIONS, TwoStage(), {"rationale": thinker, "answer": answerer}, asked, ledger, quiet
        )
        assert [part.text for texts in next(told) for part in texts] == ["hm", "5", "hm!", "5", "hm!!", "5"]
        assert len(thinker.heard) == 1, "three chains of a question, and no room for a second"


# ---------------------------------------------------------------- the step


def sums(count: int) -> tuple[Question, ...]:
    """Of all lengths, so that batches differ in theirs."""
    return tuple(
        Question(f"{'well ' * (n % 5)}{n // 9 + 1} + {n % 9 + 1}?", str(n // 9 + n % 9 + 2), source=str(n))
        for n in range(count)
    )


@pytest.fixture(scope="module")
def needs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return two_students(tmp_path_factory.mktemp("needs"))


def two_students(root: Path) -> Mapping[str, Path]:
    """What a `predict` step of two stages reads: questions, and a student for each stage."""
    Prepared("number", {"dev": sums(8), "test": sums(COUNT)}).save(root / "data")
    folders = {"data": root / "data"}
    words = [*TEXTS, *(question.text for question in sums(COUNT))]
    for seed, stage in enumerate(("rationale", "answer")):
        folders[f"stage {stage}"] = root / f"train-{stage}"
        student_of({"name": "causal", "config": "tiny"}).create(words, seed).save(
            root / f"train-{stage}/model"
        )
    return folders


@pytest.fixture
def step(tmp_path: Path, needs: Mapping[str, Path]) -> Callable[..., dict[str, Any]]:
    """Run the step with the students that note what they write, in a folder of its own."""

    def run(folder: str = "predict", **changes: Any) -> dict[str, Any]:
        work = Work(tmp_path / folder, needs, tmp_path / "ledger.sqlite", {"engine": "transformers"}, quiet)
        work.folder.mkdir(exist_ok=True)
        return ask_students(settings(tmp_path, **changes), work)

    torch.set_num_threads(1)
    return run


def settings(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "student": {"name": "outside.counting", "notes": str(root / "written.jsonl")},
        "method": {"name": "two_stage"},
        "split": "test",
        "max_new_tokens": 6,
        "batch_tokens": 120,
        "given": None,
        **changes,
    }


Step = Callable[..., dict[str, Any]]
VOTE = {"chains": 3, "temperature": 0.9}


def test_predictions_do_not_depend_on_a_large_window(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are the same whatever the windows; the last digits of log-probabilities follow the batches."""
    whole = step()
    (tmp_path / "ledger.sqlite").unlink()
    small_windows(monkeypatch, 7)
    windowed = step("windowed")
    assert whole == windowed
    assert texts(tmp_path / "predict") == texts(tmp_path / "windowed")
    assert len(texts(tmp_path / "predict")) == COUNT


def texts(folder: Path) -> list[Any]:
    from understudy.records import load_predictions

    return [
        (p.question_id, [replace(part, logprob=None) for part in p.written]) for p in load_predictions(folder)
    ]


@pytest.mark.parametrize("changes", [{}, VOTE], ids=["greedy", "vote"])
def test_what_is_left_after_a_kill_is_written_in_the_same_batches(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Byte for byte: log-probabilities and what is drawn depend on who shares a batch."""
    small_windows(monkeypatch, 16)
    step("undisturbed", **changes)
    expected = (tmp_path / "undisturbed" / "predictions.jsonl").read_bytes()
    undisturbed = noted(tmp_path / "written.jsonl")
    (tmp_path / "ledger.sqlite").unlink()
    (tmp_path / "written.jsonl").unlink()
    for batches in (3, 5, 2):
        with monkeypatch.context() as patch:
            patch.setattr("outside.counting._Noted._die_once", interrupting(batches))
            with pytest.raises(KeyboardInterrupt):
                step(**changes)
    step(**changes)
    assert (tmp_path / "predict" / "predictions.jsonl").read_bytes() == expected
    assert sorted(noted(tmp_path / "written.jsonl")) == sorted(undisturbed), "and nothing was written twice"


def interrupting(batches: int) -> Callable[[Any], None]:
    left = iter(range(batches))

    def interrupt(live: Any) -> None:
        del live
        if next(left, None) is None:
            raise KeyboardInterrupt

    return interrupt


def test_what_a_killed_process_had_begun_to_write_is_removed(step: Step, tmp_path: Path) -> None:
    (tmp_path / "predict").mkdir()
    (tmp_path / "predict" / ".predictions.jsonl.4711").write_text("{", encoding="utf-8")
    step()
    assert [path.name for path in (tmp_path / "predict").iterdir()] == ["predictions.jsonl"]


# ---------------------------------------------------------------- judging again


def test_another_judge_or_form_writes_nothing(
    step: Step, tmp_path: Path, needs: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = step()
    assert first["n"] == COUNT
    written = noted(tmp_path / "written.jsonl")

    real = answers.judge

    def lenient(*given: Any, **named: Any) -> Any:
        return replace(real(*given, **named), name="correct")

    with monkeypatch.context() as patch:
        patch.setattr(answers, "judge", lenient)
        assert step("judged-again")["correct"] == COUNT > first["correct"]
    as_texts = real_forms(needs, "text", tmp_path)
    work = Work(tmp_path / "as-text", as_texts, tmp_path / "ledger.sqlite", {"engine": "transformers"}, quiet)
    work.folder.mkdir()
    assert ask_students(settings(tmp_path), work)["n"] == COUNT
    assert noted(tmp_path / "written.jsonl") == written
    same = {(tmp_path / folder / "predictions.jsonl").read_bytes() for folder in ("predict", "judged-again")}
    assert len(same) == 1


def real_forms(needs: Mapping[str, Path], form: AnswerForm, root: Path) -> dict[str, Path]:
    """The same needs, but that answers are read in another form."""
    Prepared(form, {"dev": sums(8), "test": sums(COUNT)}).save(root / "data")
    return {**needs, "data": root / "data"}


# ---------------------------------------------------------------- memory


@pytest.mark.slow
def test_memory_stays_flat() -> None:
    """40,000 questions through the real step and ledger, in a process of its own, after a first quarter."""
    program = (
        "from pathlib import Path; import sys, tempfile; from predict_memory import measure\n"
        "with tempfile.TemporaryDirectory() as name:\n"
        "    watch, _ = measure(Path(name), 40_000, 'answer_only', 'transformers', 4)\n"
        "    print(watch.highest[0], watch.growth)\n"
    )
    paths = [str(ROOT / "benchmarks"), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        env={"OMP_NUM_THREADS": "1", "PATH": ""},
    )
    warm, growth = map(int, done.stdout.split())
    assert growth < 30 * MIB
    assert warm > 100 * MIB, "torch alone takes more"
