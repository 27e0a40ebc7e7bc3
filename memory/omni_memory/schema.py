"""What the memory folder looks like, and how an older one becomes a present one.

The folder holds `meta.json` (the schema's number), `lock`, `journal/` and `lance/`. In `lance/`
there is one table of moments and one table of vectors for each space. A folder of a newer schema
is refused before anything in it is touched.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omni.capabilities import Moment
from omni.errors import BadInput, OmniError

if TYPE_CHECKING:
    import pyarrow as pa

#: Raised by one whenever a table changes; `tables.migrate` knows the way from every earlier number.
SCHEMA = 2
FORMAT = "omni-memory"

MAX_TEXT = 100_000  #: characters of text in one moment
MAX_DATA = 1_000_000  #: bytes of JSON in one moment
MAX_DIMENSION = 8192
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class MemoryTooNew(OmniError):
    """The folder was written by a newer Omni."""


class MemoryDamaged(OmniError):
    """The folder is not a memory, or its `meta.json` can't be read."""


# --- the folder ---------------------------------------------------------------------------------


def read_version(folder: Path) -> int:
    """The schema number of the memory in `folder`; 0 when there is none yet.

    Raises `MemoryTooNew` or `MemoryDamaged`; changes nothing.
    """
    path = folder / "meta.json"
    try:
        meta = json.loads(path.read_bytes())
        version = meta["schema"]
        if meta["format"] != FORMAT or not isinstance(version, int) or version < 1:
            raise ValueError("not a memory's meta.json")
    except FileNotFoundError:
        if (folder / "lance").exists():
            raise MemoryDamaged(
                f"{folder} holds a memory without its meta.json.",
                "Put the folder back from a backup, or point memory.folder at an empty one.",
            ) from None
        return 0
    except (ValueError, KeyError, TypeError) as error:
        raise MemoryDamaged(
            f"{path} can't be read as the description of a memory ({error}).",
            "Put it back from a backup, or point memory.folder at an empty folder. Nothing was changed.",
        ) from error
    if version > SCHEMA:
        raise MemoryTooNew(
            f"The memory in {folder} was written by a newer Omni (schema {version}; this one knows up to {SCHEMA}).",
            "Update Omni, or point memory.folder at another folder. Nothing was changed.",
        )
    return version


def write_version(folder: Path, version: int = SCHEMA) -> None:
    """Say which schema the folder has, atomically."""
    temporary = folder / f"meta.json.{secrets.token_hex(4)}"
    temporary.write_text(json.dumps({"format": FORMAT, "schema": version}) + "\n")
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(folder / "meta.json")


# --- tables -------------------------------------------------------------------------------------


def moments_schema() -> pa.Schema:
    """One row a moment. Text stays uncompressed, so that its absence after `forget` can be shown byte by byte."""
    import pyarrow as pa

    plain = {"lance-encoding:compression": "none"}
    return pa.schema([
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("text", pa.string(), metadata=plain),
        pa.field("start", pa.float64()),
        pa.field("end", pa.float64()),
        pa.field("session", pa.string()),
        pa.field("turn", pa.int32()),
        pa.field("data", pa.string(), metadata=plain),
        pa.field("media", pa.list_(pa.string())),
    ])  # fmt: skip


def vectors_schema(dimension: int) -> pa.Schema:
    """One row a vector, with what filters need. `seq` grows, so a reader can load only what is new."""
    import pyarrow as pa

    return pa.schema([
        pa.field("id", pa.string()),
        pa.field("seq", pa.int64()),
        pa.field("source", pa.string()),
        pa.field("session", pa.string()),
        pa.field("start", pa.float64()),
        pa.field("vector", pa.list_(pa.float32(), dimension)),
    ])  # fmt: skip


def vectors_table(space: str) -> str:
    """The name of a space's table. Raises `BadInput` on a space that is no name."""
    if not _SPACE.fullmatch(space):
        raise BadInput(f"{space!r} is not the name of a vector space.", "Use lower-case letters, digits and hyphens.")
    return f"vectors_{space}"


# --- moments ------------------------------------------------------------------------------------


def new_id(start: float) -> str:
    """An id that sorts by time: twelve hex digits of milliseconds, then chance."""
    return f"{int(max(0.0, start) * 1000):012x}{secrets.token_hex(6)}"


def checked(moment: Moment) -> Moment:
    """The moment with an id and unit vectors. Raises `BadInput` when it can't be kept."""
    if not moment.source or not _SPACE.fullmatch(moment.source):
        raise BadInput(f"{moment.source!r} can't be a moment's source.", "Use a word such as speech, screen or tool.")
    if len(moment.text) > MAX_TEXT:
        raise BadInput(f"A moment's text has {len(moment.text)} characters; {MAX_TEXT} fit.", "Split it into several.")
    if not (np.isfinite(moment.start) and np.isfinite(moment.end)) or moment.end < moment.start:
        raise BadInput(f"A moment can't last from {moment.start} to {moment.end}.", "Give Unix seconds, start <= end.")
    if moment.id and not _ID.fullmatch(moment.id):
        raise BadInput(f"{moment.id[:80]!r} can't be a moment's id.", "Leave it empty and the memory gives one.")
    try:
        data = json.dumps(moment.data, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"A moment's data can't be written as JSON: {error}.") from error
    if len(data) > MAX_DATA:
        raise BadInput(f"A moment's data takes {len(data)} bytes; {MAX_DATA} fit.", "Store it as a file in media.")
    vectors = {space: unit(vector, space) for space, vector in moment.vectors.items()}
    # A lone surrogate, as broken input sometimes carries, is no text that any table could hold.
    text = moment.text.encode("utf-8", "replace").decode()
    return replace(moment, id=moment.id or new_id(moment.start), text=text, vectors=vectors, media=tuple(moment.media))


