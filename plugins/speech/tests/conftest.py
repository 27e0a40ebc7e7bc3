"""Scripted collaborators for the listener: what is said is written on a timeline, and time is virtual."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from omni_speech.listener import Listener

from omni.capabilities import Transcript
from omni.events import AudioIn, Event, SessionClosed
from omni.session import Session

RATE = 16_000


class ScriptedDetector:
    """Knows from the sample values who speaks: the fake microphone writes the time of day into the sound."""

    def probability(self, frame):
        return 0.95 if float(np.max(np.abs(frame))) > 0.01 else 0.02


class ScriptedVoiceActivity:
    async def open(self):
        pass

    async def close(self):
        pass

    def detector(self):
        return ScriptedDetector()


@dataclass
class ScriptedTranscriber:
    """Gives the words of the script that lie in the audio, after `seconds` of thinking.

    The level of the sound carries which words are said: sample value = (index + 1) * 0.02.
    """

    words: list[str] = field(default_factory=list)
    seconds: float = 0.1
    calls: list[float] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    error: Exception | None = None
    instead: list[Transcript | Exception] = field(default_factory=list)  #: what the next calls give or raise

    async def open(self):
        pass

    async def close(self):
        pass

    async def transcribe(self, audio, *, prompt="", words=False, language=None):
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.calls.append(audio.size / RATE)
        try:
            await asyncio.sleep(self.seconds)
            if self.error:
                raise self.error
            if self.instead:
                given = self.instead.pop(0)
                if isinstance(given, Exception):
                    raise given
                return given
            heard = np.round(np.abs(audio) / 0.02).astype(int)
            # A word counts once at least 0.1 s of it is there.
            present = [i for i in range(1, len(self.words) + 1) if int((heard == i).sum()) >= RATE // 10]
            return Transcript(" ".join(self.words[i - 1] for i in present), confidence=0.9 if present else 0.0)
        finally:
            self.running -= 1


class Scene:
    """A session with a listener, a microphone to speak into, and everything that was published."""

    def __init__(self, *, seconds: float = 0.1, small=None, hold: bool = True, pauses=None) -> None:
        self.session = Session(host=None)
        self.events: list[Event] = []
        self.session.bus.tap(lambda e: self.events.append(e) if not isinstance(e, AudioIn) else None)
        self.transcriber = ScriptedTranscriber(seconds=seconds)
        self.listener = Listener(ScriptedVoiceActivity(), self.transcriber, small=small, hold=hold, pauses=pauses)
        self._seq = 0

    async def __aenter__(self):
        self._task = asyncio.create_task(self.listener.run(self.session))
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_):
        self.session.publish(SessionClosed)
        await asyncio.wait_for(self._task, 5)

    async def say(self, *words: str, each: float = 0.3) -> None:
        """Speak words, each `each` seconds long, without a pause."""
        for word in words:
            self.transcriber.words.append(word)
            await self._sound(len(self.transcriber.words) * 0.02, each)

    async def silence(self, seconds: float) -> None:
        await self._sound(0.0, seconds)

    async def sound(self, audio) -> None:
        """Any samples, in real time."""
        for start in range(0, audio.size - 319, 320):
            await asyncio.sleep(0.02)
            pcm = (audio[start : start + 320] * 32768).astype("<i2").tobytes()
            self.session.publish(AudioIn, pcm=pcm, seq=self._seq)
            self._seq += 1

    async def _sound(self, level: float, seconds: float) -> None:
        # The sign is random: as loud in all bands as a voice roughly is, while |sample| carries the word.
        signs = np.random.default_rng(self._seq).choice([-1.0, 1.0], int(seconds * RATE))
        await self.sound((level * signs).astype(np.float32))

    def of(self, *kinds: type) -> list[Event]:
        """The events of these types, in order."""
        return [e for e in self.events if isinstance(e, kinds)]

    def names(self, *kinds: type) -> list[str]:
        return [type(e).__name__ for e in self.of(*kinds)]


@pytest.fixture
def scene():
    """The class `Scene`: `async with scene() as on: ...` on virtual time."""
    return Scene


class Answer:
    """Omni speaks in a scene: pieces of voice as a reply sends them, played by the virtual loudspeaker.

    `echo` is how loud its voice comes back into the microphone; the microphone is fed by `listen`.
    """

    def __init__(self, on: Scene, text: str, seconds: float = 8.0, *, seed: int = 3) -> None:
        from omni.loudspeaker import Loudspeaker

        self.on = on
        self.turn = on.session.turns.turn
        self.text = text
        rng = np.random.default_rng(seed)
        time = np.arange(int(seconds * 22050)) / 22050
        syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time)
        self.audio = (rng.normal(0, 0.08, time.size) * syllables).astype(np.float32)
        self.speaker = Loudspeaker(on.session)
        self._task = asyncio.create_task(self.speaker.run())

    async def start(self) -> None:
        from omni.events import AudioOut

        pcm = (self.audio * 32767).astype("<i2").tobytes()
        for start in range(0, len(pcm), 4410):
            piece = pcm[start : start + 4410]
            await self.on.session.send(
                AudioOut, turn=self.turn, pcm=piece, rate=22050, offset=start // 2, clause=0,
                text=self.text if start == 0 else "",
            )  # fmt: skip

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
def answer():
    """The class `Answer`."""
    return Answer
