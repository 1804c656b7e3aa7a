"""What must hold of the judge for every answer and every text, not only for those in the table."""

from __future__ import annotations

import string
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from understudy import answers
from understudy.types import LABELS, AnswerForm

FORMS: tuple[AnswerForm, ...] = ("number", "choice", "boolean", "text", "letters", "list")
CHOICES = ("a bank", "the library", "New York", "none of them")

numbers = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.integers(0, 10**9).map(lambda n: f"{n:,}"),
    st.decimals(-(10**6), 10**6, places=2).map(str),
    st.tuples(st.integers(1, 999), st.integers(2, 99)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
)
prose = st.text("abcdefgh ijklmnop,\n", max_size=80).map(lambda text: f"We add. {text}\nThen we stop.")
words = st.from_regex(r"[a-z]{2,8}( [a-z]{2,8}){0,3}", fullmatch=True)
PIECES = """The answer is|Answer:|####|\\boxed{|}|(A)|(B)|B.|A|or|and|not|12|1,|/|-|$|.|
|
Q: |yes|no|=|**|<|-->|:|%"""
fragments = st.lists(st.sampled_from(PIECES.split("|")), max_size=30).map(" ".join)


@given(numbers, prose)
def test_a_written_number_is_read_back(answer: str, before: str) -> None:
    text = f"{before} {answers.write(answer, 'number')}"
    assert answers.judge(text, answer, "number").name == "correct"
    canonical = answers.canonical(answer, "number")
    assert canonical is not None
    assert answers.judge(f"{before} {answers.write(canonical, 'number')}", answer, "number").name == "correct"


@given(st.integers(0, 25), prose)
def test_a_written_label_is_read_back(position: int, before: str) -> None:
    choices = [f"option number {n}" for n in range(26)]
    text = f"{before} {answers.write(LABELS[position], 'choice')}"
    assert answers.judge(text, choices[position], "choice", choices).name == "correct"


@given(st.booleans(), prose)
def test_a_written_yes_or_no_is_read_back(answer: bool, before: str) -> None:
    text = f"{before} {answers.write('yes' if answer else 'no', 'boolean')}"
    assert answers.judge(text, str(answer), "boolean").name == "correct"


@given(words, prose)
@example("the end", "We add.")
def test_written_text_is_read_back(answer: str, before: str) -> None:
    text = f"{before} {answers.write(answer, 'text')}"
    assert answers.judge(text, answer.upper(), "text").name == "correct"


@given(numbers, prose)
def test_reasoning_and_statement_part_cleanly(answer: str, before: str) -> None:
    text = f"{before} {answers.write(answer, 'number')}"
    assert answers.reasoning(text, "number") == before.strip()


@given(numbers)
def test_canonical_is_its_own_canonical(answer: str) -> None:
    canonical = answers.canonical(answer, "number")
    assert canonical is not None
    assert answers.canonical(canonical, "number") == canonical
    assert Fraction(canonical) == Fraction(answer.replace(",", ""))


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_different_integers_are_never_equal(output: int, gold: int) -> None:
    verdict = answers.judge(f"The answer is {output}.", str(gold), "number")
    assert verdict.name == ("correct" if output == gold else "wrong")


# ---------------------------------------------------------------- every form

letters = st.text(string.ascii_letters, min_size=1, max_size=6)
written: dict[AnswerForm, st.SearchStrategy[str]] = {
    "number": st.one_of(
        numbers,
        st.integers(2, 99).map(lambda n: f"{n}\\sqrt{{3}}"),
        st.integers(1, 99).map(lambda n: f"(x + {n}, \\frac{{\\pi}}{{{n}}})"),
    ),
    "choice": st.sampled_from(LABELS[: len(CHOICES)]),
    "boolean": st.sampled_from(["yes", "no"]),
    "text": words,
    "letters": letters,
    "list": st.lists(st.one_of(words, numbers), min_size=1, max_size=5).map("; ".join),
}
answered = st.sampled_from(FORMS).flatmap(lambda form: st.tuples(st.just(form), written[form]))
patient = settings(deadline=None)
"""The first formula imports sympy, which takes longer than hypothesis waits."""
MARKS = ("**", "__", "*", "_", "`", "***")


def _choices(form: AnswerForm) -> tuple[str, ...]:
    return CHOICES if form == "choice" else ()


def _judged(text: str, gold: str, form: AnswerForm) -> tuple[str, str | None, str]:
    verdict = answers.judge(text, gold, form, _choices(form))
    return verdict.name, verdict.extracted, verdict.strict


