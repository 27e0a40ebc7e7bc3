"""The history of conversations, read from the timeline."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from omni.capabilities import MemoryStats, Moment, PastSession
from omni_memory.schema import Filter

if TYPE_CHECKING:
    from omni_memory.store import Store

TITLE = 80  #: characters of a title
SPEECH = "speech"


def sessions(store: Store, only: list[str] | None, limit: int) -> list[PastSession]:
    """Past conversations, the latest first, or those of `only` in its order."""
    fresh = store.fresh()
    where = Filter(sessions=tuple(only)) if only else Filter()
    names = ["id", "session", "start", "end", "source", "data"]
    rows = store.tables.reading(lambda: store.tables.columns(where, names)).to_pylist()
    rows = [row for row in rows if row["id"] not in fresh.gone and row["id"] not in fresh.moments]
    rows += [
        {"id": m.id, "session": m.session, "start": m.start, "end": m.end, "source": m.source, "data": _role(m)}
        for m in fresh.moments.values()
        if where.matches(m)
    ]
    spans: dict[str, list[float]] = {}
    first: dict[str, tuple[float, str]] = {}
    turns: Counter[str] = Counter()
    for row in rows:
        name = row["session"]
        if not name:
            continue
        span = spans.setdefault(name, [row["start"], row["end"]])
        span[:] = min(span[0], row["start"]), max(span[1], row["end"])
        if row["source"] == SPEECH and '"assistant"' not in row["data"]:
            turns[name] += 1
            first[name] = min(first.get(name, (row["start"], row["id"])), (row["start"], row["id"]))
    order = [s for s in only if s in spans] if only else sorted(spans, key=lambda s: -spans[s][1])
    order = order[:limit]
    found = store.tables.reading(lambda: store.tables.fetch([first[s][1] for s in order if s in first]))
    found |= {i: m for i, m in fresh.moments.items() if any(first.get(s, (0, ""))[1] == i for s in order)}
    return [
        PastSession(name, _title(found.get(first.get(name, (0.0, ""))[1])), *spans[name], turns[name]) for name in order
    ]


def _role(moment: Moment) -> str:
    return '"assistant"' if moment.data.get("role") == "assistant" else ""


def _title(moment: Moment | None) -> str:
    if moment is None:
        return "Without words"
    text = " ".join(moment.text.split())
    return text if len(text) <= TITLE else text[: TITLE - 1].rsplit(" ", 1)[0] + "…"


def stats(store: Store) -> MemoryStats:
    """Counts and sizes as of now."""
    fresh = store.fresh()
    rows = store.tables.reading(lambda: store.tables.columns(Filter(), ["id", "source", "start"])).to_pylist()
    known = fresh.gone | fresh.moments.keys()
    kept = [(row["source"], row["start"]) for row in rows if row["id"] not in known]
    kept += [(m.source, m.start) for m in fresh.moments.values()]
    starts = [start for _, start in kept]
    return MemoryStats(
        moments=len(kept),
        waiting=len(fresh.moments),
        by_source=dict(Counter(source for source, _ in kept).most_common()),
        spaces={space: store.tables.vectors(space) for space in store.tables.spaces()},
        bytes=store.size(),
        oldest=min(starts, default=None),
        newest=max(starts, default=None),
        writer=store.writer,
        trouble=store.trouble,
    )
