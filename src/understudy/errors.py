"""Errors that a user can mend. Each message is one sentence that says what is wrong and what to do."""

from __future__ import annotations


class UnderstudyError(Exception):
    """A bad set-up. The command line prints its message alone and exits with `exit_code`."""

    exit_code = 1


class RecipeError(UnderstudyError):
    """The recipe is wrong: unknown key, wrong type, impossible combination."""

    exit_code = 2


class DataError(UnderstudyError):
    """A data file is missing or malformed; the message names the file and the line."""

    exit_code = 3


class TeacherError(UnderstudyError):
    """A teacher cannot be reached or refuses; everything it has answered is kept."""

    exit_code = 4


class TrainingError(UnderstudyError):
    """A student cannot be built, trained or loaded."""

    exit_code = 5


class StoreError(UnderstudyError):
    """The run folder cannot be written or read: disk full, no permission, another run holds it."""

    exit_code = 6


class BudgetError(UnderstudyError):
    """The recipe's budget is spent; everything that was answered for it is kept."""

    exit_code = 7
