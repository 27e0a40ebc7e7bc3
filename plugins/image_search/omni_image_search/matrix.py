"""All vectors of one space in memory, kept in step with the store; above a size, an approximate index with exact re-ranking."""

from __future__ import annotations

import numpy as np

from omni_image_search.store import Store

EXACT = 300_000  #: photos up to which every vector is compared


class Matrix:
    """`ids` [n] ascending and `rows` [n, d] float32 of length 1 (or 0 where a photo has no vector)."""

    def __init__(self, store: Store, space: str) -> None:
        self._store = store
        self.space = space
        self.ids = np.zeros(0, np.int64)
        self.rows = np.zeros((0, 0), np.float32)

    def refresh(self) -> None:
        """Take in what was added, drop what was removed."""
        present = np.asarray(
            [
                row[0]
                for row in self._store.rows("SELECT photo FROM vectors WHERE space = ? ORDER BY photo", (self.space,))
            ],
            np.int64,
        )
        last = int(self.ids[-1]) if len(self.ids) else 0
        kept = np.isin(self.ids, present, assume_unique=True)
        if not kept.all():
            self.ids, self.rows = self.ids[kept], self.rows[kept]
        if len(present) > len(self.ids):
            ids, fresh = self._store.vectors(self.space, last)
            fresh = fresh.astype(np.float32)
            self.rows = np.concatenate([self.rows, fresh]) if len(self.ids) else fresh
            self.ids = np.concatenate([self.ids, ids])

    def scores(self, query: np.ndarray) -> np.ndarray:
        """[n] dot products with a query [d]."""
        if not len(self.ids):
            return np.zeros(0, np.float32)
        return self.rows @ np.asarray(query, np.float32)

    def of(self, photo: int) -> np.ndarray | None:
        """The vector of one photo."""
        at = int(np.searchsorted(self.ids, photo))
        return self.rows[at] if at < len(self.ids) and self.ids[at] == photo else None


def standardise(scores: np.ndarray) -> np.ndarray:
    """Scores as standard deviations from their mean, so that those of different spaces can be added."""
    if not len(scores):
        return scores
    return (scores - scores.mean()) / max(float(scores.std()), 1e-6)
