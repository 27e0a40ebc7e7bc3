"""Above some hundred thousand photos: coarse lists of 8-bit codes find candidates, exact float16 vectors rank them.

Codes alone lose half of the neighbours at a few bytes a vector; ten times as many candidates, compared again
with the vectors themselves, lose next to none. The vectors stay on the disk and are mapped, the codes are in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from omni.errors import CapabilityUnavailable

OVERSAMPLE = 4  #: candidates compared again, per photo wanted, and at least:
LEAST = 400
PROBES = 48  #: of the lists
TRAIN = 100_000


class LargeIndex:
    """Files below `folder`: `NAME.faiss`, `NAME.f16`, `NAME.ids`, `NAME.json`. Built anew when a tenth has changed."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.ids = np.zeros(0, np.int64)
        self._rows: np.ndarray | None = None
        self._index: Any = None
        self._sample: np.ndarray | None = None

    def build(self, blocks: Iterable[tuple[np.ndarray, np.ndarray]], dimension: int, count: int, seed: int = 0) -> None:
        """From blocks (ids [n] ascending, rows [n, dimension]), `count` rows in all.

        Raises `CapabilityUnavailable` without faiss.
        """
        faiss = _faiss()
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = np.memmap(self._path("f16"), np.float16, "w+", shape=(count, dimension))
        ids, at = np.empty(count, np.int64), 0
        for some, block in blocks:
            rows[at : at + len(some)] = block
            ids[at : at + len(some)] = some
            at += len(some)
        rows.flush()
        sample = np.sort(np.random.default_rng(seed).permutation(count)[:TRAIN])
        lists = max(1, min(2048, count // 100))
        quantiser = faiss.IndexFlatIP(dimension)
        index = faiss.IndexIVFScalarQuantizer(
            quantiser, dimension, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.niter = 10
        index.train(rows[sample].astype(np.float32))
        for start in range(0, count, 50_000):
            index.add(rows[start : start + 50_000].astype(np.float32))
        faiss.write_index(index, str(self._path("faiss")))
        self._path("ids").write_bytes(ids.tobytes())
        self._path("json").write_text(json.dumps({"count": count, "dimension": dimension}))
        self.load()

    def load(self) -> bool:
        """Whether there is one, whole."""
        try:
            shape = json.loads(self._path("json").read_text())
            ids = np.frombuffer(self._path("ids").read_bytes(), np.int64)
            rows = np.memmap(self._path("f16"), np.float16, "r", shape=(shape["count"], shape["dimension"]))
            index = _faiss().read_index(str(self._path("faiss")))
        except (OSError, ValueError, KeyError, RuntimeError, CapabilityUnavailable):
            return False
        if len(ids) != shape["count"] or index.ntotal != shape["count"]:
            return False
        index.nprobe = PROBES
        self.ids, self._rows, self._index = ids, rows, index
        return True

    @property
    def length(self) -> int:
        """Of one vector."""
        return self._rows.shape[1] if self._rows is not None else 0

    def search(self, query: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, exact scores) of the best `limit`, best first."""
        assert self._index is not None
        assert self._rows is not None
        _, found = self._index.search(query[None].astype(np.float32), max(LEAST, limit * OVERSAMPLE))
        at = np.sort(found[0][found[0] >= 0])
        scores = self._rows[at].astype(np.float32) @ query
        order = np.argsort(-scores)[:limit]
        return self.ids[at[order]], scores[order]

    @staticmethod
    def remove(folder: Path) -> None:
        """Every index below a folder."""
        for suffix in ("json", "faiss", "f16", "ids"):
            for path in folder.glob(f"*.{suffix}"):
                path.unlink(missing_ok=True)

    def sample(self, count: int) -> np.ndarray:
        """[at most `count`, d] rows from all over."""
        assert self._rows is not None
        if self._sample is None:
            self._sample = self._rows[:: max(1, len(self._rows) // count)].astype(np.float32)
        return self._sample

    def of(self, photo: int) -> np.ndarray | None:
        """The vector of one photo."""
        at = int(np.searchsorted(self.ids, photo))
        known = self._rows is not None and at < len(self.ids) and self.ids[at] == photo
        return self._rows[at].astype(np.float32) if known else None

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._name}.{suffix}"


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise CapabilityUnavailable(
            "The index for more than 300,000 photos needs faiss.", "pip install 'omni-image-search[large]'"
        ) from error
    faiss.omp_set_num_threads(2)
    return faiss
