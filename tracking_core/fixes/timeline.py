"""The last stored fixes of each device with what they said, in order of time, and the state before the oldest of them.

A ring of `memory.py` has the times and contents; beside each place stands the fix itself. So what was counted when any
of them came can be read off the ring, and a fix that arrives late can be put where it belongs.

A ring has a place more than it keeps fixes. The one before the oldest fix is the *base*: the newest counted fix among
those that the ring has let go of (a time of 0: there was none). Mostly the fix that is let go of is the base from then
on, where it stands, and the new one takes the place of the old base.

Of fixes with one time the one with the lower content (a number made of all that it says) stands first: the order does
not depend on which of them arrived first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import inlined_kernel, scalar_kernel
from tracking_core.aligned_records import Records
from tracking_core.columns import I32, I64, NO_TIME, U8, U64
from tracking_core.journey_records import JOURNEY
from tracking_core.memory import Memory
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_JUMP = int(Verdict.IMPLAUSIBLE_JUMP)

KEPT_FIX: Final = np.dtype(
    [
        ("received_at_us", "i8"),
        ("latitude_deg", "f8"),
        ("longitude_deg", "f8"),
        ("altitude_m", "f4"),
        ("accuracy_m", "f4"),
        ("speed_mps", "f4"),
        ("heading_deg", "f4"),
        ("verdict", "u1"),
        ("measured", "u1"),
        ("sequence", "u1"),
    ]
)
"""A fix beside its time: as measured, and its present verdict. Speed and heading are those measured (bits SPEED and
HEADING of `measured`), or else what was derived if it counts, or NaN. `sequence` is the
low byte of the mark of its running number (repeats.py); the other bits stand in `measured`, from MARK_BITS on."""
SPEED: Final = 1
HEADING: Final = 2
MARK_BITS: Final = 2

PLACE: Final = np.dtype([("at_us", "i8"), ("content", "u8"), ("kept", KEPT_FIX), ("journey", JOURNEY)])
"""A place of a ring: 128 bytes, two lines of memory. One record, because a fold touches all of it: columns would be a
dozen waits for memory."""
MARK: Final = np.dtype([("at_us", "i8"), ("content", "u8")])
"""A place of a ring in an engine that repairs nothing."""
SUSPECT: Final = np.dtype([("at_us", "i8"), ("latitude_deg", "f8"), ("longitude_deg", "f8")])
"""A suspect that the ring has let go of; a time of 0 for none."""


class Timeline(NamedTuple):
    """`places` of a device, one more than fixes are kept. `ring` is of the times and contents, `newest_us` the newest
    of the times in it (NO_TIME of an empty one).

    In an engine that `repairs` nothing the rest is never touched. `kept` are the fixes, `journeys` the journey
    (journey_records.py) after each that counts. `base_suspects`: whether there was a suspect when the oldest fix of the
    ring came; `base_suspect` is it then.
    """

    repairs: bool
    places: int
    ring: Memory
    newest_us: I64
    kept: Records
    journeys: Records
    base_suspects: U8
    base_suspect: Records


@inlined_kernel
def place_of(ring: Memory, row: int, places: int, age: int) -> int:
    """Where the fix stands that has `age` older ones before it; of -1, the base."""
    place = ring.head[row] + age
    if place >= places:
        place -= places
    elif place < 0:
        place += places
    return int(row * places + place)


@inlined_kernel
def base_place(timeline: Timeline, row: int) -> int:
    """Where the base of a device stands."""
    return place_of(timeline.ring, row, timeline.places, -1)


@inlined_kernel
def is_full(timeline: Timeline, row: int) -> bool:
    """Whether a new fix will have the oldest let go of."""
    return bool(timeline.ring.length[row] + 1 == timeline.places)


@inlined_kernel
def is_before_ring(timeline: Timeline, row: int, at_us: int) -> bool:
    """Whether a ring is full and all in it is newer."""
    ring = timeline.ring
    return is_full(timeline, row) and at_us < ring.times_us[place_of(ring, row, timeline.places, 0)]


@scalar_kernel
def copy_place(timeline: Timeline, source: int, target: int) -> None:
    """Makes a place what another is."""
    timeline.ring.times_us[target] = timeline.ring.times_us[source]
    timeline.ring.contents[target] = timeline.ring.contents[source]
    if timeline.repairs:
        timeline.kept[target] = timeline.kept[source]
        timeline.journeys[target] = timeline.journeys[source]


@inlined_kernel
def let_go_of_oldest(timeline: Timeline, row: int) -> None:
    """Moves the base of a device over the oldest fix of its ring, which is forgotten. The ring must not be empty."""
    ring = timeline.ring
    if timeline.repairs:
        oldest = place_of(ring, row, timeline.places, 0)
        verdict = timeline.kept[oldest]["verdict"]
        if verdict == _OK:
            if timeline.base_suspects[row]:
                timeline.base_suspects[row] = 0
                timeline.base_suspect[row]["at_us"] = 0
                timeline.base_suspect[row]["latitude_deg"] = 0.0
                timeline.base_suspect[row]["longitude_deg"] = 0.0
        else:
            if verdict == _JUMP:
                timeline.base_suspects[row] = 1
                timeline.base_suspect[row]["at_us"] = ring.times_us[oldest]
                timeline.base_suspect[row]["latitude_deg"] = timeline.kept[oldest]["latitude_deg"]
                timeline.base_suspect[row]["longitude_deg"] = timeline.kept[oldest]["longitude_deg"]
            copy_place(timeline, base_place(timeline, row), oldest)
    ring.head[row] = 0 if ring.head[row] + 1 == timeline.places else ring.head[row] + 1
    ring.length[row] -= 1


@inlined_kernel
def insert_fix(timeline: Timeline, row: int, at_us: int, content: np.uint64) -> int:
    """Makes a place for a fix in the order of time and content, of a full ring by letting go of the oldest; returns
    its age. What stands beside the place is what was there before.
    """
    ring = timeline.ring
    if is_full(timeline, row):
        let_go_of_oldest(timeline, row)
    age = int(ring.length[row])
    ring.length[row] = age + 1
    here = place_of(ring, row, timeline.places, age)
    if at_us > timeline.newest_us[row]:
        timeline.newest_us[row] = at_us
    else:
        while age > 0:
            before = place_of(ring, row, timeline.places, age - 1)
            before_us = ring.times_us[before]
            if before_us < at_us or (before_us == at_us and ring.contents[before] < content):
                break
            copy_place(timeline, before, here)
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
    newest_us = int(timeline.ring.times_us[base_place(timeline, row)])
    if timeline.base_suspects[row]:
        newest_us = max(newest_us, int(timeline.base_suspect[row]["at_us"]))
    return newest_us if newest_us > 0 else NO_TIME


@scalar_kernel
def places_in_order(timeline: Timeline, rows: int, places: I64, bases: I64) -> None:
    """Writes the places of all fixes of the first rows, oldest first, one ring behind the other; and those of their
    bases.
    """
    written = 0
    for row in range(rows):
        bases[row] = base_place(timeline, row)
        for age in range(timeline.ring.length[row]):
            places[written] = place_of(timeline.ring, row, timeline.places, age)
            written += 1


@scalar_kernel
def roll_timeline(
    timeline: Timeline, lengths: I32, times_us: I64, contents: U64, kept: Records, journeys: Records
) -> None:
    """Fills the empty rings of rows 0, 1, ... with fixes in order; of more than they keep the newest stay, and the
    base, which is there already, moves over the others. `kept` is empty for an engine that repairs nothing or a
    snapshot of one, `journeys` also where they are not followed.
    """
    read = 0
    ring = timeline.ring
    for row in range(len(lengths)):
        for _ in range(lengths[row]):
            if is_full(timeline, row):
                let_go_of_oldest(timeline, row)
            place = place_of(ring, row, timeline.places, ring.length[row])
            ring.length[row] += 1
            ring.times_us[place] = times_us[read]
            ring.contents[place] = contents[read]
            timeline.newest_us[row] = times_us[read]
            if len(kept) > 0:
                timeline.kept[place] = kept[read]
            if len(journeys) > 0:
                timeline.journeys[place] = journeys[read]
            read += 1
