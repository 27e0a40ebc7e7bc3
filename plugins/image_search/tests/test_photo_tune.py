"""Tuning: it gains where captions say something, refuses where they don't, and can be taken back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from omni_image_search import tune
from omni_image_search.records import Photo
from omni_image_search.store import Store

from omni.capabilities import Embedder
from omni.errors import BadInput
from omni.testing import BagOfWords, FakeHost

WORDS = [f"thing{i}" for i in range(40)]


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def filled(folder: Path, count: int, telling: bool = True) -> Store:
    """Photos of two things each: the features show both, the plain vector says nothing, the caption names them."""
    store, chance = Store(folder), np.random.default_rng(3)
    looks = chance.standard_normal((len(WORDS), 64))
    plain = unit(chance.standard_normal((count, 256)))
    with store.transaction() as db:
        for i in range(count):
            one, other = chance.choice(len(WORDS), 2, replace=False)
            caption = f"{WORDS[one]} {WORDS[other]}" if telling else f"{WORDS[chance.integers(40)]} {i}"
            vectors = {"text": plain[i], "image-features": unit((looks[one] + looks[other])[None])[0]}
            photo = Photo(f"{i:064x}", 1, 1, "JPEG", 1, i, None, None, "", "", "", "", caption, b"")
            store.link(db, f"/p/{i}.jpg", store.add_photo(db, photo, vectors), 1, 1, "/p", 1)
    return store


def host() -> FakeHost:
    return FakeHost((Embedder, BagOfWords()))


async def test_telling_captions_are_learned_kept_and_taken_back(tmp_path):
    store = filled(tmp_path, 400)
    report = await tune.tune(store, host())
    assert report["captioned"] == 400 and report["held_out"] == 100
    assert report["plain"]["recall@10"] < 0.3 < 0.8 < report["tuned"]["recall@10"]
    assert tune.load(store).report["tuned"] == report["tuned"]
    assert tune.revert(store) and tune.load(store) is None and not tune.revert(store)
    store.close()


async def test_photos_with_labels_are_learned_from_where_nobody_knows_labels_any_more(tmp_path):
    store = filled(tmp_path, 120)
    with store.transaction() as db:
        row = np.ones(8, "<f2").tobytes()
        db.execute("INSERT INTO vectors SELECT 'labels', id, ? FROM photos", (row,))
    report = await tune.tune(store, host())
    assert report["tuned"]["recall@10"] > report["plain"]["recall@10"] and tune.load(store) is not None
    store.close()


async def test_too_few_or_empty_captions_are_refused_and_change_nothing(tmp_path):
    few = filled(tmp_path / "few", tune.FEWEST - 1)
    with pytest.raises(BadInput, match="are needed"):
        await tune.tune(few, host())
    few.close()
    torn = filled(tmp_path / "torn", 80)
    (torn.folder / tune.FILE).write_bytes(b"torn")
    assert tune.load(torn) is None
    torn.close()


def test_a_name_counts_as_a_caption_only_where_it_tells_something():
    assert tune.telling_name("/a/two dogs on the beach 3.jpg") == "two dogs on the beach"
    for name in ("IMG_2041.jpg", "DSC00012.JPG", "20240731_1230.jpg", "Screenshot 2024.png", "photo copy.jpg", "x.jpg"):
        assert tune.telling_name(f"/a/{name}") == "", name
