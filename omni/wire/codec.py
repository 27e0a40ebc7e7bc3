"""Values that cross a process or a machine: MessagePack, the dataclasses of the capabilities, arrays, events.

Nothing is pickled: what comes in can only become one of the types named here. Large arrays and bytes go
through an `Arena` (shared memory) when both ends have one, and travel inside the message otherwise.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from typing import Any, Protocol, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from omni import capabilities, events, tools
from omni.errors import OmniError, PluginError

#: Arrays and bytes above this many bytes go through the arena.
INLINE = 16_384
#: The largest message that is read; more is a broken or hostile peer.
MESSAGE_LIMIT = 256 * 1024 * 1024

#: The key that marks a map as something else than a map.
_MARK = "\x00"

_CLASSES: dict[str, type] = {
    value.__name__: value
    for module in (capabilities, tools)
    for value in vars(module).values()
    if isinstance(value, type) and dataclasses.is_dataclass(value)
}
_CLASSES["Attachment"] = events.Attachment
_FORBIDDEN = {"Tool", "ToolContext"}
_ENUMS: dict[str, type[enum.Enum]] = {"Effect": tools.Effect}


class Memory(Protocol):
    """Shared memory of both ends (see `omni.wire.arena`)."""

    def put(self, data: memoryview) -> tuple[int, int] | None:
        """Copy `data` in: (offset, size), or None when there is no room."""

    def take(self, offset: int, size: int) -> memoryview:
        """A read-only view of what the other end put there."""

    def done(self, offset: int) -> None:
        """Tell the other end that the region is free again."""


def encode(value: Any, memory: Memory | None = None) -> bytes:
    """`value` as one message. Raises `PluginError` for what can't travel."""
    return msgspec.msgpack.encode(_pack(value, memory))


def decode(data: bytes | bytearray | memoryview, memory: Memory | None = None) -> Any:
    """The value in a message. Raises `PluginError` when it is none."""
    try:
        return _unpack(msgspec.msgpack.decode(data), memory)
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, ValueError, IndexError) as error:
        raise PluginError(
            f"A message of {len(data)} bytes can't be read: {error}.", "The other end is damaged."
        ) from None


def _pack(value: Any, memory: Memory | None) -> Any:
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if kind in (list, tuple):
        return [_pack(item, memory) for item in value]
    if kind is dict:
        return {str(key) if not isinstance(key, str) else key: _pack(item, memory) for key, item in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        return _pack_bytes(value, memory)
    if isinstance(value, np.ndarray):
        return _pack_array(value, memory)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, events.Event):
        return {_MARK: "event", "v": _pack_bytes(events.encode(value), memory)}
    if isinstance(value, enum.Enum) and kind.__name__ in _ENUMS:
        return {_MARK: "enum", "n": kind.__name__, "v": value.value}
    if kind.__name__ in _CLASSES and kind.__name__ not in _FORBIDDEN:
        names = (
            [field.name for field in dataclasses.fields(value)]
            if dataclasses.is_dataclass(value)
            else value.__struct_fields__
        )
        return {_MARK: "data", "n": kind.__name__, "v": {name: _pack(getattr(value, name), memory) for name in names}}
    if isinstance(value, set | frozenset):
        return [_pack(item, memory) for item in value]
    raise PluginError(
        f"A {kind.__name__} can't leave its process.", "Pass numbers, text, bytes, arrays or capability types."
    )


def _pack_bytes(value: Any, memory: Memory | None) -> Any:
    if memory is not None and len(value) > INLINE and (place := memory.put(memoryview(value).cast("B"))):
        return {_MARK: "shared", "p": place}
    return bytes(value)


def _pack_array(value: np.ndarray, memory: Memory | None) -> Any:
    if value.dtype.hasobject:
        raise PluginError("An array of Python objects can't leave its process.", "Use a numeric dtype.")
    value = np.ascontiguousarray(value)
    packed = {_MARK: "array", "d": value.dtype.str, "s": list(value.shape)}
    flat = memoryview(value.reshape(-1).view(np.uint8)) if value.size else memoryview(b"")
    if memory is not None and value.nbytes > INLINE and (place := memory.put(flat)):
        return packed | {"p": place}
    return packed | {"v": bytes(flat)}


def _unpack(value: Any, memory: Memory | None) -> Any:
    kind = type(value)
    if kind is list:
        return [_unpack(item, memory) for item in value]
    if kind is not dict:
        return value
    mark = value.get(_MARK)
    if mark is None:
        return {key: _unpack(item, memory) for key, item in value.items()}
    if mark == "shared":
        view = _view(value["p"], memory)
        data = bytes(view)
        assert memory is not None
        memory.done(value["p"][0])
        return data
    if mark == "array":
        return _unpack_array(value, memory)
    if mark == "event":
        return events.decode(_unpack(value["v"], memory))
    if mark == "enum":
        return _ENUMS[value["n"]](value["v"])
    if mark == "data" and value["n"] not in _FORBIDDEN:
        cls = _CLASSES[value["n"]]
        hints = _hints(cls)
        return cls(**{name: _restore(hints.get(name), _unpack(item, memory)) for name, item in value["v"].items()})
    raise PluginError(f"A message holds an unknown thing {mark!r}.", "Both ends need the same version of Omni.")


def _unpack_array(value: dict[str, Any], memory: Memory | None) -> np.ndarray:
    dtype, shape = np.dtype(value["d"]), tuple(value["s"])
    if dtype.hasobject:
        raise PluginError("A message holds an array of Python objects.", "It was refused.")
    if "p" not in value:
        return np.frombuffer(value["v"], dtype).reshape(shape)
    import weakref

    array = np.frombuffer(_view(value["p"], memory), dtype)
    array.flags.writeable = False
    assert memory is not None
    # Views of the array keep it alive, so the region is freed when the last of them is gone.
    weakref.finalize(array, memory.done, value["p"][0]).atexit = False
    return array.reshape(shape)


def _view(place: Any, memory: Memory | None) -> memoryview:
    if memory is None:
        raise PluginError("A message refers to shared memory and there is none.", "It was refused.")
    return memory.take(int(place[0]), int(place[1]))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _restore(hint: Any, value: Any) -> Any:
    """Lists become tuples again where the dataclass says so."""
    if isinstance(value, list) and get_origin(hint) is tuple:
        inner = get_args(hint)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_restore(inner[0], item) for item in value)
        return tuple(_restore(h, item) for h, item in zip(inner, value, strict=False))
    return value


# --- errors ---------------------------------------------------------------------------------------


def pack_error(error: BaseException) -> dict[str, str]:
    """An exception as the other end may raise it: ours by name, others as `PluginError`."""
    if isinstance(error, OmniError):
        return {"name": type(error).__name__, "message": error.message, "remedy": error.remedy}
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return {"name": "PluginError", "message": said, "remedy": ""}


def unpack_error(packed: dict[str, Any]) -> OmniError:
    """The exception the other end raised."""
    from omni import errors

    kind = getattr(errors, str(packed.get("name")), PluginError)
    if not (isinstance(kind, type) and issubclass(kind, OmniError)):
        kind = PluginError
    return kind(str(packed.get("message", "")), str(packed.get("remedy", "")))
