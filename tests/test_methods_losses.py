"""Methods with a loss of their own: counterfactual, consistent, mutual_information.

What they train on, word for word; their losses by hand; and on both architectures that training lowers the
loss and moves the term as it should, against the same training without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny import NUMBER, quiet, rationale, scratch, spec
from understudy import batches
from understudy.errors import TrainingError
from understudy.learners._losses import logits_of
from understudy.learners._pairs import disagreement, unshared
from understudy.learners.agreement import Agreement
from understudy.learners.mutual_information import MutualInformation
from understudy.methods.consistent import Consistent
from understudy.methods.counterfactual import Counterfactual
from understudy.methods.mutual_information import MutuallyInformed
from understudy.methods.single_stage import SingleStage
from understudy.methods.step_by_step import StepByStep
from understudy.roles import Learner, Lesson, Method
from understudy.training import train, trainer
from understudy.types import Example, Question, Rationale, RationaleKind, Sampling

NAMES = ["causal", "seq2seq"]
READ = "Question: Tom has 2 apples and buys 3 more. How many has he?"


def said(text: str, answer: str = "5", sample: int = 0, kind: RationaleKind = "right") -> Rationale:
    return Rationale(NUMBER.id, sample, text, answer, "toy", kind)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---------------------------------------------------------------- counterfactual


def test_counterfactual_teaches_a_wrong_answer_after_its_own_rationale_and_no_rationale() -> None:
    wrong = said("2 x 3 = 6.", "6", 1, "wrong")
    ((factual, counter),) = Counterfactual(counterfactual_weight=0.25).examples(
        "rationale", NUMBER, [said("2 + 3 = 5."), wrong], "number"
    )
    assert factual == Example(
        NUMBER.id, f"[Factual] {READ}", "2 + 3 = 5. The answer is 5.", "rationale", 0.75
    )
    assert (counter.source, counter.target) == (f"[Counterfactual] {READ}", "2 x 3 = 6. The answer is 6.")
    assert (counter.objective, counter.weight, counter.silent) == ("counterfactual", 0.25, True)
    assert counter.target[counter.cut :] == " 6."


def test_counterfactual_reads_the_kind_that_it_asks_for_and_no_other() -> None:
    given = [said("right."), said("slip.", "6", 1, "wrong"), said("asked.", "7", 0, "counterfactual")]
    for of, kind, text in (("wrong", "wrong", "slip."), ("asked", "counterfactual", "asked.")):
        method = Counterfactual(of=of)
        assert method.wants() == {kind}
        ((_, counter),) = method.examples("rationale", NUMBER, given, "number")
        assert counter.target.startswith(text)


def test_counterfactual_deals_every_wrong_rationale_out_once() -> None:
    right = [said(f"Right {n}.", sample=n) for n in range(2)]
    wrong = [said(f"Wrong {n}.", "6", n, "wrong") for n in range(3)]
    groups = Counterfactual().examples("rationale", NUMBER, [*right, *wrong], "number")
    assert [[example.target[:7] for example in group] for group in groups] == [
        ["Right 0", "Wrong 0", "Wrong 2"],
        ["Right 1", "Wrong 1"],
    ]
    assert Counterfactual().examples("rationale", NUMBER, wrong, "number") == [], "as in every method"
    alone = Counterfactual().examples("rationale", NUMBER, right, "number")
    assert [len(group) for group in alone] == [1, 1]
    silent = said("", "6", 0, "wrong")
    assert [len(g) for g in Counterfactual().examples("rationale", NUMBER, [right[0], silent], "number")] == [
        1
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_counterfactual_bears_loss_on_its_answer_alone(name: str) -> None:
    wrong = said("2 x 3 = 6.", "6", 1, "wrong")
    (group,) = Counterfactual().examples("rationale", NUMBER, [said("2 + 3 = 5."), wrong], "number")
    live = scratch(name).create([text for e in group for text in (e.source, f" {e.target}")], 0)
    rows = live.encode(group)
    labels = live.collate(rows)["labels"]
    learned = [label for label in labels[1].tolist() if label != -100]
    assert learned == list(rows[1]["target"])[rows[1]["cut"] :]
    read = live.tokenizer.decode(learned, skip_special_tokens=True)  # type: ignore[attr-defined]
    assert read.replace(" ", "") == "6."


ASKED = [
    Question("How many legs has a dog?", "4"),
    Question("Days of one week?", "7"),
    Question("What do two eyes and my nose make?", "3"),
    Question("Wheels on any bicycle", "2"),
]


@pytest.mark.parametrize(("name", "steps", "rate"), [("causal", 60, 5e-3), ("seq2seq", 40, 3e-3)])
def test_counterfactual_training_makes_the_answer_follow_the_rationale(
    name: str, steps: int, rate: float, tmp_path: Path
) -> None:
    """Given another question's rationale, a student that was trained on right ones alone gives the answer
    that it has learned for the question; after counterfactual training it gives the rationale's."""
    method, groups = Counterfactual(), []
    for place, question in enumerate(ASKED):
        right, wrong = question.answer, ASKED[(place + 1) % 4].answer
        given = [Rationale(question.id, 0, f"It is {right} here.", right)]
        given += [Rationale(question.id, 1, f"It is {wrong} here.", wrong, kind="wrong")]
        groups += method.examples("rationale", question, given, "number")
    answers = {}
    for label, lessons in (("both", groups), ("right alone", [group[:1] for group in groups])):
        record = train(
            scratch(name),
            lessons,
            spec(steps, batch_tokens=256, checkpoints=0, beta2=0.98),
            learning_rate=rate,
            seed=0,
            folder=tmp_path / label,
            progress=quiet,
            related=groups,
        )
        assert record["final_loss"] < 0.5
        live = scratch(name).load(tmp_path / label / "model")
        counters = [group[1] for group in groups]
        heads = [example.target[: example.cut] for example in counters]
        written = live.generate([example.source for example in counters], Sampling(max_tokens=6), heads)
        answers[label] = [one.text for one in written]
    assert answers["both"] == ["7.", "3.", "2.", "4."]
    assert answers["right alone"] == ["4.", "7.", "3.", "2."]


