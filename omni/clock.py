"""One clock a session, and a loop whose time is virtual for tests.

All timestamps in Omni are seconds on the session clock: 0.0 when the session began, monotonic,
unaffected by changes of the wall clock. `wall_start` ties it to the calendar.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Clock:
    """Seconds since the session began, read from the running loop's own time.

    Reading the loop's time rather than `time.monotonic` is what lets a test run a
    thirty-second conversation in milliseconds (see `VirtualLoop`).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, *, wall_start: float | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._zero = self._loop.time()
        self.wall_start = time.time() if wall_start is None else wall_start

    def now(self) -> float:
        """Seconds since the session began."""
        return self._loop.time() - self._zero

    def wall(self, at: float | None = None) -> float:
        """The Unix time, in seconds, of the session time `at` (default: now)."""
        return self.wall_start + (self.now() if at is None else at)

    async def sleep_until(self, at: float) -> None:
        """Return at session time `at`; at once if that has passed."""
        await asyncio.sleep(max(0.0, at - self.now()))


class _VirtualSelector(selectors.BaseSelector):
    """A selector that never waits: where a real one would sleep, it moves the loop's time forward."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Any:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; where nothing is, move the loop's clock instead of waiting."""
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if self._loop.outside_work:
            return self._real.select(timeout if timeout is None else min(timeout, 0.05))
        if timeout is None:
            # Nothing is scheduled: only a thread could wake us, so wait for real, but not for ever.
            ready = self._real.select(VirtualLoop.DEADLOCK_SECONDS)
            if not ready:
                raise RuntimeError("virtual time: every task waits for something that will never come")
            return ready
        self._loop.advance(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as nothing is runnable.

    A conversation of half an hour runs in milliseconds and in the same order each time.
    While work is under way outside the loop (`run_in_executor`), real time is waited for and
    virtual time stands still, so results do not depend on the speed of the machine.
    """

    DEADLOCK_SECONDS = 10.0

    def __init__(self) -> None:
        self._virtual_now = 0.0
        self.outside_work = 0
        super().__init__(_VirtualSelector(self))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual_now

    def advance(self, seconds: float) -> None:
        """Move the clock to the next timer: exactly there, so that ordering has no rounding."""
        target = self._virtual_now + max(seconds, 0.0)
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        self._virtual_now = scheduled[0]._when if scheduled and scheduled[0]._when <= target + 1e-6 else target

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        self.outside_work += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: setattr(self, "outside_work", self.outside_work - 1))
        return future


def run_virtual(main: Coroutine[Any, Any, T], *, seconds: float = 7200.0) -> T:
    """Run a coroutine on a virtual clock and return its result.

    Raises `TimeoutError` when more than `seconds` of virtual time pass.
    """
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(asyncio.wait_for(main, seconds))
