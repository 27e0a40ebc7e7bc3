"""Plugins on other machines: two workers, two brokers, what travels, and what happens when something dies."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from omni.bus import Overflow
from omni.capabilities import ChatModel, ChatRequest, Embedder, Memory, Message, Reranker
from omni.errors import BadInput, CapabilityUnavailable, ConfigError, PluginError
from omni.events import Custom, SessionClosed, TextDelta, VideoFrame
from omni.host.contract.writing import write_plugin
from omni.host.host import Host
from omni.host.serving import Worker
from omni.session import Session
from omni.tools import ToolContext
from omni.wire.broker import BrokerOrder, EmbeddedBroker
from omni.wire.mqtt import Address, BrokerError, connect

pytest.importorskip("aiomqtt")
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


async def until(true, seconds=15.0):
    """Wait until `true()`; says what did not come true."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


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
            line = await asyncio.wait_for(process.stdout.readline(), 60)
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


@pytest.fixture
def source(tmp_path):
    return write_plugin(tmp_path / "src", "far", BODY, MANIFEST)


def record(host, id="far@mqtt"):
    return next((one for one in host.plugins() if one.id == id), None)


@pytest.mark.parametrize("kind", BROKERS)
async def test_calls_streams_tools_and_stages_go_through_a_broker(kind, source, tmp_path):
    async with BROKERS[kind](tmp_path / "broker") as port:
        url = f"mqtt://127.0.0.1:{port}"
        async with worker_here(source, tmp_path / "w", url), main_host(tmp_path / "m", url) as host:
            await until(lambda: record(host))
            assert record(host).isolation == "mqtt"
            assert (await host.get(Reranker).rerank("q", ["four", "x"]))[:2] == [4.0, 1.0]
            with pytest.raises(BadInput, match="No such query"):
                await host.get(Reranker).rerank("bad", ["x"])
            frame = os.urandom(1280 * 720 * 3)
            answer = await host.get(Embedder, plugin="far@mqtt").embed_images([frame])
            assert answer[0].tolist() == [frame[0], frame[-1]]
            assert (await host.get(Embedder).embed_text(["a"])).dtype == np.float32
            assert host.get(ChatModel).context_tokens == 99
            request = ChatRequest([Message("user", "n")], slot=str(tmp_path / "stopped"))
            got, stream = [], host.get(ChatModel).chat(request)
            async for delta in stream:
                got.append(delta.text)
                if len(got) == 40:
                    break
            await stream.aclose()
            assert got == [f"n{number}" for number in range(40)]
            await until(lambda: (tmp_path / "stopped").exists())  # closing the stream stopped its source over there
            look = next(tool for tool in host.tools() if tool.name == "look")
            (tmp_path / "there").write_text("")
            assert (await look({"where": str(tmp_path / "there")}, ToolContext())).value.startswith("done by")
            await _stage(host)


async def _stage(host):
    session = Session(host=host)
    heard = session.bus.subscribe(Custom, capacity=8, name="test")
    running = asyncio.ensure_future(host.run_stages(session))
    answer = asyncio.ensure_future(heard.get())
    async with asyncio.timeout(10):
        while not answer.done():  # the stage over there subscribes when it is up
            session.publish(TextDelta, text="louder")
            await asyncio.wait((answer,), timeout=0.05)
    assert answer.result().payload == {"text": "LOUDER"}
    session.publish(SessionClosed)
    await asyncio.wait_for(running, 10)


@pytest.mark.parametrize("kind", BROKERS)
async def test_of_camera_frames_the_latest_go_and_what_was_passed_over_is_counted(kind, source, tmp_path):
    async with BROKERS[kind](tmp_path / "broker") as port:
        url = f"mqtt://127.0.0.1:{port}"
        async with worker_here(source, tmp_path / "w", url), main_host(tmp_path / "m", url) as host:
            await until(lambda: record(host))
            session = Session(host=host)
            seen = session.bus.subscribe(Custom, capacity=500, overflow=Overflow.WAIT, name="test")
            running = asyncio.ensure_future(host.run_stages(session))
            picture = os.urandom(300_000)  # two parts

            def boxes():
                return [box for box in session.bus.mailboxes() if box.name == "far/watch pictures"]

            def show(number):
                session.publish(VideoFrame, source="camera", image=picture, width=number, height=1)

            async def until_seen(number):
                async with asyncio.timeout(10):
                    while (event := await seen.get()).payload["number"] != number:
                        numbers.append(event.payload["number"])
                assert event.payload["size"] == len(picture)

            numbers = []
            await until(boxes)
            show(1)
            await until_seen(1)
            for number in range(2, 200):  # more at once than any way can carry
                show(number)
                await asyncio.sleep(0)
            await until_seen(199)  # the last one always comes
            assert numbers == sorted(numbers) and len(numbers) < 150
            assert boxes()[0].metrics().coalesced == 197 - len(numbers)  # and none is lost without being counted
            session.publish(SessionClosed)
            await asyncio.wait_for(running, 10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BROKERS)
