"""What Omni knows about itself while it runs: stalls of the loop, stage times, mailboxes, memory, spans.

Everything here is bounded and cheap enough to be always on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import secrets
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from omni.events import Event, StageTiming

if TYPE_CHECKING:
    from omni.session import Session

logger = logging.getLogger(__name__)

#: How often the watchdog asks the loop whether it still turns; a stall may be measured this much too short.
PING_S = 0.01
#: Stage times kept per stage, and stalls and spans kept at all.
KEPT = 500


@dataclass(frozen=True, slots=True)
class Stall:
    """The loop stood still for `seconds`; `task` held it, at `where` (innermost line last)."""

    seconds: float
    task: str
    where: tuple[str, ...]
    at: float = field(default_factory=time.time)

    def __str__(self) -> str:
        inner = " < ".join(self.where[::-1][:3])
        return f"the event loop stood still for {self.seconds * 1000:.0f} ms in {self.task}: {inner}"


class LoopWatchdog:
    """Reports every stall of the running loop longer than `threshold_s`, with the task that caused it.

    A thread asks the loop to answer and, while no answer comes, looks at what the loop's thread is doing.
    When it finds the loop waiting in its selector, the machine is short of processor time and no task is
    to blame: that is counted in `starved`, not as a stall.
    """

    def __init__(self, threshold_s: float = 0.05, on_stall: Callable[[Stall], None] | None = None) -> None:
        self.threshold_s = threshold_s
        self.on_stall = on_stall
        self.stalls: deque[Stall] = deque(maxlen=KEPT)
        self.count = 0
        self.worst_s = 0.0
        self.starved = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch the running loop. Idempotent."""
        if self._thread is not None:
            return
        self._stop.clear()
        loop, loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._thread = threading.Thread(
            target=self._watch, args=(loop, loop_thread), name="loop-watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. Idempotent."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)
        self._thread = None

    def _watch(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        answered = threading.Event()
        while not self._stop.wait(PING_S):
            answered.clear()
            asked = time.monotonic()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop was closed
                return
            if answered.wait(self.threshold_s):
                continue
            frame = sys._current_frames().get(loop_thread)
            task, where = _task_name(loop), _lines(frame)
            waiting = _in_selector(frame)
            while not answered.wait(0.05) and not self._stop.is_set():
                if loop.is_closed():
                    return
            seconds = time.monotonic() - asked
            if waiting:
                self.starved += 1
            elif not self._stop.is_set():
                self._report(Stall(seconds, task, where))

    def _report(self, stall: Stall) -> None:
        self.stalls.append(stall)
        self.count += 1
        self.worst_s = max(self.worst_s, stall.seconds)
        logger.warning("%s", stall)
        if self.on_stall:
            self.on_stall(stall)

    def snapshot(self) -> dict[str, Any]:
        """Counts so far and the latest stalls, ready for JSON."""
        latest = [asdict(stall) for stall in list(self.stalls)[-5:]]
        worst = round(self.worst_s * 1000, 1)
        return {"count": self.count, "worst_ms": worst, "starved": self.starved, "latest": latest}


def _task_name(loop: asyncio.AbstractEventLoop) -> str:
    task = asyncio.current_task(loop)
    if task is None:
        return "a callback"
    coroutine = task.get_coro()
    return f"task {task.get_name()!r} ({getattr(coroutine, '__qualname__', coroutine)})"


def _lines(frame: FrameType | None) -> tuple[str, ...]:
    """`file:line function` of the frames above the loop's own, innermost last. Reads no source file."""
    found: list[str] = []
    while frame is not None and frame.f_code.co_name not in ("_run_once", "_run") and len(found) < 12:
        found.append(f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(reversed(found))


def _in_selector(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "select" and "selectors" in frame.f_code.co_filename:
            return True
        if frame.f_code.co_name == "_run_once":
            return False
        frame = frame.f_back
    return False


class SessionMetrics:
    """Stage times and mailboxes of one session. Taps its bus until `close`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stages: dict[str, deque[float]] = {}
        self._events = 0
        self._untap = session.bus.tap(self._see)

    def _see(self, event: Event) -> None:
        self._events += 1
        if isinstance(event, StageTiming):
            self._stages.setdefault(event.stage, deque(maxlen=KEPT)).append(event.seconds)

    def close(self) -> None:
        """Stop counting. Idempotent."""
        self._untap()

    def snapshot(self) -> dict[str, Any]:
        """Per stage `count`, `p50_s`, `p95_s`; per mailbox depth, age of the oldest, drops. Ready for JSON."""
        now = self._session.clock.now()
        stages = {
            stage: {"count": len(times), "p50_s": percentile(times, 50), "p95_s": percentile(times, 95)}
            for stage, times in self._stages.items()
        }
        boxes = [{"name": box.name, **asdict(box.metrics(now))} for box in self._session.bus.mailboxes()]
        return {"events": self._events, "seconds": round(now, 3), "stages": stages, "mailboxes": boxes}


def percentile(values: Any, percent: float) -> float:
    """The percentile by linear interpolation; 0.0 of nothing."""
    ordered = sorted(values)
    if len(ordered) < 2:
        return ordered[0] if ordered else 0.0
    return statistics.quantiles(ordered, n=100, method="inclusive")[min(98, max(0, round(percent) - 1))]


def memory_mb() -> float:
    """Resident memory of this process in MB."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


# --- spans ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Span:
    """A piece of work, in OpenTelemetry's shape: ids in hex, times in Unix nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str = ""
    start_ns: int = 0
    end_ns: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    status: str = "UNSET"

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / 1e9


_current: contextvars.ContextVar[Span | None] = contextvars.ContextVar("omni_span", default=None)


class Tracer:
    """Keeps the latest spans; hands them to OpenTelemetry too, when that is installed and asked for."""

    def __init__(self, opentelemetry: bool = False) -> None:
        self.spans: deque[Span] = deque(maxlen=KEPT)
        self._otel = _otel_tracer() if opentelemetry else None

    @contextmanager
    def span(self, name: str, **attributes: Any) -> Iterator[Span]:
        """`with tracer.span("tool", tool="calculator") as span: ...`; a span inside is its child."""
        parent = _current.get()
        trace = parent.trace_id if parent else secrets.token_hex(16)
        span = Span(name, trace, secrets.token_hex(8), parent.span_id if parent else "", time.time_ns())
        span.attributes.update(attributes)
        token = _current.set(span)
        try:
            yield span
            span.status = "OK"
        except BaseException as error:
            span.status = "ERROR"
            span.attributes["error"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            _current.reset(token)
            span.end_ns = time.time_ns()
            self.spans.append(span)
            if self._otel is not None:
                _forward(self._otel, span)


def _otel_tracer() -> Any:
    try:
        from opentelemetry import trace
    except ImportError:
        logger.warning("telemetry.opentelemetry is on, but opentelemetry-api is not installed")
        return None
    return trace.get_tracer("omni")


def _forward(tracer: Any, span: Span) -> None:
    plain = (str, int, float, bool)
    attributes = {key: value if isinstance(value, plain) else str(value) for key, value in span.attributes.items()}
    attributes |= {"omni.span_id": span.span_id, "omni.parent_id": span.parent_id, "omni.trace_id": span.trace_id}
    tracer.start_span(span.name, start_time=span.start_ns, attributes=attributes).end(span.end_ns)
