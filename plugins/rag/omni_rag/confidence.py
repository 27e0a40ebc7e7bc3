"""How sure it is that what was found answers the question; below a threshold the answer is that nothing says it.

What is on the topic without answering is the hard case. There mostly one word of the question stands nowhere near
("Product F", "in Chinese"): hence the worst word, not only the mean.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from omni.capabilities import Embedder
from omni.errors import OmniError
from omni_rag.query import Asked, stem, words
from omni_rag.search import Hit

log = logging.getLogger("omni.rag")

STRANGE = 0.45  #: the cosine of two words that have nothing to do with each other, about
LONGEST = 150  #: different words of a passage that are compared with those of the question
FEATURES = ("on_page", "worst", "rerank", "wanted")
#: A logistic score: the bias, then the weights of the features; fitted by `benchmarks/docs_fit.py` on the development
#: set. More features (how many words the passage or the document holds, the cosine, how far the next page is behind,
#: whether a number stands where one is asked for) did not refuse better there.
WEIGHTS = (-2.95, 3.18, 1.42, 1.45, 1.91)
SAY = 0.5  #: below, nothing is said, unless a chat model finds and quotes an answer
ASK = 0.25  #: below, no chat model is asked
SURE = 0.75  #: above, a chat model's "not supported" is not believed


async def features(host: Any, asked: Asked, best: Hit, sentence: str) -> list[float]:
    """Of the passage an answer would be taken from and its best sentence, in the order of `FEATURES`.

    `on_page`: the share of the question's words its page holds; `worst`: how near the word that is farthest from all
    words of the passage comes; `rerank`: the re-ranker's score; `wanted`: it is a figure, and one was asked for.
    """
    worst = await _worst(host, asked, f"{best.chunk.full} {sentence}")
    return [best.on_page, worst, best.rerank, min(1.0, best.wanted)]


def certainty(values: Sequence[float]) -> float:
    """The logistic score, 0..1."""
    bias, *weights = WEIGHTS
    total = bias + sum(w * x for w, x in zip(weights, values, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


async def _worst(host: Any, asked: Asked, passage: str) -> float:
    """How near the question's word that is farthest comes to a word of the passage, 0..1; rare words count more.

    A word that is held counts 1; another counts as much as its nearest one means the same.
    """
    present = list(dict.fromkeys(words(passage)))[:LONGEST]
    stems = {stem(word) for word in present}
    missing = [term for term in asked.terms if stem(term) not in stems]
    close = dict.fromkeys(asked.terms, 1.0)
    if missing:
        close |= dict(zip(missing, await _closest(host, missing, present), strict=True))
    most = max(asked.weights, default=0.0) or 1.0
    return min(
        (1 - (w / most) * (1 - close[term]) for term, w in zip(asked.terms, asked.weights, strict=True)), default=0.0
    )


async def _closest(host: Any, terms: Sequence[str], present: Sequence[str]) -> list[float]:
    """For each term, the cosine with the nearest of the words present; 0 without an embedder."""
    if not present or host is None:
        return [0.0] * len(terms)
    try:
        vectors = await host.get(Embedder, space="text").embed_text([*terms, *present])
    except OmniError as error:
        log.info("words are compared by their letters alone: %s", error)
        return [0.0] * len(terms)
    cosines = np.asarray(vectors[: len(terms)]) @ np.asarray(vectors[len(terms) :]).T
    return [float(np.clip((row.max() - STRANGE) / (1 - STRANGE), 0.0, 1.0)) for row in cosines]
