"""Which conversation's cache is in which of the model's slots."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Slot:
    """One cache. `tokens` is what we believe it holds: a hint for chunking, never for correctness."""

    index: int
    name: str = ""
    tokens: list[int] = field(default_factory=list)
    users: int = 0
    used: int = 0  #: tick of the last use


class Slots:
    """A bounded number of slots by name; the least recently used idle one is taken for a new name.

    The last slot is for requests that name none, so that a one-off question never throws a
    conversation's cache away.
    """

    def __init__(self, count: int) -> None:
        self._all = [Slot(i) for i in range(max(1, count))]
        self._tick = 0

    def take(self, name: str) -> Slot:
        """The slot of `name`, its own or a recycled one."""
        self._tick += 1
        slot = self._find(name)
        if slot.name != name:
            slot.name, slot.tokens = name, []
        slot.used = self._tick
        return slot

    def _find(self, name: str) -> Slot:
        if not name or len(self._all) == 1:
            return self._all[-1]
        named = self._all[:-1]
        mine = next((slot for slot in named if slot.name == name), None)
        return mine or min(named, key=lambda slot: (slot.users > 0, slot.used))

    def forget(self) -> None:
        """The caches are gone (the model was started again)."""
        for slot in self._all:
            slot.tokens = []

    def names(self) -> list[str]:
        """The conversations that have a cache at present, the latest first."""
        return [slot.name for slot in sorted(self._all, key=lambda slot: -slot.used) if slot.name]
