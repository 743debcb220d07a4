"""What the last fixes of each device changed, and the silence after them: how it was before, and which event was told.

Changes are rare beside fixes, so they hang on their device as a chain of nodes, the newest first. Taking them back in
that order brings the presences back to what they were before any fix of the timeline.

An event keeps the time under which it was first told as its name through all corrections: the time itself may change.
An event that was withdrawn hangs on a chain of its own, so that the same event, should it come back, continues its
revisions. There too hangs one that moved away from its name and whose change is forgotten: no other may get that name.

A change stands at the time of the fix that decided it. What a timer changed while no later fix was known stands behind
the newest judged fix: it is an assumption, taken back when the next fix comes, and decided again with it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.kernel import scalar_kernel
from geofence.transitions import Crossing, Presence
from tracking_core.aligned_records import RecordColumns
from tracking_core.columns import F64, I8, I32, I64, NO_TIME, U8
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.node_pool import empty_nodes, give_back, take_node, with_room
from tracking_core.presence_pool import AWAITS_OPENING, PresenceColumns, Visit, find_presence

NO_CROSSING: Final = -1
SIGNAL: Final = -1
"""In the place of a fence: the change is one of the device's signal."""
JOURNEY_CHANGE: Final = -2
"""In the place of a fence: the change is one of the device's journey."""
ARRIVAL: Final = -3
"""In the place of a fence: the change is one of an arrival that is waited for."""


STANDS: Final = 128
"""In the place of the marks of a node of the withdrawn: its event was not, and keeps its name."""

_MISSED_WITHIN_US: Final = 8 * 86_400_000_000


class JournalColumns(RecordColumns):
    """Nodes (node_pool.py). `at_us` is the time of the fix, `version` that of the fence; from `state` on what the
    presence and the visit were before (OUT where there was no node); `kind` is that of event_rows.py or NO_CROSSING,
    and what follows it the event. `since_us` is what an event of time began with, or the end of a passage; `value`
    the speed of one of speeding, the direction of a passage, the length of a trip, or 1 of an entry that an opening
    window restates.

    A change of the signal has SIGNAL for a fence, and in `pending_since_us` since when it was lost before (NO_TIME: it
    was not). A change of the journey has JOURNEY_CHANGE for a fence; its presence and `odometer_m` are the trip before
    (journeys/folding.py), and `since_us` is when the stop or trip that ended began. One of an arrival has ARRIVAL for a
    fence, its number for a version, its `state` before, and the planned time in `since_us`. `confirmed_at_us` is 0 for
    what the fix confirmed.
    """

    free: I64
    """Of the first two nodes: what node_pool.py says of a pool."""
    following: I32
    at_us: I64
    fence: I32
    version: I64
    state: I8
    fixes: I64
    pending_since_us: I64
    crossed_at_us: I64
    crossed_latitude_deg: F64
    crossed_longitude_deg: F64
    entered_at_us: I64
    due_us: I64
    marks: U8
    kind: I8
    observed_at_us: I64
    latitude_deg: F64
    longitude_deg: F64
    named_at_us: I64
    revision: I32
    since_us: I64
    value: F64
    assumed: I8
    confirmed_at_us: I64
    odometer_m: F64
    fastest_mps: F64


NODE: Final = np.dtype(
    [
        ("following", "i4"),
        ("fence", "i4"),
        ("at_us", "i8"),
        ("kind", "i1"),
        ("state", "i1"),
        ("marks", "u1"),
        ("assumed", "i1"),
        ("revision", "i4"),
        ("named_at_us", "i8"),
        ("observed_at_us", "i8"),
        ("confirmed_at_us", "i8"),
        ("pending_since_us", "i8"),
        ("crossed_at_us", "i8"),
        # The second line of memory.
        ("version", "i8"),
        ("fixes", "i8"),
        ("crossed_latitude_deg", "f8"),
        ("crossed_longitude_deg", "f8"),
        ("entered_at_us", "i8"),
        ("due_us", "i8"),
        ("latitude_deg", "f8"),
        ("longitude_deg", "f8"),
        # The third.
        ("since_us", "i8"),
        ("value", "f8"),
        ("odometer_m", "f8"),
        ("fastest_mps", "f8"),
        ("free", "i8"),
        ("unused", "u1", 24),
    ]
)
"""192 bytes."""
SAID: Final = tuple(name for name in NODE.names or () if name not in ("following", "fence", "at_us", "free", "unused"))
"""The fields of a node that say what changed, besides when and where."""


