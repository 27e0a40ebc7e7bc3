"""A worker: serves one plugin of a host here to hosts elsewhere, by way of a broker.

The plugin runs in a `Host` of this machine, with its tiers, deadlines, breakers and models. What it offers is
announced (retained), requests are taken, and a host that disappears takes its work with it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from omni import API_VERSION
from omni.bus import Mailbox
from omni.errors import BadInput, CapabilityUnavailable, OmniError, PluginError
from omni.host.far_stages import serve_stage
from omni.host.host import Host
from omni.host.loader import Loaded
from omni.host.proxies import methods
from omni.host.remote import attributes, describe, unpack_context
from omni.session import Session
from omni.tools import validate_arguments
from omni.wire import codec
from omni.wire.mqtt import (
    ECHO_S,
    ROOT,
    RUBBISH,
    WIRE_VERSION,
    Address,
    BrokerError,
    Connection,
    Frame,
    connect,
    unheard,
)
from omni.wire.mqtt_peer import WorkerPeer

log = logging.getLogger("omni.worker")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
#: How long what is under way may take when the worker is asked to stop.
LEAVE_S = 5.0


class Worker:
    """`await run()` serves until it is cancelled; it enters the broker again whenever that comes back.

    At most `slots` requests are worked on at once, the others wait here. `said` is told what happens, in sentences.
    """

    def __init__(
        self, host: Host, plugin: str, address: Address, *, slots: int = 4, said: Callable[[str], None] = log.info
    ) -> None:
        self.host = host
        self.plugin = plugin
        self.address = address
        name = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:24] or "worker"
        self.id = f"{name}-{secrets.token_hex(3)}"
        self.announced = asyncio.Event()
        self._slots = asyncio.Semaphore(slots)
        self._said = said
        self._loaded = _servable(host, plugin)
        self._proxies = {
            offer.id: (offer, host.get(offer.capability, id=offer.id, plugin=plugin)) for offer in self._loaded.offers
        }
        self._tools = {tool.name: tool for tool in host.tools() if tool.plugin == plugin}
        self._serving: dict[str, _Serving] = {}

    async def run(self) -> None:
        """Serve. Returns only by cancellation; raises `BrokerError` when the first try shows that none can succeed."""
        pause = FIRST_PAUSE_S
        first = True
        while True:
            try:
                connection = await connect(self.address, self.id, will=(self._topic, True))
            except BrokerError as error:
                if first and error.final:
                    raise
                self._said(f"{error} Next try in {pause:g} s.")
            else:
                try:
                    pause = FIRST_PAUSE_S
                    await self._serve(connection)
                except BrokerError as error:
                    if first and error.final:
                        raise
                    self._said(str(error))
                finally:
                    self.announced.clear()
                    await self._leave(connection)
            first = False
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    @property
    def _topic(self) -> str:
        return f"{ROOT}/worker/{self.plugin}/{self.id}"

    def announcement(self) -> bytes:
        """What hosts are told."""
        instances = {offer.id: provider.instance() for offer, provider in self._providers()}
        manifest = self._loaded.manifest.model_copy(update={"panels": (), "commands": ()})
        return codec.encode(
            {
                "wire": WIRE_VERSION, "api": API_VERSION, "worker": self.id, "machine": socket.gethostname(),
                "manifest": manifest.model_dump(mode="json"), "said": describe(self._loaded, instances),
            }
        )  # fmt: skip

    def _providers(self) -> list[tuple[Any, Any]]:
        mine = {one.offer.id: one for one in self.host.offers() if one.plugin == self.plugin}
        return [(offer, mine[offer.id]) for offer in self._loaded.offers]

    async def _serve(self, connection: Connection) -> None:
        topics = [f"{ROOT}/to/{self.id}/+", f"{ROOT}/gone/+", self._topic]
        if connection.v5:
            topics.append(f"$share/{self.plugin}/{ROOT}/ask/{self.plugin}")
        await connection.subscribe(*topics)
        connection.send(self._topic, self.announcement(), "announce", retain=True)
        try:
            async with asyncio.timeout(ECHO_S) as patience:
                async for frame in connection.frames():
                    if frame.topic != self._topic:
                        await self._arrived(connection, frame)
                    elif not frame.body:  # the will of an earlier connection, come late
                        connection.send(self._topic, self.announcement(), "announce", retain=True)
                    elif not self.announced.is_set():
                        patience.reschedule(None)
                        version = "MQTT 5" if connection.v5 else "MQTT 3.1.1: the hosts choose the worker"
                        self._said(f"{self.plugin} is served on {self.address} as {self.id} ({version}).")
                        self.announced.set()
        except TimeoutError:
            raise unheard(self.address) from None

    async def _arrived(self, connection: Connection, frame: Frame) -> None:
        kind, _, rest = frame.topic.removeprefix(f"{ROOT}/").partition("/")
        if kind == "gone":
            if (serving := self._serving.pop(rest, None)) is not None:
                await serving.peer.close()
            return
        try:
            self._asked(connection, frame, kind, rest)
        except RUBBISH as error:
            log.warning("a message on %s was dropped: %s", frame.topic, error)

    def _asked(self, connection: Connection, frame: Frame, kind: str, rest: str) -> None:
        if kind not in ("ask", "to") or not frame.body:
            return
        shared = kind == "ask"
        reply = frame.reply if shared else f"{ROOT}/to/{rest.partition('/')[2]}"
        if not re.fullmatch(rf"{ROOT}/to/[\w-]{{1,64}}", reply):
            raise PluginError("It does not say who asks.")
        asker = reply.rpartition("/")[2]
        serving = self._serving.get(asker)
        if serving is None or serving.peer.closed:
            serving = self._serving[asker] = _Serving(self)
            serving.peer = WorkerPeer(connection, self.id, reply, serving.handle, serving.note)
        serving.peer.arrived(frame.body, shared=shared)

    async def _leave(self, connection: Connection) -> None:
        """Take no more, let what is under way end, and go."""
        connection.send(self._topic, b"", "announce", retain=True)
        await connection.passed(self._topic)
        work = [task for serving in self._serving.values() for task in serving.peer._work.values()]
        if work:
            await asyncio.wait(work, timeout=LEAVE_S)
        await connection.flush(1.0)
        for serving in self._serving.values():
            await serving.peer.close()
        self._serving.clear()
        await connection.close()


class _Serving:
    """What a worker does for one host."""

    def __init__(self, worker: Worker) -> None:
        self.peer: WorkerPeer
        self._worker = worker
        self._stages: dict[str, Mailbox] = {}

    def handle(self, target: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What the host asks: an awaitable or an async iterator. Nothing but what was announced can be reached."""
        kind, _, name = target.partition(":")
        worker = self._worker
        if kind == "offer" and name in worker._proxies:
            offer, proxy = worker._proxies[name]
            if method == "open":
                return self._open(name)
            how = methods(offer.capability).get(method)
            if how == "stream":
                return self._in_turn_stream(lambda: getattr(proxy, method)(*args, **kwargs))
            if how == "call":
                return self._in_turn(lambda: getattr(proxy, method)(*args, **kwargs))
            if method == "close":
                return _done()  # others may use it; it is closed when the worker ends
        if kind == "tool" and name in worker._tools and len(args) == 2:
            tool = worker._tools[name]
            return self._in_turn(lambda: tool(validate_arguments(tool, args[0]), unpack_context(args[1])))
        if kind == "stage" and len(args) == 3:
            return self._run_stage(name, *args)
        raise BadInput(f"{target} ({method}) is not among what the worker {worker.id} offers.")

    def note(self, target: str, value: Any) -> None:
        """An event for a stage that runs here."""
        if (inbox := self._stages.get(target)) is not None:
            inbox.put(value)

    async def _open(self, name: str) -> dict[str, Any]:
        offer, proxy = self._worker._proxies[name]
        await proxy.open()
        provider = next(provider for one, provider in self._worker._providers() if one.id == name)
        return attributes(offer.capability, provider.instance())

    async def _in_turn(self, make: Callable[[], Any]) -> Any:
        async with self._worker._slots:
            return await make()

    async def _in_turn_stream(self, make: Callable[[], AsyncIterator[Any]]) -> AsyncIterator[Any]:
        async with self._worker._slots:
            source = make()
            try:
                async for item in source:
                    yield item
            finally:
                if (closing := getattr(source, "aclose", None)) is not None:
                    await closing()

    async def _run_stage(self, name: str, run: str, session_id: str, settings: dict[str, Any]) -> None:
        """Run a stage on a session of its own, whose bus is fed by the host and whose events go to the host."""
        offer = next((stage for stage in self._worker._loaded.stages if stage.name == name), None)
        if offer is None:
            raise BadInput(f"There is no stage {name!r} here.")
        session = Session(self._worker.host, id=session_id, settings=settings)
        await serve_stage(offer, session, self.peer, run, self._stages)


