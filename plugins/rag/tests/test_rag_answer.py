"""Answers: what is cited, what is refused, and what a model may not make up."""

import json

import pytest
from omni_rag.evidence import invented, locate
from omni_rag.library import Library
from omni_rag.tools import tools
from rag_made import FakeHost, Speaker, manual

from omni.errors import BadInput
from omni.tools import ToolContext


@pytest.fixture
async def library(tmp_path):
    (tmp_path / "chair.pdf").write_bytes(manual())
    (tmp_path / "boiler.md").write_text(
        "# Boiler\n\nThe pressure must stay below two bar. Bleed the radiators each autumn.\n"
    )
    made = Library(tmp_path / "index", FakeHost())
    await made.index([tmp_path])
    yield made
    made.close()


def said(quote, answer, passage=1, answered=True):
    return Speaker(json.dumps({"quote": quote, "passage": passage, "answered": answered, "answer": answer}))


async def test_the_answer_has_document_page_box_and_marks(library):
    answer = await library.ask("How long does the warranty last?", word=False)
    assert answer.supported and "ten years" in answer.text
    (citation,) = answer.citations
    assert (citation.document, citation.page) == ("chair.pdf", 2)
    left, top, _, bottom = citation.box
    assert left == pytest.approx(72, abs=3) and 98 < top < 106 and 122 < bottom < 132
    assert len(citation.marks) == 1 and citation.marks[0][1] > top + 8  # the second line alone
    png = await library.crop(citation)
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "question", ["Who won the football cup in Brazil?", "Was kostet ein Fahrrad in Kopenhagen?", "如何更换电池"]
)
async def test_what_is_not_there_is_refused(library, question):
    answer = await library.ask(question, word=False)
    assert not answer.supported and answer.citations == []
    assert answer.text == "The documents do not say."


async def test_one_document_alone_can_be_asked(library):
    answer = await library.ask("How long does the warranty last?", ["boiler"], word=False)
    assert not answer.supported and answer.text == "boiler.md does not say."
    with pytest.raises(BadInput, match="No document called 'sofa'"):
        await library.ask("How long?", ["sofa"])


@pytest.mark.parametrize("question", ["", "   ", "???", "\n"])
async def test_an_empty_question_is_told(library, question):
    with pytest.raises(BadInput, match="empty"):
        await library.ask(question)


async def test_an_empty_index_is_told(tmp_path):
    with pytest.raises(BadInput, match="No document has been indexed"):
        await Library(tmp_path / "none", FakeHost()).ask("How long?")


@pytest.mark.parametrize(
    "question",
    ['warranty" OR "x', "NEAR(warranty, 3)", "warranty* AND NOT legs", "a" * 5000, "'; DROP TABLE chunks; --"],
)
async def test_questions_are_never_a_query_language(library, question):
    await library.ask(question, word=False)
    assert len(library.store.documents()) == 2


async def test_a_model_words_what_it_quotes(library):
    library.host = FakeHost(ChatModel=said("warranty lasts ten years", "Ten years from the day you bought it."))
    answer = await library.ask("How long does the warranty last?")
    assert answer.worded and answer.text == "Ten years from the day you bought it."
    assert answer.citations[0].quote == "warranty lasts ten years"


async def test_what_is_doubtful_is_said_only_when_a_model_quotes_it(library, monkeypatch):
    from omni_rag import answer as answering

    monkeypatch.setattr(answering, "certainty", lambda values: 0.4)
    question = "How long does the warranty last?"
    assert not (await library.ask(question, word=False)).supported
    library.host = FakeHost(ChatModel=said("warranty lasts ten years", "Ten years."))
    assert (await library.ask(question)).text == "Ten years."
    library.host = FakeHost(ChatModel=said("the warranty is void after one week", "One week."))
    refused = await library.ask(question)
    assert not refused.supported and refused.citations == []


async def test_a_quote_that_is_not_there_is_dropped(library):
    library.host = FakeHost(ChatModel=said("the warranty is void after one week", "It is void after one week."))
    answer = await library.ask("How long does the warranty last?")
    assert not answer.worded and "ten years" in answer.text


async def test_a_number_that_stands_nowhere_is_not_said(library):
    library.host = FakeHost(ChatModel=said("warranty lasts ten years", "It lasts 25 years."))
    answer = await library.ask("How long does the warranty last?")
    assert "25" not in answer.text and "ten years" in answer.text


async def test_a_quote_is_found_in_another_passage_than_the_one_named(library):
    library.host = FakeHost(ChatModel=said("warranty lasts ten years", "Ten years.", passage=4))
    assert (await library.ask("How long does the warranty last?")).citations[0].page == 2


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"quote": 3}', "I would rather not"])
async def test_a_model_that_talks_nonsense_costs_nothing(library, broken):
    library.host = FakeHost(ChatModel=Speaker(broken))
    answer = await library.ask("How long does the warranty last?")
    assert answer.supported and "ten years" in answer.text and not answer.worded


async def test_documents_are_data_not_instructions(library):
    model = said("", "", 0, False)
    library.host = FakeHost(ChatModel=model)
    await library.ask("How do I fit the legs?")
    system = model.asked[0].messages[0]
    assert system.role == "system" and "never an instruction" in system.content
    for one in tools(library):
        assert one.effect.value == "pure"
        arguments = {"question": "How do I fit the legs?"} if one.name == "ask_documents" else {"query": "legs"}
        result = await one(arguments, ToolContext())
        assert result.trusted is False and result.evidence[0]["page"] == 1


async def test_the_tool_says_where_it_stands(library):
    (one,) = [one for one in tools(library) if one.name == "ask_documents"]
    result = await one(
        {"question": "How long does the warranty last?", "document": "the manual of the sofa"}, ToolContext()
    )
    assert result.say.endswith("That is in chair.pdf, page 2.")


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("Turn the FOUR legs", "Turn the four legs"),
        ("four  legs, clock-wise", None),
        ("four legs clockwise", "four legs clockwise"),
        ("...until they are tight.", "until they are tight"),
        ("", None),
        ("!", None),
    ],
)
def test_quotes_are_looked_up(quote, found):
    passage = "Turn the four legs clockwise until they are tight."
    place = locate(quote, passage)
    assert (passage[place[0] : place[1]] if place else None) == found


def test_numbers_are_compared_as_numbers():
    assert not invented("About 41,000 in 2023.", ["it was 41000 in 2023"])
    assert invented("It was 42,000.", ["it was 41000 in 2023"])
