"""Stages of a plugin elsewhere: a session's events go over to them, and what they publish comes back.

The host's end is `StageKeeper`; the end where the plugin runs is `serve_stage`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Any

from omni.bus import Mailbox, Overflow
from omni.events import ALL, AudioIn, Event, SessionClosed, VideoFrame
from omni.host.hookspecs import StageOffer
from omni.host.manifest import Manifest, StageEntry
from omni.session import Session
from omni.wire.peer import Peer

log = logging.getLogger("omni.host")

#: Pictures that may be on their way at once: one travels while the one before it is acknowledged.
SHOWN = 2
#: Seconds after which a picture that was not acknowledged counts as lost.
LOST_S = 1.0

_EVENTS = {kind.__name__: kind for kind in ALL}
_runs = count(1)


class StageKeeper:
    """The base of plugins elsewhere: which of their stages run, and what may pass in each direction."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._stage_runs: dict[str, Session] = {}
        self._stage_writes: dict[str, frozenset[type[Event]]] = {}
        self._said: set[tuple[str, type]] = set()

    async def peer(self) -> Peer:
        """The live connection to the other end."""
        raise NotImplementedError

    async def peer_for_stage(self) -> Peer:
        """The connection for a stage; may wait for longer than a caller would."""
        return await self.peer()

    def _stage_factory(self, name: str) -> Callable[[], Any]:
        entry = next(stage for stage in self.manifest.stages if stage.name == name)
        return lambda: _RemoteStage(self, entry)

    def _heard(self, target: str, value: Any) -> None:
        """An event that a stage over there published: it passes if the manifest says that the stage writes it."""
        session, allowed = self._stage_runs.get(target), self._stage_writes.get(target, frozenset())
        if session is not None and type(value) in allowed:
            session.bus.publish(value)
        elif session is not None and (target, type(value)) not in self._said:  # said once
            self._said.add((target, type(value)))
            log.warning(
                "plugin %s published %s, which its manifest does not announce", self.manifest.id, type(value).__name__
            )

    def may_see(self, event: Event) -> bool:
        """Whether its permissions let it have this event: frames of what it declared, sound if it asked for it."""
        permissions = self.manifest.permissions
        if isinstance(event, VideoFrame):
            return permissions.camera if event.source == "camera" else permissions.screen
        return permissions.microphone if isinstance(event, AudioIn) else True


class _RemoteStage:
    """A stage whose `run` happens in the plugin's process: events go over, and come back."""

    def __init__(self, plugin: StageKeeper, entry: StageEntry) -> None:
        self._plugin = plugin
        self._entry = entry

    async def run(self, session: Session) -> None:
        """Run it for a session until that closes, the stage ends, or its process does (then it raises)."""
        plugin, entry = self._plugin, self._entry
        name = f"stage:{next(_runs)}"
        boxes = self._subscribe(session)
        peer = await plugin.peer_for_stage()
        plugin._stage_runs[name] = session
        plugin._stage_writes[name] = frozenset(_EVENTS[one] for one in entry.writes)
        feeds = [asyncio.ensure_future(self._feed(peer, name, box)) for box in boxes]
        running = asyncio.ensure_future(peer.call(f"stage:{entry.name}", "run", (name, session.id, session.settings)))
        try:
            done, _ = await asyncio.wait((running, *feeds), return_when=asyncio.FIRST_COMPLETED)
            if running in done:
                running.result()
        finally:
            for task in (running, *feeds):
                task.cancel()
            await asyncio.wait((running, *feeds))
            plugin._stage_runs.pop(name, None)
            plugin._stage_writes.pop(name, None)
            for box in boxes:
                session.bus.unsubscribe(box)

    def _subscribe(self, session: Session) -> list[Mailbox]:
        """A mailbox each for sound, pictures and the rest, so that none of them holds up another."""
        kinds = {_EVENTS[name] for name in self._entry.reads} | {SessionClosed}
        sound, pictures = {AudioIn} & kinds, {VideoFrame} & kinds
        name = f"{self._plugin.manifest.id}/{self._entry.name}"
        boxes = [session.bus.subscribe(*(kinds - sound - pictures), capacity=512, overflow=Overflow.LATEST, name=name)]
        if sound:
            boxes.append(session.bus.subscribe(*sound, capacity=250, overflow=Overflow.GAP, name=f"{name} sound"))
        if pictures:
            latest = {"capacity": 2, "overflow": Overflow.COALESCE, "key": lambda frame: frame.source}
            boxes.append(session.bus.subscribe(*pictures, **latest, name=f"{name} pictures"))
        return boxes

    async def _show(self, peer: Peer, name: str, box: Mailbox) -> None:
        """Pictures go when one of those under way has come: a slow way shows fewer of them, never older ones.

        Those that were passed over are counted by the mailbox (`coalesced`), which holds the latest of each source.
        """
        under_way: set[asyncio.Future[bool]] = set()
        try:
            async for event in box:
                if self._plugin.may_see(event):
                    under_way.add(asyncio.ensure_future(peer.show(name, event, LOST_S)))
                    if len(under_way) >= SHOWN:
                        _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in under_way:
                task.cancel()

    async def _feed(self, peer: Peer, name: str, box: Mailbox) -> None:
        if VideoFrame in box.types:
            return await self._show(peer, name, box)
        async for event in box:
            if isinstance(event, SessionClosed):
                return
            if self._plugin.may_see(event):
                peer.tell(name, event)
                await peer.drain()


async def serve_stage(offer: StageOffer, session: Session, peer: Peer, run: str, inboxes: dict[str, Mailbox]) -> None:
    """The other end of a `_RemoteStage`: run the stage on a session of its own, whose bus the host feeds.

    What arrives for it is put into `inboxes[run]` meanwhile; what it publishes is told to the host.
    """
    inbox = inboxes[run] = Mailbox((), capacity=512, overflow=Overflow.GAP, name=run)
    arriving = False

    def forward(event: Event) -> None:
        if not arriving:
            peer.tell(run, event)

    async def feed() -> None:
        nonlocal arriving
        async for event in inbox:
            arriving = True
            try:
                session.bus.publish(event)
            finally:
                arriving = False

    session.bus.tap(forward)
    feeding = asyncio.ensure_future(feed())
    try:
        await offer.factory().run(session)
    finally:
        feeding.cancel()
        inboxes.pop(run, None)
        session.bus.close()
