"""A plugin in a process of its own: started, watched, started again; behind the same interface as one in here.

The process is ended when it does not answer for `silence_s`, or holds more memory than its manifest says (with
a margin); it is started again after a pause that doubles, and given up after `limit` ends within a minute.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from omni.capabilities import BY_NAME
from omni.errors import DeadlineExceeded, OmniError, PluginError, Refused
from omni.host.discovery import Found
from omni.host.far_stages import StageKeeper
from omni.host.hookspecs import Check, PluginContext
from omni.host.loader import Loaded
from omni.host.remote import as_loaded, checks
from omni.wire.arena import SIZE
from omni.wire.peer import Peer
from omni.wire.process import Child, start_child

if TYPE_CHECKING:
    from omni.host.records import State

log = logging.getLogger("omni.host")


@dataclass(frozen=True, slots=True)
class ProcessPolicy:
    """How patient the host is with a process."""

    ping_s: float = 2.0
    silence_s: float = 15.0
    look_s: float = 0.25  #: how often its memory is looked at
    memory_mb: float = 1024.0  #: where the manifest names none
    backoff_s: float = 0.5
    longest_s: float = 30.0
    limit: int = 5
    window_s: float = 60.0
    load_s: float = 30.0
    arena_bytes: int = SIZE  #: shared memory in each direction


class IsolatedPlugin(StageKeeper):
    """One plugin's process through all its lives. It is the `Reach` of the plugin's remote capabilities."""

    def __init__(
        self,
        found: Found,
        context: PluginContext,
        models_dir: Path | None,
        changed: Callable[[str, State, str], None],
        policy: ProcessPolicy | None = None,
    ) -> None:
        assert found.manifest is not None and found.folder is not None
        super().__init__(found.manifest)
        self.found = found
        self.policy = policy or ProcessPolicy()
        self.generation = 0
        self.layers: list[str] = []  #: what confines it
        self.restarts = 0
        self.ram_mb = 0.0
        self._context = context
        self._models_dir = models_dir
        self._changed = changed
        self._child: Child | None = None
        self._peer: Peer | None = None
        self._up = asyncio.Event()
        self._given_up = ""
        self._life: asyncio.Task[None] | None = None
        self._ends: deque[float] = deque(maxlen=self.policy.limit)

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> Loaded:
        """Start the process and load the plugin in it. Raises `PluginError` or `DeadlineExceeded`."""
        started = time.perf_counter()
        said = await self._begin()
        loaded = as_loaded(self.manifest, said, self, self._stage_factory)
        loaded.load_s = time.perf_counter() - started
        loaded.ram_mb = self.ram_mb = self._memory_mb()
        self._life = asyncio.ensure_future(self._live())
        return loaded

    async def stop(self) -> None:
        """End the process. Idempotent."""
        self._given_up = self._given_up or "it was stopped"
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait((self._life,))
        await self._end()

    async def peer(self) -> Peer:
        """The connection; waits while the process is being started again."""
        while True:
            if self._given_up:
                raise PluginError(f"The plugin {self.manifest.id!r} does not run: {self._given_up}.")
            if self._peer is not None and not self._peer.closed:
                return self._peer
            self._up.clear()
            await self._up.wait()

    async def doctor(self) -> list[Check]:
        """What the plugin's own checks say."""
        return checks(await (await self.peer()).call("plugin", "doctor"))

    def _order(self) -> dict[str, Any]:
        folder = self.found.folder
        assert folder is not None
        path = [str(folder.parent)] if self.found.source == "folder" else []
        permissions = self.manifest.permissions.model_dump(mode="json")
        models = [str(self._models_dir)] if self._models_dir else []
        return {
            "id": self.manifest.id,
            "manifest": str(folder),
            "path": path,
            "readable": [str(folder), *models],
            "data": str(self._context.data),
            "permissions": permissions,
            "config": json.loads(json.dumps(self._context.config, default=list)),
        }

    async def _begin(self) -> dict[str, Any]:
        """One life's beginning: the process, the connection, the plugin loaded."""
        data = self._context.data.resolve()
        self._child = await start_child(
            self.found.python or Path(sys.executable),
            "omni.host.child",
            self._order() | {"data": str(data)},
            cwd=data,
            threads=self.manifest.resources.threads,
            log=data / "process.log",
            arena_size=self.policy.arena_bytes,
            own_environment=self.found.python is not None,
        )
        peer = Peer(
            self._child.link,
            self._asked,
            arena=self._child.arena,
            note=self._heard,
            name=f"The plugin {self.manifest.id!r}",
        )
        reading = asyncio.ensure_future(peer.run())
        try:
            async with asyncio.timeout(self.policy.load_s):
                said = await peer.call("plugin", "describe")
        except TimeoutError:
            await self._end(peer)
            raise DeadlineExceeded(
                f"Loading {self.manifest.id!r} in its process did not finish within {self.policy.load_s:g} s.",
                "Its author has to move work out of import.",
            ) from None
        except OmniError as error:
            await self._end(peer)
            if peer.closed and "is gone" in error.message:
                raise PluginError(f"Its process could not start: {self._last_words()}") from None
            raise
        self._reading = reading
        self._peer = peer
        self.layers = said["layers"]
        self.generation += 1
        self._up.set()
        return said

    async def _end(self, peer: Peer | None = None, reason: str = "") -> None:
        self._up.clear()
        peer = peer or self._peer
        self._peer = None
        if peer is not None:
            await peer.close(f": {reason}" if reason else "")
        if self._child is not None:
            await asyncio.to_thread(self._child.end)

    def _last_words(self) -> str:
        """The end of what the process printed."""
        try:
            text = (self._context.data / "process.log").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            text = ""
        fate = self._child.fate() if self._child else ""
        return f"{fate}. {text.splitlines()[-1] if text else ''}".strip()

    async def _live(self) -> None:
        """All lives after the first beginning: watch, end, pause, begin again."""
        pause = self.policy.backoff_s
        while True:
            began = asyncio.get_running_loop().time()
            reason = await self._watch()
            await self._end(reason=reason)
            now = asyncio.get_running_loop().time()
            self._ends.append(now)
            if len(self._ends) == self.policy.limit and now - self._ends[0] <= self.policy.window_s:
                self._give_up(f"its process ended {len(self._ends)} times, last because {reason}")
                return
            if now - began > self.policy.window_s:
                pause = self.policy.backoff_s
            self._changed(self.manifest.id, "degraded", f"its process is started again: {reason}")
            while True:
                await asyncio.sleep(pause)
                pause = min(pause * 2, self.policy.longest_s)
                self.restarts += 1
                try:
                    await self._begin()
                except OmniError as error:
                    self._ends.append(asyncio.get_running_loop().time())
                    if len(self._ends) == self.policy.limit:
                        self._give_up(f"its process can't be started again: {error}")
                        return
                else:
                    break
            self._changed(self.manifest.id, "ready", "")

    def _give_up(self, reason: str) -> None:
        self._given_up = reason
        self._up.set()  # whoever waits is told
        self._changed(self.manifest.id, "quarantined", reason)

    async def _watch(self) -> str:
        """Until this life has to end: why."""
        child, peer, policy = self._child, self._peer, self.policy
        assert child is not None and peer is not None
        limit = max(self.manifest.resources.ram_mb * 1.25, self.manifest.resources.ram_mb + 150)
        if not self.manifest.resources.ram_mb:
            limit = policy.memory_mb
        loop = asyncio.get_running_loop()
        next_ping, ping = loop.time() + policy.ping_s, None
        while True:
            await asyncio.wait((self._reading,), timeout=policy.look_s)
            if self._reading.done():
                await asyncio.to_thread(child.end)
                return child.fate()
            self.ram_mb = self._memory_mb()
            if self.ram_mb > limit:
                return f"it holds {self.ram_mb:.0f} MB of memory, {limit:.0f} MB are allowed"
            if loop.time() - peer.last_seen > policy.silence_s:
                return f"it has not answered for {policy.silence_s:g} s"
            if loop.time() >= next_ping and (ping is None or ping.done()):
                next_ping = loop.time() + policy.ping_s
                ping = asyncio.ensure_future(peer.ping(policy.silence_s))

    def _memory_mb(self) -> float:
        """The resident memory of the process and what it started, in MB."""
        assert self._child is not None
        try:
            process = psutil.Process(self._child.process.pid)
            family = [process, *process.children(recursive=True)] if self.manifest.permissions.subprocess else [process]
            return sum(one.memory_info().rss for one in family) / 1e6
        except psutil.Error:
            return 0.0

    # -- what the plugin asks of the host -----------------------------------------------------

    def _asked(self, target: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        kind, _, rest = target.partition(":")
        if kind == "models" and method == "path":
            return self._model(str(args[0]))
        if kind == "host":
            name, _, features = rest.partition(":")
            if name not in BY_NAME or method.startswith("_"):
                raise PluginError(f"There is no capability {name!r}.")
            wanted = self._context.host.get(BY_NAME[name], **json.loads(features))
            return getattr(wanted, method)(*args, **kwargs)
        raise Refused(f"The plugin {self.manifest.id!r} asked for {target!r}, which there is not.")

    async def _model(self, model: str) -> str:
        known = (*self.manifest.models.required, *self.manifest.models.optional)
        if model not in known:
            raise Refused(f"The plugin {self.manifest.id!r} asks for the model {model!r}.", "Name it in its manifest.")
        return str(await self._context.models.path(model))
