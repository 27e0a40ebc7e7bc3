"""Which voice speaks: the one that was named, or the most natural one that is quick enough on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from omni.capabilities import SpeechChunk, Synthesizer
from omni.errors import OmniError

logger = logging.getLogger(__name__)

#: The first clause of an answer may cost this many seconds, so that the whole answer is in time.
FIRST_CLAUSE_S = 0.30
#: What is spoken to find out: as long as a usual first clause.
SAMPLE = "Here is what I found,"
PIPER, KOKORO = "piper", "kokoro"


class ChosenVoice:
    """The `Synthesizer` capability: `choice` is "auto", "piper" or "kokoro".

    "auto" starts with Piper. Where Kokoro is installed it is measured once, and the result is kept in
    `memory` (a JSON file) for this number of processors: it speaks only if its first clause takes no longer than
    `FIRST_CLAUSE_S`. A call may name a voice: "piper", "kokoro", or one of Kokoro's ("af_heart").
    """

    def __init__(
        self,
        make: dict[str, Callable[[], Synthesizer]],
        *,
        choice: str = "auto",
        memory: Path,
        installed: Callable[[str], bool],
    ) -> None:
        self._make = make
        self._choice = choice
        self._memory = memory
        self._installed = installed
        self._open: dict[str, Any] = {}
        self._lock = asyncio.Lock()
        self._default = PIPER
        self.rate = 22050

    async def open(self) -> None:
        """Load the voice, choosing it first where that is left to us."""
        self._default = self._choice if self._choice in self._make else await self._choose()
        self.rate = (await self._voice(self._default)).rate

    async def close(self) -> None:
        """Give the memory back. Idempotent."""
        voices, self._open = self._open, {}
        for voice in voices.values():
            await voice.close()

    async def synthesize(self, text: str, *, voice: str = "", speed: float = 1.0) -> AsyncIterator[SpeechChunk]:
        """Speak one clause with the chosen voice, or with the one that is named."""
        kind = voice if voice in self._make else KOKORO if voice else self._default
        speaker = await self._voice(kind)
        async for chunk in speaker.synthesize(text, voice="" if voice in self._make else voice, speed=speed):
            yield chunk

    async def _voice(self, kind: str) -> Synthesizer:
        async with self._lock:
            if kind not in self._open:
                speaker = self._make[kind]()
                await speaker.open()
                self._open[kind] = speaker
            return self._open[kind]

    async def _choose(self) -> str:
        if not self._installed(KOKORO):
            return PIPER
        processors = os.cpu_count() or 1
        known = self._remembered()
        if known.get("processors") == processors:
            return KOKORO if known["kokoro_s"] <= FIRST_CLAUSE_S else PIPER
        try:
            seconds = await self._first_piece(KOKORO)
        except OmniError as error:
            logger.warning("kokoro can't speak: %s", error)
            return PIPER
        self._remember({"processors": processors, "kokoro_s": round(seconds, 3)})
        if seconds <= FIRST_CLAUSE_S:
            return KOKORO
        await self._open.pop(KOKORO).close()
        return PIPER

    async def _first_piece(self, kind: str) -> float:
        """Seconds to the first sound of a usual first clause; the better of two, since others may use the machine."""
        voice = await self._voice(kind)
        taken: list[float] = []
        for _ in range(2):
            began = time.perf_counter()
            async for _chunk in voice.synthesize(SAMPLE):
                break
            taken.append(time.perf_counter() - began)
        return min(taken)

    def _remembered(self) -> dict[str, Any]:
        try:
            known = json.loads(self._memory.read_text(encoding="utf-8"))
            return known if isinstance(known, dict) and isinstance(known.get("kokoro_s"), float) else {}
        except (OSError, ValueError):
            return {}

    def _remember(self, measured: dict[str, Any]) -> None:
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            self._memory.write_text(json.dumps(measured), encoding="utf-8")
        except OSError as error:  # it is measured again next time
            logger.info("the voice measurement was not kept: %s", error)
