"""Do rationales reason, or do they say the answer that they were shown?

A rationale made with the gold answer in view passes a filter of final answers whatever it says before. Three
detections, from the surface inwards: the answer stands before any reasoning; the wording betrays that it was
given; and an independent reader does not find it in the rationale, its end cut off (`reader`). The catch:
the first is also a habit of teachers who saw nothing, and the third is only as good as its reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from understudy.audit.material import Answered, Material
from understudy.audit.reader import Read, ReadBack, own_answer
from understudy.audit.section import Section
from understudy.audit.shares import cells, raw, said
from understudy.checks.hints import answer_first, betrays
from understudy.report.wording import p_value, points
from understudy.statistics import mcnemar_exact
from understudy.types import AnswerForm

COLUMNS = ("detection", "rationales", "of", "share", "right ones", "of", "share")


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table: how many of all that were looked at, and of the right ones among them."""

    name: str
    key: str
    everyone: tuple[int, int]
    right: tuple[int, int]


def leak(material: Material, read: ReadBack | None = None) -> Section:
    """`read` is what an independent reader made of the rationales, if one was asked."""
    rows = _surface(material) + (_inner(read) if read else [])
    return Section(
        "leak",
        "Did the teacher only say the answer?",
        (*_surface_sentences(material, rows), *(_read_sentences(read) if read else (_NOT_READ,))),
        COLUMNS,
        tuple((row.name, *cells(*row.everyone), *cells(*row.right)) for row in rows),
        {
            "shown_answer": material.shown_answer,
            "reader": read.reader if read else None,
            "unanswered": read.unanswered if read else None,
            **{row.key: {"all": raw(*row.everyone), "right": raw(*row.right)} for row in rows},
        },
    )


_NOT_READ = (
    "No independent reader was asked, so whether the rationales lead to their answers is not known; "
    "name one to find out."
)


def hinted(one: Answered) -> bool:
    """Whether the wording betrays that the answer was given."""
    return betrays(one.completion.text) is not None


def answers_first(one: Answered, form: AnswerForm) -> bool:
    """Whether the answer that it ends with stands before any reasoning."""
    own = own_answer(one, form)
    return own is not None and answer_first(one.completion.text, own, form, one.question.choices)


def _surface(material: Material) -> list[_Row]:
    form = material.form
    found = [(one, answers_first(one, form), hinted(one)) for one in material.answered]
    first = [(_right(one), first) for one, first, _ in found]
    words = [(_right(one), words) for one, _, words in found]
    either = [(_right(one), first or words) for one, first, words in found]
    return [
        _row("the answer stands before any reasoning", "answer_first", first),
        _row("the wording betrays the hint", "betrays", words),
        _row("either of the two", "either", either),
    ]


def _inner(read: ReadBack) -> list[_Row]:
    def of(name: str, key: str, holds: Callable[[Read], bool]) -> _Row:
        return _row(name, key, [(_right(one.answered), holds(one)) for one in read.reads])

    left = [(_right(one), True) for one in read.nothing_left]
    left += [(_right(one.answered), False) for one in read.reads]
    return [
        of("the reader finds the answer in the cut rationale", "recovered", _recovered),
        of("the reader finds it in the question alone", "recovered_alone", _recovered_alone),
        of("the reader gives another answer", "misled", lambda one: one.after.name == "wrong"),
        of("the reader cannot tell", "not_told", lambda one: one.after.name == "no_answer"),
        _row("one sentence: nothing left to read", "nothing_left", left),
    ]


def _recovered(one: Read) -> bool:
    return one.after.name == "correct"


def _recovered_alone(one: Read) -> bool:
    return one.alone.name == "correct"


def _right(one: Answered) -> bool:
    return one.verdict.name == "correct"


def _row(name: str, key: str, found: Sequence[tuple[bool, bool]]) -> _Row:
    """`found` says of each rationale whether it is right, and whether the detection holds of it."""
    right = [holds for is_right, holds in found if is_right]
    return _Row(name, key, (sum(holds for _, holds in found), len(found)), (sum(right), len(right)))


# ---------------------------------------------------------------- in words


def _surface_sentences(material: Material, rows: Sequence[_Row]) -> tuple[str, ...]:
    first, words, either = rows[:3]
    shown = {
        True: "The teacher was shown the gold answer.",
        False: "The teacher was not shown the gold answer.",
        None: "Whether the teacher was shown the gold answer is not known.",
    }[material.shown_answer]
    return (
        f"{said(*either.everyone)} rationales give their answer away: {first.everyone[0]} state it before "
        f"any reasoning, {words.everyone[0]} betray by their wording that it was given.",
        shown,
    )


def _read_sentences(read: ReadBack) -> tuple[str, ...]:
    left = f"{len(read.nothing_left)} rationales are one sentence long and leave nothing to read"
    right = [one for one in read.reads if _right(one.answered)]
    if not right:
        return (f"The reader {read.reader} was given no right rationale; {left}.",)
    after, alone = [_recovered(one) for one in right], [_recovered_alone(one) for one in right]
    test = mcnemar_exact(after, alone)
    gain = points((sum(after) - sum(alone)) / len(right))
    sentences = [
        f"The reader {read.reader} finds the answer of {said(sum(after), len(right))} right rationales "
        "without their last sentence.",
        f"It finds {said(sum(alone), len(right))} in the question alone, so what the rationales carry is "
        f"{gain} points (exact McNemar p {p_value(test.p_value)}; {test.only_a} found only with the "
        f"rationale, {test.only_b} only without).",
        f"{left[0].upper()}{left[1:]}.",
    ]
    if read.unanswered:
        sentences.append(f"{read.unanswered} rationales are left out, for the reader could not be reached.")
    return tuple(sentences)
