"""Blocks of rows in one growing array, given and taken back, so that an edit moves nothing but its own rows."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)


def size_class(count: int) -> int:
    """Rows given for a block of `count`: the next of 1, 2, 3, 4, 6, 8, 12, 16, ..., so that freed blocks fit again."""
    if count <= 2:
        return max(count, 1)
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if count <= power * 3 // 4 else power


class Pool(Generic[Scalar]):
    """An array of rows with a free list a size class. `rows` is replaced when it grows; take it anew."""

    def __init__(self, dtype: type[Scalar], width: int = 1, room: int = 64) -> None:
        shape = (room, width) if width > 1 else (room,)
        self.rows: npt.NDArray[Scalar] = np.zeros(shape, dtype)
        self.used = 0
        self._free: dict[int, list[int]] = {}

    def put(self, block: npt.NDArray[Any]) -> int:
        """Copies a block in and returns its first row."""
        start = self.take(len(block))
        self.rows[start : start + len(block)] = block
        return start

    def take(self, count: int) -> int:
        """The first of `count` rows with whatever they held before."""
        size = size_class(count)
        free = self._free.get(size)
        if free:
            return free.pop()
        start = self.used
        self.used += size
        if self.used > len(self.rows):
            self.reserve(max(self.used, 2 * len(self.rows)))
        return start

    def give_back(self, start: int, count: int) -> None:
        """Frees a block that `take` or `put` gave for `count` rows."""
        self._free.setdefault(size_class(count), []).append(start)

    def reserve(self, rows: int) -> None:
        """Grows the array to at least `rows`."""
        if rows > len(self.rows):
            grown = np.zeros((rows, *self.rows.shape[1:]), self.rows.dtype)
            grown[: len(self.rows)] = self.rows
            self.rows = grown
