"""An OpenAI-compatible server in a process of its own that counts what it is asked, for tests of sudden ends.

    python tests/counting_server.py 0.02    # answers within 40 ms, prints its port, serves until stdin ends

A sample is known by its prompt and by its number: a client moves the seed on by the index of the first sample
that it asks for, so with a seed of 0 the seed is that index. GET says what was asked so far.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any

ASKED: Counter[str] = Counter()
"""How often each "prompt #sample" was asked for."""


def says(prompt: str, sample: int) -> str:
    return f"{prompt} #{sample}"


def answer(body: dict[str, Any]) -> dict[str, Any]:
    prompt = body["messages"][-1]["content"]
    samples = [body["seed"] + at for at in range(body.get("n", 1))]
    ASKED.update(says(prompt, sample) for sample in samples)
    choices = [
        {"message": {"role": "assistant", "content": says(prompt, sample)}, "finish_reason": "stop"}
        for sample in samples
    ]
    usage = {"prompt_tokens": 10, "completion_tokens": 5 * len(samples)}
    return {"id": f"chatcmpl-{ASKED.total()}", "choices": choices, "usage": usage}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(v) for k, v in _headers(head) if k == b"content-length"), 0)
            body = await reader.readexactly(length)
            if head.startswith(b"GET /total"):
                said: object = ASKED.total()
            elif head.startswith(b"GET"):
                said = ASKED
            else:
                said = answer(json.loads(body))
                await asyncio.sleep(random.uniform(0, 2 * latency))
            data = json.dumps(said).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:-2]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


async def main(latency: float) -> None:
    server = await asyncio.start_server(lambda r, w: serve(r, w, latency), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
