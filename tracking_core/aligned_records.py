"""Arrays of records that begin where a cache line begins.

A record of 64, 128 or 256 bytes then lies in one, two or four lines, and one page: a fold that touches all of it waits
once. Columns are views of such an array, a field each: kernels read `columns.latitude_deg[row]` as ever.
"""

from __future__ import annotations

from typing import Any, Final

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
