"""Fixes on their way to the partitions where proximities are folded: which of them count, and which no more.

A proximity lives in the partition of its first device. The engines of both devices say, after each of their steps, what
changed in the set of fixes that count; the tracking service appends that to the log of the proximity's partition. Said
is what is, not what was done: that the fix of this time and place counts, or that none of this time and place does.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np

from tracking_core.block import DamagedBlockError
from tracking_core.columns import F64, I64, U8, U32

GONE: Final = 0
"""The fix does not count any more."""
COUNTS: Final = 1
BEGINS: Final = 2
"""It counts, and was the newest of its device when a proximity was made: nothing before it is gone into."""

_MAGIC: Final = b"DRC1"
_HEADER: Final = struct.Struct("<4sIII")
_DTYPES: Final = tuple(np.dtype(code).newbyteorder("<") for code in ("u4", "i8", "f8", "f8", "u1"))


class CompanionColumns(NamedTuple):
    """One row a change, in the order in which they are to be obeyed."""

    device: U32
    observed_at_us: I64
    latitude_deg: F64
    longitude_deg: F64
    standing: U8
    """GONE, COUNTS or BEGINS."""


class Companions(NamedTuple):
    """What a partition is to be told."""

    partition: int
    columns: CompanionColumns


class CompanionFix(NamedTuple):
    """One row."""

    device: int
    observed_at_us: int
    latitude_deg: float
    longitude_deg: float
    standing: int


def companion_columns(fixes: Collection[CompanionFix]) -> CompanionColumns:
    """Rows as columns."""
    columns = zip(*fixes, strict=True) if fixes else ((),) * len(_DTYPES)
    return CompanionColumns(*(np.array(column, dtype) for column, dtype in zip(columns, _DTYPES, strict=True)))


def companion_fixes(columns: CompanionColumns) -> list[CompanionFix]:
    """Columns as rows."""
    return list(map(CompanionFix._make, zip(*(column.tolist() for column in columns), strict=True)))


def pack_companions(columns: CompanionColumns) -> bytes:
    """A log entry."""
    body = b"".join(
        np.ascontiguousarray(column, dtype).tobytes() for column, dtype in zip(columns, _DTYPES, strict=True)
    )
    return _HEADER.pack(_MAGIC, len(columns.device), zlib.crc32(body), 0) + body


def unpack_companions(block: bytes) -> CompanionColumns:
    """The columns of a log entry. Raises DamagedBlockError."""
    if len(block) < _HEADER.size:
        raise DamagedBlockError(f"companions have at least {_HEADER.size} bytes, these {len(block)}")
    magic, count, checksum, _ = _HEADER.unpack_from(block)
    body = memoryview(block)[_HEADER.size :]
    if magic != _MAGIC or len(body) != count * sum(dtype.itemsize for dtype in _DTYPES):
        raise DamagedBlockError(f"{len(body)} bytes are not {count} companions")
    if zlib.crc32(body) != checksum:
        raise DamagedBlockError("the checksum does not match")
    columns: list[np.ndarray] = []
    offset = _HEADER.size
    for dtype in _DTYPES:
        columns.append(np.frombuffer(block, dtype, count, offset))
        offset += count * dtype.itemsize
    return CompanionColumns(*columns)
