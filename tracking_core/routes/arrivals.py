"""Whether a device arrives where its route says, in time: decided by the machine of the stop's fence, so by the fixes
in the order of time, whatever the order in which they come.

An arrival was missed when it was due and the device had not been inside by then. That is known by the first fix from
then on, or assumed while none comes; not while an entry dated before it is pending.
"""

from __future__ import annotations

from typing import Final

from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.transitions import IN, PENDING_IN, PENDING_OUT, Crossing, Presence
from tracking_core.columns import NO_TIME
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.fixes.quality import Neighbour
from tracking_core.presence_pool import NO_VISIT, PresenceColumns, find_presence
from tracking_core.routes.expectations import ARRIVED, LATE, MISSED, WAITING, ExpectedColumns
from tracking_core.telling.event_rows import ARRIVAL_MISSED, CORRIDOR_RETURNED, ENTERED
from tracking_core.telling.journal import ARRIVAL, NO_CROSSING, JournalColumns, note_change, note_event

_NOT_NOTED: Final = NO_TIME


@inlined_kernel
def expects(row: int, expected: ExpectedColumns) -> bool:
    """Whether any arrival of a device is or was waited for."""
    return row < len(expected.first) and expected.first[row] != NOTHING


@inlined_kernel
def arrival_due_us(row: int, expected: ExpectedColumns) -> int:
    """When the first arrival that is waited for is due, by the device's clock; NEVER for none."""
    return int(expected.next_us[row]) if row < len(expected.next_us) else NEVER


@scalar_kernel
def count_expected(row: int, expected: ExpectedColumns) -> int:
    """How many changes one fix or timer can note, at most."""
    count = 0
    node = expected.first[row] if row < len(expected.first) else NOTHING
    while node != NOTHING:
        count += 1
        node = expected.following[node]
    return count


@scalar_kernel
def is_pending(
    row: int, node: int, expected: ExpectedColumns, presences: PresenceColumns, devices: DeviceColumns
) -> bool:
    """Whether an entry that would be in time is pending."""
    presence = find_presence(presences, row, expected.fence[node], devices)
    return bool(
        presence != NOTHING
        and presences.state[presence] == PENDING_IN
        and presences.crossed_at_us[presence] <= expected.due_us[node]
        and (expected.before[node] == NOTHING or expected.state[expected.before[node]] in (ARRIVED, LATE))
    )


@scalar_kernel
def reckon_arrivals(row: int, expected: ExpectedColumns, presences: PresenceColumns, devices: DeviceColumns) -> None:
    """Finds when the first arrival is due that a timer may decide."""
    if row >= len(expected.next_us):
        return
    next_us = NEVER
    node = expected.first[row]
    while node != NOTHING:
        if (
            expected.state[node] == WAITING
            and expected.fence[node] != NOTHING
            and expected.due_us[node] < next_us
            and not is_pending(row, node, expected, presences, devices)
        ):
            next_us = int(expected.due_us[node])
        node = expected.following[node]
    expected.next_us[row] = next_us


@scalar_kernel
def note_arrival(
    row: int,
    noted_at_us: int,
    node: int,
    state: int,
    expected: ExpectedColumns,
    devices: DeviceColumns,
    journal: JournalColumns,
) -> int:
    """Notes that an expectation has come to another state, without an event; returns the change. There must be room."""
    before = Presence(int(expected.state[node]), 0, 0, 0, 0.0, 0.0)
    change = note_change(journal, row, noted_at_us, ARRIVAL, expected.number[node], before, NO_VISIT, devices)
    expected.state[node] = state
    return change


@scalar_kernel
def miss_arrival(
    row: int,
    noted_at_us: int,
    node: int,
    state: int,
    last: Neighbour,
    assumed: int,
    expected: ExpectedColumns,
    devices: DeviceColumns,
    journal: JournalColumns,
) -> None:
    """Notes that an arrival was missed, where the device was last; `state` is MISSED, or LATE if it came since."""
    change = note_arrival(row, noted_at_us, node, state, expected, devices, journal)
    there = Crossing(int(expected.due_us[node]), last.latitude_deg, last.longitude_deg)
    note_event(journal, change, ARRIVAL_MISSED, there)
    journal.since_us[change] = expected.planned_us[node]
    journal.assumed[change] = assumed


@scalar_kernel
def entry_us(journal: JournalColumns, row: int, fence: int, at_us: int, devices: DeviceColumns) -> int:
    """When a device entered a fence by what the fix of a time showed, told or not; _NOT_NOTED if it did not."""
    node = devices.first_change[row]
    while node != NOTHING and journal.at_us[node] == at_us:
        if (
            journal.fence[node] == fence
            and journal.observed_at_us[node] != 0
            and journal.value[node] == 0.0
            and journal.kind[node] in (NO_CROSSING, ENTERED, CORRIDOR_RETURNED)
        ):
            return int(journal.observed_at_us[node])
        node = journal.following[node]
    return _NOT_NOTED


