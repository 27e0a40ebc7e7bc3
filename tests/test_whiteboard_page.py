"""The whiteboard in a real browser: what is drawn is seen, the person's pen is heard, nothing else gets in."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from omni_tools.plugin import plugin as tools_plugin
from omni_tools.whiteboard import figures
from omni_tools.whiteboard import operations as ops
from omni_tools.whiteboard.boards import Boards, WhiteboardStage
from omni_tools.whiteboard.graphs import graph_of
from omni_tools.whiteboard.lesson import Lesson
from omni_tools.whiteboard.steps import solve
from pages import IN_BROWSER, Browser, browser, eventually, served

from omni.events import Drawing, Notice
from omni.server.scripted import ScriptedHost, ScriptedRuntime
from omni.testing import until

# ruff: noqa: ASYNC240  (the files are small)

pytestmark = [*IN_BROWSER, pytest.mark.timeout(120)]
KINDS = """Object.fromEntries(['graph', 'polygon', 'circle', 'stroke', 'line']
    .map(kind => [kind, document.querySelectorAll('.drawn.' + kind).length]))"""
LOWEST_IN_SIGHT = """Math.max(...[...document.querySelectorAll('.drawn')].map(e => e.getBoundingClientRect().bottom))
    <= document.querySelector('.board-scroll').getBoundingClientRect().bottom + 1"""
FOREIGN = "document.querySelectorAll('.board script, .board img, .board [onclick], .board [href]').length"
MALICE = """<math xmlns='http://www.w3.org/1998/Math/MathML'><mi onclick='window.got=1' href='javascript:1'>x</mi>
    <script>window.got = 1</script>
    <annotation-xml encoding='text/html'><img src='x' onerror='window.got=1'/></annotation-xml></math>"""
BOARD = "document.querySelector('omni-whiteboard')"


@dataclass
class Opened:
    """A page of a running server whose whiteboard is the real one."""

    page: Any
    session: Any
    boards: Boards
    browser: Browser
    notices: list[Notice]

    @property
    def problems(self) -> list[str]:
        return self.browser.problems

    async def until(self, expression: str) -> Any:
        """The value of a JavaScript expression, once it is true."""
        return await eventually(self.page, expression)

    @property
    def board(self) -> Any:
        return self.boards.of(self.session).board


@contextlib.asynccontextmanager
async def whiteboard(tmp_path: Path, **context: Any) -> AsyncIterator[Opened]:
    """The page with the whiteboard open."""
    boards = Boards()
    (offered,) = tools_plugin.omni_panels(context=None)
    panel = dataclasses.replace(offered, handlers={"snapshot": boards.snapshot})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNI_HOME", str(tmp_path / "home"))
        runtime = ScriptedRuntime(host=ScriptedHost(panels=(("tools", panel),)))
        stage: asyncio.Task[None] | None = None
        try:
            async with served(runtime) as address, browser() as chromium:
                page = await chromium.open(address, **context)
                session = next(iter(runtime.conversations.values())).session
                opened = Opened(page, session, boards, chromium, [])
                session.bus.tap(lambda e: opened.notices.append(e) if isinstance(e, Notice) and e.text else None)
                stage = asyncio.create_task(WhiteboardStage(boards).run(session))
                await page.evaluate("window.omniPage.panels.open('whiteboard')")
                await opened.until(f"{BOARD} !== null")
                yield opened
        finally:
            if stage:
                stage.cancel()
            await runtime.stop()


def publish(opened: Opened, *operations: dict[str, Any]) -> None:
    opened.session.publish(Drawing, operations=operations)


async def test_every_operation_is_drawn_and_told(tmp_path):
    async with whiteboard(tmp_path, viewport={"width": 1440, "height": 900}) as opened:
        assert "Show me a problem" in await opened.page.inner_text("omni-whiteboard")
        lesson = Lesson(solve("2x + 6 = 14"))
        for line in lesson.script(opened.board, "lesson1"):
            publish(opened, *line.drawing)
        await opened.until("document.querySelectorAll('.drawn.math').length === 4")
        words = await opened.page.inner_text(".board-words")
        assert "2 x plus 6 equals 14" in words and "x equals 4" in words
        await opened.until("document.querySelector('.board .pointed math') !== null")
        publish(opened, ops.write(graph_of(["x^2 - 2", "sin(x)"], y=opened.board.bottom() + 40, id="g")))
        for item in figures.draw(["right triangle", "circle"], [3, 4, 5], top=1000, id="f"):
            publish(opened, ops.write(item))
        publish(opened, ops.write(ops.Stroke(id="s", points=[(10, 10), (50, 60), (90, 10)])))
        publish(opened, ops.write(ops.Line(id="a", x1=10, y1=1400, x2=300, y2=1400, arrow=True)))
        await opened.until("document.querySelector('#stage .line + .filled') !== null")
        shown = await opened.page.evaluate(KINDS)
        assert shown == {"graph": 1, "polygon": 1, "circle": 1, "stroke": 1, "line": 1}
        assert "Graph of y = x^2 - 2 and y = sin(x)" in await opened.page.inner_text(".board-words")
        publish(opened, {"op": "erase", "id": "e", "targets": ["g"]})
        await opened.until("document.querySelectorAll('.drawn.graph').length === 0")
        assert opened.problems == []


async def test_what_was_just_written_is_in_sight_and_a_later_page_sees_all_of_it(tmp_path):
    async with whiteboard(tmp_path, viewport={"width": 1000, "height": 600}) as opened:
        for number in range(4):
            for line in Lesson(solve("x^2 - 5x + 6 = 0")).script(opened.board, f"lesson{number}"):
                opened.board.apply(line.drawing)
                publish(opened, *line.drawing)
        count = len(opened.board.items)
        await opened.until(f"document.querySelectorAll('.board .drawn').length === {count}")
        await opened.until(LOWEST_IN_SIGHT)
        await opened.page.reload()
        await opened.until("window.omniPage?.line.open")
        await opened.page.evaluate("window.omniPage.panels.open('whiteboard')")
        await opened.until(f"document.querySelectorAll('.board .drawn').length === {count}")
        assert opened.problems == []


async def test_the_pen_the_eraser_and_the_keyboard_reach_the_board(tmp_path):
    async with whiteboard(tmp_path, viewport={"width": 1200, "height": 800}) as opened:
        page = opened.page
        await page.click("[aria-label='Amber pen']")
        box = await page.locator("svg.board").bounding_box()
        await page.mouse.move(box["x"] + 100, box["y"] + 100)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 220, box["y"] + 160, steps=12)
        await page.mouse.up()
        await until(lambda: opened.board.by("person"))
        (stroke,) = opened.board.by("person")
        assert isinstance(stroke, ops.Stroke) and stroke.colour == "warn" and len(stroke.points) > 5
        await page.click("text=Eraser")
        await page.mouse.move(box["x"] + 100, box["y"] + 100)
        await page.mouse.down()
        await page.mouse.up()
        await until(lambda: not opened.board.by("person"))
        await page.focus("text=Write")
        await page.keyboard.press("Enter")
        await page.keyboard.type("3x - 5 = 10")
        await page.keyboard.press("Enter")
        await until(lambda: opened.board.by("person"))
        assert opened.board.by("person")[0].text == "3x - 5 = 10"
        await page.click("text=Undo")
        await opened.until("document.querySelectorAll('.board .drawn').length === 0")
        assert opened.problems == []


async def test_markup_in_a_formula_or_a_text_stays_text(tmp_path):
    async with whiteboard(tmp_path) as opened:
        publish(opened, {"op": "math", "id": "m", "x": 50, "y": 90, "mathml": MALICE, "text": "x"})
        publish(
            opened,
            {"op": "math", "id": "n", "x": 50, "y": 190, "mathml": "<b onclick='1'>not math", "text": "in words"},
        )
        publish(opened, {"op": "text", "id": "t", "x": 50, "y": 290, "text": "<img src=x onerror=window.got=1>"})
        publish(
            opened,
            {"op": "explode", "id": "u"},
            {"op": "stroke", "id": "v"},
            {"op": "circle", "id": "w", "x": 9, "y": 9, "r": 5},
        )
        await opened.until("document.querySelectorAll('.drawn').length === 4")
        assert await opened.page.evaluate("window.got") is None
        assert (
            await opened.page.evaluate(
                "document.querySelectorAll('.board script, .board img, .board [onclick], .board [href]').length"
            )
            == 0
        )
        assert "in words" in await opened.page.text_content(".board")
        assert any("can't be drawn" in notice.text for notice in opened.notices)


async def test_what_the_page_may_not_draw_is_refused_with_a_sentence(tmp_path):
    async with whiteboard(tmp_path) as opened:
        formula = {"op": "math", "id": "m", "x": 1, "y": 1, "mathml": "<math/>", "text": "x"}
        await opened.page.evaluate("operation => omniPage.line.send('Drawing', { operations: [operation] })", formula)
        await until(lambda: opened.notices)
        assert "by hand" in opened.notices[0].text and not opened.board.items


async def test_the_board_is_saved_as_svg_and_png(tmp_path):
    from PIL import Image

    async with whiteboard(tmp_path) as opened:
        for line in Lesson(solve("x^2 - 3x + 1 = 0")).script(opened.board, "lesson1"):
            publish(opened, *line.drawing)
        await opened.until("document.querySelectorAll('.drawn.math').length >= 4")
        files = {}
        for kind in ("SVG", "PNG"):
            async with opened.page.expect_download() as saving:
                await opened.page.click(f"[aria-label='Save as {kind}']")
            files[kind] = Path(await (await saving.value).path()).read_bytes()
        root = ElementTree.fromstring(files["SVG"])
        assert root.tag.endswith("svg") and b"<math" in files["SVG"] and b"appearing" not in files["SVG"]
        picture = Image.open(io.BytesIO(files["PNG"])).convert("L")
        assert picture.width >= 1400
        dark = sum(picture.histogram()[:90])
        assert dark > 2000, "the formulas are not in the picture"
        assert opened.problems == []


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1440, 900)])
async def test_nothing_is_cut_off_in_light_or_dark(tmp_path, width, height):
    async with whiteboard(tmp_path, viewport={"width": width, "height": height}, color_scheme="dark") as opened:
        for line in Lesson(solve("3(x - 2) = 2x + 1")).script(opened.board, "lesson1"):
            publish(opened, *line.drawing)
        await opened.until("document.querySelectorAll('.drawn.math').length >= 4")
        inside = f"{BOARD}.scrollWidth <= {BOARD}.clientWidth && document.documentElement.scrollWidth <= innerWidth"
        assert await opened.page.evaluate(inside)
        size = await opened.page.evaluate("document.querySelector('.drawn.math math').getBoundingClientRect().height")
        assert size >= 11, "a formula must stay readable"
        if folder := os.environ.get("OMNI_LOOK"):
            picture = await opened.page.screenshot(path=f"{folder}/board-{width}-dark.png")
            assert base64.b64encode(picture)
            await opened.page.emulate_media(color_scheme="light")
            await opened.page.screenshot(path=f"{folder}/board-{width}-light.png")
