"""Plugins on other machines: what goes through a broker, and what happens when a worker dies."""

from __future__ import annotations

import asyncio
import os
import signal

import numpy as np
import pytest
from remote_machines import BROKERS, Settings, embedded, main_host, record, worker_here, workers_apart, write_far

from omni.bus import Overflow
from omni.capabilities import ChatModel, ChatRequest, Embedder, Memory, Message, Reranker
from omni.errors import BadInput, CapabilityUnavailable, ConfigError, PluginError
from omni.events import Custom, SessionClosed, TextDelta, VideoFrame
from omni.host.contract.writing import write_plugin
from omni.host.host import Host
from omni.session import Session
from omni.testing import until
from omni.tools import ToolContext
from omni.wire.broker import BrokerOrder
from omni.wire.mqtt import Address

pytest.importorskip("aiomqtt")


#: What a manifest needs besides, as an interface of another day would write it.
_OTHER = {
    "omni_api": ">=7.0", "capabilities": [], "tools": [], "stages": [], "panels": [], "commands": [], "permissions": {},
    "resources": {}, "models": {}, "config": {}, "needs": [], "wants": [], "environment": None,
}  # fmt: skip


@pytest.fixture
def source(tmp_path):
    return write_far(tmp_path / "src")


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


def test_addresses():
    address = Address.parse("mqtts://me:p%40ss@example.org")
    assert (address.port, address.tls, address.username, address.password) == (8883, True, "me", "p@ss")
    assert str(address) == "mqtts://example.org:8883" and "p@ss" not in repr(address)
    for wrong in ("", "example.org", "mqtt://", "mqtt://host:99999", "mqtt://host/topic", "ws://host"):
        with pytest.raises(ConfigError):
            Address.parse(wrong)
    with pytest.raises(ConfigError, match="for everybody"):
        BrokerOrder("0.0.0.0").check()
