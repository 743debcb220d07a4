"""The journey of a device moved on by a fix of the fold, and what happens on it noted in the journal."""

from __future__ import annotations

from typing import Final

from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.rounding import rounded
from geofence.transitions import Crossing, Presence
from tracking_core.columns import NO_TIME
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.fixes.quality import MeasuredFix, Neighbour
from tracking_core.fixes.timeline import Timeline, base_place
from tracking_core.journey_records import JourneyColumns
from tracking_core.journeys.journeys import (
    NO_TRIP,
    ON_TRIP,
    Journey,
    JourneyRules,
    Trip,
    is_silent,
    no_trip,
    travel,
    trip_end,
    trip_length_m,
)
from tracking_core.journeys.journeys import STOP_BEGAN as BEGAN
from tracking_core.journeys.journeys import STOP_ENDED as ENDED
from tracking_core.journeys.journeys import TRIP_ENDED as CLOSED
from tracking_core.journeys.journeys import TRIP_STARTED as OPENED
from tracking_core.journeys.stays import NOWHERE
from tracking_core.journeys.table import (
    forget_journey,
    load_journey,
    load_trip,
    store_journey,
    store_trip,
)
from tracking_core.presence_pool import NO_VISIT
from tracking_core.telling.event_rows import STOP_BEGAN, STOP_ENDED, TRIP_ENDED, TRIP_STARTED
from tracking_core.telling.journal import JOURNEY_CHANGE, JournalColumns, note_change, note_event

MOST_CHANGES: Final = 4
"""How many changes one fix can note: a trip that silence ended, a stop that ended or began, a trip that began or
ended."""


@scalar_kernel
def there(at_us: int, latitude_deg: float, longitude_deg: float) -> Crossing:
    """When and where something happened, to a centimetre."""
    return Crossing(at_us, rounded(latitude_deg, 1e7), rounded(longitude_deg, 1e7))


@scalar_kernel
def note_journey(row: int, at_us: int, trip: Trip, devices: DeviceColumns, journal: JournalColumns) -> int:
    """Hangs a change on a device that was on this trip before it, without an event; returns the node."""
    before = Presence(trip.state, 0, trip.departed_at_us, 0, trip.latitude_deg, trip.longitude_deg)
    node = note_change(journal, row, at_us, JOURNEY_CHANGE, 0, before, NO_VISIT, devices)
    journal.odometer_m[node] = trip.odometer_m
    return node


@scalar_kernel
def trip_before(journal: JournalColumns, node: int) -> Trip:
    """The trip before a change."""
    return Trip(
        int(journal.state[node]),
        journal.pending_since_us[node],
        journal.crossed_latitude_deg[node],
        journal.crossed_longitude_deg[node],
        journal.odometer_m[node],
    )


@scalar_kernel
def note_trip_end(
    row: int,
    at_us: int,
    confirmed_at_us: int,
    trip: Trip,
    journey: Journey,
    last: Neighbour,
    devices: DeviceColumns,
    journal: JournalColumns,
) -> int:
    """Notes that a trip ended, at the last fix or where the device stopped before; returns the node."""
    node = note_journey(row, at_us, trip, devices, journal)
    ended_us, latitude_deg, longitude_deg = trip_end(journey, last.at_us, last.latitude_deg, last.longitude_deg)
    note_event(journal, node, TRIP_ENDED, there(ended_us, latitude_deg, longitude_deg))
    journal.since_us[node] = trip.departed_at_us
    journal.confirmed_at_us[node] = confirmed_at_us
    journal.value[node] = rounded(trip_length_m(journey, trip), 10.0)
    journal.fastest_mps[node] = rounded(journey.fastest_mps, 100.0)
    return node


