"""Text in images: PP-OCRv6 through rapidocr, whose wheel carries the models.

A line costs about 10 ms on two cores. Three things were cut from the library's defaults, each measured on
receipts (mean of 22: 1.9 -> 0.7 CPU seconds, the same characters found): the classifier of upside-down lines
(lines are only turned when they read badly), padding every line to the width of a long one, and detection at
full size where the letters are large enough at 1280 pixels. Where they are not, the text is found tile by tile
at full size; the tiles' probability maps are joined before lines are cut out, so no line is cut in two.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from omni.capabilities import Region
from omni_vision.images import Picture, decode, tiles
from omni_vision.layout import reading_order
from omni_vision.runtime import Worker

SIDE = 1280  #: pixels of the longer side for the first look, and of a tile
OVERLAP = 160
SMALL_TEXT = 13  #: lines lower than this many pixels at the first look are looked at again at full size
SURE = 0.8  #: mean certainty below which the page is also read turned
LEAST = 0.5  #: a line less certain than this is not told


class RapidReader:
    """`TextReader` by rapidocr, in a thread of its own."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads
        self._engine: Any = None
        self._worker: Worker | None = None

    async def open(self) -> None:
        """Load both models (31 MB, half a second)."""
        if self._worker is None:
            self._worker = Worker("ocr")
            await self._worker.run(self._load)

    async def close(self) -> None:
        """Idempotent."""
        if self._worker is not None:
            self._worker.close()
            self._worker = self._engine = None

    async def read(self, image: bytes) -> list[Region]:
        """The lines of text in reading order, `kind` "text". Raises `BadInput` when it is no image."""
        await self.open()
        assert self._worker is not None
        return await self._worker.run(lambda: self.read_picture(decode(image)))

    async def read_pixels(self, picture: Picture) -> list[Region]:
        """The same of a decoded picture."""
        await self.open()
        assert self._worker is not None
        return await self._worker.run(self.read_picture, picture)

    def read_picture(self, picture: Picture) -> list[Region]:
        """In the caller's thread. Turned pages are read too; boxes are always those of the picture as given."""
        self._load()
        lines = self._lines(picture.pixels)
        if len(lines) >= 3 and _certainty(lines) < SURE:
            upright = (_certainty(lines), len(lines), 0, lines)
            turned = [upright]
            for quarter in (1, 2, 3):
                found = self._lines(np.ascontiguousarray(np.rot90(picture.pixels, quarter)))
                turned.append((_certainty(found), len(found), quarter, found))
            best = max(turned, key=lambda one: one[0])
            if best[0] > upright[0] + 0.05:
                return [_turn_back(line, best[2], picture.width, picture.height) for line in reading_order(best[3])]
        return reading_order(lines)

    def _load(self) -> None:
        if self._engine is None:
            self._engine = _Engine(self._threads)

    def _lines(self, pixels: np.ndarray) -> list[Region]:
        bgr = np.ascontiguousarray(pixels[:, :, ::-1])
        boxes = self._engine.find(bgr, whole=True)
        shrink = SIDE / max(bgr.shape[:2])
        if shrink < 0.8:
            heights = [min(_sides(box)) * shrink for box in boxes]
            if not heights or median(heights) < SMALL_TEXT:
                boxes = self._engine.find(bgr, whole=False)
        return self._engine.recognise(bgr, boxes)


class _Engine:
    """rapidocr's detector and recogniser, called for a probability map and for crops."""

    def __init__(self, threads: int) -> None:
        from rapidocr import RapidOCR

        engine = RapidOCR(
            params={
                "Global.use_cls": False,
                "Global.log_level": "critical",
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
                "Det.limit_type": "max",
                "Det.limit_side_len": SIDE,
                "Rec.rec_batch_num": 2,
                "Rec.rec_img_shape": [3, 48, 48],
            }
        )
        self._detector = engine._load_det_model()  # rapidocr is pinned below the next major version
        self._recogniser = engine._load_rec_model()

    def find(self, bgr: np.ndarray, whole: bool) -> np.ndarray:
        """Quadrilaterals [n, 4, 2] of lines, from one shrunken look or from tiles at full size."""
        height, width = bgr.shape[:2]
        prepare = self._detector.get_preprocess()
        if whole:
            small = _padded(bgr, 64)
            map_ = self._detector.session(prepare(small))[:, 0]
            boxes = self._detector.postprocess_op(map_[:, None], small.shape[:2])[0]
        else:
            map_ = np.zeros((1, height, width), np.float32)
            for left, top, right, bottom in tiles(width, height, SIDE, OVERLAP):
                part = self._detector.session(prepare(bgr[top:bottom, left:right]))[0, 0]
                view = map_[0, top:bottom, left:right]
                np.maximum(view, _resized(part, right - left, bottom - top), out=view)
            boxes = self._detector.postprocess_op(map_[:, None], (height, width))[0]
        return np.asarray(boxes, dtype=np.float32).reshape(-1, 4, 2)

    def recognise(self, bgr: np.ndarray, boxes: np.ndarray) -> list[Region]:
        from rapidocr.ch_ppocr_rec import TextRecInput
        from rapidocr.utils.process_img import get_rotate_crop_image

        if not len(boxes):
            return []
        crops = [get_rotate_crop_image(bgr, box.copy()) for box in boxes]
        usable = [i for i, crop in enumerate(crops) if min(crop.shape[:2]) >= 2]
        if not usable:
            return []
        read = self._recogniser(TextRecInput(img=[crops[i] for i in usable], return_word_box=False))
        found = []
        for i, text, score in zip(usable, read.txts, read.scores, strict=True):
            if text.strip() and score >= LEAST:
                (left, top), (right, bottom) = boxes[i].min(axis=0), boxes[i].max(axis=0)
                box = (float(left), float(top), float(right), float(bottom))
                found.append(Region("text", text.strip(), box, float(score)))
        return found


def bundled_models() -> list[Path]:
    """The models inside rapidocr's wheel, without importing it."""
    import importlib.util

    spec = importlib.util.find_spec("rapidocr")
    folder = Path(spec.origin).parent / "models" if spec and spec.origin else None
    return sorted(folder.glob("PP-OCR*.onnx")) if folder else []


def _certainty(lines: list[Region]) -> float:
    """The mean certainty, long lines counting more. Turned letters read as short, doubtful lines."""
    weights = [len(line.text) for line in lines]
    return sum(w * line.confidence for w, line in zip(weights, lines, strict=True)) / max(1, sum(weights))


def _turn_back(line: Region, quarters: int, width: int, height: int) -> Region:
    """A line of the picture turned counter-clockwise by quarters, in the picture as it was (width x height)."""
    left, top, right, bottom = line.box
    if quarters == 1:
        box = (width - bottom, left, width - top, right)
    elif quarters == 2:
        box = (width - right, height - bottom, width - left, height - top)
    else:
        box = (top, height - right, bottom, height - left)
    return Region(line.kind, line.text, box, line.confidence)


def _sides(box: np.ndarray) -> tuple[float, float]:
    return float(np.linalg.norm(box[0] - box[1])), float(np.linalg.norm(box[1] - box[2]))


def _padded(bgr: np.ndarray, least: int) -> np.ndarray:
    """At least `least` pixels on each side, white added to the right and below: the network halves five times."""
    height, width = bgr.shape[:2]
    if min(height, width) >= least:
        return bgr
    padded = np.full((max(height, least), max(width, least), 3), 255, np.uint8)
    padded[:height, :width] = bgr
    return padded


def _resized(map_: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    return cv2.resize(map_, (width, height), interpolation=cv2.INTER_LINEAR)
