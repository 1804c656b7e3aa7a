"""What must hold of the judge for every answer and every text, not only for those in the table."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from understudy import answers
from understudy.types import LABELS, AnswerForm

FORMS: tuple[AnswerForm, ...] = ("number", "choice", "boolean", "text")
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


@given(st.one_of(st.text(), fragments), st.sampled_from(FORMS), st.booleans())
@settings(max_examples=200)
def test_no_text_raises_and_every_span_lies_in_it(text: str, form: AnswerForm, listed: bool) -> None:
    choices = CHOICES if listed and form == "choice" else ()
    reading = answers.read(text, form, choices)
    assert (reading.answer is None) == bool(reading.reason)
    if reading.span is not None:
        start, end = reading.span
        assert 0 <= start <= end <= len(text)
    assert len(answers.reasoning(text, form, choices)) <= len(text) + 1


@given(fragments, st.sampled_from(FORMS))
@settings(max_examples=150)
def test_trailing_space_changes_no_reading(text: str, form: AnswerForm) -> None:
    choices = CHOICES if form == "choice" else ()
    plain = answers.read(text, form, choices)
    assert answers.read(text + " \n \t", form, choices).answer == plain.answer
