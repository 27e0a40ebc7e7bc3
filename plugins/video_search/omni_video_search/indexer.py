"""From a file to a timeline: in units that each stand alone, so that it can be stopped anywhere and goes on there."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Word
from omni.errors import BadInput, DiskFull, OmniError
from omni_video_search import cuts, keyframes, media, screen_text, sound
from omni_video_search.seeing import Eyes
from omni_video_search.timeline import Entry, Timelines, packed, unpacked
from omni_video_search.transcript import MARGIN_S, Ears, utterances

STRETCH_S = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is: `done` and `total` in seconds of video, weighted over all the work on it."""

    path: Path
    what: str
    done: float
    total: float


@dataclass(slots=True)
class Summary:
    """What came of it."""

    indexed: int = 0
    unchanged: int = 0
    gone: int = 0
    video_s: float = 0.0
    seconds: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def cost(self) -> float | None:
        """Seconds of work for an hour of video."""
        return self.seconds / self.video_s * 3600 if self.video_s else None


class Indexer:
    """Indexes files and folders. `on_step` is told how far it is; `on_ready` (async) gets each finished digest."""

    def __init__(
        self,
        store: Timelines,
        host: Any,
        *,
        language: str | None = None,
        speech: bool = True,
        writing: bool = True,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> None:
        self.store = store
        self.eyes, self.ears = Eyes(host), Ears(host, language)
        self._speech, self._writing, self._on_step = speech, writing, on_step

    async def index(self, paths: list[Path]) -> Summary:
        """Files, and folders with what is below them. One that can't be indexed is a problem of the summary.

        Raises `DiskFull`; everything finished before is kept.
        """
        summary = Summary()
        for root in paths:
            await self._index_root(media.absolute(root), summary)
        summary.missing = self.ears.missing | self.eyes.missing
        return summary

    async def _index_root(self, root: Path, summary: Summary) -> None:
        seen_before = bool(self.store.rows("SELECT 1 FROM files WHERE path LIKE ? LIMIT 1", (f"{root}%",)))
        try:
            found = await asyncio.to_thread(lambda: list(media.videos_below(root)))
        except BadInput as error:
            return self._problem(root, error, summary)
        for path in found:
            began = time.perf_counter()
            try:
                await self._index_file(path, summary)
            except DiskFull:
                raise
            except (OmniError, OSError) as error:
                self._problem(path, error, summary)
            summary.seconds += time.perf_counter() - began
        if not await asyncio.to_thread(root.exists):  # unplugged meanwhile: nothing of it is forgotten
            gone = BadInput(f"{root} vanished while it was indexed.", "Plug it in, and index it again.")
            return self._problem(root, gone, summary)
        self.store.solved(root)
        if seen_before and await asyncio.to_thread(root.is_dir):
            summary.gone += await asyncio.to_thread(self.store.forget_below, root)
        return None

    def _problem(self, path: Path, error: Exception, summary: Summary) -> None:
        if isinstance(error, OmniError):
            message = str(error)
        else:
            message = f"{path} can't be read: {getattr(error, 'strerror', None) or error}."
        summary.problems.append((str(path), message))
        self.store.note_problem(path, message)

    async def _index_file(self, path: Path, summary: Summary) -> None:
        stat = await asyncio.to_thread(path.stat)
        digest = self.store.known(path, stat.st_size, stat.st_mtime_ns)
        if digest is None:
            if stat.st_size == 0:
                raise BadInput(f"{path} is empty (0 bytes).", "Copy it again from where it came.")
            digest = await asyncio.to_thread(_digest, path)
        video = self.store.video(digest)
        if video is None or video.state != "ready":
            began = time.perf_counter()
            info = await asyncio.to_thread(media.probe, path)
            self.store.begin(digest, info.duration, info.width, info.height, info.has_audio)
            self.store.place(path, digest, stat.st_size, stat.st_mtime_ns)
            await self._work(path, digest, info)
            self.store.spend(digest, time.perf_counter() - began)
            summary.indexed += 1
            summary.video_s += info.duration
        else:
            self.store.place(path, digest, stat.st_size, stat.st_mtime_ns)
            summary.unchanged += 1
        self.store.solved(path)

    # -- one video --------------------------------------------------------------------------------

    async def _work(self, path: Path, digest: str, info: media.VideoInfo) -> None:
        count = max(1, int(np.ceil(info.duration / STRETCH_S)))
        total = info.duration * (3 if info.has_audio else 2)

        def tell(what: str, share: float) -> None:
            self._on_step(Step(path, what, share * info.duration, total))

        await self._pictures(path, digest, count, lambda k: tell("pictures", k / count))
        if not self.store.rows("SELECT 1 FROM units WHERE digest=? AND kind='picture' AND length(data)>200", (digest,)):
            raise BadInput(f"No picture of {path} could be decoded.", "Copy it again from where it came.")
        if info.has_audio:
            await self._sounds(path, digest, count, lambda k: tell("sound and speech", 1 + k / count))
        await self._look(digest, lambda share: tell("key frames", (2 if info.has_audio else 1) + share))
        self.store.finish(digest, await self._entries(digest, info.duration))

    async def _pictures(self, path: Path, digest: str, count: int, tell: Callable[[int], None]) -> None:
        done = self.store.done(digest, "picture")
        first = next((k for k in range(count) if k not in done), count)
        if first == count:
            return
        stretches = measured(path, first, count)
        for number in range(first, count):
            tell(number)
            features, candidates = await asyncio.to_thread(next, stretches)
            self.store.finish_unit(digest, "picture", number, packed(features), candidates)

    async def _sounds(self, path: Path, digest: str, count: int, tell: Callable[[int], None]) -> None:
        done = self.store.done(digest, "sound")
        for number in range(count):
            tell(number)
            if number in done:
                continue
            start, end = number * STRETCH_S, (number + 1) * STRETCH_S
            before = min(MARGIN_S, start)
            audio = await asyncio.to_thread(media.sound, path, start - before, end + MARGIN_S)
            inner = audio[int(before * media.RATE) :][: int(STRETCH_S * media.RATE)]
            features = await asyncio.to_thread(sound.measure, inner)
            share = await self.ears.speech_share(audio)
            words = await self.ears.hear(audio, start, end, start - before, share) if self._speech else []
            skip = round(before / sound.CELL_S)
            share = np.resize(share[skip:], len(features)) if len(share) > skip else np.zeros(len(features), np.float32)
            spoken = [[w.text, w.start, w.end, w.probability] for w in words]
            self.store.finish_unit(digest, "words", number, json.dumps(spoken).encode())
            self.store.finish_unit(digest, "sound", number, packed(np.column_stack([features, share])))

    async def _look(self, digest: str, tell: Callable[[float], None]) -> None:
        """Choose among the candidates, look at each, read what looks like writing."""
        rows = self.store.rows(
            "SELECT segment,number,time,blocks,textness,seen FROM frames WHERE digest=? ORDER BY time,segment,number",
            (digest,),
        )
        found = [keyframes.Candidate(r[2], b"", unpacked(r[3]), r[4]) for r in rows]
        chosen = keyframes.without_repeats(found)
        read = {chosen[i] for i in screen_text.worth_reading([(found[j].time, found[j].textness) for j in chosen])}
        for position, i in enumerate(chosen):
            segment, number, _, _, _, seen = rows[i]
            tell(position / max(len(chosen), 1))
            if seen:
                continue
            where = (digest, segment, number)
            jpeg = self.store.rows("SELECT jpeg FROM frames WHERE digest=? AND segment=? AND number=?", where)[0][0]
            text = await self.eyes.read(jpeg) if self._writing and i in read else ""
            looked = await self.eyes.see(jpeg)
            vector = looked.vector.tobytes() if looked.vector is not None else None
            small = await asyncio.to_thread(keyframes.thumbnail, jpeg)
            with self.store.writing() as db:
                db.execute(
                    "UPDATE frames SET used=1,seen=1,jpeg=?,labels=?,space=?,vector=?,text=? "
                    "WHERE digest=? AND segment=? AND number=?",
                    (small, looked.labels, looked.space, vector, text, *where),
                )

    # -- putting it together ----------------------------------------------------------------------

    async def _entries(self, digest: str, duration: float) -> list[Entry]:
        pictures = [unpacked(data) for _, data in self.store.units(digest, "picture")]
        features = np.concatenate(pictures) if pictures else np.zeros((0, 6), np.float32)
        transitions = cuts.find_transitions(features)
        entries = [Entry(t.kind, t.start, t.end, "", "", t.strength) for t in transitions]
        spans = cuts.shots(transitions, duration)
        entries += [Entry("shot", a, b) for a, b in spans]
        entries += self._picture_entries(digest, [a for a, _ in spans[1:]], duration)
        cells = [unpacked(data) for _, data in self.store.units(digest, "sound")]
        if cells:
            table = np.concatenate(cells)
            heard = sound.events(table[:, :-1], table[:, -1])
            entries += [
                Entry("sound", s.start, min(s.end, duration), s.label, f"{s.label}, {s.loudness:.0f} dB", s.score)
                for s in heard
            ]
        words = [Word(*w) for _, data in self.store.units(digest, "words") for w in json.loads(data)]
        said = utterances(words)
        vectors = await self.eyes.embed([u.text for u in said])
        for i, u in enumerate(said):
            vector = vectors[i] if vectors is not None else None
            times = json.dumps([[w.text, w.start, w.end] for w in u.words])
            entries.append(Entry("speech", u.start, u.end, "", u.text, 1.0, times, "text", vector))
        return entries

    def _picture_entries(self, digest: str, shot_starts: list[float], duration: float) -> list[Entry]:
        """Each key frame stands until the next one; writing that stays is one entry."""
        rows = self.store.rows(
            "SELECT time,labels,space,vector,text FROM frames WHERE digest=? AND used=1 ORDER BY time,segment,number",
            (digest,),
        )
        entries: list[Entry] = []
        for i, (at, labels, space, vector, text) in enumerate(rows):
            following = rows[i + 1][0] if i + 1 < len(rows) else duration
            cut = next((t for t in shot_starts if at + 0.5 < t < following), following)
            end = max(min(following, cut, duration), at + 0.1)
            row = np.frombuffer(vector, np.float32) if vector else None
            entries.append(Entry("picture", at, end, "", labels, 1.0, "", space, row))
            if not text:
                continue
            last = next((e for e in reversed(entries[:-1]) if e.stream == "screen"), None)
            if last is not None and last.text == text and at - last.end < 0.2:
                entries[entries.index(last)] = Entry("screen", last.start, end, "", text)
            else:
                entries.append(Entry("screen", at, end, "", text))
        return entries


def measured(path: Path, first: int, count: int) -> Iterator[tuple[NDArray[np.float32], list[keyframes.Candidate]]]:
    """(features [frames, 6], candidates) of each stretch from `first` on, decoding the file once.

    Each stretch begins afresh with the frame before it, so it comes out the same whether or not work stopped there.
    """
    stream = media.frames(path, first * STRETCH_S, float("inf"))
    number, rows, kept = first, [], []
    meter, picker = cuts.FrameMeter(), keyframes.Picker()
    last: NDArray[np.uint8] | None = None
    for frame in stream:
        small = frame.rgb(cuts.WIDTH, cuts.HEIGHT)
        if frame.time < first * STRETCH_S:
            meter.measure(frame.time, small)
            last = small
            continue
        while frame.time >= (number + 1) * STRETCH_S and number < count - 1:
            yield _table(rows), kept
            number, rows, kept = number + 1, [], []
            meter, picker = cuts.FrameMeter(), keyframes.Picker()
            if last is not None:
                meter.measure(frame.time, last)
        row = meter.measure(frame.time, small)
        rows.append(row)
        pixels = small.astype(np.float32)
        since = picker.wants(frame.time, pixels, row[1])
        if since is not None:
            kept.append(keyframes.keep(since, pixels, frame.image(keyframes.WORK_SIDE)))
        last = small
    while number < count:
        yield _table(rows), kept
        number, rows, kept = number + 1, [], []


def _table(rows: list[tuple[float, ...]]) -> NDArray[np.float32]:
    return np.array(rows, np.float32) if rows else np.zeros((0, len(cuts.FEATURES)), np.float32)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
