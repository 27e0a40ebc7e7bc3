"""The plugin host: finds plugins, loads those that are allowed, and gives what they offer to whoever asks.

host = Host(config, store, data_dir)
await host.start()
transcriber = host.get(Transcriber)          # a proxy: cheap, opens on first use
await transcriber.transcribe(audio)
await host.stop()
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from omni.capabilities import describe
from omni.errors import CapabilityUnavailable, ConfigError, DeadlineExceeded, OmniError, PluginError, Refused
from omni.host.admission import beyond_budget, left_out, not_ready
from omni.host.contained import contained_panel, contained_tool
from omni.host.deadlines import bounded
from omni.host.discovery import Found, discover, find_one
from omni.host.hookspecs import Check, Offer, Panel, PluginContext, StageOffer
from omni.host.isolated import IsolatedPlugin, ProcessPolicy
from omni.host.loader import Loaded, in_thread, load, roll_back
from omni.host.loopguard import LoopGuard, Stall
from omni.host.manifest import Manifest
from omni.host.providers import Provider, stray
from omni.host.proxies import proxy_class
from omni.host.records import PluginRecord, State
from omni.host.registry import Registry
from omni.host.supervisor import RestartPolicy, Supervisor
from omni.session import Session
from omni.tools import Tool

log = logging.getLogger("omni.host")

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the host waits for a plugin, in seconds."""

    load_s: float = 30.0  #: import and registration
    open_s: float = 900.0  #: opening a capability; the first time it may fetch a model
    close_s: float = 5.0
    doctor_s: float = 2.0
    panel_s: float = 30.0  #: one call of a panel's handler
    stall_s: float = 0.25  #: a stall of the loop this long in a plugin's code counts against it
    stalls: int = 10  #: so many within a minute, or three that had to be interrupted, and it is quarantined
    interrupt_s: float = 3.0  #: plugin code that holds the loop this long is ended


class Elsewhere(Protocol):
    """The other end of a plugin that does not run in this process."""

    restarts: int

    async def stop(self) -> None:
        """Let go of it. Idempotent."""

    async def doctor(self) -> list[Check]:
        """How it stands."""


