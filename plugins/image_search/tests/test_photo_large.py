"""The index for very many photos: it finds what exact search finds, follows the store, and is rebuilt when behind."""

from __future__ import annotations

import numpy as np
import pytest
from omni_image_search.large import LargeIndex
from omni_image_search.matrix import Matrix, build_large
from omni_image_search.store import Store

pytest.importorskip("faiss", reason="faiss is an optional extra")


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fill(store: Store, rows: np.ndarray, start: int) -> None:
    with store.transaction() as db:
        values = [("text", start + i, row.astype("<f2").tobytes()) for i, row in enumerate(rows)]
        db.executemany("INSERT INTO vectors VALUES(?, ?, ?)", values)


def test_it_agrees_with_exact_search_and_takes_in_what_is_new(tmp_path):
    chance = np.random.default_rng(0)
    centres = chance.standard_normal((60, 32))
    rows = unit(centres[chance.integers(0, 60, 6000)] + 0.6 * chance.standard_normal((6000, 32)))
    store = Store(tmp_path)
    fill(store, rows, 1)
    assert build_large(store, exact=1000) == ["text"] and build_large(store, exact=1000) == []
    large, exact = Matrix(store, "text", exact=1000), Matrix(store, "text")
    large.refresh()
    exact.refresh()
    assert large.large is not None and len(large.ids) == 0 and len(large) == 6000
    found = []
    for query in unit(centres[:20] + 0.5 * chance.standard_normal((20, 32))):
        ids, scores = large.scores(query)
        everything, all_scores = exact.scores(query)
        best = set(everything[np.argsort(-all_scores)[:10]])
        found.append(len(best & set(ids[np.argsort(-scores)[:10]])) / 10)
        assert abs(scores.max() - all_scores.max()) < 0.2
    assert np.mean(found) > 0.95
    fresh = unit(chance.standard_normal((1, 32)))
    fill(store, fresh, 7001)
    large.refresh()
    ids, scores = large.scores(fresh[0])
    assert ids[np.argmax(scores)] == 7001
    assert np.allclose(large.of(7001), fresh[0], atol=1e-3) and np.allclose(large.of(5), rows[4], atol=1e-3)
    fill(store, rows[:900], 8000)
    assert build_large(store, exact=1000) == ["text"]
    store.close()


def test_a_torn_index_is_not_used(tmp_path):
    large = LargeIndex(tmp_path, "text")
    assert not large.load()
    rows = unit(np.random.default_rng(0).standard_normal((300, 8)))
    large.build([(np.arange(1, 301), rows)], 8, 300)
    assert LargeIndex(tmp_path, "text").load()
    (tmp_path / "text.ids").write_bytes(b"\0" * 80)
    assert not LargeIndex(tmp_path, "text").load()
