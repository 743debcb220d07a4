"""Columns that grow: the next size, and longer copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = TypeVar("Array", bound=npt.NDArray[Any])


def next_size(size: int, wanted: int) -> int:
    """At least `wanted`, at least half as much again as `size`: a row is copied a constant number of times."""
    return max(wanted, size + size // 2, 16)


def longer(column: Array, length: int, fill: float) -> Array:
    """A copy of `length` rows, the new ones holding `fill`."""
    grown: Array = np.full(length, fill, column.dtype)  # type: ignore[assignment]
    grown[: len(column)] = column
    return grown


def longer_columns(columns: Sequence[npt.NDArray[Any]], length: int, fills: Sequence[float]) -> list[npt.NDArray[Any]]:
    """The same for each column."""
    return [longer(column, length, fill) for column, fill in zip(columns, fills, strict=True)]
