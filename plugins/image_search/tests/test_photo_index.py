"""Indexing: what is new, moved, copied, gone; what can't be read; what is interrupted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from omni_image_search import features, walking
from omni_image_search.features import Eyes
from omni_image_search.library import Library
from omni_image_search.scan import Indexer
from omni_image_search.store import Store
from photo_fakes import ColourEmbedder, album, host, paint
from PIL import Image

from omni.capabilities import Embedder, Memory
from omni.errors import BadInput, Busy, CapabilityUnavailable, DiskFull, ModelMissing
from omni.testing import FakeHost


@pytest.fixture
def store(tmp_path: Path):
    opened = Store(tmp_path / "index")
    yield opened
    opened.close()


async def index(store: Store, folder: Path, given=None, **options):
    return await Indexer(store, Eyes(given or host()), **options).run(folder)


async def test_a_folder_is_taken_in_with_everything_known_of_each_photo(store, tmp_path):
    folder = album(tmp_path / "photos")
    summary = await index(store, folder)
    assert (summary.seen, summary.added, summary.problems, summary.complete) == (24, 24, [], True)
    assert store.spaces() == {"text": 24}
    words = store.rows("SELECT words, width, height, format FROM photos ORDER BY id")
    assert all("paper" in row[0] and row[1:] == (48, 36, "PNG") for row in words)
    assert store.thumb(1)[:2] == b"\xff\xd8"


async def test_a_second_run_looks_at_nothing_again(store, tmp_path):
    folder, eyes = album(tmp_path / "photos"), ColourEmbedder()
    await index(store, folder, FakeHost((Embedder, eyes)))
    looked = eyes.looked
    summary = await index(store, folder, FakeHost((Embedder, eyes)))
    assert (summary.unchanged, summary.added, eyes.looked) == (24, 0, looked + 1)  # one to see what is there


async def test_moves_and_copies_are_not_looked_at_and_what_is_gone_goes(store, tmp_path):
    folder, eyes = album(tmp_path / "photos"), ColourEmbedder()
    given = FakeHost((Embedder, eyes))
    await index(store, folder, given)
    (folder / "new").mkdir()
    (folder / "b" / "0.png").rename(folder / "new" / "zero.png")
    shutil.copy(folder / "b" / "2.png", folder / "new" / "two.png")
    (folder / "b" / "4.png").unlink()
    looked = eyes.looked
    summary = await index(store, folder, given)
    assert eyes.looked == looked + 1
    assert (summary.moved, summary.removed, summary.added) == (2, 2, 0)
    assert store.count() == 23
    assert store.spaces() == {"text": 23}
    assert len(store.rows("SELECT rowid FROM texts")) == 23
    paths = {Path(path).name for (path,) in store.rows("SELECT path FROM files")}
    assert "zero.png" in paths and "0.png" not in paths and {"two.png", "2.png"} <= paths


async def test_a_changed_file_is_looked_at_again_and_its_old_picture_goes(store, tmp_path):
    folder = album(tmp_path / "photos")
    await index(store, folder)
    paint(folder / "b" / "0.png", "green", 99)
    summary = await index(store, folder)
    assert (summary.added, store.count(), len(store.rows("SELECT * FROM vectors"))) == (1, 24, 24)
    assert (
        "green"
        in store.rows("SELECT words FROM photos JOIN files ON photo = id WHERE path LIKE ?", ("%/b/0.png",))[0][0]
    )


async def test_hidden_and_system_folders_and_rings_are_left_out(store, tmp_path):
    folder = album(tmp_path / "photos", 2)
    paint(folder / ".hidden" / "x.png", "red", 50)
    paint(folder / "$RECYCLE.BIN" / "y.png", "red", 51)
    paint(folder / ".z.png", "red", 52)
    (folder / "notes.md").write_text("no photo")
    (folder / "ring").symlink_to(folder, target_is_directory=True)
    summary = await index(store, folder)
    assert summary.seen == summary.added == 2
    assert walking.count(folder) == 2


async def test_every_kind_of_bad_file_is_a_sentence_and_the_rest_is_indexed(store, tmp_path):
    folder = album(tmp_path / "photos", 4)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no picture")
    paint(folder / "cut.jpg", "red", 60, (400, 300))
    data = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    (folder / "nowhere.jpg").symlink_to(tmp_path / "missing.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "camera.nef").write_bytes(b"II*\0 no raw file")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic broken")
    summary = await index(store, folder, limit_s=20)
    assert summary.complete and summary.added == 4
    said = {Path(problem.path).name: problem for problem in summary.problems}
    assert set(said) == {"empty.jpg", "text.jpg", "cut.jpg", "bomb.png", "camera.nef", "phone.heic"}
    assert "empty" in said["empty.jpg"].what and "megapixels" in said["bomb.png"].what
    assert all(problem.remedy for problem in summary.problems)
    again = await index(store, folder)
    assert {problem.path for problem in again.problems} == {problem.path for problem in summary.problems}
    (folder / "empty.jpg").unlink()
    paint(folder / "text.jpg", "blue", 61)
    mended = await index(store, folder)
    assert mended.added == 1 and len(mended.problems) == 4
    assert {Path(problem.path).name for problem in store.problems()} == set(said) - {"empty.jpg", "text.jpg"}


async def test_animated_turned_transparent_and_deep_pictures_are_read(store, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    turned = Image.Exif()
    turned[274] = 6
    Image.new("RGB", (60, 30), "blue").save(folder / "turned.jpg", exif=turned)
    Image.new("RGBA", (30, 30), (255, 0, 0, 0)).save(folder / "clear.png")
    Image.new("I;16", (30, 30), 40_000).save(folder / "deep.png")
    Image.new("CMYK", (30, 30), (0, 255, 255, 0)).save(folder / "print.jpg")
    summary = await index(store, folder)
    assert (summary.added, summary.problems) == (5, [])
    found = dict(store.rows("SELECT path, photo FROM files"))
    size = store.rows("SELECT width, height FROM photos WHERE id = ?", (found[str(folder / "turned.jpg")],))[0]
    assert size == (30, 60)
    assert store.rows("SELECT frames FROM photos WHERE format = 'GIF'") == [(3,)]


async def test_dates_places_and_captions_are_taken_from_the_file_and_beside_it(store, tmp_path):
    exif = Image.Exif()
    exif[270], exif[271], exif[272] = "Anna at the lake", "Canon", "EOS R5"
    exif.get_ifd(0x8769)[36867] = "2024:07:31 12:30:00"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (48.0, 8.0, 0.0), "W", (11.0, 30.0, 0.0)
    path = paint(tmp_path / "photos" / "IMG_1.jpg", "blue", 1, exif=exif)
    path.with_suffix(".txt").write_text("swimming with friends")
    (path.parent / "captions.csv").write_text("image,caption\nIMG_1.jpg,a jump, then a splash\n")
    await index(store, path.parent)
    row = store.rows("SELECT taken, north, east, camera, embedded, caption FROM photos")[0]
    assert row[0] == 1722429000.0
    assert row[1:4] == (pytest.approx(48.1333, abs=1e-3), -11.5, "Canon EOS R5")
    assert row[4:] == ("Anna at the lake", "swimming with friends\na jump, then a splash")
    path.with_suffix(".txt").write_text("diving")
    os.utime(path.with_suffix(".txt"), (1, 1))
    summary = await index(store, path.parent)
    assert (summary.added, summary.moved) == (0, 1)
    assert store.rows("SELECT caption FROM photos")[0][0].startswith("diving")


async def test_an_unreadable_folder_keeps_what_was_known_below_it(store, tmp_path, monkeypatch):
    folder = album(tmp_path / "photos", 6)
    await index(store, folder)
    real = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(walking.os, "scandir", refuse)
    summary = await index(store, folder)
    assert summary.removed == 0 and store.count() == 6
    assert ["can't be listed" in problem.what for problem in summary.problems] == [True]


async def test_a_folder_that_vanishes_meanwhile_loses_nothing(store, tmp_path):
    folder = album(tmp_path / "photos", 12)
    await index(store, folder)
    for number in range(12, 40):
        paint(folder / "c" / f"{number}.png", "red", number)

    def vanish(summary, total, path):
        if summary.seen and folder.exists():
            folder.rename(tmp_path / "elsewhere")

    summary = await index(store, folder, progress=vanish)
    assert not summary.complete and summary.removed == 0
    assert ["went away" in problem.what for problem in summary.problems] == [True]  # once, not for every file
    assert store.count() >= 12
    (tmp_path / "elsewhere").rename(folder)
    summary = await index(store, folder)
    assert summary.complete and store.count() == 40 and store.problems() == []


async def test_an_empty_mount_point_does_not_empty_the_index(store, tmp_path):
    folder = album(tmp_path / "photos", 6)
    await index(store, folder)
    shutil.rmtree(folder)
    folder.mkdir()
    summary = await index(store, folder)
    assert not summary.complete and store.count() == 6
    assert "empty now" in summary.problems[0].what


async def test_a_missing_folder_and_a_second_writer_are_refused(store, tmp_path):
    with pytest.raises(BadInput, match="no folder"):
        await index(store, tmp_path / "nowhere")
    store.lock()
    other = Store(store.folder)
    with pytest.raises(Busy):
        await index(other, album(tmp_path / "photos", 2))
    other.close()


async def test_a_full_disk_is_said_and_what_was_done_stays(store, tmp_path):
    folder = album(tmp_path / "photos", 12)
    await index(store, folder)
    for number in range(100, 150):
        paint(folder / "more" / f"{number}.png", "pink", number, (320, 240))
    pages = store.rows("PRAGMA page_count")[0][0]
    store.rows(f"PRAGMA max_page_count = {pages + 30}")
    with pytest.raises(DiskFull, match="no room"):
        await index(store, folder)
    kept = store.count()
    assert 12 <= kept < 62
    assert store.rows("PRAGMA integrity_check") == [("ok",)]
    store.rows("PRAGMA max_page_count = 1000000")
    summary = await index(store, folder)
    assert summary.complete and store.count() == 62 and summary.added == 62 - kept


async def test_vectors_of_other_models_are_made_anew(store, tmp_path):
    class Longer(ColourEmbedder):
        dimension = 300

    folder = album(tmp_path / "photos", 6)
    await index(store, folder)
    known = store.vectors("text")[1].shape
    summary = await index(store, folder, FakeHost((Embedder, Longer(dimension=300))))
    assert (summary.added, summary.seen_again) == (0, 6)
    assert known[1] != 300 and store.vectors("text")[1].shape == (6, 300)


async def test_without_any_model_names_and_captions_are_still_indexed(store, tmp_path):
    class NoModel(ColourEmbedder):
        async def embed_images(self, images):
            raise ModelMissing("The model is not here.", "Fetch it.")

    folder = album(tmp_path / "photos", 4)
    eyes = Eyes(FakeHost((Embedder, NoModel())))
    summary = await Indexer(store, eyes).run(folder)
    assert summary.added == 4 and store.spaces() == {}
    assert set(eyes.missing) == {"image-text", "labels", "text", "image-features", "words"}
    later = await index(store, folder)
    assert (later.added, later.seen_again, store.spaces()) == (0, 4, {"text": 4})
    assert "paper" in store.rows("SELECT words FROM texts")[0][0]
    assert (await index(store, folder)).unchanged == 4


async def test_eyes_that_fail_for_a_while_leave_no_photo_half_seen(store, tmp_path, monkeypatch):
    class Failing(ColourEmbedder):
        async def embed_images(self, images):
            if 3 <= self.looked < 8:
                self.looked += 1
                raise CapabilityUnavailable("The plugin starts again.", "Wait.")
            return await super().embed_images(images)

    monkeypatch.setattr(features, "PAUSES", (0.0, 0.0))
    folder, given = album(tmp_path / "photos", 12), FakeHost((Embedder, Failing()))
    first = await index(store, folder, given)
    assert store.spaces()["text"] == store.count() == first.added == 12 - len(first.problems)
    await index(store, folder, given)
    assert store.spaces()["text"] == store.count() == 12 and store.problems() == []


async def test_days_with_photos_are_told_to_the_shared_memory_once(tmp_path):
    told = []

    class Notes:
        async def remember(self, moments):
            told.extend(moments)
            return [""] * len(moments)

    folder = tmp_path / "photos"
    for number, day in enumerate(("2024:07:31", "2024:07:31", "2024:08:02")):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[36867] = f"{day} 12:00:00"
        paint(folder / f"{number}.jpg", "blue", number, exif=exif)
    library = Library(tmp_path / "index", host((Memory, Notes())))
    await library.index(folder)
    assert [moment.data["photos"] for moment in told] == [2, 1]
    assert told[0].source == "photo" and "blue" in told[0].text and "31 July 2024" in told[0].text
    await library.index(folder)
    assert len(told) == 2
    assert library.forget(folder) == 3 and library.store.count() == 0
    library.close()


async def test_a_file_that_takes_for_ever_or_kills_its_decoder_costs_itself_alone(tmp_path, monkeypatch):
    from omni_image_search import workers

    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time, os\nfrom omni_image_search import decoder\nreal = decoder.answer\n"
        "def answer(operation, path):\n"
        "    if 'hang' in path: time.sleep(3600)\n    if 'die' in path: os._exit(3)\n    return real(operation, path)\n"
        "decoder.answer = answer\ndecoder.serve(sys.stdin.buffer, sys.stdout.buffer)\n"
    )
    real = workers.asyncio.create_subprocess_exec

    async def start(program, *args, **options):
        return await real(program, str(script), **options)

    monkeypatch.setattr(workers.asyncio, "create_subprocess_exec", start)
    good = paint(tmp_path / "good.png", "red")
    async with workers.Decoders(1, limit_s=1) as decoders:
        assert "longer than" in (await decoders.ask("decode", str(tmp_path / "hang.png"))).problem.what
        decoders._limit_s = 30.0  # a busy machine may take long over the others
        assert "decoder down" in (await decoders.ask("decode", str(tmp_path / "die.png"))).problem.what
        assert (await decoders.ask("decode", str(good))).decoded.width == 48
