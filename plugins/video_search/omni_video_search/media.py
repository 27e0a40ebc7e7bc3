"""Videos as streams: frames and sound by presentation time, a stretch at a time, never a whole file in memory.

Times are seconds from the beginning of the file as a player shows it. They come from the time stamps
of the frames and never from counting them, so a variable frame rate is right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.errors import BadInput

#: What is looked at in a folder.
SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".m2ts",
        ".mts",
        ".wmv",
        ".flv",
        ".ogv",
        ".3gp",
    ]
)
#: Seconds of decoding before a stretch, so that a codec with memory is in its stride.
PREROLL_S = 1.0
RATE = 16_000  #: of the sound given out


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the container says. `duration` is in seconds; width and height are 0 without pictures."""

    duration: float
    width: int
    height: int
    has_audio: bool


@dataclass(slots=True)
class Frame:
    """One picture: when it appears, and the decoder's frame."""

    time: float
    raw: Any

    def rgb(self, width: int, height: int) -> NDArray[np.uint8]:
        """[height, width, 3], scaled."""
        return self.raw.reformat(width=width, height=height, format="rgb24").to_ndarray()

    def image(self, longest: int) -> Any:
        """A Pillow image whose longer side is at most `longest` pixels."""
        scale = min(1.0, longest / max(self.raw.width, self.raw.height))
        return self.raw.to_image(
            width=max(2, round(self.raw.width * scale)), height=max(2, round(self.raw.height * scale))
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The container. Raises `BadInput` for what is no video, or is not there."""
    import av

    try:
        container = av.open(str(path), metadata_errors="ignore")
    except FileNotFoundError as error:
        raise BadInput(f"{path} is not there any more.", "Index its folder again when it is back.") from error
    except PermissionError as error:
        raise BadInput(f"{path} may not be read.", "Change its permissions.") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        empty = path.is_file() and path.stat().st_size == 0
        what = "is empty (0 bytes)" if empty else "can't be opened as a video"
        raise BadInput(f"{path} {what}.", "Copy it again from where it came.") from error
    try:
        yield container
    finally:
        container.close()


def probe(path: Path) -> VideoInfo:
    """Look at the file without decoding it. Raises `BadInput` for a picture, a sound without video, or junk."""
    with opened(path) as container:
        if not container.streams.video:
            raise BadInput(f"{path} has no pictures in it.", "Give a video; sound alone is not indexed.")
        stream = container.streams.video[0]
        still = container.format.name.endswith("_pipe") or container.format.name in ("image2", "gif", "tiff_pipe")
        if still:
            raise BadInput(f"{path} is a picture, not a video.", "Pictures are found with `omni photos`.")
        duration = (container.duration or 0) / 1e6
        if not duration and stream.duration:
            duration = float(stream.duration * stream.time_base)
        if not duration:
            duration = _scan_duration(container, stream)
        context = stream.codec_context
        return VideoInfo(duration, context.width, context.height, bool(container.streams.audio))


def _scan_duration(container: Any, stream: Any) -> float:
    """Where the header does not say how long it is: the last packet's time."""
    import av

    last = 0.0
    with contextlib.suppress(av.error.FFmpegError):
        for packet in container.demux(stream):
            if packet.pts is not None:
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return last


def _origin(container: Any) -> float:
    return (container.start_time or 0) / 1e6


def _seek(container: Any, stream: Any, to: float) -> None:
    """To the last point before `to` from which decoding is right; to the beginning where seeking does not work."""
    import av

    if to > 0:
        with contextlib.suppress(av.error.FFmpegError):
            container.seek(int((to + _origin(container)) / stream.time_base), stream=stream)


def frames(path: Path, start: float, end: float) -> Iterator[Frame]:
    """Frames from the last one before `start` (so that change can be told) up to `end`, in order of time.

    What can't be decoded is skipped; a file that breaks off ends there. Raises `BadInput` if it can't be opened.
    """
    import av

    with opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = 2
        _seek(container, stream, start - PREROLL_S)
        origin, before = _origin(container), None
        for raw in _decoded(container, stream):
            if raw.pts is None:
                continue
            time = float(raw.pts * (raw.time_base or stream.time_base)) - origin
            if time >= end:
                return
            if time < start:
                before = raw, time
                continue
            if before is not None:
                yield Frame(before[1], before[0])
                before = None
            yield Frame(time, raw)
        del av


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames; broken packets are passed over, and a broken end is an end."""
    import av

    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                continue
    except (av.error.FFmpegError, EOFError):
        return


def sound(path: Path, start: float, end: float) -> NDArray[np.float32]:
    """The sound between two times: 16 kHz mono float32, shape [samples]; silence where there is none.

    Empty when there is no sound track, or it ends before `start`.
    """
    import av
    import soxr

    with opened(path) as container:
        if not container.streams.audio:
            return np.zeros(0, np.float32)
        stream = container.streams.audio[0]
        rate = int(stream.rate or stream.codec_context.sample_rate or 0)
        if rate <= 0:
            return np.zeros(0, np.float32)
        _seek(container, stream, start - PREROLL_S)
        origin, length = _origin(container), round((end - start) * rate)
        track, reached = np.zeros(length, np.float32), 0
        to_float = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for raw in _decoded(container, stream):
            if raw.pts is None:
                continue
            at = round((float(raw.pts * (raw.time_base or stream.time_base)) - origin - start) * rate)
            if at >= length:
                break
            raw.pts = None
            for piece in to_float.resample(raw):
                reached = max(reached, _lay(track, piece.to_ndarray()[0], at))
        track = np.nan_to_num(track[:reached], nan=0.0, posinf=0.0, neginf=0.0)
        return soxr.resample(track, rate, RATE).astype(np.float32) if rate != RATE and len(track) else track


def _lay(track: NDArray[np.float32], samples: NDArray[np.float32], at: int) -> int:
    """Put samples into the track at a position, what sticks out cut off; returns where they end."""
    first, last = max(at, 0), min(at + len(samples), len(track))
    if last > first:
        track[first:last] = samples[first - at : last - at]
    return max(last, 0)


def videos_below(path: Path) -> Iterator[Path]:
    """The file itself, or the videos of a folder and those in it, in order. Raises `BadInput` when it is not there."""
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise BadInput(f"{path} is not there.", "Check the name, or plug the drive in.")
    for folder, names, files in path.walk() if hasattr(path, "walk") else _walk(path):
        names.sort()
        for name in sorted(files):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield folder / name


def absolute(path: Path) -> Path:
    """The path from the root, `~` filled in, links left as they are."""
    return path.expanduser().absolute()


def _walk(path: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    import os

    for folder, names, files in os.walk(path):
        yield Path(folder), names, files
