"""A broker as the way to other machines: addresses, frames with their quality of service, one connection.

A message is a `Frame`: under MQTT 5 its head travels as properties (correlation data, response topic, message
expiry), under 3.1.1 in front of the body. A body above `CHUNK` bytes travels in parts and is put together again;
the whole is bounded by `LIMIT`.

| topic | who listens | what comes |
|---|---|---|
| `omni/1/worker/PLUGIN/WORKER` | hosts | what a worker offers (retained); empty (its last will) when it is gone |
| `omni/1/ask/PLUGIN` | the plugin's workers, as one shared subscription | requests, each for one of them |
| `omni/1/to/ID/FROM` | ID, a worker or a host | everything else |
| `omni/1/gone/HOST` | workers | a host is gone, said by its last will |
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
import struct
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from omni.errors import ConfigError, OmniError, PluginError

ROOT = "omni/1"
WIRE_VERSION = 1
#: Bodies above this many bytes travel in parts, so that no broker has to hold a large packet.
CHUNK = 256 * 1024
#: The largest message that is put together: a 4K frame of float32 still fits.
LIMIT = 128 * 1024 * 1024
#: Bodies above this many bytes are compressed when that makes them smaller (not on loopback: nothing is gained).
COMPRESS = 16 * 1024
#: Messages that may be under way before `drain` waits.
UNDER_WAY = 64
#: Seconds in which what one says to oneself has to come back: some brokers let anybody in and then drop what is said.
ECHO_S = 10.0

#: What reading a message may raise that somebody else sent: a stranger's message is dropped, and nothing more happens.
RUBBISH = (PluginError, LookupError, TypeError, ValueError)

_HEAD = struct.Struct("<H")

log = logging.getLogger("omni.wire")
_paho_log = logging.getLogger("omni.wire.paho")
_paho_log.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Service:
    """How a kind of message is carried: `qos`, and the seconds after which the broker drops it (MQTT 5)."""

    qos: int
    expiry_s: float | None = None


#: Requests expire with their deadline (given when sent). What must arrive is sent with QoS 1; live sound and
#: pictures with QoS 0 and a short expiry: late ones are worth nothing. Under 3.1.1 all is QoS 0, in order over TCP:
#: amqtt waits for an acknowledgement only after it has written, misses quick ones, and then holds up the receiver.
SERVICES: dict[str, Service] = {
    "announce": Service(1),
    "call": Service(1, 60.0),
    "stream": Service(1, 60.0),
    "taken": Service(1, 30.0),
    "result": Service(1, 60.0),
    "item": Service(1, 30.0),
    "end": Service(1, 60.0),
    "error": Service(1, 60.0),
    "more": Service(1, 30.0),
    "cancel": Service(1, 30.0),
    "note": Service(1, 30.0),
    "sound": Service(0, 2.0),
    "picture": Service(0, 1.0),
}


class BrokerError(OmniError):
    """The broker can't be reached, or does not let us in. `final` when trying again can't help."""

    def __init__(self, message: str, remedy: str = "", *, final: bool = False) -> None:
        super().__init__(message, remedy)
        self.final = final


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is and how it is entered. Printing it shows no password."""

    host: str
    port: int
    tls: bool = False
    username: str = ""
    password: str = ""
    ca: str = ""  #: a file with the authority that signed the broker's certificate, where that is a private one

    @classmethod
    def parse(cls, url: str, ca: str = "", username: str = "", password: str = "") -> Address:
        """The address in `mqtt://[user:password@]host[:port]`, or `mqtts://` for TLS. Raises `ConfigError`."""
        remedy = "Write mqtt://host:1883, or mqtts://user:password@host:8883 for TLS."
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigError("The broker's address has an impossible port.", remedy) from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            shown = url if "@" not in url else f"...@{url.rpartition('@')[2]}"
            raise ConfigError(f"{shown!r} is no address of a broker.", remedy)
        if parts.path.strip("/") or parts.query:
            raise ConfigError(f"The broker's address ends with {parts.path!r}, which means nothing.", remedy)
        tls = parts.scheme == "mqtts"
        username, password = unquote(parts.username or "") or username, unquote(parts.password or "") or password
        return cls(parts.hostname, port or (8883 if tls else 1883), tls, username, password, ca)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}"

    __repr__ = __str__

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        from omni.airgap import is_loopback

        return is_loopback(self.host)

    def context(self) -> ssl.SSLContext | None:
        """What TLS is checked with; None without TLS. Raises `ConfigError` for an unreadable authority."""
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"The authority {self.ca!r} can't be read: {error}.", "Name a PEM file.") from None


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it was put together: who asks for the answer where, and the body."""

    topic: str
    body: bytes
    correlation: bytes = b""
    reply: str = ""


class Connection:
    """One entry into a broker: `send`, `subscribe`, `frames()`. Made by `connect`."""

    def __init__(self, address: Address, client: Any, v5: bool) -> None:
        self.address = address
        self.v5 = v5
        self._client = client
        self._numbers = 0
        self._own = secrets.token_bytes(6)
        self._sending: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._parts: dict[bytes, _Partial] = {}

    async def subscribe(self, *topics: str) -> None:
        """Listen to topics. Raises `BrokerError` when the broker does not allow it."""
        import aiomqtt

        try:
            granted = await self._client.subscribe([(topic, int(self.v5)) for topic in topics])
        except aiomqtt.MqttError as error:
            raise BrokerError(f"The broker {self.address} went away: {error}.", "It is tried again.") from None
        if any(int(getattr(code, "value", code)) >= 0x80 for code in granted):
            raise BrokerError(
                f"The broker {self.address} does not allow to listen to {', '.join(topics)}.",
                f"Let this name read and write {ROOT}/#.", final=True,
            )  # fmt: skip

    def send(
        self, topic: str, body: bytes, kind: str, *, correlation: bytes = b"", reply: str = "",
        expiry_s: float | None = None, retain: bool = False,
    ) -> None:  # fmt: skip
        """Queue a message, in order; does not wait. What is lost on the way is noticed by whoever waits for it."""
        if len(body) > LIMIT:
            raise PluginError(
                f"A message of {len(body) / 1e6:.0f} MB can't leave this machine; {LIMIT / 1e6:.0f} MB can.",
                "Send it in pieces.",
            )
        service = SERVICES[kind]
        packed = len(body) > COMPRESS and not self.address.local and _shrinks(body)
        data = zlib.compress(body, 1) if packed else body
        parts = max(1, -(-len(data) // CHUNK)) if not retain else 1
        self._numbers += 1
        number = self._own + self._numbers.to_bytes(6, "big")
        for part in range(parts):
            piece = data[part * CHUNK : (part + 1) * CHUNK] if parts > 1 else data
            head = (number, part, parts, packed)
            payload, properties = self._wrap(piece, head, correlation, reply, expiry_s or service.expiry_s)
            qos = service.qos if self.v5 else 0
            task = asyncio.ensure_future(self._publish(topic, payload, qos, retain, properties))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _wrap(
        self, piece: bytes, head: tuple[bytes, int, int, bool], correlation: bytes, reply: str, expiry_s: float | None
    ) -> tuple[bytes, Any]:
        number, part, parts, packed = head
        if not self.v5:
            if not piece:
                return b"", None  # clears what was retained
            front = msgspec.msgpack.encode([number, part, parts, packed, correlation, reply])
            return _HEAD.pack(len(front)) + front + piece, None
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = ("omni", f"{number.hex()} {part} {parts} {int(packed)}")
        if correlation:
            properties.CorrelationData = correlation
        if reply:
            properties.ResponseTopic = reply
        if expiry_s:
            properties.MessageExpiryInterval = max(1, round(expiry_s))
        return piece, properties

    async def _publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Any) -> None:
        import aiomqtt

        try:
            await self._client.publish(topic, payload, qos, retain, properties, timeout=60.0)
            _quick(self._client)
        except (aiomqtt.MqttError, ValueError) as error:
            log.debug("a message to %s was lost: %s", topic, error)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if len(self._sending) < UNDER_WAY:
            self._room.set()

    async def drain(self) -> None:
        """Wait while too much is under way."""
        while len(self._sending) >= UNDER_WAY:
            self._room.clear()
            await self._room.wait()

    async def flush(self, seconds: float = 5.0) -> None:
        """Wait until all that was sent has left, at most so long."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=seconds)

    async def passed(self, topic: str, seconds: float = 1.0) -> None:
        """Wait, at most so long, until the broker gives back the empty message last sent to `topic`, which is heard.

        Whoever leaves at once would take along what it said: amqtt throws away what it has not yet passed on.
        """
        with contextlib.suppress(TimeoutError, BrokerError):
            async with asyncio.timeout(seconds):
                async for frame in self.frames():
                    if frame.topic == topic and not frame.body:
                        return

    async def frames(self) -> AsyncIterator[Frame]:
        """All that arrives, put together. Raises `BrokerError` when the broker is gone. Damaged ones are dropped."""
        import aiomqtt

        try:
            async for message in self._client.messages:
                try:
                    frame = self._unwrap(message)
                except (*RUBBISH, struct.error, zlib.error, msgspec.MsgspecError) as error:
                    log.warning("a message on %s can't be read: %s", message.topic, error)
                    continue
                if frame is not None:
                    yield frame
        except aiomqtt.MqttError as error:
            raise BrokerError(f"The broker {self.address} went away: {error}.", "It is tried again.") from None

    def _unwrap(self, message: Any) -> Frame | None:
        """The frame that is complete with this packet, None while parts are missing."""
        topic, payload = str(message.topic), bytes(message.payload or b"")
        if not payload:
            return Frame(topic, b"")
        if message.properties is not None and self.v5:
            said = dict(getattr(message.properties, "UserProperty", ()))["omni"].split()
            number, part, parts, packed = bytes.fromhex(said[0]), int(said[1]), int(said[2]), said[3] == "1"
            correlation = getattr(message.properties, "CorrelationData", b"")
            reply = getattr(message.properties, "ResponseTopic", "")
        else:
            (length,) = _HEAD.unpack_from(payload)
            head = msgspec.msgpack.decode(payload[_HEAD.size : _HEAD.size + length])
            number, part, parts, packed, correlation, reply = head
            payload = payload[_HEAD.size + length :]
        if parts > 1:
            whole = self._join(number, part, parts, payload)
            if whole is None:
                return None
            payload = whole
        return Frame(topic, _inflate(payload) if packed else payload, correlation, reply)

    def _join(self, number: bytes, part: int, parts: int, piece: bytes) -> bytes | None:
        if not (0 <= part < parts <= LIMIT // CHUNK + 1) or len(piece) > CHUNK:
            raise PluginError(f"It is announced as part {part} of {parts}.")
        now = time.monotonic()
        for old in [key for key, one in self._parts.items() if now - one.since > 30.0]:
            del self._parts[old]
        partial = self._parts.setdefault(number, _Partial(parts, {}, now))
        if partial.parts != parts:
            raise PluginError("Its parts contradict each other.")
        partial.pieces[part] = piece
        if sum(len(one) for partial in self._parts.values() for one in partial.pieces.values()) > 2 * LIMIT:
            self._parts.clear()
            raise PluginError("Too many unfinished messages arrived; they were dropped.")
        if len(partial.pieces) < parts:
            return None
        del self._parts[number]
        return b"".join(partial.pieces[index] for index in range(parts))

    async def close(self) -> None:
        """Leave the broker. Idempotent."""
        import aiomqtt

        for task in list(self._sending):
            task.cancel()
        try:
            async with asyncio.timeout(3.0):
                await self._client.__aexit__(None, None, None)
        except (aiomqtt.MqttError, TimeoutError):
            return  # it is gone already


@dataclass(slots=True)
class _Partial:
    parts: int
    pieces: dict[int, bytes]
    since: float


def _quick(client: Any) -> None:
    """Acknowledge what comes next at once (Linux): a broker without `set_tcp_nodelay` holds back an answer that
    follows its PUBACK until that is acknowledged, which takes 40 ms."""
    sock = client._client.socket()
    if sock is not None and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _shrinks(body: bytes) -> bool:
    """Whether a sample out of the middle compresses to less than two thirds."""
    middle = len(body) // 2
    sample = body[middle : middle + 4096]
    return len(zlib.compress(sample, 1)) < 0.66 * len(sample)


def _inflate(data: bytes) -> bytes:
    opened = zlib.decompressobj()
    body = opened.decompress(data, LIMIT)
    if opened.unconsumed_tail:
        raise PluginError("It unpacks to more than is allowed.")
    return body


async def connect(
    address: Address, identifier: str, *, will: tuple[str, bool] | None = None, seconds: float = 5.0
) -> Connection:
    """Enter a broker, with MQTT 5 where it speaks that, else 3.1.1. `will` is (topic, retained): an empty last message.

    Raises `BrokerError` with a sentence: it is down, refuses the name or password, has the wrong certificate.
    """
    import aiomqtt

    for version in (aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311):
        v5 = version == aiomqtt.ProtocolVersion.V5
        client = aiomqtt.Client(
            address.host, address.port, username=address.username or None, password=address.password or None,
            identifier=identifier, protocol=version, keepalive=10, timeout=seconds, logger=_paho_log,
            will=aiomqtt.Will(will[0], b"", 1, will[1]) if will else None, tls_context=address.context(),
            max_inflight_messages=UNDER_WAY, clean_session=None if v5 else True,
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),  # else small messages wait 40 ms for an ACK
        )  # fmt: skip
        try:
            await client.__aenter__()
        except OmniError as error:  # the airgap
            raise BrokerError(error.message, error.remedy, final=True) from None
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            if v5 and _speaks_no_v5(error):
                continue
            raise _sentence(address, error) from None
        return Connection(address, client, v5)
    raise AssertionError("unreachable")


