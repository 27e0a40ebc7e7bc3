"""The rules every plugin keeps, one function each. A rule raises `Broken` with what was done and what is due."""

from __future__ import annotations

import asyncio
import gc
import inspect
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jsonschema
import numpy as np

from omni.config import Config
from omni.errors import CapabilityUnavailable, ConfigError, OmniError
from omni.host.contract.samples import bad_samples, samples
from omni.host.contract.sentinels import BlockedSockets, Holdings, left_behind, watch_stalls, watch_touch
from omni.host.contract.subject import Subject, call
from omni.host.contract.verdicts import Broken, NotApplicable
from omni.host.hookspecs import Offer
from omni.host.loader import rss_mb
from omni.host.proxies import answer_type, methods

CANCEL_S = 0.5  #: a cancelled call has ended within this
STREAM_CLOSE_S = 0.25  #: and a closed stream within this
STALL_S = 0.05
IMPORT_S = 2.0  #: processor time
CALLS = 1000
GROWTH_MB = 20.0
MANY_CALLS_S = 4.0  #: the time the thousand calls may take; slower ones are made less often
HEAVY = (
    "torch",
    "transformers",
    "tensorflow",
    "mediapipe",
    "playwright",
    "cv2",
    "onnxruntime",
    "faster_whisper",
    "lancedb",
)

Rule = Callable[[Subject], Awaitable[None]]


async def manifest_is_complete(subject: Subject) -> None:
    """It says what it is, under which licence, for which Omni, and each tool has five examples."""
    found = subject.found()
    manifest = subject.manifest
    if found.refusal:
        raise Broken(found.refusal)
    for key in ("summary", "licence"):
        if not getattr(manifest, key):
            raise Broken(f"{manifest.id}: the manifest has no {key}.")
    for tool in manifest.tools:
        if len(tool.examples) < 5:
            raise Broken(
                f"{manifest.id}: the tool {tool.name!r} has {len(tool.examples)} examples; the planner needs five."
            )


async def import_is_light(subject: Subject) -> None:
    """Importing it loads no heavy library and costs under two seconds of processor time."""
    if subject.manifest.environment is not None:
        raise NotApplicable("it runs in an environment of its own")
    module = subject.manifest.entry.partition(":")[0]
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "import numpy, pydantic, omni.capabilities, omni.host.hookspecs\n"
        "start = time.process_time(); import importlib; importlib.import_module(sys.argv[2])\n"
        f"print(time.process_time() - start, *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    arguments = [sys.executable, "-c", code, str(subject.folder.parent), module]
    done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, timeout=180)
    if done.returncode:
        raise Broken(f"{subject.id}: it can't be imported: {done.stderr.strip().splitlines()[-1:]}")
    seconds, *heavy = done.stdout.split()
    if heavy:
        raise Broken(
            f"{subject.id}: importing it imports {', '.join(heavy)}; import them in the function that needs them."
        )
    if float(seconds) > IMPORT_S:
        raise Broken(f"{subject.id}: importing it takes {seconds} s of processor time; {IMPORT_S} s are allowed.")


async def registers_what_it_announces(subject: Subject) -> None:
    """It loads, and every capability, tool, stage and panel of its manifest is there."""
    manifest = subject.manifest
    try:
        async with subject.loaded() as loaded:
            announced = {
                "capability": (manifest.offered(), {offer.capability.__name__ for offer in loaded.offers}),
                "tool": ({tool.name for tool in manifest.tools}, {tool.name for tool in loaded.tools}),
                "stage": ({stage.name for stage in manifest.stages}, {stage.name for stage in loaded.stages}),
                "panel": ({panel.id for panel in manifest.panels}, {panel.id for panel in loaded.panels}),
            }
            for what, (said, there) in announced.items():
                if missing := said - there:
                    names = ", ".join(sorted(missing))
                    raise Broken(f"{manifest.id}: its manifest announces the {what} {names}, which is not there.")
            for tool in loaded.tools:
                jsonschema.Draft202012Validator.check_schema(tool.parameters)
                if not tool.description:
                    raise Broken(f"{manifest.id}: the tool {tool.name!r} has no description.")
    except OmniError as error:
        raise Broken(f"{manifest.id}: it does not load: {error}") from error


