"""Is this the person, or Omni's own voice coming back through the loudspeaker?

The loudspeaker's reports say what it plays at any moment. From that, an adaptive model in bands predicts how
loud the echo is in each band: over the last half second of what was played, weighted by a room's decay, times a
gain per band that is learnt while only the echo is heard. What exceeds the prediction is the person. Powers in
bands, unlike waveforms, forgive a playback clock that is a few dozen milliseconds off, which a browser's is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Audio

RATE = 16_000
FRAME = 512
BANDS = 18
#: Frames (32 ms) of what was played that can still be heard: about 0.6 s of delay and reverberation.
MEMORY = 20
#: How far above the prediction (in power) a band must be to count as the person's: 6 dB.
MARGIN = 4.0
#: Frames with sound from the loudspeaker before the filter is trusted: about a second, once in a session.
LEARN_FRAMES = 30
#: The filter learns while no more than this share of the bands is unexplained.
LEARN_SHARE = 0.15
_FLOOR = 1e-9
_SILENT = 1e-5  #: power below which nothing is being played


class PlayedVoice:
    """What the loudspeaker has played and is playing, on the session's clock."""

    def __init__(self) -> None:
        self._turn = -1
        self._rate = 22050
        self._audio = np.zeros(0, np.float32)
        self._first = 0  #: position of the first kept sample in the turn's audio
        self._played = 0
        self._played_at = 0.0
        self._running = False
        self._held = False
        self._goes_on = False

    def add(self, turn: int, pcm: bytes, rate: int, offset: int, at: float) -> None:
        """A piece of the answer's voice was sent to the loudspeaker."""
        piece = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
        if turn != self._turn:
            self._turn, self._rate, self._first = turn, rate, offset
            self._audio = np.zeros(0, np.float32)
            self._played, self._played_at, self._running = offset, at, True
        elif not self._running and not self._held:  # it fell silent between two clauses
            self._played, self._played_at, self._running = offset, at, True
        self._audio = np.concatenate([self._audio, piece])
        spare = self._played - self._first - 2 * rate
        if spare > 5 * rate:  # what was heard more than two seconds ago can't come back
            self._audio = self._audio[spare:]
            self._first += spare

    def played(self, turn: int, samples: int, final: bool, at: float) -> None:
        """The loudspeaker reports how far it is."""
        if turn != self._turn:
            return
        self._played, self._played_at = samples, at
        self._running = not final and not self._held

    def stop(self, at: float) -> None:
        """The sound was flushed."""
        self._played = self._position(at)
        self._played_at, self._running = at, False

    def hold(self, held: bool, at: float) -> None:
        """The loudspeaker was asked to wait, or to go on."""
        if held and not self._held:
            self._held, running = True, self._running
            self.stop(at)
            self._goes_on = running
        elif not held and self._held:
            self._held = False
            self._played_at, self._running = at, self._goes_on

    def playing(self, at: float) -> bool:
        """Whether sound comes out of the loudspeaker now."""
        return self._running and self._position(at) < self._first + self._audio.size

    @property
    def turn(self) -> int:
        """The turn whose answer was played last."""
        return self._turn

    def _position(self, at: float) -> int:
        if not self._running:
            return self._played
        return min(self._played + int((at - self._played_at) * self._rate), self._first + self._audio.size)

    def frame(self, ends: float) -> Audio:
        """The 32 ms that were played until session time `ends`, at 16 kHz, shape [512]."""
        count = int(FRAME / RATE * self._rate)
        end = self._position(ends) - self._first
        if not self._running or end <= 0:
            return np.zeros(FRAME, np.float32)
        piece = self._audio[max(0, end - count) : end]
        if piece.size < 2:
            return np.zeros(FRAME, np.float32)
        return np.interp(np.linspace(0, piece.size - 1, FRAME), np.arange(piece.size), piece).astype(np.float32)


class EchoGuard:
    """Tells, frame by frame, which share of what the microphone hears is not the echo of what is played.

    Per band, the echo's power is a sum over the last 20 frames of what was played, weighted by coefficients that
    a normalised least-mean-squares filter learns (kept from falling below zero): they hold the delay, the
    gain and the room's decay. The filter stands still while the person speaks.
    """

    def __init__(self) -> None:
        self._filters = _band_filters()
        self._window = np.hanning(FRAME).astype(np.float32)
        self._played = np.zeros((MEMORY, BANDS))
        self._weights = np.zeros((MEMORY, BANDS))
        self._noise = np.full(BANDS, _FLOOR)
        self._heard = 0  #: frames with echo so far
        self._fresh = True

    def person(self, microphone: Audio, played: Audio) -> float:
        """The share (0..1) of the audible bands in these 32 ms that the echo does not explain."""
        power = self._powers(microphone)
        self._played = np.roll(self._played, 1, axis=0)
        self._played[0] = self._powers(played)
        rising = np.maximum(power, _FLOOR) if self._fresh else self._noise * 1.005 + 1e-10
        self._noise, self._fresh = np.minimum(rising, np.maximum(power, _FLOOR)), False
        if float(self._played.sum(axis=0).max()) < _SILENT:
            return 1.0
        echo = (self._weights * self._played).sum(axis=0)
        excess = power - MARGIN * echo - 4.0 * self._noise
        audible = power > 6.0 * self._noise
        share = 0.0
        if int(audible.sum()) >= 3:
            share = float(np.mean(excess[audible] > 0.4 * power[audible]))
        self._heard += 1
        if not self.ready or share < LEARN_SHARE:
            self._learn(np.maximum(power - self._noise, 0.0) - echo)
        return share if self.ready else 0.0

    @property
    def ready(self) -> bool:
        """Whether the echo has been learnt."""
        return self._heard >= LEARN_FRAMES

    def _learn(self, error: NDArray[np.float64]) -> None:
        step = 0.4 if not self.ready else 0.16
        self._weights += step * error * self._played / ((self._played**2).sum(axis=0) + _FLOOR)
        np.maximum(self._weights, 0.0, out=self._weights)

    def _powers(self, frame: Audio) -> NDArray[np.float64]:
        spectrum = np.abs(np.fft.rfft(frame * self._window)) ** 2 / FRAME
        return self._filters @ spectrum


def _band_filters() -> NDArray[np.float32]:
    """Rectangular bands, equally wide on the mel scale from 150 to 7000 Hz, shape [BANDS, FRAME / 2 + 1]."""
    mel = np.linspace(2595 * np.log10(1 + 150 / 700), 2595 * np.log10(1 + 7000 / 700), BANDS + 1)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.fft.rfftfreq(FRAME, 1 / RATE)
    filters = np.zeros((BANDS, frequencies.size), np.float32)
    for band in range(BANDS):
        inside = (frequencies >= edges[band]) & (frequencies < edges[band + 1])
        filters[band, inside] = 1.0 / max(int(inside.sum()), 1)
    return filters
