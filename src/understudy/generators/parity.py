"""Whether an engine writes what the reference writes: measured before any of its answers counts.

Both write greedily for the same prompts. In float32 the tokens must be the same. Sums of floats depend on
their order in the last bits, so where the reference gives the two tokens that differ nearly the same logit,
the row is a tie: it is listed, and what follows it is not compared. In other formats texts do differ, so
there it is recorded how often they agree and how many are right.

Where a run gives its texts a beginning, as probes do, a quarter of the prompts is put once more with the
first words of what the reference wrote, for an engine may be right without them and wrong with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy import answers
from understudy.errors import StoreError
from understudy.generators.contract import EXACT, Writer
from understudy.roles import Generated, LiveStudent, Method, Stage
from understudy.store import digest, write_text
from understudy.types import AnswerForm, Question, Sampling

PROMPTS = 64
BEGUN = 4
"""Of so many prompts, one is put again with a beginning, where the run has any."""
LONGEST = 8
"""Beginnings have up to so many words, and not all the same number."""
TIE = 1e-4
"""Logits that differ by no more than this are a tie."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Questions of dev or train that a method's stages are put to, stage by stage."""

    method: Method
    form: AnswerForm
    split: str
    questions: Sequence[Question]
    max_tokens: int
    batch_tokens: int
    written: dict[str, dict[str, str]] = field(default_factory=dict)
    """Question id -> stage -> what the reference wrote there, which a later stage reads."""
    begun: frozenset[str] = frozenset()
    """Stages whose texts the run gives a beginning."""

    def prompts(self, stage: Stage) -> list[tuple[Question, str]]:
        """What the stage is asked. Where an earlier text is not there, a gold rationale stands in, or
        nothing: what is compared is two ways of writing, not what a student reads."""
        names = [other.name for other in self.method.stages() if other.asked]
        before = names[: names.index(stage.name)] if stage.name in names else []
        found = []
        for question in self.questions:
            own = self.written.get(question.id, {})
            texts = {name: own.get(name, question.rationale) for name in before}
            prompt = self.method.prompt(stage.name, question, texts)
            if prompt is not None:
                found.append((question, prompt))
        return found

    def last(self, stage: Stage) -> bool:
        """Whether the judge reads what this stage writes."""
        return stage.writes != "rationale" and stage.name == self.method.stages()[-1].name


