"""The rows of a batch file: one request for consecutive samples, under a custom id that says which.

The id is made of what is asked and of the samples, so a row is known again whatever the order of questions
and answers, and by a process that did not send it. Files as OpenAI's Batch API takes and gives them:

    {"custom_id": "3f0c...-0-4", "method": "POST", "url": "/v1/chat/completions", "body": {...}}
    {"custom_id": "3f0c...-0-4", "response": {"status_code": 200, "body": {...}}, "error": null}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.store import digest
from understudy.teachers._faults import Fault
from understudy.teachers._wire import OpenAIDialect
from understudy.types import Completion, Request, Sampling

Wanted = tuple[str, int]
"""(digest of what is asked, sample)."""


@dataclass(frozen=True, slots=True)
class Form:
    """What all requests have in common; `endpoint` is the address that the live client posts to."""

    endpoint: str
    dialect: OpenAIDialect
    sampling: Sampling

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.dialect.chat else "/v1/completions"

    def asked(self, request: Request) -> str:
        """A digest of everything that decides the answers but the sample."""
        return digest([self.endpoint, self.dialect.body(request, (0,), self.sampling)])[:32]

    def row(self, asked: str, request: Request, samples: Sequence[int]) -> tuple[str, bytes]:
        """(custom id, line of the file) for consecutive samples."""
        name = f"{asked}-{samples[0]}-{len(samples)}"
        body = self.dialect.body(request, samples, self.sampling)
        line = {"custom_id": name, "method": "POST", "url": self.path, "body": body}
        return name, json.dumps(line).encode() + b"\n"

    def read(
        self, line: Mapping[str, Any], request: Request, samples: Sequence[int]
    ) -> list[Completion] | Fault:
        """One line of a result file, read as the live client reads a reply."""
        response = line.get("response")
        if isinstance(response, dict):
            status = response.get("status_code")
            text = json.dumps(response.get("body"))
            return self.dialect.read(status if isinstance(status, int) else 200, {}, text, request, samples)
        error = line.get("error")
        error = error if isinstance(error, dict) else {}
        return Fault(
            "retry", f"{error.get('code') or 'no response'}: {error.get('message') or ''}".rstrip(": ")
        )


def wanted(row: str) -> list[Wanted]:
    """The samples behind a custom id of ours."""
    asked, first, count = row.rsplit("-", 2)
    return [(asked, int(first) + i) for i in range(int(count))]


def runs(samples: Sequence[int], together: bool) -> Iterator[tuple[int, ...]]:
    """Consecutive samples, which a custom id can name; one by one if not `together`."""
    run: list[int] = []
    for sample in sorted(samples):
        if run and (not together or sample != run[-1] + 1):
            yield tuple(run)
            run = []
        run.append(sample)
    if run:
        yield tuple(run)
