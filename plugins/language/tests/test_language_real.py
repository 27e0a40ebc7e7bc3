"""The embedded engine with real models: prefix reuse, stopping, JSON, recovery."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import aclosing, asynccontextmanager

import jsonschema
import pytest
from language_schemas import NASTY
from omni_language.embedded import EmbeddedChat
from omni_language.engine import LlamaServer

from omni.capabilities import ChatRequest, Message
from omni.catalogue.store import ModelStore
from omni.config import load_config
from omni.errors import BadInput

pytestmark = pytest.mark.real
SYSTEM = Message("system", "You are a voice assistant. Answer in one short sentence.")


@asynccontextmanager
async def running(model: str):
    store = ModelStore.from_config(load_config())
    engines = []

    def make(file):
        engines.append(LlamaServer(file, threads=2, context=2048, slots=3))
        return engines[-1]

    chat = EmbeddedChat(lambda: store.path(model), make, context=2048, slots=3)
    await chat.open()
    try:
        yield chat, engines[0]
    finally:
        await chat.close()
    assert not engines[0].alive


async def answer(chat, *messages, **options):
    deltas = [delta async for delta in chat.chat(ChatRequest(messages, **options))]
    return "".join(delta.text for delta in deltas), deltas[-1]


async def test_the_small_model_keeps_prefixes_stops_and_recovers():
    async with running("smollm2-135m") as (chat, engine):
        question = Message("user", "Tell me what the weather is like in the mountains in May.")
        await chat.prefill([SYSTEM, Message("user", "Tell me what the weather is like in the mountains")], slot="a")
        text, last = await answer(chat, SYSTEM, question, slot="a", max_tokens=24)
        assert text.strip() and last.prompt_tokens - last.cached_tokens <= 10
        again, last = await answer(chat, SYSTEM, question, slot="b", max_tokens=24)
        assert again == text  # greedy: the same in another slot, without the cache
        warm = {"temperature": 1.0, "seed": 5, "max_tokens": 24}
        assert (await answer(chat, SYSTEM, question, **warm))[0] == (await answer(chat, SYSTEM, question, **warm))[0]
        counted, last = await answer(chat, Message("user", "Count from 1 to 9."), max_tokens=40, stop=["4"])
        assert "4" not in counted
        assert (await answer(chat, SYSTEM, question, max_tokens=3))[1].finish == "length"
        with pytest.raises(BadInput, match="model's context holds"):
            await answer(chat, Message("user", "word " * 3000))

        async with aclosing(chat.chat(ChatRequest([Message("user", "Write a long story.")], max_tokens=900))) as story:
            await anext(story)
            began = time.perf_counter()
        assert time.perf_counter() - began < 0.05
        while await engine.busy_slots():
            assert time.perf_counter() - began < 5, "it goes on computing"

        os.kill(engine.pid, signal.SIGKILL)
        await engine._process.wait()
        assert (await answer(chat, SYSTEM, question, slot="a", max_tokens=24))[0] == text


async def test_what_the_small_model_says_under_a_schema_fits_it():
    async with running("smollm2-135m") as (chat, _):
        fitting = 0
        for name, schema in NASTY.items():
            text, last = await answer(
                chat, Message("user", "Fill in the form."), schema=schema, temperature=1.0, seed=3, max_tokens=400
            )
            if last.finish == "length":
                assert name == "recursive", f"{name} ran on: {text[-80:]}"
                continue
            jsonschema.validate(json.loads(text), schema)
            fitting += 1
        assert fitting >= len(NASTY) - 1
        with pytest.raises(BadInput, match="can't be held to"):
            await answer(chat, Message("user", "Hi"), schema={"type": "strin"}, max_tokens=20)


async def test_the_default_model_answers_and_chooses():
    async with running("qwen2.5-coder-1.5b") as (chat, _):
        text, last = await answer(chat, SYSTEM, Message("user", "What is the capital of France?"), max_tokens=24)
        assert "Paris" in text and last.finish == "stop"
        schema = {
            "type": "object",
            "properties": {"tool": {"enum": ["calculate", "recall", "none"]}, "expression": {"type": "string"}},
            "required": ["tool", "expression"],
        }
        text, _ = await answer(chat, Message("user", "Which tool computes 17 times 23?"), schema=schema, max_tokens=60)
        assert json.loads(text)["tool"] == "calculate"
