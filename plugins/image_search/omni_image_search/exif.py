"""What a file says about itself: when, where, with what, and the words people put into it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_GPS, _EXIF = 0x8825, 0x8769
_DESCRIPTION, _MAKE, _MODEL, _DATE, _XP_TITLE, _XP_COMMENT, _XP_KEYWORDS = 270, 271, 272, 306, 40091, 40092, 40094
_ORIGINAL, _COMMENT = 36867, 37510
#: What cameras write where a description belongs.
_NOISE = re.compile(
    r"(?i)^(olympus digital camera|samsung|sony dsc|default|untitled|dcim|minolta.*|screenshot|image|ascii)?$"
)


@dataclass(frozen=True, slots=True)
class Exif:
    """`taken` in Unix seconds (a camera's local time is taken as UTC), `place` in degrees (north, east)."""

    taken: float | None = None
    place: tuple[float, float] | None = None
    camera: str = ""
    caption: str = ""


def read(image: Any) -> Exif:
    """Of an opened Pillow image. Nonsense in a header is left out, never an error."""
    try:
        header = image.getexif()
        details, gps = dict(header.get_ifd(_EXIF)), dict(header.get_ifd(_GPS))
    except Exception:  # Pillow's parsers raise what they like on damaged headers, and the picture may be fine
        return Exif(caption=_embedded(image))
    taken = _time(details.get(_ORIGINAL)) or _time(header.get(_DATE))
    camera = " ".join(dict.fromkeys(f"{_text(header.get(_MAKE))} {_text(header.get(_MODEL))}".split()))
    spoken = [_text(header.get(key)) for key in (_DESCRIPTION, _XP_TITLE, _XP_COMMENT, _XP_KEYWORDS)]
    spoken += [_text(details.get(_COMMENT)), _embedded(image)]
    caption = ". ".join(dict.fromkeys(words for words in spoken if not _NOISE.match(words)))
    return Exif(taken, _place(gps), camera, caption[:2000])


def _embedded(image: Any) -> str:
    """Titles and descriptions in IPTC, XMP and PNG text."""
    found = []
    try:
        from PIL import IptcImagePlugin

        iptc = IptcImagePlugin.getiptcinfo(image) or {}
        for key in ((2, 5), (2, 120), (2, 25)):
            value = iptc.get(key, b"")
            found += [_text(one) for one in (value if isinstance(value, list) else [value])]
    except Exception:  # as above: a damaged block costs its words alone
        found = []
    xmp = image.info.get("xmp") or b""
    xmp = xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)
    for tag in ("dc:title", "dc:description", "dc:subject"):
        block = re.search(rf"<{tag}>(.{{0,4000}}?)</{tag}>", xmp, re.S)
        found += re.findall(r"<rdf:li[^>]*>([^<]{1,1000})</rdf:li>", block[1]) if block else []
    found += [_text(image.info.get(key)) for key in ("Title", "Description", "Comment")]
    return ". ".join(dict.fromkeys(words.strip() for words in found if not _NOISE.match(words.strip())))


def _text(value: Any) -> str:
    if isinstance(value, tuple):  # XP tags: UTF-16 as a tuple of bytes
        value = bytes(part for part in value if isinstance(part, int) and 0 <= part < 256)
    if isinstance(value, bytes):
        head, encoding = value[:8], "utf-8"
        if head in (b"ASCII\0\0\0", b"UNICODE\0", b"\0" * 8):
            value, encoding = value[8:], "utf-16" if head == b"UNICODE\0" else "utf-8"
        elif b"\0" in value[:4]:
            encoding = "utf-16-le"
        value = value.decode(encoding, "replace")
    return "" if value is None else " ".join(str(value).replace("\0", " ").split())


def _time(value: Any) -> float | None:
    found = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", _text(value))
    if not found:
        return None
    try:
        return datetime(*(int(part) for part in found.groups()), tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _place(gps: dict[int, Any]) -> tuple[float, float] | None:
    try:
        north, east = (sum(float(part) / 60**i for i, part in enumerate(gps[key])) for key in (2, 4))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    north *= -1 if _text(gps.get(1)).upper().startswith("S") else 1
    east *= -1 if _text(gps.get(3)).upper().startswith("W") else 1
    valid = abs(north) <= 90 and abs(east) <= 180 and (north, east) != (0.0, 0.0)
    return (round(north, 6), round(east, 6)) if valid else None
