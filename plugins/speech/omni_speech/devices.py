"""Microphone and loudspeaker of this machine by PortAudio, for `omni run` without a browser.

The loudspeaker reports what it played (`Played`), waits (`AudioHold`) and falls silent at once
(`AudioFlush`), as the page does. There is no echo cancellation here: the listener's echo guard does without.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np

from omni.bus import MailboxClosed, Overflow
from omni.capabilities import Audio
from omni.errors import OmniError
from omni.events import AudioFlush, AudioHold, AudioIn, AudioOut, Played, SessionClosed
from omni.session import Session

RATE = 16_000
FRAME = 320
#: A held loudspeaker goes on by itself after this time.
HOLD_LIMIT_S = 2.0
#: How often the loudspeaker says how far it is.
REPORT_S = 0.05


class NoDevice(OmniError):
    """There is no microphone or loudspeaker, or it can't be opened."""

    exit_code = 2


def sound_library() -> Any:
    """The `sounddevice` module. Raises `NoDevice` with what to install when PortAudio is missing."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise NoDevice(
            f"This machine's sound can't be used ({error}).",
            "Debian and Ubuntu: apt install libportaudio2. Or use the page, which needs none of it.",
        ) from error
    return sounddevice


def device_names() -> tuple[list[str], str]:
    """The names of the sound devices, and why there are none."""
    try:
        names = [device["name"] for device in sound_library().query_devices()]
    except NoDevice as error:
        return [], error.message
    except Exception as error:  # PortAudio's own errors
        return [], str(error)
    return names, "" if names else "no sound device was found"


class Microphone:
    """Publishes `AudioIn` from this machine's microphone until cancelled."""

    def __init__(self, session: Session, device: int | str | None = None, library: Any = None) -> None:
        self._session = session
        self._device = device
        self._library = library

    async def run(self) -> None:
        """Record. Raises `NoDevice` when the microphone can't be opened."""
        library = self._library or sound_library()
        loop = asyncio.get_running_loop()
        sequence = 0

        def publish(pcm: bytes) -> None:
            nonlocal sequence
            self._session.publish(AudioIn, pcm=pcm, seq=sequence)
            sequence += 1

        def on_block(data: Any, frames: int, when: Any, status: Any) -> None:
            loop.call_soon_threadsafe(publish, bytes(data))

        try:
            stream = library.RawInputStream(
                samplerate=RATE, channels=1, dtype="int16", blocksize=FRAME, device=self._device, callback=on_block
            )
        except Exception as error:
            raise NoDevice(f"The microphone can't be opened: {error}.", "`omni doctor` says what is there.") from error
        with stream:
            await asyncio.Event().wait()


class Speaker:
    """Plays a session's `AudioOut` on this machine's loudspeaker until the session closes."""

    def __init__(self, session: Session, device: int | str | None = None, library: Any = None) -> None:
        self._session = session
        self._device = device
        self._library = library
        self._lock = threading.Lock()
        self._queue: list[Audio] = []
        self._turn = 0
        self._rate = 0
        self._played = 0
        self._sounding = False
        self._held_at: float | None = None
        self._stream: Any = None

    async def run(self) -> None:
        """Play. Raises `NoDevice` when the loudspeaker can't be opened."""
        mailbox = self._session.bus.subscribe(
            AudioOut, AudioFlush, AudioHold, SessionClosed, capacity=4096, overflow=Overflow.WAIT, name="speaker"
        )
        reporter = asyncio.create_task(self._report(), name="speaker reports")
        try:
            while True:
                event = await mailbox.get()
                if isinstance(event, SessionClosed):
                    return
                if isinstance(event, AudioOut):
                    self._take(event)
                elif isinstance(event, AudioHold):
                    self._held_at = self._session.clock.now() if event.held else None
                elif isinstance(event, AudioFlush):
                    with self._lock:
                        self._queue.clear()
                    self._held_at = None
                    self._session.publish(Played, turn=event.turn, samples=self._played, final=True)
        except MailboxClosed:
            return
        finally:
            reporter.cancel()
            await asyncio.gather(reporter, return_exceptions=True)
            self._session.bus.unsubscribe(mailbox)
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def _take(self, event: AudioOut) -> None:
        if self._stream is None or event.rate != self._rate:
            self._open(event.rate)
        piece = np.frombuffer(event.pcm, "<i2").astype(np.float32) / 32768.0
        with self._lock:
            if event.turn != self._turn:
                self._turn, self._played = event.turn, event.offset
                self._queue.clear()
            self._queue.append(piece)
            self._sounding = True

    def _open(self, rate: int) -> None:
        library = self._library or sound_library()
        if self._stream is not None:
            self._stream.close()
        try:
            self._stream = library.OutputStream(
                samplerate=rate, channels=1, dtype="float32", device=self._device, callback=self._fill, latency="low"
            )
            self._stream.start()
        except Exception as error:
            raise NoDevice(f"The loudspeaker can't be opened: {error}.", "`omni doctor` says what is there.") from error
        self._rate = rate

    def _fill(self, out: Any, frames: int, when: Any, status: Any) -> None:
        """In PortAudio's thread: the next samples, or silence."""
        out[:] = 0.0
        if self._held_at is not None:
            return
        filled = 0
        with self._lock:
            while filled < frames and self._queue:
                piece = self._queue[0]
                take = min(piece.size, frames - filled)
                out[filled : filled + take, 0] = piece[:take]
                filled += take
                if take == piece.size:
                    self._queue.pop(0)
                else:
                    self._queue[0] = piece[take:]
            self._played += filled

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            now = self._session.clock.now()
            if self._held_at is not None and now - self._held_at > HOLD_LIMIT_S:
                self._held_at = None
            if self._sounding:
                with self._lock:
                    final = not self._queue
                self._sounding = not final
                self._session.publish(Played, turn=self._turn, samples=self._played, final=final)
