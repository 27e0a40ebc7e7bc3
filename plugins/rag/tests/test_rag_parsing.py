"""What is read of PDFs, and what hostile ones do: nothing but end their own process."""

import sys

import psutil
import pytest
from omni_rag.page import Page
from omni_rag.sandbox import Limits, parse, render
from rag_made import grid, lines, manual, pdf, text

from omni.errors import BadInput

QUICK = Limits(open_s=30, page_s=30)


async def read(path, limits=QUICK):
    """(pages or parts, problems)."""
    pages, problems = [], []
    async for message in parse(path, limits):
        if message["type"] == "page":
            pages.append(Page.from_json(message["page"]) if "page" in message else message)
        elif message["type"] == "problem":
            problems.append(message)
    return pages, problems


def children():
    return [one for one in psutil.Process().children(recursive=True) if "omni_rag.parser" in " ".join(one.cmdline())]


async def test_text_comes_with_headings_and_boxes(tmp_path):
    path = tmp_path / "manual.pdf"
    path.write_bytes(manual())
    pages, problems = await read(path)
    assert problems == [] and len(pages) == 2
    kinds = [(block.kind, block.text) for block in pages[0].blocks]
    assert kinds[0] == ("heading", "Assembly of the chair")
    assert kinds[1][1] == "The Borgholm chair comes in a flat box with four legs, one seat and eight screws."
    left, top, right, bottom = pages[0].blocks[1].box
    assert left == pytest.approx(72, abs=2) and 95 < top < 108 and 118 < bottom < 130 and 300 < right < 400


async def test_columns_and_a_ruled_table(tmp_path):
    content = lines(60, 700, ["The left column begins", "and ends here."]) + lines(
        330, 700, ["The right column begins", "and ends there."]
    )
    rows = [["Screw", "Size", "Count"], ["Hex bolt", "M8", "12"], ["Washer", "M6", "24"]]
    content += grid(60, 500, [120, 80, 80], rows) + text(60, 512, "Table 1: Screws in the bag", 10)
    path = tmp_path / "table.pdf"
    path.write_bytes(pdf([content]))
    (page,), _ = await read(path)
    (table,) = [block for block in page.blocks if block.kind == "table"]
    assert table.rows == rows and table.caption == "Table 1: Screws in the bag"
    assert table.box == pytest.approx((60, 292, 340, 346), abs=3)
    said = [block.text for block in page.blocks if block.kind == "text"]
    assert said == ["The left column begins and ends here.", "The right column begins and ends there."]


@pytest.mark.parametrize("quarter", [90, 180, 270])
async def test_a_turned_page_is_read_as_it_is_shown(tmp_path, quarter):
    path = tmp_path / "turned.pdf"
    path.write_bytes(pdf([lines(72, 700, ["Turn the valve to the left.", "Then wait for a minute."])], rotate=quarter))
    (page,), _ = await read(path)
    (block,) = page.blocks
    assert "Turn the valve to the left." in block.text
    width, height = (792, 612) if quarter != 180 else (612, 792)
    assert (page.width, page.height) == (width, height)
    left, top, right, bottom = block.box
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    if quarter == 90:  # the text runs down the right side of the page as shown
        assert left > 650 and bottom - top > 100


async def test_sideways_text_on_an_upright_page(tmp_path):
    path = tmp_path / "sideways.pdf"
    path.write_bytes(
        pdf([text(100, 100, "Read me from below", turn="0 1 -1 0") + text(300, 700, "and me from the left")])
    )
    (page,), _ = await read(path)
    assert {block.text for block in page.blocks} == {"Read me from below", "and me from the left"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("locked.pdf", pdf([text(72, 700, "secret")], encrypt=True), "password"),
        ("cut.pdf", manual()[:300], "damaged"),
        ("none.pdf", b"hello, I am not one", "damaged"),
        ("empty.pdf", b"", "damaged"),
        ("binary.txt", b"\0\1\2\3" * 100, "damaged"),
    ],
)
async def test_what_cannot_be_read_is_a_sentence(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    pages, (problem,) = await read(path)
    assert pages == [] and said in problem["message"]


async def test_a_page_that_takes_too_long_ends_its_process_and_the_rest_is_read(tmp_path, monkeypatch):
    path = tmp_path / "slow.pdf"
    path.write_bytes(manual())
    slow = tmp_path / "site"
    slow.mkdir()
    # the parser of this test sleeps on page 1
    (slow / "sitecustomize.py").write_text(
        "import omni_rag.parser as p, time\nreal = p._page\n"
        "def held(document, index, *rest):\n    if index == 0: time.sleep(600)\n"
        "    return real(document, index, *rest)\np._page = held\n"
    )
    monkeypatch.setattr(sys, "executable", _with_site(tmp_path, slow))
    pages, (problem,) = await read(path, Limits(open_s=30, page_s=3))
    assert problem["page"] == 1 and "more than 3 s" in problem["message"]
    assert [page.number for page in pages] == [2] and pages[0].blocks[0].text == "Care"
    assert children() == []


def _with_site(tmp_path, folder):
    """A Python that imports `sitecustomize` from a folder, and runs the parser as patched there."""
    wrapper = tmp_path / "python"
    wrapper.write_text(
        f"#!/bin/sh\nexec env PYTHONPATH={folder} {sys.executable} "
        '-c "import sitecustomize, omni_rag.parser as p; p.main()"\n'
    )
    wrapper.chmod(0o755)
    return str(wrapper)


@pytest.mark.skipif(sys.platform == "win32", reason="memory limits need POSIX")
async def test_a_bomb_ends_its_own_process(tmp_path):
    path = tmp_path / "bomb.pdf"
    path.write_bytes(pdf([b"q\n" * 150_000_000]))
    assert path.stat().st_size < 1_000_000
    pages, problems = await read(path, Limits(memory_mb=500, open_s=30, page_s=20))
    assert problems or not pages or not getattr(pages[0], "blocks", None)
    assert children() == []


async def test_the_crop_is_marked(tmp_path):
    import io

    from PIL import Image

    path = tmp_path / "manual.pdf"
    path.write_bytes(manual())
    marks = [{"box": (72, 180, 300, 192), "strong": True}, {"box": (72, 180, 340, 206), "strong": False}]
    png, size = await render(path, 1, box=(46, 154, 366, 232), marks=marks, width=800)
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert size == (612, 792) and image.width == pytest.approx(800, abs=2)
    colours = {colour for _, colour in image.getcolors(1_000_000)}
    assert (255, 214, 64) in colours and (14, 106, 91) in colours
    with pytest.raises(BadInput, match="no page 9"):
        await render(path, 9)


async def test_markdown_is_cited_by_its_lines(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("# Boiler\n\nKeep the pressure below two bar.\n\n- bleed the radiators\n- call Anna\n")
    (page,), problems = await read(path)
    assert problems == []
    assert [(b.kind, b.text) for b in page.blocks] == [
        ("heading", "Boiler"),
        ("text", "Keep the pressure below two bar."),
        ("item", "- bleed the radiators"),
        ("item", "- call Anna"),
    ]
    png, _ = await render(path, 1)
    assert png.startswith(b"\x89PNG")
