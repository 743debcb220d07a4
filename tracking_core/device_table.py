"""What the engine knows of each device, one row a device, and who the devices are.

The row of a device is its number // partitions: numbers are dense, and a partition has every `partitions`-th of them.
All of a device lies together in one record of 320 bytes, five lines of memory, of which a fix touches the first four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.aligned_records import RecordColumns, empty_records, more_records
from tracking_core.columns import F32, F64, I8, I32, I64, NO_TIME, U8, U16, U32
from tracking_core.definitions import DeviceIdentity
from tracking_core.fixes.timeline import MARK, PLACE, SUSPECT, Timeline
from tracking_core.growth import next_size
from tracking_core.journey_records import JOURNEY, TRIP, JourneyColumns
from tracking_core.memory import Memory, empty_memory, more_memory
from tracking_core.settings import EngineSettings

NO_TENANT: Final = -1
NOTHING: Final = -1
NEVER: Final = 2**63 - 1


class DeviceColumns(RecordColumns):
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
    edit_seen: I32
    """Which edit that was; not part of the state."""
    newest_change_us: I64
    """The time of the first node of `first_change`; NO_TIME without one. Most fixes need not look at the node then."""
    first_change: I32
    first_withdrawn: I32
    clear_column: I32
    clear_row: I32
    clear_shift: I8
    """How far finest columns and rows are shifted for the cell of the fences' index in which the device was found last,
    if no fence of its tenant may hold anything there; -1: not known. Not part of the state.
    """
    counting: U8
    """By how many small steps the sequences of its last fixes count up (fixes/repeats.py); not part of the state."""
    mark: U16
    """The mark of the sequence of the newest fix in the timeline; not part of the state: 0 is that of none."""
    live_step: U32
    """In which step the device was last put into the live columns; not part of the state."""


DEVICE: Final = np.dtype(
    [
        # Every fix reads and writes this line,
        ("counted_at_us", "i8"),
        ("received_at_us", "i8"),
        ("latitude_deg", "f8"),
        ("longitude_deg", "f8"),
        ("altitude_m", "f4"),
        ("speed_mps", "f4"),
        ("heading_deg", "f4"),
        ("accuracy_m", "f4"),
        ("suspect_at_us", "i8"),
        ("tenant", "i4"),
        ("first_presence", "i4"),
        # and this one,
        ("newest_us", "i8"),
        ("head", "i4"),
        ("length", "i4"),
        ("lag_us", "i8"),
        ("lost_at_us", "i8"),
        ("due_us", "i8"),
        ("newest_change_us", "i8"),
        ("edit_seen", "i4"),
        ("clear_column", "i4"),
        ("clear_row", "i4"),
        ("live_step", "u4"),
        # the trip's state in this one,
        ("trip", TRIP),
        ("unused", "u1"),
        ("mark", "u2"),
        ("first_route", "i4"),
        ("suspect_latitude_deg", "f8"),
        ("suspect_longitude_deg", "f8"),
        ("base_suspects", "u1"),
        ("clear_shift", "i1"),
        ("counting", "u1"),
        # and the last (journey_records.py says why the journey begins before it).
        ("journey", JOURNEY),
        # Changes, edits, samples and tag reads touch this one.
        ("settled_us", "i8"),
        ("first_change", "i4"),
        ("first_withdrawn", "i4"),
        ("first_limit", "i4"),
        ("first_tag", "i4"),
        ("reader_at_us", "i8"),
        ("tags_due_us", "i8"),
        ("unused_too", "u1", 24),
    ]
)
"""A device: 320 bytes."""
_FRESH: Final[dict[str, float]] = {
    "tenant": NO_TENANT,
    "counted_at_us": NO_TIME,
    "received_at_us": NO_TIME,
    "latitude_deg": np.nan,
    "longitude_deg": np.nan,
    "altitude_m": np.nan,
    "speed_mps": np.nan,
    "heading_deg": np.nan,
    "accuracy_m": np.nan,
    "suspect_at_us": NO_TIME,
    "suspect_latitude_deg": np.nan,
    "suspect_longitude_deg": np.nan,
    "first_presence": NOTHING,
    "first_route": NOTHING,
    "due_us": NEVER,
    "lost_at_us": NO_TIME,
    "settled_us": NO_TIME,
    "newest_us": NO_TIME,
    "newest_change_us": NO_TIME,
    "edit_seen": -1,
    "clear_shift": -1,
    "first_change": NOTHING,
    "first_withdrawn": NOTHING,
    "first_limit": NOTHING,
    "first_tag": NOTHING,
    "reader_at_us": NO_TIME,
    "tags_due_us": NEVER,
}
"""What a fresh record holds; the rest is 0."""
_UNUSED: Final = 2
"""So many records stand for those that an engine without repairs has not: none would be of another type to numba."""


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
        self._records = empty_records(DEVICE, 0)
        self._places = empty_records(PLACE if settings.repairs_late else MARK, 0)
        self._suspects = empty_records(SUSPECT, 0)
        self.quarantine = empty_memory(0, settings.kept_quarantined)
        self._show()
        self.tenants: list[str] = []
        self.device_ids: list[str] = []

    def _show(self) -> None:
        """Names what the records hold."""
        records, places = self._records, self._places
        beside = places if self._settings.repairs_late else empty_records(PLACE, _UNUSED)
        self.columns = DeviceColumns.of(records)
        self.journeys = JourneyColumns(self._settings.follows_journeys, records["journey"], records["trip"])
        self.timeline = Timeline(
            self._settings.repairs_late,
            self._settings.kept_fixes + 1,
            Memory(places["at_us"], places["content"], records["head"], records["length"]),
            records["newest_us"],
            beside["kept"],
            beside["journey"],
            records["base_suspects"],
            self._suspects,
        )

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
        held = len(self._records)
        if rows <= held:
            return
        size = next_size(held, rows)
        self._records = more_records(self._records, size)
        for name, value in _FRESH.items():
            self._records[name][held:] = value
        self._places = more_records(self._places, size * (self._settings.kept_fixes + 1))
        self._suspects = more_records(self._suspects, size if self._settings.repairs_late else 0)
        self.quarantine = more_memory(self.quarantine, size, self._settings.kept_quarantined)
        self._show()

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
