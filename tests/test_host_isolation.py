"""A plugin in a process of its own: the same interface, its permissions enforced, its death survived."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import aclosing, asynccontextmanager

import numpy as np
import psutil
import pytest

from omni.bus import Overflow
from omni.capabilities import ChatModel, ChatRequest, Embedder, Message, Transcriber
from omni.errors import BadInput, CapabilityUnavailable, OmniError, PluginError
from omni.events import Custom, SessionClosed, TextDelta, VideoFrame
from omni.host.contract.writing import write_plugin
from omni.host.host import Host
from omni.host.isolated import ProcessPolicy
from omni.session import Session
from omni.testing import until
from omni.tools import ToolContext

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a socket pair that a child can inherit")

BODY = """
import asyncio, os, socket, subprocess, sys, time
from pathlib import Path
import numpy as np
from omni.capabilities import ChatDelta, ChatModel, Embedder, Transcriber, Transcript, Word
from omni.errors import BadInput
from omni.events import Custom, TextDelta, VideoFrame
from omni.host.hookspecs import Offer, StageOffer, hookimpl
from omni.tools import ToolResult, tool

HELD = []

class Vectors:
    space, dimension = "apart", 3
    def __init__(self): self.kept = []
    async def open(self): self.kept.append("open")
    async def close(self): pass
    async def embed_text(self, texts, *, query=False):
        return np.array([[len(t), float(query), os.getpid()] for t in texts], np.float64).astype(np.float32)
    async def embed_images(self, images):
        if not images: raise BadInput("No images.", "Give some.")
        return np.array([[len(i), i[0], i[-1]] for i in images], np.float32)

class Words:
    async def open(self): pass
    async def close(self): pass
    async def transcribe(self, audio, *, prompt="", words=False, language=None):
        if prompt == "hold": HELD.append(audio)
        return Transcript(f"{audio.dtype} {len(audio)} {float(audio.sum()):.1f}", (Word("a", 0.0, 1.0),))

class Chat:
    context_tokens, native_tools = 77, True
    async def open(self): pass
    async def close(self): pass
    async def chat(self, request):
        try:
            for number in range(10_000):
                yield ChatDelta(text=f"{request.messages[0].content}{number}")
                await asyncio.sleep(0)
        finally:
            Path("stopped").write_text(str(number))
    async def prefill(self, messages, *, slot): await asyncio.sleep(60)
    async def count_tokens(self, text): return len(text)

async def attempt(what: str, where: str = "") -> str:
    "Try something and say how it went."
    try:
        if what == "write": Path(where).write_text("x")
        elif what == "read": Path(where).read_text()
        elif what == "list": os.listdir(where)
        elif what == "connect": socket.create_connection((where, 9), timeout=1)
        elif what == "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (where, 9))
        elif what == "resolve": socket.getaddrinfo(where, 80)
        elif what == "run": subprocess.run(["true"])
        elif what == "native":  # past Python's audit hook, as a C library would
            import ctypes
            libc = ctypes.CDLL(None, use_errno=True)
            fd = libc.open(where.encode(), os.O_RDONLY)
            if fd < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        elif what == "kill": os.kill(os.getpid(), 9)
        elif what == "exit": sys.exit(4)
        elif what == "block": time.sleep(60)
        elif what == "eat":
            while True: HELD.append(b"x" * 20_000_000); await asyncio.sleep(0.01)
        elif what == "env": return ",".join(sorted(os.environ))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "done"

async def odd() -> int:
    "Fails."
    raise KeyError("odd")

class Watcher:
    async def run(self, session):
        async for event in session.bus.subscribe(TextDelta, VideoFrame, capacity=64):
            if isinstance(event, VideoFrame):
                size = len(event.image)
                session.publish(Custom, topic="apart.frame", payload={"source": event.source, "bytes": size})
            else:
                session.publish(Custom, topic="apart.text", payload={"text": event.text, "pid": os.getpid()})
                if event.text == "hello":
                    session.publish(TextDelta, text="not announced")

class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors), Offer(Transcriber, "words", Words), Offer(ChatModel, "chat", Chat)]
    @hookimpl
    def omni_tools(self):
        return [tool(attempt, deadline_s=60.0), tool(odd)]
    @hookimpl
    def omni_stages(self):
        return [StageOffer("watcher", Watcher)]

