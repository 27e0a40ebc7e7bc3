"""An OpenAI-compatible endpoint, well-behaved and not."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import pytest
from language_fakes import FakeServer, event, head, text
from omni_language import endpoint
from omni_language.endpoint import EndpointChat, is_local
from omni_language.openai_wire import ToolCalls, openai_messages

from omni.capabilities import ChatModel, ChatRequest, Message
from omni.errors import BadInput, ModelError

HI = [Message("user", "Hi")]
MODELS = b'{"data": [{"id": "first"}, {"id": "second"}]}'


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(endpoint, "RETRY_AFTER_S", (0.0, 0.0))


@asynccontextmanager
async def serving(handler, **options):
    async def route(path, body):
        if path.endswith("/models"):
            yield head(kind="application/json") + MODELS
            return
        async for piece in handler(body):
            yield piece

    async with FakeServer(route) as server:
        chat = EndpointChat(server.url, **options)
        await chat.open()
        try:
            yield chat, server
        finally:
            await chat.close()


async def answer(chat, messages=HI, **options):
    return [delta async for delta in chat.chat(ChatRequest(messages, **options))]


async def test_an_answer_streams_with_its_counts():
    async def handler(body):
        yield head() + text("Hel") + text("lo")[:20]
        yield text("lo")[20:] + text("", "stop")
        yield event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}) + b"data: [DONE]\n\n"

    async with serving(handler, api_key="secret") as (chat, server):
        assert isinstance(chat, ChatModel) and chat.native_tools
        deltas = await answer(chat, temperature=0.3, stop=["END"], max_tokens=9, seed=4)
        assert "".join(delta.text for delta in deltas) == "Hello"
        assert (deltas[-1].finish, deltas[-1].prompt_tokens, deltas[-1].completion_tokens) == ("stop", 5, 2)
        path, body, headers = server.requests[-1]
        assert path == "/v1/chat/completions" and headers["authorization"] == "Bearer secret"
        assert body["model"] == "first"  # none was named: the first that is listed
        assert (body["temperature"], body["stop"], body["max_tokens"], body["seed"]) == (0.3, ["END"], 9, 4)


async def test_tool_calls_in_pieces_come_whole():
    def piece(**call):
        return event({"choices": [{"delta": {"tool_calls": [call]}}]})

    async def handler(body):
        yield head() + piece(index=0, id="c1", function={"name": "add", "arguments": '{"a'})
        yield piece(index=1, id="c2", function={"name": "now", "arguments": ""})
        yield piece(index=0, function={"arguments": '": 1}'}) + text("", "tool_calls") + b"data: [DONE]\n\n"

    async with serving(handler) as (chat, server):
        tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
        deltas = await answer(chat, tools=tools)
        assert [delta.tool_call for delta in deltas if delta.tool_call] == [
            {"id": "c1", "name": "add", "arguments": {"a": 1}},
            {"id": "c2", "name": "now", "arguments": {}},
        ]
        assert deltas[-1].finish == "stop"
        assert server.requests[-1][1]["tools"] == tools


def test_tool_calls_of_sloppy_servers():
    calls = ToolCalls()
    calls.add([{"id": "a", "function": {"name": "x", "arguments": {"k": 1}}}])  # no index, an object
    calls.add([{"id": "b", "function": {"name": "y"}}, {"function": {"arguments": "{}"}}])
    assert [(call["name"], call["arguments"]) for call in calls.whole()] == [("x", {"k": 1}), ("y", {})]
    calls.add([{"id": "c", "function": {"name": "z", "arguments": "[1]"}}])
    with pytest.raises(ModelError, match="not JSON"):
        calls.whole()


async def test_a_cut_off_answer_keeps_what_was_said():
    async def handler(body):
        yield head() + text("Half an ans")

    async with serving(handler) as (chat, _):
        deltas = await answer(chat)
        assert [delta.text for delta in deltas][:1] == ["Half an ans"] and deltas[-1].finish == "cut"


async def test_a_line_cut_in_a_chunk_keeps_what_was_said():
    async def handler(body):
        piece = text("Half")
        yield head(extra="Transfer-Encoding: chunked\r\n") + f"{len(piece):x}\r\n".encode() + piece + b"\r\nff\r\nda"

    async with serving(handler) as (chat, _):
        deltas = await answer(chat)
        assert deltas[0].text == "Half" and deltas[-1].finish == "cut"


async def test_a_silent_endpoint_is_given_up():
    never = asyncio.Event()

    async def handler(body):
        yield head() + text("Well")
        await asyncio.wait_for(never.wait(), 5)

    async with serving(handler, silence_s=0.1) as (chat, _):
        with pytest.raises(ModelError, match=r"said nothing for 0\.1 s"):
            await answer(chat)
        never.set()


async def test_garbage_and_nothing_are_said():
    async def garbage(body):
        yield head() + b"data: <html>Bad gateway</html>\n\n"

    async def nothing(body):
        yield head() + b": keep-alive\n\n"

    async with serving(garbage) as (chat, _):
        with pytest.raises(ModelError, match="not JSON"):
            await answer(chat)
    async with serving(nothing) as (chat, _):
        with pytest.raises(ModelError, match="answered with nothing"):
            await answer(chat)


async def test_an_endpoint_that_does_not_stream_is_read_whole():
    async def handler(body):
        message = {"content": "Hello", "tool_calls": [{"id": "c", "function": {"name": "now", "arguments": "{}"}}]}
        whole = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
        yield head(kind="application/json") + json.dumps(whole).encode()

    async with serving(handler) as (chat, _):
        deltas = await answer(chat)
        assert deltas[0].text == "Hello" and deltas[1].tool_call["name"] == "now" and deltas[-1].prompt_tokens == 3


async def test_what_passes_is_tried_again():
    tries = []

    async def handler(body):
        tries.append(body)
        if len(tries) < 3:
            yield head(503, "application/json") + b'{"error": {"message": "loading model"}}'
        else:
            yield head() + text("Here", "stop")

    async with serving(handler) as (chat, _):
        assert (await answer(chat))[0].text == "Here"
    assert len(tries) == 3


async def test_what_does_not_pass_is_said():
    async def handler(body):
        yield head(503, "application/json") + b'{"error": {"message": "loading model"}}'

    async with serving(handler) as (chat, _):
        with pytest.raises(ModelError, match="status 503: loading model"):
            await answer(chat)


async def test_a_schema_falls_back_to_what_the_endpoint_can():
    seen = []

    async def handler(body):
        seen.append(body.get("response_format", {}).get("type"))
        if "response_format" in body:
            yield head(400, "application/json") + b'{"error": {"message": "response_format is not supported"}}'
        else:
            yield head() + text('{"a": 1}', "stop")

    async with serving(handler) as (chat, server):
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
        assert (await answer(chat, schema=schema))[0].text == '{"a": 1}'
        assert seen == ["json_schema", "json_object", None]
        told = server.requests[-1][1]["messages"][0]
        assert told["role"] == "system" and json.dumps(schema) in told["content"]
        await answer(chat, schema=schema)
        assert seen[3:] == [None]  # what was refused once is not tried again


async def test_optional_fields_are_left_out_when_refused():
    async def handler(body):
        if "stream_options" in body:
            yield head(422, "application/json") + b'{"error": "extra fields not permitted"}'
        else:
            yield head() + text("Fine", "stop")

    async with serving(handler) as (chat, _):
        assert (await answer(chat))[0].text == "Fine"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, b'{"error": {"message": "bad key"}}', "valid key: bad key"),
        (404, b'{"error": "model not found"}', "has no model 'first'"),
        (418, b"I'm a teapot", "status 418: I'm a teapot"),
        (400, b'{"error": {"message": "nonsense"}}', "status 400: nonsense"),
    ],
)
async def test_refusals_are_sentences(status, body, says):
    async def handler(_):
        yield head(status, "application/json") + body

    async with serving(handler) as (chat, _):
        with pytest.raises(ModelError, match=says):
            await answer(chat)


async def test_a_conversation_too_long_is_the_askers_matter():
    async def handler(body):
        yield head(400, "application/json") + b'{"error": {"message": "maximum context length exceeded"}}'

    async with serving(handler) as (chat, _):
        with pytest.raises(BadInput, match="longer than"):
            await answer(chat)


async def test_an_endpoint_that_is_down_says_what_to_do():
    async with FakeServer(lambda path, body: None) as server:
        url = server.url
    chat = EndpointChat(url)
    with pytest.raises(ModelError, match="does not answer") as failure:
        await chat.open()
    assert "chat.endpoint" in failure.value.remedy
    await chat.close()
    with pytest.raises(ModelError, match="closed"):
        await answer(chat)


async def test_closing_the_answer_closes_the_connection():
    closed = asyncio.Event()

    async def handler(body):
        try:
            yield head() + text("word ")
            for _ in range(100_000):
                yield text("word ")
        finally:
            closed.set()

    async with serving(handler) as (chat, _):
        async with aclosing(chat.chat(ChatRequest(HI))) as deltas:
            await anext(deltas)
        assert await asyncio.wait_for(closed.wait(), 5), "the server still writes"


def test_messages_on_the_wire():
    wire = openai_messages(
        [
            Message("user", "What is this?", images=(b"\x89PNG..",)),
            Message("assistant", "", tool_calls=({"id": "c1", "name": "add", "arguments": {"a": 1}},)),
            Message("tool", "2", tool_call_id="c1", name="add"),
        ]
    )
    assert wire[0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert wire[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert (wire[2]["tool_call_id"], wire[2]["name"]) == ("c1", "add")
    with pytest.raises(BadInput):
        openai_messages([])


@pytest.mark.parametrize(
    ("url", "local"),
    [("http://127.0.0.1:1/v1", True), ("http://localhost/v1", True), ("http://[::1]/v1", True),
     ("https://example.org/v1", False), ("http://10.0.0.1", False)],
)  # fmt: skip
def test_what_is_local(url, local):
    assert is_local(url) is local


async def test_tokens_are_estimated():
    assert await EndpointChat("http://localhost/v1").count_tokens("x" * 35) == 10
