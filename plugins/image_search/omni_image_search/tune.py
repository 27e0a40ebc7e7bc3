"""Fits search to a person's own words: from what the encoder sees in a photo to what is written about such photos.

A ridge regression from the image features and the plain vector (ConSE) to the mean embedding of a photo's
captions, solved in seconds. It is judged on photos it was not fitted on, kept only where it helps there, saved beside
the index and removed with one command.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import Embedder
from omni.errors import BadInput, CapabilityUnavailable
from omni_image_search.features import BY_TEXT, SPACES
from omni_image_search.matrix import Matrix
from omni_image_search.store import Store

FEWEST = 60  #: captioned photos; fewer fit their own noise
HELD_OUT = 0.25
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
PLAIN = 0.7  #: how much of what was scored without it stays beside the fitted score
FILE = "tuned.npz"
#: Names that cameras and programs give.
_CAMERA = re.compile(
    r"(?i)^(img|dscn?f?|pict?|p|photo|image|screenshot|whatsapp|pxl|mvimg|gopr|dji|sam|untitled|copy|edited|hdr)$"
)


@dataclass(slots=True)
class Head:
    """The fitted map: centred [features | plain] times `weights` plus `offset`, then length 1."""

    centre: np.ndarray  #: [d]
    weights: np.ndarray  #: [d, 384]
    offset: np.ndarray  #: [384]
    plain: float = PLAIN
    report: dict[str, Any] = field(default_factory=dict)
    _rows: np.ndarray | None = None
    _ids: np.ndarray | None = None

    def predict(self, features: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """[n, 384] unit vectors where captions would be."""
        rows = (np.hstack([features, plain]) - self.centre) @ self.weights + self.offset
        return _unit(rows)

    def scores(self, features: Matrix, plain: Matrix, query: np.ndarray) -> np.ndarray:
        """[photos of `features`] cosine with a query. Predictions are kept until the photos change."""
        if self._rows is None or not np.array_equal(self._ids, features.ids):
            at = np.minimum(np.searchsorted(plain.ids, features.ids), max(len(plain.ids) - 1, 0))
            rows = plain.rows[at] * (plain.ids[at] == features.ids)[:, None]
            blocks = range(0, len(features.ids), 20_000)
            self._rows = np.concatenate(
                [self.predict(features.rows[i : i + 20_000], rows[i : i + 20_000]) for i in blocks]
            )
            self._ids = features.ids.copy()
        return self._rows @ query


def fit(features: np.ndarray, plain: np.ndarray, targets: np.ndarray, penalty: float) -> Head:
    """Ridge regression on [n, 1280], [n, 384] and the captions' mean embeddings [n, 384]."""
    x = np.hstack([features, plain]).astype(np.float64)
    centre, offset = x.mean(axis=0), targets.mean(axis=0).astype(np.float64)
    x, y = x - centre, targets - offset
    if len(x) < x.shape[1]:  # the smaller of the two equal systems
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), y)
    else:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return Head(centre.astype(np.float32), weights.astype(np.float32), offset.astype(np.float32))


def ranks(scores: np.ndarray) -> np.ndarray:
    """[n] the rank (0 is best) of photo i for caption i, of scores [captions, photos]."""
    return (scores > np.diag(scores)[:, None]).sum(axis=1)


def judge(
    head: Head | None, features: np.ndarray, plain: np.ndarray, captions: np.ndarray, before: np.ndarray
) -> dict[str, float]:
    """Recall at 1, 5 and 10 and the mean reciprocal rank of n photos, each by one caption's vector.

    `before` [captions, photos] is what they score without the fit.
    """
    scores = _standard(before)
    if head is not None:
        scores = _standard(captions @ head.predict(features, plain).T) + head.plain * scores
    found = ranks(scores)
    recall = {f"recall@{k}": float((found < k).mean()) for k in (1, 5, 10)}
    return recall | {"reciprocal_rank": float((1 / (found + 1)).mean())}


