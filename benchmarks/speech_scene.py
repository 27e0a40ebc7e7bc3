"""A room for the listener: real models, real voices, virtual time.

A person and a loudspeaker share a room; what the microphone hears is computed sample by sample, so that when the
loudspeaker is held its echo stops, as it does in life.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soxr
from omni_speech.listener import Listener
from omni_speech.phonemes import Phonemizer
from omni_speech.piper import PiperVoice
from omni_speech.transcriber import WhisperTranscriber
from omni_speech.voice_activity import SileroVoiceActivity

from omni.catalogue import ModelStore
from omni.config import load_config
from omni.events import (
    AudioFlush,
    AudioHold,
    AudioIn,
    AudioOut,
    BargeIn,
    Event,
    Played,
    ReplyFinished,
    SessionClosed,
    TurnCommitted,
)
from omni.session import Session

RATE = 16_000
STEP = 320


class Models:
    """The default models, each loaded once. Use from one loop at a time."""

    def __init__(self) -> None:
        self.store = ModelStore.from_config(load_config())

    def folder(self, name: str):
        """What a capability of the plugin takes: gives the model's folder."""
        return lambda: self.store.path(name)

    async def open(self) -> None:
        """Load ears and voices."""
        self.vad = SileroVoiceActivity(self.folder("silero-vad"))
        self.whisper = WhisperTranscriber(self.folder("whisper-base"))
        await self.vad.open()
        await self.whisper.open()

    async def phonemizer(self) -> Phonemizer:
        """The dictionary."""
        return Phonemizer.load(await self.store.path("misaki-english"), await self.store.path("g2p-en"))

    def piper(self) -> PiperVoice:
        """Omni's quick voice."""
        return PiperVoice(self.folder("piper-joe"), self.phonemizer)

    def kokoro(self):
        """The voices that play people."""
        from omni_speech.kokoro import KokoroVoice

        return KokoroVoice(self.folder("kokoro-82m"), self.phonemizer)


async def speak(voice, text: str, name: str = "") -> np.ndarray:
    """`text` as 16 kHz samples, silence at both ends removed."""
    parts = [chunk.audio async for chunk in voice.synthesize(text, voice=name)]
    return trimmed(soxr.resample(np.concatenate(parts), voice.rate, RATE).astype(np.float32))


def trimmed(audio: np.ndarray, floor: float = 0.01) -> np.ndarray:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(audio) > floor)
    return audio[max(0, loud[0] - 160) : loud[-1] + 160] if loud.size else audio


def levelled(audio: np.ndarray, rms: float = 0.06) -> np.ndarray:
    """At a root mean square of `rms` over its speech."""
    loud = audio[np.abs(audio) > 0.02]
    return audio * (rms / max(float(np.sqrt(np.mean(loud**2))) if loud.size else 1.0, 1e-6))


def impulse_response(gain_db: float, delay_ms: float, rt60_s: float, seed: int) -> np.ndarray:
    """A loudspeaker in a room as the microphone hears it: a delayed direct path and an exponential tail."""
    rng = np.random.default_rng(seed)
    delay = int(delay_ms / 1000 * RATE)
    tail = rng.normal(0, 1, int(rt60_s * RATE)) * np.exp(-6.9 * np.arange(int(rt60_s * RATE)) / (rt60_s * RATE))
    response = np.zeros(delay + tail.size + 1, np.float32)
    response[delay] = 1.0
    response[delay + 1 :] += 0.5 * tail / max(np.sqrt(np.sum(tail**2)), 1e-9)
    return (response * 10 ** (gain_db / 20)).astype(np.float32)