async def methods_take_what_they_are_given(subject: Subject) -> None:
    """Every method has the Protocol's parameters, by name, and is async, a stream or plain as the Protocol's is."""
    async with subject.loaded() as loaded:
        if not loaded.offers:
            raise NotApplicable(f"{subject.id} offers no capability")
        for offer in loaded.offers:
            try:
                instance = offer.factory()
            except OmniError as error:
                raise NotApplicable(f"{offer.id} can't be made here: {error}") from error
            for name, kind in {**methods(offer.capability), "open": "call", "close": "call"}.items():
                if why := signature_fault(getattr(offer.capability, name), getattr(instance, name, None), kind):
                    raise Broken(f"{subject.id}/{offer.id}: {name} {why}.")


def signature_fault(due: Any, method: Any, kind: str) -> str:
    """What is wrong with a method that stands for the Protocol's `due`; "" when nothing is."""
    if not callable(method):
        return "is missing"
    function = inspect.unwrap(method)
    is_call, is_stream = inspect.iscoroutinefunction(function), inspect.isasyncgenfunction(function)
    if kind == "call" and is_stream:
        return "yields; it has to be awaited and return once"
    if kind == "stream" and is_call:
        return "has to be awaited; a stream is an `async def` that yields"
    if kind == "sync" and (is_call or is_stream):
        return "is async; the Protocol's is a plain function"
    parameters = list(inspect.signature(due).parameters.values())[1:]
    positional = [object()] * sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)
    named = {one.name: object() for one in parameters if one.kind is one.KEYWORD_ONLY}
    try:
        inspect.signature(method).bind(*positional, **named)
    except TypeError as error:
        return f"can't be called as its Protocol is: {error}"
    return ""


async def config_round_trips(subject: Subject) -> None:
    """Its defaults are valid settings, every choice is accepted, and a wrong key or value is refused."""
    schema = subject.manifest.config_schema()
    if not schema:
        raise NotApplicable(f"{subject.id} has no settings")

    def check(values: dict[str, Any]) -> dict[str, Any]:
        return Config({"plugins": {subject.id: values}}, {}).plugin(subject.id, schema)

    defaults = check({})
    try:
        if check({key: value for key, value in defaults.items() if value is not None}) != defaults:
            raise Broken(f"{subject.id}: its default settings do not come back as they are.")
        for key, spec in schema.items():
            for choice in spec.get("choices", ()):
                check({key: choice})
    except ConfigError as error:
        raise Broken(f"{subject.id}: a default or a choice is no valid setting: {error}") from error
    for wrong in ({"no_such_setting": 1}, {next(iter(schema)): object()}):
        try:
            check(wrong)
        except ConfigError:
            continue
        raise Broken(f"{subject.id}: the settings {wrong} are accepted.")


async def loading_leaves_nothing_open(subject: Subject) -> None:
    """Import and registration start no thread, process or task and keep no file open."""
    before = Holdings.now()
    async with subject.loaded():
        if rest := await left_behind(before):
            raise Broken(f"{subject.id}: loading it leaves {', '.join(rest)}; start things in open().")


async def close_is_idempotent(subject: Subject) -> None:
    """Closing twice, and closing what was never opened, is no error."""
    async with subject.loaded() as loaded:
        for offer in subject.offers(loaded):
            unused, instance = offer.factory(), offer.factory()
            try:
                await unused.close()
                await instance.open()
                await instance.close()
                await instance.close()
            except CapabilityUnavailable:
                raise  # what it wants of another plugin is not here, which is no fault of closing
            except Exception as error:
                raise Broken(f"{subject.id}/{offer.id}: closing it failed: {type(error).__name__}: {error}") from error


async def use_leaves_nothing_behind(subject: Subject) -> None:
    """After open, calls and close no thread, process, task or open file is left."""
    async with subject.loaded() as loaded:
        async with subject.opened(loaded) as pairs:  # once before counting: libraries keep pools for good
            await _each(subject, pairs)
        before = Holdings.now()
        async with subject.opened(loaded) as pairs:
            await _each(subject, pairs)
        if rest := await left_behind(before):
            raise Broken(f"{subject.id}: after close() there is still {', '.join(rest)}.")


