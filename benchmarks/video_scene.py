"""Makes the videos of the video benchmark whose truth is known: a lecture, captions read aloud, and cuts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SIZE, RATE, FPS = (640, 360), 16_000, 12

_DOG, _DOG2 = "1012212859_01547e3f17.jpg", "1169307342_e7a4685a5c.jpg"
_CLIMBER, _SOCCER, _HORSES, _KAYAK = (
    "109260216_85b0be5378.jpg", "1104133405_c04a00707f.jpg", "109202801_c6381eef15.jpg", "1028205764_7e8df9a2ea.jpg"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of the lecture: its name, picture (a photo or lines of a slide), what is said, what is heard."""

    name: str
    seconds: float
    photo: str = ""
    slide: tuple[str, ...] = ()
    says: str = ""
    sound: str = ""


LECTURE = (
    Slot("report", 8, slide=("ANNUAL REPORT 2031", "Harbour Committee"),
        says="Welcome to the annual report of the harbour committee."),
    Slot("train-dog", 8, _DOG, says="The train to the coast leaves at nine in the morning."),
    Slot("budget-grew", 8, slide=("FINANCES",), says="Our budget grew by twelve percent this year."),
    Slot("music-soccer", 8, _SOCCER, sound="music"),
    Slot("train-climber", 8, _CLIMBER, says="The train to the coast was cancelled twice in the winter."),
    Slot("intermission", 6, slide=("INTERMISSION",), sound="silence"),
    Slot("bang-picture", 8, _HORSES, sound="bang"),
    Slot("bakery-dog", 8, _DOG2, says="The bakery sells fresh bread every Sunday."),
    Slot("questions", 8, slide=("QUESTIONS?", "write to harbour@example.org"),
        says="Please send your questions about the budget before Friday."),
    Slot("kayak", 8, _KAYAK, sound="beep"),
    Slot("lighthouse", 8, slide=("RENOVATION",), says="The lighthouse was painted white and red in the spring."),
    Slot("bakery-soccer", 8, _SOCCER, says="The bakery burned down in the great fire."),
)  # fmt: skip


async def spoken(voice: Any, text: str) -> np.ndarray:
    """A sentence at 16 kHz by Omni's own voice."""
    import soxr

    pieces = [piece async for piece in voice.synthesize(text)]
    audio = np.concatenate([piece.audio for piece in pieces])
    return soxr.resample(audio, pieces[0].rate, RATE).astype(np.float32)


async def make_lecture(path: Path, photos: Path, voice: Any) -> dict[str, list[float]]:
    """Write it; gives the spans by name, where something is said or heard those of the sound."""
    total = sum(slot.seconds for slot in LECTURE)
    audio = np.random.default_rng(5).normal(0, 2e-4, int(total * RATE)).astype(np.float32)
    pictures, spans, at = [], {}, 0.0
    for slot in LECTURE:
        pictures.append((at, _photo(photos / slot.photo) if slot.photo else _slide(slot.slide)))
        spans[slot.name] = [at, at + slot.seconds]
        if slot.says:
            sentence = await spoken(voice, slot.says)
            _lay(audio, sentence, at + 1.0)
            if not slot.name.startswith("questions") and slot.name != "report":
                spans[slot.name] = [at + 1.0, at + 1.0 + len(sentence) / RATE]
        elif slot.sound == "silence":
            audio[int(at * RATE) : int((at + slot.seconds) * RATE)] = 0
        elif slot.sound:
            piece, offset, name = _sound(slot.sound, slot.seconds)
            _lay(audio, piece, at + offset)
            spans[name] = [at + offset, at + offset + len(piece) / RATE]
        at += slot.seconds
    write(path, pictures, total, audio)
    return spans


