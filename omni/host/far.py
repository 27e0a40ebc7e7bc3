"""Plugins on other machines: workers on a broker become plugins of this host, named `ID@mqtt`.

Several workers of one plugin are one plugin here; requests are spread over them. The broker itself has a record
(`mqtt`), so that its being down is told like anything else that fails. Everything goes on without it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from omni.capabilities import BY_NAME
from omni.errors import OmniError, PluginError
from omni.host.far_stages import StageKeeper
from omni.host.hookspecs import Check
from omni.host.loader import Loaded
from omni.host.manifest import Manifest, api_refusal
from omni.host.records import PluginRecord
from omni.host.remote import as_loaded
from omni.tools import Effect
from omni.wire import codec
from omni.wire.broker import BrokerOrder, EmbeddedBroker
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
from omni.wire.mqtt_peer import HostPeer

if TYPE_CHECKING:
    from omni.host.host import Host

log = logging.getLogger("omni.host")

#: The broker's own record.
BROKER = "mqtt"
FIRST_PAUSE_S, LONGEST_PAUSE_S, HOPELESS_PAUSE_S = 0.5, 30.0, 60.0
#: How much a plugin elsewhere goes before one here, when `remote.prefer` says so: then the one here is its fallback.
PREFERRED = 1000
#: What answers without changing anything: a request that a dead worker had is given to another one.
ANSWERS_ONLY = frozenset(BY_NAME) - {"Memory"}


class FarPlugin(StageKeeper):
    """One plugin's workers: the `Reach` of its capabilities, tools and stages."""

    def __init__(self, manifest: Manifest, said: Mapping[str, Any], broker: Address) -> None:
        super().__init__(manifest)
        self.said = said
        self.generation = 0
        self.restarts = 0
        self.machines: dict[str, str] = {}  #: where each worker runs
        self.joined = asyncio.Event()
        self._broker = broker
        self._peer: HostPeer | None = None
        offers = {f"offer:{one['id']}": one for one in said["offers"]}
        tools = {f"tool:{one['name']}": one for one in said["tools"]}
        self._about: dict[str, dict[str, Any]] = offers | tools

    def connected(self, connection: Connection, me: str) -> None:
        """The broker is there (again)."""
        self.generation += 1
        self.machines.clear()
        self._peer = HostPeer(
            connection, me, self.manifest.id, self._heard, self.may_repeat,
            lambda target: float(self._about.get(target, {}).get("deadline_s", 60.0)),
        )  # fmt: skip

    @property
    def live(self) -> HostPeer:
        """The way to the workers. Only after `connected`."""
        assert self._peer is not None
        return self._peer

    def may_repeat(self, target: str, method: str) -> bool:
        """Whether doing it twice is as once: an offer may say so (`idempotent`), a tool says it by its effect."""
        about = self._about.get(target, {})
        if "capability" in about:
            usual = about["capability"] in ANSWERS_ONLY or method == "open"
            return bool(about["features"].get("idempotent", usual))
        return about.get("effect") in (Effect.PURE.value, Effect.IDEMPOTENT.value)

    @property
    def away(self) -> bool:
        """Whether no worker is there at present."""
        return self._peer is None or self._peer.closed or not self._peer.workers

    async def peer(self) -> HostPeer:
        """The way to the workers. Raises `PluginError` when there is none, so that a fallback is used at once."""
        if self._peer is None or self.away:
            raise PluginError(
                f"No worker of {self.manifest.id!r} is on the broker {self._broker}.", "Start one: omni serve-plugin."
            )
        return self._peer

    async def peer_for_stage(self) -> HostPeer:
        """As `peer`, once there is a worker: a stage without one is no failure."""
        while self._peer is None or self.away:
            self.joined.clear()
            await self.joined.wait()
        return self._peer

    async def doctor(self) -> list[Check]:
        """Where its workers are."""
        where = ", ".join(f"{worker} on {machine}" for worker, machine in self.machines.items())
        return [Check(self.manifest.title, bool(where), where or "no worker of it is there", "omni serve-plugin")]

    async def stop(self) -> None:
        """Let go of the workers. Idempotent."""
        if self._peer is not None:
            await self._peer.close()


