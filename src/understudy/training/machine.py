"""What makes this machine train faster and changes nothing that is computed, but for the last digits.

On CPUs freed memory stays with the process, where giving it back and asking for it anew at every step costs a
fifth of the time. An optimizer's moments that shrink below the smallest normal number become zero, since a
processor is slow on what lies between: the first moment of a word that does not come for 750 steps gets
there. And attention is computed step by step, as its fused backward pass is slower on short sequences. On
GPUs none of this is done. Imports torch.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from understudy.training import lean

SHORT = 512
"""Tokens of a row up to which attention on CPUs is computed step by step. Its tables grow with the square."""
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


@contextmanager
def tuned(model: Any, device: str, longest: int) -> Iterator[None]:
    """Inside the block the machine is set for training `model` on rows of at most `longest` tokens. Freed
    memory stays with this process from then on; what is free at the end is given back once."""
    if device != "cpu":
        yield
        return
    keep_memory()
    config = model.config
    before = config._attn_implementation
    eager = before == "sdpa" and longest <= SHORT
    if eager:
        model.set_attn_implementation(lean.ATTENTION if lean.unscaled(model) else "eager")
    flushing = torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if flushing:
            torch.set_flush_denormal(False)
        if eager:
            model.set_attn_implementation(before)
        give_back()


def keep_memory() -> bool:
    """Freed blocks of any size stay with this process; returns whether its allocator can be told so."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_MMAP_MAX, 0)) and bool(libc.mallopt(_TRIM_THRESHOLD, -1))
    except (OSError, AttributeError):
        # Another C library, with an allocator of its own.
        return False


def give_back() -> None:
    """Free blocks go back to the system: whatever comes next in this process may not want them."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):
            return
