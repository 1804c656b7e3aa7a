"""The language of a text, and no verdict where there is too little of it."""

from __future__ import annotations

import pytest

from shared_data import shared_data
from understudy.checks.language import FEWEST_LETTERS, UNDETERMINED, foreign, known, language
from understudy.rows import read

TEXTS = {
    "en": "She sells nine eggs every day and gets two dollars for each, which makes eighteen dollars.",
    "de": "Sie verkauft jeden Tag neun Eier und bekommt zwei Euro für jedes davon, das sind achtzehn Euro.",
    "fr": "Elle vend neuf œufs chaque jour et reçoit deux euros pour chacun, ce qui fait dix-huit euros.",
    "zh": "她每天卖九个鸡蛋，每个鸡蛋卖两美元，所以她每天一共可以挣到十八美元。",
}


@pytest.mark.parametrize(("code", "text"), TEXTS.items())
def test_a_sentence_is_recognised(code: str, text: str) -> None:
    found, probability = language(text)
    assert found == code
    assert 0.5 < probability <= 1
    assert not foreign(text, code)
    assert foreign(text, "sw")


@pytest.mark.parametrize("text", ["", "8 + 12 = 20. 20 * 2 = 40.", "9 * 2 = 18 Euro", "1" * 500, "\n" * 500])
def test_too_little_text_has_no_language(text: str) -> None:
    assert language(text) == (UNDETERMINED, 0.0)
    assert not foreign(text, "en")


def test_the_bound_counts_letters() -> None:
    letters = "the cat sat on the mat " * 10
    short = "".join(letters.split())[: FEWEST_LETTERS - 1]
    assert language(short)[0] == UNDETERMINED
    assert language(letters)[0] == "en"


def test_codes_are_known() -> None:
    assert {"en", "de", "zh"} <= known()
    assert "english" not in known()


@pytest.mark.parametrize("name", ["gsm8k_llama_level1", "obqa_llama_level1"])
def test_english_rationales_are_not_foreign(name: str) -> None:
    rows = read(shared_data("eit_cot_distill") / f"{name}_ranked.json.gz")
    texts = [str(row.fields["output"]) for row in rows]
    assert sum(foreign(text, "en") for text in texts) < 0.001 * len(texts)
