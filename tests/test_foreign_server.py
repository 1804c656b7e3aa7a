"""The `openai` teacher against a server that is not ours: benchmarks/foreign.py in small.

The server is llama.cpp's, by llama-cpp-python, in this environment or in the one whose interpreter
UNDERSTUDY_LLAMA_PYTHON names. What it says when it refuses is read here without it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_data import shared_model
from understudy.teachers._faults import Kind, fault

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import foreign

MALFORMED = (
    "1 validation error:\n  {'type': 'float_parsing', 'loc': ('body', 'top_p'), 'msg': 'Input should be a "
    "valid number, unable to parse string as a number', 'input': 'high'}\n\n  File \"app.py\", line 264"
)
TOO_LONG = (
    "This model's maximum context length is 512 tokens, however you requested 2577 tokens (2561 in your "
    "prompt; 16 for the completion). Please reduce your prompt; or completion length."
)


# ---------------------------------------------------------------- what it says when it refuses


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": TOO_LONG, "code": "context_length_exceeded"}}, "too_long"),
        (500, {"error": {"message": MALFORMED, "type": "internal_server_error"}}, "rejected"),
        (500, {"error": {"message": MALFORMED.replace("body", "response")}}, "retry"),
        (500, {"error": {"message": "", "type": "internal_server_error"}}, "retry"),
        (401, {"detail": "Invalid API key"}, "key"),
        (404, {"detail": "Not Found"}, "missing"),
    ],
)
def test_its_refusals_are_understood(status: int, body: dict[str, object], kind: Kind) -> None:
    assert fault(status, {}, json.dumps(body)).kind == kind


# ---------------------------------------------------------------- the server itself


def interpreter() -> str:
    """One that has llama_cpp and gguf, or skip."""
    named = os.environ.get("UNDERSTUDY_LLAMA_PYTHON")
    if named:
        return named
    if not all(importlib.util.find_spec(package) for package in ("llama_cpp", "gguf")):
        pytest.skip(
            "llama-cpp-python[server] and gguf are not here (set UNDERSTUDY_LLAMA_PYTHON to an interpreter "
            "that has them)"
        )
    return sys.executable


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[foreign.Asker]:
    python, source = interpreter(), shared_model("stories260K")
    folder = tmp_path_factory.mktemp("foreign")
    with pytest.MonkeyPatch.context() as patch, foreign.serving(python, source, folder) as (url, log):
        for name, key in foreign.KEYS.items():
            patch.setenv(name, key)
        yield foreign.Asker(url, log, source, folder, count=10)


@pytest.mark.slow
@pytest.mark.parametrize("look", foreign.LOOKS)
def test_a_server_that_is_not_ours_is_asked_well(asker: foreign.Asker, look: foreign.Look) -> None:
    seen = look(asker)
    assert seen.good, f"{seen.what}: {seen.saw}"


@pytest.mark.slow
def test_a_look_can_fail(asker: foreign.Asker) -> None:
    """A key that is good is not refused."""
    assert not foreign.refused("a good key", "refused the key", api_key_env=foreign.KEY_ENV)(asker).good
