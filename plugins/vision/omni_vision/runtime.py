"""ONNX sessions on two threads at most; those that run beside each other on one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omni.errors import ModelCorrupt


def session(path: Path, threads: int = 2) -> Any:
    """An onnxruntime session on the CPU. Raises `ModelCorrupt` when the file is no model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to the voice
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelCorrupt(f"{path.name} can't be run: {error}.", "Remove it; it is made again.") from error


def session_of(onnx: Path, make: Callable[[Path], object], threads: int = 1) -> Any:
    """A session on the file `onnx`, which `make(onnx)` writes the first time."""
    if not onnx.is_file():
        onnx.parent.mkdir(parents=True, exist_ok=True)
        make(onnx)
    return session(onnx, threads)
