"""Live positions on their way to the gateways: columns packed as one frame.

A frame is a header (magic, count), then the raw columns, little-endian, each padded to 8 bytes. It travels pub/sub on
one machine or a local network, where a message comes whole or not at all, so it carries no checksum.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import numpy as np

from tracking_core.columns import F32, F64, I64, U32


class LiveColumns(NamedTuple):
    """Newest counted fixes, at most one a device. Speed, heading and accuracy are NaN where unknown."""

    device: U32
    observed_at_us: I64
    received_at_us: I64
    latitude_deg: F64
    longitude_deg: F64
    speed_mps: F32
    heading_deg: F32
    accuracy_m: F32


LIVE_DTYPES: Final[tuple[str, ...]] = ("<u4", "<i8", "<i8", "<f8", "<f8", "<f4", "<f4", "<f4")
_MAGIC: Final = b"DRL1"
_HEADER: Final = struct.Struct("<4sI")


class DamagedFrameError(ValueError):
    """Bytes that are not a frame of live positions."""


def empty_live(count: int = 0) -> LiveColumns:
    """`count` uninitialised rows."""
    return LiveColumns(*(np.empty(count, dtype) for dtype in LIVE_DTYPES))


def last_live(columns: LiveColumns, count: int) -> LiveColumns:
    """The last `count` rows, as views."""
    first = len(columns.device) - count
    return LiveColumns._make(column[first:] for column in columns)


def pack(columns: LiveColumns) -> bytes:
    """One frame of all rows. Raises ValueError when the columns differ in length."""
    count = len(columns.device)
    parts = [_HEADER.pack(_MAGIC, count)]
    arrays: tuple[np.ndarray[Any, Any], ...] = columns
    for name, column, dtype in zip(LiveColumns._fields, arrays, LIVE_DTYPES, strict=True):
        if column.shape != (count,):
            raise ValueError(f"{name} has the shape {column.shape}, device has {count} rows")
        raw = np.ascontiguousarray(column, dtype).tobytes()
        parts += (raw, bytes(-len(raw) % 8))
    return b"".join(parts)


def unpack(frame: bytes) -> LiveColumns:
    """The rows of a frame, as read-only views of it. Raises DamagedFrameError."""
    if len(frame) < _HEADER.size:
        raise DamagedFrameError(f"a frame has at least {_HEADER.size} bytes, this has {len(frame)}")
    magic, count = _HEADER.unpack_from(frame)
    if magic != _MAGIC:
        raise DamagedFrameError(f"a frame begins with {_MAGIC!r}, this with {magic!r}")
    sizes = [-(-count * np.dtype(dtype).itemsize // 8) * 8 for dtype in LIVE_DTYPES]
    if len(frame) != _HEADER.size + sum(sizes):
        raise DamagedFrameError(f"{count} rows take {_HEADER.size + sum(sizes)} bytes, there are {len(frame)}")
    columns: list[np.ndarray[Any, Any]] = []
    offset = _HEADER.size
    for dtype, size in zip(LIVE_DTYPES, sizes, strict=True):
        columns.append(np.frombuffer(frame, dtype, count, offset))
        offset += size
    return LiveColumns(*columns)
