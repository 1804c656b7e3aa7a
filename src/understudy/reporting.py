"""The folders of a finished run -> the study that the report is made from -> its files.

Verdicts are made here, from the stored predictions: judging again costs nothing. Nothing is measured
here that a step did not record.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy import findings, report
from understudy.asking import is_free, price_of_teacher
from understudy.audit.section import load_sections
from understudy.curate import COUNTED, CurateSpec
from understudy.data import Prepared, load_prepared
from understudy.engines.running import versions
from understudy.evaluate import judge_all
from understudy.generators.telling import sentences
from understudy.graph import Arm, Graph
from understudy.graph._pieces import readable_stage
from understudy.prices import Price
from understudy.recipe.spec import CONTROL
from understudy.records import load_predictions, load_rationales
from understudy.report import Study
from understudy.report.study import Role
from understudy.report.wording import percent, percent_range
from understudy.statistics import wilson
from understudy.store import Step, Store
from understudy.types import Rationale
from understudy.work import teacher_of

SHOWN = 6
"""Kept rationales that the report shows."""


def write(graph: Graph, store: Store) -> tuple[Path, dict[str, Any]]:
    """Write report.html, report.json and report.md into the run folder; returns the page and the content."""
    page = report.write(study(graph, store), store.root)
    content: dict[str, Any] = json.loads((store.root / "report.json").read_text(encoding="utf-8"))
    return page, content


def study(graph: Graph, store: Store) -> Study:
    """What the finished steps of a run say, before any number is derived."""
    recipe = graph.recipe
    prepared = load_prepared(store.folder(graph.data))
    rationales = _some(load_rationales(store.folder(graph.curate)))
    trained = {question.id: question for question in prepared.splits["train"]}
    return Study(
        title=recipe.title or recipe.name,
        task=recipe.task.name,
        task_title=graph.task.title,
        form=prepared.form,
        arms=(*_teacher_arms(graph, store, prepared), *_arms(graph, store, prepared)),
        curation={**store.outcome(graph.curate)["result"], **_filters(recipe.curate)},
        teacher=_teacher(graph, store, prepared),
        rationales=rationales,
        questions=tuple(trained[id_] for id_ in rationales),
        students={entry.label: entry.student.describe() for entry in recipe.students},
        spending=tuple(_spending(graph, store)),
        audit=tuple(
            asdict(section)
            for section in (
                *findings.sections(graph, store, prepared),
                *load_sections(store.folder(graph.audit)),
            )
        ),
        notes=(*recipe.notes, *_notes(graph, store, prepared)),
        recipe=recipe.written(),
        manifest=_manifest(graph, store),
    )


def _some(rationales: list[Rationale]) -> dict[str, tuple[Rationale, ...]]:
    """The rationales of a few questions, spread over the set."""
    by_question: dict[str, list[Rationale]] = {}
    for rationale in rationales:
        by_question.setdefault(rationale.question_id, []).append(rationale)
    ids = list(by_question)
    return {id_: tuple(by_question[id_]) for id_ in ids[:: max(1, len(ids) // SHOWN)][:SHOWN]}


def _filters(spec: CurateSpec) -> dict[str, Any]:
    return {"filters": spec.model_dump(mode="json")}


# ---------------------------------------------------------------- arms


def _arms(graph: Graph, store: Store, prepared: Prepared) -> Iterator[report.Arm]:
    for arm in graph.arms:
        if arm.probe or not (rows := findings.judged(arm, store, prepared)):
            continue
        bound = " (teacher's rationale)" if arm.upper_bound else ""
        votes = f" (vote of {arm.chains})" if arm.chains > 1 else ""
        yield report.Arm(
            method=arm.method.label + bound + votes,
            student=arm.student.label,
            seed=arm.seed,
            split=arm.split,
            rows=rows,
            role=_role(arm),
            note=_note(arm),
            training=_training(arm, store),
        )


def _note(arm: Arm) -> str:
    """What sets the arm apart from a method as the recipe names it."""
    parts = ["the last stage reads the teacher's rationale: an upper bound"] if arm.upper_bound else []
    if arm.chains > 1:
        parts.append(f"the majority of {arm.chains} drawn answers; tokens are those of all of them")
    if arm.method.rationales == "unfiltered":
        parts.append("trained on every rationale with a readable answer: what filtering is measured against")
    if arm.method.rationales == "random":
        parts.append("trained on as many rationales as were kept, drawn by lot from the unfiltered ones")
    return "; ".join(parts)


def _role(arm: Arm) -> Role:
    if arm.upper_bound:
        return "upper_bound"
    return "control" if arm.method.method.name == CONTROL else "method"


def _training(arm: Arm, store: Store) -> dict[str, Any]:
    """What the arm's training cost, summed over its students; and what those cost that only helped."""
    records = _records(arm.trained.values(), store)
    helpers = _records(arm.helpers, store)
    if not records:
        return {"budget_multiple": arm.method.budget}
    all_counts = ("steps", "tokens", "target_tokens", "flops", "seconds", "too_long")
    counts = [name for name in all_counts if all(name in record for record in records)]
    return {
        "learning_rate": records[0]["learning_rate"],
        "budget_multiple": arm.method.budget,
        "final_loss": records[0]["final_loss"],
        "parameters": sum(record["parameters"] for record in records),
        **{name: sum(record[name] for record in records) for name in counts},
        **{f"extra_{name}": sum(h[name] for h in helpers) for name in ("tokens", "flops") if helpers},
    }


