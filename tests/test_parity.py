"""The gate before an engine, with writers whose texts one can see: above all, prompts with a beginning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from understudy import distill, shelves
from understudy.generators import parity, ready
from understudy.generators.parity import Rehearsal
from understudy.generators.ready import ENGINES
from understudy.generators.telling import sentences
from understudy.recipe import parse_recipe
from understudy.roles import Generated
from understudy.types import Question, Sampling

METHOD = shelves.load("methods", "single_stage")()
STAGE = METHOD.stages()[0]
QUESTIONS = [Question(f"Question {number}?", str(number)) for number in range(10)]


class Speaker:
    """Says of every question ten words, the same every time; a word is its own token."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    @property
    def codec(self) -> Any:
        return self

    def begun(self, texts: Sequence[str]) -> list[list[int]]:
        return [[int(word[1:]) for word in text.split()] for text in texts]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        del skip_special_tokens
        return " ".join(f"w{number}" for number in ids)

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def close(self) -> None:
        pass

    def generate(
        self, sources: Sequence[str], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Generated]:
        del sampling
        prefixes = prefixes or [""] * len(sources)
        self.asked += zip(sources, prefixes, strict=True)
        return [self.say(*pair) for pair in zip(sources, prefixes, strict=True)]

    def say(self, source: str, prefix: str) -> Generated:
        del source
        ids = tuple(range(100, 110))[len(prefix.split()) :]
        return Generated(self.decode(ids), "stop", 2, len(ids), ids=ids)


class Forgetful(Speaker):
    """Right without a beginning; with one, it begins anew."""

    def say(self, source: str, prefix: str) -> Generated:
        return super().say(source, "")


@pytest.fixture(autouse=True)
def _sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speaker has no logits, and no two of its tokens are a tie."""
    monkeypatch.setattr(parity, "_gap", lambda live, prompt, common, mine, theirs: 1.0 + len(common))


def rehearsal(*begun: str) -> Rehearsal:
    return Rehearsal(METHOD, "number", "dev", QUESTIONS, 12, 4096, begun=frozenset(begun))


def records(path: Path, writer: Any, *begun: str, live: Any = None) -> dict[str, dict[str, Any]]:
    key = {"engine": "toy", "version": "1"}
    reference: Any = live or Speaker()
    return parity.records(path, key, reference, writer, STAGE, rehearsal(*begun))


def test_a_quarter_is_put_again_with_the_first_words_of_the_reference(tmp_path: Path) -> None:
    writer = Speaker()
    found = records(tmp_path, writer, STAGE.name)
    assert [found[name]["prompts"] for name in ("parity", "begun")] == [10, 3]
    assert found["begun"]["different"] == found["begun"]["ties"] == []
    asked = {source: prefix for source, prefix in writer.asked if prefix}
    prompts = [METHOD.prompt(STAGE.name, question, {}) for question in QUESTIONS[::4]]
    assert asked == dict(zip(prompts, ["w100", "w100 w101", "w100 w101 w102"], strict=True))
    assert len(writer.asked) == 13
    assert found["begun"]["tokens"] == 9 + 8 + 7


def test_a_stage_without_beginnings_has_none(tmp_path: Path) -> None:
    writer = Speaker()
    assert set(records(tmp_path, writer, "another stage")) == {"parity"}
    assert not any(prefix for _, prefix in writer.asked)


def test_an_engine_that_is_wrong_with_beginnings_alone_is_found(tmp_path: Path) -> None:
    found = records(tmp_path, Forgetful(), STAGE.name)
    assert parity.fault(found["parity"], "float32") == ""
    assert parity.fault(found["begun"], "float32") == (
        "toy 1 wrote other tokens than transformers for 3 of 3 prompts of dev with a beginning in float32, "
        f"first at token 1 of question {QUESTIONS[0].id}, where transformers wrote 'w101' and it wrote 'w100'"
    )
    assert parity.fault(found["begun"], "bfloat16") == ""
    # The reference is asked for its logits after what both had read: the beginning.
    assert [one["gap"] for one in found["begun"]["different"]] == [2.0, 3.0, 4.0]


def test_what_was_measured_without_beginnings_is_not_measured_again(tmp_path: Path) -> None:
    plain = records(tmp_path, Speaker())
    later = Speaker()
    found = records(tmp_path, later, STAGE.name)
    assert found["parity"] == plain["parity"]
    assert len(later.asked) == 3
    assert all(prefix for _, prefix in later.asked)
    third = Speaker()
    assert records(tmp_path, third, STAGE.name) == found
    assert third.asked == []
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_the_record_without_beginnings_has_the_name_that_it_always_had(tmp_path: Path) -> None:
    """Or everything that was ever measured would be measured again."""
    from understudy.store import digest

    records(tmp_path, Speaker())
    prompts = [METHOD.prompt(STAGE.name, question, {}) for question in QUESTIONS]
    about = {"engine": "toy", "version": "1", "prompts": prompts, "max_tokens": 12}
    (kept,) = tmp_path.glob("*.json")
    assert kept.stem == digest(about)[:16]
    assert set(json.loads(kept.read_text())["texts"]) == {question.id for question in QUESTIONS}


def test_who_writes_nothing_has_no_beginnings(tmp_path: Path) -> None:
    class Silent(Speaker):
        def say(self, source: str, prefix: str) -> Generated:
            return replace(super().say(source, prefix), text="", ids=(), tokens=0)

    found = records(tmp_path, Silent(), STAGE.name, live=Silent())
    assert found["begun"]["prompts"] == 0
    assert parity.fault(found["begun"], "float32") == ""


def test_the_report_counts_both(tmp_path: Path) -> None:
    found = records(tmp_path, Speaker(), STAGE.name)
    about = {"engine": "toy", "version": "1", "compute_type": "float32", "why": ""}
    told = {**about, **{name: ready._short(record) for name, record in found.items()}}
    plain = {name: value for name, value in told.items() if name != "begun"}
    (sentence,) = sentences([{"engines": {"answer": plain}}, {"engines": {"answer": told}}])
    assert sentence == (
        "Students answered through toy 1 in float32; beside transformers in float32 it wrote the same tokens "
        "for 13 of 13 prompts of dev."
    )


@pytest.mark.skipif(not ENGINES["ctranslate2"].version(), reason="ctranslate2 is not installed")
def test_the_probes_of_a_run_are_rehearsed_with_beginnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # real students have logits
    monkeypatch.setattr(ready, "WORTH", 1)
    text = """
name: begun
task: arithmetic
data: {train: 30, dev: 5, test: 8}
teacher: template
students: [{name: causal, config: tiny}]
methods: [single_stage]
train: {budget: {unit: steps, amount: 2}, learning_rate: 1e-3, batch_tokens: 512, precision: fp32}
evaluate: {max_new_tokens: 8, probes: [filler]}
"""
    distill.run(parse_recipe(text, "begun", (), {}), tmp_path, lambda event: None, in_process=True)
    told = {}
    for path in tmp_path.glob("steps/*/step.json"):
        step = json.loads(path.read_text())
        if "rationale" in (step.get("result") or {}).get("engines", {}):
            told[step["settings"].get("probe", "")] = step["result"]["engines"]["rationale"]
    assert set(told) == {"", "filler"}
    assert "begun" not in told[""]
    assert (told["filler"]["begun"]["prompts"], told["filler"]["begun"]["different"]) == (2, 0)
    assert told["filler"]["parity"] == told[""]["parity"]