@given(answered, prose)
@patient
def test_what_is_written_is_read_back_in_both_readings(case: tuple[AnswerForm, str], before: str) -> None:
    form, answer = case
    text = f"{before} {answers.write(answer, form)}"
    canonical = answers.canonical(answer, form, _choices(form))
    assert canonical is not None
    assert _judged(text, answer, form) == ("correct", canonical, "correct")
    assert answers.canonical(canonical, form, _choices(form)) == canonical
    strict = answers.strict_read(text, form, _choices(form))
    assert strict.answer == answers.read(text, form, _choices(form)).answer
    cut_off = answers.judge(text, answer, form, _choices(form), cut_off=True)
    assert (cut_off.name, cut_off.strict) == ("correct", "correct")


@given(answered, prose)
@patient
def test_what_was_cut_off_within_its_answer_is_not_read(case: tuple[AnswerForm, str], before: str) -> None:
    form, answer = case
    text = f"{before} {answers.write(answer, form)}".rstrip(".)}")
    verdict = answers.judge(text, answer, form, _choices(form), cut_off=True)
    assert (verdict.name, verdict.strict) == ("no_answer", "no_answer")


@given(answered, prose, st.sampled_from(MARKS), st.sampled_from(["", " ", "\n", " \n\t\n"]))
@patient
def test_emphasis_and_trailing_space_change_nothing(
    case: tuple[AnswerForm, str], before: str, mark: str, space: str
) -> None:
    form, answer = case
    sentence = answers.write(answer, form)
    body = sentence.removeprefix("The answer is ").removesuffix(".")
    plain = _judged(f"{before} {sentence}", answer, form)
    for emphasised in (
        f"The answer is {mark}{body}{mark}.",
        f"The answer is {mark}{body}.{mark}",
        f"{mark}The answer is {body}.{mark}",
        f"{mark}The answer is{mark} {body}.",
    ):
        assert _judged(f"{before} {emphasised}{space}", answer, form) == plain, emphasised


@given(
    answered,
    prose,
    st.sampled_from(["The answer is {}.", "Answer: **{}**", "#### {}", "\\boxed{{{}}}", "{}"]),
)
@patient
def test_the_span_holds_what_was_read(case: tuple[AnswerForm, str], before: str, way: str) -> None:
    form, answer = case
    text = f"{before}\n{way.format(answer)}"
    verdict = answers.judge(text, answer, form, _choices(form))
    assert verdict.name == "correct"
    assert verdict.span is not None
    held = text[slice(*verdict.span)]
    assert answers.canonical(held, form, _choices(form)) == verdict.extracted, held


@given(st.one_of(st.text(), fragments), st.sampled_from(FORMS), st.booleans(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_text_raises_and_every_span_lies_in_it(
    text: str, form: AnswerForm, listed: bool, cut_off: bool
) -> None:
    choices = CHOICES if listed and form == "choice" else ()
    gold = {"number": "7", "choice": "B", "boolean": "no", "list": "a; b"}.get(form, "ab")
    verdict = answers.judge(text, gold, form, choices, cut_off=cut_off)
    assert (verdict.name == "no_answer") == (verdict.extracted is None)
    assert (verdict.strict == "no_answer") == (verdict.strict_extracted is None)
    reading = answers.read(text, form, choices, cut_off=cut_off)
    assert reading.reason
    assert verdict.reason
    for span in (verdict.span, reading.span, answers.loop(text)):
        assert span is None or 0 <= span[0] <= span[1] <= len(text)
    assert len(answers.reasoning(text, form, choices)) <= len(text) + 1


@given(fragments, st.sampled_from(FORMS), st.booleans())
@settings(max_examples=300, deadline=None)
def test_trailing_space_changes_no_reading(text: str, form: AnswerForm, cut_off: bool) -> None:
    choices = _choices(form)
    plain = answers.read(text, form, choices, cut_off=cut_off)
    assert answers.read(text + " \n \t", form, choices, cut_off=cut_off) == plain
    strict = answers.strict_read(text, form, choices, cut_off=cut_off)
    assert answers.strict_read(text + " \n \t", form, choices, cut_off=cut_off) == strict


@given(words, st.integers(3, 6), st.integers(0, 3))
def test_a_loop_is_found_wherever_its_last_round_ends(unit: str, rounds: int, missing: int) -> None:
    line = f"We say {unit} once more."
    text = f"This is new.\n{chr(10).join([line] * rounds)}"
    found = answers.loop(text)
    assert found is not None
    assert text[: found[0]] == f"This is new.\n{line}\n"
    assert answers.loop(text[: len(text) - missing] + "#") is None