async def _done() -> None:
    return


def _servable(host: Host, plugin: str) -> Loaded:
    """What of a plugin can be served: not what answers at once, not the numbering of turns, no panels.

    Raises `PluginError` when the plugin does not run, or nothing of it can be served.
    """
    record = next((one for one in host.plugins() if one.id == plugin), None)
    if record is None:
        known = ", ".join(one.id for one in host.plugins())
        raise BadInput(f"There is no plugin {plugin!r} here.", f"Installed: {known or 'none'}.")
    loaded = host.loaded(plugin)
    if loaded is None or not host.supervisor.runs(plugin):
        raise PluginError(f"The plugin {plugin!r} does not run here: {record.reason}", f"omni plugin info {plugin}")
    offers = []
    for provider in host.offers():
        if provider.plugin == plugin and "sync" not in methods(provider.offer.capability).values():
            try:
                provider.instance()
            except OmniError as error:
                log.warning("%s is not served: %s", provider.name, error)
                continue
            offers.append(provider.offer)
    stages = [stage for stage in loaded.stages if stage.role != "turns"]
    if not (offers or loaded.tools or stages):
        raise CapabilityUnavailable(f"Nothing of the plugin {plugin!r} can be done from afar.")
    return replace(loaded, offers=offers, stages=stages, panels=[])