@dataclass
class Room:
    """Plays `answer` from second 1 on, lets `person` speak at `person_at`, and listens with Omni's listener."""

    models: Models
    answer: np.ndarray
    text: str
    response: np.ndarray
    person: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    person_at: float = 4.0
    noise: float = 0.001
    jitter_s: float = 0.015  #: how wrong the reports of the loudspeaker are
    seed: int = 0
    listener: Listener | None = None

    async def run(self, seconds: float) -> list[Event]:
        """Everything that was published, the microphone apart."""
        session = Session(host=None)
        events: list[Event] = []
        session.bus.tap(lambda e: events.append(e) if not isinstance(e, AudioIn | AudioOut | Played) else None)
        control = session.bus.subscribe(AudioFlush, AudioHold, BargeIn)
        listener = self.listener or Listener(self.models.vad, self.models.whisper)
        task = asyncio.create_task(listener.run(session))
        await asyncio.sleep(0.05)
        turn, _ = session.turns.begin()
        session.publish(TurnCommitted, turn=turn, text="Tell me.", source="text")
        await self._live(session, control, seconds, turn)
        session.publish(SessionClosed)
        await asyncio.wait_for(task, 30)
        return events

    async def _live(self, session: Session, control, seconds: float, turn: int) -> None:
        rng = np.random.default_rng(self.seed)
        position, held, stopped, sent = 0, False, False, False
        echo = np.zeros(STEP + self.response.size, np.float32)
        zero = session.clock.now()
        for step in range(int(seconds * RATE / STEP)):
            await session.clock.sleep_until(zero + (step + 1) * STEP / RATE)
            now = step * STEP / RATE
            while (event := control.get_nowait()) is not None:
                if isinstance(event, AudioHold):
                    held = event.held
                elif isinstance(event, BargeIn):
                    stopped = True
                    session.publish(AudioFlush, turn=turn)
                    session.publish(ReplyFinished, turn=turn, text=self.text, reason="cut")
            if now >= 1.0 and not sent:
                await self._send(session, turn)
                sent = True
            block = np.zeros(STEP, np.float32)
            if sent and not held and not stopped and position < self.answer.size:
                piece = self.answer[position : position + STEP]
                block[: piece.size] = piece
                position += STEP
            if sent and not stopped and step % 5 == 0:
                wrong = int(rng.normal(0, self.jitter_s) * RATE)
                done = position >= self.answer.size
                samples = int(np.clip(position + wrong, 0, self.answer.size))
                session.publish(Played, turn=turn, samples=samples, final=done)
            echo[: block.size + self.response.size - 1] += np.convolve(block, self.response)
            heard = echo[:STEP] + rng.normal(0, self.noise, STEP)
            echo = np.concatenate([echo[STEP:], np.zeros(STEP, np.float32)])
            start = int((now - self.person_at) * RATE)
            if self.person.size and -STEP < start < self.person.size:
                piece = self.person[max(0, start) : max(0, start + STEP)]
                heard[-piece.size if start < 0 else 0 :][: piece.size] += piece
            pcm = (np.clip(heard, -1, 1) * 32767).astype("<i2").tobytes()
            session.publish(AudioIn, pcm=pcm, seq=step)

    async def _send(self, session: Session, turn: int) -> None:
        pcm = (np.clip(self.answer, -1, 1) * 32767).astype("<i2").tobytes()
        for offset in range(0, len(pcm), 3200):
            await session.send(
                AudioOut, turn=turn, pcm=pcm[offset : offset + 3200], rate=RATE, offset=offset // 2, clause=0,
                text=self.text if offset == 0 else "",
            )  # fmt: skip


def speech_files(data: Path) -> list[tuple[Path, str]]:
    """The shared speech with its transcripts: sentences read aloud, and short commands."""
    found = [(t.with_suffix(".wav"), t.read_text().strip()) for t in sorted((data / "librivox").glob("*.txt"))]
    cards = data / "cards" / "cards.transcription"
    if cards.is_file():
        for line in cards.read_text().splitlines():
            if match := re.match(r"<s> (.*) </s> \((\d+)\)", line):
                found.append((data / "cards" / f"{match[2]}.wav", match[1].strip()))
    return found


def load(path: Path) -> np.ndarray:
    """A sound file as 16 kHz mono float32."""
    from faster_whisper import decode_audio

    return decode_audio(str(path), sampling_rate=RATE)
