"""Fits the weights by which the documents plugin orders what it finds, and those by which it refuses.

    python benchmarks/docs_fit.py [--index DIR]

Both are fitted on the development set (`docs_dev.toml`) alone and printed as they stand in `omni_rag/search.py` and
`omni_rag/confidence.py`. Ordering: the softmax over a question's candidates is to fall on those of the right page.
Refusing: a logistic regression of "this is the right page of an answerable question" against the unanswerable ones.
Weights are never negative and are drawn towards zero; what is printed beside them was measured with each document
(for refusals: each question) left out of the fit in turn.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from card import arguments

from docs import DEVELOPMENT, PLUGINS, Question, questions

RANK_PULL = 0.02  #: of the weights towards zero, for ordering
REFUSE_PULL = 0.005  #: and for refusing
SHARP = 12.0  #: the softmax is this much sharper than the scores, whose weights sum to 1
ROUNDS = 4000


async def gather(files: list[Path], asked: list[Question], not_there: list[str], index: Path | None) -> dict[str, Any]:
    """The candidates' features for each answerable question, and the best sentence's for all."""
    from omni_rag.answer import best_sentence
    from omni_rag.confidence import features
    from omni_rag.library import Library
    from omni_rag.search import search, understood

    from omni.catalogue.store import ModelStore
    from omni.config import load_config
    from omni.host.host import Host

    config = load_config()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        host = Host(config, ModelStore.from_config(config), Path(folder), only=PLUGINS)
        await host.start()
        library = Library(index or Path(folder) / "index", host)
        try:
            await library.index(files)
            names = {document.digest: document.name for document in library.store.documents()}
            for question in [*asked, *(Question(text, "", 0, "none", None) for text in not_there)]:
                hits = await search(library.store, host, question.text, limit=20)
                known = await asyncio.to_thread(understood, library.store, question.text)
                best = await best_sentence(host, known, hits)
                right = [question.right((names[hit.chunk.digest], hit.chunk.page)) for hit in hits]
                rows.append(
                    {
                        "question": question,
                        "hits": np.array([hit.features() for hit in hits]),
                        "right": np.array(right),
                        "pages": [(hit.chunk.digest, hit.chunk.page) for hit in hits],
                        "best": await features(host, known, best.hit, best.text),
                        "best_right": question.right((names[best.hit.chunk.digest], best.hit.chunk.page)),
                    }
                )
        finally:
            library.close()
            await host.stop()
    return {"rows": rows}


def fit_order(rows: list[dict[str, Any]], rounds: int = ROUNDS) -> np.ndarray:
    """Weights [n] that sum to 1."""
    rows = [row for row in rows if row["right"].any() and not row["right"].all()]
    weights = np.full(rows[0]["hits"].shape[1], 1 / rows[0]["hits"].shape[1])
    for _ in range(rounds):
        step = -2 * RANK_PULL * weights
        for row in rows:
            x, right = row["hits"], row["right"]
            p = np.exp(SHARP * (x @ weights - (x @ weights).max()))
            p /= p.sum()
            q = p * right / max(1e-9, (p * right).sum())
            step = step + SHARP * (q - p) @ x / len(rows)
        weights = np.maximum(0.0, weights + 0.003 * step)
    return weights


def placed(row: dict[str, Any], weights: np.ndarray) -> int:
    """At which place the right page comes; 99 where it does not."""
    pages: list[Any] = []
    for i in np.argsort(-(row["hits"] @ weights), kind="stable"):
        if row["pages"][i] not in pages:
            pages.append(row["pages"][i])
            if row["right"][i]:
                return len(pages)
    return 99


def fit_refusal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[bias, weights] of a logistic regression by Newton's method, both classes counting alike; none is negative."""
    counts = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum()) * len(y)
    kept = np.ones(x.shape[1], bool)
    while True:
        inputs = np.hstack([np.ones((len(x), 1)), x[:, kept]])
        pull = np.eye(inputs.shape[1]) * REFUSE_PULL * len(y)
        pull[0, 0] = 1e-6
        found = np.zeros(inputs.shape[1])
        for _ in range(30):
            p = 1 / (1 + np.exp(-inputs @ found))
            curve = (inputs * (counts * p * (1 - p))[:, None]).T @ inputs + pull
            found = found + np.linalg.solve(curve, inputs.T @ (counts * (y - p)) - pull @ found)
        if (found[1:] >= 0).all():
            break
        kept[np.flatnonzero(kept)[np.argmin(found[1:])]] = False
    weights = np.zeros(x.shape[1] + 1)
    weights[0], weights[1:][kept] = found[0], found[1:]
    return weights


