"""The store: recall across journal and tables, forgetting, locking, versions, damage."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from omni_memory import journal as journals
from omni_memory import retention, schema
from omni_memory.schema import Filter, MemoryDamaged, MemoryTooNew
from omni_memory.store import Store

from omni.capabilities import Moment
from omni.errors import BadInput, DiskFull, OmniError

HOUR = 3600.0


def moment(text, at=1000.0, source="speech", **more):
    return Moment(source, text, at, at + 1.0, **more)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "memory", flush_s=HOUR)  # only the test flushes
    opened.open()
    yield opened
    opened.close()


def texts(found):
    return [getattr(f, "moment", f).text for f in found]


def recall(store, query="", vector=None, limit=5, **where):
    return store.recall(query, vector, "text", limit, Filter(**where))


def direction(angle):
    return np.float32([np.cos(angle), np.sin(angle)])


@pytest.mark.parametrize("flushed", [False, True], ids=["in the journal", "in the tables"])
class TestRecall:
    def fill(self, store, flushed):
        ids = store.remember([
            moment("the red bicycle stands in the cellar", 1000.0, session="a", vectors={"text": direction(0.0)}),
            moment("tax papers lie on the desk", 2000.0, session="b", vectors={"text": direction(1.0)}),
            moment("an error about tax rates", 3000.0, "screen", session="b", vectors={"text": direction(2.0)}),
        ])  # fmt: skip
        if flushed:
            store.flush()
            assert store.fresh().moments == {}
        return ids

    def test_by_words(self, store, flushed):
        self.fill(store, flushed)
        assert texts(recall(store, "bicycles")) == ["the red bicycle stands in the cellar"]

    def test_by_meaning(self, store, flushed):
        self.fill(store, flushed)
        found = recall(store, vector=direction(0.9))
        assert texts(found)[0] == "tax papers lie on the desk"
        assert found[0].ranks == {"vector": 1}

    def test_both_lists_are_fused(self, store, flushed):
        self.fill(store, flushed)
        found = recall(store, "tax", direction(2.1))
        assert texts(found)[0] == "an error about tax rates"
        assert set(found[0].ranks) == {"vector", "text"}

    def test_filters_are_exact(self, store, flushed):
        self.fill(store, flushed)
        assert texts(recall(store, "tax", direction(1.0), sources=("screen",))) == ["an error about tax rates"]
        assert texts(recall(store, "tax", direction(1.0), sessions=("a",))) == ["the red bicycle stands in the cellar"]
        assert texts(recall(store, "tax", after=2000.0, before=3000.0)) == ["tax papers lie on the desk"]

    def test_without_a_query_the_latest_come_first(self, store, flushed):
        self.fill(store, flushed)
        assert texts(recall(store, limit=2)) == ["an error about tax rates", "tax papers lie on the desk"]

    def test_a_hostile_query_is_only_words(self, store, flushed):
        self.fill(store, flushed)
        recall(store, "') OR 1=1; DROP TABLE moments; -- \" * (bicycle")
        assert recall(store, "tax", sessions=("b' OR '1'='1",)) == []
        assert len(list(store.moments(Filter()))) == 3

    def test_forgetting(self, store, flushed):
        ids = self.fill(store, flushed)
        assert store.forget(Filter(ids=(ids[0],))) == 1
        assert recall(store, "bicycle", direction(0.0), sessions=("a",)) == []
        assert store.get(ids[0]) is None
        assert len(list(store.moments(Filter()))) == 2


def test_journal_and_tables_are_recalled_together(store):
    store.remember([moment("the cat sleeps", 1.0, vectors={"text": direction(0.0)})])
    store.flush()
    store.remember([moment("the cat sleeps on the warm roof", 2.0, vectors={"text": direction(0.1)})])
    assert texts(recall(store, "cat on a warm roof", direction(0.1))) == [
        "the cat sleeps on the warm roof",
        "the cat sleeps",
    ]


def test_what_comes_back_is_what_was_given(store):
    given = Moment(
        "document", "Größe — 日本語 'quoted'", 5.0, 9.0, session="s", turn=7, data={"page": 3, "box": [1.5, None]},
        media=("a.pdf", "b.png"),
    )  # fmt: skip
    (item,) = store.remember([given])
    journalled = store.get(item)
    store.flush()
    assert store.get(item) == journalled
    assert (journalled.text, journalled.data, journalled.media) == (given.text, given.data, given.media)
    assert (journalled.start, journalled.end, journalled.turn) == (5.0, 9.0, 7)


def test_the_same_words_count_once(store):
    store.remember([moment("good morning", at) for at in (1.0, 2.0, 3.0)])
    assert texts(recall(store, "good morning")) == ["good morning"]


def test_an_id_given_again_replaces(store):
    store.remember([moment("first", id="fixed")])
    store.flush()
    store.remember([moment("second", id="fixed")])
    assert texts(store.moments(Filter())) == ["second"]
    store.flush()
    assert texts(store.moments(Filter())) == ["second"]


def test_vectors_may_come_later(store):
    ids = store.remember([moment("one"), moment("two")])
    store.flush()
    store.add_vectors("text", dict(zip(ids, [direction(0.0), direction(1.5)], strict=True)))
    store.flush()
    assert texts(recall(store, vector=direction(1.5)))[0] == "two"
    assert store.tables.without_vector("text") == []


def test_spaces_are_separate_and_a_wrong_dimension_keeps_the_moment(store):
    store.remember([moment("first", vectors={"text": direction(0.0), "image-text": np.ones(5)})])
    store.flush()
    store.remember([moment("second", vectors={"text": np.ones(3)})])
    store.flush()
    assert store.tables.dimension("image-text") == 5
    assert texts(recall(store, "second")) == ["second"]
    with pytest.raises(BadInput, match="2 dimensions"):
        recall(store, vector=np.ones(3))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Moment("", "x", 1.0, 2.0), "source"),
        (Moment("speech", "x", 2.0, 1.0), "last from"),
        (Moment("speech", "x", float("nan"), 1.0), "last from"),
        (Moment("speech", "x" * 100_001, 1.0, 2.0), "100001 characters"),
        (Moment("speech", "x", 1.0, 2.0, id="../../etc"), "id"),
        (Moment("speech", "x", 1.0, 2.0, data={"f": float("inf")}), "JSON"),
        (Moment("speech", "x", 1.0, 2.0, data={"f": object()}), "JSON"),
        (Moment("speech", "x", 1.0, 2.0, vectors={"text": np.zeros(3)}), "zero"),
        (Moment("speech", "x", 1.0, 2.0, vectors={"text": np.full(3, np.nan)}), "finite"),
        (Moment("speech", "x", 1.0, 2.0, vectors={"text": np.ones((2, 2))}), "shape"),
        (Moment("speech", "x", 1.0, 2.0, vectors={"../x": np.ones(2)}), "space"),
    ],
)
def test_what_cannot_be_kept_is_refused_whole(store, bad, says):
    with pytest.raises(BadInput, match=says):
        store.remember([moment("good"), bad])
    assert list(store.moments(Filter())) == []


def test_a_broken_surrogate_is_no_obstacle(store):
    store.remember([moment("half \ud83d an emoji")])
    store.flush()
    assert texts(store.moments(Filter())) == ["half ? an emoji"]


# --- forgetting -----------------------------------------------------------------------------------


def files_with(folder, needle):
    return [p.name for p in folder.rglob("*") if p.is_file() and needle in p.read_bytes()]


def test_forgotten_bytes_are_nowhere(store):
    secret = np.random.default_rng(1).standard_normal(64).astype(np.float32)
    secret /= np.linalg.norm(secret)
    store.remember(
        [moment(f"small talk number {n}", n, session="a", vectors={"text": np.eye(64)[n]}) for n in range(40)]
    )
    told = store.remember([moment("the safe opens with zanzibarquux", 50.0, session="b", vectors={"text": secret})])
    rest = [moment("they spoke of zanzibarquux", 60.0, "summary", session="b", data={"of": told})]
    store.remember(rest)
    store.flush()
    store.tables.optimise()
    store.remember([moment("zanzibarquux again", 70.0, session="b")])
    needles = [b"zanzibarquux", secret.tobytes()]
    assert all(files_with(store.folder, needle) for needle in needles), "the search must be able to find them"
    assert store.forget(Filter(ids=tuple(told))) == 2  # the summary rests on it
    assert store.forget(Filter(sessions=("b",))) == 1
    assert [files_with(store.folder, needle) for needle in needles] == [[], []]
    assert files_with(store.folder, b"small talk number 7"), "the rest is still there"
    assert recall(store, "zanzibarquux") == []
    assert len(store.tables._table("moments").list_versions()) == 1


def test_forgetting_without_saying_what_is_refused(store):
    store.remember([moment("stays")])
    with pytest.raises(BadInput, match="what to forget"):
        store.forget(Filter())
    with pytest.raises(BadInput, match="Unix seconds"):
        store.forget(Filter(before=float("nan")))
    assert store.forget(Filter(ids=("nothere",))) == 0
    assert texts(store.moments(Filter())) == ["stays"]


def test_retention_by_age_spares_notes(store):
    day = 86400.0
    store.remember([moment("old", 1 * day), moment("old note", 1 * day, "note"), moment("new", 99 * day)])
    store.flush()
    assert retention.retain(store, days=30, max_mb=0, at=100 * day) == 1
    assert texts(store.moments(Filter())) == ["old note", "new"]


def test_retention_by_size_forgets_the_oldest(store):
    store.remember([moment(f"number {n} " + "filler " * 2000, float(n)) for n in range(40)])
    store.flush()
    assert store.size() > 300_000
    assert retention.retain(store, days=0, max_mb=0.3) > 0
    left = texts(store.moments(Filter()))
    assert store.size() <= 300_000
    assert left[-1].startswith("number 39 ")
    assert 0 < len(left) < 40


# --- processes ------------------------------------------------------------------------------------


def test_a_second_one_reads_and_hands_over(store):
    store.remember([moment("from the first", 1.0)])
    store.flush()
    other = Store(store.folder, flush_s=HOUR)
    other.open()
    try:
        assert (store.writer, other.writer) == (True, False)
        store.remember([moment("journalled by the first", 2.0)])
        assert texts(other.moments(Filter())) == ["from the first", "journalled by the first"]
        other.remember([moment("from the second", 3.0)])
        assert texts(recall(store, "second")) == ["from the second"]
        store.flush()
        assert texts(other.moments(Filter()))[-1] == "from the second"
        store.forget(Filter(before=1.5))
        assert texts(recall(other, "first second")) == ["from the second", "journalled by the first"]
    finally:
        other.close()


def test_forgetting_from_a_second_process_waits_for_the_writer(tmp_path):
    first = Store(tmp_path / "memory", flush_s=0.02)
    second = Store(tmp_path / "memory")
    first.open()
    second.open()
    try:
        first.remember([moment("a secret", 1.0), moment("the rest", 2.0)])
        first.flush()
        assert second.forget(Filter(before=1.5)) == 1
        assert not files_with(first.folder, b"a secret")
        assert texts(second.moments(Filter())) == ["the rest"]
    finally:
        second.close()
        first.close()


def test_when_the_writer_ends_the_next_takes_over(store):
    other = Store(store.folder, flush_s=HOUR)
    other.open()
    try:
        store.remember([moment("before", 1.0)])
        store.close()
        other.remember([moment("after", 2.0)])
        assert other.writer
        other.flush()
        assert texts(other.moments(Filter())) == ["before", "after"]
    finally:
        other.close()


def test_another_process_sees_what_this_one_keeps(store):
    store.remember([moment("across the border", 1.0)])
    store.flush()
    store.remember([moment("still in the journal", 2.0)])
    script = textwrap.dedent(f"""
        from pathlib import Path
        from omni.capabilities import Moment
        from omni_memory.store import Store
        from omni_memory.schema import Filter
        store = Store(Path({str(store.folder)!r}))
        store.open()
        print(store.writer, [m.text for m in store.moments(Filter())])
        store.remember([Moment("note", "handed over", 3.0, 3.0)])
        store.close()
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False ['across the border', 'still in the journal']"
    assert texts(recall(store, "handed over")) == ["handed over"]


