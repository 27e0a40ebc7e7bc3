"""What an indexing run does with files that change, move, vanish, can't be read; and what a stop in it costs."""

import asyncio
import errno
import json
import os
import shutil

import pytest
from omni_rag import indexing, sandbox
from omni_rag.indexing import alone
from omni_rag.library import Library
from rag_made import FakeHost, Reader, Remembering, manual, pdf, text

from omni.errors import BadInput, Busy, DiskFull


@pytest.fixture
def folder(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "chair.pdf").write_bytes(manual())
    (docs / "notes.md").write_text("# Boiler\n\nKeep the pressure below two bar at all times of the year.\n")
    return docs


@pytest.fixture
def library(tmp_path):
    made = Library(tmp_path / "index", FakeHost())
    yield made
    made.close()


def content(library):
    """Everything the index holds, without the numbers of rows."""
    chunks = library.store.rows(
        "SELECT digest, page, kind, context, text, places, key FROM chunks ORDER BY 1, 2, 3, 5, 6"
    )
    vectors = library.store.rows("SELECT key, vector FROM vectors ORDER BY key")
    words = library.store.rows("SELECT rowid FROM words WHERE words MATCH 'legs OR pressure OR page' ORDER BY rowid")
    return chunks, vectors, len(words), library.store.rows("SELECT path, digest FROM files ORDER BY path")


async def test_a_second_run_reads_nothing(library, folder):
    first = await library.index([folder])
    assert (first.read, first.problems) == (2, [])
    before = content(library)
    assert len(before[1]) == len({row[6] for row in before[0] if row[2] != "page"})
    again = await library.index([folder])
    assert (again.read, again.unchanged) == (0, 2)
    assert content(library) == before


async def test_a_move_is_free_a_change_is_read_a_deletion_is_noticed(library, folder):
    await library.index([folder])
    (folder / "sub").mkdir()
    (folder / "chair.pdf").rename(folder / "sub" / "seat.pdf")
    (folder / "notes.md").write_text("The pump is new.\n")
    embedded = library.host.get(indexing.Embedder).texts
    summary = await library.index([folder])
    assert (summary.read, summary.moved, summary.gone) == (1, 1, 1)
    assert library.host.get(indexing.Embedder).texts == embedded + 1
    assert [document.name for document in library.store.documents()] == ["notes.md", "seat.pdf"]
    assert not library.store.rows("SELECT 1 FROM chunks WHERE text LIKE '%two bar%'")
    (folder / "sub" / "seat.pdf").unlink()
    assert (await library.index([folder])).gone == 1
    assert [document.name for document in library.store.documents()] == ["notes.md"]


async def test_a_folder_that_vanishes_while_it_is_read_loses_nothing(library, folder):
    for i in range(4):
        (folder / f"more{i}.txt").write_text(f"Text number {i} about pressure.")
    before = await library.index([folder])
    assert before.read == 6
    (folder / "notes.md").write_text("changed, and so it is read again")

    def vanish(progress):
        if folder.exists():
            shutil.rmtree(folder)

    summary = await library.index([folder], vanish)
    assert any("vanished" in message for _, _, message in summary.problems)
    assert summary.gone == 0
    assert len(library.store.documents()) == 6
    assert any("vanished" in message for _, _, message in library.store.problems())
    with pytest.raises(BadInput, match="is not there"):
        await library.index([folder])
    assert len(library.store.documents()) == 6


