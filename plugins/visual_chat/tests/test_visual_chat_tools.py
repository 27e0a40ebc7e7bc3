"""The tools: what is shown, what is not, fields by schema with re-asking, and bad input."""

import io
import json

import numpy as np
import pytest
from omni_visual_chat.asking import read_field_names, read_tip
from omni_visual_chat.documents import read_fields
from omni_visual_chat.frames import LatestFrames
from omni_visual_chat.plugin import plugin
from omni_visual_chat.seeing import Sight
from PIL import Image

from omni.capabilities import ChatModel, Region, TextReader, VisionModel, VisualAnswer
from omni.clock import run_virtual
from omni.errors import BadInput, OmniError
from omni.events import Attachment, VideoFrame
from omni.host.hookspecs import PluginContext
from omni.session import Session
from omni.testing import FakeHost, ScriptedChat
from omni.tools import Effect, ToolContext

LINES = [
    Region("text", "ACME STORES LTD", (10, 10, 200, 30), 0.99),
    Region("text", "Invoice no: A-117", (10, 40, 180, 60), 0.99),
    Region("text", "Date 05/06/2019", (10, 70, 170, 90), 0.98),
    Region("text", "Total", (10, 100, 60, 120), 0.98),
    Region("text", "42.50", (200, 100, 250, 120), 0.97),
]


class Reader:
    async def read(self, image):
        if image[:4] == b"junk":
            raise BadInput("That is not an image in a format that is known.")
        return LINES


class Vision:
    def __init__(self, answer):
        self.given, self.questions = answer, []

    async def answer(self, images, question):
        self.questions.append((len(images), question))
        return self.given


def png():
    out = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def context(host, *, media=(), attachments=(), request=""):
    session = Session(host=host)
    for ref, data in dict(media).items():
        session.keep(ref, data)
    return ToolContext(session=session, request=request, attachments=tuple(attachments))


async def test_each_picture_has_its_tool():
    vision = Vision(VisualAnswer("Yes, I see a dog.", ((0, Region("object", "dog", (1, 2, 3, 4), 0.9)),)))
    host = FakeHost((VisionModel, vision))
    sight = Sight(host)
    shown = context(host, media={"camera": b"c", "screen": b"s", "u1": b"1", "u2": b"2"}, request="is there a dog?",
                    attachments=[Attachment(kind="image", ref="u1"), Attachment(kind="image", ref="u2")])  # fmt: skip
    result = await sight.look_at_image(shown)
    assert result.say == "Yes, I see a dog."
    assert not result.trusted
    assert result.evidence[0] == {"ref": "u1", "kind": "object", "text": "dog", "boxes": [[1, 2, 3, 4]]}
    await sight.look_at_camera(shown, question="what is it?")
    assert vision.questions == [(2, "is there a dog?"), (1, "what is it?")]


async def test_what_is_not_shown_is_told():
    sight = Sight(FakeHost())
    with pytest.raises(BadInput, match="can't see the camera"):
        await sight.look_at_camera(context(FakeHost()))
    with pytest.raises(BadInput, match="can't see the screen"):
        await sight.transcribe_screen(context(FakeHost()))
    with pytest.raises(BadInput, match="no picture"):
        await sight.look_at_image(context(FakeHost()))


async def test_an_error_on_the_screen_is_left_to_be_explained():
    text = Region("text", "Segmentation fault", (0, 0, 9, 9), 0.9)
    host = FakeHost((VisionModel, Vision(VisualAnswer("Segmentation fault", ((0, text),)))))
    result = await Sight(host).look_at_screen(context(host, media={"screen": b"s"}), question="explain this error")
    assert result.say == ""
    assert result.value["text"] == "Segmentation fault"


async def test_a_receipt_gets_its_tip_from_the_calculator():
    calls = []

    async def calculate(expression: str) -> str:
        """Calculate."""
        calls.append(expression)
        return "8.50"

    from omni.tools import tool

    host = FakeHost((TextReader, Reader()), tools=[tool(calculate)])
    result = await Sight(host).read_receipt(context(host, media={"camera": png()}), tip_percent=20)
    assert calls == ["20% of 42.50"]
    assert "total is 42.50" in result.say
    assert "tip of 20 percent is 8.50" in result.say
    assert result.value["total"]["boxes"] == [[200, 100, 250, 120]]


def field(value, *rows):
    return {"value": value, "rows": list(rows)}


SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "string"}, "date": {"type": "string", "format": "date"},
    "total": {"type": "number", "minimum": 1}},
    "required": ["number", "total"],
}  # fmt: skip


