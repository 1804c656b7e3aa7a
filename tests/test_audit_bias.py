"""Filter bias: what tells lost questions from kept ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from numpy import array
from scipy.stats import chi2_contingency, fisher_exact, mannwhitneyu

from audit_toys import material, said
from understudy.audit.bias import bias
from understudy.audit.material import Material
from understudy.audit.section import Section
from understudy.types import AnswerForm, Question


def split(lost: Sequence[Question], kept: Sequence[Question], form: AnswerForm = "number") -> Material:
    """Every question answered; those of `kept` have their rationale left."""
    completions = [said(question, 0, "The answer is 1.") for question in (*lost, *kept)]
    return material([*lost, *kept], completions, form, kept=[(question, 0) for question in kept])


def asked(
    count: int, words: int, gold: str = "7", name: str = "q", steps: int | None = None
) -> list[Question]:
    return [Question(f"{name}{i} " + "word " * (words - 1), gold, steps=steps) for i in range(count)]


def p_of(section: Section, trait: str) -> float:
    p = section.numbers["traits"][trait]["p"]
    assert isinstance(p, float)
    return p


def test_long_questions_are_lost() -> None:
    lost, kept = asked(12, 9, name="l"), asked(20, 3, name="k")
    section = bias(split(lost, kept))
    trait = section.numbers["traits"]["words in the question"]
    assert (trait["mean_lost"], trait["mean_kept"], trait["more"]) == (9, 3, 1)
    assert trait["p"] == pytest.approx(mannwhitneyu([9] * 12, [3] * 20).pvalue)
    assert section.sentences[0].startswith("12 of 32 (37.5 %")
    assert "differ from the others in words in the question" in section.sentences[0]
    assert section.rows[0][:3] == ("words in the question", "mean 9.0 (n = 12)", "mean 3.0 (n = 20)")


def test_a_trait_that_all_share_is_not_compared() -> None:
    section = bias(split(asked(12, 3, name="l"), asked(20, 3, name="k")))
    assert section.numbers["traits"] == {}
    assert "no trait tells them apart" in section.sentences[0]


def test_steps_count_where_the_data_set_knows_them() -> None:
    lost = asked(10, 3, name="l", steps=5) + asked(5, 3, name="m")
    section = bias(split(lost, asked(20, 3, name="k", steps=2)))
    trait = section.numbers["traits"]["reasoning steps"]
    assert (trait["mean_lost"], trait["n_lost"], trait["n_kept"]) == (5, 10, 20)


def test_sizes_and_whole_numbers_are_classes() -> None:
    lost = asked(10, 3, "1,234", "l") + asked(10, 3, "0.5", "m") + asked(2, 3, "3; 4", "n")
    section = bias(split(lost, asked(30, 3, "12", "k")))
    sizes = section.numbers["traits"]["size of the gold number"]
    assert sizes["lost"] == {"10 to below 100": 0, "1000 or more": 10, "below 10": 10, "not one number": 2}
    whole = section.numbers["traits"]["gold number"]
    assert whole["lost"] == {"not whole": 12, "whole": 10}
    assert whole["p"] == pytest.approx(chi2_contingency([[12, 0], [10, 30]], correction=False).pvalue)


def test_small_cells_get_fishers_test() -> None:
    lost = asked(8, 3, "yes", "l") + asked(2, 3, "no", "m")
    kept = asked(4, 3, "yes", "k") + asked(8, 3, "no", "n")
    section = bias(split(lost, kept, "boolean"))
    assert p_of(section, "gold answer") == pytest.approx(fisher_exact(array([[2, 8], [8, 4]])).pvalue)
    assert section.rows[0][3] == "yes: 80.0 % of the lost, 33.3 % of the kept (+46.7 points)"


def test_rare_classes_go_together_before_they_are_tested() -> None:
    """Expected counts of 3 in C and D become 6 together; A and B stay."""
    choices = ("one", "two", "three", "four")

    def labelled(name: str, **counts: int) -> list[Question]:
        return [Question(f"{name}{x}{i}", x, choices) for x, n in counts.items() for i in range(n)]

    lost, kept = labelled("l", A=10, B=10, C=6, D=6), labelled("k", A=22, B=10)
    section = bias(split(lost, kept, "choice"))
    together = [[10, 22], [10, 10], [12, 0]]
    expected = chi2_contingency(together, correction=False).pvalue
    assert p_of(section, "gold label") == pytest.approx(expected)


def test_p_values_are_adjusted_over_the_traits() -> None:
    lost = asked(12, 9, "2000", "l", steps=3)
    kept = asked(10, 9, "2000", "j", steps=3) + asked(10, 3, "5", "k", steps=4)
    traits = bias(split(lost, kept)).numbers["traits"]
    p = sorted(trait["p"] for trait in traits.values())
    assert len(p) == 3
    assert max(trait["p_adjusted"] for trait in traits.values()) == pytest.approx(max(p))
    assert min(trait["p_adjusted"] for trait in traits.values()) > min(p)


@pytest.mark.parametrize(("lost", "kept"), [(9, 30), (30, 9)])
def test_too_few_on_either_side_are_shown_and_not_tested(lost: int, kept: int) -> None:
    section = bias(split(asked(lost, 9, name="l"), asked(kept, 3, name="k")))
    assert section.numbers["traits"]["words in the question"]["p"] is None
    assert "too few" in section.sentences[0]
    assert section.rows[0][4:] == ("–", "–")


def test_nothing_lost_is_said() -> None:
    section = bias(split([], asked(3, 3)))
    assert section.sentences == ("Of 3 answered questions no question was lost.",)


def test_questions_without_any_answer_are_not_lost_to_the_filter() -> None:
    answered, silent = asked(2, 3, name="a"), asked(5, 9, name="s")
    made = material([*answered, *silent], [said(q, 0, "The answer is 7.") for q in answered], kept=[])
    assert (bias(made).numbers["lost"], bias(made).numbers["kept"]) == (2, 0)
