"""Finds the plugin whose code holds up the event loop, and ends what would hold it up for ever.

(`omni.telemetry` reports stalls as figures; this is containment.) A stall is reported when it is over. One
that lasts longer than `interrupt_s` and stands in a plugin's code is ended: a signal raises `PluginError`
there, which wakes even `time.sleep` (main thread on POSIX only). A thread that merely waits for a processor
is not stalled; on Linux that is told apart by its processor time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from omni.errors import PluginError

TICK_S = 0.02
LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Stall:
    """The loop stood still for `seconds`; `where` is file:line in function, `plugin` whose code it was."""

    seconds: float
    where: str
    plugin: str = ""
    interrupted: bool = False


class LoopGuard:
    """`start()` it on the loop it is to watch; `stop()` it there. `on_stall` is called on the loop.

    `folders` maps plugin ids to their package folders; it is read at each stall.
    """

    def __init__(
        self,
        on_stall: Callable[[Stall], None],
        folders: Mapping[str, Path] | None = None,
        *,
        stall_s: float = 0.25,
        interrupt_s: float | None = None,
    ) -> None:
        self.on_stall = on_stall
        self.folders = folders if folders is not None else {}
        self.stall_s = stall_s
        self.interrupt_s = interrupt_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tick = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched = 0
        self._native = 0
        self._armed = ""  #: the plugin that may be interrupted now
        self._previous_handler: object = None

    def start(self) -> None:
        """Begin to watch the running loop."""
        self._loop = asyncio.get_running_loop()
        self._watched, self._native = threading.get_ident(), threading.get_native_id()
        self._beat()
        if self._can_interrupt():
            self._previous_handler = signal.signal(signal.SIGUSR2, self._on_signal)
        self._thread = threading.Thread(target=self._look, name="omni-loop-guard", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch. Idempotent."""
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join(1.0)
            if self._can_interrupt() and self._previous_handler is not None:
                signal.signal(signal.SIGUSR2, self._previous_handler)  # type: ignore[arg-type]
            self._thread = None

    def _can_interrupt(self) -> bool:
        main = threading.current_thread() is threading.main_thread()
        return self.interrupt_s is not None and main and hasattr(signal, "SIGUSR2")

    def _beat(self) -> None:
        self._tick = time.monotonic()
        assert self._loop is not None
        self._timer = self._loop.call_later(TICK_S, self._beat)

    # -- in the watching thread ---------------------------------------------------------------

    def _look(self) -> None:
        stalled_at, where, plugin, interrupted = 0.0, "", "", False
        busy_before = self._processor_s()
        while not self._over.wait(LOOK_S):
            now, tick = time.monotonic(), self._tick
            if stalled_at and tick != stalled_at:
                self._armed = ""
                self._report(Stall(tick - stalled_at - TICK_S, where, plugin, interrupted))
                stalled_at, where, plugin, interrupted = 0.0, "", "", False
            lag = now - tick - TICK_S
            if lag < self.stall_s:
                busy_before = self._processor_s()
                continue
            frame = sys._current_frames().get(self._watched)
            if frame is None or _waits_for_events(frame) or self._only_waits_for_a_processor(busy_before, lag):
                continue
            here, owner = self._place(frame)
            if not stalled_at or (owner and not plugin):
                stalled_at, where, plugin = tick, here, owner
            if owner and not interrupted and self.interrupt_s is not None and lag > self.interrupt_s:
                interrupted = self._interrupt(owner)

    def _processor_s(self) -> float:
        """Processor time the watched thread has used, in seconds; 0 where it can't be known."""
        if not hasattr(time, "pthread_getcpuclockid"):
            return 0.0
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(self._watched))
        except OSError:
            return 0.0

    def _only_waits_for_a_processor(self, busy_before: float, lag: float) -> bool:
        """Whether the thread wants to run (so it does not sleep) and got little time to."""
        try:
            with open(f"/proc/self/task/{self._native}/stat", encoding="ascii", errors="replace") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state == "R" and self._processor_s() - busy_before < min(self.stall_s, lag / 2)

    def _place(self, frame: FrameType) -> tuple[str, str]:
        """Where the thread is, and the plugin whose code is on its stack (the innermost one)."""
        folders = [(str(folder) + os.sep, plugin) for plugin, folder in list(self.folders.items())]
        step: FrameType | None = frame
        while step is not None:
            for folder, plugin in folders:
                if step.f_code.co_filename.startswith(folder):
                    return _name(step), plugin
            step = step.f_back
        return _name(frame), ""

    def _interrupt(self, plugin: str) -> bool:
        if self._previous_handler is None:
            return False
        self._armed = plugin
        signal.pthread_kill(self._watched, signal.SIGUSR2)
        return True

    def _report(self, stall: Stall) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self.on_stall, stall)
        except RuntimeError:
            self._over.set()  # the loop is closed

    # -- in the watched thread ----------------------------------------------------------------

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Raise in the plugin's code, if the thread is still in it."""
        plugin, self._armed = self._armed, ""
        if plugin and frame is not None and self._place(frame)[1] == plugin:
            raise PluginError(
                f"The plugin {plugin!r} blocked the event loop for over {self.interrupt_s:g} s at {_name(frame)}.",
                "Its author has to move the work into a thread.",
            )


def _waits_for_events(frame: FrameType) -> bool:
    """Whether the loop is where it belongs when it has nothing to do."""
    return frame.f_code.co_name == "select" and frame.f_code.co_filename.endswith("selectors.py")


def _name(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
