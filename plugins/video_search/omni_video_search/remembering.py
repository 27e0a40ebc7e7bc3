"""A video's moments for the shared memory: a bounded number, spread over the video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omni.capabilities import Memory, Moment
from omni.errors import OmniError
from omni_video_search.timeline import Entry, Timelines, Video


def moments(video: Video, entries: Sequence[Entry], began: float, limit: int) -> list[Moment]:
    """What was said, written and shown, at most `limit`; `began` is when the video was taken (Unix seconds)."""
    useful = [e for e in entries if e.stream in ("speech", "screen") and e.text]
    useful += [e for e in entries if e.stream == "picture" and e.text]
    if len(useful) > limit:
        useful = [useful[i * len(useful) // limit] for i in range(limit)] if limit else []
    verb = {"speech": "said", "screen": "on screen", "picture": "shown"}
    return [
        Moment(
            "video",
            f"In the video {video.name} at {clock(e.start)}, {verb[e.stream]}: {e.text}",
            began + e.start,
            began + e.end,
            id=f"video-{video.digest[:16]}-{e.stream}-{e.number}",
            vectors={"text": e.vector} if e.vector is not None and e.space == "text" else {},
            data={"digest": video.digest, "path": str(video.path), "start": e.start, "end": e.end, "stream": e.stream},
            media=(str(video.path),),
        )
        for e in useful
    ]


async def remember(store: Timelines, host: Any, limit: int) -> int:
    """Write what is not in the memory yet. Returns how many moments; 0 where there is no memory."""
    written = 0
    for (digest,) in store.rows("SELECT digest FROM videos WHERE state='ready' AND remembered=0"):
        video = store.video(digest)
        if video is None or not video.path.is_file():
            continue
        found = moments(video, store.entries(digest), video.path.stat().st_mtime, limit)
        try:
            if found:
                await host.get(Memory).remember(found)
        except OmniError:
            return written
        with store.writing() as db:
            db.execute("UPDATE videos SET remembered=1 WHERE digest=?", (digest,))
        written += len(found)
    return written


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
