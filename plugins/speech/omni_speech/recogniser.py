"""Recognition in the listener's service: never more than one in flight, the newest wish wins, and a lighter way of
working when the machine can't keep up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from omni.capabilities import Audio, Transcriber, Transcript
from omni.clock import Clock
from omni.errors import OmniError
from omni_speech.hearing import is_long

logger = logging.getLogger(__name__)

#: Seconds that recognising the tail may take before it counts as too slow, and below which it counts as quick.
SLOW_S = 0.6
QUICK_S = 0.25
#: Slow results in a row before the next lighter way, and quick ones before the way back.
PATIENCE = 3
RECOVERY = 8

FULL, NO_PARTIALS, SMALL_MODEL = range(3)

_NOTICES = {
    FULL: "",
    NO_PARTIALS: "This machine is busy: live captions wait until you pause.",
    SMALL_MODEL: "This machine is very busy: I listen with a smaller model and may mishear more.",
}


@dataclass(slots=True)
class Job:
    """A wish to recognise what `source` gives when its turn comes: (audio, what was said before it).

    `final` when speech has paused; `key` (utterance, samples of it that were speech) is the asker's own.
    """

    source: Callable[[], tuple[Audio, str]]
    final: bool
    key: tuple[int, int]
    audio: Audio = field(default_factory=lambda: np.zeros(0, np.float32))


class Recogniser:
    """Runs `Job`s one at a time and calls `done(job, transcript, seconds)` on the loop.

    `small` gives the lighter recogniser, opened when it is first needed; `notice(text)` tells the person
    about a change, with an empty text when all is well again.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        done: Callable[[Job, Transcript, float], None],
        *,
        clock: Clock,
        small: Callable[[], Awaitable[Transcriber]] | None = None,
        notice: Callable[[str], None] = lambda text: None,
        failed: Callable[[Job, OmniError], None] = lambda job, error: None,
        language: str | None = None,
    ) -> None:
        self._transcriber = transcriber
        self._done = done
        self._clock = clock
        self._make_small = small
        self._small: Transcriber | None = None
        self._notice = notice
        self._failed = failed
        self._language = language
        self._task: asyncio.Task[None] | None = None
        self._waiting: Job | None = None
        self.level = FULL
        self._slow = self._quick = 0
        self.last_s = 0.1

    @property
    def busy(self) -> bool:
        """Whether something is being recognised."""
        return self._task is not None and not self._task.done()

    def ask(self, job: Job) -> bool:
        """Recognise this next; a wish that still waits is replaced. False: no time for a partial."""
        if not job.final and (self.busy or self.level >= NO_PARTIALS):
            return False
        if self.busy:
            self._waiting = job
        else:
            self._task = asyncio.create_task(self._run(job), name="recognise")
        return True

    def forget(self) -> None:
        """Drop the wish that waits; what runs will be ignored by its key."""
        self._waiting = None

    async def close(self) -> None:
        """Stop, and wait until nothing runs."""
        self._waiting = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._small is not None:
            await self._small.close()
            self._small = None

    async def _run(self, job: Job | None) -> None:
        while job is not None:
            began = self._clock.now()
            try:
                transcript = await self._recognise(job)
            except OmniError as error:
                self._failed(job, error)
            except Exception as error:  # a recogniser that breaks must not end the listening
                logger.exception("the recogniser failed")
                sentence = f"The recogniser failed ({type(error).__name__}: {error})."
                self._failed(job, OmniError(sentence, "Say it again."))
            else:
                seconds = self._clock.now() - began
                self.last_s = 0.7 * self.last_s + 0.3 * seconds
                await self._weigh(seconds, job)
                self._done(job, transcript, seconds)
            job, self._waiting = self._waiting, None

    async def _recognise(self, job: Job) -> Transcript:
        transcriber = self._small if self.level == SMALL_MODEL and self._small else self._transcriber
        job.audio, prompt = job.source()
        words = not job.final and is_long(job.audio)
        return await transcriber.transcribe(job.audio, prompt=prompt, words=words, language=self._language)

    async def _weigh(self, seconds: float, job: Job) -> None:
        """Go to a lighter way after several slow results in a row, and back after many quick ones."""
        allowed = SLOW_S + 0.05 * job.audio.size / 16_000
        self._slow = self._slow + 1 if seconds > allowed else 0
        self._quick = self._quick + 1 if seconds < QUICK_S + 0.03 * job.audio.size / 16_000 else 0
        level = self.level
        if self._slow >= PATIENCE and level < SMALL_MODEL:
            level += 1
        elif self._quick >= RECOVERY and level > FULL:
            level -= 1
        if level == SMALL_MODEL and self._small is None:
            level = SMALL_MODEL if await self._open_small() else NO_PARTIALS
        if level != self.level:
            self.level, self._slow, self._quick = level, 0, 0
            self._notice(_NOTICES[level])

    async def _open_small(self) -> bool:
        if self._make_small is None:
            return False
        try:
            self._small = await self._make_small()
        except OmniError as error:
            logger.warning("no smaller recogniser: %s", error)
            self._make_small = None
            return False
        return True
