"""What does it cost to keep plugins apart, and does it keep the rest alive?

The same plugin is called directly (the baseline), through the host in this process, in a process of its own, and
through brokers in another process: small calls, and 30 frames of 720p a second, as bytes and as an array (2.8 MB
each, not compressed). A camera's frames (JPEG, and uncompressed) go to a stage at the same pace: how many it saw,
and how old the news of one was. The control is the process without shared memory, where frames go through the
pipe; the dumb method is a `multiprocessing` process with a pickling pipe. Then: how long the commands take with
fifty plugins installed, and how many of the broken gallery leave the host and a healthy neighbour working.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from card import ROOT, Card, arguments

from omni.bus import Overflow
from omni.capabilities import Embedder, Reranker, Transcriber
from omni.errors import OmniError
from omni.events import Custom, SessionClosed, VideoFrame
from omni.host.contract.writing import install_plugin, write_plugin
from omni.host.discovery import plugin_folders
from omni.host.host import Host, Limits
from omni.host.isolated import ProcessPolicy
from omni.session import Session

WIDTH, HEIGHT, FPS = 1280, 720, 30

BODY = """
import numpy as np
from omni.bus import Overflow
from omni.capabilities import Embedder, Reranker, Transcriber, Transcript
from omni.events import Custom, VideoFrame
from omni.host.hookspecs import Offer, StageOffer, hookimpl

class Opened:
    async def open(self): pass
    async def close(self): pass

class Scores(Opened):
    async def rerank(self, query, passages):
        return [float(len(passage)) for passage in passages]

class Frames(Opened):
    space, dimension = "frames", 2
    async def embed_text(self, texts, *, query=False):
        return np.ones((len(texts), 2), np.float32)
    async def embed_images(self, images):
        return np.array([[image[0], image[-1]] for image in images], np.float32)

class Arrays(Opened):
    async def transcribe(self, audio, *, prompt="", words=False, language=None):
        return Transcript(f"{audio[0]} {audio[-1]}")

class Watch:
    async def run(self, session):
        frames = session.bus.subscribe(VideoFrame, capacity=1, overflow=Overflow.LATEST, name="watch")
        async for frame in frames:
            session.publish(Custom, topic="seen", payload={"number": frame.width, "size": len(frame.image)})

class Plugin:
    @hookimpl
    def omni_stages(self): return [StageOffer("watch", Watch)]
    @hookimpl
    def omni_capabilities(self):
        kinds = [(Reranker, Scores), (Embedder, Frames), (Transcriber, Arrays)]
        return [Offer(capability, made.__name__.lower(), made) for capability, made in kinds]

plugin = Plugin()
"""
MANIFEST = "".join(f'[[capabilities]]\nprotocol = "{name}"\n' for name in ("Reranker", "Embedder", "Transcriber"))
MANIFEST += '[[stages]]\nname = "watch"\nreads = ["VideoFrame"]\nwrites = ["Custom"]\n[permissions]\ncamera = true\n'
#: Bytes of a picture: a good JPEG of 720p, and the same uncompressed. Their content does not matter to anybody here.
PICTURES = {"jpeg": 150_000, "raw": WIDTH * HEIGHT * 3}


def reached(host: Host) -> dict[str, Any]:
    """The three capabilities as a host gives them out, and the host."""
    return {"small": host.get(Reranker), "frame": host.get(Embedder), "array": host.get(Transcriber), "host": host}


@asynccontextmanager
async def host_tier(folder: Path, data: Path, *, apart: bool, arena: int = 64 << 20) -> AsyncIterator[dict[str, Any]]:
    """The three capabilities through a host."""
    host = Host(
        None, None, data, only=["bench"], sources=[folder], isolate=["bench"] if apart else (),
        processes=ProcessPolicy(arena_bytes=arena),
    )  # fmt: skip
    await host.start()
    try:
        yield reached(host)
    finally:
        await host.stop()


@asynccontextmanager
async def direct_tier(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """The objects themselves, called without a host."""
    scope: dict[str, Any] = {}
    exec(compile((folder / "plugin.py").read_text(), "bench", "exec"), scope)
    yield {"small": scope["Scores"](), "frame": scope["Frames"](), "array": scope["Arrays"]()}


@asynccontextmanager
async def mqtt_tier(folder: Path, data: Path, broker: str) -> AsyncIterator[dict[str, Any]]:
    """A worker in a process of its own, reached through a broker in another."""
    async with _broker(data, broker) as port:
        url = f"mqtt://127.0.0.1:{port}"
        command = [sys.executable, "-m", "omni.cli.main", "serve-plugin", "bench", "--broker", url]
        environment = {**os.environ, "OMNI_HOME": str(data / "worker")}
        worker = await asyncio.create_subprocess_exec(
            *command, "--plugin", str(folder), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        host = Host(_Remote(url), None, data / "remote", only=["none"])
        try:
            await asyncio.wait_for(worker.stdout.readline(), 60)
            await host.start()
            async with asyncio.timeout(20):
                while not host.offers(Reranker):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            yield reached(host)
        finally:
            await host.stop()
            worker.kill()
            await worker.wait()


class _Remote:
    """A configuration that names a broker."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, key: str, default: Any = None) -> Any:
        """The broker's address; nothing else is set."""
        return self._url if key == "remote.broker" else default


