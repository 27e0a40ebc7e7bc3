"""llama.cpp's server in a process of its own, reached through a private socket.

Unix: a socket file in a folder only this user can enter. Windows: a loopback port with a random key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from omni.errors import BadInput, ModelError
from omni.processes import end
from omni_language.sse import events

if TYPE_CHECKING:
    import httpx

#: How long a thread spins at a barrier before it sleeps. Left alone, OpenMP spins for ever: as fast on an idle machine
#: (28 ms a token), but when something else wants the core too, 0.3 to 2.6 s a token against 0.07 to 0.13 s with this.
OPENMP = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
START_S = 120.0  #: a 1.5 B model loads in 4 s from a warm disk; a cold, slow one takes long


class LlamaServer:
    """One model, loaded once, with `slots` independent caches of `context` tokens each."""

    def __init__(
        self,
        model: Path,
        *,
        threads: int = 2,
        context: int = 4096,
        slots: int = 4,
        batch: int = 512,
        gpu_layers: int = 0,
    ) -> None:
        self.model = model
        self.settings: dict[str, Any] = {
            "model": str(model), "threads": threads, "context": context, "slots": slots, "batch": batch,
            "gpu_layers": gpu_layers,
        }  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None
        self._client: httpx.AsyncClient | None = None
        self._folder: Path | None = None
        self._log: IO[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The worker's process id (0 when it does not run)."""
        return self._process.pid if self._process and self.alive else 0

    async def start(self) -> None:
        """Load the model. Raises `ModelError` with what the library said."""
        import httpx

        if self.alive:
            return
        check_gguf(self.model)
        await self.stop()
        self._folder = Path(tempfile.mkdtemp(prefix="omni-llm-"))
        unix = hasattr(socket, "AF_UNIX") and os.name != "nt"
        port = 0 if unix else _free_port()
        host = str(self._folder / "s.sock") if unix else "127.0.0.1"
        key = secrets.token_urlsafe(24)
        # An unlinked-on-close file: a pipe nobody reads would fill up and stop the worker.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "omni_language.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=self._log,
            env={**os.environ, **{k: v for k, v in OPENMP.items() if k not in os.environ}},
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which closes in order
        )  # fmt: skip
        settings = {**self.settings, "host": host, "port": port, "key": key}
        try:
            self._process.stdin.write(json.dumps(settings).encode() + b"\n")
            await self._process.stdin.drain()
            line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        except (TimeoutError, ConnectionError):
            line = b""
        except asyncio.CancelledError:
            await self.stop()
            raise
        answer = json.loads(line) if line else {"error": "it ended or gave no sign of life while loading"}
        if "error" in answer:
            said = self._tail()
            await self.stop()
            raise ModelError(
                f"The language model {self.model.name} could not be loaded: {answer['error']}. {said}".strip(),
                "Run `omni models verify`, and check that there is enough free memory.",
            )
        self._client = httpx.AsyncClient(
            # A connection each: the server closes idle ones after 5 s, just when the next request may use them.
            # No TLS on a private socket, and reading the machine's certificates would take a tenth of a second.
            transport=httpx.AsyncHTTPTransport(
                uds=host if unix else None, verify=False, limits=httpx.Limits(max_keepalive_connections=0)
            ),
            base_url="http://llama" if unix else f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(None, connect=5.0),
            trust_env=False,
        )

    async def stop(self) -> None:
        """End the process and give everything back. Idempotent."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()
        if self._process is not None:
            process, self._process = self._process, None
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 2.0)
            except TimeoutError:
                await end(process)
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call, one answer. Raises `BadInput` for what the server refuses, `ModelError` when it is gone."""
        import httpx

        try:
            response = await self._ready().post(path, json=body)
        except httpx.HTTPError as error:
            raise self._gone() from error
        if response.status_code != 200:
            raise refusal(response.content)
        return response.json()

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The events of a streamed answer. Closing the iterator closes the connection, which stops the work."""
        import httpx

        try:
            async with self._ready().stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    raise refusal(await response.aread())
                async with contextlib.aclosing(events(response.aiter_bytes())) as stream:
                    async for event in stream:
                        if "error" in event:
                            raise refusal(json.dumps(event).encode())
                        yield event
        except httpx.HTTPError as error:
            raise self._gone() from error

    async def busy_slots(self) -> int:
        """How many slots are at work now."""
        import httpx

        try:
            response = await self._ready().get("/slots")
        except httpx.HTTPError as error:
            raise self._gone() from error
        return sum(bool(slot["is_processing"]) for slot in response.json())

    def _ready(self) -> httpx.AsyncClient:
        if self._client is None or not self.alive:
            raise self._gone()
        return self._client

    def _gone(self) -> ModelError:
        code = self._process.returncode if self._process else None
        how = f" with code {code}" if code is not None else ""
        return ModelError(
            f"The language model's process ended{how}. {self._tail()}".strip(),
            "It is started again at the next question.",
        )

    def _tail(self) -> str:
        """The last line the library wrote, for an error message."""
        if self._log is None:
            return ""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""


def check_gguf(path: Path) -> None:
    """Refuse what is not a GGUF file before a library that aborts reads it."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"The model file {path} can't be read: {error.strerror}.", "Check `chat_model`.") from error
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF model file.", "Run `omni models verify`, or name another file.")


def refusal(body: bytes) -> BadInput:
    """What the server said, as an error of ours."""
    try:
        error = json.loads(body)["error"]
        message, kind = str(error.get("message", error)), str(error.get("type", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        message, kind = body[:200].decode("utf-8", "replace"), ""
    if kind == "exceed_context_size_error":
        return BadInput("The conversation is longer than the model's context.", "Start a new one, or raise `context`.")
    return BadInput(f"The language model refused the request: {message}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
