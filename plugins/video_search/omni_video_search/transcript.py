"""What was said: half-minute stretches through the recogniser, only where somebody speaks, with word times.

A stretch is heard with a second before and after it, and keeps the words whose middle lies inside it: no word is
lost or doubled at a border, and each stretch stands alone, so work can stop and go on anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Audio, Transcriber, VoiceActivity, Word
from omni.errors import CapabilityUnavailable, ModelError
from omni_video_search.sound import CELL_S, LABELS, RATE, measure, score_cells

MARGIN_S = 1.0  #: heard before and after a stretch
LEAST_SPEECH_S = 0.3
#: A recogniser that doubts more than this, or is surer of nothing, heard noise.
NO_SPEECH, LEAST_SURE = 0.85, 0.3
#: A new utterance after a pause of this, or at this length (seconds).
PAUSE_S, LONGEST_S = 0.9, 8.0
#: What lies further apart than this is recognised apart: over a long pause word times get vague (seconds).
APART_S = 2.0
#: A word that seems longer began later: its time ran into the silence before it.
LONGEST_WORD_S = 1.2
_FRAME = 512


@dataclass(frozen=True, slots=True)
class Utterance:
    """Some words said in one go."""

    text: str
    start: float
    end: float
    words: tuple[Word, ...]


class Ears:
    """Hears stretches by asking the host. What is missing is noted once in `missing` and does not stop the rest."""

    def __init__(self, host: Any, language: str | None = None) -> None:
        self._host = host
        self._language = language
        self.missing: dict[str, str] = {}

    async def speech_share(self, audio: Audio) -> NDArray[np.float32]:
        """[cells of half a second] share that is speech: by the voice detector, else by rules."""
        from omni.errors import OmniError

        if "voice activity" not in self.missing:
            try:
                activity = self._host.get(VoiceActivity)
                await activity.open()
                return _shares(activity.detector(), audio)
            except OmniError as error:
                self.missing["voice activity"] = str(error)
        return score_cells(measure(audio))[:, LABELS.index("speech")]

    async def hear(
        self, audio: Audio, start: float, end: float, offset: float, share: NDArray[np.float32]
    ) -> list[Word]:
        """The words whose middle lies between `start` and `end` in the sound that begins at `offset`."""
        if float(share.sum()) * CELL_S < LEAST_SPEECH_S:
            return []
        words: list[Word] = []
        for first, last in spoken_parts(share):
            if "speech recognition" in self.missing:
                break
            cut = slice(max(0, int((first - 0.3) * RATE)), int((last + 0.4) * RATE))
            words += await self._recognise(audio[cut], offset + cut.start / RATE, offset + first - 0.3)
        return [word for word in words if start <= (word.start + word.end) / 2 < end]

    async def _recognise(self, audio: Audio, offset: float, earliest: float) -> list[Word]:
        try:
            heard = await self._host.get(Transcriber).transcribe(audio, words=True, language=self._language)
        except (CapabilityUnavailable, ModelError) as error:
            self.missing["speech recognition"] = str(error)
            return []
        if heard.no_speech > NO_SPEECH or heard.confidence < LEAST_SURE:
            return []
        words = []
        for w in heard.words:
            begin, end = max(w.start, w.end - LONGEST_WORD_S) + offset, w.end + offset
            if w.text.strip():
                words.append(
                    Word(w.text.strip(), round(max(begin, earliest), 2), round(end, 2), round(w.probability, 3))
                )
        return words


def spoken_parts(share: NDArray[np.float32]) -> list[tuple[float, float]]:
    """(start, end) in seconds of what is spoken, taken together over pauses shorter than `APART_S`."""
    parts: list[tuple[float, float]] = []
    for cell in np.flatnonzero(share > 0.2):
        start, end = float(cell * CELL_S), float((cell + 1) * CELL_S)
        if parts and start - parts[-1][1] < APART_S:
            parts[-1] = parts[-1][0], end
        else:
            parts.append((start, end))
    return [part for part in parts if part[1] - part[0] > LEAST_SPEECH_S]


def _shares(detector: Any, audio: Audio) -> NDArray[np.float32]:
    cells = -(-len(audio) // int(CELL_S * RATE))
    total, on = np.zeros(cells, np.float32), np.zeros(cells, np.float32)
    for i in range(0, len(audio) - _FRAME + 1, _FRAME):
        cell = min(int((i + _FRAME / 2) / (CELL_S * RATE)), cells - 1)
        total[cell] += 1
        on[cell] += detector.probability(np.ascontiguousarray(audio[i : i + _FRAME])) > 0.5
    return on / np.maximum(total, 1)


def utterances(words: list[Word]) -> list[Utterance]:
    """Words put together: a sentence's end, a pause or a great length ends one."""
    found: list[Utterance] = []
    run: list[Word] = []
    for word in words:
        if run and (word.start - run[-1].end > PAUSE_S or run[-1].end - run[0].start > LONGEST_S):
            found.append(_together(run))
            run = []
        run.append(word)
        if word.text[-1:] in ".?!" and len(run) >= 4:
            found.append(_together(run))
            run = []
    if run:
        found.append(_together(run))
    return found


def _together(run: list[Word]) -> Utterance:
    text = ""
    for word in run:
        text += word.text if not text or word.text[0] in ".,;:?!'’" else " " + word.text
    return Utterance(text, run[0].start, run[-1].end, tuple(run))