async def answers_have_the_right_type(subject: Subject) -> None:
    """Every method answers with the type its Protocol says."""
    async with subject.loaded() as loaded, subject.opened(loaded) as pairs:
        for offer, instance in pairs:
            if not isinstance(instance, offer.capability):
                raise Broken(f"{subject.id}/{offer.id}: it lacks a member of {offer.capability.__name__}.")
            for sample in samples(offer.capability):
                answer = await call(offer, instance, sample)
                stream = methods(offer.capability)[sample.method] == "stream"
                allowed = answer_type(offer.capability, sample.method)
                for item in answer if stream else [answer]:
                    if methods(offer.capability)[sample.method] != "sync" and allowed and not isinstance(item, allowed):
                        raise Broken(
                            f"{subject.id}/{offer.id}: {sample.method} answers with {type(item).__name__}, "
                            f"{allowed[0].__name__} is due."
                        )


async def answers_belong_to_their_questions(subject: Subject) -> None:
    """Overlapping calls get the answers that the same calls get one after the other (ordering)."""
    async with subject.loaded() as loaded, subject.opened(loaded) as pairs:
        tried = False
        for offer, instance in pairs:
            for sample in samples(offer.capability):
                if not sample.other:
                    continue
                tried = True
                questions = [sample.args, sample.other] * 3
                alone = [await call(offer, instance, sample, question) for question in questions[:2]] * 3
                together = await asyncio.gather(*(call(offer, instance, sample, question) for question in questions))
                for one, other in zip(alone, together, strict=True):
                    if not _same(one, other):
                        raise Broken(
                            f"{subject.id}/{offer.id}: {sample.method} answers differently when calls overlap."
                        )
        if not tried:
            raise NotApplicable("its answers can't be compared")


async def cancellation_ends_a_call(subject: Subject) -> None:
    """A cancelled call ends within half a second, a closed stream within a quarter, and the next call works."""
    async with subject.loaded() as loaded, subject.opened(loaded) as pairs:
        for offer, instance in pairs:
            for sample in samples(offer.capability):
                kind = methods(offer.capability)[sample.method]
                if kind == "sync":
                    continue
                seconds = await (_close_early if kind == "stream" else _cancel)(offer, instance, sample)
                limit = STREAM_CLOSE_S if kind == "stream" else CANCEL_S
                if seconds > limit:
                    raise Broken(
                        f"{subject.id}/{offer.id}: {sample.method} ended {seconds:.2f} s after it was cancelled."
                    )
                await call(offer, instance, sample)


async def _cancel(offer: Offer, instance: Any, sample: Any) -> float:
    task = asyncio.ensure_future(call(offer, instance, sample))
    await asyncio.sleep(0.005)
    asked = time.perf_counter()
    task.cancel()
    await asyncio.wait((task,), timeout=10 * CANCEL_S)
    return time.perf_counter() - asked


async def _close_early(offer: Offer, instance: Any, sample: Any) -> float:
    stream = getattr(instance, sample.method)(*sample.args, **dict(sample.kwargs))
    async for _ in stream:
        break
    asked = time.perf_counter()
    await stream.aclose()
    return time.perf_counter() - asked


async def errors_are_sentences(subject: Subject) -> None:
    """Bad input is answered, or refused with an `OmniError`; no other exception leaves the plugin."""
    async with subject.loaded() as loaded, subject.opened(loaded) as pairs:
        for offer, instance in pairs:
            for sample in bad_samples(offer.capability):
                try:
                    await call(offer, instance, sample)
                except OmniError:
                    continue
                except Exception as error:
                    raise Broken(
                        f"{subject.id}: {sample.method} on bad input raises {type(error).__name__} ({error}). "
                        "Raise BadInput with what is wrong and what to do."
                    ) from error


async def the_loop_keeps_turning(subject: Subject) -> None:
    """Neither opening nor a call holds the event loop for more than 50 ms."""
    async with subject.loaded() as loaded:
        with watch_stalls(STALL_S, {subject.id: subject.folder}) as stalls:
            async with subject.opened(loaded) as pairs:
                await _each(subject, pairs)
            await asyncio.sleep(0.05)
        if stalls:
            worst = max(stalls, key=lambda stall: stall.seconds)
            raise Broken(f"{subject.id}: it holds the event loop for {worst.seconds * 1000:.0f} ms at {worst.where}.")