@scalar_kernel
def came_us(
    row: int,
    node: int,
    fix_at_us: int,
    last: Neighbour,
    presences: PresenceColumns,
    devices: DeviceColumns,
    expected: ExpectedColumns,
    journal: JournalColumns,
) -> int:
    """By when the device has come to where it is expected, as a fix shows; NEVER if it has not."""
    before = expected.before[node]
    if before != NOTHING and expected.state[before] not in (ARRIVED, LATE):
        return NEVER
    presence = find_presence(presences, row, expected.fence[node], devices)
    if presence == NOTHING or presences.state[presence] not in (IN, PENDING_OUT):
        return NEVER
    entered_us = entry_us(journal, row, expected.fence[node], fix_at_us, devices)
    if entered_us != _NOT_NOTED:
        return entered_us
    if expected.anew[node]:
        return NEVER
    # At the fix before it was inside already, or this is its first.
    return fix_at_us if last.at_us == NO_TIME else int(last.at_us)


@scalar_kernel
def follow_arrivals(
    row: int,
    fix_at_us: int,
    last: Neighbour,
    presences: PresenceColumns,
    devices: DeviceColumns,
    expected: ExpectedColumns,
    journal: JournalColumns,
) -> None:
    """What a fix says of the arrivals that are waited for, its fences having been crossed; `last` is the counted one
    before. There must be room in the journal (`count_expected`).
    """
    node = expected.first[row]
    while node != NOTHING:
        state = expected.state[node]
        if state in (WAITING, MISSED) and expected.fence[node] != NOTHING and fix_at_us > expected.since_us[node]:
            due_us = expected.due_us[node]
            there_us = came_us(row, node, fix_at_us, last, presences, devices, expected, journal)
            if state == MISSED:
                if there_us != NEVER:
                    note_arrival(row, fix_at_us, node, LATE, expected, devices, journal)
            elif there_us != NEVER and there_us <= due_us:
                note_arrival(row, fix_at_us, node, ARRIVED, expected, devices, journal)
            elif due_us <= fix_at_us and not is_pending(row, node, expected, presences, devices):
                after = MISSED if there_us == NEVER else LATE
                miss_arrival(row, fix_at_us, node, after, last, 0, expected, devices, journal)
        node = expected.following[node]
    reckon_arrivals(row, expected, presences, devices)


@scalar_kernel
def assume_arrivals(
    row: int,
    noted_at_us: int,
    until_us: int,
    last: Neighbour,
    presences: PresenceColumns,
    devices: DeviceColumns,
    expected: ExpectedColumns,
    journal: JournalColumns,
) -> None:
    """Notes the arrivals that were due by a time and that no fix decided. There must be room in the journal."""
    node = expected.first[row]
    while node != NOTHING:
        if (
            expected.state[node] == WAITING
            and expected.fence[node] != NOTHING
            and expected.due_us[node] <= until_us
            and not is_pending(row, node, expected, presences, devices)
        ):
            miss_arrival(row, noted_at_us, node, MISSED, last, 1, expected, devices, journal)
        node = expected.following[node]
    reckon_arrivals(row, expected, presences, devices)


@scalar_kernel
def put_back_arrival(journal: JournalColumns, change: int, row: int, expected: ExpectedColumns) -> None:
    """Makes an expectation what it was before a change; of one that is gone nothing."""
    node = expected.first[row] if row < len(expected.first) else NOTHING
    while node != NOTHING and expected.number[node] != journal.version[change]:
        node = expected.following[node]
    if node != NOTHING:
        expected.state[node] = journal.state[change]


@scalar_kernel
def resolve_arrival(
    row: int, node: int, fence: int, expected: ExpectedColumns, presences: PresenceColumns, devices: DeviceColumns
) -> None:
    """Says where an expectation's fence stands now (NOTHING: nowhere). A device that is inside, by its newest fix, has
    arrived, unless it has to come back. What was due before that fix, while there was no fence, was missed untold.
    """
    expected.fence[node] = fence
    if fence != NOTHING and expected.state[node] == WAITING:
        presence = find_presence(presences, row, fence, devices)
        if devices.counted_at_us[row] >= expected.due_us[node]:
            if not is_pending(row, node, expected, presences, devices):
                expected.state[node] = MISSED
        elif not expected.anew[node] and presence != NOTHING and presences.state[presence] in (IN, PENDING_OUT):
            expected.state[node] = ARRIVED
    reckon_arrivals(row, expected, presences, devices)
