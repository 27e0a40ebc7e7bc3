"""The contract kit itself: what it sees of a plugin's writing, and what it leaves behind."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from omni.host.contract.sentinels import watch_touch
from omni.host.contract.subject import Subject

GALLERY = Path(__file__).parent / "gallery"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which folder a file descriptor is")
def test_what_is_removed_in_an_open_folder_is_named_by_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "there" / "inner").mkdir(parents=True)
    (tmp_path / "there" / "inner" / "file").write_text("x")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with watch_touch() as touched:
        shutil.rmtree(tmp_path / "there")
    there = tmp_path / "there"
    assert {Path(path) for path in touched.written} == {there / "inner" / "file", there / "inner", there}


def test_a_subject_takes_its_folder_with_it_when_its_block_ends():
    with Subject(GALLERY / "gallery_settings") as subject:
        assert subject.data.is_dir()
    assert not subject.data.exists()
