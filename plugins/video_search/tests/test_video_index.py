"""From files to timelines: what is kept, what is reported, what is not done twice."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from omni_video_search import media
from omni_video_search.indexer import Indexer
from omni_video_search.remembering import remember
from omni_video_search.timeline import Timelines
from video_kit import Hears, ScriptedHost, make_video, plain, scene, speechlike, steady

from omni.capabilities import Transcriber
from omni.errors import BadInput, DiskFull

RED, BLUE = plain((200, 20, 20)), plain((20, 20, 200))


@pytest.fixture
def store(tmp_path):
    store = Timelines(tmp_path / "index")
    yield store
    store.close()


def talk(path, seconds=4.0):
    """Red, then blue; a voice from the second 1 on."""
    sound = np.concatenate([np.zeros(16_000, np.float32), speechlike(seconds - 1)])
    return make_video(path, steady([(0, RED), (seconds / 2, BLUE)], seconds), duration=seconds, sound=sound)


async def test_a_timeline_holds_pictures_words_and_sounds(tmp_path, store):
    path = talk(tmp_path / "a.mp4")
    summary = await Indexer(store, ScriptedHost()).index([path])
    assert (summary.indexed, summary.problems) == (1, [])
    assert summary.cost is not None
    (video,) = store.videos()
    entries = store.entries(video.digest)
    shown = [(e.text, round(e.start)) for e in entries if e.stream == "picture"]
    assert shown == [("red", 0), ("blue", 2)]
    (said,) = [e for e in entries if e.stream == "speech"]
    assert said.text.startswith("the harvest")
    assert 0.5 <= said.start <= 1.5
    assert json.loads(said.words)[1][0] == "harvest"
    assert "speech" in {e.label for e in entries if e.stream == "sound"}
    assert [e.start for e in entries if e.stream == "cut"] == pytest.approx([2.0], abs=0.11)


async def test_words_at_the_border_of_two_stretches_are_kept_once(tmp_path, store):
    sound = speechlike(36)
    path = make_video(tmp_path / "long.mp4", steady([(0, RED)], 36, 2), duration=36, sound=sound)
    host = ScriptedHost(Transcriber=Hears(" ".join(f"w{i}" for i in range(200))))
    await Indexer(store, host).index([path])
    times = [w[1] for e in store.entries(streams=["speech"]) for w in json.loads(e.words)]
    assert times == sorted(times)
    assert host.get(Transcriber).calls == 2
    gaps = np.diff(times)
    assert gaps.max() < 1.0
    assert gaps.min() > 0.05


async def test_what_was_indexed_is_not_indexed_again_and_moves_are_free(tmp_path, store):
    folder = tmp_path / "videos"
    folder.mkdir()
    talk(folder / "a.mp4")
    indexer = Indexer(store, ScriptedHost())
    await indexer.index([folder])
    (folder / "a.mp4").rename(folder / "b.mp4")
    summary = await indexer.index([folder])
    assert (summary.indexed, summary.unchanged, summary.gone) == (0, 1, 1)
    assert [v.name for v in store.videos()] == ["b.mp4"]
    (folder / "b.mp4").unlink()
    assert (await indexer.index([folder])).gone == 1
    assert store.videos() == []
    assert store.entries() == []


async def test_bad_files_are_reported_and_the_good_one_is_indexed(tmp_path, store):
    from PIL import Image

    good = talk(tmp_path / "good.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "junk.mkv").write_bytes(os.urandom(5000))
    Image.fromarray(scene(1)).save(tmp_path / "picture.png")
    (tmp_path / "picture.png").rename(tmp_path / "picture.mp4")
    (tmp_path / "cut-off.mp4").write_bytes(good.read_bytes()[:2000])
    summary = await Indexer(store, ScriptedHost()).index([tmp_path])
    assert summary.indexed == 1
    told = {path.rsplit("/", 1)[-1]: message for path, message in summary.problems}
    assert set(told) == {"empty.mp4", "junk.mkv", "picture.mp4", "cut-off.mp4"}
    assert "0 bytes" in told["empty.mp4"]
    assert "picture" in told["picture.mp4"]
    assert [p for p, _ in store.problems()] == sorted(p for p, _ in summary.problems)
    (tmp_path / "junk.mkv").unlink()
    shutil.copy(good, tmp_path / "empty.mp4")
    await Indexer(store, ScriptedHost()).index([tmp_path])
    assert "empty.mp4" not in str(store.problems())


async def test_a_stream_that_breaks_off_is_indexed_up_to_there(tmp_path, store):
    frames = steady([(0, scene(1)), (3, scene(2))], 6.0)
    whole = make_video(tmp_path / "whole.ts", frames, duration=6.0).read_bytes()
    path = tmp_path / "broken.ts"
    path.write_bytes(whole[: int(len(whole) * 0.7)])
    (tmp_path / "whole.ts").unlink()
    summary = await Indexer(store, ScriptedHost()).index([path])
    assert summary.indexed == 1
    assert [e for e in store.entries() if e.stream == "picture"]


async def test_without_a_sound_track_the_pictures_are_indexed(tmp_path, store):
    path = make_video(tmp_path / "mute.mp4", steady([(0, RED)], 2.0), duration=2.0)
    await Indexer(store, ScriptedHost()).index([path])
    assert {e.stream for e in store.entries()} == {"picture", "shot"}
    assert len(media.sound(path, 0, 2)) == 0


async def test_missing_capabilities_are_said_and_cost_only_themselves(tmp_path, store):
    path = talk(tmp_path / "a.mp4")
    host = ScriptedHost()
    host.all = {}
    summary = await Indexer(store, host).index([path])
    assert summary.indexed == 1
    assert "speech recognition" in summary.missing
    assert {e.stream for e in store.entries()} >= {"picture", "sound", "cut"}


async def test_a_folder_that_vanishes_is_a_problem_and_nothing_is_forgotten(tmp_path, store):
    folder = tmp_path / "drive"
    folder.mkdir()
    talk(folder / "a.mp4")
    await Indexer(store, ScriptedHost()).index([folder])
    shutil.move(folder, tmp_path / "unplugged")
    summary = await Indexer(store, ScriptedHost()).index([folder])
    assert "not there" in summary.problems[0][1]
    assert [v.name for v in store.videos()] == ["a.mp4"]


async def test_a_file_that_vanishes_while_it_is_read_is_a_problem(tmp_path, store):
    folder = tmp_path / "drive"
    folder.mkdir()
    path = talk(folder / "a.mp4")
    talk(folder / "b.mp4", 3.0)
    steps = []

    def pull(step):
        if not steps:
            (folder / "b.mp4").unlink()
        steps.append(step)

    summary = await Indexer(store, ScriptedHost(), on_step=pull).index([folder])
    assert summary.indexed == 1
    assert any("b.mp4" in p for p, _ in summary.problems)
    assert steps[0].path == path
    assert 0 <= steps[-1].done <= steps[-1].total


async def test_a_full_disk_is_said_and_what_was_done_is_kept(tmp_path):
    path = talk(tmp_path / "a.mp4")
    full = Timelines(tmp_path / "index", max_bytes=80_000)
    with pytest.raises(DiskFull) as caught:
        for n in range(200):
            await Indexer(full, ScriptedHost()).index([talk(tmp_path / f"{n}.mp4", 2 + n / 10)])
    assert "Make room" in caught.value.remedy
    before = {v.digest for v in full.videos() if v.state == "ready"}
    full.close()
    again = Timelines(tmp_path / "index")
    await Indexer(again, ScriptedHost()).index([path])
    assert before <= {v.digest for v in again.videos() if v.state == "ready"}
    again.close()


async def test_the_memory_gets_a_bounded_number_once(tmp_path, store):
    from omni.capabilities import Memory

    class Keeps:
        def __init__(self):
            self.moments = []

        async def remember(self, moments):
            self.moments += moments
            return [m.id for m in moments]

    await Indexer(store, ScriptedHost()).index([talk(tmp_path / "a.mp4")])
    host, memory = ScriptedHost(), Keeps()
    host.all[Memory] = memory
    assert await remember(store, host, 2) == 2
    assert await remember(store, host, 2) == 0
    assert {m.source for m in memory.moments} == {"video"}
    assert "a.mp4" in memory.moments[0].text
    assert memory.moments[0].end - memory.moments[0].start < 5


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(BadInput, match="not there"):
        media.probe(tmp_path / "none.mp4")
