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
from understudy.records import load_predictions
from understudy.report.faithfulness import OWN, TEACHER, Probing, Reading, Which, attribution, faithfulness
from understudy.report.thresholds import Fitted, thresholds
from understudy.report.votes import votes
from understudy.store import Store
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
