"""A device brought back to what was known of it before a fix of its timeline."""

from __future__ import annotations

import math

from geofence.kernel import scalar_kernel
from geofence.transitions import OUT
from tracking_core.aligned_records import Records
from tracking_core.columns import NO_TIME
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.fixes.timeline import Timeline, base_place, place_of
from tracking_core.journey_records import JourneyColumns
from tracking_core.journeys.folding import trip_before
from tracking_core.journeys.table import forget_journey, store_trip
from tracking_core.node_pool import room_left
from tracking_core.presence_pool import (
    PresenceColumns,
    add_presence,
    find_presence,
    reckon_due,
    remove_presence,
    store_presence,
)
from tracking_core.routes.arrivals import put_back_arrival, reckon_arrivals
from tracking_core.routes.expectations import ExpectedColumns
from tracking_core.telling.journal import ARRIVAL, JOURNEY_CHANGE, SIGNAL, JournalColumns, presence_before, visit_before
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_JUMP = int(Verdict.IMPLAUSIBLE_JUMP)


@scalar_kernel
def count_from(devices: DeviceColumns, row: int, at_us: int, fix: Records) -> None:
    """Makes a record of the timeline (timeline.KEPT_FIX) that counts the newest counted fix of a device."""
    devices.counted_at_us[row] = at_us
    devices.received_at_us[row] = fix["received_at_us"]
    devices.latitude_deg[row] = fix["latitude_deg"]
    devices.longitude_deg[row] = fix["longitude_deg"]
    devices.altitude_m[row] = fix["altitude_m"]
    devices.accuracy_m[row] = fix["accuracy_m"]
    devices.speed_mps[row] = fix["speed_mps"]
    devices.heading_deg[row] = fix["heading_deg"]


@scalar_kernel
def forget_counted(devices: DeviceColumns, row: int) -> None:
    """Makes a device one that never had a fix that counts."""
    devices.counted_at_us[row] = NO_TIME
    devices.received_at_us[row] = NO_TIME
    devices.latitude_deg[row] = math.nan
    devices.longitude_deg[row] = math.nan
    devices.altitude_m[row] = math.nan
    devices.accuracy_m[row] = math.nan
    devices.speed_mps[row] = math.nan
    devices.heading_deg[row] = math.nan


@scalar_kernel
def suspect_nothing(devices: DeviceColumns, row: int) -> None:
    """Forgets the suspect of a device."""
    devices.suspect_at_us[row] = NO_TIME
    devices.suspect_latitude_deg[row] = math.nan
    devices.suspect_longitude_deg[row] = math.nan


@scalar_kernel
def rewind_fix(timeline: Timeline, row: int, age: int, devices: DeviceColumns, journeys: JourneyColumns) -> None:
    """Brings the counted fix, the suspect and the journey of a device back to what they were before the fix of this age
    in its ring was judged. All can be read off the ring, and off the base where the ring does not reach back.
    """
    suspect_nothing(devices, row)
    for earlier in range(age - 1, -1, -1):
        place = place_of(timeline.ring, row, timeline.places, earlier)
        verdict = timeline.kept[place]["verdict"]
        if verdict == _OK:
            count_from(devices, row, timeline.ring.times_us[place], timeline.kept[place])
            if journeys.follows:
                journeys.now[row] = timeline.journeys[place]
            return
        if verdict == _JUMP and devices.suspect_at_us[row] == NO_TIME:
            devices.suspect_at_us[row] = timeline.ring.times_us[place]
            devices.suspect_latitude_deg[row] = timeline.kept[place]["latitude_deg"]
            devices.suspect_longitude_deg[row] = timeline.kept[place]["longitude_deg"]
    base = base_place(timeline, row)
    if timeline.ring.times_us[base] > 0:
        count_from(devices, row, timeline.ring.times_us[base], timeline.kept[base])
        if journeys.follows:
            journeys.now[row] = timeline.journeys[base]
    else:
        forget_counted(devices, row)
        if journeys.follows:
            forget_journey(journeys.now[row])
    if devices.suspect_at_us[row] == NO_TIME and timeline.base_suspects[row]:
        suspect = timeline.base_suspect[row]
        devices.suspect_at_us[row] = suspect["at_us"]
        devices.suspect_latitude_deg[row] = suspect["latitude_deg"]
        devices.suspect_longitude_deg[row] = suspect["longitude_deg"]


