"""The journal: what is acknowledged is read back, whatever happens to the file's end."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omni_memory import journal as journals
from omni_memory.journal import MAGIC, Journal, Tail, frame, read_segment

from omni.errors import DiskFull, OmniError


def segment(tmp_path, records):
    path = tmp_path / "one.wal"
    path.write_bytes(MAGIC + b"".join(frame(r) for r in records))
    return path


def test_appended_records_are_read_in_order(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.append([{"n": 1}, {"n": 2}])
    journal.append([{"n": 3}])
    journal.seal()
    journal.append([{"n": 4}])
    read = [r["n"] for path in journal.segments() for r in read_segment(path).records]
    assert read == [1, 2, 3, 4]
    assert len(journal.sealed()) == 1


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=400))
def test_a_torn_tail_costs_only_the_torn_record(tmp_path_factory, cut):
    records = [{"n": n, "text": "x" * n} for n in range(12)]
    path = segment(tmp_path_factory.mktemp("torn"), records)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    read = read_segment(path)
    assert read.records == records[: len(read.records)]
    assert read.damaged == 0
    lost = sum(len(frame(r)) for r in records[len(read.records) :])
    longest = len(frame(records[len(read.records)])) if lost else 0
    assert lost < cut + max(longest, 1)


def test_a_damaged_record_in_the_middle_is_left_out_and_counted(tmp_path):
    path = segment(tmp_path, [{"n": n} for n in range(5)])
    data = bytearray(path.read_bytes())
    data[len(MAGIC) + len(frame({"n": 0})) + 8] ^= 0xFF
    path.write_bytes(data)
    read = read_segment(path)
    assert [r["n"] for r in read.records] == [0, 2, 3, 4]
    assert read.damaged == 1


def test_what_is_no_journal_holds_no_records(tmp_path):
    path = tmp_path / "other.wal"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert read_segment(path).records == []
    path.write_bytes(b"")
    assert read_segment(path).records == []


def test_reading_goes_on_where_it_ended(tmp_path):
    journal = Journal(tmp_path / "journal")
    tail = Tail(journal)
    assert list(tail.records()) == []
    journal.append([{"n": 1}])
    assert [r["n"] for r in tail.records()] == [1]
    journal.append([{"n": 2}])
    journal.drop([{"n": 3}])
    assert [r["n"] for r in tail.records()] == [1, 2, 3]
    journal.seal()
    journal.remove(journal.sealed())
    assert list(tail.records()) == []


@pytest.mark.parametrize("taken", [0, 5])
def test_a_full_disk_is_a_sentence_and_leaves_what_was_acknowledged(tmp_path, monkeypatch, taken):
    journal = Journal(tmp_path / "journal")
    journal.append([{"n": 1}])

    def full(file, data):
        os.write(file, data[:taken])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journals, "write_all", full)
        with pytest.raises(DiskFull, match="no room left to remember"):
            journal.append([{"n": 2}])
        with pytest.raises(DiskFull):
            journal.drop([{"n": 2}])
    journal.append([{"n": 3}])
    assert [r["n"] for p in journal.segments() for r in read_segment(p).records] == [1, 3]
    assert not list(journal.folder.glob("*.tmp"))


def test_a_full_disk_at_the_first_write_leaves_no_file(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal")
    with monkeypatch.context() as patch:
        patch.setattr(journals, "write_all", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(DiskFull):
            journal.append([{"n": 1}])
    assert journal.segments() == []
    journal.append([{"n": 2}])
    assert [r["n"] for p in journal.segments() for r in read_segment(p).records] == [2]


def test_other_trouble_is_named(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal")
    monkeypatch.setattr(
        journals, "write_all", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error"))
    )
    with pytest.raises(OmniError, match="Input/output error"):
        journal.append([{"n": 1}])
