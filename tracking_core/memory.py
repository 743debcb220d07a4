"""What an owner (a device, a sensor series, a tag) remembers of its last readings: time and content of each.

One ring of `capacity` places an owner, in rows of `capacity` of two flat columns. A ring is kept in order of time, or
in order of arrival (for readings whose time is not believed); each owner of rings uses one way only.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.columns import I32, I64, U64

NEW: Final = 0
SAME: Final = 1
CONTRADICTING: Final = 2


class Memory(NamedTuple):
    """`times_us` and `contents` have `capacity` places an owner; the oldest of an owner is at its `head`."""

    times_us: I64
    contents: U64
    head: I32
    length: I32


def empty_memory(owners: int, capacity: int) -> Memory:
    """Memory that remembers nothing. Fresh pages of zeros cost no memory until they are written."""
    return Memory(
        np.zeros(owners * capacity, np.int64),
        np.zeros(owners * capacity, np.uint64),
        np.zeros(owners, np.int32),
        np.zeros(owners, np.int32),
    )


def more_memory(memory: Memory, owners: int, capacity: int) -> Memory:
    """The same with room for more owners."""
    grown = empty_memory(owners, capacity)
    grown.times_us[: len(memory.times_us)] = memory.times_us
    grown.contents[: len(memory.contents)] = memory.contents
    grown.head[: len(memory.head)] = memory.head
    grown.length[: len(memory.length)] = memory.length
    return grown


@scalar_kernel
def newest_us(memory: Memory, owner: int, capacity: int) -> int:
    """The time of the last place of a ring that is not empty; in a ring in order of time, the newest."""
    place = memory.head[owner] + memory.length[owner] - 1
    if place >= capacity:
        place -= capacity
    return int(memory.times_us[owner * capacity + place])


@scalar_kernel
def is_before_all(memory: Memory, owner: int, capacity: int, at_us: int) -> bool:
    """Whether a ring in order of time is full and all it remembers is newer."""
    return bool(memory.length[owner] == capacity and at_us < memory.times_us[owner * capacity + memory.head[owner]])


@scalar_kernel
def recall(memory: Memory, owner: int, capacity: int, at_us: int, content: np.uint64) -> int:
    """Whether a ring in order of time holds this time: NEW, SAME (with this content), CONTRADICTING (with others only).

    Looks from the newest backwards: constant time for a reading in order.
    """
    base = owner * capacity
    found = NEW
    for age in range(memory.length[owner] - 1, -1, -1):
        place = memory.head[owner] + age
        if place >= capacity:
            place -= capacity
        remembered_us = memory.times_us[base + place]
        if remembered_us < at_us:
            break
        if remembered_us == at_us:
            if memory.contents[base + place] == content:
                return SAME
            found = CONTRADICTING
    return found


@scalar_kernel
def remember(memory: Memory, owner: int, capacity: int, at_us: int, content: np.uint64) -> None:
    """Puts a reading into a ring in order of time, behind those of the same time. A full ring forgets its oldest;
    into a full ring nothing goes that is older than all of it.
    """
    base = owner * capacity
    head = memory.head[owner]
    length = memory.length[owner]
    if length == capacity:
        if at_us < memory.times_us[base + head]:
            return
        head += 1
        if head == capacity:
            head = 0
        memory.head[owner] = head
        length -= 1
    place = head + length
    if place >= capacity:
        place -= capacity
    while length > 0:
        before = place - 1
        if before < 0:
            before += capacity
        if memory.times_us[base + before] <= at_us:
            break
        memory.times_us[base + place] = memory.times_us[base + before]
        memory.contents[base + place] = memory.contents[base + before]
        place = before
        length -= 1
    memory.times_us[base + place] = at_us
    memory.contents[base + place] = content
    if memory.length[owner] < capacity:
        memory.length[owner] += 1


@scalar_kernel
def recall_unordered(memory: Memory, owner: int, capacity: int, at_us: int, content: np.uint64) -> bool:
    """Whether a ring in order of arrival holds this time with this content."""
    base = owner * capacity
    for place in range(memory.length[owner]):
        if memory.times_us[base + place] == at_us and memory.contents[base + place] == content:
            return True
    return False


@scalar_kernel
def remember_last(memory: Memory, owner: int, capacity: int, at_us: int, content: np.uint64) -> None:
    """Puts a reading at the end of a ring in order of arrival; a full ring forgets what came first."""
    base = owner * capacity
    if memory.length[owner] < capacity:
        place = memory.head[owner] + memory.length[owner]
        if place >= capacity:
            place -= capacity
        memory.length[owner] += 1
    else:
        place = memory.head[owner]
        memory.head[owner] = 0 if place + 1 == capacity else place + 1
    memory.times_us[base + place] = at_us
    memory.contents[base + place] = content


@scalar_kernel
def unroll(memory: Memory, owners: I64, capacity: int, times_us: I64, contents: U64) -> int:
    """Writes what the rings of these owners hold, oldest first, one ring behind the other; returns how many
    readings.
    """
    written = 0
    for owner in owners:
        for age in range(memory.length[owner]):
            place = memory.head[owner] + age
            if place >= capacity:
                place -= capacity
            times_us[written] = memory.times_us[owner * capacity + place]
            contents[written] = memory.contents[owner * capacity + place]
            written += 1
    return written


@scalar_kernel
def roll(memory: Memory, lengths: I32, capacity: int, times_us: I64, contents: U64) -> None:
    """The inverse of `unroll` into the empty rings of owners 0, 1, ...; of a ring longer than `capacity` the newest
    stay.
    """
    read = 0
    for owner in range(len(lengths)):
        for _ in range(lengths[owner]):
            remember_last(memory, owner, capacity, times_us[read], contents[read])
            read += 1
