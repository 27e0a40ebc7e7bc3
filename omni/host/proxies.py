"""What `host.get` returns: looks like the capability, and hides where the plugin lives and how it fails.

A proxy class is made once per Protocol from its methods. A call goes to the best healthy offer, which is
opened on first use, and falls back to the next one when it fails through its own fault. Every call has the
offer's deadline (a stream: each item), exceptions are `OmniError`s, and cancellation passes through.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from omni.capabilities import describe
from omni.errors import CapabilityUnavailable, OmniError, PluginError
from omni.host.deadlines import Pump, bounded
from omni.host.providers import ILLNESS, Provider, stray

Kind = Literal["call", "stream", "sync"]
Candidates = Callable[[], list[Provider]]

_ITERATORS = ("AsyncIterator", "AsyncGenerator", "AsyncIterable")


def methods(capability: type) -> dict[str, Kind]:
    """The methods of a Protocol (without `open` and `close`) and how each is called."""
    found: dict[str, Kind] = {}
    for name in dir(capability):
        function = inspect.getattr_static(capability, name)
        if name.startswith("_") or name in ("open", "close") or not inspect.isfunction(function):
            continue
        if inspect.iscoroutinefunction(function):
            found[name] = "call"
        else:
            streams = str(function.__annotations__.get("return", "")).split("[")[0].rsplit(".", 1)[-1] in _ITERATORS
            found[name] = "stream" if streams else "sync"
    return found


@functools.cache
def answer_type(capability: type, method: str) -> tuple[type, ...]:
    """The classes a method's answer (a stream's item) may be an instance of; empty when any will do."""
    try:
        hint = get_type_hints(getattr(capability, method)).get("return", Any)
    except NameError:
        return ()
    if getattr(get_origin(hint), "__name__", "") in _ITERATORS:
        hint = get_args(hint)[0]
    kind = get_origin(hint) or hint
    wider: dict[Any, tuple[type, ...]] = {float: (float, int), list: (list, tuple)}
    if kind in wider:
        return wider[kind]
    checkable = isinstance(kind, type) and kind not in (Any, type(None))  # Any is a class since 3.11
    return (kind,) if checkable else ()


def check_answer(provider: Provider, method: str, answer: Any) -> None:
    """Raise `PluginError` when a plugin answers with something else than its Protocol says."""
    allowed = answer_type(provider.offer.capability, method)
    if allowed and not isinstance(answer, allowed):
        raise PluginError(
            f"The plugin {provider.plugin!r} answered {method} with {type(answer).__name__} "
            f"where {allowed[0].__name__} is due.",
            "`omni plugin check` shows its author what it breaks.",
        )


class Proxy:
    """The base of all proxies. `_candidates()` gives the matching offers, best first."""

    _capability: type
    _kinds: dict[str, Kind]

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates

    def __repr__(self) -> str:
        return f"<{self._capability.__name__} by {', '.join(p.name for p in self._candidates()) or 'nobody'}>"

    async def open(self) -> None:
        """Open the best offer now rather than at the first call (a warm-up)."""
        await self._first_healthy("open", None)

    async def close(self) -> None:
        """Nothing: the host closes what it opened, when it stops."""

    def __getattr__(self, name: str) -> Any:
        """A value the implementation carries (`rate`, `dimension`): that of the offer a call would go to now."""
        if name.startswith("_"):
            raise AttributeError(name)
        provider = usable(self._capability, self._candidates())[0]
        value = getattr(provider.instance(), name)
        if callable(value):
            raise AttributeError(f"{name} is not part of {self._capability.__name__}")
        return value

    async def _first_healthy(self, method: str, action: Callable[[Any], Any] | None) -> Any:
        """`action` on the first implementation that manages; the last error when none does."""
        last: OmniError | None = None
        for provider in usable(self._capability, self._candidates()):
            try:
                instance = await provider.ready()
                answer = None
                if action is not None:
                    answer = await bounded(action(instance), provider.offer.deadline_s, f"{provider.name} ({method})")
                    check_answer(provider, method, answer)
            except Exception as error:
                last = judge(provider, method, error)
            else:
                provider.worked()
                return answer
        raise last or CapabilityUnavailable(f"Nothing offers {describe(self._capability)}.")

    async def _call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await self._first_healthy(method, lambda instance: getattr(instance, method)(*args, **kwargs))

    async def _stream(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        last: OmniError | None = None
        for provider in usable(self._capability, self._candidates()):
            pump, given = None, 0
            try:
                instance = await provider.ready()
                source = getattr(instance, method)(*args, **kwargs)
                if not hasattr(source, "__aiter__"):
                    raise PluginError(f"The plugin {provider.plugin!r} answered {method} with no async iterator.")
                pump = Pump(source, provider.offer.deadline_s, f"{provider.name} ({method})")
                while True:
                    try:
                        item = await pump.next()
                    except StopAsyncIteration:
                        break
                    check_answer(provider, method, item)
                    given += 1
                    yield item
            except Exception as error:
                last = judge(provider, method, error)
                if given:  # half an answer can't be taken over by another
                    raise last from error
            else:
                provider.worked()
                return
            finally:
                if pump is not None:
                    await pump.close()
        raise last or CapabilityUnavailable(f"Nothing offers {describe(self._capability)}.")

    def _sync(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for provider in usable(self._capability, self._candidates()):
            if provider.opened:
                try:
                    return getattr(provider.instance(), method)(*args, **kwargs)
                except Exception as error:
                    raise judge(provider, method, error, fatal=True) from error
        raise CapabilityUnavailable(
            f"{describe(self._capability).capitalize()} is not open yet.", "Await its open() first."
        )


def judge(provider: Provider, method: str, error: Exception, *, fatal: bool = False) -> OmniError:
    """What a failed call means: note the plugin's illness and return the error, or raise what is the caller's own."""
    ours = error if isinstance(error, OmniError) else stray(provider.plugin, method, error)
    if isinstance(ours, ILLNESS):
        provider.failed(ours)
    elif not isinstance(ours, CapabilityUnavailable) and not fatal:
        raise ours  # BadInput, Refused, Busy: another plugin would say the same
    if ours is not error:
        ours.__cause__ = error
    return ours


def usable(capability: type, candidates: list[Provider]) -> list[Provider]:
    """Those whose breaker lets a call through. Raises `CapabilityUnavailable` with the reason when none does."""
    healthy = [provider for provider in candidates if not provider.breaker.wait_s() and not provider.closed]
    if healthy:
        return healthy
    if not candidates:
        raise CapabilityUnavailable(
            f"No plugin that runs offers {describe(capability)}.", "`omni plugin list` says why."
        )
    soonest = min(candidates, key=lambda provider: provider.breaker.wait_s())
    raise CapabilityUnavailable(
        f"{describe(capability).capitalize()} ({soonest.name}) failed {soonest.breaker.failures} times, "
        f"last: {soonest.last_error}",
        f"It is tried again in {soonest.breaker.wait_s():.0f} s.",
    )


def _method(name: str, kind: Kind, documentation: str | None) -> Callable[..., Any]:
    if kind == "call":

        async def method(self: Proxy, *args: Any, **kwargs: Any) -> Any:
            return await self._call(name, args, kwargs)
    elif kind == "stream":

        def method(self: Proxy, *args: Any, **kwargs: Any) -> Any:
            return self._stream(name, args, kwargs)
    else:

        def method(self: Proxy, *args: Any, **kwargs: Any) -> Any:
            return self._sync(name, args, kwargs)

    method.__name__ = name
    method.__doc__ = documentation
    return method


@functools.cache
def proxy_class(capability: type) -> type[Proxy]:
    """The proxy class of a Protocol."""
    kinds = methods(capability)
    body: dict[str, Any] = {
        name: _method(name, kind, getattr(capability, name).__doc__) for name, kind in kinds.items()
    }
    body |= {"_capability": capability, "_kinds": kinds, "__doc__": capability.__doc__}
    return type(f"{capability.__name__}Proxy", (Proxy,), body)
