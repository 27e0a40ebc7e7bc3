"""Server-sent events, cut anywhere."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omni_language import sse

from omni.clock import run_virtual
from omni.errors import ModelError


async def collect(pieces: list[bytes]) -> list[dict]:
    async def chunks():
        for piece in pieces:
            yield piece

    return [event async for event in sse.events(chunks())]


VALUES = [{"a": 1}, {"text": "größer 🙂\u2028 line"}, {}]


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans(), st.lists(st.integers(0, 400), max_size=8))
def test_cut_anywhere_the_events_are_the_same(end, space, done, cuts):
    lead = "data: " if space else "data:"
    raw = f": keep-alive{end}{end}".encode()
    for value in VALUES:
        raw += (f"event: x{end}{lead}{json.dumps(value, ensure_ascii=False)}{end}{end}").encode()
    raw += f"{lead}[DONE]{end}{end}data: garbage after the end".encode() if done else b""
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[a:b] for a, b in itertools.pairwise(edges)]
    assert run_virtual(collect(pieces)) == VALUES


async def test_a_last_event_without_its_empty_line_counts():
    assert await collect([b'data: {"a": 1}']) == [{"a": 1}]
    assert await collect([b'data: {"a": 1}\n']) == [{"a": 1}]


async def test_data_in_two_lines_is_one_event():
    assert await collect([b'data: {"a":\ndata: 1}\n\n']) == [{"a": 1}]


@pytest.mark.parametrize("raw", [b"data: <html>\n\n", b"data: 3\n\n", b'data: {"a": \n\n'])
async def test_garbage_is_said(raw):
    with pytest.raises(ModelError, match="The chat server sent"):
        await collect([raw])


async def test_an_event_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT", 100)
    with pytest.raises(ModelError, match="without end"):
        await collect([b"data: " + b"x" * 60, b"x" * 60])
    with pytest.raises(ModelError, match="without end"):
        await collect([b"data: xxxxxxxxxxxxxxxxxxxx\n"] * 9)
