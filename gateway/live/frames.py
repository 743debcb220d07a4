"""Binary frames of positions, laid out so that a browser's typed arrays lie straight on them (docs/live-protocol.md).

Little-endian. A header of 40 bytes, then columns, each padded to 8 bytes:
`observed_at_us longitude_deg latitude_deg` f64, `device_number` u32, `speed_mps heading_deg accuracy_m` f32, and the
numbers of removed devices, u32.
"""

from __future__ import annotations

import enum
import struct
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.live.positions_table import Fixes

_HEADER: Final = struct.Struct("<IBBHIIddd")
_MAGIC: Final = 0x564C5244
_VERSION: Final = 1


class Kind(enum.IntEnum):
    """Whether a frame replaces what the client has or adds to it."""

    SNAPSHOT = 1
    DIFFERENCE = 2


class DamagedFrameError(ValueError):
    """Bytes that are not a frame."""


class UnpackedFrame(NamedTuple):
    """A frame as a client sees it; the columns are views of its bytes."""

    kind: Kind
    sequence: int
    sent_at_us: int
    observed_at_us: npt.NDArray[np.float64]
    longitude_deg: npt.NDArray[np.float64]
    latitude_deg: npt.NDArray[np.float64]
    device_number: npt.NDArray[np.uint32]
    speed_mps: npt.NDArray[np.float32]
    heading_deg: npt.NDArray[np.float32]
    accuracy_m: npt.NDArray[np.float32]
    removed: npt.NDArray[np.uint32]


def _padded(size: int) -> int:
    return (size + 7) & ~7


def frame_bytes(count: int, removed: int) -> int:
    """The size of a frame."""
    return _HEADER.size + 24 * count + 4 * _padded(4 * count) + _padded(4 * removed)


def pack_header(
    frame: bytearray | memoryview, kind: Kind, count: int, removed: int, sequence: int, sent_at_us: int
) -> None:
    """Writes the first 40 bytes."""
    _HEADER.pack_into(frame, 0, _MAGIC, _VERSION, kind, 0, count, removed, sequence, sent_at_us, 0.0)


def pack(
    kind: Kind,
    sequence: int,
    sent_at_us: int,
    rows: npt.NDArray[np.int64],
    device_number: npt.NDArray[np.uint32],
    fixes: Fixes,
    removed: npt.NDArray[np.uint32],
) -> bytes:
    """One frame of the given rows of the columns `device_number` and `fixes`, which must lie within their length."""
    count, wide, narrow = len(rows), 8 * len(rows), _padded(4 * len(rows))
    frame = bytearray(frame_bytes(count, len(removed)))  # zeros, so the padding is too
    pack_header(frame, kind, count, len(removed), sequence, sent_at_us)
    at = _HEADER.size
    # Times up to the year 2255 are whole in a float64.
    np.frombuffer(frame, "<f8", count, at)[:] = fixes.observed_at_us[rows]
    for column in (fixes.longitude_deg, fixes.latitude_deg):
        at += wide
        np.take(column, rows, out=np.frombuffer(frame, "<f8", count, at), mode="clip")
    at += wide
    np.take(device_number, rows, out=np.frombuffer(frame, "<u4", count, at), mode="clip")
    for measure in (fixes.speed_mps, fixes.heading_deg, fixes.accuracy_m):
        at += narrow
        np.take(measure, rows, out=np.frombuffer(frame, "<f4", count, at), mode="clip")
    at += narrow
    np.frombuffer(frame, "<u4", len(removed), at)[:] = removed
    return bytes(frame)


def unpack(frame: bytes) -> UnpackedFrame:
    """What a client reads. Raises DamagedFrameError."""
    if len(frame) < _HEADER.size:
        raise DamagedFrameError(f"a frame has at least {_HEADER.size} bytes, this has {len(frame)}")
    magic, version, kind, _, count, gone, sequence, sent_at_us, _ = _HEADER.unpack_from(frame)
    if magic != _MAGIC or version != _VERSION or kind not in tuple(Kind):
        raise DamagedFrameError(f"not a frame of version {_VERSION}")
    if len(frame) != frame_bytes(count, gone):
        raise DamagedFrameError(f"{count} positions and {gone} removals take {frame_bytes(count, gone)} bytes")
    columns: list[npt.NDArray[Any]] = []
    at = _HEADER.size
    lengths = (count, count, count, count, count, count, count, gone)
    for code, length in zip(("<f8", "<f8", "<f8", "<u4", "<f4", "<f4", "<f4", "<u4"), lengths, strict=True):
        columns.append(np.frombuffer(frame, code, length, at))
        at += _padded(np.dtype(code).itemsize * length)
    return UnpackedFrame(Kind(kind), int(sequence), int(sent_at_us), *columns)
