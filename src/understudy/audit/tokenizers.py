"""Before training: what a student's tokenizer cannot write back, and what its length limits leave out.

Nothing is loaded but tokenizers. The catch: characters are compared as a bag, so a sign that is replaced by
another counts once, as lost, and one that only moves does not count; white space is counted apart, by runs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.audit.section import Section
from understudy.roles import Student, TrainSpec
from understudy.students._spec import Origin
from understudy.students._tokenizers import Closed, Codec, Continued, given_tokenizer
from understudy.students.seq2seq import Seq2Seq
from understudy.types import Example

Groups = Sequence[tuple[Example, ...]]

_SPACES = re.compile(r"\s+")
_WORST = 8


def tokenizers(students: Mapping[str, Student], methods: Mapping[str, Groups], spec: TrainSpec) -> Section:
    """`students` by label, and by name the training groups of each method (and stage).

    Imports transformers where a student brings a trained tokenizer, and only there. Raises TrainingError when
    one cannot be loaded.
    """
    sentences: list[str] = []
    numbers: dict[str, Any] = {}
    for label, student in students.items():
        codec = _codec(student)
        if codec is None:
            sentences.append(f"{label}: {_unknown(student)}")
            continue
        report = {name: _measured(codec, groups, spec) for name, groups in methods.items()}
        escapes = isinstance(codec, Closed) and codec.escapes
        plain = _unescaped(codec, methods) if isinstance(codec, Closed) and codec.escapes else None
        numbers[label] = {"escape": escapes, "without_escape": plain, "methods": report}
        sentences.extend(f"{label}: {text}" for text in _said(report, plain, spec))
    return Section(
        name="tokenizers",
        title="Tokenizers",
        sentences=tuple(sentences) or ("There is no student whose tokenizer could be looked at.",),
        columns=(
            "student",
            "method",
            "examples",
            "characters",
            "not written back",
            "white space",
            "left out",
        ),
        rows=tuple(
            _row(label, name, measured)
            for label, entry in numbers.items()
            for name, measured in entry["methods"].items()
        ),
        numbers=numbers,
    )


def _codec(student: Student) -> Codec | None:
    """How a student reads and writes; None where its tokenizer is trained by the run, or not known here."""
    if isinstance(student, Seq2Seq):
        return student.codec()
    tokenizer = given_tokenizer(student) if isinstance(student, Origin) else None
    return None if tokenizer is None else Continued(tokenizer)


def _unknown(student: Student) -> str:
    if isinstance(student, Origin):
        return (
            f"its tokenizer ({student.tokenizer}) is trained on the training texts themselves, so every "
            "character of theirs can be written."
        )
    return "its tokenizer is its own affair and was not looked at."


def _measured(codec: Codec, groups: Groups, spec: TrainSpec) -> dict[str, Any]:
    """Raw counts for one method. A group is left out whole, as in training, when one of its examples is."""
    examples = [example for group in groups for example in group]
    lost, spaces, targets = _lost(codec, [example.target for example in examples])
    long = {
        example
        for example, source, target in zip(examples, _sources(codec, examples), targets, strict=True)
        if source > spec.max_source_tokens or target > spec.max_target_tokens
    }
    return {
        "examples": len(examples),
        "characters": sum(len(example.target) for example in examples),
        "lost": lost.total(),
        "worst": [[sign, count] for sign, count in lost.most_common(_WORST)],
        "spaces": spaces,
        "target_tokens": sum(targets),
        "left_out": sum(len(group) for group in groups if not long.isdisjoint(group)),
    }


def _sources(codec: Codec, examples: Sequence[Example]) -> list[int]:
    return [len(ids) for ids in codec.sources([e.source for e in examples])] if examples else []


def _lost(codec: Codec, texts: Sequence[str]) -> tuple[Counter[str], int, list[int]]:
    """Characters that do not come back, runs of white space that come back otherwise, tokens of each text.

    Equal texts, such as short answers, are looked at once.
    """
    tally = Counter(texts)
    unique = list(tally)
    lost: Counter[str] = Counter()
    spaces = 0
    tokens = {}
    for text, ids in zip(unique, codec.targets(unique) if unique else [], strict=True):
        tokens[text] = len(ids)
        back, text_ = codec.decode(ids).strip(), text.strip()
        if back == text_:
            continue
        for sign, count in (_signs(text_) - _signs(back)).items():
            lost[sign] += count * tally[text]
        spaces += (_runs(text_) - _runs(back)).total() * tally[text]
    return lost, spaces, [tokens[text] for text in texts]


def _signs(text: str) -> Counter[str]:
    return Counter(_SPACES.sub("", text))


def _runs(text: str) -> Counter[str]:
    return Counter(_SPACES.findall(text))


def _unescaped(codec: Closed, methods: Mapping[str, Groups]) -> dict[str, Any]:
    """What would be lost on all methods' targets without the stand-ins, and the tokens that they cost."""
    texts = [example.target for groups in methods.values() for group in groups for example in group]
    lost, spaces, tokens = _lost(Closed(codec.tokenizer, False), texts)
    return {
        "lost": lost.total(),
        "worst": [[sign, count] for sign, count in lost.most_common(_WORST)],
        "spaces": spaces,
        "target_tokens": sum(tokens),
    }


def _said(
    report: Mapping[str, Mapping[str, Any]], plain: Mapping[str, Any] | None, spec: TrainSpec
) -> list[str]:
    """The finding for one student: what is lost, what the escape saves and costs, what is too long."""
    said = [_lost_in_words(report, plain)]
    examples, left_out = _total(report, "examples"), _total(report, "left_out")
    if left_out:
        said.append(
            f"{left_out:,} of {examples:,} examples ({_share(left_out, examples)}) are left out of training, "
            f"for more than {spec.max_source_tokens} source or {spec.max_target_tokens} target tokens."
        )
    return said


def _lost_in_words(report: Mapping[str, Mapping[str, Any]], plain: Mapping[str, Any] | None) -> str:
    characters, lost, spaces = (_total(report, key) for key in ("characters", "lost", "spaces"))
    text = (
        f"{lost:,} of {characters:,} target characters ({_share(lost, characters)}) and {spaces:,} runs of "
        f"white space do not come back{_worst(_merged(report))}."
        if lost or spaces
        else f"all {characters:,} target characters come back."
    )
    if plain is None:
        return text
    cost = _total(report, "target_tokens") / max(plain["target_tokens"], 1) - 1
    return (
        f"{text} Texts are escaped: without that, {plain['lost']:,} characters "
        f"({_share(plain['lost'], characters)}) and {plain['spaces']:,} runs of white space would not"
        f"{_worst(plain['worst'])}; it changes the number of target tokens by {100 * cost:+.1f} %."
    )


def _worst(worst: Sequence[Sequence[Any]]) -> str:
    shown = ", ".join(
        f"{sign if sign.isprintable() else f'U+{ord(sign):04X}'} {count:,}" for sign, count in worst
    )
    return f" (most often {shown})" if shown else ""


def _merged(report: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int]]:
    total: Counter[str] = Counter()
    for measured in report.values():
        total.update(dict(measured["worst"]))
    return total.most_common(_WORST)


def _total(report: Mapping[str, Mapping[str, Any]], key: str) -> int:
    return sum(measured[key] for measured in report.values())


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "n = 0"


def _row(label: str, name: str, measured: Mapping[str, Any]) -> tuple[str, ...]:
    keys = ("examples", "characters", "lost", "spaces", "left_out")
    return (label, name, *(f"{measured[key]:,}" for key in keys))
