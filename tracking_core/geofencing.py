"""Which fences hold each counted fix, and the machine of each device and fence.

Only fences that hold the fix, and those the device is inside of or pending at, can change anything: for all others the
device is out and stays out. So a fix costs one look into the index, whatever the number of fences.
"""

from __future__ import annotations

from geofence.compiled import CompiledFences
from geofence.containment import contains_one
from geofence.distance import signed_distance_m
from geofence.kernel import scalar_kernel
from geofence.transitions import ENTERED as BECAME_IN
from geofence.transitions import (
    IN,
    INSIDE,
    NO_EVENT,
    OUT,
    OUTSIDE,
    PENDING_IN,
    SPEAKS_OUT,
    Crossing,
    Fix,
    evidence,
    observe,
)
from tracking_core.columns import I32, NO_TIME
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.event_rows import ENTERED, EXITED, FIRST_TOLD, EventRows
from tracking_core.journal import JournalColumns, note_change
from tracking_core.node_pool import room_left
from tracking_core.presence_pool import (
    PresenceColumns,
    add_presence,
    find_presence,
    load_presence,
    remove_presence,
    store_presence,
)


@scalar_kernel
def write_crossing(
    events: EventRows, reading: int, kind: int, row: int, fence: int, crossing: Crossing, confirmed_at_us: int
) -> None:
    """One row more; there must be room."""
    at = events.filled[0]
    events.filled[0] = at + 1
    events.reading[at] = reading
    events.kind[at] = kind
    events.row[at] = row
    events.subject[at] = fence
    events.observed_at_us[at] = crossing.at_us
    events.confirmed_at_us[at] = confirmed_at_us
    events.latitude_deg[at] = crossing.latitude_deg
    events.longitude_deg[at] = crossing.longitude_deg
    events.correction[at] = FIRST_TOLD
    events.named_at_us[at] = crossing.at_us
    events.revision[at] = 0
    events.told_at_us[at] = crossing.at_us
    events.assumed[at] = 0


@scalar_kernel
def is_among(fence: int, holding: I32, held: int) -> bool:
    """Whether a fence is one of the first `held`."""
    for k in range(held):  # noqa: SIM110 - numba knows no generators
        if holding[k] == fence:
            return True
    return False


@scalar_kernel
def note_event(journal: JournalColumns, node: int, kind: int, crossing: Crossing) -> None:
    """Adds an event to a change of the journal; it has no name yet."""
    journal.kind[node] = kind
    journal.observed_at_us[node] = crossing.at_us
    journal.latitude_deg[node] = crossing.latitude_deg
    journal.longitude_deg[node] = crossing.longitude_deg
    journal.named_at_us[node] = NO_TIME


@scalar_kernel
def count_presences(presences: PresenceColumns, row: int, devices: DeviceColumns) -> int:
    """How many fences a device is inside of or pending at."""
    count = 0
    node = devices.first_presence[row]
    while node != NOTHING:
        count += 1
        node = presences.following[node]
    return count


