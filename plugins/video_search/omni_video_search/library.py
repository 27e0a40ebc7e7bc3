"""The indexed videos as the planner and the page see them: questions in, moments, timelines and pictures out."""

from __future__ import annotations

import asyncio
import functools
import io
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from omni.errors import BadInput
from omni.tools import ToolResult
from omni_video_search.remembering import clock
from omni_video_search.search import Finder, Found
from omni_video_search.timeline import Timelines, Video

#: What a browser plays as it is, by suffix.
_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime", ".ogv": "video/ogg",
    ".mkv": "video/x-matroska",
}  # fmt: skip


class Library:
    """Opened on first use."""

    def __init__(self, folder: Path, host: Any) -> None:
        self.folder = folder
        self._host = host

    @functools.cached_property
    def store(self) -> Timelines:
        """The timelines."""
        return Timelines(self.folder)

    @functools.cached_property
    def finder(self) -> Finder:
        """The search over them."""
        return Finder(self.store, self._host)

    # -- for the planner --------------------------------------------------------------------------

    async def find_moment(
        self,
        question: Annotated[str, Field(description="what happens, is said, shown, written or heard in the moment")],
    ) -> ToolResult:
        """Find the moment in the indexed videos by what is said, shown, written on screen or heard."""
        found = await self.finder.find(question, limit=3)
        if not found:
            none = not await asyncio.to_thread(lambda: self.store.videos())
            say = (
                "No videos are indexed yet. Run omni video index with a folder."
                if none
                else "I found no moment in the videos that fits that."
            )
            return ToolResult([], say=say)
        return ToolResult(
            [moment.plain() for moment in found],
            say=in_words(found[0]),
            trusted=False,
            evidence=tuple({"kind": "video", **moment.plain()} for moment in found),
        )

    # -- for the page -----------------------------------------------------------------------------

    async def list(self, params: dict[str, Any]) -> dict[str, Any]:
        """All videos, and what could not be indexed."""
        videos = await asyncio.to_thread(self.store.videos)
        problems = await asyncio.to_thread(self.store.problems)
        return {
            "videos": [describe(video) for video in videos if video.state == "ready"],
            "problems": [{"path": path, "message": message} for path, message in problems[:50]],
        }

    async def search(self, params: dict[str, Any]) -> dict[str, Any]:
        """Moments for `query`."""
        query = str(params.get("query", ""))[:500]
        found = await self.finder.find(query, limit=12)
        return {"moments": [{**f.plain(), "name": f.video.name} for f in found]}

    async def timeline(self, params: dict[str, Any]) -> dict[str, Any]:
        """Everything on the timeline of the video `digest`."""
        video = await self._video(str(params.get("digest", "")))
        entries = await asyncio.to_thread(self.store.entries, video.digest)
        plain = [
            {"stream": e.stream, "start": round(e.start, 2), "end": round(e.end, 2), "label": e.label, "text": e.text,
             "words": json.loads(e.words) if e.words else []}
            for e in entries
        ]  # fmt: skip
        return {**describe(video), "entries": plain}

    async def _video(self, digest: str) -> Video:
        video = await asyncio.to_thread(self.store.video, digest)
        if video is None:
            raise BadInput("That video is not in the index any more.", "Index its folder again.")
        return video

    async def media(self, name: str) -> tuple[bytes | Path, str]:
        """`video/DIGEST`: the file itself; `frame/DIGEST/SECONDS`: the key frame that stands there."""
        kind, _, rest = name.partition("/")
        digest, _, at = rest.partition("/")
        video = await self._video(digest)
        if kind == "video":
            if not video.path.is_file():
                raise BadInput(f"{video.path} is not there any more.", "Plug its drive in, or index its folder again.")
            return video.path, _TYPES.get(video.path.suffix.lower(), "video/mp4")
        try:
            jpeg = await asyncio.to_thread(self.store.thumbnail, digest, float(at or 0))
        except ValueError:
            jpeg = None
        return (jpeg, "image/jpeg") if jpeg else (_blank(), "image/png")


def describe(video: Video) -> dict[str, Any]:
    """A video, JSON-ready."""
    return {
        "digest": video.digest, "name": video.name, "path": str(video.path), "duration": round(video.duration, 2),
        "width": video.width, "height": video.height, "audio": video.has_audio,
    }  # fmt: skip


def in_words(found: Found) -> str:
    """A moment as it is said aloud."""
    why = {"speech": "it is said", "screen": "the screen reads", "picture": "one sees", "sound": "one hears"}
    sure = "" if found.confidence >= 0.6 else "I'm not sure, but perhaps "
    best = found.evidence[0] if found.evidence else None
    text = best.text.split(", ")[0] if best and best.stream == "sound" else best.text[:120] if best else ""
    reason = f": {why[best.stream]} {text}" if best and text else ""
    return f"{sure}{'in' if sure else 'In'} {found.video.name} at {clock(found.start)}{reason}.".replace("..", ".")


def _blank() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (16, 9), (128, 128, 128)).save(out, "PNG")
    return out.getvalue()
