"""One file into a small upright picture and what the file says about itself. Runs in a worker process.

Everything that can go wrong with a file of unknown origin goes wrong here: a process that is killed at its
time limit, and that holds no more memory than its own limit.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from omni_image_search import exif, phash
from omni_image_search.records import Decoded, Problem

PREVIEW = 640  #: pixels of the longer side of what the detectors see (they scale to 512)
THUMB = 320  #: of what is kept, about 15 kB a photo
MAX_PIXELS = 120_000_000  #: more are refused unless the format can be decoded smaller
MAX_BYTES = 1 << 30
PLAIN = frozenset(
    [".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".avif", ".ppm", ".tga", ".ico"]
)
HEIC = frozenset((".heic", ".heif", ".hif"))
RAW = frozenset([".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"])
KNOWN = PLAIN | HEIC | RAW


def digest(path: str) -> tuple[str, int]:
    """(sha256, bytes) of a regular file; raises `OSError`. Read in pieces."""
    with _open(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), stream.tell()


def _open(path: str) -> Any:
    """The file, if it is one: a named pipe or a device would never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def decode(path: str) -> Decoded | Problem:
    """The picture in a file, or why it can't be had, in a sentence."""
    from PIL import Image, UnidentifiedImageError

    suffix = Path(path).suffix.lower()
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before anything is decoded
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if suffix in HEIC and (missing := _heic()):
                return Problem(path, *missing)
            with _open(path) as stream:
                if os.fstat(stream.fileno()).st_size == 0:
                    return Problem(path, "The file is empty.", "Copy it again from where it came.", True)
                if suffix in RAW:
                    return _raw(path, stream)
                with Image.open(stream) as image:
                    return _from_image(path, image)
    except UnidentifiedImageError:
        return Problem(path, "It is not an image in a format that is known.", "Convert it to JPEG or PNG.", True)
    except PermissionError:
        return Problem(path, "It may not be read.", "Change its permissions.")
    except FileNotFoundError:
        return Problem(path, "It was there and is gone.", "Index the folder again when it is back.")
    except MemoryError:
        return Problem(path, "It needs more memory than a photo may take.", "Convert it to a smaller JPEG.", True)
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError) as error:
        lasting = not (isinstance(error, OSError) and error.errno)
        return Problem(path, f"It is cut short or damaged ({error}).", "Restore it from a backup.", lasting)


def _from_image(path: str, image: Any, format: str = "") -> Decoded | Problem:
    from PIL import Image, ImageOps

    width, height = image.size
    found = exif.read(image)
    frames = int(getattr(image, "n_frames", 1))
    kind = format or image.format or ""
    if kind in ("JPEG", "MPO"):
        image.draft("RGB", (PREVIEW, PREVIEW))  # decodes at 1/2, 1/4 or 1/8, never below this size
    if image.size[0] * image.size[1] > MAX_PIXELS:
        megapixels = width * height / 1e6
        return Problem(path, f"It has {megapixels:.0f} megapixels.", "Keep a JPEG of it beside it.", True)
    image.seek(0)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.size != (width, height) and (image.size[0] > image.size[1]) != (width > height):
        width, height = height, width
    image = _rgb(image)
    smooth = Image.Resampling.BOX if max(image.size) > 4 * PREVIEW else Image.Resampling.LANCZOS
    image.thumbnail((PREVIEW, PREVIEW), smooth)
    grey = np.asarray(image.convert("L").resize((phash.SIDE, phash.SIDE), Image.Resampling.BOX))
    preview = _jpeg(image, 88)
    image.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    return Decoded(
        preview=preview,
        thumb=_jpeg(image, 80),
        width=width,
        height=height,
        format=kind,
        frames=frames,
        phash=phash.of_grey(grey),
        taken=found.taken,
        place=found.place,
        camera=found.camera,
        caption=found.caption,
    )


def _jpeg(image: Any, quality: int) -> bytes:
    """Without metadata."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _rgb(image: Any) -> Any:
    """RGB on white; 16-bit and float greys stretched to 0..255."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        return paper
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        values = np.nan_to_num(np.asarray(image, np.float32))
        low, high = float(values.min()), float(values.max())
        image = Image.fromarray(((values - low) * (255.0 / max(high - low, 1e-9))).astype(np.uint8))
    return image.convert("RGB")


def _heic() -> tuple[str, str] | None:
    """None when HEIC can be read, else what is missing and how to get it."""
    try:
        import pi_heif
    except ImportError:
        return "HEIC can't be read yet.", "Install it: pip install 'omni-image-search[heic]'."
    pi_heif.register_heif_opener()
    return None


def _raw(path: str, stream: Any) -> Decoded | Problem:
    """The preview a camera put into its raw file, else the raw developed at half size."""
    from PIL import Image

    try:
        import rawpy
    except ImportError:
        return Problem(path, "Camera raw files can't be read yet.", "Install it: pip install 'omni-image-search[raw]'.")
    try:
        with rawpy.imread(stream) as raw:
            try:
                thumb = raw.extract_thumb()
            except rawpy.LibRawError:
                thumb = None
            if thumb is not None and thumb.format == rawpy.ThumbFormat.JPEG:
                with Image.open(io.BytesIO(thumb.data)) as image:
                    return _from_image(path, image, "RAW")
            pixels = thumb.data if thumb is not None else raw.postprocess(half_size=True, use_camera_wb=True)
    except rawpy.LibRawError as error:
        return Problem(path, f"It is no raw file of a camera that is known ({error}).", "Convert it to JPEG.", True)
    return _from_image(path, Image.fromarray(pixels), "RAW")
