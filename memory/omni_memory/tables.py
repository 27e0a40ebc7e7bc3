"""The LanceDB side: one table of moments, one of vectors a space. Every call here blocks; one thread writes."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Moment
from omni.errors import BadInput
from omni_memory import schema
from omni_memory.matrix import EXACT_ROWS, VectorMatrix
from omni_memory.schema import Filter

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

MOMENTS = "moments"
CHUNK = 500  #: ids in one SQL list
_VECTORS = "vectors_"
#: How long an old version stays for readers in other processes that are in the middle of a query.
_GRACE = timedelta(minutes=10)
#: Bytes that LanceDB may keep of indices and of manifests. Left alone it keeps up to 7 GB; six hundred small commits
#: make 200 MB of manifests, and it grows by the square.
INDEX_CACHE, METADATA_CACHE = 512 << 20, 16 << 20
_importing = threading.Lock()


def lance() -> Any:
    """LanceDB with all that is used of it and of pyarrow, imported here alone.

    Their modules import each other in circles: of two threads that begin with different ones (`lancedb` and
    `lancedb.index`), one is given a half-made module and fails. Takes a second the first time.
    """
    with _importing:
        # Lance would otherwise start a thread for each core it sees, beside the models' own.
        os.environ.setdefault("LANCE_CPU_THREADS", "2")
        import lancedb
        import lancedb.index
        import pyarrow.compute  # noqa: F401
    return lancedb


class Tables:
    """The tables in `folder`. Reading is safe from any thread; writing belongs to one.

    `refresh` makes another process's commits visible; with `writable` False nothing is ever created.
    """

    def __init__(self, folder: Path, *, writable: bool, stemming_language: str = "English") -> None:
        self.folder = folder
        self.writable = writable
        self._language = stemming_language
        self._lock = threading.Lock()
        self._db: Any = None
        self._open: dict[str, Any] = {}
        self._matrices: dict[str, tuple[int, VectorMatrix]] = {}
        self._matrix_lock = threading.Lock()
        self._seq = time.time_ns()

    # -- opening ------------------------------------------------------------------------------

    def _connect(self) -> Any:
        if self._db is None:
            bounds = lance().Session(index_cache_size_bytes=INDEX_CACHE, metadata_cache_size_bytes=METADATA_CACHE)
            self._db = lance().connect(self.folder, session=bounds)
        return self._db

    def _written(self, name: str) -> bool:
        """Whether the table has a version: one whose making was killed is a folder without any."""
        return any((self.folder / f"{name}.lance" / "_versions").glob("*.manifest"))

    def _table(self, name: str) -> Any | None:
        """The open table, or None where it has not been written yet."""
        with self._lock:
            if name not in self._open:
                if not self._written(name):
                    return None
                self._open[name] = self._connect().open_table(name)
            return self._open[name]

    def _create(self, name: str, table_schema: pa.Schema, indices: dict[str, Any]) -> Any:
        with self._lock:
            table = self._connect().create_table(name, schema=table_schema, exist_ok=True)
            self._index(table, indices)
            self._open[name] = table
            return table

    @staticmethod
    def _index(table: Any, indices: dict[str, Any]) -> None:
        present = {column for index in table.list_indices() for column in index.columns}
        for column, config in indices.items():
            if column not in present:
                table.create_index(column, config=config)

    def _moments(self) -> Any:
        """The moments table, made if need be."""
        if (table := self._table(MOMENTS)) is not None:
            return table
        return self._create(MOMENTS, schema.moments_schema(), self._indices(MOMENTS))

    def _indices(self, name: str) -> dict[str, Any]:
        index = lance().index
        if name != MOMENTS:
            return {"id": index.BTree(), "seq": index.BTree()}
        ordered = {column: index.BTree() for column in ("id", "start", "session")}
        return {"text": self._full_text(), **ordered, "source": index.Bitmap()}

    def _full_text(self) -> Any:
        how = {"with_position": False, "stem": True, "remove_stop_words": True, "ascii_folding": True}
        return lance().index.FTS(language=self._language, **how)

    def spaces(self) -> list[str]:
        """The vector spaces that have a table."""
        names = (path.stem for path in self.folder.glob(f"{_VECTORS}*.lance"))
        return sorted(name.removeprefix(_VECTORS) for name in names if self._written(name))

    def refresh(self) -> None:
        """See what another process has committed."""
        for name in list(self._open):
            self._open[name].checkout_latest()

    def reading(self, query: Callable[[], T]) -> T:
        """Run a query; once more on the latest version when the one it began with was cleaned away meanwhile."""
        if not self.writable:
            self.refresh()
        try:
            return query()
        except (OSError, RuntimeError, ValueError):
            self.refresh()
            return query()

    # -- writing (one thread) -----------------------------------------------------------------

    def put(self, moments: Sequence[Moment], *, fresh: bool = False) -> list[str]:
        """Write moments and their vectors; those with an id that is there already replace it unless all are `fresh`.

        Returns sentences about vectors that could not be kept.
        """
        if not moments:
            return []
        if not fresh and self._table(MOMENTS) is not None:
            self.delete(self.present([m.id for m in moments]))
        self._moments().add(schema.to_table(moments))
        spaces = sorted({space for m in moments for space in m.vectors})
        return [w for s in spaces for w in self.put_vectors(s, [(m, m.vectors[s]) for m in moments if s in m.vectors])]

    def replace(self, moments: Sequence[Moment]) -> None:
        """Write the moments table anew from `moments`."""
        self._overwrite(MOMENTS, schema.to_table(moments), self._indices(MOMENTS))

    def _overwrite(self, name: str, data: Any, indices: dict[str, Any]) -> None:
        """Write a table anew, in one commit: until it is done, the old one stands."""
        with self._lock:
            table = self._connect().create_table(name, data, mode="overwrite")
            self._index(table, indices)
            self._open[name] = table

    def put_vectors(self, space: str, items: Sequence[tuple[Moment, NDArray[np.float32]]]) -> list[str]:
        """Write one space's vectors for moments. Returns sentences about those of another dimension."""
        name = schema.vectors_table(space)
        dimension = self.dimension(space) or items[0][1].size
        fitting = [(m, v) for m, v in items if v.size == dimension]
        if fitting:
            table = self._table(name)
            if table is None:
                table = self._create(name, schema.vectors_schema(dimension), self._indices(name))
            self._seq = max(self._seq + 1, time.time_ns())
            rows = [(m.id, self._seq + i, m, v) for i, (m, v) in enumerate(fitting)]
            self._seq += len(rows)
            table.add(schema.vector_rows(rows))
            if space in self._matrices:
                self.matrix(space)
        if len(fitting) == len(items):
            return []
        wrong = next(v.size for _, v in items if v.size != dimension)
        return [f"{len(items) - len(fitting)} vectors of the space {space} have {wrong} dimensions, not {dimension}."]

    def repair(self) -> None:
        """Make the indices that a kill between a table and its indices left out."""
        for name in (MOMENTS, *(_VECTORS + s for s in self.spaces())):
            if (table := self._table(name)) is not None:
                self._index(table, self._indices(name))

    def delete(self, ids: Iterable[str]) -> None:
        """Delete moments and their vectors; they stay in old versions until `purge`."""
        ids = list(ids)
        for name in (MOMENTS, *(_VECTORS + s for s in self.spaces())):
            table = self._table(name)
            for chunk in _chunks(ids) if table is not None else ():
                table.delete(Filter(ids=chunk).sql())

    def delete_vectors(self, space: str, ids: Iterable[str]) -> None:
        """Delete one space's vectors of moments that stay."""
        if (table := self._table(schema.vectors_table(space))) is not None:
            for chunk in _chunks(list(ids)):
                table.delete(Filter(ids=chunk).sql())

    def optimise(self) -> None:
        """Merge small files, bring the indices up to date, drop versions nobody can be reading any more."""
        for name in (MOMENTS, *(_VECTORS + s for s in self.spaces())):
            if (table := self._table(name)) is not None:
                table.optimize(cleanup_older_than=_GRACE)
        for space in self.spaces():
            table = self._table(_VECTORS + space)
            indexed = any("vector" in index.columns for index in table.list_indices())
            if table.count_rows() > EXACT_ROWS and not indexed:
                from lancedb.index import IvfSq

                table.create_index("vector", config=IvfSq(distance_type="dot"))

    def purge(self) -> None:
        """Leave no byte of deleted rows: compact, build the full-text index anew, drop every old version and orphan.

        Lance's compaction leaves a deleted row in its file while less than a tenth of that file is
        deleted, and LanceDB has no way to say otherwise: such a table is written anew.
        """
        everything = {"cleanup_older_than": timedelta(0), "delete_unverified": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # readers retry on the latest version, see `reading`
            for name in (MOMENTS, *(_VECTORS + s for s in self.spaces())):
                if (table := self._table(name)) is None:
                    continue
                self._index(table, self._indices(name))
                table.optimize(**everything)
                if int(table.list_versions()[-1]["metadata"].get("total_deletion_file_rows", 1)):
                    rows = table.search().limit(max(1, table.count_rows())).to_batches()
                    self._overwrite(name, rows, self._indices(name))
                    table = self._table(name)
                elif name == MOMENTS:
                    table.create_index("text", config=self._full_text(), replace=True)
                table.optimize(**everything)

    def sync(self, since: float) -> None:
        """Bring files changed since `since` (Unix seconds) to the disk, so that the journal may let go of them."""
        for root, _, names in os.walk(self.folder):
            for path in (Path(root), *(Path(root, name) for name in names)):
                try:
                    if path.stat().st_mtime < since - 2.0:
                        continue
                    file = os.open(path, os.O_RDONLY)
                except FileNotFoundError:
                    continue
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    # -- reading ------------------------------------------------------------------------------

    def count(self, where: Filter | None = None) -> int:
        """How many moments there are."""
        table = self._table(MOMENTS)
        return 0 if table is None else table.count_rows((where.sql() if where else "") or None)

    def vectors(self, space: str) -> int:
        """How many vectors a space has."""
        table = self._table(schema.vectors_table(space))
        return 0 if table is None else table.count_rows()

    def present(self, ids: Sequence[str]) -> set[str]:
        """Which of `ids` the table holds."""
        table = self._table(MOMENTS)
        if table is None:
            return set()
        rows = (table.search().where(Filter(ids=c).sql()).select(["id"]).limit(CHUNK * 2) for c in _chunks(ids))
        return {i for query in rows for i in query.to_arrow()["id"].to_pylist()}

    def fetch(self, ids: Sequence[str]) -> dict[str, Moment]:
        """The moments with these ids, by id."""
        table = self._table(MOMENTS)
        if table is None:
            return {}
        found: dict[str, Moment] = {}
        for chunk in _chunks(list(ids)):
            rows = table.search().where(Filter(ids=chunk).sql()).limit(CHUNK * 2).to_arrow().to_pylist()
            found |= {row["id"]: schema.from_row(row) for row in rows}
        return found

    def columns(self, where: Filter, names: Sequence[str]) -> pa.Table:
        """Some columns of all moments that `where` lets through, in no order."""
        table = self._table(MOMENTS)
        if table is None:
            return schema.moments_schema().empty_table().select(list(names))
        query = table.search().select(list(names))
        if where:
            query = query.where(where.sql())
        return query.limit(max(1, table.count_rows())).to_arrow().select(list(names))

    def ids(self, where: Filter) -> list[str]:
        """The ids of all moments that `where` lets through, earliest first."""
        rows = self.columns(where, ["id", "start"]).sort_by([("start", "ascending"), ("id", "ascending")])
        return rows["id"].to_pylist()

    def moments(self, where: Filter, *, newest: int | None = None) -> Iterator[Moment]:
        """Moments that `where` lets through, earliest first; with `newest`, only the last so many."""
        ids = self.ids(where)
        ids = ids if newest is None else ids[max(0, len(ids) - newest) :]
        for chunk in _chunks(ids):
            found = self.fetch(chunk)
            yield from (found[i] for i in chunk if i in found)

    def full_text(self, query: str, limit: int, where: Filter) -> list[tuple[str, str]]:
        """(id, text) of the moments whose words fit best (BM25), best first."""
        table = self._table(MOMENTS)
        if table is None or not query.strip():
            return []
        search = table.search(query, query_type="fts").select(["id", "text", "_score"])
        if where:
            search = search.where(where.sql(), prefilter=True)
        try:
            rows = search.limit(limit).to_arrow()
        except (RuntimeError, ValueError):
            if any("text" in index.columns for index in table.list_indices()):
                raise
            return []  # killed before the index was made: the writer's first flush makes it
        return list(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True))

    def dimension(self, space: str) -> int | None:
        """The dimension of a space's vectors; None where there are none yet."""
        table = self._table(schema.vectors_table(space))
        return None if table is None else table.schema.field("vector").type.list_size

    def nearest(self, space: str, vector: NDArray[np.float32], limit: int, where: Filter) -> list[tuple[str, float]]:
        """(id, cosine) of the nearest vectors, best first: exact up to `EXACT_ROWS`, then by the table's index."""
        table = self._table(schema.vectors_table(space))
        if table is None:
            return []
        if vector.size != (dimension := self.dimension(space)):
            raise BadInput(
                f"The memory's vectors of the space {space} have {dimension} dimensions; the query has {vector.size}.",
                "Use the embedder that the space was written with.",
            )
        if table.count_rows() <= EXACT_ROWS:
            matrix = self.matrix(space)
            with self._matrix_lock:
                return matrix.search(vector, limit, where)
        query = table.search(vector).distance_type("dot").nprobes(32)
        if where:
            query = query.where(where.sql(), prefilter=True)
        rows = query.select(["id", "_distance"]).limit(limit).to_arrow()
        return [(i, 1.0 - d) for i, d in zip(rows["id"].to_pylist(), rows["_distance"].to_pylist(), strict=True)]

    def matrix(self, space: str) -> VectorMatrix:
        """The space's vectors in memory, brought up to date."""
        table = self._table(schema.vectors_table(space))
        with self._matrix_lock:
            version = table.version
            seen, matrix = self._matrices.get(space, (-1, None))
            if matrix is not None and seen == version:
                return matrix
            if matrix is not None:
                self._load(table, matrix)
            if matrix is None or len(matrix) != table.count_rows():  # rows went: start again
                matrix = VectorMatrix(table.schema.field("vector").type.list_size)
                self._load(table, matrix)
            self._matrices[space] = (version, matrix)
            return matrix

    @staticmethod
    def _load(table: Any, matrix: VectorMatrix) -> None:
        query = table.search()
        if matrix.last_seq >= 0:
            query = query.where(f"seq > {matrix.last_seq}")
        rows = query.limit(max(1, table.count_rows())).to_arrow()
        for batch in rows.to_batches():
            flat = batch["vector"].flatten().to_numpy(zero_copy_only=False)
            columns = [batch[name].to_pylist() for name in ("id", "start", "source", "session")]
            matrix.extend(columns[0], flat.reshape(-1, matrix.dimension), *columns[1:])
            if batch.num_rows:
                matrix.last_seq = max(matrix.last_seq, max(batch["seq"].to_pylist()))

    def without_vector(self, space: str) -> list[str]:
        """Ids of moments with text that have no vector in `space`, newest first."""
        import pyarrow.compute as pc

        moments = self.columns(Filter(), ["id", "start", "text"])
        moments = moments.filter(pc.not_equal(moments["text"], ""))
        table = self._table(schema.vectors_table(space))
        if table is not None:
            have = table.search().select(["id"]).limit(max(1, table.count_rows())).to_arrow()["id"]
            moments = moments.filter(pc.invert(pc.is_in(moments["id"], value_set=have.combine_chunks())))
        return moments.sort_by([("start", "descending")])["id"].to_pylist()

    def drop_space(self, space: str) -> None:
        """Forget every vector of a space, e.g. because its embedder was changed."""
        name = schema.vectors_table(space)
        with self._lock, self._matrix_lock:
            self._open.pop(name, None)
            self._matrices.pop(space, None)
            if (self.folder / f"{name}.lance").exists():
                self._connect().drop_table(name)


def migrate(tables: Tables, version: int) -> None:
    """Bring the tables from schema `version` to the present one. Each step can be run twice.

    1 -> 2: moments get `turn` and `media`; vectors leave the column `vector` for the table of the space "text".
    """
    table = tables._table(MOMENTS)
    if table is None:
        return
    if version < 2 and "vector" in table.schema.names:
        rows = table.search().limit(max(1, table.count_rows())).to_arrow().to_pylist()
        moments = [schema.from_row({"turn": 0, "media": [], **row}) for row in rows]
        vectors = [(m, np.float32(row["vector"])) for m, row in zip(moments, rows, strict=True) if row["vector"]]
        tables.drop_space("text")
        if vectors:
            tables.put_vectors("text", vectors)
        tables.replace(moments)


def _chunks(ids: Sequence[str] | set[str]) -> Iterator[tuple[str, ...]]:
    ids = tuple(ids)
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