def _sound(kind: str, seconds: float) -> tuple[np.ndarray, float, str]:
    """(samples, offset in the slot, name of the span)."""
    noise = np.random.default_rng(7)
    if kind == "bang":
        t = np.arange(RATE) / RATE
        return (noise.normal(0, 0.35, RATE) * np.exp(-5 * t)).clip(-1, 1).astype(np.float32), 4.0, "bang"
    if kind == "beep":
        t = np.arange(int(1.5 * RATE)) / RATE
        return (0.25 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32), 3.0, "beep"
    t, tune = np.arange(int(seconds * RATE)) / RATE, np.zeros(int(seconds * RATE))
    for beat in range(int(seconds * 2)):
        for note in ((220, 277, 330), (247, 311, 370), (196, 247, 294), (220, 262, 330))[beat // 2 % 4]:
            since = t - beat / 2
            tune += np.where(since >= 0, np.exp(-1.5 * since) * np.sin(2 * np.pi * note * since), 0) * 0.06
    return tune.astype(np.float32), 0.0, "music"


async def make_captioned(path: Path, srt: Path, voice: Any) -> list[tuple[float, float, str]]:
    """The captions read aloud at their times, over a grey picture; gives (start, end, text) as they were spoken."""
    said, audio, free = [], np.zeros(0, np.float32), 0.0
    for start, text in captions(srt):
        sentence = await spoken(voice, text)
        at = max(start, free)
        audio = np.concatenate([audio, np.zeros(max(0, int((at + 1) * RATE) + len(sentence) - len(audio)), np.float32)])
        _lay(audio, sentence, at)
        free = at + len(sentence) / RATE + 0.15
        said.append((at, at + len(sentence) / RATE, text))
    write(path, [(0.0, _slide(("captions",)))], len(audio) / RATE, audio)
    return said


def captions(srt: Path) -> list[tuple[float, str]]:
    """(start, text without markup) of an SRT file."""
    import html

    found = []
    for hours, minutes, seconds, text in re.findall(
        r"(\d+):(\d+):(\d+)[,.]\d+ *--> *[\d:,.]+\s*\n(.*?)(?:\n\s*\n|\Z)",
        re.sub(r"(:\d\d) ", r"\1,0 ", srt.read_text()),
        re.S,
    ):
        plain = re.sub(r"[^\w\s.,'!?-]|https?:\S+", " ", html.unescape(re.sub(r"<a.*?</a>", "", text)))
        plain = " ".join(plain.split())
        if plain:
            found.append((int(hours) * 3600 + int(minutes) * 60 + int(seconds), plain))
    return found


def make_cuts(path: Path, photos: Sequence[Path], seed: int) -> tuple[list[float], list[float]]:
    """Pans over photos with hard cuts, fades through black and flashes at uneven frame rates; gives (cuts, fades)."""
    dice, frames, cuts, fades, at = np.random.default_rng(seed), [], [], [], 0.0
    for i, photo in enumerate(photos):
        wide = np.asarray(Image.open(photo).convert("RGB").resize((420, 236)))
        length, step = float(dice.uniform(2.0, 4.0)), 1 / float(dice.choice([10, 15, 25]))
        fade_in, fade_out = i and frames_dark(frames), i % 3 == 2
        start, flash = at, float(dice.uniform(0.8, 1.4)) if i % 4 == 1 else -1.0
        while at < start + length:
            since = at - start
            left = int(since * 20)
            picture = wide[20:200, left : left + 320].astype(np.float32)
            if fade_in and since < 0.5:
                picture = picture * (since / 0.5)
            if fade_out and since > length - 0.7:
                picture = picture * max(0.0, (length - 0.2 - since) / 0.5)
            if flash <= since < flash + 0.08:
                picture = np.full_like(picture, 250)
            frames.append((at, picture.astype(np.uint8)))
            at += step
        if i + 1 < len(photos):
            (fades if fade_out else cuts).append(at)
    write(path, frames, at, None, size=(320, 180))
    return cuts, fades


def frames_dark(frames: list[tuple[float, np.ndarray]]) -> bool:
    """Whether it ended in black."""
    return bool(frames) and float(frames[-1][1].mean()) < 8


def write(
    path: Path, pictures: Sequence[tuple[float, np.ndarray]], seconds: float, audio: np.ndarray | None,
    size: tuple[int, int] = SIZE,
) -> None:  # fmt: skip
    """Frames at their times (held until the next at `FPS`, when there are few), and mono sound."""
    import av

    held = len(pictures) < seconds * 4
    if held:
        times = np.arange(0, seconds, 1 / FPS)
        pictures = [(float(t), [p for start, p in pictures if start <= t + 1e-6][-1]) for t in times]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 2_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        track = container.add_stream("aac", rate=RATE, layout="mono") if audio is not None else None
        for time, picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None and audio is not None:
            for at in range(0, len(audio) - 1023, 1024):
                frame = av.AudioFrame.from_ndarray(audio[None, at : at + 1024].copy(), format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
                container.mux(track.encode(frame))
            container.mux(track.encode())


def _photo(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    image.thumbnail(SIZE)
    whole = Image.new("RGB", SIZE, (30, 30, 34))
    whole.paste(image, ((SIZE[0] - image.width) // 2, (SIZE[1] - image.height) // 2))
    return np.asarray(whole)


def _slide(lines: Sequence[str]) -> np.ndarray:
    image = Image.new("RGB", SIZE, (245, 243, 236))
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        pen.text((60, 110 + 70 * row), line, (30, 40, 60), font_size=44 if row == 0 else 30)
    return np.asarray(image)


def _lay(track: np.ndarray, samples: np.ndarray, at: float) -> None:
    first = int(at * RATE)
    piece = samples[: max(0, len(track) - first)]
    track[first : first + len(piece)] += piece