def spread(splits: Mapping[str, Sequence[Question]]) -> tuple[str, list[Question]]:
    """As many questions of dev as are needed, or of train where there is no dev, from all over it. Raises
    StoreError where there is neither."""
    for name in ("dev", "train"):
        if rows := splits.get(name):
            n = min(PROMPTS, len(rows))
            return name, [rows[at * len(rows) // n] for at in range(n)]
    raise StoreError("an engine is measured on questions of dev or train, and the run has none")


def records(
    path: Path, key: Mapping[str, Any], live: LiveStudent, writer: Writer, stage: Stage, rehearsal: Rehearsal
) -> dict[str, dict[str, Any]]:
    """Everything that is measured of a writer for a stage: "parity", and "begun" where the run needs it.

    They are kept apart, so that a run with beginnings measures no prompt again that one without has measured.
    """
    found = {"parity": measured(path, key, live, writer, stage, rehearsal)}
    if stage.name in rehearsal.begun:
        found["begun"] = measured_begun(path, key, live, writer, stage, rehearsal)
    return found


def measured(
    path: Path, key: Mapping[str, Any], live: LiveStudent, writer: Writer, stage: Stage, rehearsal: Rehearsal
) -> dict[str, Any]:
    """The record in the folder `path` about `key` and these prompts; made and written if it is not there."""
    prompts = rehearsal.prompts(stage)
    about = {**key, "prompts": [text for _, text in prompts], "max_tokens": rehearsal.max_tokens}

    def make() -> dict[str, Any]:
        ours, theirs, record = compare(live, writer, prompts, [""] * len(prompts), stage, rehearsal)
        record["texts"] = {question.id: one.text for (question, _), one in zip(prompts, ours, strict=True)}
        if rehearsal.last(stage):
            record["correct"] = {
                "reference": _right(prompts, ours, rehearsal.form),
                "engine": _right(prompts, theirs, rehearsal.form),
            }
        return {**key, **record}

    record = _kept(path, about, make)
    for id_, text in record["texts"].items():
        rehearsal.written.setdefault(id_, {})[stage.name] = text
    return record


def measured_begun(
    path: Path, key: Mapping[str, Any], live: LiveStudent, writer: Writer, stage: Stage, rehearsal: Rehearsal
) -> dict[str, Any]:
    """As `measured`, and after it, of prompts with a beginning."""
    written = [
        (question, prompt, words)
        for question, prompt in rehearsal.prompts(stage)
        if (words := rehearsal.written[question.id][stage.name].split())
    ][::BEGUN]
    prompts = [(question, prompt) for question, prompt, _ in written]
    prefixes = [" ".join(words[: 1 + at % LONGEST]) for at, (_, _, words) in enumerate(written)]
    texts = [text for _, text in prompts]
    about = {**key, "prompts": texts, "prefixes": prefixes, "max_tokens": rehearsal.max_tokens}

    def make() -> dict[str, Any]:
        _, _, record = compare(live, writer, prompts, prefixes, stage, rehearsal)
        return {**key, **record, "begun": True}

    return _kept(path, about, make)


def compare(
    live: LiveStudent,
    writer: Writer,
    prompts: Sequence[tuple[Question, str]],
    prefixes: Sequence[str],
    stage: Stage,
    rehearsal: Rehearsal,
) -> tuple[list[Generated], list[Generated], dict[str, Any]]:
    """What the reference writes, what the other does, and where they differ as plain values."""
    sampling = Sampling(max_tokens=rehearsal.max_tokens, stop=stage.stop)
    sources = [prompt for _, prompt in prompts]
    ours = _write(live, sources, prefixes, sampling, rehearsal.batch_tokens)
    theirs = _write(writer, sources, prefixes, sampling, rehearsal.batch_tokens)
    rows = zip(prompts, prefixes, ours, theirs, strict=True)
    differences = [found for row in rows if (found := _difference(live, *row)) is not None]
    return (
        ours,
        theirs,
        {
            "split": rehearsal.split,
            "prompts": len(prompts),
            "tokens": sum(one.tokens for one in ours),
            "ties": [one for one in differences if one["tie"]],
            "different": [one for one in differences if not one["tie"]],
        },
    )


def fault(record: Mapping[str, Any], compute_type: str) -> str:
    """Why an engine's answers do not count, as a sentence; empty where they do."""
    different = record["different"]
    if compute_type != EXACT or not different:
        return ""
    first = different[0]
    begun = " with a beginning" if "begun" in record else ""
    return (
        f"{record['engine']} {record['version']} wrote other tokens than transformers for {len(different)} "
        f"of {record['prompts']} prompts of {record['split']}{begun} in float32, first at token "
        f"{first['at'] + 1} of question {first['question']}, where transformers wrote "
        f"{first['reference']!r} and it wrote {first['engine']!r}"
    )


def _kept(path: Path, about: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The record that is kept under `about`; made, and kept, if there is none."""
    place = path / f"{digest(about)[:16]}.json"
    try:
        record: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        record = make()
        write_text(place, json.dumps(record, indent=1, ensure_ascii=False))
    return record


def _write(
    writer: Writer, sources: Sequence[str], prefixes: Sequence[str], sampling: Sampling, batch_tokens: int
) -> list[Generated]:
    from understudy.students._completer import packed

    read = [" ".join(filter(None, pair)) for pair in zip(sources, prefixes, strict=True)]
    rows = [(at, 0, length) for at, length in enumerate(writer.source_tokens(read))]
    found: dict[int, Generated] = {}
    for batch in packed(rows, sampling.max_tokens, batch_tokens):
        places = [at for at, _, _ in batch]
        some = [sources[at] for at in places], sampling, [prefixes[at] for at in places]
        found |= zip(places, writer.generate(*some), strict=True)
    return [found[at] for at in range(len(sources))]


def _difference(
    live: Any, asked: tuple[Question, str], prefix: str, one: Generated, other: Generated
) -> dict[str, Any] | None:
    """Where two rows part ways, and how near the reference was to the other token there."""
    if one.ids == other.ids:
        return None
    question, prompt = asked
    at = next(_parting(one.ids, other.ids))
    tokens = [ids[at] if at < len(ids) else None for ids in (one.ids, other.ids)]
    common = [*live.codec.begun([prefix])[0], *one.ids[:at]]
    gap = _gap(live, prompt, common, *tokens) if None not in tokens else None
    shown = [live.codec.decode([token], False) if token is not None else "" for token in tokens]
    tie = gap is not None and abs(gap) <= TIE
    return {
        "question": question.id, "at": at, "reference": shown[0], "engine": shown[1], "gap": gap, "tie": tie
    }  # fmt: skip


def _parting(one: Sequence[int], other: Sequence[int]) -> Iterator[int]:
    yield from (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    yield min(len(one), len(other))


def _gap(live: Any, prompt: str, common: Sequence[int], mine: Any, theirs: Any) -> float:
    """By how much the reference's logit of its own token is above that of the other one."""
    from understudy.students._live import inference

    (source,) = live.codec.sources([prompt])
    row = {"source": source, "target": [*common, mine], "cut": 0, "silent": False}
    inputs = live.collate([row])
    del inputs["labels"]
    device = next(live.model.parameters()).device
    with inference(live.model):
        logits = live.model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits[0, -1]
    return round(float(logits[mine] - logits[theirs]), 7)


def _right(prompts: Sequence[tuple[Question, str]], written: Sequence[Generated], form: AnswerForm) -> int:
    """How many answers are right."""
    return sum(_is_right(question, one, form) for (question, _), one in zip(prompts, written, strict=True))


def _is_right(question: Question, one: Generated, form: AnswerForm) -> bool:
    cut_off = one.finish_reason == "length"
    verdict = answers.judge(one.text, question.answer, form, question.choices, cut_off=cut_off)
    return verdict.name == "correct"
