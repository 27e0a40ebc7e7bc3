"""All vectors of one space, kept in step with the store: in memory and exact, or above a size by an index."""

from __future__ import annotations

import numpy as np

from omni_image_search.large import LargeIndex
from omni_image_search.store import Store

EXACT = 300_000  #: photos up to which every vector is compared
CANDIDATES = 1000  #: photos an index gives for a question; the others count as usual ones
NEAR = 2.0  #: a component of a question counts if it is at least exp(-2) of the largest
SAMPLE = 20_000  #: photos the mean and the deviation are taken from where not all are compared


class Matrix:
    """`ids` [n] ascending and `rows` [n, d] float32 of length 1; with an index, only those newer than it."""

    def __init__(self, store: Store, space: str, exact: int = EXACT) -> None:
        self._store = store
        self._exact = exact
        self.space = space
        self.ids = np.zeros(0, np.int64)
        self.rows = np.zeros((0, 0), np.float32)
        self.large: LargeIndex | None = None

    def refresh(self) -> None:
        """Take in what was added, drop what was removed."""
        known = self._store.rows("SELECT photo FROM vectors WHERE space = ? ORDER BY photo", (self.space,))
        present = np.asarray([row[0] for row in known], np.int64)
        if self.large is None and len(present) > self._exact:
            large = LargeIndex(self._store.folder, self.space)
            self.large = large if large.load() else None
        newest = int(self.large.ids[-1]) if self.large is not None else 0
        last = int(self.ids[-1]) if len(self.ids) else newest
        kept = np.isin(self.ids, present, assume_unique=True) & (self.ids > newest)
        if not kept.all():
            self.ids, self.rows = self.ids[kept], self.rows[kept]
        if (present > last).any() or (not len(self.ids) and len(present) and self.large is None):
            ids, fresh = self._store.vectors(self.space, last)
            fresh = fresh.astype(np.float32)
            self.rows = np.concatenate([self.rows, fresh]) if len(self.ids) else fresh
            self.ids = np.concatenate([self.ids, ids])

    @property
    def length(self) -> int:
        """Of one vector."""
        return self.large.length if self.large is not None else self.rows.shape[1]

    def __len__(self) -> int:
        return len(self.ids) + (len(self.large.ids) if self.large is not None else 0)

    def scores(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ids ascending, standardised scores) of all photos, or of an index's candidates and the newest photos."""
        ids, above, deviation = self.above(query)
        return ids, above / deviation

    def above(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """The same as (ids, cosines above the mean photo's, their standard deviation)."""
        query = np.asarray(query, np.float32)
        newest = self.rows @ query if len(self.ids) else np.zeros(0, np.float32)
        if self.large is None:
            if not len(newest):
                return self.ids, newest, 1.0
            return self.ids, newest - newest.mean(), max(float(newest.std()), 1e-6)
        sample = self.large.sample(SAMPLE) @ query
        found, scores = self.large.search(query, CANDIDATES)
        order = np.argsort(found)
        ids, values = np.concatenate([found[order], self.ids]), np.concatenate([scores[order], newest])
        return ids, (values - sample.mean()).astype(np.float32), max(float(sample.std()), 1e-6)

    def shown(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """(ids, how much the photo shows of the one thing asked for that it shows most), in a space whose components
        are things; those count that are about as near to the question as the nearest. None for an index's candidates.
        """
        if self.large is not None:
            return None
        share = np.maximum(query, 1e-12) / max(float(query.max()), 1e-12)
        asked = 1.0 + np.log(share) / NEAR
        about = np.flatnonzero(asked > 0)
        return self.ids, (self.rows[:, about] * asked[about]).max(axis=1) if len(self.ids) else self.ids * 0.0

    def of(self, photo: int) -> np.ndarray | None:
        """The vector of one photo."""
        at = int(np.searchsorted(self.ids, photo))
        if at < len(self.ids) and self.ids[at] == photo:
            return self.rows[at]
        return self.large.of(photo) if self.large is not None else None


def build_large(store: Store, exact: int = EXACT) -> list[str]:
    """Build the index of every space that has outgrown exact search, or whose index is a tenth behind."""
    built = []
    for space, count in store.spaces().items():
        large = LargeIndex(store.folder, space)
        if count <= exact or (large.load() and abs(count - len(large.ids)) < count / 10):
            continue
        dimension = store.vectors(space, limit=1)[1].shape[1]
        large.build(store.blocks(space), dimension, count)
        built.append(space)
    return built


def standardise(scores: np.ndarray) -> np.ndarray:
    """Scores as standard deviations from their mean, so that those of different spaces can be added."""
    if not len(scores):
        return scores
    return (scores - scores.mean()) / max(float(scores.std()), 1e-6)
