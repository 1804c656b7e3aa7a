"""A side that is a run of ours: one arm of it, judged from the stored predictions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from understudy.comparing.side import Answered, Side
from understudy.data import load_prepared
from understudy.distill import RECIPE
from understudy.errors import RecipeError, StoreError
from understudy.evaluate import judge_all
from understudy.graph import Graph
from understudy.recipe import parse_recipe
from understudy.records import load_predictions
from understudy.store import Step, Store

TEACHER = "teacher"


def read_run(folder: Path, method: str, split: str, strict: bool = False) -> Side:
    """The answers of the one arm that `method` names: method[/student[/seed]], or "teacher[/label]".

    `split` may be empty where the recipe evaluates one. Raises RecipeError where several arms or none have
    the name, and StoreError where `folder` is no run or the arm has not answered yet.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise StoreError(f"{folder} is not a run folder: it has no {RECIPE} (give the --out of a run)")
    graph = Graph(parse_recipe(path.read_text(encoding="utf-8"), str(path), (), {}))
    splits = graph.recipe.evaluate.splits
    if split not in splits and (split or len(splits) > 1):
        has = f"has no split '{split}'" if split else "evaluates several splits: name one with --split"
        raise RecipeError(f"{folder} {has} ({', '.join(splits)})")
    split = split or splits[0]
    arms = dict(_arms(graph, split))
    fitting = [name for name in arms if _fits(method, name)]
    if len(fitting) != 1:
        what = f"several arms are '{method}'" if fitting else f"no arm is '{method}'"
        what = what if method else "several arms are there"
        raise RecipeError(f"{folder}: {what}; name one with --method: {', '.join(fitting or arms)}")
    step, store = arms[fitting[0]], Store(folder, create=False)
    if not (store.done(step) and store.done(graph.data)):
        raise StoreError(
            f"the run in {folder} has not come to '{step.name}': run its recipe, as it stands, first"
        )
    prepared = load_prepared(store.folder(graph.data))
    rows = judge_all(prepared.splits[split], load_predictions(store.folder(step)), prepared.form)
    answered = tuple(
        Answered(
            row.question,
            row.prediction.text,
            (row.verdict.strict if strict else row.verdict.name) == "correct",
            row.prediction.written[-1].finish_reason == "length",
        )
        for row in rows
    )
    if not answered:
        raise StoreError(
            f"'{step.name}' of the run in {folder} answered no question: there is nothing to compare"
        )
    verdict = f"our judge, {'strict' if strict else 'flexible'} reading"
    return Side(f"{folder.name}: {fitting[0]}, {split}", verdict, answered, prepared.form, ours=True)


def _arms(graph: Graph, split: str) -> Iterator[tuple[str, Step]]:
    """Every arm's whole name and the step that answered. Votes, probes and upper bounds have none."""
    for arm in graph.arms:
        if arm.split == split and not (arm.probe or arm.upper_bound or arm.chains > 1):
            yield f"{arm.method.label}/{arm.student.label}/{arm.seed}", arm.predicted
    for (label, asked), step in graph.asked.items():
        if asked == split:
            yield f"{TEACHER}/{label}", step


def _fits(wanted: str, name: str) -> bool:
    parts = wanted.split("/") if wanted else []
    return name.split("/")[: len(parts)] == parts