async def test_unreadable_files_are_told_and_the_rest_is_read(library, folder, monkeypatch):
    (folder / "locked.pdf").write_bytes(pdf([text(72, 700, "secret")], encrypt=True))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 and then nothing")
    (folder / "dangling.pdf").symlink_to(folder / "nowhere.pdf")
    (folder / "forbidden.txt").write_text("x")
    (folder / "nothing.pdf").touch()
    real = indexing.digest_of

    def guarded(file):
        if file.name == "forbidden.txt":  # the tests may run as root, who may read everything
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(file)

    monkeypatch.setattr(indexing, "digest_of", guarded)
    summary = await library.index([folder])
    assert summary.read == 2
    said = {os.path.basename(path): message for path, _, message in library.store.problems()}
    assert "password" in said["locked.pdf"] and "damaged" in said["broken.pdf"]
    assert "not there any more" in said["dangling.pdf"] and "permission denied" in said["forbidden.txt"]
    assert said["nothing.pdf"] == "it is empty"
    assert len(summary.problems) == 5
    (folder / "broken.pdf").write_bytes(manual("Another text."))
    again = await library.index([folder])
    assert again.read == 1 and "broken.pdf" not in {os.path.basename(path) for path, _, _ in library.store.problems()}


async def test_pages_without_text_are_read_by_text_recognition(tmp_path):
    from PIL import Image

    reader = Reader()
    library = Library(tmp_path / "index", FakeHost(TextReader=reader))
    path = tmp_path / "scan.pdf"
    pages = [Image.new("L", (850, 1100), 255 - i) for i in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:], resolution=100)
    try:
        summary = await library.index([path])
        assert summary.problems == [] and reader.calls == 3
        answer = await library.ask("What must the boiler pressure stay below?", word=False)
        assert answer.supported and answer.citations[0].document == "scan.pdf"
        left, top, right, bottom = answer.citations[0].box
        assert (left, top, right, bottom) == pytest.approx((10, 15, 300, 30), abs=1)
    finally:
        library.close()


async def test_without_text_recognition_a_scan_is_a_problem(tmp_path):
    from PIL import Image

    library = Library(tmp_path / "index", FakeHost(TextReader=None))
    Image.new("L", (850, 1100), 255).save(tmp_path / "scan.pdf", resolution=100)
    try:
        summary = await library.index([tmp_path / "scan.pdf"])
        assert [(page, "no text recognition" in message) for _, page, message in summary.problems] == [(0, True)]
        library.host = FakeHost()  # now there is one
        summary = await library.index([tmp_path / "scan.pdf"])
        assert (summary.read, summary.problems) == (1, [])
        assert (await library.find("boiler pressure"))[0].document == "scan.pdf"
    finally:
        library.close()


async def test_pages_that_waited_for_text_recognition_are_read_when_it_is_there(tmp_path):
    from PIL import Image

    Image.new("L", (850, 1100), 255).save(tmp_path / "scan.pdf", resolution=100)
    (tmp_path / "mixed.pdf").write_bytes(pdf([text(72, 700, "Page one is text."), b"q 400 0 0 400 72 200 cm /I Do Q"]))
    library = Library(tmp_path / "index", FakeHost(TextReader=None))
    try:
        assert (await library.index([tmp_path])).read == 1
        again = await library.index([tmp_path])
        assert (again.read, again.unchanged) == (0, 1)  # nothing has changed: nothing is read again
        library.host = FakeHost()
        summary = await library.index([tmp_path])
        assert summary.problems == [] and "scan.pdf" in [one.name for one in library.store.documents()]
        assert (await library.index([tmp_path])).unchanged == 2
    finally:
        library.close()


async def test_what_was_wrong_before_a_stop_is_still_told(tmp_path, monkeypatch):
    from omni_rag import reading

    path = tmp_path / "two.pdf"
    path.write_bytes(manual())
    library = Library(tmp_path / "index", FakeHost())

    async def parsed(_path, _limits, first=1):
        yield {"type": "open", "pages": 2, "title": ""}
        if first == 1:
            yield {"type": "problem", "page": 1, "message": "it took more than 3 s"}
        page = {"number": 2, "width": 612, "height": 792, "scanned": False}
        block = {"kind": "text", "text": "The warranty lasts ten years.", "box": (72, 100, 300, 112)}
        block |= {"lines": [], "rows": [], "row_boxes": [], "caption": "", "near": ""}
        if first <= 2:
            yield {"type": "page", "page": page | {"blocks": [block]}, "crops": []}

    def stop(progress):
        if progress.page == 2:
            raise KeyError

    monkeypatch.setattr(reading, "parse", parsed)
    try:
        with pytest.raises(KeyError):
            await library.index([path], stop)
        summary = await library.index([path])
        assert [(page, message) for _, page, message in summary.problems] == [(1, "it took more than 3 s")]
    finally:
        library.close()


