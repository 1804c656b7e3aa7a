"""What others paid for counts as paid, when it is equal word for word; the rest is counted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from test_ledger import Toy, path, request
from test_ledger_handling import fill, run
from understudy.errors import DataError, StoreError
from understudy.ledger import Ledger, _rows
from understudy.ledger._rows import Record
from understudy.ledger.importing import Imported, Origin, import_file
from understudy.ledger.reading import entries
from understudy.ledger.verifying import problems
from understudy.roles import Identity
from understudy.types import Completion, Message, Question, Request, Sampling

__all__ = ["path"]

ENDPOINT = "https://api.openai.com/v1/chat/completions"


def ask(
    path: Path,
    sampling: Sampling,
    *prompts: str,
    n: int = 1,
    model: str = "m",
    endpoint: str = ENDPOINT,
    revision: str = "",
    system: str = "",
) -> list[Completion]:
    """What the ledger answers; it is an error if anything must be asked."""
    nobody = Toy(stop_after=0)
    nobody.identity = Identity(endpoint, model, revision)
    first = (Message("system", system),) if system else ()
    requests = [
        Request(Question(text, ""), (*first, Message("user", text)), tuple(range(n))) for text in prompts
    ]
    with Ledger(path) as ledger:
        landed = sorted(
            ledger.complete(nobody, requests, sampling), key=lambda item: (item[0], item[1].sample)
        )
    assert list(problems(path)) == []
    return [completion for _, completion in landed]


def write(folder: Path, name: str, rows: Sequence[Any]) -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


# ---------------------------------------------------------------- Fine-tune-CoT

DATASET = {
    "metadata": {
        "base_model": "text-davinci-002",
        "dataset_key": "multiarith",
        "completion_key": "zs_cot",
        "prediction_template": "zs_cot",
        "finetune_key": None,
        "train_key": None,
        "epoch": None,
        "reasoning_temperature": 0.7,
        "reasoning_max_tokens": 128,
        "temperature": 0,
        "max_tokens": 32,
    },
    "data": {
        "0": [
            {
                "sample_index": 0,
                "completion_index": index,
                "question": "What is 1 + 1?",
                "answer": "2",
                "reasoning_prompt": "Q: What is 1 + 1?\nA: Let's think step by step.",
                "reasoning_completion": f" One and one is two, {index}.",
                "reasoning_finish_reason": "stop",
                "prompt": f"Q: What is 1 + 1?\nA: Let's ... {index}.\nTherefore, the answer is",
                "completion": " 2",
                "finish_reason": "length",
            }
            for index in range(2)
        ],
        "7": [{"sample_index": 7, "completion_index": 0, "question": "?", "answer": "3", "prompt": "Q: ?"}],
    },
}


def test_fine_tune_cot(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "D_multiarith.json"
    file.write_text(json.dumps(DATASET, indent=4))
    origin = Origin("https://api.openai.com/v1/completions", sampling=Sampling(stop=("END",)))
    assert import_file(file, path, origin) == Imported(4, 0, {"not generated yet": 1})
    davinci = partial(ask, path, model="text-davinci-002", endpoint=origin.endpoint)
    thinking = Sampling(0.7, max_tokens=128, stop=("END",))
    got = davinci(thinking, "Q: What is 1 + 1?\nA: Let's think step by step.", n=2)
    assert [c.text for c in got] == [" One and one is two, 0.", " One and one is two, 1."]
    answering = Sampling(0.0, max_tokens=32, stop=("END",))
    (last,) = davinci(answering, "Q: What is 1 + 1?\nA: Let's ... 1.\nTherefore, the answer is")
    assert (last.text, last.finish_reason) == (" 2", "length")
    assert import_file(file, path, origin) == Imported(0, 4, {"not generated yet": 1})


# ---------------------------------------------------------------- curator


def curated(text: object, prompt: str = "a", **changes: Any) -> dict[str, Any]:
    return {
        "response_message": text,
        "response_errors": None,
        "raw_response": {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]},
        "raw_request": None,
        "generic_request": {
            "model": "m",
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": prompt}],
            "original_row": {"question": prompt},
            "original_row_idx": 0,
            "generation_params": {"temperature": 0.6},
        },
        "created_at": "2025-03-01T10:00:00",
        "finished_at": "2025-03-01T10:00:02",
        "token_usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11},
        "response_cost": 0.25,
        "finish_reason": "stop",
    } | changes


def test_curator(path: Path, tmp_path: Path) -> None:
    rows = [
        curated("said a"),
        curated("again a"),
        curated({"answer": 4}, "b"),
        curated(None, "c", response_errors=["timeout"]),
    ]
    file = write(tmp_path, "responses_0.jsonl", rows)
    imported = import_file(file, path, Origin(ENDPOINT, run="curated"))
    assert imported == Imported(3, 0, {"the request failed": 1})
    warm = Sampling(0.6)
    assert [c.text for c in ask(path, warm, "a", n=2, system="s")] == ["said a", "again a"]
    assert [c.text for c in ask(path, warm, "b", system="s")] == ['{"answer": 4}']
    first = next(entries(path))
    assert (first["usd"], first["prompt_tokens"], first["run"]) == (0.25, 5, "curated")
    assert first["created"] == "2025-03-01T10:00:02.000+00:00"
    assert json.loads(first["raw"])["choices"][0]["message"]["content"] == "said a"


# ---------------------------------------------------------------- batches


def batch(custom_id: str, prompt: str, **body: Any) -> dict[str, Any]:
    asked = {"model": "m", "messages": [{"role": "user", "content": prompt}], "max_tokens": 64} | body
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": asked}


def result(custom_id: str, *texts: str, status: int = 200) -> dict[str, Any]:
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in texts]
    usage = {"prompt_tokens": 9, "completion_tokens": 5}
    body = {"choices": choices, "usage": usage} if status == 200 else {"error": {"message": "no"}}
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": custom_id, "response": response, "error": None}


def test_a_batch_with_its_input(path: Path, tmp_path: Path) -> None:
    asked = [batch("1", "a", n=2), batch("2", "b", top_k=5), batch("3", "c")]
    inputs = write(tmp_path, "input.jsonl", asked)
    said = [result("2", "B"), result("1", "A0", "A1"), result("3", status=400), result("9", "?")]
    outputs = write(tmp_path, "output.jsonl", said)
    imported = import_file(outputs, path, Origin(sampling=Sampling(0.7)), inputs)
    failed = {"the request failed": 1, "its custom_id is not in the input file": 1}
    assert imported == Imported(3, 0, failed)
    warm = Sampling(0.7, max_tokens=64)
    got = ask(path, warm, "a", n=2)
    assert [(c.text, c.prompt_tokens, c.completion_tokens) for c in got] == [("A0", 9, 3), ("A1", 0, 2)]
    assert [c.text for c in ask(path, warm, "b", revision='{"top_k": 5}')] == ["B"]


def test_the_output_of_a_batch_alone_is_not_enough(path: Path, tmp_path: Path) -> None:
    outputs = write(tmp_path, "output.jsonl", [result("1", "A")])
    with pytest.raises(DataError, match=r"line 1: this is the output of a batch; give its input file too"):
        import_file(outputs, path, Origin())


# ---------------------------------------------------------------- plain lines and exports


def test_plain_lines(path: Path, tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "a"}], "text": "A", "model": "m"},
        {"prompt": "b", "output": "B", "finish_reason": "length", "temperature": 0.2},
        {"question": "c", "text": "C"},
        {"text": "what to?"},
        {"prompt": "d"},
        {"prompt": "e", "text": "E", "sample": "many"},
        {"prompt": "e", "text": "E", "logprob": "likely"},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}], "text": "F"},
        {"messages": [{"role": "tool", "content": "x"}], "text": "G"},
    ]
    imported = import_file(write(tmp_path, "rows.jsonl", rows), path, Origin(ENDPOINT, "m"))
    assert imported == Imported(
        3,
        0,
        {
            "it does not say what was asked": 1,
            "it has no text": 1,
            "a field is not of its type": 2,
            "a message is not text": 1,
            "a message has a role other than system, user and assistant": 1,
        },
    )
    assert [c.text for c in ask(path, Sampling(), "a", "c")] == ["A", "C"]
    (b,) = ask(path, Sampling(0.2), "b")
    assert (b.text, b.finish_reason) == ("B", "length")


def test_what_has_no_key_is_counted(path: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "rows.jsonl", [{"prompt": "a", "text": "A"}])
    no_model, no_endpoint = (
        import_file(file, path, Origin(ENDPOINT)),
        import_file(file, path, Origin("", "m")),
    )
    assert no_model.skipped == {"it does not say which model answered (--model)": 1}
    assert no_endpoint.skipped == {"it does not say which endpoint answered (--endpoint)": 1}
    assert list(entries(path)) == []


def test_nothing_is_half_imported(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good = "".join(json.dumps({"prompt": str(number), "text": "A"}) + "\n" for number in range(1500))
    file.write_text(good + "{torn")
    with pytest.raises(DataError, match="line 1501: not valid JSON"):
        import_file(file, path, Origin(ENDPOINT, "m"))
    assert list(entries(path)) == []
    file.write_text(good)
    assert import_file(file, path, Origin(ENDPOINT, "m")).added == 1500


def test_an_import_that_stops_half_way_leaves_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "rows.jsonl", [{"prompt": str(number), "text": "A"} for number in range(1500)])
    insert, calls = _rows.insert, []

    def full(db: sqlite3.Connection, records: Sequence[Record]) -> int:
        calls.append(len(records))
        if len(calls) == 2:
            raise StoreError("the disk is full")
        return insert(db, records)

    monkeypatch.setattr(_rows, "insert", full)
    with pytest.raises(StoreError, match="full"):
        import_file(file, path, Origin(ENDPOINT, "m"))
    assert calls == [1000, 500]
    assert list(entries(path)) == []


def test_what_a_run_has_asked_stays_as_it_was(path: Path, tmp_path: Path) -> None:
    toy = Toy()
    toy.identity = Identity(ENDPOINT, "m")
    with Ledger(path) as ledger:
        list(ledger.complete(toy, [request("a")], Sampling()))
    file = write(tmp_path, "rows.jsonl", [{"prompt": "a", "text": "another"}])
    assert import_file(file, path, Origin(ENDPOINT, "m")) == Imported(0, 1, {})
    assert [c.text for c in ask(path, Sampling(), "a")] == ["toy: a #0"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_export_comes_back_the_same(path: Path, tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    fill(path)
    run("export", path, tmp_path / name)
    copy = tmp_path / "copy.sqlite"
    assert run("import", copy, tmp_path / name).output.endswith("5 new, 0 known\n")
    assert list(entries(copy)) == list(entries(path))
    assert [entry["logprob"] for entry in entries(copy)] == [-1.5, None, -1.5, -1.5, None]
    assert run("verify", copy).output == "whole\n"


def test_the_command_takes_what_a_file_does_not_say(path: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "rows.jsonl", [{"prompt": "a", "text": "A"}, {"prompt": "b"}])
    sampling = ["--temperature", 0.5, "--max-tokens", 9, "--stop", "END", "--seed", 3]
    said = run("import", path, file, "--endpoint", ENDPOINT, "--model", "m", *sampling).output
    assert said == f"{file}: 1 new, 0 known\n  1 left out: it has no text\n"
    assert [c.text for c in ask(path, Sampling(0.5, 1.0, 9, ("END",), 3), "a")] == ["A"]
