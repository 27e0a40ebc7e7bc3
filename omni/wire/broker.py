"""The embedded broker: amqtt in a process of its own, so that its work is not done on Omni's event loop.

amqtt 0.12 speaks MQTT 3.1.1: without message expiry and without shared subscriptions, so a host that finds it
names the worker of each request itself. For MQTT 5 run Mosquitto or another broker.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from omni.airgap import is_loopback
from omni.errors import Busy, ConfigError, PluginError
from omni.processes import end

_MQTT_3_1_1 = 4  #: the protocol level that a CONNECT names
_CONNECT_HEAD = 10  #: bytes in front of a CONNECT's payload: name, level, flags, keep-alive
_LONGEST_CONNECT = 64 * 1024


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """How the embedded broker listens. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str = ""
    password: str = ""
    certfile: str = ""
    keyfile: str = ""

    def check(self) -> None:
        """Raise `ConfigError` for what would let anybody in."""
        if not is_loopback(self.host) and not self.password:
            raise ConfigError(
                f"The embedded broker would listen on {self.host} for everybody.",
                "Set remote.username and remote.password, or let it listen on 127.0.0.1.",
            )
        if bool(self.certfile) != bool(self.keyfile):
            raise ConfigError("TLS needs a certificate and its key.", "Set remote.certfile and remote.keyfile.")


class EmbeddedBroker:
    """`await EmbeddedBroker.start(order)`, then `.port` (for others) and `.local_port` (loopback, without TLS)."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, local_port: int) -> None:
        self._process = process
        self.port = port
        self.local_port = local_port

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.returncode is not None

    @classmethod
    async def start(cls, order: BrokerOrder, seconds: float = 30.0) -> EmbeddedBroker:
        """Start it. Raises `Busy` when the port is taken, `PluginError` when it does not come up."""
        order.check()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "omni.wire.broker", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        said: dict[str, Any] = {}
        try:
            process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
            async with asyncio.timeout(seconds):
                await process.stdin.drain()
                said = json.loads(await process.stdout.readline() or b"{}")
        except (TimeoutError, ConnectionError, ValueError) as error:
            said = {"error": f"it did not come up ({type(error).__name__})"}
        finally:
            if "port" not in said:
                await end(process)
        if "port" in said:
            return cls(process, said["port"], said["local_port"])
        reason = said.get("error", "its process ended")
        if "in use" in reason:
            raise Busy(f"Port {order.port} is taken.", "Set remote.port, or use the broker that is there.")
        raise PluginError(f"The embedded broker can't be started: {reason}.", "Is amqtt installed?")

    async def stop(self) -> None:
        """End it. Idempotent."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 3.0)
            except TimeoutError:
                await end(self._process)


async def _serve(order: BrokerOrder) -> None:
    import logging

    logging.disable(logging.CRITICAL)
    from amqtt.broker import Broker

    from omni.wire import broker_payload

    broker_payload.use()
    port = _free(order.host, order.port)
    host = f"[{order.host}]" if ":" in order.host else order.host
    listeners: dict[str, Any] = {"default": {"type": "tcp", "bind": f"{host}:{port}"}}
    local_port = port
    if order.certfile or not (is_loopback(order.host) or order.host == "0.0.0.0"):
        local_port = _free("127.0.0.1", 0)
        listeners["others"] = listeners["default"]  # not "default": what that says holds for all
        listeners["default"] = {"type": "tcp", "bind": f"127.0.0.1:{local_port}"}
    if order.certfile:
        listeners["others"] |= {"ssl": True, "certfile": order.certfile, "keyfile": order.keyfile}
    plugins: dict[str, Any] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    if order.password:
        plugins = {"omni.wire.broker_auth.OnePassword": {"username": order.username, "password": order.password}}
    _refuse_other_versions_at_once()
    broker = Broker({"listeners": listeners, "timeout_disconnect_delay": 2, "plugins": plugins})
    await broker.start()
    print(json.dumps({"port": port, "local_port": local_port}), flush=True)
    await asyncio.Event().wait()


def _refuse_other_versions_at_once() -> None:
    """Let a client that begins with MQTT 5 hear "not this version", so that it goes on with 3.1.1 at once.

    amqtt reads every CONNECT as one of 3.1.1: it takes the properties and the last will of MQTT 5 for lengths of
    texts, waits for bytes that never come, and the client gives up only after its whole timeout. Here the rest of
    such a packet is taken as it is; amqtt then refuses its version by itself.
    """
    from amqtt.mqtt.connect import ConnectPacket, ConnectPayload

    class Payload(ConnectPayload):
        @classmethod
        async def from_stream(cls, reader: Any, fixed: Any, head: Any) -> ConnectPayload:
            if head.proto_level == _MQTT_3_1_1:
                return await super().from_stream(reader, fixed, head)
            await reader.read(min(max(fixed.remaining_length - _CONNECT_HEAD, 0), _LONGEST_CONNECT))
            return cls("of another version", will_topic="", will_message=b"")

    ConnectPacket.PAYLOAD = Payload


def _free(host: str, port: int) -> int:
    """The port, or a free one for 0. Raises `OSError` when it is taken: the broker itself says neither."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def main() -> None:
    """Read the order from stdin, listen, and say the port (or what went wrong) in one line of JSON."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: it ends with Omni
    try:
        asyncio.run(_serve(BrokerOrder(**json.loads(sys.stdin.readline()))))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
