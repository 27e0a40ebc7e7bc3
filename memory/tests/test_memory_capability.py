"""The capability on a loop: batches, embeddings in the background, history, summaries, export."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from omni_memory.export import write_jsonl
from omni_memory.memory import LanceMemory
from omni_memory.schema import MemoryTooNew

from omni.capabilities import ChatModel, Embedder, Memory, Message, Moment
from omni.errors import BadInput, CapabilityUnavailable
from omni.testing import FakeHost, ScriptedChat

TOPICS = ("dog cat pet animal puppy", "car drive garage vehicle", "money tax salary bank")


class TopicEmbedder:
    """Meaning is which of three topics a text's words belong to."""

    space, dimension = "text", 4

    def __init__(self, dimension=4):
        self.dimension = dimension
        self.batches = []
        self.broken = False

    async def embed_text(self, texts, *, query=False):
        if self.broken:
            raise CapabilityUnavailable("The embedder is away.")
        self.batches.append(len(texts))
        rows = np.full((len(texts), self.dimension), 0.01, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for column, topic in enumerate(TOPICS):
                row[column] += sum(word in topic.split() for word in text.lower().split())
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def embedder():
    return TopicEmbedder()


@pytest.fixture
async def memory(tmp_path, embedder):
    opened = LanceMemory(tmp_path / "memory", host=FakeHost((Embedder, embedder), (ChatModel, ScriptedChat())))
    await opened.open()
    yield opened
    await opened.close()


def said(text, at=1000.0, role="user", session="s", turn=1, source="speech"):
    return Moment(source, text, at, at + 1.0, session=session, turn=turn, data={"role": role})


def test_it_is_a_memory():
    assert isinstance(LanceMemory.__new__(LanceMemory), Memory)


async def test_meaning_is_found_without_a_common_word(memory, embedder):
    await memory.remember([said("my puppy is called Rex"), said("the garage is closed"), said("my salary came late")])
    await memory.settled()
    assert embedder.batches
    found = await memory.recall("which pet animal", limit=1)
    assert found[0].moment.text == "my puppy is called Rex"
    assert found[0].ranks == {"vector": 1}


async def test_words_do_while_the_embedder_is_away_and_meaning_comes_later(tmp_path, embedder):
    embedder.broken = True
    folder = tmp_path / "memory"
    memory = LanceMemory(folder, host=FakeHost((Embedder, embedder)))
    await memory.open()
    await memory.remember([said("my puppy is called Rex")])
    assert [r.ranks for r in await memory.recall("Rex")] == [{"text": 1}]
    assert await memory.recall("animal") == []
    await memory.close()

    embedder.broken = False
    again = LanceMemory(folder, host=FakeHost((Embedder, embedder)))
    await again.open()
    await again.settled()
    assert [r.moment.text for r in await again.recall("animal")] == ["my puppy is called Rex"]
    await again.close()


async def test_another_embedder_embeds_anew(tmp_path):
    folder = tmp_path / "memory"
    for dimension in (4, 6):
        memory = LanceMemory(folder, host=FakeHost((Embedder, TopicEmbedder(dimension))))
        await memory.open()
        await memory.remember([said(f"a puppy of {dimension}")])
        await memory.settled()
        await memory.settled()
        found = await memory.recall("animal", limit=5)
        assert len(found) == (1 if dimension == 4 else 2)
        await memory.close()


async def test_writers_at_the_same_time_share_a_batch(memory):
    syncs = []
    append = memory._store._journal.append
    memory._store._journal.append = lambda records: (syncs.append(len(records)), append(records))
    ids = await asyncio.gather(*(memory.remember([said(f"number {n}", n)]) for n in range(64)))
    assert len({i for (i,) in ids}) == 64
    assert len(await memory.timeline("s")) == 64
    assert 1 <= len([s for s in syncs if s]) < 64


@pytest.mark.slow
async def test_the_loop_goes_on_while_it_works(memory):
    worst, last = 0.0, asyncio.get_running_loop().time()
    stop = False

    async def watch():
        nonlocal worst, last
        while not stop:
            await asyncio.sleep(0.001)
            now = asyncio.get_running_loop().time()
            worst, last = max(worst, now - last), now

    await memory.remember([said("warm up")])
    await memory.settled()  # the library's import, which holds the interpreter, is over
    last = asyncio.get_running_loop().time()
    task = asyncio.create_task(watch())
    for n in range(20):
        await memory.remember([said(f"number {n * 50 + i} of many", float(i)) for i in range(50)])
        await memory.recall(f"number {n}")
    await memory.settled()
    stop = True
    await task
    assert worst < 0.25, f"the loop stood still for {worst:.3f} s"


async def test_what_was_on_screen_when_i_said_this(memory):
    (spoken,) = await memory.remember([said("what does this error mean", 1000.0)])
    await memory.remember([
        said("ImportError: no module named foo", 990.0, source="screen"),
        said("a cat on a sofa", 995.0, source="camera"),
        said("a login page", 2000.0, source="screen"),
    ])  # fmt: skip
    near = await memory.around(spoken, seconds=30.0, sources=["screen"])
    assert [m.text for m in near] == ["ImportError: no module named foo"]
    assert [m.source for m in await memory.around(spoken)] == ["screen", "camera"]
    with pytest.raises(BadInput, match="no moment"):
        await memory.around("nothere")


async def test_history_lists_searches_and_resumes(memory):
    await memory.remember([
        said("tell me about my dog please", 100.0, session="a"),
        said("Your dog is Rex.", 101.0, "assistant", session="a"),
        said("and my car", 102.0, session="a", turn=2),
        said("how much tax", 500.0, session="b"),
        said("no session", 900.0, session=""),
    ])  # fmt: skip
    listed = await memory.sessions()
    assert [(s.id, s.title, s.turns) for s in listed] == [
        ("b", "how much tax", 1),
        ("a", "tell me about my dog please", 2),
    ]
    assert (listed[1].start, listed[1].end) == (100.0, 103.0)
    assert [s.id for s in await memory.sessions("dog Rex", limit=1)] == ["a"]
    assert [m.turn for m in await memory.timeline("a")] == [1, 1, 2]
    await memory.settled()
    assert await memory.sessions() == listed
    assert await memory.forget(sessions=["a"]) == 3
    assert [s.id for s in await memory.sessions()] == ["b"]


async def test_summary_by_the_model_is_kept_and_goes_with_what_it_rests_on(memory):
    ids = await memory.remember([said("my dog is called Rex and he is seven years old", 10.0, turn=1)])
    await memory.remember([said("something later", 20.0, turn=2)])
    memory._host = FakeHost((ChatModel, ScriptedChat(reply=lambda _: "The dog Rex is seven.")))
    told = [Message("user", "my dog is called Rex and he is seven years old"), Message("assistant", "How nice! " * 9)]
    assert await memory.summarise("s", told, turns=(1, 1)) == "The dog Rex is seven."
    (summary,) = await memory.timeline("s", sources=["summary"])
    assert summary.data == {"turns": [1, 1], "of": ids}
    await memory.forget(ids)
    assert await memory.timeline("s", sources=["summary"]) == []


async def test_summary_without_a_model_keeps_facts_and_is_not_kept_when_told(tmp_path):
    memory = LanceMemory(tmp_path / "memory", host=FakeHost())
    await memory.open()
    told = [
        Message("system", "The person is called Ada."),
        Message("user", "Hello there. How are you today? My flight leaves on 3 May at 14:20."),
        Message("assistant", "I am well. What a lovely day it is. Shall I look something up for you?"),
    ]
    text = await memory.summarise("s", told, words=20, keep=False)
    assert "Ada" in text
    assert "14:20" in text
    assert len(text.split()) <= 20
    assert await memory.timeline() == []
    assert await memory.summarise("s", [], words=20) == ""
    await memory.close()


async def test_export_is_whole_in_order_and_readable(memory, tmp_path):
    await memory.remember([said(f"stored {n}", float(n)) for n in range(300)])
    await memory.settled()
    await memory.remember([Moment("image", "a photo", 0.5, 0.5, media=("a.jpg",))])
    path = tmp_path / "out.jsonl"
    assert await write_jsonl(memory, path) == 301
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["start"] for line in lines] == sorted(line["start"] for line in lines)
    assert lines[1]["media"] == ["a.jpg"]
    assert not list(tmp_path.glob("*.part"))


async def test_stats(memory):
    await memory.remember([said("one", 1.0), said("two", 2.0, source="tool")])
    stats = await memory.stats()
    assert (stats.moments, stats.by_source, stats.oldest, stats.newest) == (2, {"speech": 1, "tool": 1}, 1.0, 2.0)
    await memory.settled()
    settled = await memory.stats()
    assert (settled.moments, settled.waiting, settled.spaces) == (2, 0, {"text": 2})


async def test_a_newer_folder_is_refused_and_close_still_works(tmp_path):
    (tmp_path / "meta.json").write_text('{"format": "omni-memory", "schema": 99}')
    memory = LanceMemory(tmp_path)
    with pytest.raises(MemoryTooNew, match="newer Omni"):
        await memory.open()
    await memory.close()
    assert [p.name for p in tmp_path.iterdir()] == ["meta.json"]


@pytest.mark.parametrize("limit", [0, -1])
async def test_no_moments_cannot_be_asked_for(memory, limit):
    with pytest.raises(BadInput):
        await memory.recall("x", limit=limit)
