"""Tensors out of a PyTorch checkpoint, without PyTorch and without trusting the pickle.

The layout before PyTorch 1.6: three small pickles (a magic number, the protocol, the machine), the pickle
of the state dict, the list of storage keys, then every storage: its length as int64 and its numbers.
The unpickler knows four names and makes arrays of them; any other name ends it.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from omni.errors import ModelCorrupt

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": np.float32, "LongStorage": np.int64}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of a state dict. Raises `ModelCorrupt` on anything but float and long tensors."""
    try:
        with path.open("rb") as stream:
            return _read(stream)
    except ModelCorrupt:
        raise
    except Exception as error:
        raise ModelCorrupt(f"{path.name} is not a checkpoint that can be read: {error}.") from error


def _read(stream: BinaryIO) -> dict[str, np.ndarray]:
    if _Reader(stream).load() != _MAGIC:
        raise ModelCorrupt("The file is not a checkpoint of the older layout.")
    _Reader(stream).load()  # the protocol
    _Reader(stream).load()  # the machine that wrote it
    state = _Reader(stream).load()
    storages: dict[str, np.ndarray] = {}
    dtypes = {tensor.key: tensor.dtype for tensor in state.values()}
    for key in _Reader(stream).load():
        length = int(np.frombuffer(stream.read(8), "<i8")[0])
        storages[key] = np.frombuffer(stream.read(length * np.dtype(dtypes[key]).itemsize), dtypes[key])
        if len(storages[key]) != length:
            raise ModelCorrupt("The checkpoint ends too early.", "Fetch the model again.")
    return {name: tensor.array(storages[tensor.key]) for name, tensor in state.items()}


class _Tensor:
    """Where a tensor's numbers are: a storage, an offset, a shape, and strides in elements."""

    def __init__(self, storage: tuple[Any, ...], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any):
        self.key, self.dtype = storage
        self.offset, self.shape, self.stride = offset, shape, stride

    def array(self, storage: np.ndarray) -> np.ndarray:
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        if min((self.offset, *self.stride, *self.shape), default=0) < 0 or last >= len(storage):
            raise ModelCorrupt("The checkpoint has a tensor beyond the end of its numbers.", "Fetch the model again.")
        steps = tuple(step * storage.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, steps).copy()


class _Reader(pickle.Unpickler):
    """An unpickler that can make nothing but dicts and tensors."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise ModelCorrupt(f"The checkpoint wants {module}.{name}, which weights have no use for.", "Don't use it.")

    def persistent_load(self, pid: Any) -> tuple[str, Any]:
        _, dtype, key, *_ = pid
        return key, dtype
