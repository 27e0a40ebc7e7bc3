"""A llama.cpp that is not there, and an HTTP server that says what a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop run until something it is about to do has been done."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happened")


class FakeLlama:
    """ChatML, a token a character, and caches that behave like llama.cpp's. `gate` holds every step until it is set."""

    def __init__(self, file: Path = Path("fake.gguf"), reply: tuple[str, ...] = ("Hello", " there", ".")) -> None:
        self.file = file
        self.reply = reply
        self.settings: dict[str, Any] = {}
        self.alive = False
        self.pid = 0
        self.starts = 0
        self.caches: dict[int, list[int]] = {}
        self.evaluated: list[tuple[int, int, int]] = []  #: (slot, tokens from the cache, tokens computed)
        self.bodies: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []  #: completions that were not streamed
        self.closed = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self) -> None:
        self.alive, self.caches = True, {}
        self.starts += 1

    async def stop(self) -> None:
        self.alive = False

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/apply-template":
            turns = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in body["messages"])
            return {"prompt": turns + "<|im_start|>assistant\n"}
        if path == "/tokenize":
            return {"tokens": [ord(letter) for letter in body["content"]]}
        assert path == "/completion"
        await self.gate.wait()
        self.steps.append(body)
        self._evaluate(body)
        return {}

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        assert path == "/completion"
        cached = self._evaluate(body)
        self.bodies.append(body)
        try:
            for piece in self.reply:
                yield {"content": piece, "stop": False}
                await asyncio.sleep(0)
            yield {
                "content": "", "stop": True, "stop_type": "eos",
                "timings": {
                    "cache_n": cached, "prompt_n": len(body["prompt"]) - cached, "predicted_n": len(self.reply),
                },
            }  # fmt: skip
        finally:
            self.closed += 1

    def _evaluate(self, body: dict[str, Any]) -> int:
        slot, prompt = body["id_slot"], body["prompt"]
        cache = self.caches.get(slot, [])
        shared = 0
        while shared < min(len(cache), len(prompt)) and cache[shared] == prompt[shared]:
            shared += 1
        shared = min(shared, len(prompt) - 1)
        self.caches[slot] = list(prompt)
        self.evaluated.append((slot, shared, len(prompt) - shared))
        return shared

    def cached_text(self, slot: int) -> str:
        """What the slot's cache holds, as text."""
        return "".join(map(chr, self.caches.get(slot, [])))


Handler = Callable[[str, dict[str, Any]], AsyncIterator[bytes]]


class FakeServer:
    """HTTP on a loopback port. `handler(path, body)` yields raw bytes, status line included; then the line is cut."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FakeServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines if line)}
            raw = await reader.readexactly(int(headers.get("content-length", 0)))
            body = json.loads(raw) if raw else {}
            path = first.split(" ")[1]
            self.requests.append((path, body, headers))
            async for piece in self.handler(path, body):
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def head(status: int = 200, kind: str = "text/event-stream", extra: str = "") -> bytes:
    """A response's head; the body ends with the connection."""
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{extra}Connection: close\r\n\r\n".encode()


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(value)}\n\n".encode()


def text(content: str, finish: str | None = None) -> bytes:
    """A delta of text."""
    return event({"choices": [{"delta": {"content": content}, "finish_reason": finish}]})
