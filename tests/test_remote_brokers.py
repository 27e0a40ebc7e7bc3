"""Plugins on other machines: brokers that are down, refuse, lie, go and come back, and their encryption."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from remote_machines import BROKERS, embedded, free_port, main_host, mosquitto, record, worker_here, write_far

from omni.capabilities import Reranker
from omni.errors import PluginError
from omni.testing import until
from omni.wire.broker import BrokerOrder, EmbeddedBroker
from omni.wire.mqtt import Address, BrokerError, connect

pytest.importorskip("aiomqtt")


@pytest.fixture
def source(tmp_path):
    return write_far(tmp_path / "src")


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
            await until(lambda: record(host).state == "ready", seconds=40)
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
            await until(lambda: record(there).state == "ready", seconds=40)
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