def _records(steps: Iterable[Step], store: Store) -> list[dict[str, Any]]:
    """The result of each training, once: stages may share one student."""
    distinct = {step.hash: step for step in steps}
    return [store.outcome(step)["result"] for step in distinct.values()]


def _teacher_arms(graph: Graph, store: Store, prepared: Prepared) -> Iterator[report.Arm]:
    models = {entry.label: entry.teacher.identity().model for entry in graph.recipe.faculty}
    for (label, split), step in graph.asked.items():
        rows = judge_all(prepared.splits[split], load_predictions(store.folder(step)), prepared.form)
        if rows:
            yield report.Arm(
                method="teacher" if len(models) == 1 else f"teacher {label}",
                student=models[label],
                seed=graph.recipe.seeds[0],
                split=split,
                rows=rows,
                role="teacher",
                note="asked greedily, without the answer",
            )


# ---------------------------------------------------------------- the teacher, the notes, the manifest


def _teacher(graph: Graph, store: Store, prepared: Prepared) -> dict[str, Any]:
    """Who taught, and how often it was right: on the first evaluation split it was asked on, greedily and
    without the answer; else on its own annotations, as sampled. Of several, on their annotations together."""
    recipe, faculty = graph.recipe, graph.recipe.faculty
    curated = store.outcome(graph.curate)["result"]
    usage = {label: store.outcome(step)["result"] for label, step in graph.annotated.items()}
    annotation = _accuracy(curated["correct"], curated["n"], "annotation", recipe.prompt.show_answer)
    sampled = {**annotation, "sampling": recipe.sampling.model_dump(mode="json")}
    if len(faculty) > 1:
        return {
            "name": ", ".join(entry.label for entry in faculty),
            "model": ", ".join(dict.fromkeys(entry.teacher.identity().model for entry in faculty)),
            **annotation,
            "annotation": sampled,
            "usage": usage,
            "several": [
                {
                    "label": entry.label,
                    "model": entry.teacher.identity().model,
                    "share": entry.share,
                    **_accuracy(counts["correct"], counts["n"], "annotation", recipe.prompt.show_answer),
                    **{name: counts[name] for name in ("annotated", "kept", "questions_kept")},
                }
                for entry in faculty
                for counts in (curated["teachers"].get(entry.label) or dict.fromkeys(COUNTED, 0),)
            ],
        }
    best = next(
        (
            _accuracy(correct, len(rows), split, False)
            for (_, split), step in graph.asked.items()
            for rows in (
                judge_all(prepared.splits[split], load_predictions(store.folder(step)), prepared.form),
            )
            for correct in (sum(row.verdict.name == "correct" for row in rows),)
            if rows
        ),
        annotation,
    )
    return {
        "name": faculty[0].teacher.name,
        "model": faculty[0].teacher.identity().model,
        **best,
        "annotation": sampled,
        "usage": usage[faculty[0].label],
    }


def _spending(graph: Graph, store: Store) -> Iterator[dict[str, Any]]:
    """What each step bought from a teacher that costs something."""
    asked = {"annotate": "teacher", "ask": "teacher", "audit": "reader", "predict": "answerer"}
    for step in graph.steps:
        who = step.how.get(asked.get(step.kind, ""))
        payer = teacher_of(who) if who else None
        if payer is None or is_free(payer.identity(), step.how):
            continue
        bought = store.outcome(step)["result"]["bought"]
        yield {
            "step": step.name,
            "model": payer.identity().model,
            "split": step.settings["split"],
            "bought": bought["completions"],
            "prompt_tokens": bought["prompt_tokens"],
            "completion_tokens": bought["completion_tokens"],
            "usd": _usd(bought, price_of_teacher(payer, step.how)),
        }


