"""Pictures and documents a person drops: checked by what they are, not by what they say they are."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from omni.errors import BadInput
from omni.events import Attachment

if TYPE_CHECKING:
    from omni.session import Session

#: Bytes of one upload, and of all a session holds.
UPLOAD_LIMIT = 20_000_000
SESSION_LIMIT = 120_000_000

#: First bytes -> (media type, kind of attachment).
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg", "image"),
    (b"\x89PNG\r\n\x1a\n", "image/png", "image"),
    (b"GIF87a", "image/gif", "image"),
    (b"GIF89a", "image/gif", "image"),
    (b"BM", "image/bmp", "image"),
    (b"II*\x00", "image/tiff", "image"),
    (b"MM\x00*", "image/tiff", "image"),
    (b"%PDF-", "application/pdf", "document"),
)


def sniff(data: bytes) -> tuple[str, str]:
    """(media type, attachment kind) by the first bytes. Raises `BadInput` for what Omni can't look at."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", "image"
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        return ("image/avif" if data[8:12] == b"avif" else "image/heic"), "image"
    for magic, mime, kind in _MAGIC:
        if data.startswith(magic):
            return mime, kind
    raise BadInput(
        "That file is neither a picture nor a PDF." if data else "That file is empty.",
        "Drop a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF picture, or a PDF.",
    )


class Uploads:
    """What was uploaded into one session, bounded; the oldest goes first."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, tuple[Attachment, int]] = {}

    def add(self, data: bytes, name: str = "") -> Attachment:
        """Keep an upload. Raises `BadInput` when it is too large or not of a kind Omni can look at."""
        if len(data) > UPLOAD_LIMIT:
            raise BadInput(
                f"That file has {len(data) / 1e6:.0f} MB; {UPLOAD_LIMIT / 1e6:.0f} MB fit.",
                "Drop a smaller version of it.",
            )
        mime, kind = sniff(data)
        ref = f"upload:{secrets.token_hex(8)}"
        attachment = Attachment(kind=kind, ref=ref, name=name[:200], mime=mime)
        self._known[ref] = (attachment, len(data))
        while sum(size for _, size in self._known.values()) > SESSION_LIMIT:
            oldest = next(iter(self._known))
            self._known.pop(oldest)
            self._session.media.pop(oldest, None)
        self._session.keep(ref, data)
        return attachment

    def attachments(self, refs: list[str]) -> tuple[Attachment, ...]:
        """The uploads that `refs` name. Raises `BadInput` for one that is not there (any more)."""
        found = []
        for ref in refs:
            if ref not in self._known or ref not in self._session.media:
                raise BadInput("A picture that should go with this message is not there any more.", "Drop it again.")
            found.append(self._known[ref][0])
        return tuple(found)

    def read(self, ref: str) -> tuple[bytes, str] | None:
        """(bytes, media type) of an upload, or None."""
        if ref in self._known and ref in self._session.media:
            return self._session.media[ref], self._known[ref][0].mime
        return None
