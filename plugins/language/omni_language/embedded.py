"""The embedded chat model: llama.cpp with prefix reuse, incremental prefill and grammars."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from omni.capabilities import ChatDelta, ChatRequest, Message
from omni.errors import BadInput, ModelError, ModelMissing
from omni_language.grammar import grammar_schema
from omni_language.prompt import cut, shared_prefix, unfinished, wire_messages
from omni_language.slots import Slot, Slots

CHUNK = 16  #: tokens a step at first: 0.2 s on two cores, so that whoever is urgent waits no longer
STEP_S = (0.12, 0.25)  #: a step that took less than the first doubles the next, more than the second halves it
FINISH = {"eos": "stop", "word": "stop", "limit": "length"}


class Engine(Protocol):
    """What `EmbeddedChat` needs of `LlamaServer`."""

    alive: bool
    pid: int
    settings: dict[str, Any]

    async def start(self) -> None:
        """Load."""

    async def stop(self) -> None:
        """Unload."""

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call."""

    def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """One streamed call."""


class EmbeddedChat:
    """A GGUF model in a process of its own. One slot a session, least recently used out.

    `find` gives the model's file or folder when it is needed; `make` makes the engine from the file.
    """

    native_tools = False

    def __init__(
        self,
        find: Callable[[], Awaitable[Path]],
        make: Callable[[Path], Engine],
        *,
        context: int = 4096,
        slots: int = 4,
    ) -> None:
        self.context_tokens = context
        self._find = find
        self._make = make
        self._engine: Engine | None = None
        self._slots = Slots(slots)
        self._urgent = 0  # chats that wait for their first token
        self._tickets: dict[str, int] = {}
        self._chunk = CHUNK
        self._starting = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """Load the model and run it once, so that the first real question finds everything warm.

        Under a schema: the grammar compiler indexes the vocabulary once, which takes a second and 90 MB.
        """
        self._closed = False
        engine = await self._running()
        tokens = await self._tokens(engine, wire_messages([Message("user", "Hi")]))
        once = {"prompt": tokens[:2], "n_predict": 1, "id_slot": self._slots.take("").index}
        await engine.post("/completion", once | {"json_schema": grammar_schema({"type": "boolean"})})

    async def close(self) -> None:
        """Unload. Idempotent."""
        self._closed = True
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.stop()

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Answer a delta at a time.

        Under `schema` the text is JSON that fits it, unless the last delta says `length`. Raises
        `BadInput` when the messages are longer than the context or the schema can't be used.
        """
        engine = await self._running()
        body = self._body(request)
        slot = self._slots.take(request.slot)
        slot.users += 1
        self._urgent += 1
        waiting, text = True, ""
        try:
            tokens = await self._tokens(engine, wire_messages(request.messages))
            self._check_length(tokens)
            await self._feed(engine, slot, tokens, leave=CHUNK)
            body |= {"prompt": tokens, "id_slot": slot.index}
            slot.tokens = tokens
            async with contextlib.aclosing(engine.stream("/completion", body)) as stream:
                async for event in stream:
                    if waiting:
                        waiting, self._urgent = False, self._urgent - 1
                    if delta := to_delta(event):
                        text += delta.text if request.schema is not None else ""
                        if request.schema is not None and delta.finish == "stop":
                            check_json(text)
                        yield delta
        finally:
            slot.users -= 1
            if waiting:
                self._urgent -= 1

    async def prefill(self, messages: Sequence[Message], *, slot: str) -> None:
        """Put this prefix of a coming request into the slot's cache, a step at a time.

        A last word that turns out longer costs its own tokens again, nothing else: the cache is compared
        token by token. Gives way at the next step (0.2 s) to a chat that waits and to a newer prefill of the same slot.
        What was done by then stays.
        """
        engine = await self._running()
        ticket = self._tickets[slot] = self._tickets.get(slot, 0) + 1
        mine = self._slots.take(slot)
        rendered = cut(await self._render(engine, unfinished(messages)))
        tokens = (await engine.post("/tokenize", {"content": rendered, "add_special": True}))["tokens"]
        if len(tokens) >= self.context_tokens:
            return  # the chat that follows says so in words
        mine.users += 1
        try:
            await self._feed(engine, mine, tokens, unless=lambda: self._urgent > 0 or self._tickets[slot] != ticket)
        finally:
            mine.users -= 1
            if self._tickets.get(slot) == ticket:
                del self._tickets[slot]

    async def count_tokens(self, text: str) -> int:
        """How many tokens `text` is."""
        engine = await self._running()
        return len((await engine.post("/tokenize", {"content": text, "parse_special": False}))["tokens"])

    async def _feed(
        self,
        engine: Engine,
        slot: Slot,
        tokens: list[int],
        *,
        leave: int = 0,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Evaluate `tokens` into the slot in steps, all but the last `leave`.

        llama.cpp looks at a closed connection once a second while it reads a prompt; steps of our own
        make it possible to stop in a fifth of one.
        """
        done = shared_prefix(slot.tokens, tokens)
        while len(tokens) - done > leave and not unless():
            end = min(len(tokens) - leave, done + self._chunk)
            began = time.perf_counter()
            body = {"prompt": tokens[:end], "n_predict": 0, "cache_prompt": True, "id_slot": slot.index}
            await engine.post("/completion", body)
            slot.tokens = tokens[:end]
            took = time.perf_counter() - began
            if end - done == self._chunk:
                if took < STEP_S[0]:
                    self._chunk = min(512, self._chunk * 2)
                elif took > STEP_S[1]:
                    self._chunk = max(CHUNK, self._chunk // 2)
            done = end

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "stream": True,
            "cache_prompt": True,
            "n_predict": max(1, request.max_tokens),
            "temperature": request.temperature,
            "seed": request.seed,
            "stop": list(request.stop),
        }
        if request.schema is not None:
            body["json_schema"] = grammar_schema(request.schema, request.max_tokens)
        return body

    def _check_length(self, tokens: list[int]) -> None:
        if len(tokens) >= self.context_tokens:
            raise BadInput(
                f"The conversation is {len(tokens)} tokens long, the model's context holds {self.context_tokens}.",
                "Start a new conversation, or raise `context` in the settings of the language plugin.",
            )

    async def _tokens(self, engine: Engine, wire: list[dict[str, str]]) -> list[int]:
        rendered = await self._render(engine, wire)
        return (await engine.post("/tokenize", {"content": rendered, "add_special": True}))["tokens"]

    async def _render(self, engine: Engine, wire: list[dict[str, str]]) -> str:
        return (await engine.post("/apply-template", {"messages": wire}))["prompt"]

    async def _running(self) -> Engine:
        """The engine, started if it is not, or died."""
        if self._closed:
            raise ModelError("The language model is closed.")
        async with self._starting:
            if self._engine is None:
                self._engine = self._make(gguf_file(await self._find()))
            if not self._engine.alive:
                self._slots.forget()
                await self._engine.start()
            return self._engine


