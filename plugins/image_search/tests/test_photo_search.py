"""Search: by words, by example, with what to leave out, within times, and when nothing fits."""

from __future__ import annotations

import asyncio
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from omni_image_search.duplicates import groups
from omni_image_search.features import Eyes, in_words
from omni_image_search.languages import foreign
from omni_image_search.library import Library
from omni_image_search.query import Query, full_text, moment
from omni_image_search.records import Photo
from omni_image_search.scan import Indexer
from omni_image_search.search import Searcher
from omni_image_search.store import Store
from photo_fakes import album, host, paint
from PIL import Image

from omni.capabilities import ChatModel, Embedder, Region
from omni.errors import BadInput
from omni.testing import FakeHost, ScriptedChat


@pytest.fixture(scope="module")
def indexed(tmp_path_factory) -> Path:
    """A folder with 48 photos and their index."""
    folder = tmp_path_factory.mktemp("indexed")
    store = Store(folder / "index")
    asyncio.run(Indexer(store, Eyes(host())).run(album(folder / "photos", 48)))
    store.close()
    return folder


@pytest.fixture
async def library(tmp_path: Path, indexed: Path):
    """A copy of it that a test may change, as if it had been indexed there."""
    shutil.copytree(indexed, tmp_path, dirs_exist_ok=True)
    opened = Library(tmp_path / "index", host())
    with opened.store.transaction() as db:
        old, new = str((indexed / "photos").resolve()), str((tmp_path / "photos").resolve())
        db.execute("UPDATE files SET path = replace(path, ?, ?), album = ?", (old, new, new))
        db.execute("UPDATE albums SET root = ?", (new,))
    yield opened
    opened.close()


def colours(found) -> list[str]:
    return [hit.words.split(", ")[1] for hit in found.hits]


async def test_words_find_what_they_say_and_nothing_else(library):
    found = await library.search(Query("a red thing"))
    assert colours(found) == ["red"] * 4
    assert found.hits[0].score > 2 and found.of == 48 and "meaning" in found.hits[0].why


async def test_an_example_finds_its_like(library, tmp_path):
    picture = paint(tmp_path / "example.png", "blue", 900).read_bytes()
    found = await library.search(Query(like=(picture,), limit=4))
    assert colours(found) == ["blue"] * 4
    first = found.hits[0].photo
    more = await library.search(Query(like=(first,), limit=3))
    assert colours(more) == ["blue"] * 3 and first not in [hit.photo for hit in more.hits]


async def test_words_and_example_add_and_what_is_left_out_is_out(library, tmp_path):
    picture = paint(tmp_path / "example.png", "blue", 900).read_bytes()
    both = await library.search(Query("red thing", like=(picture,), limit=8, min_score=None))
    assert sorted(set(colours(both))) == ["blue", "red"]
    without = await library.search(Query("paper thing", minus=("red",), limit=100, min_score=None))
    assert "red" not in colours(without) and len(without.hits) == 44


async def test_nothing_that_fits_is_an_answer(library):
    found = await library.search(Query("submarine engine room"))
    assert found.hits == () and "Nothing here fits" in found.note
    anyway = await library.search(Query("submarine engine room", min_score=None, limit=3))
    assert len(anyway.hits) == 3


async def test_nothing_fits_when_what_is_called_alike_is_seen_nowhere(tmp_path):
    store = Store(tmp_path)  # of four things: a dog, a wolf, a piano, a car
    seen = np.array([[0.9, 0.4, 0, 0.1], [0, 0.05, 0.02, 1.0], [0.1, 0, 0, 1.0]] * 5, np.float32)
    with store.transaction() as db:
        for number, row in enumerate(seen):
            photo = Photo(f"{number:064x}", 1, 1, "JPEG", 1, number, None, None, "", "", "", "", "", b"")
            vectors = {"labels": row, "text": row / np.linalg.norm(row)}
            store.link(db, f"/{number}", store.add_photo(db, photo, vectors), 1, 1, "/", 1)

    class Things:
        space, dimension, images = "labels", 4, True

        async def embed_text(self, texts, *, query=False):
            near = {"dog": (1.0, 0.5, 0, 0), "piano": (0, 0, 1.0, 0.0), "poodle": (0.9, 0.8, 0, 0.01)}
            return np.array([near[text.split()[-1]] for text in texts], np.float32)

    searcher = Searcher(store, FakeHost((Embedder, Things()), (Embedder, type("Text", (Things,), {"space": "text"})())))
    for text in ("a dog", "a poodle"):
        found = await searcher.search(Query(text))
        assert len(found.hits) == 5 and {int(hit.paths[0][1:]) % 3 for hit in found.hits} == {0}, text
    nothing = await searcher.search(Query("a piano"))
    assert nothing.hits == () and "Nothing here fits" in nothing.note
    store.close()


