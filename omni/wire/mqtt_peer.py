"""Calls and streams by way of a broker: one worker as seen from a host is one of several that can do the same.

`HostPeer` is a host's end: it spreads requests over a plugin's workers and notices when the one that has a request
dies. `WorkerPeer` is a worker's end towards one host. Both speak the messages of `omni.wire.peer`; `taken` says also
that a worker took a request off the shared queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omni.errors import PluginError
from omni.events import AudioIn, AudioOut, VideoFrame
from omni.wire import codec
from omni.wire.mqtt import CHUNK, ROOT, SERVICES, Connection
from omni.wire.peer import Handler, Note, Peer

#: Seconds that workers have, after one of them died, to say which waiting requests are theirs.
CLAIM_S = 1.0


class _Via:
    """What `Peer` needs of a link that only waits: sending is done by message, not by bytes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, message: bytes) -> None:
        raise AssertionError("messages are sent by kind")

    async def drain(self) -> None:
        await self._connection.drain()

    async def receive(self) -> bytes:
        raise EOFError

    def close(self) -> None:
        return


def service_of(message: tuple[Any, ...]) -> str:
    """The kind of service a message gets (a key of `SERVICES`): live sound and pictures are carried differently."""
    if message[0] == "note" and isinstance(message[3], AudioIn | AudioOut):
        return "sound"
    if message[0] == "note" and isinstance(message[3], VideoFrame):
        return "picture"
    return message[0] if message[0] in SERVICES else "note"


class WorkerPeer(Peer):
    """A worker's end towards one host, whose messages go to the topic `reply`."""

    def __init__(self, connection: Connection, worker: str, reply: str, handle: Handler, note: Note) -> None:
        super().__init__(_Via(connection), handle, note=note, name=f"the host {reply.rpartition('/')[2]}")
        self._connection = connection
        self._topic = f"{reply}/{worker}"

    def _send(self, *message: Any) -> None:
        if not self.closed:
            correlation = int(message[1]).to_bytes(8, "big")
            self._connection.send(
                self._topic, codec.encode(list(message)), service_of(message), correlation=correlation
            )

    def arrived(self, body: bytes, *, shared: bool) -> None:
        """A message of that host came, from the queue that all workers share when `shared`."""
        message = codec.decode(body)
        if shared:
            self._send("taken", message[1])
        self._take(message)


@dataclass(slots=True)
class _Asked:
    """A request that is not answered yet."""

    message: tuple[Any, ...]
    worker: str = ""  #: who has it; "" while it lies in the shared queue
    again: bool = False  #: it is on its second worker
    begun: bool = False  #: some of its answer came
    over: bool = False


