"""What T5 cannot write, held against the real tokenizer."""

from __future__ import annotations

import time
import unicodedata

import pytest

from shared_data import shared_model
from understudy.checks.characters import t5_missing

MISSING = {
    "": "",
    "9 * 2 = 18 dollars, or 50%.": "",
    "a\nb\tc": "",  # lost, not missing
    "{x} ~ y^2 < \\frac": "{}~^<\\",
    "3 × 4": "×",
    "½ of it": "½",
    "ﬁne, x²": "",  # written in their compatible form
    "naïve café £5 – “quoted”": "ï",
    "é e\u0301": "",
    "Привет": "П",
    "冰 and 沙": "冰沙",
    "a\u200bb": "",
}


@pytest.mark.parametrize(("text", "missing"), MISSING.items())
def test_what_is_missing(text: str, missing: str) -> None:
    assert t5_missing(text) == missing


def test_the_set_is_that_of_the_real_tokenizer() -> None:
    """Every character up to U+2FFF between two letters; marks are left out, for they join the first one."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shared_model("t5-tokenizer") / "tokenizer.json"))
    unknown = tokenizer.token_to_id("<unk>")
    characters = [
        chr(code) for code in range(1, 0x3000) if unicodedata.category(chr(code)) not in ("Mn", "Co")
    ]
    encoded = tokenizer.encode_batch([f"a{one}a" for one in characters], add_special_tokens=False)
    real = {one for one, tokens in zip(characters, encoded, strict=True) if unknown in tokens.ids}
    assert {one for one in characters if t5_missing(one)} == real


def test_a_hostile_megabyte_takes_less_than_a_second() -> None:
    start = time.process_time()
    t5_missing("a\u0301\u0323" * 333_333)
    t5_missing("{" * 10**6)
    assert time.process_time() - start < 1
