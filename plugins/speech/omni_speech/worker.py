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
    """Raised inside the worker, at the next boundary, when nobody waits for the result any more."""


class Ticket:
    """Handed to work that runs in the thread: `check()` at each boundary ends it when it was cancelled."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
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
        """`function(ticket, *args)` in the thread. Cancelling the wait tells the work to stop at its next boundary."""
        if self._pool is None:
            raise PluginError(f"The worker '{self._name}' is closed.", "Open the capability again before using it.")
        ticket = Ticket()

        def work() -> T:
            ticket.check()
            return function(ticket, *args)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except asyncio.CancelledError:
            ticket.cancel()
            raise

    def close(self) -> None:
        """Let what runs finish, start nothing more."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
