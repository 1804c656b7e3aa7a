"""The sentences that end a run when a server refuses the set-up, and not just one question."""

from __future__ import annotations

from understudy.errors import TeacherError
from understudy.roles import Identity
from understudy.teachers._faults import Fault


def refusal(fault: Fault, asked: Identity, key_env: str, with_key: bool) -> TeacherError | None:
    """The error for a fault that every other request would meet too; None for any other fault."""
    url = asked.endpoint
    if fault.kind == "key":
        held = f"refused the key in {key_env}" if with_key else "wants a key"
        return TeacherError(
            f"the teacher at {url} {held} ({fault.detail}); "
            f"put a valid key into the environment variable {key_env} and run again"
        )
    if fault.kind == "missing":
        return TeacherError(
            f"the teacher at {url} does not know that address or the model '{asked.model}' "
            f"({fault.detail}); check teacher.base_url and teacher.model"
        )
    if fault.kind == "moved":
        return TeacherError(
            f"the teacher at {url} sends us elsewhere ({fault.detail}), and a key is not carried along; "
            "put the right address into teacher.base_url"
        )
    if fault.kind == "credit":
        return TeacherError(
            f"the account behind {key_env} has no credit left at {url} ({fault.detail}); "
            "what was answered is kept, so run again when it has"
        )
    return None


def rejected(fault: Fault, asked: Identity) -> TeacherError:
    """Several requests were malformed in the server's eyes, and none was good."""
    return TeacherError(
        f"the teacher at {asked.endpoint} rejects what it is sent ({fault.detail}); check teacher.extra "
        "and sampling, where teacher.extra can remove a field by null"
    )


def down(asked: Identity, what: str, detail: str, answered: int) -> TeacherError:
    """Nobody answers any more: `what` is "cannot be reached" or "keeps failing"."""
    kept = "what it has answered is kept; " if answered else ""
    return TeacherError(
        f"the teacher at {asked.endpoint} {what} ({detail}); {kept}"
        "start the server or correct teacher.base_url, and run again"
    )
