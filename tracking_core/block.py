"""Log entries: what kinds there are, and readings packed as one block of bytes.

A block is a header, then the raw bytes of each column, little-endian, each padded to 8 bytes, positions first, then
sensor samples, then tag reads. Unpacking copies nothing: columns are read-only views of the block. A checksum tells a
torn or foreign block from a sound one.
"""

from __future__ import annotations

import enum
import struct
import zlib
from typing import Final

import numpy as np

from tracking_core.columns import (
    POSITION_DTYPES,
    SENSOR_DTYPES,
    TAG_DTYPES,
    PositionColumns,
    Readings,
    SensorColumns,
    TagColumns,
)

_MAGIC: Final = b"DRB2"
_BEFORE_HISTORY: Final = b"DRB1"
"""Blocks of older versions, which a log may still hold: positions have no mark for history, and are none."""
_HEADER: Final = struct.Struct("<4sIIII4x")
_DTYPES: Final = tuple(np.dtype(code).newbyteorder("<") for code in (*POSITION_DTYPES, *SENSOR_DTYPES, *TAG_DTYPES))


class EntryKind(enum.IntEnum):
    """What a log entry holds; stored beside its bytes."""

    READINGS = 1
    """A block of this module."""
    ANNOUNCEMENT = 2
    """`drover.tracking.v1.DeviceAnnouncements`: who the device numbers of this partition are."""
    DEFINITION = 3
    """`drover.tracking.v1.DefinitionChange`."""
    TICK = 4
    """Nothing: only the time of the entry counts, for timers."""
    COMPANION = 5
    """Fixes of devices in other partitions that proximities of this one need (pairs/companions.py)."""


class DamagedBlockError(ValueError):
    """Bytes that are not a block of readings."""


def pack(readings: Readings) -> bytes:
    """One block of all readings."""
    columns = (*readings.positions, *readings.sensors, *readings.tags)
    parts: list[bytes] = []
    for column, dtype in zip(columns, _DTYPES, strict=True):
        raw = np.ascontiguousarray(column, dtype).tobytes()
        parts.append(raw)
        parts.append(bytes(-len(raw) % 8))
    body = b"".join(parts)
    counts = (len(readings.positions.device), len(readings.sensors.device), len(readings.tags.device))
    return _HEADER.pack(_MAGIC, *counts, zlib.crc32(body)) + body


def unpack(block: bytes) -> Readings:
    """The readings of a block, as read-only views of it. Raises DamagedBlockError."""
    if len(block) < _HEADER.size:
        raise DamagedBlockError(f"a block has at least {_HEADER.size} bytes, this has {len(block)}")
    magic, positions, sensors, tags, checksum = _HEADER.unpack_from(block)
    if magic not in {_MAGIC, _BEFORE_HISTORY}:
        raise DamagedBlockError(f"a block begins with {_MAGIC!r}, this with {magic!r}")
    marks = positions if magic == _MAGIC else 0
    counts = (
        [positions] * (len(POSITION_DTYPES) - 1) + [marks] + [sensors] * len(SENSOR_DTYPES) + [tags] * len(TAG_DTYPES)
    )
    expected = _HEADER.size + sum((n * dtype.itemsize + 7) // 8 * 8 for n, dtype in zip(counts, _DTYPES, strict=True))
    if len(block) != expected:
        raise DamagedBlockError(f"the counts ask for {expected} bytes, there are {len(block)}")
    if zlib.crc32(memoryview(block)[_HEADER.size :]) != checksum:
        raise DamagedBlockError("the checksum does not match")
    offset = _HEADER.size
    columns: list[np.ndarray] = []
    for n, dtype in zip(counts, _DTYPES, strict=True):
        columns.append(np.frombuffer(block, dtype, n, offset))
        offset += (n * dtype.itemsize + 7) // 8 * 8
    if magic == _BEFORE_HISTORY:
        columns[len(POSITION_DTYPES) - 1] = np.zeros(positions, np.uint8)
    p, s = len(POSITION_DTYPES), len(POSITION_DTYPES) + len(SENSOR_DTYPES)
    return Readings(PositionColumns(*columns[:p]), SensorColumns(*columns[p:s]), TagColumns(*columns[s:]))