async def test_requests_are_spread_and_a_killed_workers_request_is_done_by_the_other(kind, source, tmp_path):
    async with BROKERS[kind](tmp_path / "broker") as port:
        url = f"mqtt://127.0.0.1:{port}"
        async with (
            workers_apart(source, tmp_path / "w", url, 2) as workers,
            main_host(tmp_path / "m", url) as host,
        ):
            await until(lambda: record(host) and len(host._isolated["far@mqtt"].machines) == 2)
            scores = host.get(Reranker)
            answers = await asyncio.gather(*(scores.rerank("q", ["x"]) for _ in range(20)))
            assert {int(answer[-1]) for answer in answers} == set(workers)  # both had some
            mark = tmp_path / "mark"
            asked = asyncio.ensure_future(scores.rerank("die", [str(mark)]))
            await until(lambda: mark.exists() and mark.read_text())
            dead = int(mark.read_text())
            os.kill(dead, signal.SIGKILL)
            (other,) = set(workers) - {dead}
            assert int((await asyncio.wait_for(asked, 15))[-1]) == other
            # What must not be done twice is told instead of repeated; there is one worker left now.
            gone = tmp_path / "gone"
            asked = asyncio.ensure_future(host.get(Memory).forget([str(gone)]))
            await until(lambda: asked.done() or (gone.exists() and gone.read_text()))
            os.kill(other, signal.SIGKILL)
            with pytest.raises(PluginError, match="died while it did kept"):
                await asyncio.wait_for(asked, 15)
            await until(lambda: record(host).state == "degraded")
            assert "no worker of it is on the broker" in record(host).reason
            with pytest.raises((PluginError, CapabilityUnavailable)):
                await scores.rerank("q", ["x"])


@pytest.mark.slow
async def test_a_tool_that_changes_something_is_not_done_twice(source, tmp_path):
    async with embedded(tmp_path) as port:
        url = f"mqtt://127.0.0.1:{port}"
        async with workers_apart(source, tmp_path / "w", url, 2), main_host(tmp_path / "m", url) as host:
            await until(lambda: record(host) and len(host._isolated["far@mqtt"].machines) == 2)
            tools = {tool.name: tool for tool in host.tools()}
            for name in ("send", "look"):
                mark = tmp_path / name
                asked = asyncio.ensure_future(tools[name]({"where": str(mark)}, ToolContext()))
                await until(lambda mark=mark: mark.exists() and mark.read_text())
                if name == "look":  # pure: but the other worker is dead already, so it is told as well
                    os.kill(int(mark.read_text()), signal.SIGKILL)
                    with pytest.raises(PluginError, match="No other worker"):
                        await asyncio.wait_for(asked, 15)
                else:
                    os.kill(int(mark.read_text()), signal.SIGKILL)
                    with pytest.raises(PluginError, match="twice is not as once"):
                        await asyncio.wait_for(asked, 15)


async def test_a_plugin_here_is_the_fallback_and_the_worker_is_used_again_when_it_is_back(source, tmp_path):
    local = write_plugin(
        tmp_path / "local", "near",
        "from omni.capabilities import Reranker\nfrom omni.host.hookspecs import Offer, hookimpl\n"
        "class Near:\n    async def open(self): pass\n    async def close(self): pass\n"
        "    async def rerank(self, query, passages): return [-1.0]\n"
        "class Plugin:\n    @hookimpl\n    def omni_capabilities(self): return [Offer(Reranker, 'near', Near)]\n"
        "plugin = Plugin()\n",
        '[[capabilities]]\nprotocol = "Reranker"\n',
    )  # fmt: skip
    async with embedded(tmp_path) as port:
        url = f"mqtt://127.0.0.1:{port}"
        host = Host(Settings(broker=url), None, tmp_path / "m", only=["near"], sources=[local])
        await host.start()
        try:
            scores = host.get(Reranker)
            assert await scores.rerank("q", ["x"]) == [-1.0]
            async with worker_here(source, tmp_path / "w", url):
                await until(lambda: record(host))
                assert (await scores.rerank("q", ["four"]))[0] == 4.0  # the one elsewhere goes first
            await until(lambda: record(host).state == "degraded")
            assert await scores.rerank("q", ["x"]) == [-1.0]
            async with worker_here(source, tmp_path / "w", url):
                await until(lambda: record(host).state == "ready")
                assert (await scores.rerank("q", ["four"]))[0] == 4.0
        finally:
            await host.stop()
        from omni.host.overview import overview

        listed = {one.id: one for one in overview(tmp_path / "m")}
        assert listed["far@mqtt"].isolation == "mqtt"


