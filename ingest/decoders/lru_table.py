"""What decoders remember of senders: bounded, and the sender that was silent longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, NamedTuple, TypeVar

Value = TypeVar("Value")


class _Entry(NamedTuple, Generic[Value]):
    value: Value
    weight: int


class LruTable(Generic[Value]):
    """Values by name, of at most `max_weight` together. What is put into it must be something that may be lost."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight: Final = max_weight
        self._entries: Final[OrderedDict[str, _Entry[Value]]] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str) -> Value | None:
        """The value, which counts as used now; None where there is none."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        self._entries.move_to_end(name)
        return entry.value

    def put(self, name: str, value: Value, weight: int = 1) -> None:
        """Keeps the value instead of an earlier one; others go until all fit. A value too heavy alone is not kept."""
        self.forget(name)
        if weight > self._max_weight:
            return
        self._entries[name] = _Entry(value, weight)
        self._weight += weight
        while self._weight > self._max_weight:
            _, gone = self._entries.popitem(last=False)
            self._weight -= gone.weight

    def forget(self, name: str) -> None:
        """There is no value any more."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._weight -= entry.weight