@asynccontextmanager
async def _broker(data: Path, kind: str) -> AsyncIterator[int]:
    """The embedded broker, or Mosquitto: its port."""
    from omni.wire.broker import BrokerOrder, EmbeddedBroker

    if kind == "embedded":
        broker = await EmbeddedBroker.start(BrokerOrder(port=0))
        try:
            yield broker.port
        finally:
            await broker.stop()
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(kind, "-p", str(port), stderr=subprocess.DEVNULL)
    try:
        await asyncio.sleep(1.0)
        yield port
    finally:
        process.terminate()
        await process.wait()


def mosquitto() -> str:
    """Where Mosquitto is; "" when it is not installed."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""


def tiers(folder: Path, data: Path) -> dict[str, Callable[[], Any]]:
    """Every way to reach the plugin: a name and what opens it. Another way is another line here."""
    return {
        "direct": lambda: direct_tier(folder),
        "in-process": lambda: host_tier(folder, data, apart=False),
        "isolated": lambda: host_tier(folder, data, apart=True),
        "isolated, pipe only": lambda: host_tier(folder, data, apart=True, arena=4096),
        "mqtt, embedded": lambda: mqtt_tier(folder, data, "embedded"),
    } | ({"mqtt, mosquitto": lambda: mqtt_tier(folder, data, mosquitto())} if mosquitto() else {})


async def small_calls(scores: Reranker, calls: int) -> list[float]:
    """Seconds of each small call."""
    times = []
    for number in range(calls + 100):
        started = time.perf_counter()
        await scores.rerank("query", ["passage"])
        if number >= 100:  # the first ones open it
            times.append(time.perf_counter() - started)
    return times


async def paced(send: Callable[[int], Any], seconds: float) -> tuple[list[float], int]:
    """Send a frame at `FPS` for some seconds. (seconds each took, frames that were not back in their slot)."""
    times, late = [], 0
    start = time.perf_counter() + 0.1
    for number in range(int(seconds * FPS)):
        due = start + number / FPS
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        await send(number)
        ended = time.perf_counter()
        times.append(ended - began)
        late += ended > due + 1 / FPS
    return times, late


async def camera(host: Host, size: int, seconds: float) -> tuple[float, float]:
    """30 frames of `size` bytes a second for the stage: (seen a second, p99 of the ms until the host heard of it)."""
    session = Session(host=host)
    heard = session.bus.subscribe(Custom, capacity=1000, overflow=Overflow.WAIT, name="bench")
    running = asyncio.ensure_future(host.run_stages(session))
    image, sent, ages = os.urandom(size), {}, []

    def show(number: int) -> None:
        sent[number] = time.perf_counter()
        session.publish(VideoFrame, source="camera", image=image, width=number, height=1)

    async def hear() -> None:
        async for event in heard:
            assert event.payload["size"] == size, "the frame arrived damaged"
            ages.append(time.perf_counter() - sent[event.payload["number"]])

    hearing = asyncio.ensure_future(hear())
    async with asyncio.timeout(20):
        while not ages:  # until the stage is up
            show(0)
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    ages.clear()
    start = time.perf_counter()
    for number in range(1, int(seconds * FPS) + 1):
        await asyncio.sleep(max(0.0, start + number / FPS - time.perf_counter()))
        show(number)
    await asyncio.sleep(0.5)
    hearing.cancel()
    session.publish(SessionClosed)
    await asyncio.wait_for(running, 20)
    return len(ages) / seconds, 1000 * float(np.percentile(ages, 99))


async def measure_tier(opened: Any, calls: int, seconds: float) -> dict[str, float]:
    """p50 and p99 in milliseconds of small calls, frames as bytes and frames as arrays."""
    size = WIDTH * HEIGHT * 3
    frames = [np.random.default_rng(i).integers(0, 255, size, np.uint8) for i in range(4)]
    pictures = [frame.tobytes() for frame in frames]
    async with opened as reach:
        small = await small_calls(reach["small"], calls)

        async def picture(number: int) -> None:
            frame = pictures[number % 4]
            answer = await reach["frame"].embed_images([frame])
            assert answer[0].tolist() == [frame[0], frame[-1]], "the frame arrived damaged"

        async def array(number: int) -> None:
            frame = frames[number % 4]
            answer = await reach["array"].transcribe(frame)
            assert answer.text == f"{frame[0]} {frame[-1]}", "the frame arrived damaged"

        await picture(0), await array(0)
        as_bytes, late_bytes = await paced(picture, seconds)
        as_array, late_array = await paced(array, seconds)
        shown = {kind: await camera(reach["host"], size, seconds) for kind, size in PICTURES.items() if "host" in reach}
    figures: dict[str, float] = {f"{kind}_fps": fps for kind, (fps, _) in shown.items()}
    figures |= {f"{kind}_age_p99": age for kind, (_, age) in shown.items()}
    figures |= {"late": late_bytes + late_array}
    for name, times in (("call", small), ("frame", as_bytes), ("array", as_array)):
        figures[f"{name}_p50"] = 1000 * statistics.median(times)
        figures[f"{name}_p99"] = 1000 * float(np.percentile(times, 99))
    return figures


def _echo(pipe: Any) -> None:
    while (got := pipe.recv()) is not None:
        pipe.send((got[0], got[-1]))


def pickling_pipe(calls: int) -> dict[str, float]:
    """The dumb method: `multiprocessing` with a pipe that pickles."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_echo, args=(theirs,), daemon=True)
    process.start()
    figures = {}
    try:
        for name, what, count in (("call", b"passage", calls), ("frame", os.urandom(WIDTH * HEIGHT * 3), 150)):
            times = []
            for number in range(count + 10):
                started = time.perf_counter()
                ours.send(what)
                ours.recv()
                if number >= 10:
                    times.append(time.perf_counter() - started)
            figures[f"{name}_p50"] = 1000 * statistics.median(times)
            figures[f"{name}_p99"] = 1000 * float(np.percentile(times, 99))
    finally:
        ours.send(None)
        process.join(5)
        process.terminate()
    return figures


