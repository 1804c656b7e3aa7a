"""The normal form, runs of words, near duplicates and diverse choices."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.checks.likeness import FEW, diverse, jaccard, near_duplicates, ngrams, normal

FORMS = {
    "The  Cat's hat.": "the cat s hat",
    "it costs $1,000.50!": "it costs 1000.50",
    "1,234,567 and 1,2,3": "1234567 and 1 2 3",
    "3.5. Then .5": "3.5 then 5",
    "ＡＢＣ x²": "abc x2",
    "naïve": "naïve",
    "STRASSE Straße": "strasse strasse",
    "हिन्दी": "हिन्दी",
    "": "",
    "?!": "",
}


@pytest.mark.parametrize(("text", "form"), FORMS.items())
def test_the_normal_form(text: str, form: str) -> None:
    assert normal(text) == form


@given(st.text(alphabet="aB1.,! é", max_size=60))
def test_the_normal_form_is_its_own(text: str) -> None:
    assert normal(normal(text)) == normal(text)


def test_runs_of_words() -> None:
    assert ngrams("a b c d", 3) == {"a b c", "b c d"}
    assert ngrams("a b", 3) == {"a b"}
    assert ngrams("", 3) == set()


def test_jaccard() -> None:
    assert jaccard({"a", "b"}, {"b", "c"}) == 1 / 3
    assert jaccard(set(), set()) == 1


def test_near_duplicates_point_to_the_first_that_is_kept() -> None:
    texts = ["a b c d e f g", "x y z", "A b c, d e f g!", "a b c d e f h", "a b c d e f g"]
    assert near_duplicates(texts, 1.0) == [None, None, 0, None, 0]
    assert near_duplicates(texts, 0.6) == [None, None, 0, 0, 0]  # 4 of 6 shingles
    assert near_duplicates([], 0.5) == []


def test_many_texts_give_what_comparing_every_pair_gives() -> None:
    numbers = random.Random(0)
    words = [f"w{i}" for i in range(300)]
    texts = [" ".join(numbers.choices(words, k=30)) for _ in range(4 * FEW)]
    for place in range(0, len(texts), 7):
        texts[place] = f"{texts[numbers.randrange(len(texts))]} tail"
    kept: list[int] = []
    expected: list[int | None] = []
    shingles = [ngrams(normal(text), 3) for text in texts]
    for place, own in enumerate(shingles):
        like = next((other for other in kept if jaccard(own, shingles[other]) >= 0.8), None)
        expected.append(like)
        kept += [place] if like is None else []
    assert near_duplicates(texts, 0.8) == expected
    assert sum(like is not None for like in expected) > 10


def test_diverse_takes_the_first_and_then_what_differs_most() -> None:
    texts = ["a b c d", "a b c d", "a b c x", "p q r s"]
    assert diverse(texts, 1) == [0]
    assert diverse(texts, 2) == [0, 3]
    assert diverse(texts, 3) == [0, 3, 2]
    assert diverse(texts, 9) == [0, 3, 2, 1]
    assert diverse(["a", "b", "c"], 2) == [0, 1]  # a tie: the earlier one
    assert diverse([], 2) == []


@pytest.mark.parametrize("piece", ["a\u0301\u0323", "1,000", ".", "a ", "ﷺ", "\u0301\u0323"])
def test_a_hostile_megabyte_takes_less_than_two_seconds(piece: str) -> None:
    start = time.process_time()
    normal(piece * (10**6 // len(piece.encode())))
    assert time.process_time() - start < 2
