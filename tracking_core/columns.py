"""Readings in memory: one array a field, as NamedTuples that numba reads by name.

Every array is one-dimensional and C-contiguous, and all arrays of a tuple have the same length. After `device` and
`received_at_us`, which ingest adds, the columns are the fields of `drover.telemetry.v1` in the same order and under the
same names; `tests/tracking_core/test_columns.py` holds the two together. What a device left out is NaN in a float
column, `NO_TIME` in a time, `NO_SEQUENCE` in `sequence` and `NO_SATELLITES` in `satellites`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

NO_TIME: Final = -(2**63)
NO_SEQUENCE: Final = -1
NO_SATELLITES: Final = -1

I8 = npt.NDArray[np.int8]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


class PositionColumns(NamedTuple):
    """Fixes."""

    device: U32
    received_at_us: I64
    observed_at_us: I64
    latitude_deg: F64
    longitude_deg: F64
    altitude_m: F32
    speed_mps: F32
    heading_deg: F32
    accuracy_m: F32
    satellites: I32
    sequence: I64
    sent_at_us: I64
    is_historical: U8


class SensorColumns(NamedTuple):
    """Sensor samples."""

    device: U32
    received_at_us: I64
    observed_at_us: I64
    quantity: U8
    value: F64
    probe: U32
    sequence: I64
    sent_at_us: I64


class TagColumns(NamedTuple):
    """Tag reads. An EPC of up to 16 bytes stands right-aligned, big-endian, in two words beside its length in bytes."""

    device: U32
    received_at_us: I64
    observed_at_us: I64
    epc_high: U64
    epc_low: U64
    epc_length: U8
    antenna: U32
    rssi_dbm: F32
    sequence: I64
    sent_at_us: I64


class Readings(NamedTuple):
    """A batch of every kind."""

    positions: PositionColumns
    sensors: SensorColumns
    tags: TagColumns


POSITION_DTYPES: Final[tuple[str, ...]] = ("u4", "i8", "i8", "f8", "f8", "f4", "f4", "f4", "f4", "i4", "i8", "i8", "u1")
SENSOR_DTYPES: Final[tuple[str, ...]] = ("u4", "i8", "i8", "u1", "f8", "u4", "i8", "i8")
TAG_DTYPES: Final[tuple[str, ...]] = ("u4", "i8", "i8", "u8", "u8", "u1", "u4", "f4", "i8", "i8")

Columns = TypeVar("Columns", PositionColumns, SensorColumns, TagColumns)


def empty_positions(count: int = 0) -> PositionColumns:
    """`count` uninitialised fixes."""
    return PositionColumns(*(np.empty(count, dtype) for dtype in POSITION_DTYPES))


def empty_sensors(count: int = 0) -> SensorColumns:
    """`count` uninitialised samples."""
    return SensorColumns(*(np.empty(count, dtype) for dtype in SENSOR_DTYPES))


def empty_tags(count: int = 0) -> TagColumns:
    """`count` uninitialised tag reads."""
    return TagColumns(*(np.empty(count, dtype) for dtype in TAG_DTYPES))


def no_readings() -> Readings:
    """A batch of nothing."""
    return Readings(empty_positions(), empty_sensors(), empty_tags())


def take(columns: Columns, index: npt.NDArray[Any] | slice) -> Columns:
    """The rows at `index` (integers, a mask or a slice), as contiguous copies."""
    return type(columns)._make(np.ascontiguousarray(column[index]) for column in columns)


def concatenate(parts: Sequence[Columns]) -> Columns:
    """All rows of `parts`, in order. `parts` must not be empty."""
    return type(parts[0])._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def count(readings: Readings) -> int:
    """How many readings a batch holds."""
    return len(readings.positions.device) + len(readings.sensors.device) + len(readings.tags.device)