# ---------------------------------------------------------------- consistent


def test_consistent_pairs_the_two_rationales_that_are_least_alike() -> None:
    texts = [
        "Tom has 2 and 3, so 5.",
        "Tom has 2 and 3, so it is 5.",
        "Count on from two: three, four, five.",
        "TOM has 2 and 3, so 5",
    ]
    given = [said(text, sample=n) for n, text in enumerate(texts)]
    ((one, other),) = Consistent().examples("rationale", NUMBER, given, "number")
    assert one.target == f"{texts[0]} The answer is 5."
    assert other.target == f"{texts[2]} The answer is 5."
    assert {example.target[example.cut :] for example in (one, other)} == {" 5."}
    assert not one.silent
    assert (one.source, one.objective) == (READ, "rationale")


def test_consistent_trains_a_question_with_one_rationale_plainly() -> None:
    twice = [said("2 + 3 = 5."), said("2 + 3 = 5.", sample=1)]
    ((example,),) = Consistent().examples("rationale", NUMBER, twice, "number")
    assert example.target == "2 + 3 = 5. The answer is 5."
    assert Consistent().examples("rationale", NUMBER, [], "number") == []


def row(target: list[int], cut: int, group: int = 0, **more: Any) -> dict[str, Any]:
    return {"target": target, "cut": cut, "group": group, "objective": "rationale", **more}


def test_disagreement_is_half_the_sum_of_both_divergences_on_the_common_answer() -> None:
    """Two tokens of vocabulary; the answer is the last token, after a rationale of two tokens or of one."""
    labels = torch.tensor([[0, 0, 1, -100], [0, 1, -100, -100], [0, 1, -100, -100]])
    logits = torch.zeros(3, 4, 2)
    logits[0, 2] = torch.tensor([math.log(3.0), 0.0])  # 3/4, 1/4
    logits[1, 1] = torch.tensor([0.0, 0.0])  # 1/2, 1/2
    logits[1, 0] = torch.tensor([5.0, -5.0])  # of the rationale: takes no part
    logits[2, 1] = torch.tensor([9.0, -9.0])  # alone in its group: takes no part
    rows = [row([0, 0, 1], 2), row([0, 1], 1), row([0, 1], 1, group=1)]
    forth = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    back = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    assert float(disagreement(logits, labels, rows)) == pytest.approx((forth + back) / 2)
    assert float(disagreement(logits, labels, rows[:1])) == 0
    assert float(disagreement(logits, labels, [row([0, 0, 1], 2), row([0, 0], 1)])) == 0, "answers differ"


# ---------------------------------------------------------------- mutual_information


def test_mutual_information_trains_on_what_step_by_step_does() -> None:
    own = MutuallyInformed(rationale_weight=0.25).examples("predict", NUMBER, [rationale(NUMBER)], "number")
    other = StepByStep(rationale_weight=0.25).examples("predict", NUMBER, [rationale(NUMBER)], "number")
    assert own == other
    assert MutuallyInformed().prompt("predict", NUMBER, {}) == StepByStep().prompt("predict", NUMBER, {})
    assert MutuallyInformed(information_weight=0.3).learner("predict") == MutualInformation(weight=0.3)


@pytest.mark.parametrize("answer_first", [True, False])
def test_the_information_term_is_that_of_the_papers_code(answer_first: bool) -> None:
    """Highest probabilities over positions: z = (3/4, 1/2) of the answer, r = (1/2, 3/4) of the rationale."""
    logits = torch.zeros(2, 3, 2)
    answer, reason = (0, 1) if answer_first else (1, 0)
    logits[answer, 0] = torch.tensor([math.log(3.0), 0.0])
    logits[reason, 0] = torch.tensor([0.0, math.log(3.0)])
    logits[:, 2] = torch.tensor([50.0, -50.0])  # padding: takes no part
    logits.requires_grad_(True)
    labels = torch.tensor([[0, 1, -100], [0, 1, -100]])
    names = ["answer", "rationale"] if answer_first else ["rationale", "answer"]
    rows = [{"group": 0, "objective": name} for name in names]
    term = unshared(logits, labels, rows)
    total = math.exp(0.5) + math.exp(0.75)
    by_hand = -(0.75 * math.log(math.exp(0.5) / total) + 0.5 * math.log(math.exp(0.75) / total))
    assert float(term.detach()) == pytest.approx(by_hand)
    (gradient,) = torch.autograd.grad(term, logits)
    assert float(gradient[answer].abs().sum()) == 0, "the answer's task is left alone"
    assert float(gradient[reason].abs().sum()) > 0


