"""The sessions that pages have opened: found again after a dropped line, closed when nobody comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from omni.errors import BadInput, Busy, DeadlineExceeded, OmniError, PluginError
from omni.server.limits import SessionLimits
from omni.server.link import Link

logger = logging.getLogger(__name__)

#: Seconds a session waits for its page.
GRACE_S = 60.0
#: Seconds a panel's handler may take.
CALL_S = 120.0


class Hub:
    """Opens, finds and closes links. `runtime` opens the sessions (`open_session`, `close_session`, `host`)."""

    def __init__(
        self, runtime: Any, *, grace_s: float = GRACE_S, limits: Callable[[], SessionLimits] = SessionLimits
    ) -> None:
        self.runtime = runtime
        self.links: dict[str, Link] = {}
        self._grace_s = grace_s
        self._limits = limits
        self._opening = asyncio.Lock()
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self, settings: dict[str, Any] | None = None) -> Link:
        """A new session. Where there are too many, the one that waits longest for its page makes room."""
        async with self._opening:
            self._sweeper = self._sweeper or asyncio.create_task(
                self._sweep(), name="close sessions nobody comes back to"
            )
            while True:
                try:
                    conversation = await self.runtime.open_session(settings)
                    break
                except Busy:
                    waiting = [link for link in self.links.values() if not link.connected]
                    if not waiting:
                        raise
                    await self.close(min(waiting, key=lambda link: link.session.clock.wall(link.left_at or 0.0)).id)
            link = Link(conversation, self.call_panel, self._limits())
            self.links[link.id] = link
            return link

    def get(self, id: str) -> Link | None:
        """The link of a session that is still there."""
        link = self.links.get(id)
        return None if link is None or link.closed.is_set() else link

    async def close(self, id: str) -> None:
        """End a session. Idempotent."""
        if link := self.links.pop(id, None):
            await self.runtime.close_session(id)
            await link.close()

    def broadcast(self, frame: str) -> None:
        """Send a text frame to every page that is there."""
        for link in self.links.values():
            if link.connected:
                link.outbox.put(frame)

    async def close_all(self) -> None:
        """End every session. Idempotent."""
        if self._sweeper:
            self._sweeper.cancel()
            self._sweeper = None
        for id in list(self.links):
            await self.close(id)

    async def _sweep(self) -> None:
        """Close what nobody came back to. A look every few seconds is exact enough for a minute of grace."""
        while True:
            await asyncio.sleep(self._grace_s / 12)
            for link in list(self.links.values()):
                away = link.left_at is not None and link.session.clock.now() - link.left_at
                if link.closed.is_set() or (away is not False and away > self._grace_s):
                    try:
                        await self.close(link.id)
                    except Exception:
                        logger.exception("closing session %s failed", link.id)

    async def call_panel(self, plugin: str, method: str, params: dict[str, Any]) -> Any:
        """What the handler `method` of the plugin's panel answers. Raises `OmniError`."""
        handlers = [panel.handlers for owner, panel in self.runtime.host.panels() if owner == plugin]
        handler = next((found[method] for found in handlers if method in found), None)
        if handler is None:
            known = sorted({name for found in handlers for name in found})
            raise BadInput(
                f"The plugin {plugin} has no panel call {method!r}.",
                f"It has: {', '.join(known)}." if known else "Look at the plugins page whether it is running.",
            )
        try:
            async with asyncio.timeout(CALL_S):
                return await handler(params)
        except OmniError:
            raise
        except TimeoutError:
            raise DeadlineExceeded(f"{plugin} did not answer {method} within {CALL_S:.0f} s.", "Try again.") from None
        except Exception as error:
            logger.exception("%s.%s failed", plugin, method)
            raise PluginError(f"{plugin} failed at {method}: {type(error).__name__}: {error}.", "Try again.") from error