async def works_without_the_network(subject: Subject) -> None:
    """With sockets blocked it opens and answers, and tries no connection, unless its manifest asks for the network."""
    if subject.manifest.permissions.network:
        raise NotApplicable(f"{subject.id} asks for the network")
    with watch_touch() as touched, BlockedSockets():
        try:
            async with subject.loaded() as loaded, subject.opened(loaded) as pairs:
                await _each(subject, pairs)
        except NotApplicable:
            if not touched.network:
                raise
        except Exception as error:
            raise Broken(f"{subject.id}: without a network: {type(error).__name__}: {error}") from error
    if touched.network:
        raise Broken(
            f"{subject.id}: it goes to the network ({touched.network[0]}) and its manifest does not ask for it."
        )


async def writes_in_its_own_folder(subject: Subject) -> None:
    """It writes nowhere but in its data folder (where its temporary files are too) and the folders it asked for."""
    with watch_touch() as touched, subject.temporary_files():
        try:
            async with subject.loaded() as loaded, subject.opened(loaded) as pairs:
                await _each(subject, pairs)
        except NotApplicable:
            if not touched.written:
                raise
    if outside := subject.outside(touched.written):
        raise Broken(f"{subject.id}: it writes {outside[0]}, which is in none of its folders.")
    if touched.programs and not subject.manifest.permissions.subprocess:
        raise Broken(
            f"{subject.id}: it starts a program ({touched.programs[0]}) and its manifest does not ask for that."
        )


async def memory_stays_bounded(subject: Subject) -> None:
    """A thousand calls (fewer when they are slow) grow the process by less than 20 MB."""
    async with subject.loaded() as loaded, subject.opened(loaded) as pairs:
        for offer, instance in pairs:
            good = [s for s in samples(offer.capability) if s.method != "remember"]
            if not good:
                continue
            sample = good[0]
            for _ in range(20):
                await call(offer, instance, sample)
            gc.collect()
            before, started, made = rss_mb(), time.perf_counter(), 0
            while made < CALLS and time.perf_counter() - started < MANY_CALLS_S:
                await call(offer, instance, sample)
                made += 1
                if made % 20 == 0 and rss_mb() - before > 2 * GROWTH_MB:
                    break  # it is plain enough, and the machine has other things to hold
            gc.collect()
            if (grown := rss_mb() - before) > GROWTH_MB:
                raise Broken(
                    f"{subject.id}/{offer.id}: {made} calls of {sample.method} grew the process by {grown:.0f} MB."
                )


async def _each(subject: Subject, pairs: list[tuple[Offer, Any]]) -> None:
    for offer, instance in pairs:
        for sample in samples(offer.capability):
            await call(offer, instance, sample)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.shape == other.shape and bool(np.allclose(one, other, atol=1e-3))
    if isinstance(one, float) or (isinstance(one, list) and one and isinstance(one[0], float)):
        return bool(np.allclose(one, other, atol=1e-3))
    if hasattr(one, "seconds"):  # how long it took is no part of the answer
        return type(one) is type(other)
    return bool(one == other)


#: Rules about the package; they need no model.
PACKAGE_RULES: tuple[Rule, ...] = (
    manifest_is_complete,
    import_is_light,
    registers_what_it_announces,
    methods_take_what_they_are_given,
    config_round_trips,
    loading_leaves_nothing_open,
)

#: Rules about each capability it offers.
CAPABILITY_RULES: tuple[Rule, ...] = (
    close_is_idempotent,
    answers_have_the_right_type,
    answers_belong_to_their_questions,
    cancellation_ends_a_call,
    errors_are_sentences,
    the_loop_keeps_turning,
    use_leaves_nothing_behind,
    works_without_the_network,
    writes_in_its_own_folder,
    memory_stays_bounded,
)

RULES: dict[str, Rule] = {rule.__name__: rule for rule in (*PACKAGE_RULES, *CAPABILITY_RULES)}