@pytest.mark.slow
async def test_the_broker_may_go_and_come_back(source, tmp_path):
    port = free_port()
    broker = await EmbeddedBroker.start(BrokerOrder(port=port))
    url = f"mqtt://127.0.0.1:{port}"
    async with worker_here(source, tmp_path / "w", url), main_host(tmp_path / "m", url) as host:
        await until(lambda: record(host))
        assert (await host.get(Reranker).rerank("q", ["four"]))[0] == 4.0
        await broker.stop()
        await until(lambda: record(host, "mqtt").state == "degraded")
        with pytest.raises(PluginError):
            await host.get(Reranker).rerank("q", ["x"])
        broker = await EmbeddedBroker.start(BrokerOrder(port=port))
        try:
            await until(lambda: record(host).state == "ready", 40)
            assert (await host.get(Reranker).rerank("q", ["four"]))[0] == 4.0
        finally:
            await broker.stop()


async def test_a_broker_that_is_down_or_refuses_is_a_sentence_and_the_host_goes_on(tmp_path):
    async with main_host(tmp_path / "down", f"mqtt://127.0.0.1:{free_port()}") as host:
        await until(lambda: record(host, "mqtt").state == "degraded")
        assert "can't be reached" in record(host, "mqtt").reason and "remote.broker" in record(host, "mqtt").reason
    async with main_host(tmp_path / "odd", "http://user:secret@somewhere") as host:
        broker = record(host, "mqtt")
        assert broker.state == "refused" and "is no address of a broker" in broker.reason
        assert "secret" not in broker.reason
    broker = await EmbeddedBroker.start(BrokerOrder(port=0, username="omni", password="right"))
    try:
        async with main_host(tmp_path / "wrong", f"mqtt://omni:wrong@127.0.0.1:{broker.port}") as host:
            await until(lambda: record(host, "mqtt").state == "degraded")
            reason = record(host, "mqtt").reason
            assert "refuses the name and the password" in reason and "wrong" not in reason
        given = {"username": "omni", "password": "right"}
        async with main_host(tmp_path / "right", f"mqtt://127.0.0.1:{broker.port}", **given) as host:
            await until(lambda: record(host, "mqtt").state == "ready")
    finally:
        await broker.stop()


def _locked(folder: Path, more: str = "") -> str:
    """What a real broker is told that lets in omni, with the password "right", alone."""
    maker = shutil.which("mosquitto_passwd") or pytest.skip("mosquitto_passwd is not installed")
    names = folder / "names"
    subprocess.run([maker, "-b", "-c", str(names), "omni", "right"], check=True, capture_output=True, timeout=20)
    names.chmod(0o600)
    return f"allow_anonymous false\npassword_file {names}\n{more}"


async def test_a_real_broker_refuses_a_wrong_password_and_host_and_worker_say_so(source, tmp_path):
    async with mosquitto(tmp_path / "broker", _locked(tmp_path)) as port:
        url = f"mqtt://127.0.0.1:{port}"
        for name, given in (("wrong", {"username": "omni", "password": "wrong"}), ("none", {})):
            async with main_host(tmp_path / name, url, **given) as host:
                await until(lambda host=host: record(host, "mqtt").state == "degraded")
                assert "refuses the name and the password" in record(host, "mqtt").reason
        right = {"username": "omni", "password": "right"}
        async with (
            worker_here(source, tmp_path / "w", f"mqtt://omni:right@127.0.0.1:{port}"),
            main_host(tmp_path / "right", url, **right) as host,
        ):
            await until(lambda: record(host) and record(host).state != "degraded")
            assert (await host.get(Reranker).rerank("q", ["four"]))[0] == 4.0
        for sign, why in (("omni:wrong@", "refuses the name and the password"), ("", "refuses the name")):
            with pytest.raises(BrokerError, match=why):  # a worker does not try that again and again
                async with worker_here(source, tmp_path / "w2", f"mqtt://{sign}127.0.0.1:{port}") as worker:
                    raise AssertionError(f"{worker.id} was let in")