async def test_a_stop_in_the_middle_goes_on_where_it_stopped(tmp_path, folder):
    whole = Library(tmp_path / "whole", FakeHost())
    await whole.index([folder])
    library = Library(tmp_path / "index", FakeHost())

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.page == 1 and progress.of == 2:
            raise Stop

    with pytest.raises(Stop):
        await library.index([folder], stop)
    assert library.store.documents() == []
    assert len(library.store.pages(library.store.rows("SELECT digest FROM contents")[0][0])) == 1
    read = []
    summary = await library.index([folder], lambda progress: read.append((progress.now, progress.page)))
    assert (str(folder / "chair.pdf"), 1) not in read and summary.read == 2
    assert content(library) == content(whole)
    library.close()
    whole.close()


async def test_a_full_disk_is_a_sentence_and_nothing_is_lost(library, folder, monkeypatch):
    await library.index([folder])
    before = content(library)
    (folder / "long.txt").write_text(
        "\n\n".join(f"Paragraph {i} about pressure and many other things." for i in range(3000))
    )
    pages = library.store.rows("PRAGMA page_count")[0][0]
    library.store.rows(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(DiskFull, match="no room left"):
        await library.index([folder])
    assert content(library)[0] == before[0]
    library.store.rows("PRAGMA max_page_count = 1073741823")
    assert (await library.index([folder])).read == 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(DiskFull, match="MB are free"):
        await library.index([folder])


async def test_one_indexing_at_a_time(library, folder):
    with alone(library.store.folder), pytest.raises(Busy):
        await library.index([folder])


async def test_without_an_embedder_words_are_searched_and_vectors_come_later(tmp_path, folder):
    library = Library(tmp_path / "index", FakeHost(Embedder=None, Reranker=None))
    await library.index([folder])
    assert library.store.missing_vectors() > 0
    assert (await library.find("boiler pressure"))[0].document == "notes.md"
    library.host = FakeHost()
    await library.index([folder])
    assert library.store.missing_vectors() == 0
    library.close()


async def test_the_memory_is_told_and_forgets(tmp_path, folder):
    memory = Remembering()
    library = Library(tmp_path / "index", FakeHost(Memory=memory))
    await library.index([folder])
    assert {(m.source, m.data["document"], m.data["page"]) for m in memory.kept.values()} == {
        ("document", "chair.pdf", 1), ("document", "chair.pdf", 2), ("document", "notes.md", 1),
    }  # fmt: skip
    assert await library.forget(["chair"]) == ["chair.pdf"]
    assert {m.data["document"] for m in memory.kept.values()} == {"notes.md"}
    assert (folder / "chair.pdf").exists()
    library.close()


def test_hostile_file_names_stay_names(tmp_path):
    from omni_rag.showing import sentence

    name = json.loads('"a\\u202eb.pdf"')
    assert name in sentence(str(tmp_path / name), 3, "it is damaged")


async def test_a_reading_that_is_given_up_ends_also_while_much_of_it_waits_to_be_taken(tmp_path, monkeypatch):
    started = []
    real = asyncio.create_subprocess_exec

    async def start(*command, **options):
        started.append(await real(*command, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    (tmp_path / "long.txt").write_text("\n\n".join(f"Paragraph {i} about pressure." for i in range(40_000)))
    async with asyncio.timeout(60):
        answers = sandbox.parse(tmp_path / "long.txt", sandbox.Limits())
        await anext(answers)
        while not started[0].stdout._paused:  # the buffer is full, and the end behind it can't be seen  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await answers.aclose()
    assert started[0].returncode is not None
