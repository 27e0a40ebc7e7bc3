"""Calls that end: a deadline, a grace for whoever ignores cancellation, and no exception that takes the loop down.

Each call of a plugin runs in a task of its own, so that one which swallows its cancellation is left behind
(and counted) rather than waited for.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from omni.errors import DeadlineExceeded, PluginError

#: Seconds a cancelled call has to clean up before it is left behind.
GRACE_S = 1.0

#: Calls that ignored their cancellation and still run. For the list, and the contract kit.
abandoned: set[asyncio.Task[Any]] = set()


async def contained(awaitable: Awaitable[Any]) -> Any:
    """Await it; a `SystemExit` from a plugin ends the call, not the process (a task would re-raise it in the loop)."""
    if not inspect.isawaitable(awaitable):
        raise PluginError(
            f"It answered with {type(awaitable).__name__} where an awaitable is due.", "Make the method async."
        )
    try:
        return await awaitable
    except SystemExit as error:
        raise PluginError(f"It tried to exit the program (code {error.code}).", "Raise an error instead.") from None


async def bounded(awaitable: Awaitable[Any], deadline_s: float, what: str, *, grace_s: float = GRACE_S) -> Any:
    """The result, or `DeadlineExceeded` after `deadline_s` seconds. A cancellation from outside is passed on."""
    task = asyncio.ensure_future(contained(awaitable))
    try:
        done, _ = await asyncio.wait((task,), timeout=deadline_s)
    except asyncio.CancelledError:
        await stop_task(task, grace_s)
        raise
    if not done:
        await stop_task(task, grace_s)
        raise DeadlineExceeded(f"{what} took longer than {deadline_s:g} s.", "Try again, or choose something faster.")
    if task.cancelled():
        raise PluginError(f"{what} was cancelled from inside.", "A plugin must not cancel its caller.")
    return task.result()


async def stop_task(task: asyncio.Task[Any], grace_s: float = GRACE_S) -> None:
    """Cancel a task and wait at most `grace_s`; one that is still there then is abandoned. Never raises its error."""
    if task.done():
        _forget_error(task)
        return
    task.cancel()
    await asyncio.wait((task,), timeout=grace_s)
    if task.done():
        _forget_error(task)
    else:
        abandoned.add(task)
        task.add_done_callback(_end_of_abandoned)


def _end_of_abandoned(task: asyncio.Task[Any]) -> None:
    abandoned.discard(task)
    _forget_error(task)


def _forget_error(task: asyncio.Task[Any]) -> None:
    """Mark the task's exception as seen: it is told by other means."""
    if not task.cancelled():
        task.exception()


class Pump:
    """Runs an async iterator in one task and hands its items over one at a time, each with a deadline.

    One task for the whole stream, since generators may hold scopes (timeouts, cancel scopes) across a yield.
    """

    def __init__(self, source: AsyncIterator[Any], deadline_s: float, what: str, *, grace_s: float = GRACE_S) -> None:
        self._source = source
        self._deadline_s = deadline_s
        self._grace_s = grace_s
        self._what = what
        self._items: deque[Any] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task = asyncio.ensure_future(contained(self._run()))
        self._task.add_done_callback(lambda _: self._filled.set())

    async def _run(self) -> None:
        try:
            async for item in self._source:
                await self._room.wait()
                self._items.append(item)
                self._room.clear()
                self._filled.set()
        finally:
            closing: Callable[[], Awaitable[None]] | None = getattr(self._source, "aclose", None)
            if closing is not None:
                await closing()

    async def next(self) -> Any:
        """The next item. Raises `StopAsyncIteration` at the end, `DeadlineExceeded`, or what the source raised."""
        while not self._items:
            if self._task.done():
                if self._task.cancelled():
                    raise PluginError(
                        f"{self._what} was cancelled from inside.", "A plugin must not cancel its caller."
                    )
                self._task.result()
                raise StopAsyncIteration
            self._filled.clear()
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._filled.wait()
            except TimeoutError:
                raise DeadlineExceeded(
                    f"{self._what} gave nothing for {self._deadline_s:g} s.", "Try again, or choose something faster."
                ) from None
        self._room.set()
        return self._items.popleft()

    async def close(self) -> None:
        """Stop the source within the grace. Idempotent."""
        await stop_task(self._task, self._grace_s)