async def test_a_broker_that_lets_in_and_passes_nothing_on_is_told_apart(source, tmp_path, monkeypatch):
    for module in ("omni.host.far", "omni.host.serving"):
        monkeypatch.setattr(f"{module}.ECHO_S", 1.5)
    rules = tmp_path / "rules"
    rules.write_text("user omni\ntopic read omni/1/#\n")
    rules.chmod(0o600)
    async with mosquitto(tmp_path / "broker", _locked(tmp_path, f"acl_file {rules}\n")) as port:
        url = f"mqtt://omni:right@127.0.0.1:{port}"
        async with main_host(tmp_path / "m", url) as host:
            await until(lambda: record(host, "mqtt").state == "degraded")
            assert "does not pass on what it says" in record(host, "mqtt").reason
            assert "read and write omni/1/#" in record(host, "mqtt").reason
        with pytest.raises(BrokerError, match="does not pass on"):
            async with worker_here(source, tmp_path / "w", url):
                raise AssertionError("it believes that it is heard")


@pytest.mark.parametrize("kind", BROKERS)
async def test_rubbish_on_the_broker_harms_neither_host_nor_worker(kind, source, tmp_path):
    import aiomqtt
    import msgspec

    from omni.wire import codec

    pack = msgspec.msgpack.encode
    front = pack([b"1" * 12, 0, 1, False, b"", ""])
    bodies = [b"rubbish", b"\xff" * 40, b"\x00\x00", pack([]), pack({"a": 1}), codec.encode({"wire": 1}), pack(7)]
    bodies += [len(front).to_bytes(2, "little") + front + body for body in list(bodies)]
    async with BROKERS[kind](tmp_path / "broker") as port:
        url = f"mqtt://127.0.0.1:{port}"
        async with (
            worker_here(source, tmp_path / "w", url) as worker,
            main_host(tmp_path / "m", url) as host,
            aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V311) as stranger,
        ):
            await until(lambda: record(host))
            me = host._isolated["far@mqtt"].live.me
            asked = ["ask/far", f"to/{worker.id}/somebody", f"to/{worker.id}/{me}"]
            heard = ["worker/far/ghost", "worker/x", "worker/odd name/y", f"to/{me}/{worker.id}", f"to/{me}/ghost"]
            for topic in (*asked, *heard, "gone/nobody"):
                for body in bodies:
                    await stranger.publish(f"omni/1/{topic}", body, retain=topic.startswith("worker"))
            connection = host._isolated["far@mqtt"].live.connection
            assert (await host.get(Reranker).rerank("q", ["four"]))[0] == 4.0
            assert host._isolated["far@mqtt"].live.connection is connection  # it was not torn down meanwhile
            async with main_host(tmp_path / "late", url) as late:  # meets what the broker kept
                await until(lambda: record(late) and record(late).state != "refused")
                assert (await late.get(Reranker).rerank("q", ["four"]))[0] == 4.0


@pytest.mark.slow
async def test_a_real_broker_may_go_and_come_back(source, tmp_path):
    lines = "allow_anonymous true\n"
    async with mosquitto(tmp_path / "broker", lines) as port:
        url = f"mqtt://127.0.0.1:{port}"
        worker, host = worker_here(source, tmp_path / "w", url), main_host(tmp_path / "m", url)
        await worker.__aenter__()
        there = await host.__aenter__()
        await until(lambda: record(there))
    try:  # the broker is gone, and both go on
        await until(lambda: record(there, "mqtt").state == "degraded")
        assert "no worker of it" in record(there).reason
        async with mosquitto(tmp_path / "broker", lines, port):
            await until(lambda: record(there).state == "ready", 40)
            assert (await there.get(Reranker).rerank("q", ["four"]))[0] == 4.0
    finally:
        await host.__aexit__(None, None, None)
        await worker.__aexit__(None, None, None)


async def test_the_embedded_broker_says_at_once_that_it_does_not_speak_version_5(tmp_path):
    """Without an answer a client waits for its whole timeout before it tries 3.1.1."""
    async with embedded(tmp_path) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        will = b"\0" + b"\0\x04gone" + b"\0\0"  # no properties, topic, empty message
        body = b"\0\x04MQTT\x05\xc6\0\x0a" + b"\0" + b"\0\x02me" + will + b"\0\x04name" + b"\0\x06secret"
        writer.write(b"\x10" + bytes([len(body)]) + body)
        async with asyncio.timeout(15):
            assert await reader.readexactly(4) == b"\x20\x02\x00\x01"  # CONNACK: unacceptable protocol version
        writer.close()
        connection = await connect(Address("127.0.0.1", port), "me", will=("gone", True), seconds=60.0)
        assert not connection.v5
        await connection.close()


