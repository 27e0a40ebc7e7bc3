"""Calls and streams between two ends of a link, both ways at once.

Messages are arrays: `[kind, id, ...]`. A stream has credit: its source may be `WINDOW` items ahead of its
reader. Cancelling a call, or closing a stream, cancels the work at the other end.

| kind | after the id | meaning |
|---|---|---|
| call, stream | target, method, args, kwargs | do this |
| result | value | the call's answer |
| item | value | one item of the stream |
| end | | the stream is over |
| error | {name, message, remedy} | the call or stream failed |
| more | n | the reader took n items |
| cancel | | stop it |
| note | target, value | one way; with an id other than 0 the other end says when it took it |
| taken | | it took the note |
| free | | the shared memory at offset id is free |
| ping, pong | | are you there |
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from omni.errors import PluginError
from omni.wire import codec
from omni.wire.arena import Arena

WINDOW = 8


class Link(Protocol):
    """Carries whole messages."""

    def send(self, message: bytes) -> None:
        """Queue a message. Does not wait."""

    async def drain(self) -> None:
        """Wait while too much is queued."""

    async def receive(self) -> bytes:
        """The next message. Raises `EOFError` when the other end is gone."""

    def close(self) -> None:
        """Let go. Idempotent."""


#: What a peer does when asked: (target, method, args, kwargs) -> an awaitable or an async iterator.
Handler = Callable[[str, str, list[Any], dict[str, Any]], Any]
Note = Callable[[str, Any], None]


class Peer:
    """One end. `run()` reads until the other end is gone; every open call then fails with `PluginError`."""

    def __init__(
        self,
        link: Link,
        handle: Handler,
        *,
        arena: Arena | None = None,
        note: Note | None = None,
        name: str = "the other end",
    ) -> None:
        self.name = name
        self.closed = False
        self.last_seen = asyncio.get_running_loop().time()
        self._link = link
        self._handle = handle
        self._note = note or (lambda target, value: None)
        self._arena = arena
        self._ids = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._streams: dict[int, _Incoming] = {}
        self._work: dict[int, asyncio.Task[None]] = {}
        self._credit: dict[int, asyncio.Semaphore] = {}
        self._reason = ""
        if arena is not None:
            loop = asyncio.get_running_loop()
            arena.on_done = lambda offset: _on_loop(loop, self._send, "free", offset)

    # -- asking -------------------------------------------------------------------------------

    async def call(
        self, target: str, method: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Ask for one answer. A cancellation is passed on; errors of the other end are raised here."""
        self._must_be_open()
        number = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            self._send("call", number, target, method, list(args), kwargs or {})
            await self._link.drain()
            return await future
        except asyncio.CancelledError:
            self._send("cancel", number)
            raise
        finally:
            self._calls.pop(number, None)

    async def stream(
        self, target: str, method: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> AsyncIterator[Any]:
        """Ask for a stream. Closing the iterator stops its source."""
        self._must_be_open()
        number = next(self._ids)
        incoming = self._streams[number] = _Incoming()
        try:
            self._send("stream", number, target, method, list(args), kwargs or {})
            async for item in incoming:
                self._send("more", number, 1)
                yield item
        finally:
            self._streams.pop(number, None)
            if not incoming.over:
                self._send("cancel", number)

    def tell(self, target: str, value: Any) -> None:
        """Say something that has no answer."""
        self._send("note", 0, target, value)

    async def show(self, target: str, value: Any, seconds: float) -> bool:
        """Say something that may get lost, and wait until the other end took it; False when it did not in time."""
        return await self._acknowledged(seconds, "note", target, value)

    async def ping(self, seconds: float) -> bool:
        """Whether the other end answers within `seconds`."""
        return await self._acknowledged(seconds, "ping")

    async def _acknowledged(self, seconds: float, kind: str, *rest: Any) -> bool:
        number = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            self._send(kind, number, *rest)
            async with asyncio.timeout(seconds):
                await future
            return True
        except (TimeoutError, PluginError):
            return False
        finally:
            self._calls.pop(number, None)

    async def drain(self) -> None:
        """Wait while too much is queued."""
        await self._link.drain()

    def _must_be_open(self) -> None:
        if self.closed:
            raise PluginError(f"{self.name} is gone{self._reason}.", "It is started again by itself.")

    def _send(self, *message: Any) -> None:
        if not self.closed:
            self._link.send(codec.encode(list(message), self._arena))

    # -- being asked --------------------------------------------------------------------------

    async def run(self) -> None:
        """Read and serve until the other end is gone or this is cancelled."""
        try:
            while True:
                self._take(codec.decode(await self._link.receive(), self._arena))
        except EOFError:
            pass
        except PluginError as error:
            self._reason = f" ({error.message})"
        finally:
            await self.close()

    def _take(self, message: Any) -> None:
        self.last_seen = asyncio.get_running_loop().time()
        if not (isinstance(message, list) and len(message) >= 2 and isinstance(message[1], int)):
            raise PluginError(f"{self.name} sent what is no message.", "It is stopped.")
        kind, number, *rest = message
        if kind in ("call", "stream") and len(rest) == 4:
            self._work[number] = task = asyncio.ensure_future(self._serve(kind, number, *rest))
            task.add_done_callback(lambda _: self._work.pop(number, None))
        elif kind == "result":
            _settle(self._calls.get(number), rest[0])
        elif kind == "item" and (incoming := self._streams.get(number)):
            incoming.put(rest[0])
        elif kind == "end" and (incoming := self._streams.get(number)):
            incoming.finish(None)
        elif kind == "error":
            error = codec.unpack_error(rest[0])
            _fail(self._calls.get(number), error)
            if incoming := self._streams.get(number):
                incoming.finish(error)
        elif kind == "more" and (credit := self._credit.get(number)):
            credit.release()
        elif kind == "cancel" and (task := self._work.get(number)):
            task.cancel()
        elif kind == "note":
            self._note(rest[0], rest[1])
            if number:
                self._send("taken", number)
        elif kind == "free" and self._arena is not None:
            self._arena.release(number)
        elif kind == "ping":
            self._send("pong", number)
        elif kind in ("pong", "taken"):
            _settle(self._calls.get(number), True)

    async def _serve(
        self, kind: str, number: int, target: str, method: str, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        try:
            answer = self._handle(target, method, args, kwargs)
            del args, kwargs  # what lies in shared memory is free as soon as the plugin lets go of it
            if kind == "call":
                value = await answer if inspect.isawaitable(answer) else answer
                self._send("result", number, value)
                await self._link.drain()
            else:
                await self._serve_stream(number, answer)
                self._send("end", number)
        except asyncio.CancelledError:
            if not self.closed:
                self._send("error", number, {"name": "PluginError", "message": "It was cancelled.", "remedy": ""})
        except SystemExit as error:
            self._send("error", number, codec.pack_error(PluginError(f"It tried to exit the program ({error.code}).")))
        except Exception as error:
            self._send("error", number, codec.pack_error(error))

    async def _serve_stream(self, number: int, answer: Any) -> None:
        source = await answer if inspect.isawaitable(answer) else answer
        credit = self._credit[number] = asyncio.Semaphore(WINDOW)
        try:
            async for item in source:
                await credit.acquire()
                self._send("item", number, item)
                await self._link.drain()
        finally:
            self._credit.pop(number, None)
            closing: Callable[[], Awaitable[None]] | None = getattr(source, "aclose", None)
            if closing is not None:
                await closing()

    async def close(self, reason: str = "") -> None:
        """Fail what is open, stop what is being served, let go of the link. Idempotent."""
        if self.closed:
            return
        self._reason = reason or self._reason
        self.closed = True
        error = PluginError(f"{self.name} is gone{self._reason}.", "It is started again by itself.")
        for future in list(self._calls.values()):
            _fail(future, error)
        for incoming in list(self._streams.values()):
            incoming.finish(error)
        tasks = list(self._work.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        self._link.close()
        if self._arena is not None:
            self._arena.close()


class _Incoming:
    """The items of a stream that arrived and were not yet read; at most a window of them."""

    def __init__(self) -> None:
        self.over = False
        self._items: deque[Any] = deque()
        self._error: Exception | None = None
        self._filled = asyncio.Event()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._filled.set()

    def finish(self, error: Exception | None) -> None:
        if not self.over:
            self.over, self._error = True, error
            self._filled.set()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            while self._items:
                yield self._items.popleft()
            if self.over:
                if self._error is not None:
                    raise self._error
                return
            self._filled.clear()
            await self._filled.wait()


def _settle(future: asyncio.Future[Any] | None, value: Any) -> None:
    if future is not None and not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any] | None, error: Exception) -> None:
    if future is not None and not future.done():
        future.set_exception(error)


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Run on the loop's thread, from whichever thread this is (an array may be freed anywhere)."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    try:
        if running is loop:
            loop.call_soon(function, *args)  # not now: garbage may be collected in the middle of a send
        else:
            loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return  # the loop is closed, and with it the other end
