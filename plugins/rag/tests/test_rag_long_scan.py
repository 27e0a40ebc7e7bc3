"""A scan of 600 pages: bounded memory, progress that can be believed, and a stop in the middle that costs a page."""

from __future__ import annotations

import io

import psutil
import pytest
from omni_rag.library import Library
from PIL import Image, ImageDraw
from rag_made import FakeHost

from omni.capabilities import Region

PAGES = 600
CELL = 40  #: points of the squares that write the page's number in binary
MB = 2**20


def scan(path, pages=PAGES):
    """Grey pages of 420 x 300 points; black squares in the first row are the bits of the page's number."""

    def page(number):
        picture = Image.effect_noise((420, 300), 30)  # as a scanner's: it does not compress to nothing
        pen = ImageDraw.Draw(picture)
        pen.rectangle((0, 0, 420, CELL), fill=255)
        for bit in range(10):
            if number >> bit & 1:
                pen.rectangle((bit * CELL, 0, (bit + 1) * CELL - 1, CELL - 1), fill=0)
        return picture

    page(1).save(path, save_all=True, append_images=(page(number) for number in range(2, pages + 1)), resolution=72)


class Counter:
    """Text recognition that reads the squares."""

    def __init__(self):
        self.seen = []

    async def read(self, image):
        picture = Image.open(io.BytesIO(image)).convert("L")
        scale = picture.width / 420
        middle = [(int((bit + 0.5) * CELL * scale), int(0.5 * CELL * scale)) for bit in range(10)]
        number = sum((picture.getpixel(place) < 100) << bit for bit, place in enumerate(middle))
        self.seen.append(number)
        said = f"Sheet {number} of the register names boiler B{number}."
        return [Region("text", said, (10.0 * scale, 50.0 * scale, 400.0 * scale, 60.0 * scale), 0.9)]


class Stop(Exception):
    pass


class Watch:
    """What is told of the progress, and the memory used meanwhile, this process's and its children's."""

    def __init__(self, stop_at=None):
        self.told, self.stop_at = [], stop_at
        self.process = psutil.Process()
        self.before = self.process.memory_info().rss
        self.own = self.child = 0

    def __call__(self, progress):
        if progress.stage != "reading" or not progress.page:
            return
        self.told.append((progress.page, progress.of, progress.eta()))
        if progress.page % 25 == 0:
            self.own = max(self.own, self.process.memory_info().rss - self.before)
            for child in self.process.children(recursive=True):
                try:
                    self.child = max(self.child, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
        if progress.page == self.stop_at:
            raise Stop


@pytest.mark.slow
async def test_six_hundred_scanned_pages(tmp_path):
    path = tmp_path / "register.pdf"
    scan(path)
    assert path.stat().st_size > 10 * MB
    reader = Counter()
    library = Library(tmp_path / "index", FakeHost(TextReader=reader), {"memory_mb": 1024})
    try:
        first = Watch(stop_at=250)
        with pytest.raises(Stop):
            await library.index([path], first)
        assert [page for page, _, _ in first.told] == list(range(1, 251))
        assert {of for _, of, _ in first.told} == {PAGES}
        left = [eta for page, _, eta in first.told if page >= 50]
        assert all(left) and left[-1] < left[0]

        second = Watch()
        summary = await library.index([path], second)
        assert summary.problems == [] and summary.read == 1
        assert reader.seen == list(range(1, PAGES + 1))  # the second run read no page of the first again
        assert [page for page, _, _ in second.told] == list(range(251, PAGES + 1))
        assert max(first.own, second.own) < 150 * MB
        assert max(first.child, second.child) < 400 * MB

        answer = await library.ask("Which sheet of the register names boiler B417?", word=False)
        assert answer.supported and answer.citations[0].page == 417
        assert answer.citations[0].box == pytest.approx((10, 50, 400, 60), abs=1)
    finally:
        library.close()
