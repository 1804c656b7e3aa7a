"""Toys that several tests share: a question of each form, a tiny recipe, and a quiet way to run it."""

from __future__ import annotations

from pathlib import Path

from understudy import distill
from understudy.events import Listener, ignore
from understudy.recipe import Recipe, parse_recipe
from understudy.types import AnswerForm, Question, Rationale

QUESTIONS: dict[AnswerForm, Question] = {
    "number": Question("Ann has 2 pens and buys 3. How many?", "5", rationale="2 + 3 = 5."),
    "choice": Question("Which is up?", "B", ("the sea", "the sky"), rationale="The sky is above the sea."),
    "boolean": Question("Is ice cold?", "yes", rationale="Ice is frozen water."),
    "text": Question('Join the last letters of "Ann Lee".', "ne", rationale="They are n and e."),
    "letters": Question('Join the last letters of "Bo Lu Mia".', "oua", rationale="They are o, u and a."),
    "list": Question("Sort by the alphabet: pear, fig.", "fig; pear", rationale="F comes before p."),
}

RATIONALES = {
    form: Rationale(question.id, 0, question.rationale, question.answer, "gold")
    for form, question in QUESTIONS.items()
}

RECIPE = """\
name: small
task: arithmetic
data: {train: 60, dev: 12, test: 12}
teacher: template
sampling: {n: 1, temperature: 0}
students:
  - {name: causal, config: tiny}
methods: [answer_only, single_stage]
train: {budget: {unit: steps, amount: 4}, learning_rate: 1e-3, batch_tokens: 1024, precision: fp32}
evaluate: {splits: [test], max_new_tokens: 24}
"""
"""Real in every part and good at nothing: four steps teach nobody."""


def recipe(*overrides: str, text: str = RECIPE) -> Recipe:
    return parse_recipe(text, "small.yaml", overrides, {})


def run(recipe: Recipe, out: Path, listen: Listener = ignore) -> distill.Outcome:
    """Run in this process, on one thread: more only get in each other's way on models this small."""
    import torch

    torch.set_num_threads(1)
    return distill.run(recipe, out, listen, in_process=True)