# --- versions and damage --------------------------------------------------------------------------


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("meta", "error"),
    [
        (json.dumps({"format": "omni-memory", "schema": schema.SCHEMA + 1}), MemoryTooNew),
        (json.dumps({"format": "something else", "schema": 1}), MemoryDamaged),
        ("{", MemoryDamaged),
        ("[]", MemoryDamaged),
        (json.dumps({"format": "omni-memory", "schema": "2"}), MemoryDamaged),
    ],
)
def test_a_folder_of_a_newer_version_or_another_kind_is_left_alone(tmp_path, meta, error):
    folder = tmp_path / "memory"
    (folder / "lance").mkdir(parents=True)
    (folder / "lance" / "future.bin").write_bytes(b"from tomorrow")
    (folder / "meta.json").write_text(meta)
    before = tree(folder)
    with pytest.raises(error) as raised:
        Store(folder).open()
    assert raised.value.remedy
    assert tree(folder) == before


def test_tables_without_their_description_are_not_written_over(tmp_path):
    (tmp_path / "memory" / "lance").mkdir(parents=True)
    with pytest.raises(MemoryDamaged, match=r"without its meta\.json"):
        Store(tmp_path / "memory").open()


def test_a_thread_that_comes_while_another_imports_the_library_waits(tmp_path):
    """LanceDB's modules import each other in circles: a second thread that began with another one made both fail."""
    code = """
        import sys, threading, time
        from pathlib import Path
        from omni_memory.tables import MOMENTS, Tables

        tables, failed = Tables(Path("lance"), writable=True), []

        def go(work):
            try:
                work()
            except ImportError as error:
                failed.append(str(error))

        first = threading.Thread(target=go, args=(tables._connect,))
        first.start()
        while "lancedb" not in sys.modules:
            time.sleep(0.001)
        go(lambda: tables._indices(MOMENTS))
        first.join()
        print(failed)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def first_schema(folder):
    """A folder as schema 1 wrote it: one table, the vector in a column, no turn, no media."""
    import lancedb
    import pyarrow as pa

    rows = [
        {
            "id": f"old{n}", "source": "speech", "text": f"old fact number {n}", "start": float(n), "end": n + 0.5,
            "session": "then", "data": json.dumps({"n": n}), "vector": direction(n).tolist(),
        }
        for n in range(5)
    ]  # fmt: skip
    plain = pa.string()
    old = pa.schema([
        ("id", plain), ("source", plain), ("text", plain), ("start", pa.float64()), ("end", pa.float64()),
        ("session", plain), ("data", plain), ("vector", pa.list_(pa.float32(), 2)),
    ])  # fmt: skip
    folder.mkdir()
    lancedb.connect(folder / "lance").create_table("moments", pa.Table.from_pylist(rows, schema=old))
    schema.write_version(folder, 1)


def test_an_older_folder_is_brought_up_to_date(tmp_path):
    first_schema(tmp_path / "memory")
    store = Store(tmp_path / "memory", flush_s=HOUR)
    store.open()
    try:
        assert schema.read_version(store.folder) == schema.SCHEMA
        assert [(m.text, m.data, m.turn, m.media) for m in store.moments(Filter())] == [
            (f"old fact number {n}", {"n": n}, 0, ()) for n in range(5)
        ]
        assert texts(recall(store, "number", direction(3.0)))[0] == "old fact number 3"
        store.remember([moment("new fact", 9.0, turn=2, media=("x",), vectors={"text": direction(5.5)})])
        store.flush()
        assert [m.turn for m in store.moments(Filter(after=8.0))] == [2]
        assert len(recall(store, "fact", limit=9)) == 6
    finally:
        store.close()


def test_a_migration_that_was_cut_off_can_be_repeated(tmp_path):
    first_schema(tmp_path / "memory")
    store = Store(tmp_path / "memory")
    store.open()
    store.close()
    schema.write_version(tmp_path / "memory", 1)  # as if it had been killed just before the last step
    store.open()
    try:
        assert len(list(store.moments(Filter()))) == 5
        assert texts(recall(store, vector=direction(3.0)))[0] == "old fact number 3"
    finally:
        store.close()


# --- trouble --------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_and_goes_on(store, monkeypatch):
    store.remember([moment("kept before", 1.0)])
    with monkeypatch.context() as patch:
        patch.setattr(journals, "write_all", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(DiskFull):
            store.remember([moment("no room", 2.0)])
        assert texts(recall(store, "kept")) == ["kept before"]
    store.remember([moment("room again", 3.0)])
    store.flush()
    assert texts(store.moments(Filter())) == ["kept before", "room again"]


def test_when_the_tables_cannot_be_written_the_journal_keeps_it(store, monkeypatch):
    store.remember([moment("kept", 1.0)])
    with monkeypatch.context() as patch:
        patch.setattr(store.tables, "put", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space")))
        with pytest.raises(OmniError, match="no space"):
            store.flush()
        assert store.trouble
        assert texts(recall(store, "kept")) == ["kept"]
    store.flush()
    assert store.trouble == ""
    assert texts(recall(store, "kept")) == ["kept"]


def test_a_flush_killed_before_the_journal_was_let_go_writes_nothing_twice(tmp_path, monkeypatch):
    store = Store(tmp_path / "memory", flush_s=HOUR)
    store.open()
    store.remember([moment("once", 1.0, vectors={"text": direction(0.0)})])
    monkeypatch.setattr(store._journal, "remove", lambda paths: None)  # the kill
    store.flush()
    store.close()
    again = Store(tmp_path / "memory", flush_s=HOUR)
    again.open()
    try:
        again.flush()
        assert texts(again.moments(Filter())) == ["once"]
        assert again.tables.vectors("text") == 1
    finally:
        again.close()


def test_close_is_idempotent_and_leaves_no_thread(tmp_path):
    import threading

    before = set(threading.enumerate())
    store = Store(tmp_path / "memory")
    store.open()
    store.remember([moment("x")])
    store.close()
    store.close()
    left = [t.name for t in set(threading.enumerate()) - before if t.name.startswith("memory")]
    assert left == []
