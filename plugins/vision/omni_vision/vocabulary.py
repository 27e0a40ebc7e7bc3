"""The names of all labels and objects as text vectors: made once, kept in a file, shared by what searches with them.

A label stands for its name and for what its photos show, in the words people use ("a golden retriever, a yellow
dog"): people ask for dogs, not for breeds, and "boxer", "papillon" or "crane" alone would mean something else.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Embedder
from omni_vision import labels, objects

Rows = NDArray[np.float32]


class Vocabulary:
    """`text` is the plugin or model that embeds; `folder` is where the vectors are kept, None for nowhere."""

    def __init__(self, host: Any, folder: Path | None = None, text: str = "minilm-l6") -> None:
        self._host = host
        self._folder = folder
        self._text = text
        self._rows: tuple[Rows, Rows] | None = None
        self._lock = asyncio.Lock()

    @property
    def embedder(self) -> Any:
        """What the vectors come from, and questions go to."""
        return self._host.get(Embedder, space="text", model=self._text)

    async def vectors(self) -> tuple[Rows, Rows]:
        """Unit vectors of the labels [1000, d] and of the objects [80, d]."""
        async with self._lock:
            if self._rows is None:
                rows = await self._all()
                count = len(labels.names())
                self._rows = rows[:count], rows[count:]
            return self._rows

    def forget(self) -> None:
        """What is in memory."""
        self._rows = None

    async def _all(self) -> Rows:
        names = [f"a photo of a {name}" for name in (*labels.names(), *objects.names())]
        meanings = [f"a photo of {words}" for words in labels.meanings()]
        first = (await self.embedder.embed_text(names[:1]))[0]
        kept = await asyncio.to_thread(self._read, [*names, *meanings], first)
        if kept is not None:
            return kept
        rows = np.array(await self.embedder.embed_text(names), np.float32)
        rows[: len(meanings)] += await self.embedder.embed_text(meanings)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        await asyncio.to_thread(self._write, [*names, *meanings], first, rows)
        return rows

    def _path(self, texts: list[str]) -> Path | None:
        key = hashlib.sha256("\n".join([self._text, *texts]).encode()).hexdigest()[:16]
        return self._folder / f"vocabulary-{key}.npz" if self._folder is not None else None

    def _read(self, texts: list[str], first: Rows) -> Rows | None:
        """What was kept, if the embedder is still the one that made it."""
        path = self._path(texts)
        if path is None:
            return None
        try:
            with np.load(path, allow_pickle=False) as data:
                same = data["first"].shape == first.shape and np.allclose(data["first"], first, atol=1e-2)
                return data["rows"].astype(np.float32) if same else None
        except (OSError, ValueError, KeyError):
            return None

    def _write(self, texts: list[str], first: Rows, rows: Rows) -> None:
        """A full disk costs the next start a few seconds."""
        path = self._path(texts)
        if path is None:
            return
        partial = path.with_suffix(".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for old in path.parent.glob("vocabulary-*.npz"):
                old.unlink(missing_ok=True)
            with partial.open("wb") as stream:
                np.savez(stream, first=first, rows=rows.astype(np.float16))
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
