"""Runs the application on a port, and knows what to say when the port, or the data, is in use."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omni.errors import BadInput, Busy
from omni.server.app import build_app
from omni.server.limits import SessionLimits
from omni.server.security import LOOPBACK

#: Seconds another instance gets to say who it is.
ASK_S = 1.0
#: Seconds between two pings on a WebSocket, and for the answer.
PING_S = 10.0
INSTANCE_FILE = "instance.json"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `Busy` when the port is in use, saying by whom and what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise _in_use(host, port) from None
        if error.errno == errno.EACCES:
            raise Busy(f"Port {port} may not be opened by this user.", "Choose one above 1023 with --port.") from None
        raise BadInput(f"Omni can't listen on {host}:{port}: {error.strerror}.", "Use --host 127.0.0.1.") from None
    sock.setblocking(False)
    return sock


def _in_use(host: str, port: int) -> Busy:
    """Who has the port: another Omni, or something else."""
    other = _ask(host, port)
    if other:
        return Busy(
            f"Omni {other['omni']} is running already at http://{host}:{port} (process {other.get('pid', '?')}).",
            f"Open the address it printed, stop it with Ctrl-C, or start a second one with --port {port + 1}.",
        )
    return Busy(f"Port {port} of {host} is used by another program.", f"Choose another: omni run --port {port + 1}.")


def _ask(host: str, port: int) -> dict[str, Any] | None:
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=ASK_S)
    try:
        connection.request("GET", "/api/hello")
        answer = json.loads(connection.getresponse().read(10_000))
        return answer if isinstance(answer, dict) and "omni" in answer else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextlib.contextmanager
def single_instance(data_dir: Path, url: str) -> Iterator[None]:
    """Hold the data folder for this process. Raises `Busy` when another instance has it, with its address.

    The address, which contains the key, is kept in a file that only this user may read.
    """
    from filelock import FileLock, Timeout

    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / INSTANCE_FILE
    lock = FileLock(data_dir / "instance.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with contextlib.suppress(OSError, ValueError):
            other = json.loads(path.read_text(encoding="utf-8"))
            raise Busy(
                f"Omni is running already with this data folder (process {other['pid']}).",
                f"Open {other['url']} or stop it with Ctrl-C; for a second one set OMNI_HOME to another folder.",
            ) from None
        raise Busy(
            f"Another Omni uses the data folder {data_dir}.", "Stop it, or set OMNI_HOME to another folder."
        ) from None
    try:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"pid": os.getpid(), "url": url}, file)
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


async def serve(
    runtime: Any,
    host: str = "127.0.0.1",
    port: int = 8765,
    *,
    token: str | None = None,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve the page of a started `runtime` until the process is told to stop, or `stop` is set.

    `ready` is called once with the address to open, key included. Raises `Busy` when the port or the data
    folder is in use. Port 0 takes a free one.
    """
    import uvicorn

    sock = listen(host, port)
    try:
        port = sock.getsockname()[1]
        config = runtime.config
        names = {*LOOPBACK} if host in LOOPBACK else {*LOOPBACK, host, socket.gethostname().lower()}
        rate = float(config.get("server.messages_per_s", 400))
        app = build_app(runtime, token=token, hosts=names, limits=lambda: SessionLimits(rate))
        shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
        url = f"http://{shown}:{port}/#token={app.state.token}"
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False, proxy_headers=False, lifespan="on",
                ws_max_size=int(config.get("server.max_message_kb", 8192)) * 1024, ws_ping_interval=PING_S,
                ws_ping_timeout=PING_S, ws_per_message_deflate=False, timeout_graceful_shutdown=3,
            )
        )  # fmt: skip
        with single_instance(config.data_dir, url):
            watch = asyncio.create_task(_until(server, stop), name="server watch") if stop else None
            if ready:
                ready(url)  # the socket listens already: who comes now waits in its queue
            try:
                await server.serve(sockets=[sock])
            finally:
                if watch:
                    watch.cancel()
    finally:
        sock.close()


async def _until(server: Any, stop: asyncio.Event) -> None:
    """Stop the server when `stop` is set."""
    await stop.wait()
    server.should_exit = True
