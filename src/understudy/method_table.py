"""The table of methods in docs/methods.md, made from the methods themselves.

    python -m understudy.method_table docs/methods.md      # writes it between its two marks

What a method is stands in the first sentence of its module; what it costs at test time follows from its
stages; the texts are what it makes of one real question of the demo's task, with a rationale of each kind.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from understudy import shelves
from understudy.errors import DataError
from understudy.roles import Method, Source, Stage
from understudy.types import Example, Question, Rationale

BEGIN, END = "<!-- begin: methods -->", "<!-- end: methods -->"
TASK = "arithmetic"


def table() -> str:
    """Markdown: one row for each method of the shelf, then its texts for one question."""
    methods = [method_of(name) for name in shelves.names("methods")]
    head = ("method", "what it is", "students", "written for one answer", "source")
    rows = [head, tuple("---" for _ in head), *(_row(method) for method in methods)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    question = shelves.load("tasks", TASK).load("test", Source())[0]
    texts = [line for method in methods for line in _texts(method, question)]
    return "\n".join([*lines, "", "```text", *texts, "```"])


def method_of(name: str) -> Method:
    """As the demo's task would have it asked."""
    method: Method = shelves.load("methods", name)()
    return method.for_task(shelves.load("tasks", TASK))


def rewritten(page: str) -> str:
    """The page with the table as it is now. Raises DataError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"the page has no {BEGIN} and {END} to write between: add both")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


# ---------------------------------------------------------------- a row


def _row(method: Method) -> tuple[str, ...]:
    module = inspect.getmodule(type(method))
    first = (inspect.getdoc(module) or "").partition("\n\n")[0].splitlines()[0]
    what = first.partition(": ")[2].rstrip(".") or first
    students = sum(stage.trained for stage in method.stages())
    return (
        f"[`{method.name}`](#{method.name})",
        what,
        str(students or "none"),
        cost(method),
        method.SOURCE or "–",
    )


def cost(method: Method) -> str:
    """What is written at test time for one answer, stage by stage."""
    texts = [_written(stage) for stage in method.stages() if stage.asked]
    times = [(text, len(list(same))) for text, same in groupby(texts)]
    return "; ".join(f"{text}, up to {many} times" if many > 1 else text for text, many in times)


def _written(stage: Stage) -> str:
    text = {"answer": "answer", "rationale": "rationale", "both": "rationale, answer"}[stage.writes]
    return text if stage.by == "student" else f"{text} (by {_whom(stage)})"


def _whom(stage: Stage) -> str:
    return "the teacher" if stage.by == "teacher" else "the untrained student"


# ---------------------------------------------------------------- its texts


def _texts(method: Method, question: Question) -> Iterator[str]:
    known = {"right", "hinted"} | method.wants()
    rationales = [one for one in rationales_of(question) if one.kind in known]
    for stage in method.stages():
        groups = method.examples(stage.name, question, rationales, "number")
        if not groups and stage.uses and stage.writes == method.stages()[0].writes:
            continue
        if not groups:
            yield f"[{method.name}, {stage.name}: nothing is trained]"
            yield f"  source: {method.prompt(stage.name, question, _before(method, stage, question))}"
        for example in groups[0] if groups else ():
            yield f"[{method.name}, {stage.name}, objective {example.objective}, weight {example.weight:g}]"
            yield f"  source: {example.source}"
            yield f"  target: {_target(example)}"


def _target(example: Example) -> str:
    """What is read without loss stands in brackets."""
    if not example.silent:
        return example.target
    return f"[{example.target[: example.cut].rstrip()}] {example.target[example.cut :]}"


def _before(method: Method, stage: Stage, question: Question) -> dict[str, str]:
    """What the stages before would write if they were perfect."""
    from understudy.answers import write

    final = write(question.answer, "number")
    texts = {"answer": final, "rationale": question.rationale, "both": f"{question.rationale} {final}"}
    names = [earlier.name for earlier in method.stages()]
    earlier = method.stages()[: names.index(stage.name)]
    return {one.name: texts[one.writes] for one in earlier}


def rationales_of(question: Question) -> list[Rationale]:
    """One of each kind: two right ones, a wrong one, one that was asked for with the answer shown, and one
    with a wrong answer shown."""
    right = Rationale(question.id, 0, question.rationale, question.answer, "teacher")
    wrong = str(int(question.answer) + 1)
    return [
        right,
        replace(right, sample=1, text=f"Let us see. {question.rationale}"),
        replace(right, sample=2, text=f"Count again: it is {wrong}.", answer=wrong, kind="wrong"),
        replace(right, sample=3, kind="hinted"),
        replace(right, sample=4, text=f"It must be {wrong}.", answer=wrong, kind="counterfactual"),
    ]


def main(path: str) -> None:
    page = Path(path)
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
