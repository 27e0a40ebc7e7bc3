"""The whiteboard's tools in a conversation, on virtual time: drawn with the voice, interrupted, gone on with."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omni_tools.code import nearest
from omni_tools.files import FileTools, Roots
from omni_tools.paper import read_equation_off
from omni_tools.whiteboard import figures
from omni_tools.whiteboard import operations as ops
from omni_tools.whiteboard.board import LIMIT, Board
from omni_tools.whiteboard.boards import Boards, WhiteboardStage
from omni_tools.whiteboard.drawing import WhiteboardTools, _figures_in, _functions_in
from omni_tools.whiteboard.pen import LETTER, MARGIN, rows, strokes_png
from omni_tools.whiteboard.writing import text_in

from omni.capabilities import ChatModel, Embedder, Region, Synthesizer, TextReader
from omni.clock import run_virtual
from omni.conversation import Conversation
from omni.errors import BadInput
from omni.events import Drawing, Notice, PlanUpdated, Played, Spoken
from omni.host.manifest import read_manifest
from omni.planner import Planner
from omni.reply import Voice
from omni.session import Session
from omni.testing import BagOfWords, FakeHost, Loudspeaker, ScriptedChat, ScriptedVoice
from omni.tools import ToolContext

# ruff: noqa: ASYNC110  (time is virtual: to sleep is to let the others act)

EQUATION = "2x + 6 = 14"
EXAMPLES = {entry.name: entry.examples for entry in read_manifest(Path(figures.__file__).parents[1]).tools}


class Reader:
    """Reads the same from any picture."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.pictures: list[bytes] = []

    async def read(self, image: bytes) -> list[Region]:
        self.pictures.append(image)
        return [Region("text", line, (0, 50 * n, 200, 50 * n + 40), 0.9) for n, line in enumerate(self.lines)]


class Classroom:
    """A session with the real planner, conversation, board and tools; voice, ears and eyes are scripted."""

    def __init__(self, *lines: str) -> None:
        self.reader = Reader(*lines)
        self.voice = ScriptedVoice()
        host = FakeHost(
            (ChatModel, ScriptedChat()), (Embedder, BagOfWords()), (TextReader, self.reader), (Synthesizer, self.voice)
        )
        self.boards = Boards()
        context: Any = SimpleNamespace(host=host, data=Path("unused"))
        host._tools = [
            dataclasses.replace(tool, examples=EXAMPLES[tool.name])
            for tool in WhiteboardTools(context, self.boards).tools()
        ]
        self.session = Session(host=host)
        self.events: list[Any] = []
        self.session.bus.tap(self.events.append)
        self.conversation = Conversation(self.session, Planner(host), lambda: Voice(self.voice))
        self.tools = {tool.name: tool for tool in host.tools()}

    async def __aenter__(self) -> Classroom:
        parts = (
            self.conversation.run(),
            Loudspeaker(self.session).run(),
            WhiteboardStage(self.boards).run(self.session),
        )
        self._tasks = [asyncio.create_task(part) for part in parts]
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.conversation.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def board(self) -> Board:
        return self.boards.of(self.session).board

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def ask(self, text: str) -> str:
        """Say something and wait for the end of the answer: what was heard of it."""
        before = len(self.of_final())
        await self.conversation.say(text)
        while len(self.of_final()) == before:
            await asyncio.sleep(0.05)
        return self.of_final()[-1].text

    def of_final(self) -> list[Spoken]:
        return [event for event in self.of(Spoken) if event.final]

    def used(self) -> list[str]:
        return [step["tool"] for step in self.of(PlanUpdated)[-1].plan["steps"]]

    async def call(self, name: str, **arguments: Any) -> Any:
        return await self.tools[name](arguments, ToolContext(session=self.session))


def test_a_lesson_is_drawn_as_it_is_heard_stops_when_interrupted_and_goes_on():
    async def scene() -> None:
        async with Classroom("Homework", EQUATION) as room:
            room.session.keep("camera", b"a picture")
            await room.conversation.say("how do I solve this?")
            while len(room.of(Drawing)) < 2:
                await asyncio.sleep(0.05)
            room.conversation.interrupt("key")
            await asyncio.sleep(5)
            drawn = [op.id for op in room.board.items.values() if isinstance(op, ops.Math)]
            assert drawn == ["lesson1-0", "lesson1-1"], "nothing appears after the interruption"
            assert room.of_final()[-1].cut
            heard = await room.ask("go on")
            assert room.used() == ["continue_lesson"]
            drawn = [op.id for op in room.board.items.values() if isinstance(op, ops.Math)]
            assert drawn == [f"lesson1-{n}" for n in range(4)] and "x equals 4" in heard
            assert "We start" not in heard, "what was heard is not said again"
            assert "at the end" in await room.ask("go on")
            heard = await room.ask("why did you divide by two?")
            assert "multiplied by 2" in heard and room.board.highlighted == "lesson1-2"

    run_virtual(scene())


