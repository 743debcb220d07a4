"""Sensor series, the limits on them, and excursions that are pending or open.

A series is one quantity of one probe of one device. Series are found by a hash index (open addressing, linear probing);
they are never removed. Limits hang on their device, excursions on their series.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geofence.kernel import inlined_kernel, scalar_kernel
from tracking_core.aligned_records import RecordColumns, Records, empty_records, more_records
from tracking_core.columns import F64, I32, I64, NO_TIME
from tracking_core.content_hash import SEED, mix_integer
from tracking_core.definitions import SensorLimit
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.growth import longer_columns, next_size
from tracking_core.memory import empty_memory, more_memory
from tracking_core.node_pool import EVER_TAKEN, empty_free, room_left

_MASK_63: Final = np.uint64(0x7FFFFFFFFFFFFFFF)


class SeriesColumns(NamedTuple):
    """`filled[0]` series; `counted_at_us` is NO_TIME before the first sample that counts. `buckets` is the index: slot
    + 1 or 0; its length is a power of two.
    """

    filled: I64
    buckets: I32
    row: I64
    quantity: I64
    probe: I64
    counted_at_us: I64
    value: F64
    first_excursion: I32


class LimitColumns(RecordColumns):
    """One record a limit ever defined; those of a device are chained by `following`. Missing bounds are NaN."""

    following: I32
    quantity: I64
    minimum: F64
    maximum: F64
    hysteresis: F64
    minimum_duration_us: I64


class ExcursionColumns(NamedTuple):
    """Nodes (node_pool.py) of excursions pending or open, chained by series; see `excursion.update`."""

    free: I64
    following: I32
    limit: I32
    phase: I64
    side: I64
    since_us: I64
    worst: F64


_SERIES: Final = np.dtype(
    [
        ("row", "i8"),
        ("quantity", "i8"),
        ("probe", "i8"),
        ("counted_at_us", "i8"),
        ("value", "f8"),
        ("first_excursion", "i4"),
        ("unused", "u1", 20),
    ]
)
"""A line of memory."""
_LIMITS: Final = np.dtype(
    [
        ("quantity", "i8"),
        ("minimum", "f8"),
        ("maximum", "f8"),
        ("hysteresis", "f8"),
        ("minimum_duration_us", "i8"),
        ("following", "i4"),
        ("unused", "u1", 20),
    ]
)
"""A line of memory."""
_FIRST_ROOM: Final = 2
"""So many series there is room for from the beginning: none would be of another type to numba."""
_EXCURSIONS: Final = ("i4", "i4", "i8", "i8", "i8", "f8")


def _columns(series: Records) -> list[npt.NDArray[Any]]:
    """The fields of series in the order of `SeriesColumns`."""
    return [series[name] for name in SeriesColumns._fields[2:]]


def _fresh_series(series: Records, held: int) -> Records:
    """Makes all series but those held say nothing."""
    series["counted_at_us"][held:] = NO_TIME
    series["value"][held:] = np.nan
    series["first_excursion"][held:] = NOTHING
    return series


@scalar_kernel
def bucket_of(row: int, quantity: int, probe: int, buckets: int) -> int:
    """Where the search for a series starts. `buckets` is a power of two."""
    mixed = mix_integer(mix_integer(SEED, row), probe * 256 + quantity)
    return int(np.int64(mixed & _MASK_63)) & (buckets - 1)


@inlined_kernel
def find_series(series: SeriesColumns, row: int, quantity: int, probe: int) -> int:
    """The slot of a series, or -1 - the free bucket of the index where it belongs."""
    buckets = len(series.buckets)
    bucket = bucket_of(row, quantity, probe, buckets)
    while series.buckets[bucket] != 0:
        slot = int(series.buckets[bucket]) - 1
        if series.row[slot] == row and series.quantity[slot] == quantity and series.probe[slot] == probe:
            return slot
        bucket = (bucket + 1) & (buckets - 1)
    return -1 - bucket


@scalar_kernel
def add_series(series: SeriesColumns, bucket: int, row: int, quantity: int, probe: int) -> int:
    """The slot of a new series, put at this bucket of the index. There must be room."""
    slot = int(series.filled[0])
    series.filled[0] += 1
    series.row[slot] = row
    series.quantity[slot] = quantity
    series.probe[slot] = probe
    series.buckets[bucket] = slot + 1
    return slot


@scalar_kernel
def index_series(series: SeriesColumns) -> None:
    """Fills an index of zeros with all series."""
    for slot in range(series.filled[0]):
        bucket = -1 - find_series(series, series.row[slot], series.quantity[slot], series.probe[slot])
        series.buckets[bucket] = slot + 1


class SensorTable:
    """The columns, and which limits there are."""

    def __init__(self, kept_samples: int) -> None:
        self._kept_samples = kept_samples
        self._series = _fresh_series(empty_records(_SERIES, _FIRST_ROOM), 0)
        self.series = SeriesColumns(np.zeros(1, np.int64), np.zeros(16, np.int32), *_columns(self._series))
        self.memory = empty_memory(_FIRST_ROOM, kept_samples)
        self.limits = LimitColumns.of(empty_records(_LIMITS, 0))
        self.excursions = ExcursionColumns(empty_free(), *(np.empty(0, dtype) for dtype in _EXCURSIONS))
        self.definitions: dict[int, SensorLimit] = {}
        self._slots: dict[tuple[str, str], int] = {}
        self._unused: list[int] = []

    def make_series_room(self, wanted: int) -> None:
        """At least `wanted` more series fit, and the index stays at most half full."""
        held = len(self.series.row)
        needed = int(self.series.filled[0]) + wanted
        if needed <= held:
            return
        size = next_size(held, needed)
        self._series = _fresh_series(more_records(self._series, size), held)
        buckets = 1 << (2 * size - 1).bit_length()
        self.series = SeriesColumns(self.series.filled, np.zeros(buckets, np.int32), *_columns(self._series))
        index_series(self.series)
        self.memory = more_memory(self.memory, size, self._kept_samples)

    def make_excursion_room(self, wanted: int) -> None:
        """At least `wanted` more nodes fit."""
        if room_left(self.excursions.following, self.excursions.free) < wanted:
            held = len(self.excursions.following)
            size = next_size(held, int(self.excursions.free[EVER_TAKEN]) + wanted)
            columns = longer_columns(self.excursions[1:], size, [0] * len(_EXCURSIONS))
            self.excursions = ExcursionColumns(self.excursions.free, *columns)

    def slot_of(self, tenant: str, limit_id: str) -> int | None:
        """The slot of a limit in force."""
        return self._slots.get((tenant, limit_id))

    def put(self, limit: SensorLimit, row: int, devices: DeviceColumns) -> int:
        """Puts a limit in force and returns its slot; a limit of the same id must be of the same device, else delete it
        before. Excursions are not looked at.
        """
        slot = self.slot_of(limit.tenant, limit.limit_id)
        if slot is None:
            slot = self._take_slot()
            self._slots[limit.tenant, limit.limit_id] = slot
            self.limits.following[slot] = devices.first_limit[row]
            devices.first_limit[row] = slot
        self.definitions[slot] = limit
        self.limits.quantity[slot] = limit.quantity
        self.limits.minimum[slot] = np.nan if limit.minimum is None else limit.minimum
        self.limits.maximum[slot] = np.nan if limit.maximum is None else limit.maximum
        self.limits.hysteresis[slot] = limit.hysteresis
        self.limits.minimum_duration_us[slot] = limit.minimum_duration_us
        return slot

    def delete(self, slot: int, row: int, devices: DeviceColumns) -> None:
        """Takes a limit out of force. Its excursions must be gone."""
        limit = self.definitions.pop(slot)
        del self._slots[limit.tenant, limit.limit_id]
        if devices.first_limit[row] == slot:
            devices.first_limit[row] = self.limits.following[slot]
        else:
            before = devices.first_limit[row]
            while self.limits.following[before] != slot:
                before = self.limits.following[before]
            self.limits.following[before] = self.limits.following[slot]
        self._unused.append(slot)

    def _take_slot(self) -> int:
        if not self._unused:
            held = len(self.limits.quantity)
            size = next_size(held, held + 1)
            self.limits = LimitColumns.of(more_records(self.limits.view(np.ndarray), size))
            self._unused.extend(range(size - 1, held - 1, -1))
        return self._unused.pop()
