"""The last stored fixes of each device with what they said, in order of time, and the state before the oldest of them.

A ring of `memory.py` has the times and contents; beside each place stands the fix itself. So what was counted when any
of them came can be read off the ring, and a fix that arrives late can be put where it belongs.

Of fixes with one time the one with the lower content (a number made of all that it says) stands first: the order does
not depend on which of them arrived first.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geofence.kernel import scalar_kernel
from tracking_core.columns import I32, I64, NO_TIME, U64
from tracking_core.memory import Memory
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_JUMP = int(Verdict.IMPLAUSIBLE_JUMP)

Records = npt.NDArray[np.void]

KEPT_FIX: Final = np.dtype(
    [
        ("received_at_us", "i8"),
        ("latitude_deg", "f8"),
        ("longitude_deg", "f8"),
        ("altitude_m", "f4"),
        ("accuracy_m", "f4"),
        ("speed_mps", "f4"),
        ("heading_deg", "f4"),
        ("known_speed_mps", "f4"),
        ("known_heading_deg", "f4"),
        ("verdict", "u1"),
    ]
)
"""A fix beside its place in the ring: as measured; what of it was derived once it counted; its present verdict. One
record, unlike the columns elsewhere, because a fold touches all of it: ten columns would be ten waits for memory."""

BASE: Final = np.dtype(
    [
        ("counted_at_us", "i8"),
        ("counted", KEPT_FIX),
        ("suspect_at_us", "i8"),
        ("suspect_latitude_deg", "f8"),
        ("suspect_longitude_deg", "f8"),
    ]
)
"""The counted fix and the suspect when the oldest fix of the ring came; a time of 0 says that there was none."""


class Timeline(NamedTuple):
    """`ring` and `kept` have as many places a device as fixes are kept. `kept` and `base` are empty in an engine that
    repairs nothing. `journeys` has the journey (journey_records.py) after each kept fix, `base_journeys` that of the
    base; they are empty also where journeys are not followed.
    """

    ring: Memory
    kept: Records
    base: Records
    journeys: Records
    base_journeys: Records


def empty_records(dtype: np.dtype[Any], count: int) -> Records:
    """Records of zeros; fresh pages cost no memory until they are written."""
    records: Records = np.zeros(count, dtype)
    return records


def more_records(records: Records, count: int) -> Records:
    """The same with room for more."""
    grown = empty_records(records.dtype, count)
    grown[: len(records)] = records
    return grown


@scalar_kernel
def place_of(ring: Memory, row: int, capacity: int, age: int) -> int:
    """Where the fix stands that has `age` older ones before it."""
    place = ring.head[row] + age
    if place >= capacity:
        place -= capacity
    return int(row * capacity + place)


@scalar_kernel
def let_go_of_oldest(timeline: Timeline, row: int, capacity: int) -> None:
    """Moves the base of a device over the oldest fix of its ring, which is forgotten. The ring must not be empty."""
    ring = timeline.ring
    if len(timeline.base) > 0:
        place = place_of(ring, row, capacity, 0)
        verdict = timeline.kept[place]["verdict"]
        if verdict == _OK:
            timeline.base[row]["counted_at_us"] = ring.times_us[place]
            timeline.base[row]["counted"] = timeline.kept[place]
            timeline.base[row]["suspect_at_us"] = 0
            if len(timeline.base_journeys) > 0:
                timeline.base_journeys[row] = timeline.journeys[place]
        elif verdict == _JUMP:
            timeline.base[row]["suspect_at_us"] = ring.times_us[place]
            timeline.base[row]["suspect_latitude_deg"] = timeline.kept[place]["latitude_deg"]
            timeline.base[row]["suspect_longitude_deg"] = timeline.kept[place]["longitude_deg"]
    ring.head[row] = 0 if ring.head[row] + 1 == capacity else ring.head[row] + 1
    ring.length[row] -= 1


@scalar_kernel
def insert_fix(timeline: Timeline, row: int, capacity: int, at_us: int, content: np.uint64) -> int:
    """Makes a place for a fix in the order of time and content, of a full ring by letting go of the oldest; returns
    its age. What stands beside the place is what was there before.
    """
    ring = timeline.ring
    if ring.length[row] == capacity:
        let_go_of_oldest(timeline, row, capacity)
    age = int(ring.length[row])
    ring.length[row] = age + 1
    here = place_of(ring, row, capacity, age)
    while age > 0:
        before = place_of(ring, row, capacity, age - 1)
        before_us = ring.times_us[before]
        if before_us < at_us or (before_us == at_us and ring.contents[before] < content):
            break
        ring.times_us[here] = before_us
        ring.contents[here] = ring.contents[before]
        if len(timeline.kept) > 0:
            timeline.kept[here] = timeline.kept[before]
            if len(timeline.journeys) > 0:
                timeline.journeys[here] = timeline.journeys[before]
        here = before
        age -= 1
    ring.times_us[here] = at_us
    ring.contents[here] = content
    return age


@scalar_kernel
def base_us(timeline: Timeline, row: int) -> int:
    """The time of the last fix that the base has counted or suspects; nothing can be put before it. NO_TIME if it has
    none.
    """
    newest_us = max(timeline.base[row]["counted_at_us"], timeline.base[row]["suspect_at_us"])
    return newest_us if newest_us > 0 else NO_TIME


@scalar_kernel
def places_in_order(ring: Memory, rows: int, capacity: int, places: I64) -> None:
    """Writes the places of all fixes of the first rows, oldest first, one ring behind the other."""
    written = 0
    for row in range(rows):
        for age in range(ring.length[row]):
            places[written] = place_of(ring, row, capacity, age)
            written += 1


@scalar_kernel
def roll_timeline(
    timeline: Timeline, lengths: I32, capacity: int, times_us: I64, contents: U64, kept: Records, journeys: Records
) -> None:
    """Fills the empty rings of rows 0, 1, ... with fixes in order; of more than `capacity` the newest stay, and the
    base moves over the others.
    """
    read = 0
    ring = timeline.ring
    for row in range(len(lengths)):
        for _ in range(lengths[row]):
            if ring.length[row] == capacity:
                let_go_of_oldest(timeline, row, capacity)
            place = place_of(ring, row, capacity, ring.length[row])
            ring.length[row] += 1
            ring.times_us[place] = times_us[read]
            ring.contents[place] = contents[read]
            if len(timeline.kept) > 0:
                timeline.kept[place] = kept[read]
            if len(timeline.journeys) > 0:
                timeline.journeys[place] = journeys[read]
            read += 1