def unheard(address: Address) -> BrokerError:
    """What is to be said when nothing of what one sends comes back from a broker."""
    return BrokerError(
        f"The broker {address} lets this name in and does not pass on what it says.",
        f"Let it read and write {ROOT}/# (the broker's access list).", final=True,
    )  # fmt: skip


def _speaks_no_v5(error: Exception) -> bool:
    """Whether the broker let the connection in and then would not talk version 5 (it says so, or falls silent)."""
    text = str(error).lower()
    return "protocol version" in text or "timed out" in text or "code:132" in text or "unspecified" in text


def _sentence(address: Address, error: Exception) -> BrokerError:
    text = str(error)
    low = text.lower()
    if any(words in low for words in ("not authori", "bad user", "code:134", "code:135", "code:4]", "code:5]")):
        return BrokerError(
            f"The broker {address} refuses the name and the password.",
            "Put the right ones into the address: mqtt://name:password@host:port.", final=True,
        )  # fmt: skip
    if "certificate" in low or "ssl" in low or "hostname mismatch" in low:
        return BrokerError(
            f"The broker {address} can't be trusted: {text}.",
            "Name its authority's certificate with --ca or in remote.ca, and the host name it was made for.",
            final=True,
        )
    if "timed out" in low or (address.tls and "reset" in low):
        return BrokerError(f"The broker {address} does not answer.", "Is it a broker, and with TLS or without?")
    return BrokerError(f"The broker {address} can't be reached: {text}.", "Start it, or mend remote.broker (--broker).")
