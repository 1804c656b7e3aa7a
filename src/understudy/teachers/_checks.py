"""What several teachers ask of their fields, said by the teacher that asked it first."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from understudy.errors import TeacherError

T = TypeVar("T")


def checked(build: Callable[[], T]) -> T:
    """What `build` makes of our fields; its complaints become ours, without the values they are about."""
    try:
        return build()
    except ValidationError as error:
        told = (problem["msg"].removeprefix("Value error, ") for problem in error.errors(include_input=False))
        raise ValueError("; ".join(told)) from None


def key_from(name: str) -> str:
    """The key in an environment variable, without the newline that `export KEY=$(cat file)` may have left.

    Raises TeacherError for one that cannot be sent in a header."""
    key = os.environ.get(name, "").strip()
    if not key.isascii() or not key.isprintable():
        raise TeacherError(f"the key in {name} holds characters that no key has; set that variable again")
    return key
