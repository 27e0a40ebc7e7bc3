"""The teacher, with the real engines: a handwritten equation is shown, a question is asked aloud, and it is taught.

Once in this process, with a microphone and a loudspeaker that run in real time, and once in a real browser whose
camera shows the sheet and whose microphone hears the questions. With OMNI_SCREENSHOTS=1 the browser's pictures are
kept in docs/images.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omni_tools.whiteboard.steps import solve
from pages import DEVICES, NEEDS_CHROMIUM, browser, hears, served, spoken, write_microphone

from omni.capabilities import ChatModel, Embedder, Synthesizer, TextReader, Transcriber, VoiceActivity
from omni.config import default_models_dir, load_config
from omni.events import (
    AudioGap,
    AudioIn,
    AudioOut,
    Drawing,
    Notice,
    PartialTranscript,
    PlanUpdated,
    Played,
    SpeechStarted,
    Spoken,
    TurnCommitted,
    TurnDropped,
    VideoFrame,
)
from omni.runtime import Runtime
from omni.testing import until

NEEDED = ("silero-vad", "whisper-base", "qwen2.5-coder-1.5b", "minilm-l6", "piper-joe")
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240)]
EQUATION = "2x + 6 = 14"
QUESTION = "How do I solve this?"
WHY = "Why did you divide by two?"
BASKET = '''"""The basket."""


def add(items, item):
    """Put one more thing in."""
    return [*items, item]


def basket_total(items, tax=0.19):
    net = sum(item.price * item.amount for item in items)
    return round(net * (1 + tax), 2)
'''
#: A drawing may appear this much later than the first sound of its sentence.
SYNCHRONY_S = 0.5
IMAGES = Path(__file__).parents[1] / "docs" / "images"


# --- a hand that writes -------------------------------------------------------------------------------------------


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[tuple[float, float]]:
    return [
        (x + rx * math.cos(math.radians(a)), y + ry * math.sin(math.radians(a))) for a in np.linspace(start, end, 20)
    ]


#: Letters as strokes in a box of width 0.7 and height 1, y down.
LETTERS = {
    "0": [_arc(0.35, 0.5, 0.3, 0.48, -80, 290)],
    "1": [[(0.15, 0.25), (0.35, 0.02), (0.35, 0.5), (0.36, 1)]],
    "2": [[*_arc(0.35, 0.28, 0.28, 0.27, 200, 400), (0.1, 0.97), (0.35, 0.96), (0.68, 0.98)]],
    "3": [[*_arc(0.3, 0.26, 0.28, 0.25, 210, 440), *_arc(0.3, 0.74, 0.32, 0.27, 280, 510)]],
    "4": [[(0.4, 0.02), (0.08, 0.62), (0.68, 0.62)], [(0.5, 0.35), (0.48, 1)]],
    "5": [[(0.6, 0.03), (0.18, 0.04), (0.14, 0.45), *_arc(0.32, 0.68, 0.3, 0.28, 230, 490)]],
    "6": [[(0.52, 0.03), (0.2, 0.4), *_arc(0.35, 0.7, 0.25, 0.28, 180, 530)]],
    "x": [[(0.08, 0.42), (0.3, 0.68), (0.56, 1)], [(0.56, 0.42), (0.3, 0.7), (0.06, 1)]],
    "+": [[(0.35, 0.38), (0.34, 0.86)], [(0.1, 0.62), (0.6, 0.61)]],
    "-": [[(0.1, 0.62), (0.58, 0.61)]],
    "=": [[(0.1, 0.5), (0.6, 0.49)], [(0.1, 0.74), (0.6, 0.75)]],
}


def written(text: str, *, left: float, top: float, size: float, seed: int = 1) -> list[list[tuple[float, float]]]:
    """The strokes of a hand that is not quite steady."""
    random = np.random.default_rng(seed)
    strokes, x = [], left
    for letter in text:
        if letter == " ":
            x += 0.34 * size
            continue
        tilt, lift, grow = random.normal(0, 0.03), random.normal(0, 0.02) * size, 1 + random.normal(0, 0.04)
        for corners in LETTERS[letter]:
            line = [corners[0]]
            for start, end in itertools.pairwise(corners):
                count = max(2, int(math.dist(start, end) * 14))
                line += [tuple(np.add(start, np.subtract(end, start) * n / count)) for n in range(1, count + 1)]
            shake = np.cumsum(random.normal(0, 0.004, (len(line), 2)), axis=0)
            strokes.append([
                (x + size * grow * (px + tilt * (0.5 - py) + dx), top + lift + size * grow * (py + dy))
                for (px, py), (dx, dy) in zip(line, shake, strict=True)
            ])  # fmt: skip
        x += (0.6 if letter == "1" else 0.82) * size
    return strokes


def sheet(text: str, seed: int = 1) -> Any:
    """A photograph of a sheet of ruled paper on a table, with the text written on it in blue ink."""
    from PIL import Image, ImageDraw, ImageFilter

    image = Image.new("RGB", (1280, 720), (92, 80, 70))
    draw = ImageDraw.Draw(image)
    draw.polygon([(90, 60), (1200, 40), (1225, 690), (70, 700)], fill=(246, 243, 232))
    for y in range(130, 680, 62):
        draw.line([(88, y + 4), (1205, y - 6)], fill=(205, 218, 232), width=2)
    for stroke in written(text, left=190, top=270, size=130, seed=seed):
        draw.line(stroke, fill=(28, 38, 92), width=9, joint="curve")
        for x, y in (stroke[0], stroke[-1]):
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(28, 38, 92))
    return image.filter(ImageFilter.GaussianBlur(1.0))


def jpeg(image: Any, noise: int = 0) -> bytes:
    """As a camera would send it; `noise` is the seed of its grain."""
    from PIL import Image

    grain = np.random.default_rng(noise).normal(0, 1, (*image.size[::-1], 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype("uint8")).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


# --- what happened ------------------------------------------------------------------------------------------------


class Witness:
    """Everything a session published, but the microphone."""

    def __init__(self, session: Any) -> None:
        self.events: list[Any] = []
        session.bus.tap(lambda e: isinstance(e, AudioIn | VideoFrame) or self.events.append(e))

    def of(self, kind: type, **fields: Any) -> list[Any]:
        return [
            e for e in self.events if isinstance(e, kind) and all(getattr(e, name) == v for name, v in fields.items())
        ]

    def heard(self) -> str:
        """What was noticed of the microphone, for a failure's message."""
        kinds = (SpeechStarted, TurnCommitted, TurnDropped, AudioGap, Notice)
        return "; ".join(repr(e) for e in self.events if isinstance(e, kinds))

    def plan(self, turn: int) -> dict[str, Any]:
        return self.of(PlanUpdated, turn=turn)[-1].plan

    def drawn(self, turn: int) -> list[Drawing]:
        return self.of(Drawing, turn=turn, author="omni")

    def delays(self, turn: int) -> list[float]:
        """How much later than the first sound of its sentence each drawing appeared, in seconds."""
        starts = {e.text: e for e in self.of(AudioOut, turn=turn) if e.text}
        reports = self.of(Played, turn=turn)
        found = []
        for drawing in self.drawn(turn):
            formula = next((op["text"] for op in drawing.operations if op["op"] == "math"), "")
            piece = next((e for text, e in starts.items() if formula and formula in text), None)
            piece = piece or next(e for text, e in starts.items() if "check" in text.lower())
            after = next(report for report in reports if report.samples > piece.offset)
            found.append(drawing.at - (after.at - (after.samples - piece.offset) / piece.rate))
        return found


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z]+|\d+", text.lower()))


