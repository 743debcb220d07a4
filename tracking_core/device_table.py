"""What the engine knows of each device, one row a device, and who the devices are.

The row of a device is its number // partitions: numbers are dense, and a partition has every `partitions`-th of them.
Columns are plain arrays rather than one array of records: a stage touches few of them, and numba reads them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.columns import F32, F64, I32, I64, NO_TIME, U32
from tracking_core.definitions import DeviceIdentity
from tracking_core.growth import longer_columns, next_size
from tracking_core.journey_records import JOURNEY, more_journeys, no_journeys
from tracking_core.memory import empty_memory, more_memory
from tracking_core.settings import EngineSettings
from tracking_core.timeline import BASE, KEPT_FIX, Timeline, empty_records, more_records

NO_TENANT: Final = -1
NOTHING: Final = -1
NEVER: Final = 2**63 - 1


class DeviceColumns(NamedTuple):
    """The newest counted fix of each device (`counted_at_us` is NO_TIME without one), a suspect that may replace it,
    and the first node of each chain of things that belong to the device (NOTHING for an empty chain).
    """

    tenant: I32
    counted_at_us: I64
    received_at_us: I64
    latitude_deg: F64
    longitude_deg: F64
    altitude_m: F32
    speed_mps: F32
    heading_deg: F32
    accuracy_m: F32
    suspect_at_us: I64
    suspect_latitude_deg: F64
    suspect_longitude_deg: F64
    first_presence: I32
    first_route: I32
    first_limit: I32
    first_tag: I32
    reader_at_us: I64
    """The newest observed time of a tag read that counts."""
    lag_us: I64
    """By how much the log's clock was ahead of the device's when its newest fix came: timers run by the device's."""
    due_us: I64
    """When the first visit of a fence will have lasted for its dwell, by the device's clock; NEVER for none."""
    lost_at_us: I64
    """Since when the signal counts as lost; NO_TIME while it is there."""
    tags_due_us: I64
    """No tag at this reader has been silent for long enough before its clock shows this; NEVER without tags."""
    settled_us: I64
    """The newest judged fix when a fence of the tenant was last edited, or NO_TIME: no late fix is put before it."""
    edit_seen: I64
    """Which edit that was; not part of the state."""
    first_change: I32
    first_withdrawn: I32
    live_step: U32
    """In which step the device was last put into the live columns; not part of the state."""


_LAYOUT: Final[tuple[tuple[str, float], ...]] = (
    ("i4", NO_TENANT),
    ("i8", NO_TIME),
    ("i8", NO_TIME),
    ("f8", np.nan),
    ("f8", np.nan),
    ("f4", np.nan),
    ("f4", np.nan),
    ("f4", np.nan),
    ("f4", np.nan),
    ("i8", NO_TIME),
    ("f8", np.nan),
    ("f8", np.nan),
    ("i4", NOTHING),
    ("i4", NOTHING),
    ("i4", NOTHING),
    ("i4", NOTHING),
    ("i8", NO_TIME),
    ("i8", 0),
    ("i8", NEVER),
    ("i8", NO_TIME),
    ("i8", NEVER),
    ("i8", NO_TIME),
    ("i8", -1),
    ("i4", NOTHING),
    ("i4", NOTHING),
    ("u4", 0),
)
"""Dtype and value of a fresh row, column by column."""


class WrongPartitionError(ValueError):
    """A device that belongs to another partition's engine: its row would be another device's."""

    def __init__(self, device: int, partition: int, partitions: int) -> None:
        super().__init__(f"device {device} is of partition {device % partitions}, not {partition} of {partitions}")
        self.device = device


@scalar_kernel
def rows_of(device: U32, partition: int, partitions: int, rows: I64) -> int:
    """Writes the row of each device number; returns the highest row (-1 for none), or -2 - i where the device at i is
    of another partition.
    """
    highest = -1
    for i in range(len(device)):
        number = int(np.int64(device[i]))
        row = number // partitions
        if number - row * partitions != partition:
            return -2 - i
        rows[i] = row
        highest = max(highest, row)
    return highest


class DeviceTable:
    """The columns, the timelines and quarantines, and the identities; grows with the highest row."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.rows = 0
        """How many rows may hold anything."""
        self.columns = DeviceColumns(*(np.empty(0, dtype) for dtype, _ in _LAYOUT))
        self.timeline = Timeline(
            empty_memory(0, settings.kept_fixes),
            empty_records(KEPT_FIX, 0),
            empty_records(BASE, 0),
            empty_records(JOURNEY, 0),
            empty_records(JOURNEY, 0),
        )
        self.journeys = no_journeys()
        self.quarantine = empty_memory(0, settings.kept_quarantined)
        self.tenants: list[str] = []
        self.device_ids: list[str] = []

    def number_of(self, row: int) -> int:
        """The device number of a row."""
        return row * self._settings.partitions + self._settings.partition

    def row_of(self, number: int) -> int:
        """The row of a device number. Raises WrongPartitionError."""
        if number % self._settings.partitions != self._settings.partition:
            raise WrongPartitionError(number, self._settings.partition, self._settings.partitions)
        return number // self._settings.partitions

    def place(self, device: U32) -> I64:
        """The rows of device numbers, all of which exist afterwards. Raises WrongPartitionError."""
        rows = np.empty(len(device), np.int64)
        highest = rows_of(device, self._settings.partition, self._settings.partitions, rows)
        if highest < -1:
            raise WrongPartitionError(int(device[-2 - highest]), self._settings.partition, self._settings.partitions)
        self.cover(highest + 1)
        return rows

    def cover(self, rows: int) -> None:
        """Makes rows up to here exist."""
        self.rows = max(self.rows, rows)
        held = len(self.columns.tenant)
        if rows <= held:
            return
        size = next_size(held, rows)
        fills = [fill for _, fill in _LAYOUT]
        self.columns = DeviceColumns(*longer_columns(self.columns, size, fills))
        bases = size if self._settings.repairs_late else 0
        journeys = size if self._settings.follows_journeys else 0
        self.timeline = Timeline(
            more_memory(self.timeline.ring, size, self._settings.kept_fixes),
            more_records(self.timeline.kept, bases * self._settings.kept_fixes),
            more_records(self.timeline.base, bases),
            more_records(self.timeline.journeys, min(bases, journeys) * self._settings.kept_fixes),
            more_records(self.timeline.base_journeys, min(bases, journeys)),
        )
        self.journeys = more_journeys(self.journeys, journeys)
        self.quarantine = more_memory(self.quarantine, size, self._settings.kept_quarantined)

    def announce(self, devices: Sequence[DeviceIdentity], tenant_number: Callable[[str], int]) -> None:
        """Learns identities. Raises WrongPartitionError."""
        rows = [self.row_of(device.number) for device in devices]
        self.cover(max(rows, default=-1) + 1)
        missing = self.rows - len(self.device_ids)
        self.tenants += [""] * missing
        self.device_ids += [""] * missing
        for row, device in zip(rows, devices, strict=True):
            if (self.tenants[row], self.device_ids[row]) != (device.tenant, device.device_id):
                # What was concluded under another name, or under none, is not gone into again.
                self.columns.edit_seen[row] = -1
            self.tenants[row] = device.tenant
            self.device_ids[row] = device.device_id
            self.columns.tenant[row] = tenant_number(device.tenant)

    def identity(self, row: int) -> tuple[str, str]:
        """Tenant and device id, empty for a device that was never announced."""
        if row < len(self.device_ids):
            return self.tenants[row], self.device_ids[row]
        return "", ""