def test_each_drawing_appears_within_half_a_second_of_its_words():
    async def scene() -> None:
        async with Classroom(EQUATION) as room:
            room.session.keep("screen", b"a picture")
            await room.ask("how do I solve this?")
            clauses = room.voice.spoken
            word = room.voice.word_s
            lengths = [len(clause.split()) * word for clause in clauses]
            drawings = room.of(Drawing)
            assert len(clauses) == len(drawings) + 2, "one sentence says where it was seen, one gives the answer"
            began = room.of(Played)[0].at
            for number, drawing in enumerate(drawings, 1):
                delay = drawing.at - began - sum(lengths[:number])
                assert -0.2 <= delay <= 0.5, (number, delay)

    run_virtual(scene())


def test_what_the_person_writes_on_the_board_is_kept_and_read():
    async def scene() -> None:
        async with Classroom("3x -5", "= 10") as room:
            room.reader.lines = ("3x -5 = 1O",)
            stroke = {"op": "stroke", "id": "hand-1", "points": [(100, 100), (200, 180)], "width": 4}
            room.session.publish(Drawing, operations=(stroke,), author="person")
            heard = await room.ask("how do I solve this?")
            assert "on the whiteboard" in heard and "x equals 5" in heard
            assert "hand-1" in room.board.items and room.board.authors["hand-1"] == "person"
            first = next(op for op in room.board.items.values() if isinstance(op, ops.Math))
            assert first.y > 180, "the lesson stands below the writing"
            said = await room.call("read_board")
            assert "3x -5 = 1O" in said.say and not said.trusted
            await room.ask("clear the board")
            assert not room.board.items

    run_virtual(scene())


def test_typed_words_on_the_board_are_read_without_a_reader_of_pictures():
    async def scene() -> None:
        async with Classroom() as room:
            words = {"op": "text", "id": "hand-1", "x": 70, "y": 90, "text": "5x = 20", "size": 34}
            room.session.publish(Drawing, operations=(words,), author="person")
            assert "x equals 4" in await room.ask("how do I solve this?")
            assert not room.reader.pictures

    run_virtual(scene())


@pytest.mark.parametrize(
    ("shown", "asked", "sentence"),
    [
        (("a cat on a sofa",), "how do I solve this?", "can't find an equation"),
        (("x + y = 10",), "how do I solve this?", "more than one unknown"),
        (("x = x^^2",), "how do I solve this?", "can't find an equation"),
        ((), "how do I solve 2x plus 3 = = 4 step by step on this board", "I can't see a problem"),
        ((), "how do I solve this: " + "x + " * 400 + "x = 1", "Keep it under 300"),
        (("1 + x ^^ 2 + 3x = 4",), "how do I solve this?", "can't find an equation"),
    ],
)
def test_what_can_not_be_solved_gets_a_sentence_and_the_conversation_goes_on(shown, asked, sentence):
    async def scene() -> None:
        async with Classroom(*shown) as room:
            if shown:
                room.session.keep("camera", b"a picture")
            assert sentence in await room.ask(asked)
            assert not room.board.items
            assert "x equals 4" in await room.ask("show me how to solve 2x = 8 step by step")

    run_virtual(scene())


def test_a_malformed_drawing_gets_a_notice_and_leaves_the_board_as_it_was():
    async def scene() -> None:
        async with Classroom() as room:
            good = {"op": "stroke", "id": "s", "points": [(1, 1), (5, 5)]}
            room.session.publish(Drawing, operations=(good,), author="person")
            formula = {"op": "math", "id": "m", "x": 1, "y": 1, "mathml": "<script/>", "text": "x"}
            far = {"op": "stroke", "id": "s2", "points": [(1e9, 1)]}
            for bad in ({"op": "explode", "id": "x"}, {"op": "stroke", "id": "s"}, far, formula, {}):
                room.session.publish(Drawing, operations=(bad,), author="person")
            while len(room.of(Notice)) < 5:
                await asyncio.sleep(0.05)
            assert list(room.board.items) == ["s"]

    run_virtual(scene())


def test_a_full_board_says_so_and_keeps_what_is_there():
    async def scene() -> None:
        async with Classroom() as room:
            room.board.apply([{"op": "circle", "id": f"c{n}", "x": 9, "y": 9, "r": 2} for n in range(LIMIT)])
            room.session.publish(Drawing, operations=({"op": "circle", "id": "one more", "x": 9, "y": 9, "r": 2},))
            while not room.of(Notice):
                await asyncio.sleep(0.05)
            assert "full" in room.of(Notice)[0].text and len(room.board.items) == LIMIT
            await room.ask("clear the board")
            assert not room.board.items

    run_virtual(scene())