def check_lesson(witness: Witness, turn: int) -> None:
    """The equation was read and solved, and each step appeared with its words."""
    (step,) = witness.plan(turn)["steps"]
    assert (step["tool"], step["state"]) == ("solve_on_board", "done"), step
    lesson = solve(EQUATION).steps
    ids = [op["id"] for drawing in witness.drawn(turn) for op in drawing.operations if op["op"] == "math"]
    assert [int(id.split("-")[1]) for id in ids] == list(range(len(lesson))), "the steps appear in order"
    shown = [op["text"] for drawing in witness.drawn(turn) for op in drawing.operations if op["op"] == "math"]
    assert shown[0] == "2 x plus 6 equals 14" and "x equals 4" in shown
    delays = witness.delays(turn)
    assert len(delays) == len(lesson)
    assert all(-0.05 <= delay <= SYNCHRONY_S for delay in delays), delays
    (spoken,) = witness.of(Spoken, turn=turn, final=True)
    assert not spoken.cut and "x equals 4" in plain(spoken.text)


def check_why(witness: Witness, turn: int) -> None:
    """The follow-up points back at the division and says why."""
    (step,) = witness.plan(turn)["steps"]
    assert (step["tool"], step["state"]) == ("explain_step", "done"), step
    lesson = solve(EQUATION).steps
    number = next(n for n, s in enumerate(lesson) if s.operation == "divide")
    (drawing,) = witness.drawn(turn)
    (operation,) = drawing.operations
    assert operation["op"] == "highlight" and operation["target"].endswith(f"-{number}")
    assert "multiplied by 2" in plain(witness.of(Spoken, turn=turn, final=True)[0].text)


