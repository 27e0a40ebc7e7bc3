"""The supervised life: states of plugins, told on every session's bus, and stages that are started again.

A stage that fails is started again after a pause that doubles; one that fails `limit` times within
`window_s` seconds is quarantined for this session, and the session goes on. A stage that stops reading a
mailbox others have to wait for counts as failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from omni.bus import OWNER, Mailbox, Overflow
from omni.errors import OmniError
from omni.events import Notice, PluginChanged, SessionClosed
from omni.host.deadlines import GRACE_S, contained, stop_task
from omni.host.hookspecs import StageOffer
from omni.host.records import RUNNING, PluginRecord, State
from omni.session import Session

log = logging.getLogger("omni.host")

_runs = count(1)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient the host is with a stage."""

    limit: int = 5  #: failures within the window before it is quarantined
    window_s: float = 60.0
    backoff_s: float = 0.2
    longest_s: float = 10.0
    stuck_s: float = 10.0  #: a full mailbox unread for so long means the stage hangs
    look_s: float = 1.0  #: how often it is looked at


class Supervisor:
    """Keeps the records and tells sessions when one changes; runs their stages."""

    def __init__(self, policy: RestartPolicy | None = None) -> None:
        self.policy = policy or RestartPolicy()
        self.records: dict[str, PluginRecord] = {}
        self.sessions: dict[str, Session] = {}
        self._changes: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}  #: per session: asked to look, has looked
        self.on_change: Callable[[PluginRecord], None] = lambda record: None

    # -- states -------------------------------------------------------------------------------

    def set_state(self, plugin: str, state: State, reason: str = "") -> None:
        """A plugin enters a state; the page and the person are told. Nothing leaves quarantine in this run."""
        record = self.records[plugin]
        if (record.state, record.reason) == (state, reason) or record.state == "quarantined":
            return
        was, record.state, record.reason = record.state, state, reason
        fine = state in ("loaded", "ready") or not record.enabled
        level = logging.INFO if fine else logging.WARNING
        log.log(level, "plugin %s is %s%s", plugin, state, f": {reason}" if reason else "")
        self.on_change(record)
        for session in list(self.sessions.values()):
            self._tell(session, record, cleared=was in ("degraded", "quarantined", "refused"))

    def _tell(self, session: Session, record: PluginRecord, *, cleared: bool) -> None:
        session.publish(PluginChanged, plugin=record.id, state=record.state, reason=record.reason)
        topic = f"plugin.{record.id}"
        if record.state in ("degraded", "quarantined"):
            verb = "does not work at present" if record.state == "degraded" else "was stopped"
            session.publish(Notice, topic=topic, text=f"{record.name} {verb}: {record.reason}", level="warning")
        elif cleared:
            session.publish(Notice, topic=topic, text="")

    def runs(self, plugin: str) -> bool:
        """Whether the plugin takes part."""
        record = self.records.get(plugin)
        return record is not None and record.state in RUNNING

    # -- stages -------------------------------------------------------------------------------

    async def run_stages(self, session: Session, offers: Callable[[], Iterable[tuple[str, StageOffer]]]) -> None:
        """Run the stages of a session until it closes. Of several with one role the highest priority runs.

        `offers()` is asked again after `stages_changed`: what is new is started, what is gone is stopped.
        """
        self.sessions[session.id] = session
        changed, settled = self._changes[session.id] = asyncio.Event(), asyncio.Event()
        closing = session.bus.subscribe(SessionClosed, capacity=1, name="supervisor")
        for record in self.records.values():
            if record.state in ("degraded", "quarantined"):
                self._tell(session, record, cleared=False)
        running: dict[int, tuple[StageOffer, asyncio.Task[None]]] = {}
        over = asyncio.ensure_future(closing.get())
        try:
            while not over.done():
                changed.clear()
                await self._reconcile(session, running, one_a_role(offers()))
                settled.set()
                waiting = asyncio.ensure_future(changed.wait())
                await asyncio.wait((over, waiting), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            over.cancel()
            await asyncio.wait((over,))
            if not over.cancelled():
                over.exception()  # a bus that was closed instead is an end too
            await self._reconcile(session, running, [])
            session.bus.unsubscribe(closing)
            self.sessions.pop(session.id, None)
            self._changes.pop(session.id, None)
            settled.set()

    async def _reconcile(
        self,
        session: Session,
        running: dict[int, tuple[StageOffer, asyncio.Task[None]]],
        wanted: list[tuple[str, StageOffer]],
    ) -> None:
        """Stop the stages that are not wanted any more and start those that are new."""
        keep = {id(offer) for _, offer in wanted}
        gone = [running.pop(key)[1] for key in list(running) if key not in keep]
        for task in gone:
            task.cancel()
        if gone:
            await asyncio.wait(gone)
        for plugin, offer in wanted:
            if id(offer) not in running:
                running[id(offer)] = offer, asyncio.ensure_future(self._keep_running(session, plugin, offer))

    async def stages_changed(self) -> None:
        """Plugins came or went: every session looks again which stages it runs. Returns when they have, or soon."""
        sessions = list(self._changes.values())
        for changed, settled in sessions:
            settled.clear()
            changed.set()
        with suppress(TimeoutError):  # a stage that is slow to stop, or that asked for this itself
            async with asyncio.timeout(2 * GRACE_S):
                for _, settled in sessions:
                    await settled.wait()

    async def _keep_running(self, session: Session, plugin: str, offer: StageOffer) -> None:
        """One stage's life: run, fail, pause, run again; quarantine when it fails too often."""
        failures: deque[float] = deque(maxlen=self.policy.limit)
        loop = asyncio.get_running_loop()
        pause = self.policy.backoff_s
        while self.runs(plugin):
            started = loop.time()
            reason = await self._run_once(session, plugin, offer)
            if not reason:
                return
            now = loop.time()
            failures.append(now)
            if len(failures) == self.policy.limit and now - failures[0] <= self.policy.window_s:
                self.set_state(
                    plugin, "quarantined", f"its stage {offer.name!r} failed {len(failures)} times: {reason}"
                )
                return
            if now - started > self.policy.window_s:
                pause = self.policy.backoff_s
            self.records[plugin].restarts += 1
            self.set_state(plugin, "degraded", f"its stage {offer.name!r} failed and is started again: {reason}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.policy.longest_s)

    async def _run_once(self, session: Session, plugin: str, offer: StageOffer) -> str:
        """Run a stage to its end. Why it failed, or "" when it ended by itself. Its mailboxes go with it."""
        owner = f"{plugin}/{offer.name}#{next(_runs)}"
        token = OWNER.set(owner)
        try:
            task = asyncio.ensure_future(contained(_start(offer, session)))
        finally:
            OWNER.reset(token)
        try:
            return await self._watch(session, plugin, offer, owner, task)
        finally:
            await stop_task(task)
            for mailbox in session.bus.mailboxes():
                if mailbox.owner == owner:
                    session.bus.unsubscribe(mailbox)

    async def _watch(
        self, session: Session, plugin: str, offer: StageOffer, owner: str, task: asyncio.Task[None]
    ) -> str:
        """Wait for the stage's end, looking now and then whether it still reads and whether its plugin still runs."""
        seen: dict[Mailbox, tuple[int, float]] = {}
        loop = asyncio.get_running_loop()
        started, healed = loop.time(), False
        while True:
            done, _ = await asyncio.wait((task,), timeout=self.policy.look_s)
            if done:
                break
            if not self.runs(plugin):
                return ""
            now = loop.time()
            if now - started > 2 * self.policy.look_s and not healed and self.records[plugin].state == "degraded":
                healed = True
                if self.records[plugin].reason.startswith("its stage"):
                    self.set_state(plugin, "ready")
            for mailbox in session.bus.mailboxes():
                if mailbox.owner != owner or mailbox.overflow is not Overflow.WAIT:
                    continue
                taken, since = seen.get(mailbox, (-1, now))
                full = mailbox.metrics().depth >= mailbox.capacity
                if not full or mailbox.taken != taken:
                    seen[mailbox] = (mailbox.taken, now)
                elif now - since >= self.policy.stuck_s:
                    return f"it has not read its mailbox for {self.policy.stuck_s:g} s"
        if task.cancelled():
            return "it was cancelled from inside"
        error = task.exception()
        if error is None:
            return ""
        return str(error) if isinstance(error, OmniError) else f"{type(error).__name__}: {error}"


async def _start(offer: StageOffer, session: Session) -> None:
    await offer.factory().run(session)


def one_a_role(offers: Iterable[tuple[str, StageOffer]]) -> list[tuple[str, StageOffer]]:
    """Of the stages with one role only the one with the highest priority; those without a role all."""
    chosen: dict[str, tuple[str, StageOffer]] = {}
    for plugin, offer in offers:
        key = f"role:{offer.role}" if offer.role else f"stage:{plugin}/{offer.name}"
        with suppress(KeyError):
            if chosen[key][1].priority >= offer.priority:
                continue
        chosen[key] = (plugin, offer)
    return list(chosen.values())