def test_what_is_seen_is_told_in_words():
    box = (0.0, 0.0, 1.0, 1.0)
    seen = [Region("object", name, box, 0.9) for name in ("person", "person", "bus", "bus", "dog", "sheep", "sheep")]
    assert in_words((*seen, Region("face", "face", box, 0.9))) == "2 people, 2 buses, dog, 2 sheep, 1 face"


async def test_a_photo_is_found_by_its_file_name_and_its_folder(library, tmp_path):
    paint(tmp_path / "photos" / "Lisbon trip" / "tram_28.png", "grey", 700)
    await Indexer(library.store, Eyes(library.host)).run(tmp_path / "photos")
    for words in ("tram", "lisbon", "trips"):
        found = await library.search(Query(words))
        assert Path(found.hits[0].paths[0]).name == "tram_28.png", words


async def test_times_narrow_the_search(library, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[36867] = "2024:07:31 12:30:00"
    paint(tmp_path / "photos" / "dated.jpg", "red", 800, exif=exif)
    await Indexer(library.store, Eyes(library.host)).run(tmp_path / "photos")
    inside = await library.search(Query("red", after=moment("2024-07"), before=moment("2024-08")))
    assert [Path(hit.paths[0]).name for hit in inside.hits] == ["dated.jpg"]
    outside = await library.search(Query("red", after=moment("2025")))
    assert outside.hits == () and "date" in outside.note


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query("   "),
        Query(minus=("dog",)),
        Query("x" * 2000),
        Query("dog", min_score="high"),
        Query("dog", after=2.0, before=1.0),
    ],
)
async def test_a_question_that_asks_nothing_is_refused_with_a_sentence(library, query):
    with pytest.raises(BadInput) as refusal:
        await library.search(query)
    assert refusal.value.remedy


async def test_marks_and_operators_of_the_index_are_only_words(library):
    for text in ('red" OR 1 NEAR(', "red AND NOT *", "'; DROP TABLE photos; --", "col:red ^2"):
        await library.search(Query(text, min_score=None))
    assert library.store.count() == 48
    assert full_text('Red "fish"*') == '"red" OR "fish"'


async def test_an_empty_index_says_what_to_do(tmp_path):
    library = Library(tmp_path / "empty", host())
    found = await library.search(Query("red"))
    assert found.hits == () and "omni photos index" in found.note
    library.close()


async def test_another_language_is_translated_where_a_model_is_there(library, tmp_path):
    chat = ScriptedChat(reply=lambda request: "a red thing", first_s=0.0, word_s=0.0)
    knowing = Library(library.folder, host((ChatModel, chat)))
    found = await knowing.search(Query("eine rote Sache auf dem Tisch mit der Tante"))
    assert colours(found) == ["red"] * 4 and found.note == "Searched for: a red thing"
    await knowing.search(Query("eine rote Sache auf dem Tisch mit der Tante"))
    assert len(chat.requests) == 1
    knowing.close()
    without = await library.search(Query("eine rote Sache auf dem Tisch mit der Tante"))
    assert "German" in without.note


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a dog on the beach", ""),
        ("red bicycle", ""),
        ("café", ""),
        ("ein Hund am Strand mit der Familie", "German"),
        ("un chien sur la plage", "French"),
        ("собака на пляже", "another language"),
        ("海滩上的狗", "another language"),
        ("", ""),
    ],
)
def test_languages_are_told_apart(text, language):
    assert foreign(text) == language


def test_dates_are_read_or_refused():
    assert moment("2024-07-31", end=True) - moment("2024-07-31") == 86400
    assert moment("2023", end=True) == moment("2024")
    assert moment("2024-12", end=True) == moment("2025-01")
    for wrong in ("yesterday", "2024-13", "2023-02-30", "24"):
        with pytest.raises(BadInput):
            moment(wrong)