@pytest.fixture
async def runtime(tmp_path, monkeypatch):
    """The real runtime on the models of this machine, with a data folder of its own."""
    monkeypatch.setenv("OMNI__MODELS__DIR", str(default_models_dir()))
    monkeypatch.setenv("OMNI_HOME", str(tmp_path / "home"))
    granted = {"plugins.tools.roots": [str(tmp_path / "code")]}
    settings = load_config({"models.fetch": False, "models.threads": 2, **granted})
    runtime = Runtime(settings, only={"speech", "language", "vision", "visual_chat", "tools"})
    missing = [model for model in NEEDED if runtime.store.state(model) != "installed"]
    if missing:
        pytest.skip(f"the models {', '.join(missing)} are not on this machine (`make run` fetches them)")
    await runtime.start()
    try:
        for capability in (VoiceActivity, Transcriber, Synthesizer, ChatModel, TextReader):
            await runtime.host.get(capability).open()
        await runtime.host.get(Embedder, space="text").open()
        await runtime.planner.chooser.index(runtime.host.tools())
        yield runtime
    finally:
        await runtime.stop()


# --- in this process ----------------------------------------------------------------------------------------------


async def test_a_shown_equation_is_taught_aloud_and_a_question_finds_its_step(runtime):
    from omni.cli.demo import Microphone, speech
    from omni.loudspeaker import Loudspeaker

    conversation = await runtime.open_session({"off_the_record": True})
    session = conversation.session
    witness, pieces = Witness(session), []
    speaker, microphone = Loudspeaker(session, pieces.append), Microphone(session)
    question, why = await speech(runtime, QUESTION), await speech(runtime, WHY)
    tasks = [asyncio.create_task(speaker.run()), asyncio.create_task(microphone.run())]
    try:
        session.publish(VideoFrame, source="camera", image=jpeg(sheet(EQUATION)), width=1280, height=720)
        await until(lambda: session.media.get("camera"), "the camera's picture")
        await microphone.speak(question)
        first = (await until(lambda: witness.of(TurnCommitted), "the question's end"))[0].turn
        await until(lambda: witness.of(Spoken, turn=first, final=True), "the end of the lesson", seconds=90)
        check_lesson(witness, first)
        heard = np.concatenate([np.frombuffer(p.pcm, "<i2") for p in pieces if p.turn == first]).astype(np.float32)
        await microphone.speak(why)
        asked = await until(lambda: witness.of(TurnCommitted)[1:], "the second question's end", why=witness.heard)
        second = asked[0].turn
        await until(lambda: witness.of(Spoken, turn=second, final=True), "the end of the explanation")
        check_why(witness, second)
        await check_sound(runtime, heard / 32768, pieces[0].rate)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runtime.close_session(session.id)


async def check_sound(runtime: Runtime, sound: np.ndarray, rate: int) -> None:
    """A listener understands the answer."""
    import soxr

    audio = soxr.resample(sound[-6 * rate :], rate, 16_000).astype(np.float32)
    text = (await runtime.host.get(Transcriber).transcribe(audio)).text
    assert re.search(r"x\s*(?:equals|is|=)\s*(?:4|four)", text.lower()), text


