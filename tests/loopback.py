"""An OpenAI-compatible server on 127.0.0.1 that misbehaves as told, for tests of teachers.

    with Loopback() as server: ...                      # answers every question well
    with Loopback([Reply(status=429), RESET]) as ...    # first two requests fail, then it is well

It remembers every body and header it was sent, and when, so a test can count what was asked.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal


@dataclass(frozen=True)
class Reply:
    """One answer of the server, or what it does instead:

    "reset" tears the connection, "stall" never answers, "cut" closes half-way through the body, "stop" sends
    half of the body and no more, "drip" sends the headers one by one for ever.
    """

    status: int = 200
    body: str | bytes | dict[str, Any] = ""
    headers: dict[str, str] = field(default_factory=dict)
    action: Literal["reply", "reset", "stall", "cut", "stop", "drip"] = "reply"


RESET = Reply(action="reset")
STALL = Reply(action="stall")


def choice(content: object, finish_reason: object = "stop", **message: object) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}


def answer(*choices: dict[str, Any], prompt_tokens: int = 10, completion_tokens: int = 5) -> Reply:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return Reply(body={"choices": list(choices), "usage": usage})


def error(status: int, message: str, code: str = "", **headers: str) -> Reply:
    return Reply(status, {"error": {"message": message, "type": "", "code": code}}, headers)


def well(body: dict[str, Any]) -> Reply:
    """A good answer: it repeats the last line it was asked, once for each sample."""
    asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    said = f"I read: {asked.splitlines()[-1]} The answer is 4."
    if "prompt" in body:
        return answer(*[{"text": said, "finish_reason": "stop"}] * body.get("n", 1))
    return answer(*[choice(f"{said} ({i})") for i in range(body.get("n", 1))])


class Loopback:
    """Serves `script` reply by reply, then `otherwise` for ever."""

    def __init__(
        self,
        script: Sequence[Reply] = (),
        otherwise: Callable[[dict[str, Any]], Reply] = well,
        port: int = 0,
    ) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self._script = list(script)
        self._otherwise = otherwise
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.loopback = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def samples_asked(self) -> int:
        return sum(body.get("n", 1) for body in self.bodies)

    def next(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        with self._lock:
            self.paths.append(path)
            self.times.append(time.monotonic())
            self.headers.append(headers)
            self.bodies.append(body)
            if self._script:
                return self._script.pop(0)
        return self._otherwise(body)

    def wait_until_over(self, seconds: float = 30) -> bool:
        return self._over.wait(seconds)

    def stop_listening(self) -> None:
        """Die: requests in flight are still answered, new ones are refused."""
        self._server.socket.close()

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    loopback: Loopback
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        reply = self.server.loopback.next(self.path, dict(self.headers.items()), body)
        if reply.action == "stall":
            self.server.loopback.wait_until_over()
            return
        if reply.action == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return
        if reply.action == "drip":
            self._drip()
            return
        text = json.dumps(reply.body) if isinstance(reply.body, dict) else reply.body
        data = text.encode() if isinstance(text, str) else text
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if reply.action == "reply" else data[: len(data) // 2])
        if reply.action == "stop":
            self.server.loopback.wait_until_over()

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.server.loopback.wait_until_over(0.05):
            self.wfile.write(b"X-Slow: yes\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
