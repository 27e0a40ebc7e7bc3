"""`Embedder` in the space "image-text": a CLIP-family dual encoder as one ONNX graph.

The graph's signature is that of the exports on the hub (CLIP, TinyCLIP, MobileCLIP, SigLIP): `input_ids`
[texts, tokens], `pixel_values` [images, 3, size, size] and, except for SigLIP, `attention_mask` go in; `text_embeds`
and `image_embeds` come out. Both sides always run, so the side that is not asked for gets one dummy.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.errors import ModelCorrupt
from omni.worker import Worker
from omni_vision import images
from omni_vision.runtime import session

BATCH = 16


class DualEncoder:
    """Text and images as unit vectors of one space. `model_folder` gives the folder of the catalogue model."""

    space = "image-text"

    def __init__(self, model_folder: Callable[[str], Any], model: str = "tinyclip-8m") -> None:
        self._model_folder = model_folder
        self._model = model
        self._worker: Worker | None = None
        self._session: Any = None
        self._tokenizer: Any = None
        self._prepare: _Prepare | None = None
        self.dimension = 512

    async def open(self) -> None:
        """Load it. Raises `ModelMissing` where no source has it, `ModelCorrupt` where the graph is another one."""
        if self._worker is not None:
            return
        folder = Path(await self._model_folder(self._model))
        worker = Worker("image-text")
        try:
            await worker.run(self._load, folder)
        except BaseException:
            worker.close()
            raise
        self._worker = worker

    async def close(self) -> None:
        """Idempotent."""
        if self._worker is not None:
            self._worker.close()
            self._worker = self._session = None

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """[n, dimension], rows of length 1."""
        await self.open()
        assert self._worker is not None
        return await self._worker.run(self._texts, list(texts))

    async def embed_images(self, encoded: Sequence[bytes]) -> NDArray[np.float32]:
        """[n, dimension], rows of length 1. Raises `BadInput` when one is no image."""
        await self.open()
        assert self._worker is not None
        pictures = [await asyncio.to_thread(images.decode, one) for one in encoded]
        return await self._worker.run(self._images, [picture.pixels for picture in pictures])

    def _load(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        graph = next(iter(sorted(folder.rglob("*.onnx"))), None)
        if graph is None:
            raise ModelCorrupt(f"There is no ONNX file in {folder.name}.", "Fetch the model again.")
        self._session = session(graph)
        names = {one.name for one in self._session.get_inputs()} | {one.name for one in self._session.get_outputs()}
        missing = {"input_ids", "pixel_values", "text_embeds", "image_embeds"} - names
        if missing:
            raise ModelCorrupt(f"{graph.name} is not a dual encoder: it has no {', '.join(sorted(missing))}.")
        self._masked = "attention_mask" in names
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        length = 77 if self._masked else 64
        pad = self._tokenizer.token_to_id("<|endoftext|>") if self._masked else self._tokenizer.token_to_id("<pad>")
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(pad_id=pad or 0, length=None if self._masked else length)
        self._prepare = _Prepare.read(folder / "preprocessor_config.json")
        self.dimension = int(self._texts(["a"]).shape[1])

    def _texts(self, texts: list[str]) -> NDArray[np.float32]:
        assert self._prepare is not None
        blank = np.zeros((1, 3, self._prepare.size, self._prepare.size), np.float32)
        rows = []
        for start in range(0, len(texts), BATCH):
            encoded = self._tokenizer.encode_batch([text or " " for text in texts[start : start + BATCH]])
            feeds = {"input_ids": np.array([one.ids for one in encoded], np.int64), "pixel_values": blank}
            if self._masked:
                feeds["attention_mask"] = np.array([one.attention_mask for one in encoded], np.int64)
            rows.append(self._session.run(["text_embeds"], feeds)[0])
        return _unit(np.concatenate(rows) if rows else np.zeros((0, self.dimension)))

    def _images(self, pictures: list[np.ndarray]) -> NDArray[np.float32]:
        assert self._prepare is not None
        encoded = self._tokenizer.encode("a")
        rows = []
        for start in range(0, len(pictures), BATCH):
            pixels = np.stack([self._prepare(one) for one in pictures[start : start + BATCH]])
            feeds = {"input_ids": np.array([encoded.ids], np.int64), "pixel_values": pixels}
            if self._masked:
                feeds["attention_mask"] = np.array([encoded.attention_mask], np.int64)
            rows.append(self._session.run(["image_embeds"], feeds)[0])
        return _unit(np.concatenate(rows) if rows else np.zeros((0, self.dimension)))


class _Prepare:
    """Pixels as the model's `preprocessor_config.json` wants them: shortest side, middle square, mean, deviation."""

    def __init__(self, size: int, crop: bool, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self.size = size
        self._crop = crop
        self._mean, self._deviation = (np.asarray(one, np.float32).reshape(3, 1, 1) for one in (mean, deviation))

    @classmethod
    def read(cls, path: Path) -> _Prepare:
        try:
            config = json.loads(path.read_text())
            size = config.get("crop_size") or config["size"]
            side = int(size if isinstance(size, int) else size.get("height") or size["shortest_edge"])
            return cls(side, bool(config.get("do_center_crop")), config["image_mean"], config["image_std"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelCorrupt(f"{path.name} can't be used: {error}.", "Fetch the model again.") from error

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """[height, width, 3] uint8 -> [3, size, size] float32."""
        from PIL import Image

        image = Image.fromarray(pixels)
        if self._crop:
            scale = self.size / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BICUBIC)
            left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
            image = image.crop((left, top, left + self.size, top + self.size))
        else:
            image = image.resize((self.size, self.size), Image.BICUBIC)
        return (np.asarray(image, np.float32).transpose(2, 0, 1) / 255 - self._mean) / self._deviation


def _unit(rows: np.ndarray) -> NDArray[np.float32]:
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
