"""What a sound is like, by rules on its features; no model, and the labels promise no more than that.

Half-second cells: loudness, onsets, spectral flatness, stable peaks, the 3-8 Hz beat of speech and laughter. Good for
silence, loud bangs, steady tones, music against speech; "laughter-like" and "applause-like" are hints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Audio
from omni.errors import BadInput

RATE = 16_000
CELL_S = 0.5  #: of a cell
HOP, WINDOW = 160, 512  #: 10 ms, 32 ms
LABELS = ("silence", "speech", "music", "tone", "impact", "laughter-like", "applause-like", "loud")
COLUMNS = ("loudness", "peak", "onset", "flatness", "stability", "beat", "voiced", "low", "narrow")
QUIET_DB = -55.0
_BANDS = 40


@dataclass(frozen=True, slots=True)
class Sound:
    """A stretch with a label; `score` 0..1 and how loud it was at most, in dB of full scale."""

    label: str
    start: float
    end: float
    score: float
    loudness: float


def measure(audio: Audio) -> NDArray[np.float32]:
    """[cells, len(COLUMNS)] of 16 kHz sound; cells of half a second, the last one padded."""
    if audio.ndim != 1:
        raise BadInput(f"Sound is one row of samples, not {audio.ndim} dimensions.", "Mix the channels first.")
    cells = -(-len(audio) // int(CELL_S * RATE))
    if not cells:
        return np.zeros((0, len(COLUMNS)), np.float32)
    padded = np.zeros(cells * int(CELL_S * RATE) + WINDOW, np.float32)
    padded[: len(audio)] = audio
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: cells * 50]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2 + 1e-10
    level = 10 * np.log10(np.mean(windows**2, axis=1) + 1e-10)  # dB of full scale, every 10 ms
    mel = np.log(power @ _mel_bands().T + 1e-8)
    rise = level[5:] - np.minimum.reduce([level[i : len(level) - 5 + i] for i in range(5)])  # within 50 ms
    rise = np.concatenate([np.zeros(5, np.float32), rise])
    spectrum = power[:, 4:200]  # 125 Hz .. 6.2 kHz
    flat = np.exp(np.mean(np.log(spectrum), axis=1)) / np.mean(spectrum, axis=1)
    strongest = np.argmax(spectrum, axis=1)
    share = np.max(spectrum, axis=1) / spectrum.sum(axis=1)
    stable = np.concatenate([[0.0], _similar(mel)])
    voiced = _voiced(windows)
    low = power[:, :8].sum(axis=1) / power.sum(axis=1)
    out = np.zeros((cells, len(COLUMNS)), np.float32)
    for i in range(cells):
        cut = slice(i * 50, (i + 1) * 50)
        wide = slice(max(0, i * 50 - 50), (i + 2) * 50)
        out[i] = (
            10 * np.log10(np.mean(10 ** (level[cut] / 10))), level[cut].max(), rise[cut].max(),
            np.median(flat[cut]), np.median(stable[cut]), _beat(level[wide]), np.mean(voiced[cut] > 0.5),
            np.mean(low[cut]), np.median(share[cut]) * (np.std(strongest[cut]) < 2),
        )  # fmt: skip
    return out


def _mel_bands() -> NDArray[np.float32]:
    """[bands, bins] triangles on the mel scale."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), _BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