async def test_a_function_of_an_open_codebase_is_found_and_explained(runtime, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "basket.py").write_text(BASKET)
    (tmp_path / "code" / "mail.py").write_text("def send(address, text):\n    print(address, text)\n")
    conversation = await runtime.open_session({"voice": False, "off_the_record": True})
    try:
        witness = Witness(conversation.session)
        await conversation.say("explain the function that computes the total")
        (answer,) = await until(lambda: witness.of(Spoken, final=True), "the explanation", seconds=120)
        steps = witness.plan(answer.turn)["steps"]
        assert [step["tool"] for step in steps] == ["explain_code"]
        step = steps[0]
        assert step["state"] == "done" and "basket.py" in step["preview"]
        assert re.search(r"total", answer.text) and re.search(r"tax|price|amount", answer.text), answer.text
    finally:
        await runtime.close_session(conversation.session.id)


# --- in a browser -------------------------------------------------------------------------------------------------


#: What the board shows, in words, in the order in which it was drawn; and where the highlight is.
SHOWN = "[...document.querySelectorAll('.board-words li')].map(e => e.textContent)"
POINTED = "document.querySelector('.board .pointed math')?.textContent ?? ''"


@pytest.mark.browser
@NEEDS_CHROMIUM
async def test_the_teacher_in_the_browser(runtime, tmp_path):
    voice = runtime.host.get(Synthesizer)
    question, why = await spoken(voice, QUESTION), await spoken(voice, WHY)
    microphone = write_microphone(tmp_path / "microphone.wav", 1.0, question, 42.0, why, 30.0)
    camera = tmp_path / "camera.mjpeg"
    paper = sheet(EQUATION)
    camera.write_bytes(b"".join(jpeg(paper, noise=n) for n in range(6)))
    sees = f"--use-file-for-fake-video-capture={camera}"
    async with served(runtime) as url, browser(*DEVICES, hears(microphone), sees) as chromium:
        page = await chromium.open(url, permissions=["microphone", "camera"], viewport={"width": 1440, "height": 900})
        conversation = await until(lambda: next(iter(runtime.conversations.values()), None), "a session")
        session = conversation.session
        witness = Witness(session)
        await page.click("[aria-label='Camera']")
        await until(lambda: session.media.get("camera"), "the camera's picture")
        await page.click("button.start")
        await until(lambda: witness.of(PartialTranscript), "the first words")
        await keep(page, "teacher-sheet")
        first = (await until(lambda: witness.of(TurnCommitted), "the question's end"))[0].turn
        await until(lambda: witness.drawn(first)[2:], "the third line on the board")
        await page.wait_for_selector("omni-whiteboard .pointed math >> text=4")
        await keep(page, "teacher-lesson")
        await until(lambda: witness.of(Spoken, turn=first, final=True), "the end of the lesson")
        check_lesson(witness, first)
        shown = await page.evaluate(SHOWN)
        formulas = [line for line in shown if " equals " in line]
        assert formulas == [op["text"] for d in witness.drawn(first) for op in d.operations if op["op"] == "math"]
        asked = await until(lambda: witness.of(TurnCommitted)[1:], "the second question's end", why=witness.heard)
        second = asked[0].turn
        await until(lambda: witness.of(Spoken, turn=second, final=True), "the end of the explanation")
        check_why(witness, second)
        assert plain(await page.evaluate(POINTED)) == "x 4"
        await keep(page, "teacher-why")
        await page.set_viewport_size({"width": 390, "height": 844})
        await keep(page, "teacher-phone")
        assert chromium.problems == []


async def keep(page: Any, name: str) -> None:
    """The page as it looks now, for the documentation, where that is asked for."""
    if os.environ.get("OMNI_SCREENSHOTS") != "1":
        return
    IMAGES.mkdir(parents=True, exist_ok=True)
    await page.wait_for_timeout(700)  # let what was just drawn be drawn out
    await page.screenshot(path=IMAGES / f"{name}.png")
