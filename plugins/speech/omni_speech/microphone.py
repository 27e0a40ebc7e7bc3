"""Is something wrong with the microphone? Nothing at all comes in, or everything is too loud."""

from __future__ import annotations

import numpy as np

from omni.capabilities import Audio

#: Seconds of exact digital silence before the person is told.
DEAD_S = 6.0
#: Share of samples at full scale, over about two seconds, that makes speech hard to understand.
CLIPPED = 0.03


class MicrophoneHealth:
    """Watches the frames and says a sentence when it changes its mind. None means: nothing new to say."""

    def __init__(self) -> None:
        self._dead_s = 0.0
        self._clipped = 0.0
        self._said = ""

    def check(self, frame: Audio) -> str | None:
        """Take one frame (16 kHz). Returns a sentence for the person, "" when all is well again, or None."""
        if not frame.size:
            return None
        seconds = frame.size / 16_000
        loud = np.abs(frame)
        self._dead_s = self._dead_s + seconds if not loud.any() else 0.0
        self._clipped += (float(np.mean(loud > 0.985)) - self._clipped) * min(1.0, seconds / 2.0)
        sentence = ""
        if self._dead_s >= DEAD_S:
            sentence = "Your microphone sends only silence. Check that it is switched on and chosen in the settings."
        elif self._clipped > CLIPPED:
            sentence = "Your microphone is too loud: move away from it, or turn its level down."
        if sentence == self._said:
            return None
        self._said = sentence
        return sentence
