"""all-MiniLM-L6-v2 on ONNX Runtime: text embeddings, and late interaction for re-ranking.

Wang et al., "MiniLM: Deep Self-Attention Distillation" (2020); the sentence model is the
sentence-transformers project's: mean of the token vectors, length 1, 384 dimensions.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.errors import CapabilityUnavailable, ModelError
from omni_language.minilm_graph import build

MAX_TOKENS = 256  #: what the model was trained on; the rest of a longer text is not read
BATCH = 32
GRAPH = "minilm-l6-v2.opset20.onnx"

Vectors = NDArray[np.float32]


class MiniLM:
    """The loaded network and its one worker thread. Shared by those that use it: opened once, closed with the last.

    `find` gives the folder of the weights; `cache` is where the converted graph is kept.
    """

    def __init__(self, find: Callable[[], Awaitable[Path]], cache: Path, *, threads: int = 2) -> None:
        self._find = find
        self._cache = cache
        self._threads = threads
        self._worker: ThreadPoolExecutor | None = None
        self._session: Any = None
        self._tokenizer: Any = None
        self._users = 0
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Convert the weights if that was never done, load them, run once."""
        async with self._lock:
            self._users += 1
            if self._session is not None:
                return
            folder = await self._find()
            self._worker = ThreadPoolExecutor(1, "minilm")
            try:
                await self._run(self._load, folder)
            except BaseException:
                self._users -= 1
                self._worker.shutdown(wait=False, cancel_futures=True)
                self._worker = None
                raise

    async def close(self) -> None:
        """One user less; the last one gives everything back."""
        async with self._lock:
            self._users = max(0, self._users - 1)
            if self._users or self._worker is None:
                return
            self._worker.shutdown(wait=False, cancel_futures=True)
            self._worker = self._session = self._tokenizer = None

    async def sentences(self, texts: Sequence[str]) -> Vectors:
        """[n, 384], rows of length 1."""
        if not texts:
            return np.zeros((0, 384), np.float32)
        return await self._run(self._sentences, list(texts))

    async def tokens(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text [its tokens, 384], rows of length 1, without the two end marks."""
        return await self._run(self._token_vectors, list(texts)) if texts else []

    async def tokens_and_sentences(self, texts: Sequence[str]) -> tuple[list[Vectors], Vectors]:
        """What `tokens` and `sentences` give, from one run of the model. `texts` are not empty."""
        return await self._run(self._both, list(texts))

    def _run(self, function: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        if self._worker is None:
            raise ModelError("The text embedding model is closed.")
        return asyncio.get_running_loop().run_in_executor(self._worker, function, *args)

    def _load(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        graph = self._cache / GRAPH
        try:
            if not graph.exists():
                build(folder, graph)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self._threads
            options.inter_op_num_threads = 1
            options.log_severity_level = 3
            # A thread that spins between two short runs would take a core from whoever else needs it.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            graph.unlink(missing_ok=True)
            raise ModelError(
                f"The text embedding model in {folder} could not be loaded: {error}", "Run `omni models verify`."
            ) from error
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        self._sentences(["warm"])

    def _batches(self, texts: list[str], outputs: list[str]) -> list[tuple[list[int], list[int], list[Any]]]:
        """(indices, lengths, outputs) in batches of about equal length, so that little is computed for padding."""
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        batches = []
        for start in range(0, len(order), BATCH):
            indices = order[start : start + BATCH]
            lengths = [len(encoded[i]) for i in indices]
            ids = np.zeros((len(indices), max(lengths)), np.int64)
            for row, index in enumerate(indices):
                ids[row, : lengths[row]] = encoded[index]
            mask = (np.arange(ids.shape[1])[None] < np.array(lengths)[:, None]).astype(np.int64)
            batches.append((indices, lengths, self._session.run(outputs, {"ids": ids, "mask": mask})))
        return batches

    def _sentences(self, texts: list[str]) -> Vectors:
        result = np.empty((len(texts), 384), np.float32)
        for indices, _, (vectors,) in self._batches(texts, ["sentence"]):
            result[indices] = vectors
        return result

    def _token_vectors(self, texts: list[str]) -> list[Vectors]:
        return self._both(texts)[0]

    def _both(self, texts: list[str]) -> tuple[list[Vectors], Vectors]:
        tokens: list[Vectors] = [np.zeros((0, 384), np.float32)] * len(texts)
        whole = np.empty((len(texts), 384), np.float32)
        for indices, lengths, (vectors, sentences) in self._batches(texts, ["tokens", "sentence"]):
            whole[indices] = sentences
            for row, index in enumerate(indices):
                tokens[index] = vectors[row, 1 : lengths[row] - 1].copy()
        return tokens, whole


class TextEmbedder:
    """Meaning of a text as a unit vector. The latest texts' vectors are kept, for the same ones come again."""

    space = "text"
    dimension = 384

    def __init__(self, model: MiniLM, *, remember: int = 4096) -> None:
        self._model = model
        self._remember = remember
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self._open = False

    async def open(self) -> None:
        """Load the model."""
        if not self._open:
            await self._model.open()
            self._open = True

    async def close(self) -> None:
        """Give it back. Idempotent."""
        if self._open:
            self._open = False
            self._known.clear()
            await self._model.close()

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """[n, 384], rows of length 1. Questions and passages are embedded alike."""
        wanted = {text: self._known.get(text) for text in texts}
        missing = [text for text, vector in wanted.items() if vector is None]
        for text, vector in zip(missing, await self._model.sentences(missing), strict=True):
            wanted[text] = vector
            self._known[text] = vector
        for text in wanted:
            if text in self._known:
                self._known.move_to_end(text)
        while len(self._known) > self._remember:
            self._known.popitem(last=False)
        return np.stack([wanted[text] for text in texts]) if texts else np.zeros((0, 384), np.float32)

    async def embed_images(self, images: Sequence[bytes]) -> Vectors:
        """Raises `CapabilityUnavailable`: this space has words only."""
        raise CapabilityUnavailable("The text space holds no images.", "Ask for an embedder with space 'image-text'.")


class LateReranker:
    """Late interaction (Khattab and Zaharia, "ColBERT", 2020) on MiniLM's token vectors, blended with the sentence's.

    Each word of the query looks for the word of the passage that is nearest in context; the mean of
    these is robust where one vector for a long passage washes its one relevant sentence out.
    """

    def __init__(self, model: MiniLM, *, blend: float = 0.5) -> None:
        self._model = model
        self._blend = blend
        self._open = False

    async def open(self) -> None:
        """Load the model."""
        if not self._open:
            await self._model.open()
            self._open = True

    async def close(self) -> None:
        """Give it back. Idempotent."""
        if self._open:
            self._open = False
            await self._model.close()

    async def rerank(self, query: str, passages: Sequence[str]) -> list[float]:
        """A score for each passage in -1..1, higher is better. A blank query scores everything 0."""
        if not passages or not query.strip():
            return [0.0] * len(passages)
        (question, *words), vectors = await self._model.tokens_and_sentences([query, *passages])
        whole = vectors[1:] @ vectors[0]
        return [
            float(self._blend * late_interaction(question, passage) + (1 - self._blend) * cosine)
            for passage, cosine in zip(words, whole, strict=True)
        ]


def late_interaction(query: Vectors, passage: Vectors) -> float:
    """Mean over the query's tokens [q, d] of the best cosine with a token of the passage [p, d]; 0 for an empty one."""
    if not len(query) or not len(passage):
        return 0.0
    return float((query @ passage.T).max(axis=1).mean())
