"""How long things are kept: by age and by size. What the person asked to remember stays until it is forgotten."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from omni_memory.schema import Filter, now

if TYPE_CHECKING:
    from omni_memory.store import Store

log = logging.getLogger("omni.memory")

#: Sources that age does not touch: notes the person dictated, and corrections of the planner.
KEPT = ("note", "correction")
_DAY_S = 86400.0


def retain(store: Store, *, days: float, max_mb: float, at: float | None = None) -> int:
    """Forget what is older than `days`, then the oldest tenth at a time until the folder fits `max_mb`; 0 is no limit.

    Returns how many moments went.
    """
    gone = 0
    if days > 0:
        gone += _forget(store, Filter(before=(now() if at is None else at) - days * _DAY_S))
    while max_mb > 0 and store.size() > max_mb * 1e6:
        ids = _ageing(store, Filter())
        went = store.forget(Filter(ids=tuple(ids[: max(1, len(ids) // 10)]))) if ids else 0
        if not went:
            log.warning("The memory in %s takes more than %s MB, but nothing in it ages.", store.folder, max_mb)
            break
        gone += went
    return gone


def _forget(store: Store, where: Filter) -> int:
    ids = _ageing(store, where)
    return store.forget(Filter(ids=tuple(ids))) if ids else 0


def _ageing(store: Store, where: Filter) -> list[str]:
    """Ids of moments that may go, oldest first."""
    rows = store.tables.reading(lambda: store.tables.columns(where, ["id", "start", "source"])).to_pylist()
    rows = [(row["start"], row["id"]) for row in rows if row["source"] not in KEPT]
    rows += [(m.start, m.id) for m in store.fresh().moments.values() if where.matches(m) and m.source not in KEPT]
    return [item for _, item in sorted(set(rows))]