@scalar_kernel
def put_back_presence(
    journal: JournalColumns, node: int, row: int, presences: PresenceColumns, devices: DeviceColumns
) -> None:
    """Makes the presence at the fence of a change what it was before it. There must be room for one more."""
    fence = journal.fence[node]
    presence = find_presence(presences, row, fence, devices)
    if journal.state[node] == OUT:
        if presence != NOTHING:
            remove_presence(presences, row, presence, devices)
    elif presence == NOTHING:
        add_presence(presences, row, fence, presence_before(journal, node), visit_before(journal, node), devices)
    else:
        store_presence(presences, presence, presence_before(journal, node), visit_before(journal, node))


@scalar_kernel
def take_back_changes(
    journal: JournalColumns,
    row: int,
    at_us: int,
    presences: PresenceColumns,
    devices: DeviceColumns,
    journeys: JourneyColumns,
    expected: ExpectedColumns,
) -> int:
    """Takes back all changes from this time on. Returns the first node of a chain of them, now oldest
    first (NOTHING for none), or -2 for lack of room for presences, before anything changed.
    """
    count = 0
    node = devices.first_change[row]
    while node != NOTHING and journal.at_us[node] >= at_us:
        count += 1
        node = journal.following[node]
    if room_left(presences.following, presences.free) < count:
        return -2
    taken_back = NOTHING
    node = devices.first_change[row]
    for _ in range(count):
        if journal.fence[node] == SIGNAL:
            devices.lost_at_us[row] = journal.pending_since_us[node]
        elif journal.fence[node] == JOURNEY_CHANGE:
            store_trip(journeys, row, trip_before(journal, node))
        elif journal.fence[node] == ARRIVAL:
            put_back_arrival(journal, node, row, expected)
        else:
            put_back_presence(journal, node, row, presences, devices)
        following = journal.following[node]
        journal.following[node] = taken_back
        taken_back = node
        node = following
    devices.first_change[row] = node
    devices.newest_change_us[row] = NO_TIME if node == NOTHING else journal.at_us[node]
    if count > 0:
        reckon_due(presences, row, devices)
        reckon_arrivals(row, expected, presences, devices)
    return taken_back


@scalar_kernel
def begin_here(rows: int, devices: DeviceColumns, timeline: Timeline, journeys: JourneyColumns) -> None:
    """Makes what is known of the first rows their base: nothing from before it is gone into again."""
    for row in range(rows):
        if devices.counted_at_us[row] == NO_TIME:
            continue
        base = base_place(timeline, row)
        timeline.ring.times_us[base] = devices.counted_at_us[row]
        if journeys.follows:
            timeline.journeys[base] = journeys.now[row]
        counted = timeline.kept[base]
        counted["received_at_us"] = devices.received_at_us[row]
        counted["latitude_deg"] = devices.latitude_deg[row]
        counted["longitude_deg"] = devices.longitude_deg[row]
        counted["altitude_m"] = devices.altitude_m[row]
        counted["accuracy_m"] = devices.accuracy_m[row]
        counted["speed_mps"] = devices.speed_mps[row]
        counted["heading_deg"] = devices.heading_deg[row]
        if devices.suspect_at_us[row] != NO_TIME:
            timeline.base_suspects[row] = 1
            suspect = timeline.base_suspect[row]
            suspect["at_us"] = devices.suspect_at_us[row]
            suspect["latitude_deg"] = devices.suspect_latitude_deg[row]
            suspect["longitude_deg"] = devices.suspect_longitude_deg[row]
