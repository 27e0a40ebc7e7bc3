"""Workers, hosts and brokers for the tests of plugins on other machines."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from omni.host.contract.writing import write_plugin
from omni.host.host import Host
from omni.host.serving import Worker
from omni.testing import PATIENCE_S
from omni.wire.broker import BrokerOrder, EmbeddedBroker
from omni.wire.mqtt import Address

MOSQUITTO = shutil.which("mosquitto") or (Path("/usr/sbin/mosquitto").exists() and "/usr/sbin/mosquitto") or ""

BODY = """
import asyncio, os, time
from pathlib import Path
import numpy as np
from omni.capabilities import ChatDelta, ChatModel, Embedder, Memory, Reranker
from omni.errors import BadInput
from omni.events import Custom, TextDelta, VideoFrame
from omni.bus import Overflow
from omni.host.hookspecs import Offer, StageOffer, hookimpl
from omni.tools import Effect, tool

class Opened:
    async def open(self): pass
    async def close(self): pass

class Scores(Opened):
    async def rerank(self, query, passages):
        if query == "bad": raise BadInput("No such query.", "Ask another.")
        if query == "die" and not os.path.exists(passages[0]):
            Path(passages[0]).write_text(str(os.getpid()))
            await asyncio.sleep(60)
        return [float(len(p)) for p in passages] + [float(os.getpid())]

class Vectors(Opened):
    space, dimension = "far", 2
    async def embed_text(self, texts, *, query=False): return np.ones((len(texts), 2), np.float32)
    async def embed_images(self, images): return np.array([[i[0], i[-1]] for i in images], np.float32)

class Chat(Opened):
    context_tokens, native_tools = 99, False
    async def chat(self, request):
        try:
            for n in range(100_000):
                yield ChatDelta(text=f"{request.messages[0].content}{n}")
                await asyncio.sleep(0)
        finally:
            if request.slot: Path(request.slot).write_text("stopped")
    async def prefill(self, messages, *, slot): pass
    async def count_tokens(self, text): return len(text)

class Kept(Opened):
    async def stats(self): return None
    async def forget(self, ids=(), **more):
        Path(ids[0]).write_text(str(os.getpid()))
        await asyncio.sleep(60)

async def slow(effect: str, where: str) -> str:
    "Wait until killed, the first time."
    if not os.path.exists(where):
        Path(where).write_text(str(os.getpid()))
        await asyncio.sleep(60)
    return f"done by {os.getpid()}"

async def look(where: str) -> str: "Look."; return await slow("pure", where)
async def send(where: str) -> str: "Send."; return await slow("mutating", where)

class Upper:
    async def run(self, session):
        box = session.bus.subscribe(TextDelta, capacity=16, name="upper")
        async for event in box:
            session.publish(Custom, topic="upper", payload={"text": event.text.upper()})

class Watch:
    async def run(self, session):
        async for frame in session.bus.subscribe(VideoFrame, capacity=64, overflow=Overflow.WAIT, name="watch"):
            session.publish(Custom, topic="seen", payload={"number": frame.width, "size": len(frame.image)})

class Plugin:
    @hookimpl
    def omni_capabilities(self):
        made = [(Reranker, Scores), (Embedder, Vectors), (ChatModel, Chat), (Memory, Kept)]
        return [Offer(c, k.__name__.lower(), k, deadline_s=20.0) for c, k in made]
    @hookimpl
    def omni_tools(self):
        return [tool(look, effect=Effect.PURE), tool(send, effect=Effect.MUTATING)]
    @hookimpl
    def omni_stages(self): return [StageOffer("upper", Upper), StageOffer("watch", Watch)]

plugin = Plugin()
"""
OFFERED = ("Reranker", "Embedder", "ChatModel", "Memory")
MANIFEST = "".join(f'[[capabilities]]\nprotocol = "{name}"\n' for name in OFFERED)
MANIFEST += '[[tools]]\nname = "look"\neffect = "pure"\n[[tools]]\nname = "send"\neffect = "mutating"\n'
MANIFEST += '[[stages]]\nname = "watch"\nreads = ["VideoFrame"]\nwrites = ["Custom"]\n[permissions]\ncamera = true\n'
MANIFEST += '[[stages]]\nname = "upper"\nreads = ["TextDelta"]\nwrites = ["Custom"]\n'


class Settings:
    """A configuration with a `[remote]` table."""

    def __init__(self, **remote):
        self.values = {f"remote.{key}": value for key, value in remote.items()}

    def get(self, key, default=None):
        return self.values.get(key, default)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def mosquitto(folder: Path, lines: str = "allow_anonymous true\n", port: int = 0):
    """A real broker, on a free port where none is named."""
    if not MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    port = port or free_port()
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    conf = folder / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\n{lines}" + ("user root\n" if os.getuid() == 0 else ""))
    process = await asyncio.create_subprocess_exec(
        MOSQUITTO, "-c", str(conf), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield port
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def embedded(folder: Path):
    broker = await EmbeddedBroker.start(BrokerOrder(port=0))
    try:
        yield broker.port
    finally:
        await broker.stop()


BROKERS = {"amqtt": embedded, "mosquitto": mosquitto}


@asynccontextmanager
async def worker_here(source: Path, data: Path, url: str, plugin="far"):
    """A worker in this process."""
    host = Host(None, None, data, only=[plugin], sources=[source])
    await host.start()
    worker = Worker(host, plugin, Address.parse(url))
    running = asyncio.ensure_future(worker.run())
    announced = asyncio.ensure_future(worker.announced.wait())
    try:
        await asyncio.wait((running, announced), timeout=15, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()  # raises why it gave up
        assert announced.done(), "the worker was not announced"
        yield worker
    finally:
        announced.cancel()
        running.cancel()
        await asyncio.wait((running,))
        await host.stop()


@asynccontextmanager
async def workers_apart(source: Path, home: Path, url: str, count: int):
    """`omni serve-plugin` in processes of their own: their process ids."""
    command = [sys.executable, "-m", "omni.cli.main", "serve-plugin", "far", "--broker", url, "--plugin", str(source)]
    environment = {**os.environ, "OMNI_HOME": str(home)}
    started = [
        await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE) for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
            assert b"is served on" in line
        yield {process.pid: process for process in started}
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def main_host(data: Path, url: str, **more):
    host = Host(Settings(broker=url, **more), None, data, only=["nothing-here"])
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def write_far(folder: Path) -> Path:
    """The source of the plugin that the other machine has."""
    return write_plugin(folder, "far", BODY, MANIFEST)


def record(host, id="far@mqtt"):
    return next((one for one in host.plugins() if one.id == id), None)