def test_figures_are_drawn_to_scale_and_what_can_not_exist_is_refused():
    triangle = figures.draw(["right triangle"], [3, 4, 5], top=0, id="f")[0]
    assert isinstance(triangle, ops.Polygon)
    sides = sorted(
        ((x1 - x2) ** 2 + (y1 - y2) ** 2) ** 0.5
        for (x1, y1), (x2, y2) in zip(triangle.points, [*triangle.points[1:], triangle.points[0]], strict=True)
    )
    assert sides[2] / sides[0] == pytest.approx(5 / 3) and sides[1] / sides[0] == pytest.approx(4 / 3)
    lengths = {item.text for item in figures.draw(["triangle"], [6, 7, 8], top=0, id="f") if isinstance(item, ops.Text)}
    assert lengths == {"6", "7", "8"}
    for shapes, sizes in ((["triangle"], [1, 2, 9]), (["right triangle"], [3, 4, 6]), (["square"], [-1]), ([], [])):
        with pytest.raises(BadInput):
            figures.draw(shapes, sizes, top=0, id="f")


def test_strokes_become_a_picture_of_a_readable_size():
    from PIL import Image

    strokes = [ops.Stroke(id=str(n), points=[(100 + 80 * n, 100), (100 + 80 * n, 220)]) for n in range(4)]
    picture = Image.open(io.BytesIO(strokes_png(strokes)))
    assert picture.height == LETTER + 2 * MARGIN and picture.getextrema() == (0, 255)
    Image.open(io.BytesIO(strokes_png([ops.Stroke(id="dot", points=[(5, 5)])]))).verify()
    assert rows([Region("text", "= 4", (90, 12, 120, 30), 1), Region("text", "2x", (0, 8, 60, 40), 1)]) == ["2x = 4"]


@pytest.mark.parametrize(
    ("seen", "meant"),
    [
        ("2×+6=14", "2x+6=14"),
        ("2x + 6 = l4", "2x + 6 = 14"),
        ("3x-S=1O", "3x-5=10"),
        ("Zx 十 6 二 14", "2x + 6 = 14"),
        ("2l+6=14", "2l+6=14"),
        ("x + y = 10", "x + y = 10"),
        ("nothing here", None),
    ],
)
def test_what_a_reader_mistakes_is_mended_only_where_it_is_no_equation(seen, meant):
    assert read_equation_off(seen) == meant


def test_a_codebase_is_explained_by_what_its_functions_do(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "basket.py").write_text(
        '"""The basket."""\n\n\ndef add(items, item):\n    """One more."""\n    return [*items, item]\n\n\n'
        'def basket_total(items, tax=0.19):\n    """The total to pay: prices times amounts, with tax."""\n'
        "    net = sum(item.price * item.amount for item in items)\n    return round(net * (1 + tax), 2)\n"
    )
    (tmp_path / "shop" / "mail.py").write_text("def send(address, text):\n    print(address, text)\n")
    roots = Roots([str(tmp_path)])
    assert nearest("explain the function that computes the total", roots)[0].name == "basket_total"

    async def ask() -> Any:
        return await FileTools(roots).explain_code("explain the function that computes the total")

    found = asyncio.run(ask())
    assert found.value["name"] == "basket_total" and found.value["line"] == 9 and "tax" in found.value["code"]
    assert not found.trusted and found.evidence[0]["file"].endswith("basket.py")


def test_reading_a_request_for_the_board_loads_no_algebra():
    requests = (
        "show me how to work out two x plus six equals fourteen",
        "how do I solve |x - 2| = 3",
        "solve minus 3 x < 12 for me",
        "plot x squared minus two",
        "draw a house",
    )
    code = (
        "import json, sys; from omni_tools.whiteboard.drawing import _functions_in, _problem_in; "
        "read = [_problem_in(one) or _functions_in(one) for one in sys.argv[1:]]; "
        "print(json.dumps([read, 'sympy' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *requests], capture_output=True, text=True, timeout=60)
    read, algebra = json.loads(done.stdout)
    assert read == [
        {"problem": "2 x + 6 = 14"},
        {"problem": "|x - 2| = 3"},
        {"problem": "- 3 x < 12"},
        {"functions": ["x ^2 - 2"]},
        None,
    ]
    assert not algebra


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("write good morning on the whiteboard please", "good morning"),
        ("put the formula U = R * I up on the board", "U = R * I"),
        ("note on the board that lunch is at one", "lunch is at one"),
        ("on the board, write the number 7", "7"),
        ("write it on the board", None),
        ("put the result on the whiteboard", None),
        ("put a circle on the board", None),
        ("what did you write on the board", None),
    ],
)
def test_what_to_write_is_read_from_the_words(words: str, text: str | None) -> None:
    assert text_in(words) == ({"text": text} if text else None)


def test_functions_and_figures_are_read_among_other_words() -> None:
    assert _functions_in("graph x + 2 and 4 - x together so that I can see it") == {"functions": ["x + 2", "4 - x"]}
    assert _functions_in("I want to see what the curve of two over x looks like") is not None
    assert _figures_in("rectangle five by two on the whiteboard") == {
        "shapes": ["rectangle"],
        "sizes": [5.0, 2.0],
        "nested": False,
    }
    assert _figures_in("a square deal for everyone") is None
