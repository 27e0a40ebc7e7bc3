"""The whole way with the real models: a PDF of text, table, figure, two columns and a scan is read, asked, cited."""

from __future__ import annotations

import pytest
from omni_rag.geometry import iou
from omni_rag.library import Library
from PIL import Image, ImageDraw, ImageFont
from rag_made import grid, lines, pdf, text

from omni.catalogue.store import ModelStore
from omni.config import load_config
from omni.errors import ModelError
from omni.host.host import Host

pytestmark = pytest.mark.real

LEFT = [
    "The Marlow heat pump takes warmth from",
    "the ground through two pipes of 120 metres.",
    "Have the brine checked by a technician every",
    "third year; it must be clear and green.",
]
RIGHT = [
    "In winter the pump runs at night, when the",
    "tariff is low. The tank keeps the water warm",
    "for eleven hours. Noise does not exceed 38",
    "decibels at a distance of one metre.",
]
FAULTS = [
    ["Code", "Meaning", "What to do"],
    ["E14", "Brine pressure too low", "Refill the brine circuit"],
    ["E27", "Compressor too hot", "Clean the air filter"],
    ["E31", "Sensor unplugged", "Call the service"],
]


def handbook():
    """Two columns, then a table, then a figure with its caption."""
    first = text(72, 740, "Marlow heat pump: handbook", 20, "F2") + text(60, 700, "How it works", 14, "F2")
    first += lines(60, 676, LEFT, 10) + lines(330, 676, RIGHT, 10)
    second = text(72, 740, "Faults", 16, "F2") + text(72, 700, "Table 1: Codes shown on the display", 10)
    second += grid(72, 684, [60, 170, 200], FAULTS)
    third = text(72, 740, "Circuit", 16, "F2")
    for i, (x, name) in enumerate([(90, "ground pipe"), (250, "compressor"), (410, "water tank")]):
        third += f"{x} 560 110 70 re S\n{x + 10} {570 + i} 90 50 re S\n".encode() + text(x + 14, 590, name, 10)
    third += b"200 595 m 250 595 l S\n360 595 m 410 595 l S\n"
    third += text(90, 536, "Figure 1: The circuit of the brine from the ground pipe to the water tank", 10)
    return pdf([first, second, third])


def letter(path):
    """A page that is a picture."""
    page = Image.new("L", (1240, 1754), 250)
    font = ImageFont.load_default(34)
    said = [
        "Marlow Service, Harbour Road 5",
        "Your heat pump was installed on the ninth of May.",
        "The guarantee ends after seven years.",
    ]
    for i, words in enumerate(said):
        ImageDraw.Draw(page).text((150, 300 + 70 * i), words, fill=10, font=font)
    page.save(path, resolution=150)


@pytest.fixture
async def library(tmp_path):
    config = load_config()
    store = ModelStore.from_config(config)
    try:
        await store.path("minilm-l6")
    except ModelError as error:
        pytest.skip(f"the text embedder can't be had: {error}")
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "handbook.pdf").write_bytes(handbook())
    letter(folder / "letter.pdf")
    host = Host(config, store, tmp_path / "data", only={"vision", "language"})
    await host.start()
    made = Library(tmp_path / "index", host)
    try:
        summary = await made.index([folder])
        assert (summary.read, summary.problems) == (2, [])
        yield made
    finally:
        made.close()
        await host.stop()


ASKED = [  # question, words of the answer, document, page, kind, box
    ("Where does the pump take its warmth from?", "120 metres", "handbook.pdf", 1, "text", (60, 107, 262, 157)),
    ("How loud is its noise at a distance of one metre?", "38", "handbook.pdf", 1, "text", (330, 107, 532, 157)),
    ("What should I do when the display shows E27?", "air filter", "handbook.pdf", 2, "row", (72, 108, 502, 180)),
    ("Which figure shows the circuit of the brine?", "Figure 1", "handbook.pdf", 3, "figure", (90, 162, 520, 232)),
    ("When does the guarantee of the heat pump end?", "seven years", "letter.pdf", 1, "text", None),
]


async def test_what_stands_there_is_cited_and_what_does_not_is_refused(library):
    for question, words, document, page, kind, box in ASKED:
        answer = await library.ask(question, word=False)
        assert answer.supported, question
        first = answer.citations[0]
        assert (first.document, first.page, first.kind) == (document, page, kind), question
        assert words in answer.text and words in first.quote, question
        assert box is None or iou(first.box, box) > 0.5, (question, first.box)
    for question in ("Who won the chess championship in 1972?", "What does a litre of diesel cost in Norway?"):
        answer = await library.ask(question, word=False)
        assert not answer.supported and answer.citations == [], question
