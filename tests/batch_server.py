"""A batch service like OpenAI's on 127.0.0.1, for tests: /files, /files/{id}/content, /batches and so on.

    with BatchServer() as server: ...                       # every batch ends at the second look, answered
    with BatchServer(ends=["expired"]) as server: ...       # the first batch expires, half of it answered

It counts what it answered by custom id, for that is what a provider is paid for.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from loopback import well

Json = dict[str, Any]


def answered(body: Json) -> Json:
    """A result line's response to one row."""
    reply = well(body).body
    assert isinstance(reply, dict)
    return {"status_code": 200, "request_id": "r", "body": reply}


@dataclass
class Batch:
    id: str
    file: str
    created_at: int
    end: str
    looks: int = 0
    output: str | None = None
    errors: str | None = None

    def told(self, status: str) -> Json:
        return {
            "id": self.id,
            "object": "batch",
            "input_file_id": self.file,
            "created_at": self.created_at,
            "status": status,
            "output_file_id": self.output,
            "error_file_id": self.errors,
            "errors": {"data": [{"code": "invalid", "message": "no such model"}]}
            if status == "failed"
            else None,
        }


@dataclass
class BatchServer:
    """`ends` says how the first batches end, `otherwise` all others; `looks` is how many are in vain."""

    ends: Sequence[str] = ()
    otherwise: str = "completed"
    looks: int = 1
    respond: Callable[[Json], Json] = answered
    """A row's body -> its response."""
    rearrange: Callable[[list[Json]], list[Json]] = list
    """Applied to the lines of every output file."""
    fault: Callable[[str, str], tuple[int, Json] | None] = lambda method, path: None
    """(method, path) -> an answer instead of the ordinary one; called before anything is done."""
    after: Callable[[str, str], None] = lambda method, path: None
    """Called when a request has been carried out, before its reply is sent."""
    page: int = 100

    calls: list[tuple[str, str]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    paid: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> BatchServer:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.batches = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def count(self, method: str, path: str) -> int:
        return self.calls.count((method, path))

    def inputs(self) -> list[list[Json]]:
        """The rows of every file that was uploaded."""
        return [_rows(data) for name, data in self.files.items() if name.startswith("file-in")]

    def carry_out(self, method: str, path: str, query: dict[str, list[str]], data: bytes, kind: str) -> Any:
        """The reply to one request: a JSON object, bytes, or None for what there is not."""
        match (method, *path.removeprefix("/v1/").split("/")):
            case ("POST", "files"):
                name = self._keep("file-in", _uploaded(data, kind))
                return {"id": name, "object": "file", "created_at": len(self.files)}
            case ("GET", "files", name, "content"):
                return self.files.get(name)
            case ("POST", "batches"):
                return self._create(json.loads(data))
            case ("GET", "batches"):
                return self._listed(query)
            case ("GET", "batches", name):
                return self._look(self.batches[name]) if name in self.batches else None
        return None

    def _create(self, asked: Json) -> Json:
        assert asked["input_file_id"] in self.files
        assert asked["completion_window"] == "24h"
        number = len(self.batches)
        end = self.ends[number] if number < len(self.ends) else self.otherwise
        batch = Batch(f"batch-{number}", asked["input_file_id"], len(self.files), end)
        self.batches[batch.id] = batch
        return batch.told("validating")

    def _listed(self, query: dict[str, list[str]]) -> Json:
        newest_first = list(self.batches.values())[::-1]
        if "after" in query:
            start = [batch.id for batch in newest_first].index(query["after"][0]) + 1
            newest_first = newest_first[start:]
        told = [batch.told("in_progress") for batch in newest_first[: self.page]]
        return {"object": "list", "data": told, "has_more": len(newest_first) > self.page}

    def _look(self, batch: Batch) -> Json:
        batch.looks += 1
        if batch.looks <= self.looks:
            return batch.told("in_progress")
        if batch.output is None and batch.end != "failed":
            self._work(batch)
        return batch.told(batch.end)

    def _work(self, batch: Batch) -> None:
        """Answer all rows, or every second one of a batch that ends early."""
        rows = _rows(self.files[batch.file])
        done = rows if batch.end == "completed" else rows[::2]
        lines = [
            {"id": "x", "custom_id": row["custom_id"], "response": self.respond(row["body"]), "error": None}
            for row in done
        ]
        good = [line for line in lines if line["response"]["status_code"] == 200]
        bad = [line for line in lines if line["response"]["status_code"] != 200]
        code = {"code": f"batch_{batch.end}", "message": "not executed"}
        bad += [
            {"custom_id": row["custom_id"], "response": None, "error": code}
            for row in rows
            if row not in done
        ]
        self.paid.update(line["custom_id"] for line in good)
        batch.output = self._keep("file-out", _joined(self.rearrange(good)))
        batch.errors = self._keep("file-err", _joined(bad)) if bad else None

    def _keep(self, kind: str, data: bytes) -> str:
        name = f"{kind}-{len(self.files)}"
        self.files[name] = data
        return name


class _Server(ThreadingHTTPServer):
    batches: BatchServer
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if "Content-Length" in self.headers:
            self._serve(self.rfile.read(int(self.headers["Content-Length"])))
        else:
            self._serve(b"".join(iter(self._chunk, b"")))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _serve(self, data: bytes) -> None:
        service, address = self.server.batches, urlsplit(self.path)
        with service.lock:
            service.calls.append((self.command, address.path))
            service.keys.add(self.headers.get("Authorization", ""))
            fault = service.fault(self.command, address.path)
            if fault is None:
                query, kind = parse_qs(address.query), self.headers.get("Content-Type", "")
                reply = service.carry_out(self.command, address.path, query, data, kind)
                status = 404 if reply is None else 200
            else:
                status, reply = fault
        service.after(self.command, address.path)
        body = (
            reply
            if isinstance(reply, bytes)
            else json.dumps(reply or {"error": {"message": "absent"}}).encode()
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def _uploaded(data: bytes, kind: str) -> bytes:
    """The file in a multipart form whose purpose is "batch"."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + data)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
    purpose = parts["purpose"].get_payload(decode=True)
    assert isinstance(purpose, bytes)
    assert purpose.strip() == b"batch"
    payload = parts["file"].get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def _rows(data: bytes) -> list[Json]:
    return [json.loads(line) for line in data.splitlines()]


def _joined(lines: list[Json]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