@dataclass(eq=False)
class HostPeer(Peer):
    """A host's end towards all workers of one plugin."""

    connection: Connection
    me: str
    plugin: str
    note: Note
    may_repeat: Callable[[str, str], bool]  #: (target, method): whether doing it twice is as once
    expiry_s: Callable[[str], float]
    workers: dict[str, int] = field(default_factory=dict)  #: open requests of each

    def __post_init__(self) -> None:
        Peer.__init__(self, _Via(self.connection), _nothing, note=self.note, name=f"{self.plugin!r} on the broker")
        self._asked: dict[int, _Asked] = {}
        self._pins: dict[str, str] = {}
        self._unwanted: set[int] = set()

    # -- going out ----------------------------------------------------------------------------

    def _must_be_open(self) -> None:
        if self.closed or not self.workers:
            raise PluginError(f"No worker of {self.plugin!r} is there{self._reason}.", "It is used again when one is.")

    def _send(self, *message: Any) -> None:
        if self.closed:
            return
        kind, number = message[0], message[1]
        if kind in ("call", "stream"):
            asked = self._asked[number] = _Asked(message)
            try:
                self._route(number, asked)
            except PluginError:
                self._asked.pop(number, None)
                raise
        elif kind == "note":
            self._tell(self._pin(message[2]), message)
        elif (asked := self._asked.get(number)) is not None and asked.worker:
            self._tell(asked.worker, message)
            if kind == "cancel":
                self._over(number)
        elif kind == "cancel" and asked is not None:
            self._over(number)
            self._unwanted.add(number)

    def _route(self, number: int, asked: _Asked) -> None:
        """Give a request to a worker: through the shared queue if the broker has one, else to the least busy."""
        body = codec.encode(list(asked.message))
        target = asked.message[2]
        correlation, reply = number.to_bytes(8, "big"), f"{ROOT}/to/{self.me}"
        pinned = target.startswith("stage:")
        if self.connection.v5 and len(self.workers) > 1 and len(body) <= CHUNK and not pinned:
            topic, asked.worker = f"{ROOT}/ask/{self.plugin}", ""
        else:
            asked.worker = self._pin(asked.message[4][0]) if pinned else self._idlest()
            self.workers[asked.worker] += 1
            topic = f"{ROOT}/to/{asked.worker}/{self.me}"
        self.connection.send(
            topic, body, asked.message[0], correlation=correlation, reply=reply, expiry_s=self.expiry_s(target)
        )

    def _idlest(self) -> str:
        """The worker with the fewest open requests; of equals the one that waited longest."""
        if not self.workers:
            raise PluginError(f"No worker of {self.plugin!r} is there.", "It is used again when one is.")
        chosen = min(self.workers, key=lambda worker: self.workers[worker])
        self.workers[chosen] = self.workers.pop(chosen)  # to the end of the line
        return chosen

    def _pin(self, run: str) -> str:
        """The worker that runs a stage; all of a run goes there."""
        if self._pins.get(run) not in self.workers:
            self._pins[run] = self._idlest()
        return self._pins[run]

    def _tell(self, worker: str, message: tuple[Any, ...]) -> None:
        self.connection.send(
            f"{ROOT}/to/{worker}/{self.me}", codec.encode(list(message)), service_of(message),
            reply=f"{ROOT}/to/{self.me}",
        )  # fmt: skip

    # -- coming in ----------------------------------------------------------------------------

    def arrived(self, worker: str, body: bytes) -> None:
        """A worker sent a message."""
        message = codec.decode(body)
        if not (isinstance(message, list) and len(message) >= 2 and isinstance(message[1], int)):
            raise PluginError(f"The worker {worker} sent what is no message.")
        kind, number = message[0], message[1]
        if kind in ("call", "stream"):
            return  # workers are asked, they don't ask
        asked = self._asked.get(number)
        if kind == "taken":
            if number in self._unwanted:
                self._unwanted.discard(number)
                self._tell(worker, ("cancel", number))
            elif asked is None:
                self._take(message)  # a picture, not a request
            elif not asked.worker:
                self._claim(asked, worker)
            return
        if kind in ("result", "item", "end", "error"):
            self._unwanted.discard(number)
            if asked is None:
                return
            if not asked.worker:
                self._claim(asked, worker)
            if asked.worker != worker:
                return  # it was given to another one meanwhile
            asked.begun = True
            if kind != "item":
                self._over(number)
        self._take(message)

    def _claim(self, asked: _Asked, worker: str) -> None:
        if worker in self.workers:
            asked.worker = worker
            self.workers[worker] += 1

    def _over(self, number: int) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.over = True
            self._pins.pop(asked.message[4][0] if asked.message[2].startswith("stage:") else "", None)
            if asked.worker in self.workers:
                self.workers[asked.worker] -= 1

    # -- workers come and go ------------------------------------------------------------------

    def joined(self, worker: str) -> None:
        """A worker is there."""
        self.workers.setdefault(worker, 0)

    def lost(self, worker: str) -> None:
        """A worker is gone: what it had goes to another one where doing it twice is as once, and fails otherwise."""
        self.workers.pop(worker, None)
        loop = asyncio.get_running_loop()
        for number, asked in list(self._asked.items()):
            if asked.worker == worker:
                self._repeat(number, asked, worker)
            elif not asked.worker:
                loop.call_later(CLAIM_S, self._unclaimed, number, asked, worker)

    def _unclaimed(self, number: int, asked: _Asked, worker: str) -> None:
        """Nobody said that a request is theirs: then the dead worker had it."""
        if not asked.worker and not asked.over and not self.closed:
            self._repeat(number, asked, worker)

    def _repeat(self, number: int, asked: _Asked, worker: str) -> None:
        target, method = asked.message[2], asked.message[3]
        what = f"{target.partition(':')[2]} ({method})"
        if not asked.again and not asked.begun and self.workers and self.may_repeat(target, method):
            asked.again = True
            self._route(number, asked)
            return
        self._over(number)
        why = "It was on its second worker."
        if not asked.again:
            why = "No other worker is there." if not self.workers else "It was not tried again: twice is not as once."
            why = "Part of the answer was out already." if asked.begun else why
        self._fail_one(number, PluginError(f"The worker {worker} died while it did {what}.", why))

    def _fail_one(self, number: int, error: PluginError) -> None:
        self._take(["error", number, codec.pack_error(error)])


def _nothing(target: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    raise PluginError(f"{target!r} can't be asked for from afar.")
