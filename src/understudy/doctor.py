"""What a maintainer asks first when something does not work: versions, devices, keys, caches, the Hub.

Says of a key only whether it is there. Nothing here fails: what is missing is the finding.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from understudy import __version__

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "safetensors",
    "sentencepiece",
    "datasets",
    "huggingface-hub",
    "numpy",
    "scipy",
    "pydantic",
    "aiohttp",
)
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "WANDB_API_KEY")
HUB = "https://huggingface.co"
TIMEOUT_SECONDS = 3.0
GIB = 2**30


def examine(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Everything found, ready for JSON. Takes up to 3 seconds when the Hub does not answer."""
    return {
        "versions": versions(),
        "devices": devices(),
        "keys": {name: bool(environment.get(name)) for name in KEYS},
        "folders": folders(environment),
        "hub": hub(environment),
    }


def versions() -> dict[str, str | None]:
    """Version of each package; None when it is not installed."""
    found: dict[str, str | None] = {"understudy": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def devices() -> dict[str, Any]:
    """Processor cores and accelerators, the latter as torch sees them."""
    found: dict[str, Any] = {
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_bf16": _cpu_bf16(),
    }
    try:
        torch: Any = importlib.import_module("torch")
    except (ImportError, OSError) as error:  # OSError: a shared library of a broken installation
        return {**found, "torch": f"cannot be imported: {error}"}
    found["threads"] = torch.get_num_threads()
    found["gpus"] = [_gpu(torch, index) for index in range(torch.cuda.device_count())]
    found["mps"] = bool(torch.backends.mps.is_available())
    return found


def _gpu(torch: Any, index: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / GIB, 1),
        "bf16": properties.major >= 8,  # Ampere and later
    }


def _cpu_bf16() -> bool | None:
    """Whether bf16 is fast on this processor; None where the system does not tell."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return None
    return bool({"amx_bf16", "avx512_bf16", "bf16"} & set(flags))


def folders(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Cache and working folders: is each there, and how much room is on its disk."""
    home = Path(environment.get("HF_HOME") or Path("~/.cache/huggingface").expanduser())
    named = {
        "models": Path(environment.get("HF_HUB_CACHE") or home / "hub"),
        "data sets": Path(environment.get("HF_DATASETS_CACHE") or home / "datasets"),
        "working folder": Path.cwd(),
    }
    return [
        {"use": use, "path": str(path), "exists": path.exists(), "free_gib": _free_gib(path)}
        for use, path in named.items()
    ]


def _free_gib(path: Path) -> float:
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    return round(shutil.disk_usage(there).free / GIB, 1)


def hub(environment: Mapping[str, str], timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """Whether the Hugging Face Hub answers within `timeout` seconds."""
    url = environment.get("HF_ENDPOINT") or HUB
    if environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return {"url": url, "reachable": False, "reason": "HF_HUB_OFFLINE is set"}
    if not url.startswith(("http://", "https://")):
        return {"url": url, "reachable": False, "reason": "HF_ENDPOINT is not an http address"}
    answer: list[str] = []
    # A thread of its own, because looking up a name knows no timeout.
    asking = threading.Thread(target=lambda: answer.append(_ask(url, timeout)), daemon=True)
    asking.start()
    asking.join(timeout)
    reason = answer[0] if answer else f"no answer in {timeout:g} seconds"
    return {"url": url, "reachable": not reason, "reason": reason}


def _ask(url: str, timeout: float) -> str:
    """Why `url` does not answer; empty when it does, whatever it says."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def lines(findings: Mapping[str, Any]) -> Iterator[str]:
    """The findings as plain text."""
    yield "versions"
    for name, version in findings["versions"].items():
        yield f"  {name:<16} {version or 'not installed'}"
    if findings["versions"]["torch"] is None:
        yield "  to train students: pip install 'understudy[train]'"
    yield "devices"
    yield from _device_lines(findings["devices"])
    yield "keys"
    for name, there in findings["keys"].items():
        yield f"  {name:<18} {'yes' if there else 'no'}"
    yield "folders"
    for folder in findings["folders"]:
        state = "" if folder["exists"] else ", not there yet"
        yield f"  {folder['use']:<16} {folder['path']} ({folder['free_gib']} GiB free{state})"
    yield "hub"
    hub_found = findings["hub"]
    if hub_found["reachable"]:
        yield f"  {hub_found['url']} answers"
    else:
        yield f"  {hub_found['url']} does not answer: {hub_found['reason']}"
        yield "  offline, give local copies: task.path for data, a folder as a student's checkpoint"


def _device_lines(found: Mapping[str, Any]) -> Iterator[str]:
    bf16 = {True: "fast bf16", False: "no fast bf16", None: "bf16 unknown"}[found["cpu_bf16"]]
    yield f"  {found['platform']}"
    yield f"  CPU: {found['usable_cores']} of {found['cores']} cores usable, {bf16}"
    if "torch" in found:
        yield f"  torch {found['torch']}"
        return
    yield f"  torch uses {found['threads']} threads"
    for gpu in found["gpus"]:
        yield f"  GPU: {gpu['name']}, {gpu['memory_gib']} GiB, {'bf16' if gpu['bf16'] else 'no bf16'}"
    if not found["gpus"]:
        yield "  GPU: none that CUDA sees"
    if found["mps"] or sys.platform == "darwin":
        yield f"  MPS: {'yes' if found['mps'] else 'no'}"