@scalar_kernel
def put_before(journal: JournalColumns, node: int, visit: Visit) -> None:
    """Says what the visit was before a change."""
    journal.entered_at_us[node] = visit.entered_at_us
    journal.due_us[node] = visit.due_us
    journal.marks[node] = visit.marks


@scalar_kernel
def note_change(
    journal: JournalColumns,
    row: int,
    at_us: int,
    fence: int,
    version: int,
    before: Presence,
    visit: Visit,
    devices: DeviceColumns,
) -> int:
    """Hangs a change without an event on a device; returns its node. There must be room."""
    node = take_node(journal.following, journal.free)
    journal.following[node] = devices.first_change[row]
    devices.first_change[row] = node
    devices.newest_change_us[row] = at_us
    journal.at_us[node] = at_us
    journal.fence[node] = fence
    journal.version[node] = version
    journal.state[node] = before.state
    journal.fixes[node] = before.fixes
    journal.pending_since_us[node] = before.pending_since_us
    journal.crossed_at_us[node] = before.crossed_at_us
    journal.crossed_latitude_deg[node] = before.crossed_latitude_deg
    journal.crossed_longitude_deg[node] = before.crossed_longitude_deg
    put_before(journal, node, visit)
    journal.kind[node] = NO_CROSSING
    # What an event would say, so that equal journals are equal bytes.
    journal.observed_at_us[node] = 0
    journal.latitude_deg[node] = 0.0
    journal.longitude_deg[node] = 0.0
    journal.named_at_us[node] = 0
    journal.revision[node] = 0
    journal.since_us[node] = 0
    journal.value[node] = 0.0
    journal.assumed[node] = 0
    journal.confirmed_at_us[node] = 0
    journal.odometer_m[node] = 0.0
    journal.fastest_mps[node] = 0.0
    return node


@scalar_kernel
def note_event(journal: JournalColumns, node: int, kind: int, crossing: Crossing) -> None:
    """Adds an event to a change of the journal; it has no name yet."""
    journal.kind[node] = kind
    journal.observed_at_us[node] = crossing.at_us
    journal.latitude_deg[node] = crossing.latitude_deg
    journal.longitude_deg[node] = crossing.longitude_deg
    journal.named_at_us[node] = NO_TIME


@scalar_kernel
def presence_before(journal: JournalColumns, node: int) -> Presence:
    """What a presence was before a change."""
    return Presence(
        int(journal.state[node]),
        int(journal.fixes[node]),
        journal.pending_since_us[node],
        journal.crossed_at_us[node],
        journal.crossed_latitude_deg[node],
        journal.crossed_longitude_deg[node],
    )


@scalar_kernel
def visit_before(journal: JournalColumns, node: int) -> Visit:
    """What the visit was before a change."""
    return Visit(int(journal.entered_at_us[node]), int(journal.due_us[node]), int(journal.marks[node]))


@scalar_kernel
def may_come_true(
    journal: JournalColumns, withdrawn: int, row: int, presences: PresenceColumns, devices: DeviceColumns
) -> bool:
    """Whether the crossing of a withdrawn event is noted or its visit due, or was when a fix came before which a late
    one may be put: so that a fix may yet confirm it.
    """
    fence = journal.fence[withdrawn]
    named_at_us = journal.named_at_us[withdrawn]
    presence = find_presence(presences, row, fence, devices)
    if presence != NOTHING and (
        presences.crossed_at_us[presence] == named_at_us
        or presences.due_us[presence] == named_at_us
        or (presences.marks[presence] & AWAITS_OPENING and presences.due_us[presence] < named_at_us)
    ):
        return True
    node = devices.first_change[row]
    while node != NOTHING:
        if journal.fence[node] == fence and (
            journal.crossed_at_us[node] == named_at_us
            or journal.due_us[node] == named_at_us
            or (journal.marks[node] & AWAITS_OPENING and journal.due_us[node] < named_at_us)
        ):
            return True
        node = journal.following[node]
    return False


