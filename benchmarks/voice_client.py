"""A client that talks to a running Omni over its WebSocket as the page does: a microphone and a loudspeaker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import struct
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np

RATE = 16_000
FRAME = 320  #: samples: 20 ms
_voice = struct.Struct("<BIIQI")
#: A sample counts as sound above this share of full scale.
AUDIBLE = 0.01
PATIENCE_S = 60.0
#: Seconds Omni gets to be ready.
START_S = 180.0
#: A loudspeaker that was asked to wait goes on by itself after this many seconds.
HOLD_S = 2.0


@dataclass(frozen=True)
class Address:
    """Where a running Omni is, and the key to it."""

    port: int
    token: str
    pid: int = 0  #: of the process that serves it

    @property
    def socket(self) -> str:
        """The WebSocket's address."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def origin(self) -> str:
        """The page's own origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def subprotocols(self) -> list[str]:
        """How a program shows its key."""
        return ["omni", f"omni.token.{self.token}"]


class VoiceClient:
    """Streams recordings in real time, plays what comes back, and keeps the times of what happened.

    All times are `time.monotonic()` seconds. Use as an async context manager.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self.committed: list[dict[str, Any]] = []
        self.committed_at: dict[int, float] = {}
        self.audible_at: dict[int, float] = {}
        self.flushed_at: dict[int, float] = {}
        self.replies: dict[int, str] = {}
        self.stages: dict[int, dict[str, float]] = {}
        self.final: dict[int, float] = {}
        self._received: dict[int, int] = {}
        self._rate = RATE
        self._began: dict[int, float] = {}
        self._recording: list[np.ndarray] = []
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._noise = np.random.default_rng(0)
        self._speak_began: asyncio.Future[float] | None = None
        self._held_since: float | None = None
        self._saying = False

    @property
    def speaking(self) -> bool:
        """Whether a recording is being said."""
        return bool(self._recording) or self._saying

    @property
    def last_turn(self) -> int:
        """The last committed turn."""
        return self.committed[-1]["turn"] if self.committed else 0

    async def __aenter__(self) -> VoiceClient:
        from websockets.asyncio.client import connect

        self._socket = await connect(
            self._address.socket, subprotocols=self._address.subprotocols, origin=self._address.origin, max_size=2**24
        )
        self._tasks = [asyncio.create_task(work()) for work in (self._read, self._microphone, self._loudspeaker)]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()

    async def speak(self, audio: np.ndarray) -> float:
        """Begin to say a recording; returns when its first frame goes out, without waiting for its end."""
        self._speak_began = asyncio.get_running_loop().create_future()
        self._recording.append(audio)
        return await self._speak_began

    async def type(self, text: str) -> None:
        """Ask in writing; the answer is spoken all the same."""
        await self._socket.send(json.dumps({"type": "Say", "text": text}))

    async def wait_for_answer(self, after: int) -> int:
        """The turn whose answer sounds when the recording is over: not one that was cut off by more speech."""
        await self._until(lambda: not self.speaking and self.last_turn > after and self.last_turn in self.audible_at)
        return self.last_turn

    async def wait_for_flush(self, turn: int) -> float | None:
        """When the answer was silenced; None when it came to its own end first."""
        await self._until(lambda: turn in self.flushed_at or turn in self.final)
        return self.flushed_at.get(turn)

    async def wait_until_quiet(self) -> None:
        """Return when nobody speaks: the recording is over and the last answer was heard to its end, or cut."""
        await self._until(lambda: not self.speaking)
        await asyncio.sleep(1.5)  # the last words may still become a turn
        await self._until(lambda: not self.speaking and (self.last_turn in self.final or not self.last_turn))

    async def _until(self, holds: Any) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(holds)

    async def _read(self) -> None:
        async for frame in self._socket:
            now = time.monotonic()
            if isinstance(frame, bytes):
                self._on_voice(frame, now)
            else:
                self._on_event(json.loads(frame), now)
            async with self._changed:
                self._changed.notify_all()

    def _on_voice(self, frame: bytes, now: float) -> None:
        _, turn, rate, offset, _ = _voice.unpack_from(frame)
        pcm = np.frombuffer(frame, "<i2", offset=_voice.size)
        self._rate = rate
        self._began.setdefault(turn, now - offset / rate)
        self._received[turn] = offset + len(pcm)
        loud = np.flatnonzero(np.abs(pcm) > AUDIBLE * 32768)
        if turn not in self.audible_at and len(loud):
            self.audible_at[turn] = max(now, self._began[turn] + (offset + int(loud[0])) / rate)

    def _on_event(self, event: dict[str, Any], now: float) -> None:
        kind, turn = event.get("type"), event.get("turn", 0)
        if kind == "TurnCommitted":
            self.committed.append(event)
            self.committed_at[turn] = now
        elif kind == "AudioHold":
            self._hold(now if event["held"] else None, now)
        elif kind == "AudioFlush":
            self.flushed_at.setdefault(turn, self._held_since or now)
            self._held_since = None
            self._received.pop(turn, None)
        elif kind == "StageTiming":
            self.stages.setdefault(turn, {})[event["stage"]] = event["seconds"]
        elif kind == "ReplyFinished":
            self.replies[turn] = event["text"]
        elif kind == "Spoken" and event.get("final"):
            self.final[turn] = now

    def _hold(self, since: float | None, now: float) -> None:
        """Stand still from `since` on, or go on: what was to sound later sounds that much later."""
        if since is None and self._held_since is not None:
            for turn in self._began:
                self._began[turn] += now - self._held_since
        self._held_since = since if self._held_since is None or since is None else self._held_since

    async def _microphone(self) -> None:
        seq, due, rest = 0, time.monotonic(), np.zeros(0, np.float32)
        while True:
            if len(rest) == 0 and self._recording:
                rest = self._recording.pop(0)
                self._saying = True
                if self._speak_began and not self._speak_began.done():
                    self._speak_began.set_result(due)
            frame, rest = rest[:FRAME], rest[FRAME:]
            if self._saying and len(rest) == 0 and not self._recording:
                self._saying = False
                async with self._changed:
                    self._changed.notify_all()
            frame = np.pad(frame, (0, FRAME - len(frame))) + self._noise.normal(0, 1e-4, FRAME)
            pcm = (np.clip(frame, -1, 1) * 32767).astype("<i2").tobytes()
            await self._socket.send(struct.pack("<BI", 1, seq) + pcm)
            seq += 1
            due += FRAME / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _loudspeaker(self) -> None:
        """Say ten times a second how much has been played."""
        told: dict[int, int] = {}
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            if self._held_since is not None:
                if now - self._held_since < HOLD_S:
                    continue
                self._hold(None, now)
            for turn, received in list(self._received.items()):
                played = min(received, int((now - self._began[turn]) * self._rate))
                if played != told.get(turn):
                    told[turn] = played
                    message = {"type": "Played", "turn": turn, "samples": played, "final": played >= received}
                    await self._socket.send(json.dumps(message))


@contextlib.asynccontextmanager
async def running_omni() -> AsyncIterator[Address]:
    """Omni in a process of its own, on a free port, with a data folder of its own and the models of this machine."""
    from omni.config import load_config

    with tempfile.TemporaryDirectory() as home:
        env = {
            **os.environ,
            "OMNI_HOME": home,
            "OMNI__MODELS__DIR": str(load_config().models_dir),
            "PYTHONUNBUFFERED": "1",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "omni.cli.main", "run", "--port", "0",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=env,
        )  # fmt: skip
        assert process.stdout
        drain: asyncio.Task[Any] | None = None
        try:
            address, lines = None, []
            async with asyncio.timeout(START_S):
                async for line in process.stdout:
                    lines.append(line.decode().rstrip())
                    if match := re.search(r"http://[^:]+:(\d+)/#token=(\S+)", lines[-1]):
                        address = Address(int(match[1]), match[2], process.pid)
                    if lines[-1].startswith("Ready"):
                        break
            if address is None:
                raise RuntimeError("Omni did not start:\n" + "\n".join(lines))
            drain = asyncio.create_task(process.stdout.read())
            yield address
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 10)
            if process.returncode is None:
                process.kill()
                await process.wait()
            if drain:
                await drain
