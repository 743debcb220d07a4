"""Tags at readers: one row a tag and reader, found by a hash index; those present hang on their reader as a chain.

A tag that departed is remembered until the horizon has passed, so that a late or repeated read of it is known as one.
Rows are forgotten only when the table is rebuilt for want of room, but a row past the horizon counts as forgotten at
once, so that the size of the table changes no result.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geofence.kernel import scalar_kernel
from tracking_core.columns import I32, I64, U64
from tracking_core.content_hash import SEED, mix, mix_integer
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.growth import next_size
from tracking_core.memory import Memory, empty_memory

ABSENT: Final = 0
PENDING: Final = 1
PRESENT: Final = 2

_MASK_63: Final = np.uint64(0x7FFFFFFFFFFFFFFF)


class TagColumns(NamedTuple):
    """`filled[0]` rows. `buckets` is the index: slot + 1 or 0; its length is a power of two."""

    filled: I64
    buckets: I32
    due_now_us: I64
    """(1,): no present tag was unread for the silence before the log's clock shows this; NEVER with none present."""
    row: I64
    epc_high: U64
    epc_low: U64
    epc_length: I64
    state: I64
    reads: I64
    """How many reads a pending tag has."""
    first_at_us: I64
    """The first read of a pending tag."""
    last_at_us: I64
    """The newest read, by the reader's clock ..."""
    last_now_us: I64
    """... and by the log's, when it came."""
    antenna: I64
    """Of the newest read."""
    following: I32


_LAYOUT: Final = ("i8", "u8", "u8", "i8", "i8", "i8", "i8", "i8", "i8", "i8", "i4")
_SCALARS: Final = 3


@scalar_kernel
def find_tag(tags: TagColumns, row: int, epc_high: np.uint64, epc_low: np.uint64, epc_length: int) -> int:
    """The slot of a tag at a reader, or -1 - the free bucket of the index where it belongs."""
    buckets = len(tags.buckets)
    mixed = mix_integer(mix(mix(mix_integer(SEED, row), epc_high), epc_low), epc_length)
    bucket = int(np.int64(mixed & _MASK_63)) & (buckets - 1)
    while tags.buckets[bucket] != 0:
        slot = int(tags.buckets[bucket]) - 1
        if (
            tags.row[slot] == row
            and tags.epc_low[slot] == epc_low
            and tags.epc_high[slot] == epc_high
            and tags.epc_length[slot] == epc_length
        ):
            return slot
        bucket = (bucket + 1) & (buckets - 1)
    return -1 - bucket


@scalar_kernel
def add_tag(tags: TagColumns, bucket: int, row: int, epc_high: np.uint64, epc_low: np.uint64, epc_length: int) -> int:
    """The slot of a new tag, absent, put at this bucket of the index. There must be room."""
    slot = int(tags.filled[0])
    tags.filled[0] += 1
    tags.row[slot] = row
    tags.epc_high[slot] = epc_high
    tags.epc_low[slot] = epc_low
    tags.epc_length[slot] = epc_length
    tags.state[slot] = ABSENT
    tags.buckets[bucket] = slot + 1
    return slot


@scalar_kernel
def link_tag(tags: TagColumns, slot: int, row: int, silence_us: int, devices: DeviceColumns) -> None:
    """Hangs a present tag on its reader, and brings both bounds down to it."""
    tags.following[slot] = devices.first_tag[row]
    devices.first_tag[row] = slot
    devices.tags_due_us[row] = min(devices.tags_due_us[row], tags.last_at_us[slot] + silence_us)
    tags.due_now_us[0] = min(tags.due_now_us[0], tags.last_now_us[slot] + silence_us)


@scalar_kernel
def unlink_tag(tags: TagColumns, slot: int, row: int, devices: DeviceColumns) -> None:
    """Takes a tag from its reader."""
    if devices.first_tag[row] == slot:
        devices.first_tag[row] = tags.following[slot]
        return
    before = devices.first_tag[row]
    while tags.following[before] != slot:
        before = tags.following[before]
    tags.following[before] = tags.following[slot]


