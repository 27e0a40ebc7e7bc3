"""`omni demo`: the main job on a machine with neither microphone nor browser.

Omni's own voice speaks a question into the loop, in real time, as if a person did. The answer is
heard by a loudspeaker that keeps a WAV file; a second question interrupts it once.
"""

from __future__ import annotations

import asyncio
import json
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import Audio, Synthesizer
from omni.errors import DeadlineExceeded
from omni.events import (
    AudioIn,
    AudioOut,
    BargeIn,
    Notice,
    ReplyFinished,
    SpeechPaused,
    Spoken,
    StageTiming,
    TurnCommitted,
)
from omni.loudspeaker import Loudspeaker
from omni.runtime import Runtime
from omni.session import Session

RATE = 16_000
FRAME = 320  #: samples: 20 ms
QUESTION = "Tell me in a few sentences why the sky is blue."
INTERRUPTION = "Stop, thank you. What is twenty percent of forty two dollars and fifty cents?"


class Microphone:
    """Feeds a session's microphone in real time: what is given to `speak`, and faint noise in between."""

    def __init__(self, session: Session, *, seed: int = 0) -> None:
        self.session = session
        self._noise = np.random.default_rng(seed)
        self._waiting: list[Audio] = []
        self._spoke = asyncio.Event()

    async def run(self) -> None:
        """Send a frame every 20 ms until cancelled."""
        seq, due, rest = 0, self.session.clock.now(), np.zeros(0, np.float32)
        while True:
            if len(rest) < FRAME and self._waiting:
                rest = np.concatenate([rest, self._waiting.pop(0)])
            speaking = len(rest) > 0
            frame, rest = rest[:FRAME], rest[FRAME:]
            frame = np.pad(frame, (0, FRAME - len(frame))) + self._noise.normal(0, 1e-4, FRAME)
            pcm = (np.clip(frame, -1, 1) * 32767).astype("<i2").tobytes()
            self.session.publish(AudioIn, pcm=pcm, seq=seq)
            if speaking and not len(rest) and not self._waiting:
                self._spoke.set()
            seq += 1
            due += FRAME / RATE
            await self.session.clock.sleep_until(due)

    async def speak(self, audio: Audio) -> float:
        """Say `audio` (16 kHz float). Returns the session time at which it ended."""
        self._spoke.clear()
        self._waiting.append(audio)
        await self._spoke.wait()
        return self.session.clock.now()


@dataclass
class Turn:
    """What happened in one turn, for the table and the transcript."""

    asked: str
    heard_as: str = ""
    answer: str = ""
    heard: str = ""
    cut: bool = False
    first_sound_s: float | None = None
    stages: dict[str, float] = field(default_factory=dict)


@dataclass
class Demo:
    """The result: turns, the barge-in delay in seconds, and where the files are."""

    turns: list[Turn]
    barge_in_s: float | None
    notices: list[str]
    reply_wav: str = ""
    transcript: str = ""

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "turns": [vars(t) for t in self.turns],
            "barge_in_s": self.barge_in_s,
            "notices": self.notices,
            "reply_wav": self.reply_wav,
            "transcript": self.transcript,
        }


async def speech(runtime: Runtime, text: str) -> Audio:
    """`text` in Omni's own voice at 16 kHz."""
    import soxr

    voice = runtime.host.get(Synthesizer)
    parts, rate = [], RATE
    async for chunk in voice.synthesize(text):
        parts.append(chunk.audio)
        rate = chunk.rate
    return soxr.resample(np.concatenate(parts), rate, RATE).astype(np.float32)


