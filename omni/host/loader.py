"""One plugin at a time: import, register, check what it registers, or roll back as if it had never been there.

Import and registration run in a thread of their own with a deadline, so that a plugin that hangs there costs
the host nothing but that thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import inspect
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pluggy
import psutil

from omni.errors import DeadlineExceeded, OmniError, PluginError
from omni.host.discovery import Found
from omni.host.hookspecs import Check, Hooks, Offer, Panel, PluginContext, StageOffer
from omni.host.manifest import Manifest
from omni.host.providers import stray
from omni.tools import Effect, Tool

T = TypeVar("T")

#: How grave an effect is: of what the manifest and the code say, the graver one counts.
GRAVITY = {effect: rank for rank, effect in enumerate(Effect)}


@dataclass(slots=True)
class Loaded:
    """What one plugin registered, and what loading it cost."""

    manifest: Manifest
    offers: list[Offer] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    stages: list[StageOffer] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    doctor: Callable[[], list[Check]] | None = None
    load_s: float = 0.0
    ram_mb: float = 0.0


def rss_mb() -> float:
    """The resident memory of this process in MB."""
    return psutil.Process().memory_info().rss / 1e6


async def load(found: Found, context: PluginContext, deadline_s: float) -> Loaded:
    """Import and register a plugin. Raises `PluginError` or `DeadlineExceeded`; then nothing of it is left."""
    assert found.manifest is not None
    before, started = rss_mb(), time.perf_counter()
    loaded = await in_thread(
        lambda: _import_and_register(found, context), deadline_s, f"Loading {found.id!r}", name=f"load-{found.id}"
    )
    loaded.load_s = time.perf_counter() - started
    loaded.ram_mb = max(0.0, rss_mb() - before)
    return loaded


async def in_thread(function: Callable[[], T], deadline_s: float, what: str, *, name: str) -> T:
    """Run a sync function in a thread of its own. After the deadline the thread is told to die and left behind.

    A daemon thread rather than an executor's, so that one that hangs can't keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        try:
            outcome: tuple[Any, BaseException | None] = (function(), None)
        except BaseException as error:  # SystemExit and the like must not vanish with the thread
            outcome = (None, error if isinstance(error, Exception) else PluginError(f"{what} ended with {error!r}."))
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:
            return  # the loop is gone, and with it whoever waited

    thread = threading.Thread(target=run, name=name, daemon=True)
    _count_outside_work(loop, +1)
    try:
        thread.start()
        async with asyncio.timeout(deadline_s):
            return await future
    except TimeoutError:
        interrupt_thread(thread)
        raise DeadlineExceeded(
            f"{what} did not finish within {deadline_s:g} s and was left behind.",
            "Its author has to move work out of import.",
        ) from None
    finally:
        _count_outside_work(loop, -1)


def _count_outside_work(loop: Any, by: int) -> None:
    """On a virtual clock time stands still while a thread works (see `VirtualLoop`)."""
    if hasattr(loop, "outside_work"):
        loop.outside_work += by


def interrupt_thread(thread: threading.Thread) -> None:
    """Raise `SystemExit` in a thread at its next bytecode: ends a Python loop, though not a hanging C call."""
    if thread.ident is not None and thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def _import_and_register(found: Found, context: PluginContext) -> Loaded:
    assert found.manifest is not None
    manifest = found.manifest
    before, path = set(sys.modules), None
    if found.source == "folder" and found.folder is not None:
        path = str(found.folder.parent)
        sys.path.insert(0, path)
        importlib.invalidate_caches()
    try:
        return register(manifest, _entry(manifest), context)
    except BaseException:
        roll_back(manifest, before, path)
        raise


def roll_back(manifest: Manifest, before: set[str], path: str | None) -> None:
    """Forget the modules of its package that came in, so that a mended plugin can be tried again."""
    package = manifest.entry.split(":")[0].split(".")[0]
    for name in [
        name for name in sys.modules if name not in before and (name == package or name.startswith(f"{package}."))
    ]:
        sys.modules.pop(name, None)
    if path is not None and path in sys.path:
        sys.path.remove(path)