@scalar_kernel
def index_tags(tags: TagColumns, silence_us: int, devices: DeviceColumns) -> None:
    """Fills an index of zeros with all rows, and hangs the present ones on their readers anew."""
    for row in range(len(devices.first_tag)):
        devices.first_tag[row] = NOTHING
        devices.tags_due_us[row] = NEVER
    tags.due_now_us[0] = NEVER
    for slot in range(tags.filled[0]):
        row = tags.row[slot]
        found = find_tag(tags, row, tags.epc_high[slot], tags.epc_low[slot], tags.epc_length[slot])
        tags.buckets[-1 - found] = slot + 1
        if tags.state[slot] == PRESENT:
            link_tag(tags, slot, row, silence_us, devices)


class TagTable:
    """The columns, and what is remembered of each tag's reads."""

    def __init__(self, kept_samples: int, silence_us: int, horizon_us: int) -> None:
        self._kept_samples = kept_samples
        self._silence_us = silence_us
        self._horizon_us = horizon_us
        self.columns = _empty_columns(0)
        self.memory = empty_memory(0, kept_samples)

    def kept(self, now_us: int) -> I64:
        """The slots of the rows that are not forgotten."""
        count = int(self.columns.filled[0])
        gone = (self.columns.state[:count] == ABSENT) & (self.columns.last_now_us[:count] <= now_us - self._horizon_us)
        return np.flatnonzero(~gone)

    def make_room(self, wanted: int, now_us: int, devices: DeviceColumns) -> None:
        """At least `wanted` more tags fit, and the index stays at most half full. Forgets what it may."""
        held = len(self.columns.row)
        if int(self.columns.filled[0]) + wanted <= held:
            return
        kept = self.kept(now_us)
        # Half as much again as what is left, so that the next rebuild is far.
        size = next_size(len(kept), len(kept) + wanted)
        self.rebuild(kept, size, devices)

    def rebuild(self, slots: I64, size: int, devices: DeviceColumns) -> None:
        """Keeps these rows, in this order, in a table of this size."""
        columns, memory = _empty_columns(size), empty_memory(size, self._kept_samples)
        columns.filled[0] = len(slots)
        grown: tuple[npt.NDArray[Any], ...] = columns[_SCALARS:]
        held: tuple[npt.NDArray[Any], ...] = self.columns[_SCALARS:]
        for new, old in zip(grown, held, strict=True):
            new[: len(slots)] = old[slots]
        capacity = self._kept_samples
        _copy_rings(memory, self.memory, slots, capacity)
        self.columns, self.memory = columns, memory
        index_tags(self.columns, self._silence_us, devices)

    def next_due_us(self) -> int | None:
        """When the first present tag will have been silent for long enough, by the log's clock."""
        count = int(self.columns.filled[0])
        if self.columns.due_now_us[0] == NEVER:
            return None
        present = self.columns.state[:count] == PRESENT
        if not present.any():
            return None
        return int(self.columns.last_now_us[:count][present].min()) + self._silence_us

    def epc(self, slot: int) -> bytes:
        """The EPC as the tag sends it."""
        whole = int(self.columns.epc_high[slot]) << 64 | int(self.columns.epc_low[slot])
        return whole.to_bytes(16, "big")[16 - int(self.columns.epc_length[slot]) :]


def _empty_columns(size: int) -> TagColumns:
    buckets = 1 << max(2 * size - 1, 15).bit_length()
    return TagColumns(
        np.zeros(1, np.int64),
        np.zeros(buckets, np.int32),
        np.full(1, NEVER, np.int64),
        *(np.zeros(size, dtype) for dtype in _LAYOUT),
    )


def _copy_rings(new: Memory, old: Memory, owners: I64, capacity: int) -> None:
    count = len(owners)
    places = (owners[:, None] * capacity + np.arange(capacity)).ravel()
    new.times_us[: count * capacity] = old.times_us[places]
    new.contents[: count * capacity] = old.contents[places]
    new.head[:count] = old.head[owners]
    new.length[:count] = old.length[owners]