def chance(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The logistic score of rows of features."""
    return 1 / (1 + np.exp(-(weights[0] + x @ weights[1:])))


def main() -> int:
    """Print both sets of weights."""
    logging.basicConfig(level=logging.ERROR)
    index = {"type": Path, "help": "keep the index in this folder, and use what is in it"}
    args = arguments("docs-fit", "Which weights?", data="pdf", index=index)
    if args.data is None:
        print("The PDFs are not on this machine: set OMNI_TEST_DATA, or give --data DIR.")
        return 2
    asked, not_there = questions(DEVELOPMENT, args.data)
    rows = asyncio.run(gather(sorted(args.data.rglob("*.pdf")), asked, not_there, args.index))["rows"]
    report_order(rows[: len(asked)])
    report_refusal(rows)
    return 0


def report_order(rows: list[dict[str, Any]]) -> None:
    """Fit and print the weights of the order."""
    from omni_rag.search import FEATURES, WEIGHTS

    documents = sorted({row["question"].document for row in rows})
    places = {}
    for document in documents:
        weights = fit_order([row for row in rows if row["question"].document != document], ROUNDS // 4)
        places |= {row["question"].text: placed(row, weights) for row in rows if row["question"].document == document}
    weights = fit_order(rows)
    weights /= weights.sum()
    now = [placed(row, np.array(WEIGHTS)) for row in rows]
    for name, found in [
        ("as it is", now),
        ("fitted", [placed(row, weights) for row in rows]),
        ("left out", list(places.values())),
    ]:
        first, five = np.mean([p == 1 for p in found]), np.mean([p <= 5 for p in found])
        print(f"order {name}: page@1 {first:.3f}, page@5 {five:.3f}, of {len(found)}")
    print("candidates hold the right page:", np.mean([row["right"].any() for row in rows]).round(3))
    print("WEIGHTS =", tuple(float(w) for w in weights.round(2)), "#", ", ".join(FEATURES))


def report_refusal(rows: list[dict[str, Any]]) -> None:
    """Fit and print the weights of the refusal, and the threshold."""
    from omni_rag.confidence import FEATURES, SAY, WEIGHTS

    kept = [row for row in rows if row["best_right"] or row["question"].kind == "none"]
    x, y = np.array([row["best"] for row in kept]), np.array([row["best_right"] for row in kept])
    left_out = np.array([chance(fit_refusal(np.delete(x, i, 0), np.delete(y, i)), x[i]) for i in range(len(x))])
    weights = fit_refusal(x, y)
    for name, scores in [
        ("as it is", chance(np.array(WEIGHTS), x)),
        ("fitted", chance(weights, x)),
        ("left out", left_out),
    ]:
        right, wrong = np.mean(scores[~y] < SAY), np.mean(scores[y] < SAY)
        ranked = np.mean(scores[y][:, None] > scores[~y][None])
        print(f"refusal {name}: refused rightly {right:.3f}, wrongly {wrong:.3f}, area {ranked:.3f}")
    print("WEIGHTS =", tuple(float(w) for w in weights.round(2)), "# bias,", ", ".join(FEATURES))
    for name, column in zip(FEATURES, x.T, strict=True):
        better = np.sign(column[y][:, None] - column[~y][None])
        area = (better.mean() + 1) / 2
        print(f"  {name:9} right {column[y].mean():.2f}, not there {column[~y].mean():.2f}, area {area:.2f}")


if __name__ == "__main__":
    sys.exit(main())
