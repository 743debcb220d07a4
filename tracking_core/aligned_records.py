"""Arrays of records that begin where a cache line begins.

A record of 64, 128 or 256 bytes then lies in one, two or four lines, and one page: a fold that touches all of it waits
once. Kernels read its fields as columns, `columns.latitude_deg[row]`.
"""

from __future__ import annotations

from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

LINE: Final = 64
"""Bytes of a cache line; numpy begins arrays at any sixteenth byte."""

Records = npt.NDArray[np.void]


def empty_records(dtype: np.dtype[Any], count: int) -> Records:
    """Records of zeros; fresh pages cost no memory until they are written."""
    room = np.zeros(count * dtype.itemsize + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    records: Records = room[start : start + count * dtype.itemsize].view(dtype)
    return records


def more_records(records: Records, count: int) -> Records:
    """The same with room for more."""
    grown = empty_records(records.dtype, count)
    grown[: len(records)] = records
    return grown


class RecordColumns(np.ndarray[Any, np.dtype[np.void]]):
    """Records whose fields are attributes: `columns.latitude_deg` is the column.

    numba reads the fields of an array of records so by itself, and to it this is such an array: one argument of a call.
    A tuple of thirty columns would be two hundred words, copied at every call of a kernel by another: that was nearly
    half of what a fold cost. The views are for Python, and for kernels that are not compiled.
    """

    @classmethod
    def of(cls, records: Records) -> Self:
        """The records themselves, no copy."""
        columns = records.view(cls)
        for name in records.dtype.names or ():
            setattr(columns, name, records[name])
        return columns

    def __deepcopy__(self, memo: dict[int, Any] | None) -> Self:
        return self.of(more_records(self.view(np.ndarray), len(self)))
