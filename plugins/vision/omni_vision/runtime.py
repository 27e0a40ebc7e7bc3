"""ONNX sessions and the thread they run in: one worker a model, two threads at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from omni.errors import ModelCorrupt, PluginError

T = TypeVar("T")


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


class Worker:
    """A single thread; calls run one after the other. `close` is idempotent."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix=f"omni-{name}")

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)` in the thread. A cancelled call that has not begun never begins."""
        if self._pool is None:
            raise PluginError(f"The worker '{self._name}' is closed.", "Open the capability again before using it.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def close(self) -> None:
        """Let what runs finish, start nothing more."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