@scalar_kernel
def forget_changes(journal: JournalColumns, row: int, until_us: int, devices: DeviceColumns) -> None:
    """Gives back the changes by fixes up to this time: no late fix takes them back any more. The names of events that
    moved stay with the withdrawn.
    """
    before = NOTHING
    node = devices.first_change[row]
    while node != NOTHING and journal.at_us[node] > until_us:
        before = node
        node = journal.following[node]
    if before == NOTHING:
        devices.first_change[row] = NOTHING
        devices.newest_change_us[row] = NO_TIME
    else:
        journal.following[before] = NOTHING
    while node != NOTHING:
        following = journal.following[node]
        if journal.kind[node] != NO_CROSSING and journal.named_at_us[node] != journal.observed_at_us[node]:
            journal.marks[node] = STANDS
            journal.following[node] = devices.first_withdrawn[row]
            devices.first_withdrawn[row] = node
        else:
            give_back(journal.following, journal.free, node)
        node = following


@scalar_kernel
def give_back_withdrawn(journal: JournalColumns, row: int, before: int, node: int, devices: DeviceColumns) -> None:
    """Gives back a node of the withdrawn of a device; `before` is the one that leads to it, NOTHING for the first."""
    if before == NOTHING:
        devices.first_withdrawn[row] = journal.following[node]
    else:
        journal.following[before] = journal.following[node]
    give_back(journal.following, journal.free, node)


@scalar_kernel
def forget_fence(journal: JournalColumns, fence: int, rows: int, devices: DeviceColumns) -> None:
    """Forgets the events of a fence that is deleted, of the first rows: none of them is told of any more."""
    for row in range(rows):
        node = devices.first_change[row]
        while node != NOTHING:
            if journal.fence[node] == fence:
                journal.kind[node] = NO_CROSSING
            node = journal.following[node]
        before = NOTHING
        node = devices.first_withdrawn[row]
        while node != NOTHING:
            following = journal.following[node]
            if journal.fence[node] == fence:
                give_back_withdrawn(journal, row, before, node, devices)
            else:
                before = node
            node = following


@scalar_kernel
def forget_withdrawn(
    journal: JournalColumns,
    row: int,
    before_us: int,
    journey_before_us: int,
    presences: PresenceColumns,
    devices: DeviceColumns,
) -> None:
    """Gives back the withdrawn events, and the names of others, that were first dated before this time, unless they may
    come true; those of the journey before the other.
    """
    before = NOTHING
    node = devices.first_withdrawn[row]
    while node != NOTHING:
        following = journal.following[node]
        if journal.fence[node] == JOURNEY_CHANGE:
            forgotten = journal.named_at_us[node] < min(before_us, journey_before_us)
        elif journal.fence[node] == ARRIVAL:
            # An entry may be pending since then, and turn out to be none.
            forgotten = journal.named_at_us[node] < before_us - _MISSED_WITHIN_US
        else:
            forgotten = journal.named_at_us[node] < before_us and not may_come_true(
                journal, node, row, presences, devices
            )
        if forgotten:
            give_back_withdrawn(journal, row, before, node, devices)
        else:
            before = node
        node = following


class Journal:
    """The columns, which grow."""

    def __init__(self) -> None:
        self.columns = JournalColumns.of(empty_nodes(NODE))

    def make_room(self, wanted: int) -> None:
        """At least `wanted` more nodes fit."""
        self.columns = with_room(self.columns, wanted)


@scalar_kernel
def count_events(journal: JournalColumns, first: int, from_us: int) -> int:
    """How many changes of a chain, of those from this time on that stand before an older one, have an event."""
    count = 0
    node = first
    while node != NOTHING and journal.at_us[node] >= from_us:
        if journal.kind[node] != NO_CROSSING:
            count += 1
        node = journal.following[node]
    return count
