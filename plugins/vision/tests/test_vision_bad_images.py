"""Bytes that can't be an image, or pretend to be a bigger one: a sentence, in bounded time and memory."""

import io
import struct
import time
import zlib
from itertools import pairwise

import numpy as np
import pytest
from omni_vision import images
from PIL import Image

from omni.errors import BadInput


def jpeg(pixels, **options):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", **options)
    return out.getvalue()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def png_claiming(width, height):
    """A PNG of a few kilobytes whose header claims this size: all zeros compress a thousandfold."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * min(width * height, 4_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_hundred_megapixel_photo_is_decoded_smaller():
    block = jpeg(np.full((10_000, 10_000, 3), 120, np.uint8), quality=30)
    began = time.process_time()
    picture = images.decode(block)
    assert picture.width * picture.height <= images.KEEP_PIXELS
    assert 0 < picture.scale < 1
    assert abs(int(picture.pixels.mean()) - 120) <= 2
    assert time.process_time() - began < 10


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (12_000, 9_000)])
def test_a_bomb_is_refused_before_it_unpacks(width, height):
    data = png_claiming(width, height)
    assert len(data) < 100_000
    with pytest.raises(BadInput, match="pixels"):
        images.decode(data)


def test_a_side_beyond_all_bounds_is_refused():
    with pytest.raises(BadInput, match="longest side"):
        images.decode(png_claiming(200_000, 2))


def test_a_truncated_photo_is_told():
    whole = jpeg(noise(200, 300))
    with pytest.raises(BadInput, match="cut short or damaged"):
        images.decode(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7\n...", "PDF document"),
        (b"PK\x03\x04zip", "ZIP archive"),
        (b"\x1f\x8b\x08gzip", "archive"),
        (b"", "empty"),
        (b"not an image at all", "not an image in a format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xff\xd8\xff", "damaged|format"),
    ],
)
def test_what_is_no_image_is_named(data, said):
    with pytest.raises(BadInput, match=said) as caught:
        images.decode(data)
    assert caught.value.message.endswith(".")


def test_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    with pytest.raises(BadInput, match="the limit is"):
        images.decode(jpeg(noise(100, 100)))


def test_of_an_animation_the_first_frame_is_seen():
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    picture = images.decode(out.getvalue())
    assert picture.frames == 3
    assert picture.pixels[15, 20].tolist() == [255, 0, 0]


def test_orientation_is_applied_and_exif_is_gone():
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40] = (255, 0, 0)  # red on the left; turned a quarter clockwise, red is at the top
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Secret Camera Maker"
    data = jpeg(pixels, exif=exif, quality=95)
    picture = images.decode(data)
    assert (picture.width, picture.height) == (40, 80)
    assert picture.pixels[10, 20, 0] > 200 > 100 > picture.pixels[70, 20, 0]
    kept = images.strip(data)
    assert b"Secret Camera Maker" not in kept
    assert not Image.open(io.BytesIO(kept)).getexif()


def test_the_digest_is_of_the_pixels_alone():
    pixels = noise(20, 20)
    png = images.encode(pixels, "PNG")
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "BMP")
    assert images.decode(png).digest == images.decode(out.getvalue()).digest
    assert images.decode(png).digest != images.decode(images.encode(pixels[::-1].copy(), "PNG")).digest


def test_transparency_becomes_paper_and_sixteen_bits_become_eight():
    clear = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(clear, "PNG")
    assert images.decode(clear.getvalue()).pixels.min() == 255
    deep = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)).save(deep, "PNG")
    values = images.decode(deep.getvalue()).pixels
    assert values.min() == 0
    assert values.max() == 255


@pytest.mark.parametrize(("width", "height"), [(100, 80), (1280, 1280), (3000, 4000), (1281, 700)])
def test_tiles_cover_everything_and_overlap(width, height):
    covered = np.zeros((height, width), bool)
    for left, top, right, bottom in images.tiles(width, height, 1280, 160):
        assert right - left <= 1280
        assert bottom - top <= 1280
        covered[top:bottom, left:right] = True
    assert covered.all()
    lefts = sorted({box[0] for box in images.tiles(width, height, 1280, 160)})
    assert all(b - a <= 1280 - 160 for a, b in pairwise(lefts))
