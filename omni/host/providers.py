"""One offer of one plugin, alive: made and opened once, watched by a circuit breaker, closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from omni.errors import CapabilityUnavailable, DeadlineExceeded, ModelError, OmniError, PluginError
from omni.host.deadlines import bounded
from omni.host.hookspecs import Offer

#: Errors that say something about the plugin's health rather than about the request.
ILLNESS = (PluginError, DeadlineExceeded, ModelError)


class Breaker:
    """After `limit` failures in a row nothing is let through for a while that doubles each time.

    Times are the running loop's, so that it works on virtual time.
    """

    def __init__(self, limit: int = 3, backoff_s: float = 1.0, longest_s: float = 60.0) -> None:
        self.limit = limit
        self.failures = 0
        self._first_s = backoff_s
        self._backoff_s = backoff_s
        self._longest_s = longest_s
        self._until = 0.0

    def wait_s(self) -> float:
        """Seconds until something is let through again; 0 when it is now."""
        if self.failures < self.limit:
            return 0.0
        return max(0.0, self._until - asyncio.get_running_loop().time())

    @property
    def tripped(self) -> bool:
        """Whether it failed `limit` times since it last worked (it may be due for another try)."""
        return self.failures >= self.limit

    def failed(self) -> None:
        """One failure more."""
        self.failures += 1
        if self.failures >= self.limit:
            self._until = asyncio.get_running_loop().time() + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, self._longest_s)

    def worked(self) -> None:
        """It works (again)."""
        self.failures = 0
        self._backoff_s = self._first_s


class Provider:
    """`await ready()` gives the opened implementation; `failed` and `worked` keep its health.

    `changed` is called with the provider whenever its health or openness changes.
    """

    def __init__(
        self,
        plugin: str,
        offer: Offer,
        features: dict[str, Any],
        changed: Callable[[Provider], None],
        *,
        open_s: float = 900.0,
    ) -> None:
        self.plugin = plugin
        self.offer = offer
        self.features = {"id": offer.id, "plugin": plugin, **features, **offer.features}
        self.breaker = Breaker()
        self.last_error = ""
        self.opened = False
        self.closed = False
        self._changed = changed
        self._open_s = open_s
        self._instance: Any = None
        self._opening: asyncio.Task[Any] | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def name(self) -> str:
        """The offer as an error message names it."""
        return f"{self.plugin}/{self.offer.id}"

    def matches(self, features: dict[str, Any]) -> bool:
        """Whether it has every feature asked for; where it lists several values, one of them has to fit."""
        for key, wanted in features.items():
            have = self.features.get(key)
            if have != wanted and not (isinstance(have, list | tuple | set | frozenset) and wanted in have):
                return False
        return True

    def instance(self) -> Any:
        """The implementation, made but perhaps not open. Raises `PluginError` when its factory fails."""
        if self._instance is None:
            try:
                self._instance = self.offer.factory()
            except OmniError:
                raise
            except (Exception, SystemExit) as error:
                raise stray(self.plugin, f"making {self.offer.id}", error) from error
        return self._instance

    async def ready(self) -> Any:
        """The opened implementation. Many callers at once open it once; one that gives up does not stop the others."""
        if self.opened:
            return self._instance
        if self.closed:
            raise CapabilityUnavailable(f"The plugin {self.plugin!r} was stopped.", "Start Omni again.")
        if self._opening is None or self._opening.done():
            self._opening = asyncio.ensure_future(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._opening)
        return self._instance

    async def _open(self) -> None:
        instance = self.instance()
        try:
            await bounded(instance.open(), self._open_s, f"Opening {self.name}")
        except OmniError:
            raise
        except Exception as error:
            raise stray(self.plugin, f"opening {self.offer.id}", error) from error
        self.opened = True
        self._changed(self)

    def worked(self) -> None:
        """A call went well."""
        if self.breaker.failures:
            self.breaker.worked()
            self.last_error = ""
            self._changed(self)

    def failed(self, error: OmniError) -> None:
        """A call failed through the plugin's own fault."""
        self.last_error = str(error)
        self.breaker.failed()
        self._changed(self)

    async def close(self, deadline_s: float = 5.0) -> None:
        """Close the implementation if it was opened; its errors are only noted. Idempotent."""
        if self.closed:
            return
        self.closed = True
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait((self._opening,), timeout=deadline_s)
        was_open, self.opened = self.opened, False
        if was_open:
            try:
                await bounded(self._instance.close(), deadline_s, f"Closing {self.name}")
            except Exception as error:
                self.last_error = f"{type(error).__name__}: {error}"


def stray(plugin: str, doing: str, error: BaseException) -> PluginError:
    """An exception that is none of ours, as the `PluginError` the caller gets."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return PluginError(f"The plugin {plugin!r} failed in {doing}: {said}.", f"`omni plugin info {plugin}` says more.")
