"""A recipe whose teacher is a server that can add, for tests of what a run asks for and pays.

    with Adder() as server:
        results = do(recipe_of(tmp_path, server), tmp_path / "out", "data", "annotate")

A request takes 10 prompt tokens, and each sample 5 more; with a seed of 0 the number of a sample can be read
off its request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from loopback import Loopback, Reply, answer, choice
from understudy.engines import here
from understudy.events import ignore
from understudy.graph import Graph
from understudy.recipe import Recipe, load_recipe
from understudy.store import Step, Store

KEY = "sk-adder-0123456789abcdef"
PROMPT_TOKENS, COMPLETION_TOKENS = 10, 5

RECIPE = """\
name: adds
task:
  name: jsonl
  path: {{train: {folder}/train.jsonl, dev: {folder}/dev.jsonl, test: {folder}/test.jsonl}}
teacher: {{name: openai, model: adder, base_url: "{url}", endpoint: "http://adder", api_key_env: ADDER_KEY,
  max_retries: 0}}
prompt: {{style: zero_shot}}
sampling: {{n: 1, temperature: 0.7, seed: 0, max_tokens: 50}}
students: [{{name: causal, config: tiny}}]
methods: [answer_only]
train: {{budget: {{unit: steps, amount: 2}}, learning_rate: 1e-3, batch_tokens: 512, precision: fp32}}
evaluate: {{splits: [test], max_new_tokens: 4}}
"""

Says = Callable[[int, int, dict[str, Any]], tuple[str, str]]
"""(first number, sample, body) -> (text, finish reason)."""


def sums(first: int, sample: int, body: dict[str, Any]) -> tuple[str, str]:
    """Always right: `first` + 1."""
    return f"{first} + 1 = {first + 1}. The answer is {first + 1}.", "stop"


def reasons(first: int, sample: int, body: dict[str, Any]) -> tuple[str, str]:
    """The same with a sentence before, so that something is left to read without the last one."""
    return f"We add one to {first}. {sums(first, sample, body)[0]}", "stop"


class Adder(Loopback):
    """Answers "Question: 3 + 1?"; `asked` has (first number, sample) of all that it was asked for."""

    def __init__(self, says: Says = sums) -> None:
        super().__init__(otherwise=self._answer)
        self.asked: list[tuple[int, int]] = []
        self._says = says

    def _answer(self, body: dict[str, Any]) -> Reply:
        first = int(re.findall(r"Question: (\d+) \+ 1\?", body["messages"][-1]["content"])[-1])
        samples = [body.get("seed", 0) + at for at in range(body.get("n", 1))]
        self.asked += [(first, sample) for sample in samples]
        said = [choice(*self._says(first, sample, body)) for sample in samples]
        tokens = COMPLETION_TOKENS * len(samples)
        return answer(*said, prompt_tokens=PROMPT_TOKENS, completion_tokens=tokens)

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def new(self) -> int:
        """How many samples were asked for since this was called last."""
        count = len(self.asked)
        self.asked.clear()
        self.bodies.clear()
        return count


def write_rows(path: Path, numbers: Iterable[int]) -> None:
    rows = [{"question": f"{first} + 1?", "answer": str(first + 1)} for first in numbers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def recipe_file(folder: Path, server: Loopback, train: Iterable[int] = range(6)) -> Path:
    """recipe.yaml and its data in `folder`: `train` numbers, one for dev and two to test."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "train.jsonl", train)
    write_rows(folder / "dev.jsonl", [900])
    write_rows(folder / "test.jsonl", [1000, 1001])
    path = folder / "adds.yaml"
    path.write_text(RECIPE.format(folder=folder, url=server.url), encoding="utf-8")
    return path


def recipe_of(folder: Path, server: Loopback, *overrides: str, train: Iterable[int] = range(6)) -> Recipe:
    return load_recipe(recipe_file(folder, server, train), overrides, {})


def do(recipe: Recipe, out: Path, *kinds: str) -> dict[str, dict[str, Any]]:
    """Do what is not done of these kinds of steps, here; returns the results of all of these by name."""
    graph, store = Graph(recipe), Store(out)
    wanted = [step for step in graph.steps if step.kind in kinds]
    here.run([step for step in wanted if not store.done(step)], store, ignore, 1)
    return {step.name: store.outcome(step)["result"] for step in wanted}


def step_of(recipe: Recipe, name: str) -> Step:
    return next(step for step in Graph(recipe).steps if step.name == name)
