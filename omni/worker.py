"""One thread a model: inference never blocks the loop, and calls of one model never overlap."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from omni.errors import PluginError

T = TypeVar("T")


class Cancelled(Exception):
    """Raised inside the thread, between two steps, when nobody waits for the result any more."""


class Ticket:
    """Handed to work in steps: `check()` between them ends it when it was cancelled."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise `Cancelled` when the caller has gone."""
        if self._cancelled.is_set():
            raise Cancelled


class Worker:
    """A single thread that runs one function after the other. `close` is idempotent."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix=f"omni-{name}")

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)` in the thread. A cancelled call that has not begun never begins.

        Raises `PluginError` when the worker is closed.
        """
        if self._pool is None:
            raise PluginError(f"The worker '{self._name}' is closed.", "Open the capability again before using it.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def run_steps(self, function: Callable[..., T], *args: Any) -> T:
        """`function(ticket, *args)` in the thread; cancelling the wait ends it at its next `ticket.check()`."""
        ticket = Ticket()
        try:
            return await self.run(function, ticket, *args)
        except asyncio.CancelledError:
            ticket.cancel()
            raise

    def close(self) -> None:
        """Let what runs finish, start nothing more."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