class _Watcher:
    """Collects what the table needs from the bus."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.turns: dict[int, Turn] = {}
        self.notices: list[str] = []
        self.barge_in_at: float | None = None
        self.finished: dict[int, asyncio.Event] = {}
        self.sounding: dict[int, asyncio.Event] = {}
        session.bus.tap(self.see)

    def event(self, table: dict[int, asyncio.Event], turn: int) -> asyncio.Event:
        return table.setdefault(turn, asyncio.Event())

    def see(self, event: Any) -> None:
        """Take note of one event of the bus."""
        turn = self.turns.setdefault(event.turn, Turn(""))
        if isinstance(event, TurnCommitted):
            turn.heard_as = event.text
        elif isinstance(event, StageTiming):
            turn.stages[event.stage] = round(event.seconds, 3)
        elif isinstance(event, ReplyFinished):
            turn.answer = event.text
        elif isinstance(event, Spoken):
            turn.heard, turn.cut = event.text, event.cut
            if event.final:
                self.event(self.finished, event.turn).set()
        elif isinstance(event, AudioOut):
            self.event(self.sounding, event.turn).set()
        elif isinstance(event, BargeIn):
            self.barge_in_at = self.session.clock.now()
        elif isinstance(event, Notice) and event.text:
            self.notices.append(event.text)
        elif isinstance(event, SpeechPaused):
            turn.stages.setdefault("speech_paused_at", round(event.at, 3))


async def run_demo(runtime: Runtime, out: Path, *, patience_s: float = 60.0) -> Demo:
    """Play the scene on a started runtime and write `reply.wav` and `transcript.json` under `out`.

    Raises `DeadlineExceeded` when a turn takes longer than `patience_s`.
    """
    question, interruption = await speech(runtime, QUESTION), await speech(runtime, INTERRUPTION)
    conversation = await runtime.open_session({"off_the_record": True})
    session = conversation.session
    watcher = _Watcher(session)
    pieces: list[AudioOut] = []
    speaker, microphone = Loudspeaker(session, pieces.append), Microphone(session)
    tasks = [asyncio.create_task(speaker.run()), asyncio.create_task(microphone.run())]
    try:
        async with asyncio.timeout(patience_s * 2):
            await asyncio.sleep(1.0)
            ends = [await microphone.speak(question)]
            first = await _turn_that(watcher, lambda t: bool(t.heard_as))
            await watcher.event(watcher.sounding, first).wait()
            await asyncio.sleep(2.0)
            began = session.clock.now()
            ends.append(await microphone.speak(interruption))
            second = await _turn_that(watcher, lambda t: bool(t.heard_as), after=first)
            await watcher.event(watcher.finished, second).wait()
    except TimeoutError:
        raise DeadlineExceeded(
            f"The demonstration did not finish in {patience_s * 2:.0f} s.",
            "Run `omni doctor`; it says what is missing.",
        ) from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runtime.close_session(session.id)
    for turn, asked, end in ((first, QUESTION, ends[0]), (second, INTERRUPTION, ends[1])):
        watcher.turns[turn].asked = asked
        watcher.turns[turn].first_sound_s = (
            round(speaker.first_sound[turn] - end, 3) if turn in speaker.first_sound else None
        )
    silent = [at for at in (*speaker.held_at, *speaker.flushed_at) if at >= began]
    barge_in = round(min(silent) - began, 3) if speaker.flushed_at else None
    demo = Demo([watcher.turns[first], watcher.turns[second]], barge_in, watcher.notices)
    _save(demo, pieces, out)
    return demo


async def _turn_that(watcher: _Watcher, holds: Any, after: int = 0) -> int:
    while True:
        for number, turn in list(watcher.turns.items()):
            if number > after and holds(turn):
                return number
        await asyncio.sleep(0.02)


def _save(demo: Demo, pieces: list[AudioOut], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    wav, transcript = out / "reply.wav", out / "transcript.json"
    with wave.open(str(wav), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(pieces[0].rate if pieces else RATE)
        file.writeframes(b"".join(piece.pcm for piece in pieces))
    demo.reply_wav, demo.transcript = str(wav), str(transcript)
    transcript.write_text(json.dumps(demo.as_json(), indent=2, ensure_ascii=False))


def print_demo(demo: Demo) -> None:
    """The scene as a person would like to read it."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for number, turn in enumerate(demo.turns, 1):
        console.print(f"\n[bold]Turn {number}[/bold]")
        console.print(f"  asked     {turn.asked}")
        console.print(f"  heard as  {turn.heard_as}")
        console.print(f"  answered  {turn.heard}" + ("  [yellow](cut off here)[/yellow]" if turn.cut else ""))
        table = Table("stage", "seconds", box=None, pad_edge=False)
        for stage, seconds in turn.stages.items():
            if stage != "speech_paused_at":
                table.add_row(stage.replace("_", " "), f"{seconds:.3f}")
        if turn.first_sound_s is not None:
            table.add_row("[bold]end of speech to first sound[/bold]", f"[bold]{turn.first_sound_s:.3f}[/bold]")
        console.print(table)
    if demo.barge_in_s is not None:
        console.print(f"\nInterruption: silent {demo.barge_in_s:.3f} s after the person began to speak.")
    console.print(f"Reply: {demo.reply_wav}\nTranscript: {demo.transcript}")