class FarPlugins:
    """All workers on one broker. `await start()` waits a moment for those that are there already."""

    def __init__(
        self, host: Host, address: Address | BrokerOrder, *, allow: Collection[str] = (), prefer: bool = True,
    ) -> None:  # fmt: skip
        self._host = host
        self._order = address if isinstance(address, BrokerOrder) else None
        self.address = address if isinstance(address, Address) else Address(address.host, address.port)
        self.me = f"host-{secrets.token_hex(4)}"
        self.plugins: dict[str, FarPlugin] = {}
        self._allow = frozenset(allow)
        self._prefer = prefer
        self._embedded: EmbeddedBroker | None = None
        self._life: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()

    @classmethod
    def from_config(cls, host: Host, get: Callable[[str, Any], Any]) -> FarPlugins | None:
        """As `[remote]` says; None when no broker is named. Raises `ConfigError` for an address that is none."""
        url = get("remote.broker", "")
        if not url:
            return None
        user, password = get("remote.username", ""), get("remote.password", "")
        address: Address | BrokerOrder
        if url == "embedded":
            address = BrokerOrder(
                get("remote.listen", "127.0.0.1"), get("remote.port", 1883), user, password,
                get("remote.certfile", ""), get("remote.keyfile", ""),
            )  # fmt: skip
            address.check()
        else:
            address = Address.parse(url, get("remote.ca", ""), user, password)
        return cls(host, address, allow=get("remote.allow", ()), prefer=get("remote.prefer", True))

    async def start(self, wait_s: float = 2.0) -> None:
        """Enter the broker; returns when its workers are known, or after `wait_s`. A failing broker is only noted."""
        self._host.supervisor.records[BROKER] = PluginRecord(
            BROKER, f"The broker {self.address}", state="found", source="broker", isolation="mqtt"
        )
        self._life = asyncio.ensure_future(self._live())
        try:
            async with asyncio.timeout(wait_s):
                await self._settled.wait()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Leave. Idempotent."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait((self._life,))
            self._life = None
        if self._embedded is not None:
            await self._embedded.stop()
            self._embedded = None

    # -- the broker ---------------------------------------------------------------------------

    async def _live(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._once()
            except OmniError as error:
                hopeless = isinstance(error, BrokerError) and error.final
                pause = HOPELESS_PAUSE_S if hopeless else pause
                self._state(BROKER, "degraded", str(error))
                self._settled.set()
            except Exception as error:  # a message that nobody thought of must not end the way to all others
                log.exception("the connection to %s failed", self.address)
                self._state(BROKER, "degraded", f"{type(error).__name__}: {error}")
            else:
                pause = FIRST_PAUSE_S
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _once(self) -> None:
        """One life of the connection. Returns when the broker went away."""
        if self._order is not None and (self._embedded is None or self._embedded.ended):
            self._embedded = await EmbeddedBroker.start(self._order)
            self.address = Address(
                "127.0.0.1", self._embedded.local_port, False, self._order.username, self._order.password
            )
        connection = await connect(self.address, self.me, will=(f"{ROOT}/gone/{self.me}", False))
        own = f"{ROOT}/to/{self.me}/self"
        try:
            for plugin in self.plugins.values():
                plugin.connected(connection, self.me)
            await connection.subscribe(f"{ROOT}/worker/+/+", f"{ROOT}/to/{self.me}/+")
            connection.send(own, b"here", "note")  # comes back behind what is retained
            async with asyncio.timeout(ECHO_S) as patience:
                async for frame in connection.frames():
                    if frame.topic == own:
                        patience.reschedule(None)
                        self._state(BROKER, "ready", "")
                        self._settled.set()
                        continue
                    try:
                        await self._arrived(connection, frame)
                    except RUBBISH as error:
                        log.warning("a message on %s was dropped: %s", frame.topic, error)
        except TimeoutError:
            raise unheard(self.address) from None
        except BrokerError as error:
            if error.final:
                raise
            self._state(BROKER, "degraded", str(error))
        finally:
            for plugin in self.plugins.values():
                await plugin.live.close(f": the broker {self.address} went away")
                self._judge(plugin)
            connection.send(f"{ROOT}/gone/{self.me}", b"", "announce")
            connection.send(own, b"", "note")
            await connection.passed(own)
            await connection.close()

    async def _arrived(self, connection: Connection, frame: Frame) -> None:
        kind, *rest = frame.topic.removeprefix(f"{ROOT}/").split("/")
        if kind == "worker" and len(rest) == 2:
            if frame.body:
                await self._announced(connection, rest[0], rest[1], frame.body)
            else:
                self._lost(rest[0], rest[1])
        elif kind == "to":
            for plugin in self.plugins.values():
                if rest[-1] in plugin.machines:
                    plugin.live.arrived(rest[-1], frame.body)

    # -- workers ------------------------------------------------------------------------------

    async def _announced(self, connection: Connection, plugin: str, worker: str, body: bytes) -> None:
        if self._allow and plugin not in self._allow:
            return
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", plugin) or not re.fullmatch(r"[\w-]{1,64}", worker):
            raise PluginError("A worker has an impossible name.")
        told = codec.decode(body)
        if refusal := _refusal(told, plugin):
            self._refuse(plugin, worker, refusal)
            return
        manifest = Manifest.model_validate(told["manifest"])
        known = self.plugins.get(plugin)
        if known is not None and known.manifest.version != manifest.version:
            log.warning(
                "the worker %s has %s %s and the others have %s: it is left out",
                worker, plugin, manifest.version, known.manifest.version,
            )  # fmt: skip
            return
        if known is None:
            known = self.plugins[plugin] = FarPlugin(manifest, told["said"], self.address)
            known.connected(connection, self.me)
            self._admit(known)
        known.machines[worker] = str(told.get("machine", ""))
        known.live.joined(worker)
        known.joined.set()
        self._judge(known)
        await self._host.supervisor.stages_changed()

    def _admit(self, plugin: FarPlugin) -> None:
        id = f"{plugin.manifest.id}@mqtt"
        loaded = as_loaded(plugin.manifest, plugin.said, plugin, plugin._stage_factory)
        for index, offer in enumerate(loaded.offers):
            priority = offer.priority + (PREFERRED if self._prefer else -PREFERRED)
            loaded.offers[index] = _with_priority(offer, priority)
        record = PluginRecord(
            id, plugin.manifest.title, plugin.manifest.version, manifest=plugin.manifest, source="broker",
            isolation="mqtt",
        )  # fmt: skip
        self._host.admit(record, Loaded(plugin.manifest, loaded.offers, loaded.tools, loaded.stages), plugin)

    def _lost(self, plugin: str, worker: str) -> None:
        known = self.plugins.get(plugin)
        if known is not None and known.machines.pop(worker, None) is not None:
            known.restarts += 1
            known.live.lost(worker)
            self._judge(known)

    def _judge(self, plugin: FarPlugin) -> None:
        """A plugin's state follows from its workers."""
        id = f"{plugin.manifest.id}@mqtt"
        if plugin.away:
            self._state(id, "degraded", f"no worker of it is on the broker {self.address}.")
        elif self._host.supervisor.records[id].reason.startswith("no worker"):
            self._state(id, "ready", "")

    def _refuse(self, plugin: str, worker: str, reason: str) -> None:
        log.warning("the worker %s of %s is refused: %s", worker, plugin, reason)
        if plugin not in self.plugins:
            id = f"{plugin}@mqtt"
            record = PluginRecord(id, plugin, source="broker", isolation="mqtt")
            self._host.supervisor.records.setdefault(id, record)
            self._state(id, "refused", f"The worker {worker}: {reason}")

    def _state(self, id: str, state: Any, reason: str) -> None:
        self._host.supervisor.set_state(id, state, reason)


def _with_priority(offer: Any, priority: int) -> Any:
    from dataclasses import replace

    return replace(offer, priority=priority)


def _refusal(told: Any, plugin: str) -> str:
    """Why a worker can't be used, as a sentence; "" when it can."""
    if not isinstance(told, dict) or not isinstance(told.get("manifest"), dict):
        return "What it announces can't be read."
    if told.get("wire") != WIRE_VERSION:
        return f"It speaks version {told.get('wire')} of the wire, this Omni {WIRE_VERSION}. Update the older one."
    try:
        manifest = Manifest.model_validate(told["manifest"])
    except ValidationError as error:
        first = error.errors()[0]
        return f"Its manifest is wrong at {'.'.join(map(str, first['loc']))}: {first['msg']}."
    if manifest.id != plugin:
        return f"It announces {manifest.id!r} in the place of {plugin!r}."
    return api_refusal(manifest)