class Host:
    """All plugins of this process. Lives on one event loop.

    `only` (when not None) and `deny` are ids, applied before anything is imported, as is what the person
    disabled. `sources` are folders with plugins to run from source; `isolate` are ids that run in a process
    of their own whatever their manifest says.
    """

    def __init__(
        self,
        config: Any = None,
        store: Any = None,
        data_dir: Path | str = ".omni",
        only: Collection[str] | None = None,
        deny: Collection[str] = (),
        *,
        sources: Iterable[Path | str] = (),
        limits: Limits | None = None,
        restarts: RestartPolicy | None = None,
        processes: ProcessPolicy | None = None,
        isolate: Collection[str] = (),
        found: Iterable[Found] | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.data_dir = Path(data_dir)
        self.only = None if only is None else frozenset(only)
        self.deny = frozenset(deny)
        self.sources = tuple(Path(source) for source in sources)
        self.limits = limits or Limits()
        self.supervisor = Supervisor(restarts)
        self.registry = Registry.read(self.data_dir)
        self.processes = processes or ProcessPolicy(load_s=self.limits.load_s)
        self.isolate = frozenset(isolate)
        self._isolated: dict[str, IsolatedPlugin | Elsewhere] = {}
        self._elsewhere: list[Any] = []
        self._found = None if found is None else list(found)
        self._loaded: dict[str, Loaded] = {}
        self._providers: dict[type, list[Provider]] = {}
        self._matching: dict[Any, tuple[int, list[Provider]]] = {}
        self._generation = 0
        self._dynamic_tools: dict[str, list[Tool]] = {}
        self._tools: tuple[int, list[Tool]] = (-1, [])
        self.supervisor.on_change = self._changed
        self._folders: dict[str, Path] = {}
        self._stalls: dict[str, deque[tuple[float, bool]]] = {}
        self._guard: LoopGuard | None = None

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find all plugins and load those that are allowed, one at a time. A plugin that fails stops nobody."""
        found = self._found
        if found is None:
            found = discover(self.sources, self.registry.environments())
        if not hasattr(asyncio.get_running_loop(), "outside_work"):  # on virtual time a stall has no meaning
            limits = self.limits
            self._guard = LoopGuard(
                self._stalled, self._folders, stall_s=limits.stall_s, interrupt_s=limits.interrupt_s
            )
            self._guard.start()
        for one in found:
            self.supervisor.records[one.id] = PluginRecord.of(one)
        for one in found:
            await self.load(one)
        await self._reach_out()

    async def _reach_out(self) -> None:
        """Bring in what runs elsewhere: workers on a broker, MCP servers, where the settings name any."""
        get = getattr(self.config, "get", None)
        if get is None or self.only == frozenset():
            return
        if get("remote.broker", ""):
            from omni.host.far import BROKER, FarPlugins

            try:
                if (far := FarPlugins.from_config(self, get)) is not None:
                    self._elsewhere.append(far)
                    await far.start()
            except OmniError as error:  # an address that is none: said, and Omni goes on without it
                log.warning("remote plugins can't be used: %s", error)
                self.supervisor.records[BROKER] = PluginRecord(BROKER, "Remote plugins", isolation="mqtt")
                self.supervisor.set_state(BROKER, "refused", str(error))

        if servers := get("mcp", {}):
            from omni.mcp.client import mcp_plugins

            for server in mcp_plugins(self, servers):
                if self.only is None or server.id in self.only:
                    self._elsewhere.append(server)
                    server.start()

    def admit(self, record: PluginRecord, loaded: Loaded, elsewhere: Elsewhere) -> None:
        """Take in a plugin that runs elsewhere, under the id of its record; `elsewhere` is stopped with the host."""
        self.supervisor.records[record.id] = record
        self._isolated[record.id] = elsewhere
        self._admit(record.id, loaded)

    def loaded(self, plugin: str) -> Loaded | None:
        """What a plugin registered; None when it does not run."""
        return self._loaded.get(plugin)

    async def stop(self) -> None:
        """Close what was opened and remember what the plugins cost. Idempotent."""
        providers = [provider for offered in self._providers.values() for provider in offered]
        if providers:
            await asyncio.gather(*(provider.close(self.limits.close_s) for provider in providers))
        if self._isolated:
            await asyncio.gather(*(plugin.stop() for plugin in self._isolated.values()))
        for one in self._elsewhere:
            await one.stop()
        if self._guard is not None:
            self._guard.stop()
            self._guard = None
        if self.supervisor.records:
            self._remember()

    async def load(self, found: Found) -> PluginRecord:
        """Load one plugin, or note why not. Never raises for the plugin's sake."""
        record = self.supervisor.records.setdefault(found.id, PluginRecord.of(found))
        if refusal := self._refusal(found):
            self.supervisor.set_state(found.id, "refused", refusal)
            return record
        try:
            loaded = await self._load(found)
        except (Refused, ConfigError) as error:
            self.supervisor.set_state(found.id, "refused", str(error))
        except DeadlineExceeded as error:
            self.supervisor.set_state(found.id, "quarantined", str(error))
        except OmniError as error:
            log.warning("plugin %s could not be loaded", found.id, exc_info=error.__cause__)
            self.supervisor.set_state(found.id, "quarantined", str(error))
        except Exception as error:
            self.supervisor.set_state(found.id, "quarantined", str(stray(found.id, "loading", error)))
        else:
            if found.folder is not None and found.id not in self._isolated:
                self._folders[found.id] = found.folder
            self._admit(found.id, loaded)
        return record

    async def unload(self, plugin: str) -> None:
        """Take a plugin out while Omni runs: its stages stop, what it opened is closed, its modules are forgotten."""
        loaded, apart = self._loaded.pop(plugin, None), self._isolated.pop(plugin, None)
        self._dynamic_tools.pop(plugin, None)
        self._folders.pop(plugin, None)
        leaving = [one for offered in self._providers.values() for one in offered if one.plugin == plugin]
        for offered in self._providers.values():
            offered[:] = [one for one in offered if one.plugin != plugin]
        self._generation += 1
        await self.supervisor.stages_changed()
        await asyncio.gather(*(provider.close(self.limits.close_s) for provider in leaving))
        if apart is not None:
            await apart.stop()
        elif loaded is not None:
            roll_back(loaded.manifest, set(), None)

    async def reload(self, plugin: str) -> PluginRecord:
        """Load a plugin anew from what lies on the disk now; sessions go on with its new stages and capabilities.

        Raises `OmniError` when there is no plugin of that id any more.
        """
        found = find_one(plugin, discover(self.sources, self.registry.environments()))
        await self.unload(plugin)
        self.registry = Registry.read(self.data_dir)
        self.supervisor.records[plugin] = PluginRecord.of(found)
        record = await self.load(found)
        await self.supervisor.stages_changed()
        return record

    async def _load(self, found: Found) -> Loaded:
        """Load it where it belongs: here, or in a process of its own."""
        context = self._context(found)
        record = self.supervisor.records[found.id]
        if not self._runs_apart(found):
            record.isolation = "in-process"
            return await load(found, context, self.limits.load_s)
        record.isolation = "process"
        models = getattr(self.store, "models_dir", None)
        plugin = IsolatedPlugin(found, context, models, self._process_changed, self.processes)
        loaded = await plugin.start()
        record.confined_by = tuple(plugin.layers)
        self._isolated[found.id] = plugin
        return loaded

    def _runs_apart(self, found: Found) -> bool:
        remembered = self.registry.plugins.get(found.id)
        declared = found.manifest is not None and found.manifest.isolation == "process"
        return (
            declared or found.python is not None or found.id in self.isolate or bool(remembered and remembered.isolated)
        )

    def _refusal(self, found: Found) -> str:
        """Why a plugin may not be loaded; "" when it may."""
        remembered = self.registry.plugins.get(found.id)
        if found.refusal:
            return found.refusal
        if why := left_out(found, remembered, self.only, self.deny):
            self.supervisor.records[found.id].enabled = False
            return why
        budget = self.config.get("budgets.ram_mb", 0) if hasattr(self.config, "get") else 0
        taken = sum(one.manifest.resources.ram_mb for id, one in self._loaded.items() if id != found.id)
        return not_ready(found, remembered) or beyond_budget(found, budget, taken)

    def _context(self, found: Found) -> PluginContext:
        assert found.manifest is not None
        schema = found.manifest.config_schema()
        if hasattr(self.config, "plugin"):
            settings = self.config.plugin(found.id, schema)
        else:
            settings = {key: spec.get("default") for key, spec in schema.items()}
        data = self.data_dir / "plugins" / found.id
        data.mkdir(parents=True, exist_ok=True)
        return PluginContext(id=found.id, config=settings, data=data, models=self.store, host=self)

    def _admit(self, plugin: str, loaded: Loaded) -> None:
        """Take what a plugin registered into use."""
        self._loaded[plugin] = loaded
        record = self.supervisor.records[plugin]
        record.load_s, record.ram_mb = loaded.load_s, loaded.ram_mb
        self.admit_offers(plugin, loaded.offers, loaded.manifest)
        self.supervisor.set_state(plugin, "loaded" if loaded.offers else "ready")

    def admit_offers(self, plugin: str, offers: Iterable[Offer], manifest: Manifest | None = None) -> None:
        """Take offers into use; where the manifest says a Protocol once, its features are theirs too."""
        self.supervisor.records.setdefault(plugin, PluginRecord(plugin, plugin, state="loaded"))
        by_protocol: dict[str, list[dict[str, Any]]] = {}
        for entry in manifest.capabilities if manifest else ():
            by_protocol.setdefault(entry.protocol, []).append(entry.features)
        for offer in offers:
            said = by_protocol.get(offer.capability.__name__, [])
            features = said[0] if len(said) == 1 else {}
            provider = Provider(plugin, offer, features, self._provider_changed, open_s=self.limits.open_s)
            offered = self._providers.setdefault(offer.capability, [])
            offered.append(provider)
            offered.sort(key=lambda one: -one.offer.priority)
        self._generation += 1

    def _remember(self) -> None:
        """Keep cost and state for `omni plugin list`, which loads nothing."""
        for gone in [id for id, one in self.registry.plugins.items() if one.tier and id not in self.supervisor.records]:
            self.registry.forget(gone)
        for plugin, record in self.supervisor.records.items():
            if record.state == "refused" and not record.enabled:
                continue  # it was left out, which says nothing about it
            entry = self.registry.of(plugin)
            entry.state, entry.reason, entry.version = record.state, record.reason, record.version
            if record.isolation in ("mqtt", "mcp"):
                entry.tier, entry.name = record.isolation, record.name
            if plugin in self._loaded:
                entry.load_s, entry.ram_mb = round(record.load_s, 4), round(record.ram_mb, 2)
                entry.confined_by = list(record.confined_by)
        try:
            self.registry.save()
        except OSError as error:
            log.warning("the state of the plugins could not be kept in %s: %s", self.registry.path, error)

    # -- health -------------------------------------------------------------------------------

    def _changed(self, record: PluginRecord) -> None:
        self._generation += 1

    def _process_changed(self, plugin: str, state: State, reason: str) -> None:
        """A plugin's process ended, was started again, or was given up."""
        record = self.supervisor.records[plugin]
        record.restarts = self._isolated[plugin].restarts if plugin in self._isolated else record.restarts
        if state != "ready" or record.reason.startswith("its process"):
            self.supervisor.set_state(plugin, state, reason)

    def _provider_changed(self, provider: Provider) -> None:
        """A provider was opened, failed or works again: its plugin's state follows from all of its providers."""
        mine = [one for offered in self._providers.values() for one in offered if one.plugin == provider.plugin]
        ill = next((one for one in mine if one.breaker.tripped), None)
        if ill is not None:
            self.supervisor.set_state(
                provider.plugin, "degraded", f"{describe(ill.offer.capability)} fails: {ill.last_error}"
            )
        elif any(one.opened for one in mine) and not getattr(self._isolated.get(provider.plugin), "away", False):
            self.supervisor.set_state(provider.plugin, "ready")

    def _stalled(self, stall: Stall) -> None:
        """A plugin's code held up the loop: too often, and it is quarantined."""
        if not stall.plugin or not self.supervisor.runs(stall.plugin):
            return
        now = asyncio.get_running_loop().time()
        recent = self._stalls.setdefault(stall.plugin, deque(maxlen=self.limits.stalls))
        recent.append((now, stall.interrupted))
        within = [interrupted for at, interrupted in recent if now - at <= 60.0]
        log.warning("plugin %s held up the loop for %.2f s at %s", stall.plugin, stall.seconds, stall.where)
        if len(within) >= self.limits.stalls or sum(within) >= 3:
            reason = f"it blocked the event loop {len(within)} times, last for {stall.seconds:.1f} s at {stall.where}"
            self.supervisor.set_state(stall.plugin, "quarantined", reason)

    # -- what plugins offer -------------------------------------------------------------------

    def get(self, capability: type[C], **features: Any) -> C:
        """A proxy for the best plugin that offers `capability` with these features (see `host.proxies`).

        `id=` and `plugin=` name an offer or a plugin. Raises `CapabilityUnavailable` when nobody offers it.
        """
        key: Any = (capability, tuple(sorted(features.items())))

        def candidates() -> list[Provider]:
            return self._candidates(key, capability, features)

        if not candidates():
            raise self._unavailable(capability, features)
        return proxy_class(capability)(candidates)  # type: ignore[return-value]

    def _candidates(self, key: Any, capability: type, features: dict[str, Any]) -> list[Provider]:
        """The providers that fit, best first; looked up once until a plugin changes."""
        try:
            generation, providers = self._matching.get(key, (-1, []))
        except TypeError:  # a feature that can't be hashed
            return self._match(capability, features)
        if generation != self._generation:
            providers = self._match(capability, features)
            self._matching[key] = (self._generation, providers)
        return providers

    def _match(self, capability: type, features: dict[str, Any]) -> list[Provider]:
        offered = self._providers.get(capability, [])
        return [one for one in offered if self.supervisor.runs(one.plugin) and one.matches(features)]

    def _unavailable(self, capability: type, features: dict[str, Any]) -> CapabilityUnavailable:
        what = describe(capability)
        with_features = f" with {', '.join(f'{k}={v}' for k, v in features.items())}" if features else ""
        for record in sorted(self.supervisor.records.values(), key=lambda record: not record.enabled):
            if record.manifest and capability.__name__ in record.manifest.offered() and record.reason:
                return CapabilityUnavailable(
                    f"There is no {what}{with_features}: the plugin {record.id!r} is {record.state}. {record.reason}"
                )
        return CapabilityUnavailable(
            f"No plugin offers {what}{with_features}.", "Install or enable one: `omni plugin list` shows them."
        )

    def offers(self, capability: type | None = None) -> list[Provider]:
        """All providers (of a capability), best first, healthy or not: for pages and the doctor."""
        if capability is not None:
            return list(self._providers.get(capability, []))
        return [provider for offered in self._providers.values() for provider in offered]

    def tools(self) -> list[Tool]:
        """The tools of all plugins that run, each contained: its errors are `OmniError`s and it keeps its deadline."""
        if self._tools[0] != self._generation:
            tools: dict[str, Tool] = {}
            for plugin, loaded in self._loaded.items():
                if not self.supervisor.runs(plugin):
                    continue
                for tool in [*loaded.tools, *self._dynamic_tools.get(plugin, [])]:
                    if tool.name in tools:
                        log.warning("two tools are named %s: that of %s counts", tool.name, tools[tool.name].plugin)
                        continue
                    tools[tool.name] = contained_tool(tool)
            self._tools = (self._generation, list(tools.values()))
        return list(self._tools[1])

    def offer_tools(self, plugin: str, tools: Iterable[Tool]) -> None:
        """Replace the tools a plugin found while it runs. Its manifest has to say `dynamic_tools = true`."""
        loaded = self._loaded.get(plugin)
        if loaded is None or not loaded.manifest.dynamic_tools:
            raise PluginError(
                f"{plugin!r} may not offer tools while it runs.", "Put dynamic_tools = true into its manifest."
            )
        self._dynamic_tools[plugin] = [replace(tool, plugin=plugin) for tool in tools]
        self._generation += 1

    def stages(self) -> list[StageOffer]:
        """The stages a session runs, one a role."""
        from omni.host.supervisor import one_a_role

        return [offer for _, offer in one_a_role(self._stage_offers())]

    def _stage_offers(self) -> list[tuple[str, StageOffer]]:
        return [(p, o) for p, loaded in self._loaded.items() if self.supervisor.runs(p) for o in loaded.stages]

    async def run_stages(self, session: Session) -> None:
        """Run a session's stages, supervised, until it closes (or this is cancelled)."""
        await self.supervisor.run_stages(session, self._stage_offers)

    def panels(self) -> list[tuple[str, Panel]]:
        """(plugin id, panel) of all plugins that run; handlers keep a deadline and raise `OmniError`s only."""
        return [
            (plugin, contained_panel(plugin, panel, self.limits.panel_s))
            for plugin, loaded in self._loaded.items()
            if self.supervisor.runs(plugin)
            for panel in loaded.panels
        ]

    def plugins(self) -> list[PluginRecord]:
        """All plugins there are, refused ones too, by id."""
        return sorted(self.supervisor.records.values(), key=lambda record: record.id)

    async def doctor(self) -> list[tuple[str, Check]]:
        """(plugin id, check): what each plugin says about itself, and why those that don't run don't."""
        checks: list[tuple[str, Check]] = []
        for record in self.plugins():
            loaded = self._loaded.get(record.id)
            if record.state in ("refused", "quarantined"):
                checks.append(
                    (record.id, Check(record.name, not record.enabled, record.reason, f"omni plugin info {record.id}"))
                )
            elif record.id in self._isolated:
                try:
                    asked = self._isolated[record.id].doctor()
                    found = await bounded(asked, self.limits.doctor_s, f"The check of {record.id!r}")
                except OmniError as error:
                    found = [Check(record.name, False, error.message, error.remedy)]
                checks += [(record.id, check) for check in found]
            elif loaded is not None and loaded.doctor is not None:
                try:
                    found = await in_thread(
                        loaded.doctor, self.limits.doctor_s, f"The check of {record.id!r}", name=f"doctor-{record.id}"
                    )
                except OmniError as error:
                    found = [Check(record.name, False, error.message, error.remedy)]
                checks += [(record.id, check) for check in found]
        return checks
