"""The doctor says what is there, and of keys no more than that."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from understudy import doctor
from understudy.cli import main

OFFLINE = {"HF_HUB_OFFLINE": "1"}


class _Answers(BaseHTTPRequestHandler):
    status = 200

    def do_HEAD(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_are_there_or_not_and_never_shown() -> None:
    findings = doctor.examine({**OFFLINE, "OPENAI_API_KEY": "hunter2", "HF_TOKEN": ""})
    assert findings["keys"] == {
        "OPENAI_API_KEY": True,
        "ANTHROPIC_API_KEY": False,
        "HF_TOKEN": False,
        "WANDB_API_KEY": False,
    }
    text = json.dumps(findings) + "\n".join(doctor.lines(findings))
    assert "hunter2" not in text
    assert "  OPENAI_API_KEY     yes" in text
    assert "  HF_TOKEN           no" in text


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("pydantic", "torch"))

    def version(package: str) -> str:
        if package == "torch":
            raise metadata.PackageNotFoundError(package)
        return "1.2.3"

    monkeypatch.setattr(metadata, "version", version)
    versions = doctor.versions()
    assert versions["pydantic"] == "1.2.3"
    assert versions["torch"] is None
    findings = {**doctor.examine(OFFLINE), "versions": versions}
    text = "\n".join(doctor.lines(findings))
    assert "torch            not installed" in text
    assert "pip install 'understudy[train]'" in text


def test_a_torch_that_cannot_be_imported_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    findings = doctor.devices()
    assert findings["torch"].startswith("cannot be imported: ")
    assert findings["cores"] >= findings["usable_cores"] >= 1
    text = "\n".join(doctor.lines({**doctor.examine(OFFLINE), "devices": findings}))
    assert "torch cannot be imported" in text


class _Gpus:
    """As much of torch as the doctor looks at, on a machine with two GPUs."""

    class cuda:  # noqa: N801 (torch's name)
        @staticmethod
        def device_count() -> int:
            return 2

        @staticmethod
        def get_device_properties(index: int) -> Any:
            name, major = (("Old", 7), ("New", 9))[index]
            return type("Properties", (), {"name": name, "total_memory": 16 * 2**30, "major": major})

    class backends:  # noqa: N801 (torch's name)
        class mps:  # noqa: N801 (torch's name)
            @staticmethod
            def is_available() -> bool:
                return False

    @staticmethod
    def get_num_threads() -> int:
        return 4


def test_gpus_are_listed_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", _Gpus)
    assert doctor.devices()["gpus"] == [
        {"name": "Old", "memory_gib": 16.0, "bf16": False},
        {"name": "New", "memory_gib": 16.0, "bf16": True},
    ]
    text = "\n".join(doctor.lines(doctor.examine(OFFLINE)))
    assert "GPU: New, 16.0 GiB, bf16" in text
    assert "GPU: Old, 16.0 GiB, no bf16" in text


def test_folders_follow_the_environment_and_need_not_exist(tmp_path: Path) -> None:
    models, data_sets, working = doctor.folders({"HF_HOME": str(tmp_path / "a" / "b")})
    assert models["path"] == str(tmp_path / "a" / "b" / "hub")
    assert data_sets["path"] == str(tmp_path / "a" / "b" / "datasets")
    assert not models["exists"]
    assert models["free_gib"] > 0
    assert working["exists"]
    (moved, _, _) = doctor.folders({"HF_HOME": "/nowhere", "HF_HUB_CACHE": str(tmp_path)})
    assert moved["path"] == str(tmp_path)
    assert moved["exists"]


@pytest.mark.parametrize("status", [200, 401, 503])
def test_any_answer_means_the_hub_is_reachable(
    hub: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Answers, "status", status)
    assert doctor.hub({"HF_ENDPOINT": hub}) == {"url": hub, "reachable": True, "reason": ""}


def test_a_closed_door_is_not_reachable(hub: str) -> None:
    closed = hub.rpartition(":")[0] + ":1"
    found = doctor.hub({"HF_ENDPOINT": closed})
    assert found["reachable"] is False
    assert "refused" in found["reason"]


def test_a_silent_hub_costs_no_more_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = threading.Event()

    def ask(url: str, timeout: float) -> str:
        silence.wait(5)
        return ""

    monkeypatch.setattr(doctor, "_ask", ask)
    found = doctor.hub({}, timeout=0.05)
    silence.set()
    assert found["reason"] == "no answer in 0.05 seconds"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (OFFLINE, "HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "file:///etc"}, "HF_ENDPOINT is not an http address"),
    ],
)
def test_nothing_is_asked_where_nothing_may_be(environment: dict[str, str], reason: str) -> None:
    assert doctor.hub(environment)["reason"] == reason


def test_offline_says_what_to_do() -> None:
    text = "\n".join(doctor.lines(doctor.examine(OFFLINE)))
    assert "does not answer: HF_HUB_OFFLINE is set" in text
    assert "task.path" in text


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    plain = CliRunner().invoke(main, ["doctor"])
    assert plain.exit_code == 0
    assert [line for line in plain.stdout.splitlines() if not line.startswith(" ")] == [
        "versions",
        "devices",
        "keys",
        "folders",
        "hub",
    ]
    as_json = CliRunner().invoke(main, ["doctor", "--json"])
    assert set(json.loads(as_json.stdout)) == {"versions", "devices", "keys", "folders", "hub"}
