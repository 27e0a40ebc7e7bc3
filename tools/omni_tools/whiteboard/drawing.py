"""The whiteboard's tools: solve on the board, explain a step, go on, draw, write, clear, save, and look at it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from omni.capabilities import TextReader
from omni.errors import BadInput, CapabilityUnavailable
from omni.host.hookspecs import PluginContext
from omni.planner.plan import Say
from omni.tools import Effect, Tool, ToolContext, ToolResult, tool
from omni_tools.expressions import is_expression
from omni_tools.paper import find_equation, read_equation_off
from omni_tools.spoken import digits
from omni_tools.whiteboard import operations as ops
from omni_tools.whiteboard.board import GAP
from omni_tools.whiteboard.boards import Boards, Desk
from omni_tools.whiteboard.figures import Shape, draw, figures_in
from omni_tools.whiteboard.graphs import graph_of
from omni_tools.whiteboard.lesson import Lesson
from omni_tools.whiteboard.pen import rows, strokes_png
from omni_tools.whiteboard.steps import solve
from omni_tools.whiteboard.svg import board_svg
from omni_tools.whiteboard.writing import text_in

#: Where a picture of the problem may be, in the order in which it is looked for.
PICTURES = ("camera", "screen")
_TEXT_SIZE = 34


class WhiteboardTools:
    """The tools, over the boards of all sessions."""

    def __init__(self, context: PluginContext, boards: Boards) -> None:
        self._host = context.host
        self._data = context.data
        self._boards = boards

    def tools(self) -> list[Tool]:
        """All of them; their examples stand in the manifest."""
        return [
            tool(self.solve_on_board, deadline_s=30.0, extract=_problem_in),
            tool(self.explain_step, extract=lambda request: {"question": request}),
            tool(self.continue_lesson, extract=lambda _: {}),
            tool(self.draw_graph, extract=_functions_in),
            tool(self.draw_figure, extract=_figures_in),
            tool(self.write_on_board, effect=Effect.IDEMPOTENT, extract=text_in),
            tool(self.read_board, extract=lambda _: {}),
            tool(self.clear_board, effect=Effect.MUTATING, extract=lambda _: {}),
            tool(self.save_board, effect=Effect.MUTATING, extract=lambda _: {}),
        ]

    def _desk(self, context: ToolContext) -> Desk:
        if context.session is None:
            raise BadInput("There is no whiteboard outside a conversation.", "Ask this in the page.")
        return self._boards.of(context.session)

    # -- lessons ------------------------------------------------------------------------------------

    async def solve_on_board(
        self,
        context: ToolContext,
        problem: Annotated[str, Field(description="the equation, or empty for the one that is shown")] = "",
    ) -> ToolResult:
        """Solve an equation, said or shown, step by step on the whiteboard while explaining it."""
        desk = self._desk(context)
        seen = ""
        if not problem.strip():
            problem, seen = await self._shown(context, desk)
        solution = await asyncio.to_thread(solve, problem)
        lesson = Lesson(solution)
        script = lesson.script(desk.board, desk.plan(lesson))
        if seen:
            script = (Say(f"I see the equation {seen}. "), *script)
        steps = [{"operation": s.operation, "formula": str(s.formula), "why": s.why} for s in solution.steps]
        return ToolResult({"problem": problem, "answer": solution.answer, "steps": steps}, script=script)

    async def _shown(self, context: ToolContext, desk: Desk) -> tuple[str, str]:
        """The equation on an attached picture, the camera, the screen or the board, and where it was."""
        assert context.session
        media = context.session.media
        refs = [(a.ref, "on your picture") for a in reversed(context.attachments)]
        refs += [(ref, f"on the {ref}") for ref in PICTURES]
        looked = []
        for ref, where in refs:
            if image := media.get(ref):
                looked.append(where.removeprefix("on "))
                if equation := read_equation_off(await self._read(image)):
                    return equation, where
        if drawn := desk.board.by("person"):
            looked.append("the whiteboard")
            if equation := read_equation_off(await self._by_hand(drawn)):
                return equation, "on the whiteboard"
        if looked:
            raise BadInput(
                f"I looked at {' and '.join(looked)} and can't find an equation there.",
                "Hold it closer and straight, or tell me the equation.",
            )
        raise BadInput("I can't see a problem.", "Show it to the camera, drop a picture, or tell me the equation.")

    async def _read(self, image: bytes) -> str:
        return "\n".join(rows(await self._host.get(TextReader).read(image)))

    async def _by_hand(self, drawn: list[ops.AnyOperation]) -> str:
        """What the person wrote on the board: typed words as they are, strokes as a reader reads them."""
        typed = [item.text for item in drawn if isinstance(item, ops.Text)]
        if any(isinstance(item, ops.Stroke) for item in drawn):
            picture = await asyncio.to_thread(strokes_png, drawn)
            typed += [line for line in (await self._read(picture)).splitlines() if line.strip()]
        return "\n".join(typed)

    async def explain_step(
        self, context: ToolContext, question: Annotated[str, Field(description="the question, word for word")]
    ) -> ToolResult:
        """Say why a step of the solution on the whiteboard was made ("why did you divide by two?") and point at it."""
        desk = self._desk(context)
        for name in [desk.current, *reversed(desk.lessons)]:
            lesson = desk.lessons.get(name)
            found = lesson.explain(question) if lesson else None
            if lesson and found:
                number, step = found
                id = lesson.ids[number]
                point = ops.write(ops.Highlight(id="highlight", target=id))
                return ToolResult(
                    {"step": number + 1, "operation": step.operation, "why": step.why},
                    script=(Say(f"{step.why} ", (point,)),),
                )
        if not desk.current:
            raise BadInput("There is no solution on the whiteboard yet.", "Show me a problem and ask how to solve it.")
        raise BadInput("I can't tell which step you mean.", "Say its number, or what was done in it.")

    async def continue_lesson(self, context: ToolContext) -> ToolResult:
        """Go on with the solution on the whiteboard where it was interrupted."""
        desk = self._desk(context)
        lesson = desk.lessons.get(desk.current)
        if lesson is None:
            raise BadInput("There is nothing to go on with.", "Show me a problem and ask how to solve it.")
        rest = lesson.rest(desk.board)
        if not rest:
            return ToolResult({"answer": lesson.solution.answer}, say=f"We are at the end: {lesson.solution.answer}.")
        return ToolResult({"answer": lesson.solution.answer}, script=rest)

    # -- drawing ------------------------------------------------------------------------------------

    async def draw_graph(
        self,
        context: ToolContext,
        functions: Annotated[
            list[str], Field(description='functions of x, as in "x^2 - 2"', min_length=1, max_length=4)
        ],
        x_from: float | None = None,
        x_to: float | None = None,
    ) -> ToolResult:
        """Draw the graph of one or several functions of x on the whiteboard."""
        desk = self._desk(context)
        top = desk.board.bottom() + GAP if desk.board.items else 60.0
        id = desk.unused("graph")
        graph = await asyncio.to_thread(lambda: graph_of(functions, y=top, id=id, x_from=x_from, x_to=x_to))
        zeros = ", ".join(label for _, _, label in graph.points)
        crosses = f" It crosses the axis at {zeros}." if zeros else ""
        said = f"This is the graph of {' and '.join(functions)}.{crosses} "
        return ToolResult({"functions": functions, "zeros": zeros}, script=(Say(said, (ops.write(graph),)),))

    async def draw_figure(
        self,
        context: ToolContext,
        shapes: Annotated[list[Shape], Field(description="the figures, in the order they are named", min_length=1)],
        sizes: Annotated[list[float], Field(description="their lengths, as they are said", max_length=9)] = [],  # noqa: B006
        nested: Annotated[bool, Field(description="whether each is inside the next")] = False,
    ) -> ToolResult:
        """Draw figures of geometry on the whiteboard: triangle, square, rectangle, circle, arrow, to scale."""
        desk = self._desk(context)
        top = desk.board.bottom() + GAP if desk.board.items else 40.0
        drawing = draw(shapes, sizes, top=top, id=desk.unused("figure"), nested=nested)
        named = (" inside " if nested else " and ").join(f"a {shape}" for shape in shapes)
        said = f"Here is {named}. "
        return ToolResult({"drawn": shapes}, script=(Say(said, tuple(ops.write(item) for item in drawing)),))

    async def write_on_board(
        self,
        context: ToolContext,
        text: Annotated[str, Field(description="what to write", max_length=400, json_schema_extra={"x-copy": "span"})],
    ) -> ToolResult:
        """Write words or a formula on the whiteboard."""
        desk = self._desk(context)
        y = desk.board.bottom() + GAP + _TEXT_SIZE if desk.board.items else 90.0
        note = ops.Text(id=desk.unused("note"), x=70, y=y, text=text, size=_TEXT_SIZE)
        return ToolResult({"written": text}, script=(Say("It is on the board. ", (ops.write(note),)),))

    async def clear_board(self, context: ToolContext) -> ToolResult:
        """Wipe the whiteboard clean."""
        self._desk(context).current = ""
        erase = ops.write(ops.Erase(id="erase"))
        return ToolResult({"cleared": True}, script=(Say("The board is clean. ", (erase,)),))

    async def save_board(self, context: ToolContext) -> ToolResult:
        """Save the whiteboard as a picture file."""
        desk = self._desk(context)
        if not desk.board.items:
            raise BadInput("The whiteboard is empty.", "Draw something first.")
        assert context.session
        path = _free_name(self._data / "boards", context.session.id)
        path.write_text(board_svg(desk.board), encoding="utf-8")
        return ToolResult({"file": str(path)}, say=f"I saved the board as {path.name}.")

    async def read_board(self, context: ToolContext) -> ToolResult:
        """Say what is on the whiteboard, and read what the person drew or wrote on it by hand."""
        desk = self._desk(context)
        ours = [item.text for item in desk.board.items.values() if isinstance(item, ops.Text | ops.Math)]
        drawn = desk.board.by("person")
        theirs = ""
        if drawn:
            try:
                theirs = await self._by_hand(drawn)
            except CapabilityUnavailable:
                theirs = ""
        parts = [f"you drew {len(drawn)} strokes" + (f" that read: {theirs}" if theirs else "")] if drawn else []
        parts += [f"I wrote: {'; '.join(ours[-6:])}"] if ours else []
        said = "On the board " + " and ".join(parts) + "." if parts else "The board is empty."
        return ToolResult({"by_person": theirs, "strokes": len(drawn), "by_omni": ours}, say=said, trusted=not theirs)


def _free_name(folder: Path, session: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while (path := folder / f"board-{session}-{number}.svg").exists():
        number += 1
    return path


def _problem_in(request: str) -> dict[str, Any] | None:
    """The equation in the words, or none for "this": then the picture decides."""
    equation = find_equation(_as_written(request))
    if equation:
        return {"problem": equation}
    shown = re.search(
        r"\b(this|that(?! \w+s\b)|it|the (?:problem|equation|sheet|paper|page|exercise|homework|board))\b",
        request.lower(),
    )
    return {} if shown else None


def _functions_in(request: str) -> dict[str, Any] | None:
    """The functions, and the range, in "plot x squared minus two and two x from 0 to 5"."""
    match = re.search(
        r"(?:of|plot|graph|draw|sketch)\s+(?:(?:me|us)\s+)?(?:(?:the|a)\s+)?"
        r"(?:(?:graph|function|curve|plot|parabola|line)\s+(?:of\s+)?)?(.+)$",
        _as_written(request),
        re.IGNORECASE,
    )
    if not match:
        return None
    words, span = match.group(1), {}
    words = _AROUND_FUNCTIONS.sub("", words)
    if ranged := re.search(rf"\s+(?:from|between)\s+({_NUMBER})\s+(?:to|and)\s+({_NUMBER})\W*$", words):
        span = {"x_from": _number(ranged.group(1)), "x_to": _number(ranged.group(2))}
        words = words[: ranged.start()]
    functions = [part.strip(" .?!") for part in re.split(r"\s+and\s+|,", words)]
    functions = [re.sub(r"^(?:y|f\(x\)|f of x)\s*=\s*", "", f) for f in functions if f]
    if not all(is_expression(function, ("x",)) for function in functions):
        return None
    return {"functions": functions[:4], **span} if functions else None


def _figures_in(request: str) -> dict[str, Any] | None:
    """The figures and lengths in "draw a right triangle with sides three, four and five"."""
    said = re.sub(r"\bright[ -]angled? triangle", "right triangle", request.lower())
    shapes = figures_in(said)
    if not shapes or not re.search(r"\b(?:draw|sketch|show|make|put|add|construct|on the (?:white ?)?board)\b", said):
        return None
    sizes = [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", digits(said))]
    nested = len(shapes) > 1 and bool(re.search(r"\b(?:inside|within|in)\b (?:a|the)\b", said))
    return {"shapes": shapes[:3], "sizes": sizes[:9], "nested": nested}


#: What is said about functions and belongs to none of them.
_AROUND_FUNCTIONS = re.compile(
    r"\s+(?:for me|please|on the (?:white)?board|together|both|in one picture|looks? like)\b"
    r"|,?\s+so (?:that )?(?:i|we)\b.*$",
    re.IGNORECASE,
)


def _number(text: str) -> float:
    return float(text.replace(" ", ""))


_NUMBER = r"[-+]?\s?\d+(?:\.\d+)?"
_SPOKEN = (
    (r"\bequals?(?: to)?\b|\bis equal to\b", "="),
    (r"\bsquared\b", "^2"),
    (r"\b(?:co)sine(?: of)?\b", "cos"),
    (r"\bsine(?: of)?\b", "sin"),
    (r"\btangent(?: of)?\b", "tan"),
    (r"\bnegative\b", "-"),
    (r"\bcubed\b", "^3"),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\btimes\b|\bmultiplied by\b", "*"),
    (r"\bdivided by\b|\bover\b", "/"),
    (r"\bto the power of\b", "^"),
    (r"\b(?:the )?square root of\b", "√"),
)


def _as_written(request: str) -> str:
    """Spoken mathematics as it is written: "two x plus six equals fourteen" is 2 x + 6 = 14."""
    text = digits(request)
    for pattern, sign in _SPOKEN:
        text = re.sub(pattern, sign, text, flags=re.IGNORECASE)
    return text
