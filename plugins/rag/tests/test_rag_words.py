"""What of a question counts, how pages become passages, and how sure an answer is."""

import pytest
from omni_rag.chunks import chunks_of
from omni_rag.confidence import FEATURES, SAY, WEIGHTS, certainty
from omni_rag.indexing import Progress
from omni_rag.library import Library
from omni_rag.page import Block, Line, Page
from omni_rag.query import Asked, fts, terms
from omni_rag.sandbox import Limits, parse
from rag_made import FakeHost, Reader, pdf, text


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("What does Product F earn in May?", ["product", "f", "earn", "may"]),
        ("How long may a child sleep?", ["child", "sleep"]),
        ("Which diagram shows the boiler?", ["boiler"]),
        ("How?", ["how"]),
        ("Wo ist Äpplarö?", ["applaro"]),
        ("국내 확진자는", ["국내", "확진자는"]),
    ],
)
def test_the_words_that_matter(question, kept):
    assert terms(question) == kept


def test_a_month_and_a_korean_word_are_looked_for_in_their_other_forms_too():
    assert fts("revenue in March") == '"revenue" OR "march" OR "mar"'
    assert fts("확진자는") == '"확진자는" OR "확진자"*'


def test_words_that_stand_together_speak_for_a_passage():
    asked = Asked("the locking action of the nut", ("locking", "action", "nut"), (1.0, 1.0, 1.0))
    assert asked.together("The locking action takes place late. Far away from it all there is some other nut.") == 0.5
    assert asked.held("A nut.") == pytest.approx(1 / 3)
    assert Asked("What does it look like?", ("x",), (1.0,)).cover and not asked.cover


def block(kind, words, top, height=12.0):
    box = (72.0, top, 300.0, top + height)
    return Block(kind, words, box, lines=[Line(words, box)])


def test_a_running_head_stands_under_no_heading_of_the_page_before():
    pages = [
        Page(1, 600, 800, [block("heading", "2. Terms", 700), block("text", "What a word of it means.", 720)]),
        Page(2, 600, 800, [block("text", "Agreement, page 2", 20), block("text", "More of what words mean.", 100)]),
    ]
    contexts = {chunk.text: chunk.context for chunk in chunks_of(pages) if chunk.kind == "text"}
    assert contexts == {
        "What a word of it means.": "2. Terms",
        "Agreement, page 2": "",
        "More of what words mean.": "2. Terms",
    }


def ruled(rows, tops):
    """A table as papers set it: cells close together, rules at some heights."""
    out = b"0.6 w\n"
    for top in tops:
        out += f"72 {top} m 360 {top} l S\n".encode()
    for y, row in rows:
        for x, cell in row:
            out += text(x, y, cell, 9)
    return out


async def test_cells_between_rules_are_kept_apart_and_a_heading_of_two_lines_is_one(tmp_path):
    rows = [
        (690, [(150, "train"), (200, "params")]),
        (679, [(80, "model"), (150, "steps"), (200, "million"), (260, "score")]),
        (662, [(80, "base"), (155, "100K"), (188, "65"), (260, "25.8")]),
        (650, [(80, "big"), (155, "300K"), (188, "213"), (260, "26.4")]),
    ]
    path = tmp_path / "paper.pdf"
    path.write_bytes(pdf([ruled(rows, (702, 674, 645))]))
    (page,) = [Page.from_json(m["page"]) async for m in parse(path, Limits()) if m["type"] == "page"]
    (table,) = [one for one in page.blocks if one.kind == "table"]
    assert table.rows == [
        ["model", "train steps", "params million", "score"],
        ["base", "100K", "65", "25.8"],
        ["big", "300K", "213", "26.4"],
    ]
    (row,) = [chunk for chunk in chunks_of([page]) if chunk.kind == "row" and chunk.text.startswith("model: big")]
    assert "params million: 213" in row.text


async def test_boxes_around_a_caption_are_no_table(tmp_path):
    content = b"0.8 w\n"
    for i in range(4):
        content += f"{80 + 90 * i} 500 80 120 re S\n".encode() + text(90 + 90 * i, 560, f"part {i}", 9)
    content += b"70 440 380 200 re S\n70 470 m 450 470 l S\n" + text(80, 450, "Figure 4: The parts of the pump", 9)
    path = tmp_path / "drawing.pdf"
    path.write_bytes(pdf([content]))
    (page,) = [Page.from_json(m["page"]) async for m in parse(path, Limits()) if m["type"] == "page"]
    assert [one.kind for one in page.blocks if one.kind == "table"] == []
    assert "Figure 4: The parts of the pump" in page.text


async def test_letters_in_the_file_are_believed_before_those_that_were_recognised(tmp_path):
    from PIL import Image

    path = tmp_path / "cover.pdf"
    Image.new("L", (600, 800), 230).save(path, resolution=72)
    library = Library(tmp_path / "index", FakeHost(TextReader=Reader("The boiler's cover.")))
    try:
        await library.index([path])
        assert (await library.find("boiler cover"))[0].quote == "The boiler's cover."
    finally:
        library.close()
    drawn = b"".join(f"{100 + i} 300 m {140 + 2 * i} 500 l S\n".encode() for i in range(40))
    plan = tmp_path / "ÄPPLARÖ.pdf"
    plan.write_bytes(pdf([text(72, 700, "124407  1x", 20) + drawn, drawn]))
    reader = Reader("")
    library = Library(tmp_path / "second", FakeHost(TextReader=reader))
    try:
        await library.index([plan])
        assert reader.calls == 1  # the page without any letter; the other names its letters itself
        found = await library.ask("What does the Applaro look like?", word=False)
        assert {page["page"] for page in found.pages} == {1, 2}
    finally:
        library.close()


def test_more_of_what_speaks_for_an_answer_makes_it_surer():
    assert len(WEIGHTS) == len(FEATURES) + 1
    least, most = certainty([0.0] * len(FEATURES)), certainty([1.0] * len(FEATURES))
    assert least < SAY < most
    for i in range(len(FEATURES)):
        assert certainty([float(i == j) for j in range(len(FEATURES))]) >= least


def test_the_time_left_goes_by_the_size_of_the_files(monkeypatch):
    from omni_rag import indexing

    progress = Progress(files=2, total=1000, behind=100, size=900, page=1, of=3, began=0.0)
    monkeypatch.setattr(indexing.time, "monotonic", lambda: 40.0)
    assert progress.eta() == pytest.approx(60.0)  # 400 of 1000 bytes in 40 s
    progress.stage, progress.embedded, progress.waiting = "embedding", 20, 10
    assert progress.eta() == pytest.approx(20.0)
