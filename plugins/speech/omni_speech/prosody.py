"""Did the voice fall towards its end? Loudness and pitch of the last half second of speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Audio

RATE = 16_000
_WINDOW = 640  # 40 ms
_HOP = 320


def fall(speech: Audio) -> float:
    """Above 0 where the voice fell at the end of `speech` (16 kHz), below 0 where it stayed up; 0 where unclear.

    The last 0.25 s are compared with the 0.5 s before: a fall is 6 dB in loudness or two semitones in pitch.
    """
    frames = _frames(speech[-int(0.9 * RATE) :])
    if len(frames) < 25:
        return 0.0
    loud = 10 * np.log10(np.mean(frames * frames, axis=1) + 1e-9)
    pitch = np.array([_pitch(frame) for frame in frames])
    before, after = slice(-38, -12), slice(-12, None)
    drop = float(np.mean(loud[before]) - np.mean(loud[after]))
    voiced_before, voiced_after = pitch[before][pitch[before] > 0], pitch[after][pitch[after] > 0]
    semitones = 0.0
    if voiced_before.size >= 5 and voiced_after.size >= 3:
        semitones = 12 * float(np.log2(np.median(voiced_before) / np.median(voiced_after)))
    score = drop / 6.0 + semitones / 2.0
    return 1.0 if score > 1.0 else -1.0 if score < -0.5 else 0.0


def _frames(audio: Audio) -> NDArray[np.float32]:
    count = max(0, (audio.size - _WINDOW) // _HOP + 1)
    return np.stack([audio[i * _HOP : i * _HOP + _WINDOW] for i in range(count)]) if count else np.zeros((0, _WINDOW))


def _pitch(frame: NDArray[np.float32]) -> float:
    """The fundamental frequency in Hz by autocorrelation between 70 and 350 Hz; 0 where there is none."""
    frame = frame - frame.mean()
    spectrum = np.fft.rfft(frame, 2 * _WINDOW)
    correlation = np.fft.irfft(spectrum * spectrum.conj())[:_WINDOW]
    if correlation[0] < 1e-4:
        return 0.0
    low, high = RATE // 350, RATE // 70
    lag = low + int(np.argmax(correlation[low:high]))
    return RATE / lag if correlation[lag] > 0.35 * correlation[0] else 0.0