async def tune(store: Store, host: Any, seed: int = 0) -> dict[str, Any]:
    """Fit to the captions in the index, and say what it gained on photos it had not seen.

    Raises `BadInput` with too few captions, or when it does not help; the index is then as before.
    """
    began = time.perf_counter()
    written = captions(store)
    ids, features, plain = _matrices(store)
    present = [i for i, photo in enumerate(ids) if int(photo) in written]
    if len(present) < FEWEST:
        raise BadInput(
            f"{len(present)} photos have a caption, a title or a telling name; {FEWEST} are needed.",
            "Write some beside the photos (IMG.txt or captions.csv), and index again.",
        )
    texts = [written[int(ids[i])] for i in present]
    try:
        flat = await host.get(Embedder, space="text").embed_text([line for lines in texts for line in lines])
    except CapabilityUnavailable as error:
        raise BadInput("There is no text embedder to fit to.", "Load the language plugin.") from error
    targets, queries, at = [], [], 0
    for lines in texts:
        targets.append(flat[at : at + len(lines)].mean(axis=0))
        queries.append(flat[at])
        at += len(lines)
    chosen, first = np.asarray(present), np.stack(queries)
    before = _standard(first @ plain[chosen].T)
    labels = Matrix(store, "labels")
    labels.refresh()
    if np.isin(ids[chosen], labels.ids).all():
        with contextlib.suppress(CapabilityUnavailable):  # then searches do without them, too
            asked = await host.get(Embedder, **SPACES["labels"]).embed_text([lines[0] for lines in texts], query=True)
            rows = labels.rows[np.searchsorted(labels.ids, ids[chosen])]
            before = BY_TEXT[-1]["labels"] * _standard(asked @ rows.T) + BY_TEXT[-1]["text"] * before
    head, report = select(features[chosen], plain[chosen], _unit(np.stack(targets)), first, before, seed)
    report |= {"captioned": len(present), "seconds": round(time.perf_counter() - began, 2), "at": int(time.time())}
    if report["tuned"]["reciprocal_rank"] <= report["plain"]["reciprocal_rank"]:
        raise BadInput("On held-out photos the captions did not help.", "Better captions may: say what is to be seen.")
    head.report = report
    save(store, head)
    return report


def select(
    features: np.ndarray, plain: np.ndarray, targets: np.ndarray, queries: np.ndarray, before: np.ndarray, seed: int
) -> tuple[Head, dict[str, Any]]:
    """The best penalty on held-out photos, then the fit on all of them, and the held-out figures of both."""
    order = np.random.default_rng(seed).permutation(len(features))
    held, kept = order[: int(len(order) * HELD_OUT)], order[int(len(order) * HELD_OUT) :]
    rest = (features[held], plain[held], queries[held], before[np.ix_(held, held)])
    judged = {p: judge(fit(features[kept], plain[kept], targets[kept], p), *rest) for p in PENALTIES}
    best = max(judged, key=lambda penalty: judged[penalty]["reciprocal_rank"])
    report = {"penalty": best, "held_out": len(held), "plain": judge(None, *rest), "tuned": judged[best]}
    return fit(features, plain, targets, best), report


def captions(store: Store) -> dict[int, list[str]]:
    """What people wrote about each photo: captions, titles, and names that are more than a number."""
    found: dict[int, list[str]] = {}
    for photo, embedded, beside in store.rows("SELECT id, embedded, caption FROM photos"):
        lines = [line.strip() for line in f"{beside}\n{embedded}".split("\n") if len(line.split()) >= 2]
        if lines:
            found[photo] = lines[:10]
    for path, photo in store.rows("SELECT path, photo FROM files"):
        if photo not in found and (name := telling_name(path)):
            found[photo] = [name]
    return found


def telling_name(path: str) -> str:
    """A file's name where it says what is to be seen ("two dogs on the beach 3.jpg"), else empty."""
    parts = re.findall(r"[^\W\d_]{2,}", Path(path).stem)
    telling = [part for part in parts if not _CAMERA.match(part) and len(part) > 2]
    return " ".join(parts) if len(telling) >= 2 and len(telling) >= len(parts) / 2 else ""


def save(store: Store, head: Head) -> None:
    """Beside the index; whole or not at all."""
    partial = store.folder / f"{FILE}.partial"
    with partial.open("wb") as stream:
        arrays = {name: getattr(head, name).astype(np.float16) for name in ("centre", "weights", "offset")}
        np.savez(stream, plain=np.float32(head.plain), report=json.dumps(head.report), **arrays)
    partial.replace(store.folder / FILE)
    store.set_meta("tuned", str(head.report.get("at", 1)))


def load(store: Store) -> Head | None:
    """What was fitted, or None."""
    path = store.folder / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = [data[name].astype(np.float32) for name in ("centre", "weights", "offset")]
            return Head(*arrays, plain=float(data["plain"]), report=json.loads(str(data["report"])))
    except (OSError, ValueError, KeyError):
        return None


def revert(store: Store) -> bool:
    """Search as before. Whether anything had been fitted."""
    path = store.folder / FILE
    known = path.is_file()
    path.unlink(missing_ok=True)
    store.set_meta("tuned", "")
    return known


def _matrices(store: Store) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    features, plain = Matrix(store, "image-features"), Matrix(store, "text")
    features.refresh()
    plain.refresh()
    ids, at, beside = np.intersect1d(features.ids, plain.ids, assume_unique=True, return_indices=True)
    if not len(ids):
        return ids, np.zeros((0, 1), np.float32), np.zeros((0, 1), np.float32)
    return ids, features.rows[at], plain.rows[beside]


def _standard(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(axis=1, keepdims=True)) / np.maximum(scores.std(axis=1, keepdims=True), 1e-6)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