# ---------------------------------------------------------------- both, trained

QUESTIONS = [Question(f"What is {n} plus {n}?", str(2 * n)) for n in range(1, 5)]


def pairs(method: Method) -> list[tuple[Example, ...]]:
    groups = []
    for n, question in enumerate(QUESTIONS, 1):
        texts = (f"Two times {n} it is.", f"Add {n} to itself now.")
        given = [Rationale(question.id, at, text, question.answer) for at, text in enumerate(texts)]
        groups += method.examples(method.stages()[0].name, question, given, "number")
    return groups


def taught(name: str, groups: list[tuple[Example, ...]], learner: Learner, steps: int, folder: Path) -> Any:
    """A student after that training; `final` is its loss."""
    texts = [text for group in groups for e in group for text in (e.source, f" {e.target}")]
    live = scratch(name).create(texts, 0)
    encoded = [tuple(live.encode(group)) for group in groups]
    lengths = [sum(len(row["source"]) + len(row["target"]) for row in group) for group in encoded]
    sizes = [batches.Size(2, length, 0, length) for length in lengths]
    plan = batches.plan(sizes, 96, "steps", steps, 0)
    folder.mkdir()
    settings = spec(steps, checkpoints=0)
    lesson = Lesson(live, groups, encoded, plan, settings, 2e-3, 0, folder, quiet)
    final = learner.fit(lesson)
    live.model.eval()
    return live, final


def measured(live: Any, groups: list[tuple[Example, ...]], term: Any) -> float:
    rows = [
        {**encoded, "group": place} for place, group in enumerate(groups) for encoded in live.encode(group)
    ]
    inputs = live.collate(rows)
    with torch.no_grad():
        return float(term(logits_of(live.model, inputs), inputs["labels"], rows))


TERMS = [
    # method, learner, its term, weight, steps, and by how much less the term must be at the end
    (Consistent(), Agreement, disagreement, 3.0, 15, 0.5),
    (MutuallyInformed(), MutualInformation, unshared, 1.0, 25, 0.99),
]


@pytest.mark.parametrize(
    ("method", "learner", "term", "weight", "steps", "part"), TERMS, ids=["consistent", "information"]
)
@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_term_below_what_it_is_without_it(
    name: str,
    method: Method,
    learner: Any,
    term: Any,
    weight: float,
    steps: int,
    part: float,
    tmp_path: Path,
) -> None:
    """The information's term has a floor far above 0, so a small part of it is much."""
    groups = pairs(method)
    texts = [text for group in groups for e in group for text in (e.source, f" {e.target}")]
    before = loss(scratch(name).create(texts, 0), groups)
    without, _ = taught(name, groups, learner(weight=0), steps, tmp_path / "without")
    with_it, _ = taught(name, groups, learner(weight=weight), steps, tmp_path / "with")
    assert loss(without, groups) < before - 1
    assert loss(with_it, groups) < before - 1
    assert measured(with_it, groups, term) < part * measured(without, groups, term)


def loss(live: Any, groups: list[tuple[Example, ...]]) -> float:
    return trainer.mean_loss(live, [tuple(live.encode(group)) for group in groups])


@pytest.mark.parametrize("learner", [Agreement(weight=0), MutualInformation(weight=0)])
def test_without_weight_it_is_plain_training(learner: Learner, tmp_path: Path) -> None:
    groups = pairs(Consistent() if learner.name == "agreement" else MutuallyInformed())
    live, _ = taught("causal", groups, learner, 5, tmp_path / "own")
    texts = [text for group in groups for e in group for text in (e.source, f" {e.target}")]
    other = scratch("causal").create(texts, 0)
    encoded = [tuple(other.encode(group)) for group in groups]
    lengths = [sum(len(row["source"]) + len(row["target"]) for row in group) for group in encoded]
    plan = batches.plan([batches.Size(2, n, 0, n) for n in lengths], 96, "steps", 5, 0)
    trainer.fit(other, encoded, plan, spec(5, checkpoints=0), 2e-3, 0, tmp_path, quiet)
    for one, two in zip(live.model.parameters(), other.model.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_a_learner_says_what_groups_it_needs(tmp_path: Path) -> None:
    single = pairs(SingleStage())
    with pytest.raises(TrainingError, match=r"raise sampling\.n"):
        taught("causal", single, Agreement(), 1, tmp_path / "one")
    with pytest.raises(TrainingError, match="a group has: rationale"):
        taught("causal", single, MutualInformation(), 1, tmp_path / "two")
