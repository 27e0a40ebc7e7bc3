"""Is someone speaking? Silero VAD by ONNX Runtime alone, one small state a stream.

The model (https://github.com/snakers4/silero-vad, MIT) reads 512 new samples at 16 kHz after the 64
before them, and carries a recurrent state of shape [2, 1, 128].
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import Audio, VoiceDetector
from omni.errors import BadInput, ModelMissing
from omni.worker import Worker

#: Samples in a frame at 16 kHz: 32 ms.
FRAME = 512
_CONTEXT = 64


class SileroDetector:
    """One stream's detector. A frame costs about 0.1 ms, so it runs on the caller's thread."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._state = np.zeros((2, 1, 128), np.float32)
        self._input = np.zeros((1, _CONTEXT + FRAME), np.float32)
        self._rate = np.array(16000, np.int64)

    def probability(self, frame: Audio) -> float:
        """The probability (0..1) that `frame` (shape [512], 16 kHz) holds speech."""
        if frame.shape != (FRAME,):
            raise BadInput(f"A voice activity frame is {FRAME} samples, not {frame.shape}.", "Cut the audio in frames.")
        self._input[0, :_CONTEXT] = self._input[0, -_CONTEXT:]
        self._input[0, _CONTEXT:] = np.clip(np.nan_to_num(frame, posinf=1.0, neginf=-1.0), -1.0, 1.0)
        feed = {"input": self._input, "state": self._state, "sr": self._rate}
        probability, self._state = self._session.run(None, feed)
        return float(probability[0, 0])


class SileroVoiceActivity:
    """The `VoiceActivity` capability: one model in memory, a detector for each stream."""

    def __init__(self, folder: Callable[[], Awaitable[Path]]) -> None:
        self._folder = folder
        self._session: Any = None

    async def open(self) -> None:
        """Load the model (2 MB). Raises `ModelMissing` when its folder holds no ONNX file."""
        if self._session is not None:
            return
        folder = await self._folder()
        worker = Worker("vad")
        try:
            self._session = await worker.run(_load, folder)
        finally:
            worker.close()

    async def close(self) -> None:
        self._session = None

    def detector(self) -> VoiceDetector:
        """A fresh detector with its own state."""
        if self._session is None:
            raise ModelMissing("Voice activity was asked for before its model was loaded.", "Call open() first.")
        return SileroDetector(self._session)


def _load(folder: Path) -> Any:
    import onnxruntime

    names = ("silero_vad_16k_op15.onnx", "silero_vad.onnx")
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise ModelMissing(f"There is no {names[1]} in {folder}.", "Run: omni models pull silero-vad")
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