async def test_what_another_process_adds_and_removes_is_seen(library, tmp_path):
    assert len((await library.search(Query("red"))).hits) == 4
    other = Library(library.folder, host())
    extra = paint(tmp_path / "photos" / "late.png", "red", 901)
    await Indexer(other.store, Eyes(other.host)).run(tmp_path / "photos")
    assert len((await library.search(Query("red"))).hits) == 5
    extra.unlink()
    await Indexer(other.store, Eyes(other.host)).run(tmp_path / "photos")
    assert len((await library.search(Query("red"))).hits) == 4
    other.close()


async def test_the_same_picture_is_grouped_whatever_its_size_and_format(tmp_path):
    folder = tmp_path / "photos"
    chance = np.random.default_rng(5)
    scene = Image.fromarray(chance.integers(0, 255, (12, 16, 3), np.uint8)).resize((640, 480), Image.BICUBIC)
    other = Image.fromarray(chance.integers(0, 255, (12, 16, 3), np.uint8)).resize((640, 480), Image.BICUBIC)
    folder.mkdir()
    scene.save(folder / "large.png")
    scene.resize((200, 150)).save(folder / "small.jpg", quality=60)
    scene.point(lambda value: min(255, value + 20)).save(folder / "bright.jpg")
    other.save(folder / "other.png")
    for number in range(3):
        paint(folder / f"flat{number}.png", "white", number, (300, 200))
    (folder / "copy of other.png").write_bytes((folder / "other.png").read_bytes())
    library = Library(tmp_path / "index", host())
    await Indexer(library.store, Eyes(library.host)).run(folder)
    found = groups(library.store)
    near = [group for group in found if not group.exact and any("large.png" in path for path in group.paths)]
    assert [{Path(path).name for path in group.paths} for group in near] == [{"large.png", "small.jpg", "bright.jpg"}]
    exact = [group for group in found if group.exact]
    assert [{Path(path).name for path in group.paths} for group in exact] == [{"other.png", "copy of other.png"}]
    library.close()


async def test_the_tools_answer_with_paths_and_a_sentence(library):
    from omni_image_search.tools import tools

    from omni.tools import ToolContext, validate_arguments

    find, similar = tools(library)
    assert find.effect.value == similar.effect.value == "pure"
    result = await find(validate_arguments(find, {"what": "a red thing", "without": "green"}), ToolContext())
    assert result.value["found"] == 4 and not result.trusted and result.say.startswith("I found 4 photos that fit")
    assert all(photo["path"].endswith(".png") for photo in result.value["photos"])
    nothing = await find({"what": "submarine engine room"}, ToolContext())
    assert nothing.value["found"] == 0 and "Nothing here fits" in nothing.say
    with pytest.raises(BadInput, match="no picture"):
        await similar({}, ToolContext())


def picture_bytes(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(out, "JPEG")
    return out.getvalue()


async def test_the_panel_searches_and_never_serves_a_path(library):
    from base64 import b64encode

    from omni_image_search.panel import PhotoWall

    wall = PhotoWall(library)
    found = await wall.search({"text": "a red thing"})
    assert [hit["words"].split(", ")[1] for hit in found["hits"]] == ["red"] * 4
    uploaded = b64encode(picture_bytes("blue")).decode()
    alike = await wall.search({"image": f"data:image/jpeg;base64,{uploaded}", "limit": 3})
    assert all("blue" in hit["words"] for hit in alike["hits"]) and len(alike["hits"]) == 3
    more = await wall.search({"like": [found["hits"][0]["id"]], "limit": 3})
    assert all("red" in hit["words"] for hit in more["hits"])
    recent = await wall.recent({"limit": 5})
    assert len(recent["hits"]) == 5 and recent["of"] == 48
    assert (await wall.albums({}))[0]["photos"] == 48
    data, kind = await wall.media(f"thumb/{found['hits'][0]['id']}")
    assert kind == "image/jpeg" and data[:2] == b"\xff\xd8"
    assert (await wall.media(f"large/{found['hits'][0]['id']}"))[0][:2] == b"\xff\xd8"
    for name in ("thumb/../../etc/passwd", "/etc/passwd", "thumb/-1", "thumb/999999", "large/x", "original/1"):
        with pytest.raises(BadInput):
            await wall.media(name)
    with pytest.raises(BadInput):
        await wall.search({"image": "%%%"})
