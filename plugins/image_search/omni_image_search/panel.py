"""What the wall of photos asks for: search as it is typed, more like one, albums, thumbnails, originals."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from omni.errors import BadInput
from omni_image_search.library import Library
from omni_image_search.query import Query, moment
from omni_image_search.records import Hit

PAGE = 60
LARGE = 1600  #: pixels of the longer side of an enlarged photo
MOST_UPLOAD = 16 << 20


class PhotoWall:
    """The panel's handlers: JSON in, JSON out."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Any]]]:
        """By the name the page calls."""
        return {
            "search": self.search,
            "recent": self.recent,
            "albums": self.albums,
            "problems": self.problems,
        }

    async def search(self, params: dict[str, Any]) -> dict[str, Any]:
        """`text`, `like` (ids), `image` (base64), `minus`, `after`, `before`, `album`, `strict` -> hits and a note."""
        like: tuple[bytes | int, ...] = tuple(int(one) for one in params.get("like") or ())
        if params.get("image"):
            like += (await asyncio.to_thread(uploaded, str(params["image"])),)
        minus = tuple(part.strip() for part in str(params.get("minus") or "").split(",") if part.strip())
        strict = bool(params.get("strict", True)) and not like
        query = Query(
            text=str(params.get("text") or ""),
            like=like,
            minus=minus,
            after=moment(str(params.get("after") or "")),
            before=moment(str(params.get("before") or "")),
            album=str(params.get("album") or ""),
            limit=min(int(params.get("limit") or PAGE), 500),
            min_score="auto" if strict else None,
        )
        found = await self._library.search(query)
        return {"hits": [shown(hit) for hit in found.hits], "note": found.note, "of": found.of, "best": found.best}

    async def recent(self, params: dict[str, Any]) -> dict[str, Any]:
        """The newest photos, for when nothing is asked yet."""
        limit, start = min(int(params.get("limit") or PAGE), 500), int(params.get("start") or 0)

        def read() -> dict[str, Any]:
            store = self._library.store
            rows = store.rows(
                "SELECT id, width, height, taken, words FROM photos"
                " ORDER BY coalesce(taken, 0) DESC, id DESC LIMIT ? OFFSET ?",
                (limit, start),
            )
            hits = [Hit(photo, 0.0, store.paths(photo), w, h, taken, words) for photo, w, h, taken, words in rows]
            return {"hits": [shown(hit) for hit in hits], "note": "", "of": store.count()}

        return await asyncio.to_thread(read)

    async def albums(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """The indexed folders."""
        found = await asyncio.to_thread(self._library.store.albums)
        return [{"root": a.root, "name": Path(a.root).name, "photos": a.photos, "problems": a.problems} for a in found]

    async def problems(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """What could not be indexed, at most 200."""
        found = await asyncio.to_thread(self._library.store.problems)
        return [{"path": one.path, "what": one.what, "remedy": one.remedy} for one in found[:200]]

    async def media(self, name: str) -> tuple[bytes, str]:
        """`thumb/ID` or `large/ID`: never a path, so nothing but indexed photos can be had."""
        kind, _, number = name.partition("/")
        if kind not in ("thumb", "large") or not number.isdecimal():
            raise BadInput(f"There is no {name}.")
        data = await asyncio.to_thread(self._large if kind == "large" else self._library.store.thumb, int(number))
        if not data:
            raise BadInput("That photo is not in the index any more.", "Search again.")
        return data, "image/jpeg"

    def _large(self, photo: int) -> bytes | None:
        """The original, upright and without its metadata; the thumbnail when the file can't be had."""
        from PIL import Image, ImageOps

        small = self._library.store.thumb(photo)
        for path in self._library.store.paths(photo):
            try:
                with Image.open(path) as image:
                    image.draft("RGB", (LARGE, LARGE))
                    if image.size[0] * image.size[1] > 50_000_000:
                        continue
                    upright = ImageOps.exif_transpose(image).convert("RGB")
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                continue
            upright.thumbnail((LARGE, LARGE))
            out = io.BytesIO()
            upright.save(out, "JPEG", quality=85)
            return out.getvalue()
        return small


def shown(hit: Hit) -> dict[str, Any]:
    """A hit as the page wants it."""
    return {
        "id": hit.photo,
        "score": round(hit.score, 2),
        "path": hit.paths[0] if hit.paths else "",
        "name": Path(hit.paths[0]).name if hit.paths else "",
        "folder": str(Path(hit.paths[0]).parent) if hit.paths else "",
        "copies": len(hit.paths),
        "width": hit.width,
        "height": hit.height,
        "taken": hit.taken,
        "words": hit.words,
        "why": list(hit.why),
    }


def uploaded(data: str) -> bytes:
    """A picture dropped on the page. Raises `BadInput`."""
    if len(data) > MOST_UPLOAD * 4 // 3:
        raise BadInput("The picture is larger than 16 MB.", "Drop a smaller one.")
    try:
        return base64.b64decode(data.partition(",")[2] if data.startswith("data:") else data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput("The picture did not arrive whole.", "Drop it again.") from error