def _usd(bought: Mapping[str, Any], price: Price | None) -> float | None:
    """As recorded when it was bought; what had no price then is counted at today's, if there is one."""
    unpriced = (bought["unpriced_prompt_tokens"], bought["unpriced_completion_tokens"])
    if price is None and any(unpriced):
        return None
    recorded: float = bought["usd"]
    return recorded + (price.usd(*unpriced) if price else 0.0)


def _accuracy(correct: int, n: int, on: str, shown_answer: bool) -> dict[str, Any]:
    return {
        "accuracy": correct / n if n else None,
        "n": n,
        "correct": correct,
        "interval": list(wilson(correct, n)) if n else None,
        "on": on,
        "shown_answer": shown_answer,
    }


def _notes(graph: Graph, store: Store, prepared: Prepared) -> Iterator[str]:
    yield from prepared.notes
    curated = store.outcome(graph.curate)["result"]
    asked = len(prepared.splits["train"])
    others = [arm.method.label for arm in graph.arms if arm.method.rationales != "kept"]
    but = f" but {', '.join(dict.fromkeys(others))}" if others else ""
    yield (
        f"Every method{but} was trained on the same {curated['questions_kept']:,} of {asked:,} questions: "
        "those that kept at least one rationale."
    )
    yield from _each_teacher(_teacher(graph, store, prepared).get("several", ()))
    if graph.recipe.prompt.show_answer:
        yield "The teacher was shown the gold answer while annotating, so its accuracy there is not its own."
    for line in sorted({_too_long(arm, store) for arm in graph.arms}):
        if line:
            yield line
    yield from findings.trained(graph, store)
    several = [arm for arm in graph.arms if not arm.upper_bound and readable_stage(arm.method)]
    for label in sorted({arm.method.label for arm in several}):
        if not any(arm.upper_bound and arm.method.label == label for arm in graph.arms):
            yield (
                f"No upper bound is given for {label}: the teacher was not asked on the evaluation splits "
                "(evaluate.teacher: true asks it)."
            )
    yield from _taught(graph, store)
    predicted = {arm.predicted.hash: arm.predicted for arm in graph.arms}
    yield from sentences(store.outcome(step)["result"] for step in predicted.values())


def _each_teacher(several: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What came of each of several teachers."""
    shares = sum(one["share"] for one in several)
    for one in several:
        accuracy = "none could be read"
        if one["n"]:
            accuracy = f"{percent(one['accuracy'])} of them right {percent_range(one['interval'])}"
        yield (
            f"The teacher {one['label']} ({one['model']}) has a share of {percent(one['share'] / shares)} of "
            f"the questions and wrote {one['annotated']:,} completions: {accuracy}, {one['kept']:,} "
            f"rationales kept for {one['questions_kept']:,} questions."
        )
    if several:
        yield (
            "Each question was given to one teacher by lot, so their accuracies are of different questions; "
            f"where a student reads a teacher's rationale at test time, it is that of {several[0]['label']}."
        )


def _too_long(arm: Arm, store: Store) -> str:
    left_out = _training(arm, store).get("too_long")
    if not left_out:
        return ""
    who = f"{arm.method.label} ({arm.student.label})"
    return f"{left_out:,} training examples of {who} were too long and left out."


def _taught(graph: Graph, store: Store) -> Iterator[str]:
    if graph.teach:
        record = store.outcome(graph.teach)["result"]
        yield (
            f"The teacher is a real model of {record['parameters']:,} parameters, trained from scratch on "
            f"{record['questions']:,} other questions with gold rationales."
        )


def _manifest(graph: Graph, store: Store) -> dict[str, Any]:
    steps: list[Mapping[str, Any]] = []
    for step in graph.steps:
        record = store.outcome(step)
        steps.append(
            {"name": step.name, "hash": step.hash, "seconds": record["seconds"], "started": record["started"]}
        )
    return {
        "versions": dict(versions()),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "seeds": list(graph.recipe.seeds),
        "recipe_steps": steps,
        "seconds": round(sum(step["seconds"] for step in steps), 1),
        "learning_rates": {
            step.name: store.outcome(step)["result"] for step in graph.steps if step.kind == "choose"
        },
        "questions": store.outcome(graph.data)["result"]["questions"],
    }
