"""Fixes that were sent again under another time: the same running number with the same content.

A network that stamps what it forwards, or a tracker without a clock, gives a retransmission a time of its own. Of such
fixes the oldest speaks; each that has another before it, by no more than a bound, is `repeated`. So a chain of them is
one fix and its repetitions, however long it is. What the one before it was worth does not matter, unless it came too
late to be put where it belongs: the verdict hangs on which fixes there are, not on the order in which they came, and
once given it is final.

All is decided when a fix comes: it repeats an older one, or newer ones repeat it. Those of a chain that repeat one of
these, and not it, have been found already.

The bound keeps a number apart from the same one after a restart or a turn of the counter, on a device that stands still
and so says the same all day. A kept fix has room for 14 bits of its number, so numbers count as equal that differ by a
multiple of a prime below 2**14: a device comes there by equal steps only after as many fixes as that is. Of a fix that
can be no repetition none is kept.

To look at an older fix is to wait for memory, a dozen times for a device that reports every ten seconds. But most
devices count: behind numbers that went up by small steps, less than that prime in all, the next one is new. So the
newest mark and how many steps there were are kept with the device.
"""

from __future__ import annotations

import math
from typing import Final

from geofence.kernel import inlined_kernel, scalar_kernel
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.fixes.folded import VerdictChanges, note_verdict
from tracking_core.fixes.kept_fix import keep_derived, kept_mark
from tracking_core.fixes.timeline import Timeline, base_us, place_of
from tracking_core.journey_records import JourneyColumns
from tracking_core.journeys.folding import keep_journey
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_IMPLAUSIBLE_JUMP = int(Verdict.IMPLAUSIBLE_JUMP)
_CONFLICTING = int(Verdict.CONFLICTING)
_HISTORICAL = int(Verdict.HISTORICAL)
_REPEATED = int(Verdict.REPEATED)

NO_MARK: Final = 0
_MARKS: Final = 16_381
_MOST_STEPS: Final = 250
_SMALL_STEP: Final = 64
"""As many as that and one more still come to less than the number of marks."""


@inlined_kernel
def sequence_mark(sequence: int) -> int:
    """What is kept of a running number: NO_MARK is like no other."""
    return int(1 + sequence % _MARKS)


@scalar_kernel
def known_unlike(timeline: Timeline, row: int, age: int, mark: int, devices: DeviceColumns) -> int:
    """How many of the fixes before the one of this age, newest first, have other marks, as far as that is known without
    looking at them. To be asked once of each, before its own mark is the newest: the device counts on.
    """
    steps = int(devices.counting[row])
    devices.counting[row] = 0
    if age + 1 < timeline.ring.length[row]:
        return 0
    before = int(devices.mark[row])
    if before == NO_MARK or not 0 < (mark - before) % _MARKS <= _SMALL_STEP:
        return 0
    devices.counting[row] = min(steps + 1, _MOST_STEPS)
    return steps + 1


@scalar_kernel
def repeats_earlier(timeline: Timeline, row: int, age: int, mark: int, within_us: int, devices: DeviceColumns) -> bool:
    """Whether the fix of this age, with this mark, repeats an older one. Looks back no farther than the bound."""
    ring, places = timeline.ring, timeline.places
    place = place_of(ring, row, places, age)
    at_us, content = ring.times_us[place], ring.contents[place]
    for older in range(age - 1 - known_unlike(timeline, row, age, mark, devices), -1, -1):
        earlier = place_of(ring, row, places, older)
        if ring.times_us[earlier] < at_us - within_us:
            break
        if ring.contents[earlier] == content and kept_mark(timeline, earlier) == mark:
            return True
    return False


@scalar_kernel
def mark_repetitions(
    timeline: Timeline,
    row: int,
    age: int,
    mark: int,
    within_us: int,
    last_us: int,
    devices: DeviceColumns,
    journeys: JourneyColumns,
    changes: VerdictChanges,
) -> int:
    """Gives the verdict to the newer fixes that repeat the one of this age, could count and can be told anew, and notes
    it: there must be room for as many changes as there are fixes. Returns the age of the oldest among them
    that had been judged among the others, none of which is newer than `last_us`; NOTHING if there was none.
    """
    ring, places = timeline.ring, timeline.places
    after_us = max(devices.settled_us[row], base_us(timeline, row))
    place = place_of(ring, row, places, age)
    at_us, content = ring.times_us[place], ring.contents[place]
    oldest = NOTHING
    for newer in range(age + 1, ring.length[row]):
        later = place_of(ring, row, places, newer)
        if ring.times_us[later] > at_us + within_us:
            break
        if ring.contents[later] != content or kept_mark(timeline, later) != mark or ring.times_us[later] <= after_us:
            continue
        verdict = int(timeline.kept[later]["verdict"])
        if verdict not in (_OK, _IMPLAUSIBLE_JUMP, _CONFLICTING, _HISTORICAL):
            continue
        keep_derived(timeline, later, _REPEATED, math.nan, math.nan)
        keep_journey(timeline, later, row, False, journeys)
        note_verdict(changes, row, timeline, later, verdict, _REPEATED)
        if verdict == _HISTORICAL:
            let_next_wait(timeline, row, newer, changes)
        elif oldest == NOTHING and ring.times_us[later] <= last_us:
            oldest = newer
    return oldest


@scalar_kernel
def let_next_wait(timeline: Timeline, row: int, age: int, changes: VerdictChanges) -> None:
    """Of the history of one time lets the first wait that contradicted the one of this age, which waits no more."""
    ring = timeline.ring
    at_us = ring.times_us[place_of(ring, row, timeline.places, age)]
    for later in range(age + 1, ring.length[row]):
        place = place_of(ring, row, timeline.places, later)
        if ring.times_us[place] != at_us:
            break
        if timeline.kept[place]["verdict"] == _CONFLICTING:
            timeline.kept[place]["verdict"] = _HISTORICAL
            note_verdict(changes, row, timeline, place, _CONFLICTING, _HISTORICAL)
            break


@scalar_kernel
def judged_before_us(timeline: Timeline, row: int, age: int) -> int:
    """The time of the newest fix that was counted or suspected before the one of this age; NO_TIME if none was."""
    for earlier in range(age - 1, -1, -1):
        place = place_of(timeline.ring, row, timeline.places, earlier)
        if timeline.kept[place]["verdict"] in (_OK, _IMPLAUSIBLE_JUMP):
            return int(timeline.ring.times_us[place])
    return base_us(timeline, row)
