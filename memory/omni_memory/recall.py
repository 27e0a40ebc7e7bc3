"""How what is recalled is put in order: words and meaning, fused by reciprocal rank.

A list's item of rank r (from 1) counts w / (60 + r); what stands high in several lists wins
(Cormack, Clarke & Buettcher 2009, "Reciprocal rank fusion"). In the list by meaning w is 1; in the
list by words it is the share of the question's words that the moment holds, to the power
`COVERAGE`: one word of four in common says little, and unweighted such hits drowned what was meant
(`make bench-memory`). Moments that are only in the journal yet take part at once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Moment, Recalled
from omni_memory.schema import Filter

RRF = 60
#: See above; chosen on the even half of the benchmark's questions.
COVERAGE = 4.0
#: How far down each list is read before fusing.
DEPTH = 60

_WORD = re.compile(r"\w+")
_STOP = frozenset(
    """
    a about after all also am an and any are as at be been but by can could did do does for from had has
    have he her here him his how i if in into is it its just let like me more my no not of on or our out
    say said she should so some tell than that the their them then there these they this to up us was we
    were what when where which who whom whose why will with would you your
    """.split()  # noqa: SIM905 - a page of quotes reads worse
)


def terms(text: str) -> list[str]:
    """The words that carry meaning, folded to plain lower case, common English endings cut off."""
    folded = unicodedata.normalize("NFKD", text.lower())
    folded = "".join(c for c in folded if not unicodedata.combining(c))
    return [_stem(word) for word in _WORD.findall(folded) if word not in _STOP]


def _stem(word: str) -> str:
    """A rough cut that brings "bicycle" and "bicycles", "party" and "parties" together."""
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word


def fuse(
    lists: Mapping[str, Sequence[str]], weights: Mapping[str, Mapping[str, float]] | None = None
) -> list[tuple[str, float, dict[str, int]]]:
    """(id, score, rank in each list) of everything in the lists, best first. Ties go to the first list's order.

    `weights` says per list what an item counts; 1 where nothing is said.
    """
    scores: dict[str, float] = {}
    ranks: dict[str, dict[str, int]] = {}
    for name, ids in lists.items():
        weight = (weights or {}).get(name, {})
        for rank, item in enumerate(ids, 1):
            scores[item] = scores.get(item, 0.0) + weight.get(item, 1.0) / (RRF + rank)
            ranks.setdefault(item, {})[name] = rank
    order = sorted(scores, key=lambda item: -scores[item])
    return [(item, scores[item], ranks[item]) for item in order]


def coverage(query: str, texts: Mapping[str, str]) -> dict[str, float]:
    """For each text (by id), how much it counts as found by words: its share of the query's words, raised."""
    wanted = set(terms(query))
    if not wanted:
        return {}
    return {item: (len(wanted & set(terms(text))) / len(wanted)) ** COVERAGE for item, text in texts.items()}


def merge_fresh(query: str, found: Sequence[tuple[str, str]], fresh: Sequence[Moment]) -> list[str]:
    """Put journalled moments into a full-text list of (id, text), by how many of the query's words they hold.

    The table's order stays; a fresh moment goes before the first one that holds fewer of the words.
    """
    wanted = set(terms(query))
    if not wanted or not fresh:
        return [item for item, _ in found]
    entering = sorted(((len(wanted & set(terms(m.text))), m.start, m.id) for m in fresh), key=lambda e: (-e[0], -e[1]))
    entering = [e for e in entering if e[0]]
    merged: list[str] = []
    for item, text in found:
        held = len(wanted & set(terms(text))) if entering else 0
        while entering and entering[0][0] > held:
            merged.append(entering.pop(0)[2])
        merged.append(item)
    return merged + [e[2] for e in entering]


def merge_nearest(
    vector: NDArray[np.float32], space: str, found: Sequence[tuple[str, float]], fresh: Sequence[Moment]
) -> list[tuple[str, float]]:
    """Put journalled moments into a list of (id, cosine), exactly where they belong."""
    near = [
        (m.id, float(m.vectors[space] @ vector))
        for m in fresh
        if space in m.vectors and m.vectors[space].size == vector.size
    ]
    return sorted([*found, *near], key=lambda e: -e[1])


def recalled(
    order: Sequence[tuple[str, float, dict[str, int]]], moments: Mapping[str, Moment], limit: int
) -> list[Recalled]:
    """The first `limit` distinct moments: the same words from the same source count once."""
    result: list[Recalled] = []
    said: set[tuple[str, str]] = set()
    for item, score, ranks in order:
        moment = moments.get(item)
        if moment is None:
            continue
        key = (moment.source, " ".join(moment.text.lower().split()))
        if key in said and moment.text:
            continue
        said.add(key)
        result.append(Recalled(moment, score, ranks))
        if len(result) == limit:
            break
    return result


def newest(fresh: Sequence[Moment], stored: Sequence[Moment], limit: int) -> list[Recalled]:
    """Without a query: the latest moments, newest first."""
    latest = sorted({m.id: m for m in [*stored, *fresh]}.values(), key=lambda m: (-m.start, m.id))[:limit]
    return [Recalled(m, 1.0 / (RRF + rank), {"recency": rank}) for rank, m in enumerate(latest, 1)]


def overlapping(moment: Moment, seconds: float) -> Filter:
    """Moments that can overlap with `moment` widened by `seconds`: an hour is the longest that is looked back for."""
    return Filter(after=moment.start - seconds - 3600.0, before=moment.end + seconds)
