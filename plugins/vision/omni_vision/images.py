"""Bytes that claim to be an image, made safe: sniffed, bounded, decoded, upright, without EXIF.

Limits hold before pixels are decoded: the header says how many there would be, and a JPEG can be decoded
at 1/2, 1/4 or 1/8 of its size, so a 100-megapixel photo costs little. What is kept of an image never
holds its EXIF (place, device, owner).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from omni.errors import BadInput

MAX_BYTES = 64 * 2**20  #: encoded
MAX_PIXELS = 50_000_000  #: decoded at most, after a JPEG's own reduction
MAX_SIDE = 65_000
KEEP_PIXELS = (
    12_000_000  #: larger images are reduced to this: text of a 4-K screen or an A4 page at 300 dpi stays legible
)

_NOT_IMAGES = (
    (b"%PDF", "a PDF document", "Ask about it as a document, or send a picture of the page."),
    (b"PK\x03\x04", "a ZIP archive", "Unpack it and send the picture inside."),
    (b"\x1f\x8b", "a compressed archive", "Unpack it and send the picture inside."),
    (b"<svg", "a drawing in SVG", "Export it as PNG first."),
    (b"<?xml", "an XML file", "Export it as PNG first."),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright RGB image: `pixels` [height, width, 3] uint8, and `digest`, the sha256 of them and their size.

    `frames` counts those of an animation (only the first is here); `scale` is pixels kept per original pixel.
    """

    pixels: np.ndarray
    digest: str
    frames: int = 1
    scale: float = 1.0

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


def decode(data: bytes) -> Picture:
    """The first frame of an encoded image, upright. Raises `BadInput` with a sentence on anything unusable."""
    from PIL import Image

    _refuse_other_files(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limits are checked below
        try:
            with Image.open(io.BytesIO(data)) as image:
                frames = int(getattr(image, "n_frames", 1))
                image.seek(0)
                whole = image.size
                upright = _upright(_reduced(image))
        except BadInput:
            raise
        except Image.DecompressionBombError as error:
            raise BadInput("The image would unpack to far too many pixels.", "Send a smaller version.") from error
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError, IndexError, TypeError) as error:
            raise _unreadable(data, error) from error
    pixels = np.asarray(upright)
    return Picture(pixels, digest(pixels), frames, min(upright.size) / max(1, min(whole)))


def digest(pixels: np.ndarray) -> str:
    """sha256 of the size and the pixels: equal for equal pictures, whatever file they came in."""
    sha = hashlib.sha256(f"{pixels.shape}".encode())
    sha.update(np.ascontiguousarray(pixels))
    return sha.hexdigest()


def strip(data: bytes, quality: int = 92) -> bytes:
    """The picture again as a file without EXIF, upright: JPEG stays JPEG, all else becomes PNG."""
    picture = decode(data)
    return encode(picture.pixels, "JPEG" if data[:2] == b"\xff\xd8" else "PNG", quality)


def encode(pixels: np.ndarray, form: str = "JPEG", quality: int = 92) -> bytes:
    """[height, width, 3] uint8 as a file, without metadata."""
    from PIL import Image

    out = io.BytesIO()
    options = {"quality": quality} if form == "JPEG" else {}
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def tiles(width: int, height: int, size: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of at most `size` that cover the image and overlap by at least `overlap`."""
    for top, bottom in _spans(height, size, overlap):
        for left, right in _spans(width, size, overlap):
            yield left, top, right, bottom


def _spans(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    if length <= size:
        return [(0, length)]
    count = -(-(length - overlap) // (size - overlap))
    starts = np.linspace(0, length - size, count).round().astype(int)
    return [(int(start), int(start) + size) for start in starts]


def _refuse_other_files(data: bytes) -> None:
    if not data:
        raise BadInput("The image is empty (0 bytes).", "Send it again.")
    if len(data) > MAX_BYTES:
        raise BadInput(
            f"The image file has {len(data) / 2**20:.0f} MB; the limit is {MAX_BYTES // 2**20} MB.",
            "Send a smaller version.",
        )
    head = data[:256].lstrip()
    for magic, what, remedy in _NOT_IMAGES:
        if head.startswith(magic):
            raise BadInput(f"That is {what}, not an image.", remedy)


def _reduced(image: Any) -> Any:
    """Decoded, at a size within the limits; refuses what can't be reduced before it is decoded."""
    width, height = image.size
    if width < 1 or height < 1 or max(width, height) > MAX_SIDE:
        raise BadInput(
            f"An image of {width} x {height} pixels can't be read.", f"The longest side may be {MAX_SIDE} pixels."
        )
    if image.format == "JPEG" and width * height > KEEP_PIXELS:
        shrink = (KEEP_PIXELS / (width * height)) ** 0.5
        image.draft("RGB", (max(1, int(width * shrink)), max(1, int(height * shrink))))  # 1/2, 1/4, 1/8, never below
    if image.size[0] * image.size[1] > MAX_PIXELS:
        megapixels = width * height / 1e6
        raise BadInput(
            f"The image has {megapixels:.0f} megapixels; a {image.format} is read up to {MAX_PIXELS // 10**6}.",
            "Send a smaller version, or a JPEG of it.",
        )
    image.load()
    return image


def _upright(image: Any) -> Any:
    """RGB on white, turned as EXIF says, within `KEEP_PIXELS`."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and "transparency" in image.info):
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        image = paper
    elif image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        image = Image.fromarray(_eight_bits(np.asarray(image, dtype=np.float32)))
    image = image.convert("RGB")
    if image.size[0] * image.size[1] > KEEP_PIXELS:
        shrink = (KEEP_PIXELS / (image.size[0] * image.size[1])) ** 0.5
        image = image.resize((max(1, int(image.size[0] * shrink)), max(1, int(image.size[1] * shrink))), Image.LANCZOS)
    return image


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """16-bit and float greys stretched to 0..255."""
    values = np.nan_to_num(values)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255.0 / max(high - low, 1e-9))).astype(np.uint8)


def _unreadable(data: bytes, error: BaseException) -> BadInput:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return BadInput("That is not an image in a format that is known.", "Send a JPEG, PNG, WebP, GIF, BMP or TIFF.")
    if isinstance(error, MemoryError):
        return BadInput("The image is too large for this machine's memory.", "Send a smaller version.")
    return BadInput(f"The image is cut short or damaged ({error}).", "Send it again.")
