"""Before training: what each student's tokenizer cannot write, and what its length limits would leave out.

The texts are those that training would see: the rationales that were kept, or, before there are any, those
that came with the data. The catch: questions on the Hub are not fetched for this; they are looked at once
the run has prepared them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from understudy.audit.section import Section
from understudy.audit.tokenizers import tokenizers
from understudy.data import Prepared, load_prepared, prepare
from understudy.graph import Graph
from understudy.recipe import Recipe
from understudy.records import load_rationales
from understudy.store import Store
from understudy.types import Example, Question, Rationale

LOOKED_AT = 500
"""Training questions, evenly spaced."""


def preflight(recipe: Recipe, out: Path) -> Section | None:
    """None where the questions are not on this machine yet. Raises DataError for bad ones."""
    graph, store = Graph(recipe), Store(out, create=False)
    prepared = prepared_of(graph, store)
    if prepared is None:
        return None
    train = prepared.splits["train"]
    rationales, whence = _rationales(graph, store, train)
    many = min(LOOKED_AT, len(train))
    questions = [train[index * len(train) // many] for index in range(many)]
    methods = {
        f"{entry.label}/{stage.name}" if len(entry.method.stages()) > 1 else entry.label: [
            group
            for question in questions
            for group in entry.method.examples(
                stage.name, question, rationales.get(question.id, []), prepared.form
            )
        ]
        for entry in recipe.methods
        for stage in entry.method.stages()
    }
    section = tokenizers(
        {entry.label: entry.student for entry in recipe.students}, _filled(methods), recipe.train
    )
    looked_at = f"Looked at: {many:,} of {len(train):,} training questions, {whence}."
    return replace(section, sentences=(*section.sentences, looked_at))


def _filled(methods: dict[str, list[tuple[Example, ...]]]) -> dict[str, list[tuple[Example, ...]]]:
    return {name: groups for name, groups in methods.items() if groups}


def prepared_of(graph: Graph, store: Store) -> Prepared | None:
    """The questions of a recipe, as its run has prepared them or would; None where they are on the Hub."""
    if store.done(graph.data):
        return load_prepared(store.folder(graph.data))
    recipe, source = graph.recipe, graph.recipe.task.source()
    if source.path is None and not graph.task.generated:
        return None
    apprenticeship = recipe.apprenticeship
    extra = [apprenticeship.split] if apprenticeship else []
    return prepare(graph.task, source, recipe.data, recipe.evaluate.splits, extra)


def _rationales(
    graph: Graph, store: Store, questions: Sequence[Question]
) -> tuple[dict[str, list[Rationale]], str]:
    """By question, and where they are from."""
    by_question: dict[str, list[Rationale]] = {}
    if store.done(graph.curate):
        for rationale in load_rationales(store.folder(graph.curate)):
            by_question.setdefault(rationale.question_id, []).append(rationale)
        return by_question, "with the rationales that were kept"
    for rationale in _given(questions):
        by_question[rationale.question_id] = [rationale]
    if by_question:
        return by_question, "with the rationales that came with the data, for none is annotated yet"
    return by_question, "without rationales, for none is annotated yet"


def _given(questions: Sequence[Question]) -> Iterator[Rationale]:
    for question in questions:
        if question.rationale:
            yield Rationale(question.id, 0, question.rationale, question.answer, "gold")