def scripted(*replies):
    waiting = [json.dumps(reply) if isinstance(reply, dict) else reply for reply in replies]
    return ScriptedChat(reply=lambda request: waiting.pop(0) if len(waiting) > 1 else waiting[0], first_s=0, word_s=0)


async def test_fields_are_checked_asked_again_and_boxed():
    chat = scripted(
        "not json",
        {"number": field("Z-999", 2), "date": field(None), "total": field(42.5, 4)},
        {"number": field("A-117", 2), "date": field("2019-06-05", 3), "total": field(42.5, 4)},
    )
    found = await read_fields(FakeHost((ChatModel, chat)), LINES, SCHEMA)
    assert {name: one.value for name, one in found.items()} == {"number": "A-117", "date": "2019-06-05", "total": 42.5}
    assert found["total"].boxes == ((200, 100, 250, 120),)
    assert found["date"].text == "05/06/2019"
    assert "Z-999" in chat.requests[2].messages[-1].content


async def test_a_schema_that_cannot_be_met_is_told():
    chat = scripted({"number": field("A-117", 2), "date": field(None), "total": field(None)})
    with pytest.raises(OmniError, match="could not be made to fit the schema: total"):
        await read_fields(FakeHost((ChatModel, chat)), LINES, SCHEMA)
    assert len(chat.requests) == 3


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "object"}, "names no fields"),
        ({"type": "nonsense"}, "not valid"),
        ({"type": "object", "properties": {"x": {"type": "array"}}}, "neither text"),
        ({"type": "object", "properties": {"x": {}}, "required": ["y"]}, "requires y"),
    ],
)
async def test_a_schema_that_makes_no_sense_is_refused(schema, said):
    with pytest.raises(BadInput, match=said):
        await read_fields(FakeHost(), LINES, schema)


async def test_a_broken_pdf_and_junk_are_sentences():
    sight = Sight(FakeHost((TextReader, Reader())))
    with pytest.raises(BadInput, match="PDF is damaged"):
        await sight.lines(b"%PDF-1.4 broken")
    with pytest.raises(BadInput, match="not an image"):
        await sight.lines(b"junk")


def test_the_stage_keeps_the_latest_frame_of_each_source():
    async def main():
        import asyncio

        session = Session(host=FakeHost())
        stage = asyncio.create_task(LatestFrames().run(session))
        await asyncio.sleep(0)
        for number in range(5):
            await session.send(VideoFrame, source="camera", image=b"%d" % number, width=1, height=1)
        await session.send(VideoFrame, source="screen", image=b"s", width=1, height=1)
        await asyncio.sleep(0.1)
        stage.cancel()
        return session.media

    media = run_virtual(main())
    assert media["camera"] == b"4"
    assert media["screen"] == b"s"


def test_all_tools_read_only(tmp_path):
    tools = plugin.omni_tools(context=PluginContext("visual_chat", {}, tmp_path, None, FakeHost()))
    assert {tool.effect for tool in tools} == {Effect.PURE}
    assert {"look_at_camera", "look_at_screen", "look_at_image", "read_receipt"} <= {tool.name for tool in tools}


@pytest.mark.parametrize(
    ("request_", "arguments"),
    [
        ("what is the total of this receipt", {}),
        ("read the bill and add a twelve percent tip", {"tip_percent": 12.0}),
        ("how much is 17.5% tip on this", {"tip_percent": 17.5}),
        ("how much should I tip on this bill", None),
    ],
)
def test_a_tip_is_read_from_the_words(request_, arguments):
    assert read_tip(request_) == arguments


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ("get the IBAN, the name and the due date from this scanned form", ["iban", "name", "due_date"]),
        ("pull the model and serial number out of this photo", ["model", "serial_number"]),
        ("which policy number and expiry date are on this card", ["policy_number", "expiry_date"]),
        ("what is in this picture", None),
        ("fill these fields from the scanned page", None),
    ],
)
def test_field_names_are_read_from_the_words(request_, names):
    read = read_field_names(request_)
    assert (list(read["fields"]["properties"]) if read else None) == names


def test_a_question_about_a_picture_is_the_request_itself():
    from omni.planner.arguments import certain

    host = FakeHost()
    tools = {one.name: one for one in plugin.omni_tools(PluginContext("visual_chat", {}, None, None, host))}
    assert certain(tools["look_at_camera"], "is my hair fine") == {"question": "is my hair fine"}