@scalar_kernel
def follow_journey(
    row: int,
    fix: MeasuredFix,
    before: Neighbour,
    last: Neighbour,
    devices: DeviceColumns,
    journeys: JourneyColumns,
    journal: JournalColumns,
    rules: JourneyRules,
) -> None:
    """Moves the journey of a device on by a fix that counts. `last` is the counted fix before, `before` the same where
    the device came from there by a known way. There must be room for MOST_CHANGES in the journal.

    A device that was never announced has no journey, as it has no events.
    """
    if devices.tenant[row] < 0:
        return
    at_us = fix.observed_at_us
    journey = load_journey(journeys.now[row], last.latitude_deg, last.longitude_deg)
    trip = load_trip(journeys, row)
    was_trip = trip
    if trip.state != NO_TRIP and is_silent(last.at_us, at_us, rules):
        if trip.state == ON_TRIP:
            due_us = last.at_us + rules.silent_after_us
            note_trip_end(row, at_us, due_us, trip, journey, last, devices, journal)
        else:
            note_journey(row, at_us, trip, devices, journal)
        trip = no_trip()
    before_trip = trip
    was = journey.stay
    journey, trip, told = travel(journey, trip, fix, before, last.at_us, rules)
    stay = journey.stay
    if told & ENDED:
        node = note_journey(row, at_us, before_trip, devices, journal)
        note_event(journal, node, STOP_ENDED, there(was.until_us, was.latitude_deg, was.longitude_deg))
        journal.since_us[node] = was.since_us
    if told & BEGAN:
        node = note_journey(row, at_us, before_trip, devices, journal)
        note_event(journal, node, STOP_BEGAN, there(stay.since_us, stay.latitude_deg, stay.longitude_deg))
    if told & OPENED:
        node = note_journey(row, at_us, before_trip, devices, journal)
        note_event(journal, node, TRIP_STARTED, there(trip.departed_at_us, trip.latitude_deg, trip.longitude_deg))
    elif trip.state != before_trip.state:
        note_journey(row, at_us, before_trip, devices, journal)
    if told & CLOSED:
        here = Neighbour(at_us, fix.latitude_deg, fix.longitude_deg)
        note_trip_end(row, at_us, 0, trip, journey, here, devices, journal)
        trip = no_trip()
    store_journey(journeys.now[row], journey, fix.latitude_deg, fix.longitude_deg)
    if trip.state != was_trip.state or trip.departed_at_us != was_trip.departed_at_us:
        store_trip(journeys, row, trip)


@scalar_kernel
def trip_due_us(row: int, devices: DeviceColumns, journeys: JourneyColumns, silence_us: int) -> int:
    """When the silence of a device will end its trip, by its own clock; NEVER if it is on none."""
    if journeys.trip[row]["state"] != ON_TRIP or devices.tenant[row] < 0:
        return NEVER
    return int(devices.counted_at_us[row] + silence_us)


@scalar_kernel
def fall_silent(
    row: int,
    last: Neighbour,
    due_us: int,
    at_us: int,
    devices: DeviceColumns,
    journeys: JourneyColumns,
    journal: JournalColumns,
) -> int:
    """Ends the trip of a device of which nothing was heard since its last fix; noted at `at_us`. Returns the node."""
    journey = load_journey(journeys.now[row], last.latitude_deg, last.longitude_deg)
    node = note_trip_end(row, at_us, due_us, load_trip(journeys, row), journey, last, devices, journal)
    store_trip(journeys, row, no_trip())
    return node


@inlined_kernel
def keep_journey(timeline: Timeline, place: int, row: int, counts: bool, journeys: JourneyColumns) -> None:  # noqa: FBT001 - kernels know no keywords
    """Writes the journey of a device beside a fix that is kept, if that counts."""
    if journeys.follows:
        if counts:
            timeline.journeys[place] = journeys.now[row]
        else:
            forget_journey(timeline.journeys[place])


@scalar_kernel
def journey_dated_from_us(
    row: int, timeline: Timeline, journeys: JourneyColumns, journal: JournalColumns, devices: DeviceColumns
) -> int:
    """No event of a journey that is not noted yet will be dated before this."""
    if not journeys.follows:
        return NEVER
    record = timeline.journeys[base_place(timeline, row)] if timeline.repairs else journeys.now[row]
    if record["state"] == NOWHERE:
        return NO_TIME
    from_us = int(record["since_us"])
    if journeys.trip[row]["state"] != NO_TRIP:
        from_us = min(from_us, int(journeys.trip[row]["departed_at_us"]))
    node = devices.first_change[row]
    while node != NOTHING:
        if journal.fence[node] == JOURNEY_CHANGE and journal.state[node] != NO_TRIP:
            from_us = min(from_us, int(journal.pending_since_us[node]))
        node = journal.following[node]
    return from_us