def command_seconds(site: Path, home: Path, *arguments: str, times: int = 9) -> tuple[float, float]:
    """Wall time of a command with fifty plugins: its quickest run (other work only adds) and the median."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMNI_HOME": str(home)}
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        command = [sys.executable, "-m", "omni.cli.main", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        taken.append(time.perf_counter() - started)
        if done.returncode:
            raise RuntimeError(done.stderr)
    return min(taken), statistics.median(taken)


def fifty_plugins(site: Path) -> None:
    """Plugins with a manifest of the usual length."""
    for number in range(50):
        manifest = (
            '[[capabilities]]\nprotocol = "Embedder"\n[[stages]]\nname = "s"\nreads = ["TextDelta"]\n'
            f'[[tools]]\nname = "tool_{number}"\neffect = "pure"\nsummary = "A tool"\n'
            'examples = ["one", "two", "three", "four", "five"]\n'
            f'[[commands]]\nname = "cmd-{number}"\nhelp = "A command"\ntarget = "omni_many{number}.cli:app"\n'
            '[permissions]\nnetwork = []\ncamera = false\n[resources]\nram_mb = 10\n[config.voice]\ndefault = "x"\n'
        )
        install_plugin(site, f"many{number}", "raise SystemExit('imported')\n", manifest)


async def contained(folder: Path, scratch: Path) -> str:
    """ "" when the host and a healthy neighbour go on with this plugin installed, else what went wrong."""
    good = write_plugin(scratch / "good", "bench", BODY, MANIFEST)
    host = Host(
        None, None, scratch / folder.name, only=["bench", folder.name], sources=[good, folder],
        limits=Limits(load_s=2.0, close_s=0.5, stall_s=0.1, interrupt_s=0.5),
        processes=ProcessPolicy(ping_s=0.2, silence_s=2.0, look_s=0.05, backoff_s=0.05),
    )  # fmt: skip
    try:
        await asyncio.wait_for(host.start(), 30)
        for _ in range(2):
            with suppress(OmniError):
                theirs = host.get(Embedder, plugin=folder.name)
                for _ in range(800 if folder.name == "gallery_memory" else 1):  # until it holds too much
                    await asyncio.wait_for(theirs.embed_text(["x"]), 10)
            await asyncio.wait_for(host.get(Reranker, plugin="bench").rerank("q", ["p"]), 5)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await asyncio.wait_for(host.stop(), 20)
    return _wrote_outside()


def _wrote_outside() -> str:
    outside = Path("/var/tmp/omni-gallery-was-here")
    if not outside.exists():
        return ""
    outside.unlink()
    return "it wrote outside its folders"


async def measure(card: Card, quick: bool, scratch: Path) -> None:
    """Fill the card."""
    folder = write_plugin(scratch / "src", "bench", BODY, MANIFEST)
    calls, seconds = (500, 2.0) if quick else (3000, 5.0)
    results = {}
    for name, opened in tiers(folder, scratch / "data").items():
        results[name] = await measure_tier(opened(), calls, seconds)
    dumb = pickling_pipe(calls)
    columns = ["call_p50", "call_p99", "frame_p50", "frame_p99", "array_p50", "array_p99", "late"]
    rows = [[name, *(tier[column] for column in columns)] for name, tier in results.items()]
    seen = ["jpeg_fps", "jpeg_age_p99", "raw_fps", "raw_age_p99"]
    rows.append(["multiprocessing pipe", *(dumb.get(column, float("nan")) for column in columns[:4]), "-", "-", "-"])
    card.table("Milliseconds a call; 720p frames at 30 a second", ["tier", *columns], rows)
    rows = [[name, *(tier[column] for column in seen)] for name, tier in results.items() if "raw_fps" in tier]
    card.table("A camera of 720p: frames seen a second, and their age in ms", ["tier", *seen], rows)
    direct = results["direct"]
    for name in ("in-process", "isolated", "mqtt, embedded", "mqtt, mosquitto"):
        if name not in results:
            continue
        overhead = {key: results[name][key] - direct[key] for key in columns[:6]}
        card.figures.setdefault("overhead_ms", {})[name] = overhead
        key = name.replace("-", "_").replace(", ", "_")
        card.figures[f"{key}_call_p50_ms"] = overhead["call_p50"]
        card.figures[f"{key}_frame_p50_ms"] = overhead["frame_p50"]
        card.figures[f"{key}_frame_p99_ms"] = overhead["frame_p99"]
        card.figures[f"{key}_late"] = results[name]["late"]
        card.figures[f"{key}_camera"] = {column: results[name][column] for column in seen}
    card.figures["late_frames"] = results["isolated"]["late"]
    card.figures["frames_sent"] = 2 * int(seconds * FPS)
    for name in ("isolated", "mqtt, embedded"):
        card.figures[f"{name.replace(', ', '_')}_camera_fps"] = min(results[name]["jpeg_fps"], results[name]["raw_fps"])
    card.baseline = {"direct": direct, "multiprocessing pipe": dumb}
    card.control = {"isolated, pipe only": results["isolated, pipe only"]}


def main() -> int:
    """Run it and print the claim card."""
    args = arguments("plugins", __doc__ or "")
    card = Card("plugins", args)
    logging.disable(logging.ERROR)
    card.figures["load_before"] = os.getloadavg()[0]  # above the number of cores, the tails are the other work's
    with tempfile.TemporaryDirectory(prefix="omni-bench-") as folder:
        scratch = Path(folder)
        asyncio.run(measure(card, args.quick, scratch))
        site = scratch / "site"
        site.mkdir()
        fifty_plugins(site)
        for name, words in (("help", ["--help"]), ("list", ["plugin", "list"])):
            quickest, median = command_seconds(site, scratch / "home", *words)
            card.figures |= {f"{name}_s": quickest, f"{name}_median_s": median}
        card.control["help_s"], _ = command_seconds(scratch / "nothing", scratch / "home", "--help")
        card.control["python_s"] = _python_seconds()
        gallery = plugin_folders(ROOT / "tests/gallery")
        outcomes = {one.name: asyncio.run(contained(one, scratch)) for one in gallery}
    card.table("The broken gallery", ["plugin", "contained"], [[n, w or "yes"] for n, w in outcomes.items()])
    card.figures["contained"] = sum(not why for why in outcomes.values()) / len(outcomes)
    card.table(
        "Commands with 50 plugins",
        ["command", "s"],
        [[what, card.figures[f"{name}_s"]] for what, name in (("--help", "help"), ("plugin list", "list"))],
    )
    card.expect("help_s", "<=", 0.3)
    card.expect("list_s", "<=", 0.5)
    card.expect("contained", ">=", 1.0)
    card.expect("in_process_call_p50_ms", "<=", 0.1)
    card.expect("isolated_call_p50_ms", "<=", 0.5)
    card.expect("isolated_frame_p99_ms", "<=", 10.0)
    card.expect("mqtt_embedded_call_p50_ms", "<=", 5.0)
    card.expect("mqtt_embedded_frame_p50_ms", "<=", 1000 / FPS)
    card.expect("mqtt_embedded_camera_fps", ">=", 0.95 * FPS)
    return card.finish()


def _python_seconds() -> float:
    """How long an interpreter takes that does nothing: the floor of every command."""
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        taken.append(time.perf_counter() - started)
    return min(taken)


if __name__ == "__main__":
    sys.exit(main())
