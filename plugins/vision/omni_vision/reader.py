"""Text in images: PP-OCRv6 through rapidocr, whose wheel carries the models.

A line costs about 10 ms on two cores. Three things were cut from the library's defaults, each measured on
receipts (mean of 22: 1.9 -> 0.7 CPU seconds, the same characters found): the classifier of upside-down lines
(the six longest lines decide for the page), padding every line to the width of a long one, and detection at
full size where the letters are large enough at 1280 pixels. Where they are not, the text is found tile by tile
at full size; the tiles' probability maps are joined before lines are cut out, so no line is cut in two.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from omni.capabilities import Region
from omni.worker import Worker
from omni_vision.images import Picture, decode, tiles
from omni_vision.layout import reading_order

SIDE = 1280  #: pixels of the longer side for the first look, and of a tile
OVERLAP = 160
SMALL_TEXT = 13  #: lines lower than this many pixels at the first look are looked at again at full size
SAMPLE = 6  #: lines that decide which way is up
LEAST = 0.5  #: a line less certain than this is not told
MOST = 500  #: lines of a picture that are read, the longest first: hatching can look like thousands of short ones


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
        pixels, quarters = picture.pixels, 0
        boxes = self._boxes(pixels)
        if quarters := self._engine.quarters(_bgr(pixels), boxes):
            pixels = np.ascontiguousarray(np.rot90(pixels, quarters))
            boxes = self._boxes(pixels)
        if len(boxes) > MOST:
            boxes = np.array(sorted(boxes, key=lambda box: -max(_sides(box)))[:MOST], np.float32)
        lines = reading_order(self._engine.recognise(_bgr(pixels), boxes))
        return [_turn_back(line, quarters, picture.width, picture.height) for line in lines] if quarters else lines

    def _load(self) -> None:
        if self._engine is None:
            self._engine = _Engine(self._threads)

    def _boxes(self, pixels: np.ndarray) -> np.ndarray:
        bgr = _bgr(pixels)
        boxes = self._engine.find(bgr, whole=True)
        shrink = SIDE / max(bgr.shape[:2])
        if shrink < 0.8:
            heights = [min(_sides(box)) * shrink for box in boxes]
            if not heights or min(median(heights), np.quantile(heights, 0.2) * 1.3) < SMALL_TEXT:
                close = self._engine.find(bgr, whole=False)
                return np.array([*close, *(box for box in boxes if not _covered(box, close))], np.float32).reshape(
                    -1, 4, 2
                )
        return boxes


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
        self._classifier = engine._load_cls_model()

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

    def quarters(self, bgr: np.ndarray, boxes: np.ndarray) -> int:
        """By how many quarters the page must be turned counter-clockwise to stand upright, from its longest lines.

        A classifier of lines raises the doubt; where it does, these few lines are read both ways.
        """
        from rapidocr.utils.process_img import get_rotate_crop_image

        longest = sorted(boxes, key=lambda box: -max(_sides(box)))[:SAMPLE]
        if len(longest) < 2:
            return 0
        lying = sum(_tall(box) for box in longest) > len(longest) / 2
        alike = [box for box in longest if _tall(box) == lying]
        crops = [get_rotate_crop_image(bgr, box.copy()) for box in alike]  # tall ones come turned by one quarter
        crops = [crop for crop in crops if min(crop.shape[:2]) >= 2]
        if not crops:
            return 0
        doubtful = [label == "180" for label, _ in self._classifier([crop.copy() for crop in crops]).cls_res]
        upside_down = any(doubtful) and self._reads_better(crops)
        return {(False, False): 0, (True, False): 1, (False, True): 2, (True, True): 3}[lying, upside_down]

    def _reads_better(self, crops: list[np.ndarray]) -> bool:
        """Whether these lines are read with more certainty upside down."""
        from rapidocr.ch_ppocr_rec import TextRecInput

        ways = (crops, [np.ascontiguousarray(crop[::-1, ::-1]) for crop in crops])
        as_is, turned = (self._recogniser(TextRecInput(img=way, return_word_box=False)) for way in ways)
        return sum(turned.scores) > sum(as_is.scores)

    def recognise(self, bgr: np.ndarray, boxes: np.ndarray) -> list[Region]:
        """Read the lines in `boxes` ([n, 4, 2], pixels) of an image."""
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


def _bgr(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _tall(box: np.ndarray) -> bool:
    """Whether the line runs down the page: rapidocr turns such crops."""
    across, down = _sides(box)
    return down >= 1.5 * across


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


def _covered(box: np.ndarray, others: np.ndarray) -> bool:
    """Whether most of a line found at the first look was found close by too."""
    (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
    area = max(1.0, float((right - left) * (bottom - top)))
    shared = 0.0
    for other in others:
        (l2, t2), (r2, b2) = other.min(axis=0), other.max(axis=0)
        shared += max(0.0, min(right, r2) - max(left, l2)) * max(0.0, min(bottom, b2) - max(top, t2))
    return shared > 0.3 * area


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
