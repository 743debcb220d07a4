"""How far back the history of a device can still be repaired, and what need not be remembered of the time before."""

from __future__ import annotations

from geofence.kernel import scalar_kernel
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.edits import EditColumns, settle_edits
from tracking_core.fixes.quality import last_judged_us
from tracking_core.fixes.timeline import Timeline, base_place, base_us, place_of
from tracking_core.journey_records import JourneyColumns
from tracking_core.journeys.folding import journey_dated_from_us
from tracking_core.presence_pool import PresenceColumns
from tracking_core.telling.journal import JournalColumns, forget_changes, forget_withdrawn
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_IMPLAUSIBLE_JUMP = int(Verdict.IMPLAUSIBLE_JUMP)
_LATE = int(Verdict.LATE)
_CONFLICTING = int(Verdict.CONFLICTING)


@scalar_kernel
def repairable_after_us(row: int, devices: DeviceColumns, timeline: Timeline) -> int:
    """A late fix must be newer than this to be put where it belongs."""
    if not timeline.repairs:
        return last_judged_us(devices, row)
    return int(max(devices.settled_us[row], base_us(timeline, row)))


@scalar_kernel
def judge_late(at_us: int, row: int, age: int, devices: DeviceColumns, timeline: Timeline) -> int:
    """The verdict on a fix, at its place already, that is not newer than all that were judged before: OK if it is to be
    folded there.
    """
    ring, places = timeline.ring, timeline.places
    after_us = repairable_after_us(row, devices, timeline)
    if at_us > after_us:
        # Of those of one time the first in order is judged; the others contradict it.
        for earlier in range(age - 1, -1, -1):
            place = place_of(ring, row, places, earlier)
            if ring.times_us[place] != at_us:
                break
            verdict = timeline.kept[place]["verdict"]
            if verdict in (_OK, _IMPLAUSIBLE_JUMP):
                return _CONFLICTING
        return _OK
    if (
        at_us == after_us
        or (age > 0 and ring.times_us[place_of(ring, row, places, age - 1)] == at_us)
        or (age + 1 < ring.length[row] and ring.times_us[place_of(ring, row, places, age + 1)] == at_us)
    ):
        return _CONFLICTING
    return _LATE


@scalar_kernel
def no_crossing_before_us(row: int, timeline: Timeline) -> int:
    """No crossing that is not noted yet will be dated before this: the way of every fix begins at a counted one."""
    if not timeline.repairs:
        return NEVER
    return int(timeline.ring.times_us[base_place(timeline, row)])


@scalar_kernel
def forget_old_withdrawn(
    journal: JournalColumns,
    row: int,
    timeline: Timeline,
    journeys: JourneyColumns,
    presences: PresenceColumns,
    devices: DeviceColumns,
) -> None:
    """Forgets the withdrawn events of a device that can come true no more."""
    if devices.first_withdrawn[row] != NOTHING:
        before_us = no_crossing_before_us(row, timeline)
        journey_us = journey_dated_from_us(row, timeline, journeys, journal, devices)
        forget_withdrawn(journal, row, before_us, journey_us, presences, devices)


@scalar_kernel
def settle(
    rows: int,
    devices: DeviceColumns,
    timeline: Timeline,
    presences: PresenceColumns,
    journal: JournalColumns,
    journeys: JourneyColumns,
    edits: EditColumns,
) -> None:
    """Does for the first rows what the next fix of each would: a snapshot holds nothing that nobody will look at."""
    for row in range(rows):
        settle_edits(row, devices, timeline, journal, edits)
        if devices.first_change[row] != NOTHING or devices.first_withdrawn[row] != NOTHING:
            until_us = repairable_after_us(row, devices, timeline)
            forget_changes(journal, row, until_us, devices)
            forget_old_withdrawn(journal, row, timeline, journeys, presences, devices)
