"""Questions about moments: what they lean on, and what they find."""

from __future__ import annotations

import numpy as np
import pytest
from omni_video_search.library import Library
from omni_video_search.query import parse
from omni_video_search.search import Finder
from omni_video_search.timeline import Entry, Timelines
from video_kit import ScriptedHost

from omni.errors import BadInput


@pytest.fixture
async def store(tmp_path):
    """Two videos: a lecture about bees and maps, and a film with a bang."""
    store = Timelines(tmp_path)
    words = ScriptedHost().all

    async def vector(text):
        embedder = next(v for v in words.values() if hasattr(v, "embed_text"))
        return (await embedder.embed_text([text]))[0]

    async def picture(start, end, what):
        return Entry("picture", start, end, "", what, 1.0, "", "text", await vector(f"a photo of a {what}"))

    async def said(start, end, text):
        times = [[w, start + 0.4 * i, start + 0.4 * i + 0.3] for i, w in enumerate(text.split())]
        return Entry("speech", start, end, "", text, 1.0, __import__("json").dumps(times), "text", await vector(text))

    lecture = [
        await said(10, 14, "Bees dance to tell each other where flowers are."),
        await said(40, 44, "Honey keeps for centuries."),
        await said(70, 75, "Bees dance in the dark as well."),
        await picture(0, 30, "beehive"), await picture(30, 60, "kitchen"), await picture(60, 90, "map"),
        Entry("screen", 60, 90, "", "MIGRATION ROUTES / 2019"),
        Entry("sound", 0, 90, "speech", "speech, -20 dB", 0.9),
    ]  # fmt: skip
    film = [
        await picture(0, 20, "street"),
        await picture(20, 40, "forest"),
        Entry("sound", 0, 19, "music", "music, -25 dB", 0.8),
        Entry("sound", 25, 26, "impact", "impact, -2 dB", 0.95),
        Entry("sound", 30, 40, "silence", "silence, -80 dB", 1.0),
    ]
    for digest, duration, entries in (("lecture", 90, lecture), ("film", 40, film)):
        store.begin(digest, duration, 640, 360, True)
        store.place(tmp_path / f"{digest}.mp4", digest, 1, 1)
        store.finish(digest, entries)
    yield store
    store.close()


def weights(question):
    return [max(part.weights, key=part.weights.get) for part in parse(question)]


@pytest.mark.parametrize(
    ("question", "leans_on"),
    [
        ("she says honey keeps for centuries", ["speech"]),
        ("a map is shown", ["picture"]),
        ("loud explosion", ["sound"]),
        ("the slide says migration routes", ["screen"]),
        ("the part where she talks about bees while a map is shown", ["speech", "picture"]),
        ("he mentions the harvest with music playing in the background", ["speech", "sound"]),
        ("find the scene where we see a forest", ["picture"]),
        ("when does the music start", ["sound"]),
    ],
)
def test_a_question_leans_on_the_right_stream(question, leans_on):
    assert weights(question) == leans_on


@pytest.mark.parametrize("question", ["bees", "honey and flowers", "dancing with bees"])
def test_a_question_without_a_cue_is_one_part_that_leans_on_words_and_pictures(question):
    (part,) = parse(question)
    assert part.weights["speech"] > 0.5
    assert part.weights["picture"] > 0.5


async def best(store, question, **options):
    found = await Finder(store, ScriptedHost()).find(question, **options)
    return (found[0].video.digest, found[0].start, found[0].end) if found else None


async def test_what_was_said_is_found_with_its_span_and_word(store):
    (found, *_) = await Finder(store, ScriptedHost()).find("she says honey keeps for centuries")
    assert (found.video.digest, found.start, found.end) == ("lecture", 40, 44)
    assert found.evidence[0].stream == "speech"
    assert found.evidence[0].at == pytest.approx(40.0)


async def test_two_streams_together_choose_between_two_places(store):
    """Bees are talked about twice; only once with the map."""
    digest, start, end = await best(store, "the part where she talks about bees while a map is shown")
    assert digest == "lecture"
    assert start < 75
    assert end > 70
    assert start > 60


async def test_sounds_are_found_by_name(store):
    assert await best(store, "loud explosion") == ("film", 25, 26)
    assert await best(store, "where does music play") == ("film", 0, 19)
    assert (await best(store, "silence"))[0] == "film"


async def test_writing_is_found_through_misread_letters(store):
    assert (await best(store, "the slide that says migratlon routes"))[:2] == ("lecture", 60)


async def test_nothing_fits_is_an_answer(store):
    assert await best(store, "she explains quantum chromodynamics") is None
    assert await best(store, "a loud laugh") is None


async def test_an_empty_question_and_another_language_do_no_harm(store):
    with pytest.raises(BadInput, match="empty"):
        await best(store, "   ")
    assert await best(store, "куда летят пчёлы") is None


async def test_streams_can_be_limited(store):
    assert await best(store, "loud explosion", streams=["speech", "picture"]) is None


async def test_without_an_embedder_words_still_find(store):
    bare = ScriptedHost()
    bare.all = {}
    (found, *_) = await Finder(store, bare).find("honey keeps for centuries")
    assert (found.start, found.end) == (40, 44)


async def test_the_tool_says_where_and_gives_evidence(store, tmp_path):
    library = Library(tmp_path, ScriptedHost())
    result = await library.find_moment("she says honey keeps for centuries")
    assert "lecture.mp4 at 0:40" in result.say
    assert result.trusted is False
    assert result.evidence[0]["start"] == 40
    nothing = await library.find_moment("she explains quantum chromodynamics")
    assert nothing.value == []
    assert "no moment" in nothing.say


async def test_the_page_gets_lists_timelines_and_pictures(store, tmp_path):
    library = Library(tmp_path, ScriptedHost())
    listed = await library.list({})
    assert [v["name"] for v in listed["videos"]] == ["film.mp4", "lecture.mp4"]
    timeline = await library.timeline({"digest": "lecture"})
    assert {e["stream"] for e in timeline["entries"]} == {"speech", "picture", "screen", "sound"}
    data, mime = await library.media("frame/lecture/10")
    assert mime == "image/png"
    assert len(data) > 50
    with pytest.raises(BadInput, match="not there"):
        await library.media("video/lecture")
    with pytest.raises(BadInput, match="not in the index"):
        await library.media("video/../../etc/passwd")


def test_vectors_come_back_as_they_were(tmp_path):
    store = Timelines(tmp_path)
    vector = np.arange(4, dtype=np.float32)
    store.begin("d", 1, 1, 1, False)
    store.finish("d", [Entry("speech", 0, 1, "", "x", 1.0, "", "text", vector)])
    assert np.array_equal(store.entries("d")[0].vector, vector)
    store.close()