def unit(vector: Any, space: str) -> np.ndarray:
    """`vector` as float32 of length 1. Raises `BadInput` on anything that has no direction."""
    vectors_table(space)
    array = np.asarray(vector, dtype=np.float32)
    if array.ndim != 1 or not 1 <= array.size <= MAX_DIMENSION:
        raise BadInput(f"A vector of the space {space} has the shape {array.shape}, not [dimension].")
    norm = float(np.linalg.norm(array))
    if not np.isfinite(norm) or norm == 0.0:
        raise BadInput(f"A vector of the space {space} is zero or not finite.", "Leave it out: words find it too.")
    return array / norm


def to_wire(moment: Moment) -> dict[str, Any]:
    """A moment as plain values for the journal; vectors as little-endian float32 bytes."""
    return {
        "id": moment.id, "source": moment.source, "text": moment.text, "start": moment.start, "end": moment.end,
        "session": moment.session, "turn": moment.turn, "data": moment.data, "media": list(moment.media),
        "vectors": {space: vector.astype("<f4").tobytes() for space, vector in moment.vectors.items()},
    }  # fmt: skip


def from_wire(values: dict[str, Any]) -> Moment:
    """The moment that `to_wire` wrote."""
    vectors = {space: np.frombuffer(raw, "<f4") for space, raw in values.pop("vectors", {}).items()}
    return Moment(**{**values, "media": tuple(values.get("media", ()))}, vectors=vectors)


def to_table(moments: Iterable[Moment]) -> pa.Table:
    """Moments as rows of the moments table."""
    import pyarrow as pa

    rows = [
        {
            "id": m.id, "source": m.source, "text": m.text, "start": m.start, "end": m.end, "session": m.session,
            "turn": m.turn, "data": json.dumps(m.data), "media": list(m.media),
        }
        for m in moments
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=moments_schema())


def from_row(row: dict[str, Any]) -> Moment:
    """The moment of a row (without vectors)."""
    return Moment(
        id=row["id"], source=row["source"], text=row["text"], start=row["start"], end=row["end"],
        session=row["session"], turn=row["turn"] or 0, data=json.loads(row["data"] or "{}"),
        media=tuple(row["media"] or ()),
    )  # fmt: skip


def vector_rows(items: list[tuple[str, int, Moment, np.ndarray]]) -> pa.Table:
    """(id, seq, moment, vector) as rows of one space's table. All vectors have one dimension."""
    import pyarrow as pa

    dimension = items[0][3].size
    flat = pa.array(np.concatenate([vector for *_, vector in items]).astype(np.float32))
    return pa.table(
        [
            pa.array([i for i, *_ in items], pa.string()),
            pa.array([seq for _, seq, *_ in items], pa.int64()),
            pa.array([m.source for _, _, m, _ in items], pa.string()),
            pa.array([m.session for _, _, m, _ in items], pa.string()),
            pa.array([m.start for _, _, m, _ in items], pa.float64()),
            pa.FixedSizeListArray.from_arrays(flat, dimension),
        ],
        schema=vectors_schema(dimension),
    )


# --- filters ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """Which moments are meant: every condition given must hold. Times are compared with a moment's start."""

    sources: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    after: float | None = None  #: Unix seconds, inclusive
    before: float | None = None  #: Unix seconds, exclusive
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("after", "before"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise BadInput(f"{name} is {value}; it must be a time in Unix seconds.")

    def __bool__(self) -> bool:
        return bool(self.sources or self.sessions or self.ids) or self.after is not None or self.before is not None

    def matches(self, moment: Moment) -> bool:
        """Whether all conditions hold for `moment`."""
        return (
            (not self.sources or moment.source in self.sources)
            and (not self.sessions or moment.session in self.sessions)
            and (self.after is None or moment.start >= self.after)
            and (self.before is None or moment.start < self.before)
            and (not self.ids or moment.id in self.ids)
        )

    def sql(self) -> str:
        """The conditions as an SQL expression over either table; empty when there are none."""
        parts = [
            f"{column} IN ({', '.join(map(_quoted, values))})"
            for column, values in (("source", self.sources), ("session", self.sessions), ("id", self.ids))
            if values
        ]
        if self.after is not None:
            parts.append(f"start >= {float(self.after)!r}")
        if self.before is not None:
            parts.append(f"start < {float(self.before)!r}")
        return " AND ".join(parts)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def now() -> float:
    """Unix seconds."""
    return time.time()