def _similar(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much a spectrum resembles the one 10 ms before, -1..1."""
    centred = mel - mel.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6
    return (centred[1:] * centred[:-1]).sum(axis=1)


def _voiced(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The height of the autocorrelation's peak between 80 and 400 Hz, 0..1."""
    spectrum = np.abs(np.fft.rfft(windows, 2 * WINDOW, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, axis=1)
    lags = correlation[:, 40:200]
    return lags.max(axis=1) / (correlation[:, 0] + 1e-6)


def _beat(level: NDArray[np.float32]) -> float:
    """Share of the loudness's movement that lies between 3 and 8 Hz: syllables, laughs."""
    if len(level) < 60:
        return 0.0
    moving = np.maximum(level, -60) - np.maximum(level, -60).mean()
    if moving.std() < 1.5:
        return 0.0
    strength = np.abs(np.fft.rfft(moving * np.hanning(len(moving)))) ** 2
    at = np.fft.rfftfreq(len(moving), 0.01)
    return float(strength[(at >= 3) & (at <= 8)].sum() / (strength[at > 0.4].sum() + 1e-9))


def score_cells(features: NDArray[np.float32], speech: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """[cells, len(LABELS)] scores 0..1. `speech` is a voice detector's share of each cell, where there is one."""
    if not len(features):
        return np.zeros((0, len(LABELS)), np.float32)
    loud, peak, onset, flat, stable, beat, voiced, low, narrow = features.T
    usual = np.median(loud[loud > QUIET_DB]) if (loud > QUIET_DB).any() else -30.0
    heard = _ramp(loud, QUIET_DB, QUIET_DB + 8)
    talk = speech if speech is not None else heard * _ramp(beat, 0.15, 0.4) * _ramp(voiced, 0.15, 0.5)
    tone = heard * _ramp(narrow, 0.35, 0.7)
    music = heard * _ramp(stable, 0.75, 0.93) * _ramp(-flat, -0.25, -0.05) * (1 - talk) * (1 - tone)
    impact = (
        _ramp(onset, 14, 28) * _ramp(peak, max(usual + 4, -32), max(usual + 12, -14)) * (1 - 0.7 * talk) * (1 - tone)
    )
    laugh = heard * _ramp(beat, 0.35, 0.65) * _ramp(voiced, 0.2, 0.5) * (1 - talk) * (1 - tone)
    clap = heard * _ramp(flat, 0.2, 0.5) * (1 - talk) * (1 - _ramp(onset, 14, 28)) * _ramp(-low, -0.5, -0.2)
    louder = _ramp(peak, max(usual + 3, -30), max(usual + 12, -10))
    return np.stack([1 - heard, talk, music, tone, impact, laugh, clap, louder], axis=1).astype(np.float32)


def _ramp(value: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """0 below `low`, 1 above `high`, straight between."""
    return np.clip((value - low) / (high - low), 0, 1)


def events(
    features: NDArray[np.float32], speech: NDArray[np.float32] | None = None, *, threshold: float = 0.4
) -> list[Sound]:
    """Stretches of cells with the same label, in order of time."""
    scores, found = score_cells(features, speech), []
    for column, label in enumerate(LABELS):
        on = scores[:, column] >= threshold
        if label in ("music", "silence", "tone", "applause-like"):
            on = _bridged(on, 2)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(np.int8), [0]])))
        for first, after in zip(edges[::2], edges[1::2], strict=True):
            if label in ("music", "laughter-like", "applause-like", "silence") and after - first < 2:
                continue
            cut = slice(first, after)
            best = float(scores[cut, column].mean() if label in ("music", "silence") else scores[cut, column].max())
            found.append(
                Sound(label, first * CELL_S, after * CELL_S, round(best, 3), round(float(features[cut, 1].max()), 1))
            )
    return sorted(found, key=lambda sound: (sound.start, sound.label))


def _bridged(on: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Short gaps filled."""
    out = on.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[1], on.astype(np.int8), [1]])))
    for first, after in zip(edges[::2], edges[1::2], strict=False):
        if after - first <= gap and first > 0 and after < len(on):
            out[first:after] = True
    return out


class RuleTagger:
    """The `AudioTagger` capability by these rules."""

    async def open(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def tag(self, audio: Audio) -> list[tuple[str, float, float, float]]:
        """(label, start, end, score) for 16 kHz sound."""
        import asyncio

        found = await asyncio.to_thread(lambda: events(measure(np.asarray(audio, np.float32))))
        return [(sound.label, sound.start, sound.end, sound.score) for sound in found]
