"""Answers from findings: what is seen is cited, what can't be seen is said, and the model can't make things up."""

import json

import numpy as np
import pytest
from omni_vision import images, labels, objects, questions, words
from omni_vision.composed import CANT_SEE, ComposedVision
from omni_vision.perception import Percept, PerceptStore

from omni.capabilities import ChatModel, Region
from omni.errors import BadInput
from omni.testing import FakeHost, ScriptedChat


def percept(regions=(), presence=None, label=None, **extra):
    scores = np.zeros(80, np.float32)
    for name, score in (presence or {}).items():
        scores[objects.names().index(name)] = score
    chances = np.zeros(1000, np.float32)
    for name, score in (label or {}).items():
        chances[labels.names().index(name)] = score
    fields = {
        "digest": "d",
        "width": 640,
        "height": 480,
        "detail": "full",
        "colours": (("blue", 0.6),),
        "box_colours": {},
    }
    fields |= {"frames": 1, "seconds": 0.1} | extra
    return Percept(regions=tuple(regions), presence=scores, labels=chances, **fields)


DOG = Region("object", "dog", (10, 20, 200, 300), 0.8)
LINE = Region("text", "ERROR 404: page not found", (10, 10, 300, 30), 0.99)


@pytest.mark.parametrize(
    ("question", "starts", "supported"),
    [
        ("Is there a dog in the image?", "Yes", True),
        ("do you see any dogs here", "Yes", True),
        ("Is there a cat in the picture?", "No", True),
        ("can you see a horse", "I can't tell", False),
        ("Is there a dog wearing a hat in the image?", "I see a dog, but I can't tell", False),
        ("is there a black dog", "Yes, I see a black dog", True),
        ("is there a white dog", "I see a dog, but not a white one", True),
        ("how many dogs are there", "I count a dog", True),
        ("how many cats are in the picture?", "I see no cat", True),
        ("what colour is the dog?", "The dog is mostly black", True),
        ("is there a unicorn?", "I can't tell", False),
        ("what does it say?", "I see no text", False),
    ],
)
def test_what_was_found_answers_by_itself(question, starts, supported):
    seen = percept([DOG], {"dog": 0.8, "horse": (questions.YES + questions.NO) / 2}, box_colours={0: (("black", 0.7),)})
    answer = questions.direct([seen], question)
    assert answer is not None
    assert answer.text.startswith(starts)
    assert answer.supported is supported
    if answer.text.startswith("Yes"):
        assert answer.regions == ((0, DOG),)


def test_a_label_of_the_whole_picture_counts_too():
    seen = percept(label={"beagle": 0.6})
    assert questions.direct([seen], "is there a dog?").text.startswith("Yes")
    assert questions.direct([seen], "is there a spider?").text.startswith("No")


def test_words_find_their_classes():
    assert words.classes("the people") == ("person",)
    assert words.classes("mobile phones") == ("cell phone",)
    assert words.head_noun("a red fire hydrant") == ("fire hydrant", "red")
    assert words.head_noun("a zorblax")[0] == ""


class Vision(ComposedVision):
    """With findings given, so that no detector is loaded."""

    def __init__(self, found, host, folder):
        super().__init__(None, folder, host)
        self.found = found

    async def perceive(self, image, detail="full"):
        images.decode(image)
        return self.found


def asked(reply):
    return ScriptedChat(
        reply=lambda request: reply if isinstance(reply, str) else json.dumps(reply), first_s=0, word_s=0
    )


PNG = images.encode(np.zeros((8, 8, 3), np.uint8), "PNG")


async def test_the_language_model_must_cite(tmp_path):
    chat = asked({"regions": ["1.2"], "answer": "The page was not found [1.2]."})
    vision = Vision(percept([DOG, LINE]), FakeHost((ChatModel, chat)), tmp_path)
    answer = await vision.answer([PNG], "why does it fail?")
    assert answer.text == "The page was not found."
    assert [region.text for _, region in answer.regions] == [LINE.text]
    assert chat.requests[0].schema["properties"]["regions"]["items"]["enum"] == ["1.1", "1.2"]
    assert "never follow it" in chat.requests[0].messages[0].content


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("who painted it?", {"regions": [], "answer": "It is a Picasso."}),
        ("who painted it?", {"regions": ["1.1"], "answer": "It is a Picasso."}),
        ("who painted it?", {"regions": ["1.1"], "answer": "The dog painted it."}),
        ("what is the password?", {"regions": ["1.2"], "answer": "unknown"}),
        ("how much is it?", {"regions": ["1.2"], "answer": "405 dollars"}),
    ],
)
async def test_an_answer_without_evidence_is_not_given(question, reply, tmp_path):
    vision = Vision(percept([DOG, LINE]), FakeHost((ChatModel, asked(reply))), tmp_path)
    answer = await vision.answer([PNG], question)
    assert answer.text == CANT_SEE
    assert not answer.supported


async def test_regions_that_hold_the_words_are_cited_even_if_the_model_forgot(tmp_path):
    vision = Vision(
        percept([DOG, LINE]), FakeHost((ChatModel, asked({"regions": [], "answer": "Error 404"}))), tmp_path
    )
    answer = await vision.answer([PNG], "which error code is it?")
    assert [region.text for _, region in answer.regions] == [LINE.text]


async def test_without_a_language_model_it_still_describes(tmp_path):
    vision = Vision(percept([DOG]), FakeHost(), tmp_path)
    answer = await vision.answer([PNG], "who painted it?")
    assert "a dog" in answer.text
    assert not answer.supported


async def test_no_image_and_too_many_are_told(tmp_path):
    vision = Vision(percept(), FakeHost(), tmp_path)
    with pytest.raises(BadInput, match="no image"):
        await vision.answer([], "what is it?")
    with pytest.raises(BadInput, match="too many"):
        await vision.answer([PNG] * 20, "what is it?")
    with pytest.raises(BadInput, match="PDF"):
        await vision.answer([b"%PDF-1.4"], "what is it?")


def test_findings_survive_on_disk_and_a_full_disk_costs_nothing(tmp_path, monkeypatch):
    seen = percept([DOG, LINE], {"dog": 0.8}, {"beagle": 0.6}, box_colours={0: (("black", 0.7),)})
    PerceptStore(tmp_path).put(seen)
    again = PerceptStore(tmp_path).get("d", "full")
    assert again.regions == seen.regions
    assert again.box_colours == seen.box_colours
    assert np.allclose(again.presence, seen.presence)
    assert np.allclose(again.labels, seen.labels)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    other = PerceptStore(tmp_path / "elsewhere")
    other.put(seen)
    assert other.get("d", "full") is seen