@scalar_kernel
def cross_fences(
    row: int,
    fix: Fix,
    before: Fix,
    first: bool,  # noqa: FBT001 - kernels know no keywords
    holding: I32,
    held: int,
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    journal: JournalColumns,
) -> None:
    """Moves a device on by a fix that counts; what changes is noted in the journal, with the events. There must be room
    for `held` presences, and in the journal for `held` changes and one for each presence that the device has.

    The first `held` of `holding` are the fences that hold the fix. The first counted fix of a device says silently
    what it is inside of.
    """
    if first:
        for k in range(held):
            add_presence(presences, row, holding[k], INSIDE, devices)
            note_change(journal, row, fix.observed_at_us, holding[k], fences.version[holding[k]], OUTSIDE, devices)
        return
    # What the device is inside of or pending at. No node of a fence that holds the fix is removed here.
    node = devices.first_presence[row]
    while node != NOTHING:
        following = presences.following[node]
        fence = presences.fence[node]
        known = load_presence(presences, node)
        if known.state == IN and known.crossed_at_us == NO_TIME and is_among(fence, holding, held):
            node = following
            continue
        presence, happened, crossing = observe(fences, fence, known, before, fix)
        if (
            presence.state != known.state
            or presence.fixes != known.fixes
            or presence.crossed_at_us != known.crossed_at_us
        ):
            change = note_change(journal, row, fix.observed_at_us, fence, fences.version[fence], known, devices)
            if happened != NO_EVENT:
                note_event(journal, change, ENTERED if happened == BECAME_IN else EXITED, crossing)
            if presence.state == OUT:
                remove_presence(presences, row, node, devices)
            else:
                store_presence(presences, node, presence)
        node = following
    # What it comes into.
    for k in range(held):
        fence = holding[k]
        if find_presence(presences, row, fence, devices) == NOTHING:
            presence, happened, crossing = observe(fences, fence, OUTSIDE, before, fix)
            change = note_change(journal, row, fix.observed_at_us, fence, fences.version[fence], OUTSIDE, devices)
            if happened != NO_EVENT:
                note_event(journal, change, ENTERED, crossing)
            add_presence(presences, row, fence, presence, devices)


@scalar_kernel
def restate_fence(
    fence: int,
    start: int,
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    events: EventRows,
) -> int:
    """Applies a fence, new or changed in shape, to the newest counted fix of every device of its tenant, from the row
    `start` on; returns where it stopped for lack of room (for a node or an event), or the number of rows.

    One look settles the matter, however many fixes the rule asks for: nothing moved, so there is nothing to wait for. A
    fix that says nothing (outside by less than its accuracy) leaves a device where it was.
    """
    tenant = fences.tenant[fence]
    for row in range(start, len(devices.tenant)):
        if devices.tenant[row] != tenant or devices.counted_at_us[row] == NO_TIME:
            continue
        if room_left(presences.following, presences.free) < 1 or len(events.kind) == events.filled[0]:
            return row
        latitude_deg = devices.latitude_deg[row]
        longitude_deg = devices.longitude_deg[row]
        accuracy_m = float(devices.accuracy_m[row])
        node = find_presence(presences, row, fence, devices)
        inside = contains_one(fences, fence, longitude_deg, latitude_deg)
        if node == NOTHING and not inside:
            continue
        here = Crossing(devices.counted_at_us[row], latitude_deg, longitude_deg)
        if node == NOTHING:
            write_crossing(events, 0, ENTERED, row, fence, here, here.at_us)
            add_presence(presences, row, fence, INSIDE, devices)
            continue
        was_in = presences.state[node] != PENDING_IN
        if inside:
            if not was_in:
                write_crossing(events, 0, ENTERED, row, fence, here, here.at_us)
            store_presence(presences, node, INSIDE)
            continue
        distance_m = signed_distance_m(fences, fence, longitude_deg, latitude_deg)
        speaks = evidence(distance_m, accuracy_m, fences.exit_margin_m[fence], fences.accuracy_cap_m[fence])
        if speaks == SPEAKS_OUT:
            if was_in:
                write_crossing(events, 0, EXITED, row, fence, here, here.at_us)
            remove_presence(presences, row, node, devices)
    return len(devices.tenant)


@scalar_kernel
def vacate_fence(fence: int, start: int, devices: DeviceColumns, presences: PresenceColumns, events: EventRows) -> int:
    """Ends all presence at a fence that was deleted, with an exit for each device inside; as `restate_fence`."""
    for row in range(start, len(devices.tenant)):
        node = find_presence(presences, row, fence, devices)
        if node == NOTHING:
            continue
        if len(events.kind) == events.filled[0]:
            return row
        if presences.state[node] != PENDING_IN:
            at_us = devices.counted_at_us[row]
            here = Crossing(at_us, devices.latitude_deg[row], devices.longitude_deg[row])
            write_crossing(events, 0, EXITED, row, fence, here, at_us)
        remove_presence(presences, row, node, devices)
    return len(devices.tenant)