async def test_a_worker_for_another_interface_is_refused_with_a_sentence(source, tmp_path, monkeypatch):
    from omni.host import serving
    from omni.host.manifest import read_manifest

    manifest = read_manifest(source)
    async with embedded(tmp_path) as port:
        url = f"mqtt://127.0.0.1:{port}"
        with monkeypatch.context() as patch:
            patch.setattr(serving, "describe", lambda *_: {"offers": [], "tools": [], "stages": [], "panels": []})
            patch.setattr(type(manifest), "model_dump", lambda self, **_: {**self.__dict__, **_OTHER})
            async with worker_here(source, tmp_path / "w", url), main_host(tmp_path / "m", url) as host:
                await until(lambda: record(host) and record(host).state == "refused")
                assert "written for the plugin interface >=7.0" in record(host).reason
                await until(lambda: record(host, "mqtt").state == "ready")


_OTHER = {
    "omni_api": ">=7.0", "capabilities": [], "tools": [], "stages": [], "panels": [], "commands": [], "permissions": {},
    "resources": {}, "models": {}, "config": {}, "needs": [], "wants": [], "environment": None,
}  # fmt: skip


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A throwaway authority, and a certificate for localhost signed by it: (ca, certificate, key)."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder.mkdir()
    run = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    quiet = {"check": True, "capture_output": True, "cwd": folder, "timeout": 60}
    subprocess.run([*run, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=throwaway"], **quiet)
    names = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    names += ["-addext", "basicConstraints=CA:FALSE"]
    subprocess.run([*run, *names, "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"], **quiet)
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem"


@asynccontextmanager
async def with_tls(kind: str, folder: Path, ca: Path, certificate: Path, key: Path):
    """A broker on TLS: (its port, the port of Omni's own way in without TLS where it has one)."""
    if kind == "amqtt":
        broker = await EmbeddedBroker.start(BrokerOrder(port=0, certfile=str(certificate), keyfile=str(key)))
        try:
            yield broker.port, broker.local_port
        finally:
            await broker.stop()
        return
    lines = f"allow_anonymous true\ncafile {ca}\ncertfile {certificate}\nkeyfile {key}\n"
    async with mosquitto(folder, lines) as port:
        yield port, None


@pytest.mark.parametrize("kind", BROKERS)
async def test_tls_is_checked(kind, tmp_path):
    ca, certificate, key = certificates(tmp_path / "tls")
    async with with_tls(kind, tmp_path / "broker", ca, certificate, key) as (port, plain_port):
        connection = await connect(Address.parse(f"mqtts://localhost:{port}", str(ca)), "trusting")
        await connection.subscribe("omni/1/to/me/+")
        connection.send("omni/1/to/me/self", b"x" * 700_000, "note")
        frame = await asyncio.wait_for(anext(connection.frames()), 10)
        assert frame.body == b"x" * 700_000
        await connection.close()
        with pytest.raises(BrokerError, match="can't be trusted"):
            await connect(Address.parse(f"mqtts://localhost:{port}"), "doubting")
        if plain_port is not None:
            plain = await connect(Address("127.0.0.1", plain_port), "plain")
            await plain.close()


async def test_the_embedded_broker_does_not_write_out_what_it_passes_on():
    from omni.wire.broker_payload import Body, OnePiece

    class Header:
        remaining_length, bytes_length = 100_002, 2

    reader = asyncio.StreamReader()
    reader.feed_data(b"x" * 100_001)
    got = await OnePiece.from_stream(reader, Header, Header)  # what follows is the next packet's
    assert got.to_bytes() == b"x" * 100_000 and bytes(got.data) is got.data
    assert repr(got.data) == "<100000 bytes>" and f"{ {'data': Body(b'ab')} }" == "{'data': <2 bytes>}"


def test_addresses():
    address = Address.parse("mqtts://me:p%40ss@example.org")
    assert (address.port, address.tls, address.username, address.password) == (8883, True, "me", "p@ss")
    assert str(address) == "mqtts://example.org:8883" and "p@ss" not in repr(address)
    for wrong in ("", "example.org", "mqtt://", "mqtt://host:99999", "mqtt://host/topic", "ws://host"):
        with pytest.raises(ConfigError):
            Address.parse(wrong)
    with pytest.raises(ConfigError, match="for everybody"):
        BrokerOrder("0.0.0.0").check()