def _entry(manifest: Manifest) -> Any:
    """The object that the manifest's `entry` names, imported now."""
    module_name, _, attribute = manifest.entry.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except OmniError:
        raise
    except (Exception, SystemExit) as error:
        raise stray(manifest.id, f"importing {manifest.entry}", error) from error
    return found() if inspect.isclass(found) else found


def register(manifest: Manifest, plugin: Any, context: PluginContext) -> Loaded:
    """Call its hooks and check what they give. A manager of its own for each plugin makes registration atomic."""
    manager = pluggy.PluginManager("omni")
    manager.add_hookspecs(Hooks)
    try:
        manager.register(plugin, name=manifest.id)
        manager.check_pending()
    except Exception as error:
        raise stray(manifest.id, "registering", error) from error
    if not manager.get_hookcallers(plugin):
        raise PluginError(f"{manifest.entry} has no hook.", "Mark its methods with @hookimpl (omni.host.hookspecs).")
    offers = _gather(manager, manifest, context, "omni_capabilities", Offer)
    tools = _gather(manager, manifest, context, "omni_tools", Tool)
    stages = _gather(manager, manifest, context, "omni_stages", StageOffer)
    panels = _gather(manager, manifest, context, "omni_panels", Panel)
    check_declared(manifest, offers, tools, stages, panels)
    return Loaded(
        manifest,
        offers,
        [merge_tool(manifest, tool) for tool in tools],
        stages,
        panels,
        lambda: _gather(manager, manifest, context, "omni_doctor", Check),
    )


def _gather(
    manager: pluggy.PluginManager, manifest: Manifest, context: PluginContext, hook: str, kind: type[T]
) -> list[T]:
    try:
        answers = getattr(manager.hook, hook)(context=context)
    except OmniError:
        raise
    except (Exception, SystemExit) as error:
        raise stray(manifest.id, hook, error) from error
    things: list[T] = []
    for answer in answers:
        if not isinstance(answer, list | tuple):
            raise PluginError(f"{hook} of {manifest.id!r} gave {type(answer).__name__}, not a list of {kind.__name__}.")
        for thing in answer:
            if not isinstance(thing, kind):
                raise PluginError(f"{hook} of {manifest.id!r} gave {type(thing).__name__}, not {kind.__name__}.")
            things.append(thing)
    return things


def check_declared(
    manifest: Manifest, offers: list[Offer], tools: list[Tool], stages: list[StageOffer], panels: list[Panel]
) -> None:
    """Raise `PluginError` when something is registered that the manifest does not announce."""
    announced = {
        "capability": (manifest.offered(), [getattr(offer.capability, "__name__", "?") for offer in offers]),
        "tool": ({tool.name for tool in manifest.tools}, [tool.name for tool in tools]),
        "stage": ({stage.name for stage in manifest.stages}, [stage.name for stage in stages]),
        "panel": ({panel.id for panel in manifest.panels}, [panel.id for panel in panels]),
    }
    for what, (known, registered) in announced.items():
        for name in registered:
            if name not in known:
                plural = "capabilities" if what == "capability" else f"{what}s"
                raise PluginError(
                    f"{manifest.id!r} registers the {what} {name!r}, which its manifest does not announce.",
                    f"Add [[{plural}]] to its plugin.toml.",
                )
    ids = [offer.id for offer in offers]
    if twice := next((one for one in ids if ids.count(one) > 1), None):
        raise PluginError(f"{manifest.id!r} offers {twice!r} twice.", "Each offer has an id of its own.")


def merge_tool(manifest: Manifest, tool: Tool) -> Tool:
    """The tool with the manifest's examples first, and the graver of the two effects."""
    entry = next((entry for entry in manifest.tools if entry.name == tool.name), None)
    examples, effect = tool.examples, tool.effect
    if entry is not None:
        examples = tuple(dict.fromkeys([*entry.examples, *tool.examples]))
        effect = max(Effect(entry.effect), tool.effect, key=GRAVITY.__getitem__)
    description = tool.description or (entry.summary if entry else "")
    return replace(tool, plugin=manifest.id, examples=examples, effect=effect, description=description)
