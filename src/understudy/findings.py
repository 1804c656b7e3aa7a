"""What the probes, readings and votes of a finished run say, as sections of its report.

Everything is judged again from the stored predictions; a probe is applied again to tell which question its
answers belong to, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.audit.section import Section
from understudy.data import Prepared
from understudy.evaluate import judge_all
from understudy.graph import Arm, Graph
from understudy.probing import outcome, probe_of, probed
from understudy.recipe.spec import CONTROL
from understudy.records import load_predictions
from understudy.report.faithfulness import OWN, TEACHER, Probing, Reading, Which, attribution, faithfulness
from understudy.report.scored import Chosen, Scoring, scored
from understudy.report.thresholds import Fitted, thresholds
from understudy.report.votes import votes
from understudy.scoring import load_scores
from understudy.scoring_steps import right
from understudy.store import Step, Store
from understudy.training import telling
from understudy.types import Judged


def sections(graph: Graph, store: Store, prepared: Prepared) -> Iterator[Section]:
    """Those that a run has something for."""
    probings = list(_probings(graph, store, prepared))
    readings = [
        *_readings(graph, store, prepared),
        *(Reading(one.which, one.probe, rows) for one, rows in probings),
    ]
    if probings:
        yield faithfulness([one for one, _ in probings])
    if any(one.fed == TEACHER for one in readings):
        yield attribution(readings)
    voted = {_name(arm): judged(arm, store, prepared) for arm in graph.arms if arm.chains > 1}
    if voted:
        yield votes(voted)
    yield from _scored(graph, store, prepared)
    fitted = list(_fitted(graph, store))
    if fitted:
        yield thresholds(fitted)


def judged(arm: Arm, store: Store, prepared: Prepared) -> tuple[Judged, ...]:
    """The verdicts on what an arm answered, in order."""
    return judge_all(prepared.splits[arm.split], load_predictions(store.folder(arm.predicted)), prepared.form)


def _which(arm: Arm) -> Which:
    return Which(arm.method.label, arm.student.label, arm.seed, arm.split)


def _name(arm: Arm) -> str:
    return f"{arm.method.label}, {arm.student.label}, seed {arm.seed}, {arm.split}"


def _probings(graph: Graph, store: Store, prepared: Prepared) -> Iterator[tuple[Probing, tuple[Judged, ...]]]:
    """Each probe of each student, and its answers."""
    for arm in graph.arms:
        if not arm.probe:
            continue
        probe, questions = probe_of(arm.probe), prepared.splits[arm.split]
        original = load_predictions(store.folder(arm.predicted.needs["original"]))
        asked = probed(probe, arm.method.method, questions, original, prepared.form)
        after = judge_all(asked.questions, load_predictions(store.folder(arm.predicted)), prepared.form)
        before = judge_all(questions, original, prepared.form)
        found = outcome(before, after, asked.origin, asked.skipped)
        yield Probing(_which(arm), probe.label, probe.CHANGES, found), after


def _readings(graph: Graph, store: Store, prepared: Prepared) -> Iterator[Reading]:
    """What the last stages of students were fed that were also fed the teacher's rationale."""
    bounded = {_which(arm) for arm in graph.arms if arm.upper_bound}
    plain: Sequence[Arm] = [arm for arm in graph.arms if not arm.probe and arm.chains == 1]
    for arm in plain:
        if _which(arm) in bounded:
            yield Reading(_which(arm), TEACHER if arm.upper_bound else OWN, judged(arm, store, prepared))


def _fitted(graph: Graph, store: Store) -> Iterator[Fitted]:
    """The thresholds that methods chose on dev, with the curve that they were chosen from."""
    seen: set[str] = set()
    for arm in graph.arms:
        tuned = arm.predicted.needs.get("tuned")
        if tuned is None or tuned.hash in seen:
            continue
        seen.add(tuned.hash)
        result = store.outcome(tuned)["result"]
        found = result["tuned"]
        if found.get("curve"):
            yield Fitted(_which(arm), result["n"], found["threshold"], found["curve"])


def _scored(graph: Graph, store: Store, prepared: Prepared) -> Iterator[Section]:
    """What the students found most probable, where options were scored."""
    if not graph.recipe.evaluate.score_options:
        return
    if not any(arm.scored or arm.unscored for arm in graph.arms):
        sentence = (
            "Nothing was scored: evaluate.score_options is for tasks whose answers are options (for your own "
            "file say so with task.form: choice)."
        )
        yield Section("scored", "Options by log-likelihood", (sentence,))
        return
    left_out = {arm.method.label: arm.unscored for arm in graph.arms if arm.unscored}
    yield from scored(
        [_scoring(arm, arm.scored, store, prepared) for arm in graph.arms if arm.scored], left_out
    )


def _scoring(arm: Arm, step: Step, store: Store, prepared: Prepared) -> Scoring:
    questions = prepared.splits[arm.split]
    rows, result = load_scores(store.folder(step)), store.outcome(step)["result"]
    by_id = {row.question_id: row for row in rows}
    rows = [by_id[question.id] for question in questions]
    chosen = zip(
        questions,
        right(questions, rows, normalised=False),
        right(questions, rows, normalised=True),
        (row.confidence for row in rows),
        strict=True,
    )
    return Scoring(
        arm.method.label,
        arm.student.label,
        arm.seed,
        arm.split,
        role="control" if arm.method.method.name == CONTROL else "method",
        rows=tuple(Chosen(*one) for one in chosen),
        reads=result["reads"],
        without_cue=result["without_cue"],
        lengths_differ=any(len(set(row.characters)) > 1 for row in rows),
    )


def trained(graph: Graph, store: Store) -> Iterator[str]:
    """When each training ended and what befell it, where there is something to say."""
    steps = {step.hash: (arm, stage, step) for arm in graph.arms for stage, step in arm.trained.items()}
    for arm, stage, step in steps.values():
        of = f"{arm.method.label}/{stage}" if len(arm.method.method.stages()) > 1 else arm.method.label
        who = f"{of} ({arm.student.label}, seed {arm.seed})"
        yield from telling.sentences(who, store.outcome(step)["result"])