plugin = Plugin()
"""

MANIFEST = """
[[capabilities]]
protocol = "Embedder"
[[capabilities]]
protocol = "Transcriber"
[[capabilities]]
protocol = "ChatModel"
[[tools]]
name = "attempt"
effect = "pure"
[[tools]]
name = "odd"
effect = "pure"
[[stages]]
name = "watcher"
reads = ["TextDelta", "VideoFrame"]
writes = ["Custom"]
[resources]
ram_mb = 200
[permissions]
camera = true
"""

QUICK = ProcessPolicy(ping_s=0.1, silence_s=3.0, look_s=0.05, backoff_s=0.05)


@asynccontextmanager
async def apart(tmp_path, manifest=MANIFEST, policy=QUICK, body=BODY):
    """A host with one plugin in a process of its own."""
    folder = write_plugin(tmp_path / "src", "apart", body, manifest, isolation="process")
    host = Host(None, None, tmp_path / "data", only=["apart"], sources=[folder], processes=policy)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def record(host):
    return next(one for one in host.plugins() if one.id == "apart")


async def attempt(host, what, where=""):
    tool = next(tool for tool in host.tools() if tool.name == "attempt")
    return (await tool({"what": what, "where": str(where)}, ToolContext())).value


async def test_calls_streams_tools_and_values_look_as_if_it_were_here(tmp_path):
    async with apart(tmp_path) as host:
        assert record(host).state == "loaded", record(host).reason
        vectors = host.get(Embedder)
        assert isinstance(vectors, Embedder) and vectors.dimension == 3
        answer = await vectors.embed_text(["one", "three"], query=True)
        assert answer[:, :2].tolist() == [[3.0, 1.0], [5.0, 1.0]]
        assert int(answer[0, 2]) != os.getpid()
        with pytest.raises(BadInput, match="No images"):
            await vectors.embed_images([])
        chat = host.get(ChatModel)
        assert chat.context_tokens == 77
        async with aclosing(chat.chat(ChatRequest(messages=(Message("user", "n"),)))) as stream:
            assert [(await anext(stream)).text for _ in range(20)] == [f"n{i}" for i in range(20)]
        odd = next(tool for tool in host.tools() if tool.name == "odd")
        with pytest.raises(PluginError, match="KeyError"):
            await odd({}, ToolContext())


async def test_sound_and_pictures_go_through_shared_memory_and_are_freed(tmp_path):
    async with apart(tmp_path) as host:
        words, vectors = host.get(Transcriber), host.get(Embedder)
        arena = host._isolated["apart"]._child.arena
        audio = np.ones(16_000 * 10, np.float32)
        for _ in range(200):  # 128 MB through 64 MB: regions are used again
            transcript = await words.transcribe(audio)
        assert transcript.text == "float32 160000 160000.0"
        assert transcript.words[0].text == "a" and isinstance(transcript.words, tuple)
        frame = bytes([7]) + bytes(1920 * 1080 * 3 - 2) + bytes([9])
        assert (await vectors.embed_images([frame])).tolist() == [[len(frame), 7.0, 9.0]]
        await until(lambda: arena.in_use() == 0, seconds=20)
        await words.transcribe(audio, prompt="hold")  # the plugin keeps the array: its memory stays as it was
        await words.transcribe(audio * 2)
        assert arena.in_use() > 0


async def test_closing_a_stream_and_cancelling_a_call_reach_the_process(tmp_path):
    async with apart(tmp_path) as host:
        chat = host.get(ChatModel)
        stream = chat.chat(ChatRequest(messages=(Message("user", "n"),)))
        await anext(stream)
        await stream.aclose()
        stopped = tmp_path / "data/plugins/apart/stopped"
        await until(stopped.exists, seconds=20)
        assert int(stopped.read_text() or 0) < 100  # it could not run far ahead of its reader
        call = asyncio.create_task(chat.prefill([], slot=""))
        await asyncio.sleep(0.05)
        before = time.perf_counter()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert time.perf_counter() - before < 0.5
        assert await chat.count_tokens("abc") == 3


async def test_what_was_not_granted_is_refused(tmp_path):
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")
    granted = tmp_path / "granted"
    granted.mkdir()
    manifest = MANIFEST + f'files = ["{granted}"]\n'
    async with apart(tmp_path, manifest) as host:
        assert "audit hook" in record(host).confined_by
        forbidden = [
            ("write", outside),
            ("read", outside),
            ("list", tmp_path),
            ("connect", "192.0.2.1"),
            ("udp", "192.0.2.1"),
            ("resolve", "example.org"),
            ("run", ""),
            ("write", "/etc/omni"),
            ("write", tmp_path / "src/omni_apart/plugin.py"),
        ]
        for what, where in forbidden:
            said = await attempt(host, what, where)
            assert said.startswith("PermissionError: The plugin 'apart' may not"), (what, where, said)
        assert outside.read_text() == "secret"
        assert await attempt(host, "write", granted / "ok") == "done"
        assert await attempt(host, "write", "own.txt") == "done"  # its data folder is where it stands
        names = (await attempt(host, "env")).split(",")
        assert not [name for name in names if "TOKEN" in name or "KEY" in name or "PROXY" in name.upper()]
        if any(layer.startswith("Landlock") for layer in record(host).confined_by):
            assert (await attempt(host, "native", outside)).startswith("PermissionError: [Errno 13]")


async def test_a_granted_host_is_let_through_and_no_other(tmp_path):
    async with apart(tmp_path, MANIFEST + 'network = ["127.0.0.1"]\n') as host:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        assert "refused" in await attempt(host, "connect", "127.0.0.1")  # port 9: reached, nobody there
        assert "may not connect" in await attempt(host, "connect", "192.0.2.1")
        server.close()


@pytest.mark.parametrize("how", ["kill", "exit", "block"])
async def test_a_plugin_that_ends_or_blocks_its_process_is_started_again(tmp_path, how):
    async with apart(tmp_path) as host:
        vectors = host.get(Embedder)
        first = (await vectors.embed_text(["x"]))[0, 2]
        with pytest.raises(PluginError):
            await attempt(host, how)
        if how == "exit":
            return  # contained in the call: the process goes on
        again = await asyncio.wait_for(vectors.embed_text(["x"]), 10)
        assert again[0, 2] != first
        assert record(host).restarts == 1
        await until(lambda: record(host).state == "ready", seconds=20)


async def test_a_plugin_that_takes_too_much_memory_is_ended(tmp_path):
    async with apart(tmp_path) as host:
        with pytest.raises(PluginError, match="MB are allowed"):
            await attempt(host, "eat")
        assert (await asyncio.wait_for(host.get(Embedder).embed_text(["x"]), 10)).shape == (1, 3)


async def test_a_process_that_dies_again_and_again_is_given_up(tmp_path):
    policy = ProcessPolicy(look_s=0.02, backoff_s=0.01, limit=3)
    async with apart(tmp_path, policy=policy) as host:
        for _ in range(3):
            with pytest.raises(OmniError):
                await attempt(host, "kill")
        await until(lambda: record(host).state == "quarantined", seconds=20)
        assert "its process ended 3 times" in record(host).reason and "SIGKILL" in record(host).reason
        with pytest.raises(CapabilityUnavailable, match="quarantined"):
            host.get(Embedder)


async def test_a_stage_apart_sees_what_it_declared_and_writes_what_it_announced(tmp_path):
    async with apart(tmp_path) as host:
        session = Session(host=host)
        said = session.bus.subscribe(Custom, capacity=16, overflow=Overflow.LATEST)
        texts = session.bus.subscribe(TextDelta, capacity=16, overflow=Overflow.LATEST)
        stages = asyncio.create_task(host.run_stages(session))

        def show():
            """Until it looks: its process has yet to start."""
            session.publish(VideoFrame, source="screen", image=bytes(50_000), width=1, height=1)
            session.publish(VideoFrame, source="camera", image=bytes(60_000), width=1, height=1)
            return said.drain()

        async def tell(text):
            """Tell it something, and wait until it has said so and what came before."""
            session.publish(TextDelta, text=text)
            while (event := await asyncio.wait_for(said.get(), 5)).payload.get("text") != text:
                seen.append(event)
            assert event.payload["pid"] != os.getpid()

        seen = list(await until(show, seconds=20))
        await tell("hello")
        await tell("goodbye")
        pictures = [event.payload for event in seen if event.topic == "apart.frame"]
        assert pictures and all(picture == {"source": "camera", "bytes": 60_000} for picture in pictures)  # no screen
        assert [event.text for event in texts.drain()] == ["hello", "goodbye"]  # what it did not announce did not pass
        session.publish(SessionClosed)
        await asyncio.wait_for(stages, 5)


async def test_a_plugin_that_fails_to_load_in_its_process_is_quarantined(tmp_path):
    async with apart(tmp_path, body="raise ValueError('not today')") as host:
        assert record(host).state == "quarantined"
        assert "not today" in record(host).reason


async def test_the_process_is_gone_after_stop_and_when_the_host_dies(tmp_path):
    async with apart(tmp_path) as host:
        process = host._isolated["apart"]._child.process
    assert process.returncode == -signal.SIGKILL or process.returncode == 0
    assert not psutil.pid_exists(process.pid)