def to_delta(event: dict[str, Any]) -> ChatDelta | None:
    """One of llama.cpp's events as ours; None for one that says nothing new."""
    text = event.get("content", "")
    if not event.get("stop"):
        return ChatDelta(text) if text else None
    timings = event.get("timings", {})
    cached = timings.get("cache_n", 0)
    return ChatDelta(
        text,
        finish=FINISH.get(event.get("stop_type", ""), "stop"),
        prompt_tokens=cached + timings.get("prompt_n", 0),
        cached_tokens=cached,
        completion_tokens=timings.get("predicted_n", 0),
    )


def check_json(text: str) -> None:
    """Raise `BadInput` for an answer under a schema that is no JSON.

    The library ignores a grammar it can't compile (a type that does not exist, a pattern that is none, a range that
    nothing lies in) without a word, and the model then answers as it likes.
    """
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(
            "The JSON schema can't be held to: it is no valid schema, or nothing fits it.",
            "Check its types and patterns.",
        ) from error


def gguf_file(path: Path) -> Path:
    """The GGUF in a model's folder (the first of a split one), or the file itself."""
    if not path.is_dir():
        return path
    files = sorted(path.rglob("*.gguf"))
    if not files:
        raise ModelMissing(f"There is no .gguf file in {path}.", "Run `omni models verify`.")
    return files[0]
