"""Reading order, paragraphs, tables that go on, boxes of turned pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omni_rag.geometry import iou, turned
from omni_rag.layout import is_caption, joined, paragraphs, reading_order
from omni_rag.page import Block, Line, Page
from omni_rag.tables import join_across_pages


def column(x, top, rows, width=200):
    return [Line(row, (x, top + i * 12, x + width, top + i * 12 + 10), 10) for i, row in enumerate(rows)]


def test_two_columns_are_read_one_after_the_other():
    title = Line("A title across both columns of the page", (50, 40, 500, 60), 20, True)
    left = column(50, 80, ["left one goes on here", "left two goes on here"])
    right = column(290, 80, ["right one goes on here", "right two goes on here"])
    mixed = [left[0], right[0], title, left[1], right[1]]
    assert [block.text for block in paragraphs(mixed)] == [
        "A title across both columns of the page",
        "left one goes on here left two goes on here",
        "right one goes on here right two goes on here",
    ]


def test_a_box_across_both_columns_comes_between_them():
    upper, lower = [(50, 0, 240, 100), (260, 0, 450, 100)], [(50, 150, 240, 250), (260, 150, 450, 250)]
    across = (50, 110, 450, 140)
    boxes = [lower[1], across, upper[1], lower[0], upper[0]]
    assert [boxes[i] for i in reading_order(boxes)] == [upper[0], upper[1], across, lower[0], lower[1]]


@given(st.lists(st.tuples(*[st.integers(0, 500)] * 2, *[st.integers(5, 200)] * 2), max_size=14))
def test_every_box_is_read_once(places):
    boxes = [(x, y, x + w, y + h) for x, y, w, h in places]
    assert sorted(reading_order(boxes)) == list(range(len(boxes)))


def test_a_word_split_at_the_end_of_a_line_is_put_together():
    assert joined(["the infor-", "mation of the X-", "Ray"]) == "the information of the X- Ray"


def test_bullets_and_headings_are_apart():
    lines = [Line("Contents of the box", (50, 40, 200, 56), 16, True)]
    lines += column(50, 70, ["• four legs", "• eight screws"])
    assert [(b.kind, b.text) for b in paragraphs(lines)] == [
        ("heading", "Contents of the box"), ("item", "• four legs"), ("item", "• eight screws"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "caption"),
    [
        ("Figure 3: The model", True),
        ("Table 2-1 FUNCTION view", True),
        ("Fig. 4", True),
        ("Table 2 summarizes our results", False),
        ("Table 2-2 shows a comparison", False),
        ("Figures are below", False),
    ],
)
def test_captions(words, caption):
    assert is_caption(words) is caption


@given(st.integers(0, 3), st.tuples(*[st.integers(0, 90)] * 2, *[st.integers(1, 50)] * 2))
def test_four_quarters_bring_a_box_back(quarters, place):
    x, y, w, h = place
    box, width, height = (x, y, x + w, y + h), 140.0, 200.0
    there = turned(box, quarters, width, height)
    size = (height, width) if quarters % 2 else (width, height)
    assert turned(there, 4 - quarters, *size) == pytest.approx(box)
    assert iou(box, box) == 1.0


def table(rows, top, bottom, caption=""):
    return Block(
        "table", "", (50, top, 500, bottom), rows=rows, row_boxes=[(50, top, 500, bottom)] * len(rows), caption=caption
    )


def test_a_table_goes_on_on_the_next_page_with_its_header():
    head = ["Part", "Number"]
    first = Page(1, 595, 842, [table([head, ["Leg", "1"]], 500, 800, "Table 1: Parts")])
    second = Page(2, 595, 842, [table([["Seat", "2"]], 50, 120)])
    third = Page(3, 595, 842, [table([["Back", "3"]], 50, 120), Block("text", "After it.", (50, 130, 500, 150))])
    assert [(page.number, header) for page, _, header in join_across_pages([first, second, third])] == [
        (2, [head]),
        (3, [head]),
    ]
    assert second.blocks[0].caption == "Table 1: Parts"


def test_a_table_after_text_is_one_of_its_own():
    first = Page(
        1, 595, 842, [table([["a", "b"], ["1", "2"]], 500, 600), Block("text", "Below it.", (50, 620, 500, 640))]
    )
    second = Page(2, 595, 842, [table([["c", "d"]], 50, 120)])
    assert join_across_pages([first, second]) == []
