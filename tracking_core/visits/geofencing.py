"""Which fences hold each counted fix, and the machine of each device and fence.

Only fences that hold the fix, and those the device is inside of or pending at, can change anything: for all others the
device is out and stays out. So a fix costs one look into the index, whatever the number of fences.
"""

from __future__ import annotations

from geofence.compiled import CORRIDOR_WATCHED, DWELL, SPEED, WINDOWED, CompiledFences
from geofence.containment import contains_one, find_around
from geofence.distance import signed_distance_m
from geofence.grid import finest_column, finest_row
from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.rounding import SPEED_PARTS, rounded
from geofence.transitions import ENTERED as BECAME_IN
from geofence.transitions import EXITED as BECAME_OUT
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
    Presence,
    evidence,
    observe,
)
from geofence.windows import is_active
from tracking_core.columns import I32, NO_TIME
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.fixes.quality import MeasuredFix, Neighbour
from tracking_core.node_pool import room_left
from tracking_core.presence_pool import (
    HAS_DWELT,
    IS_SPEEDING,
    NO_VISIT,
    PresenceColumns,
    Visit,
    add_presence,
    find_presence,
    load_presence,
    load_visit,
    reckon_due,
    remove_presence,
    store_presence,
)
from tracking_core.telling.event_rows import (
    CORRIDOR_LEFT,
    CORRIDOR_RETURNED,
    ENTERED,
    EXITED,
    FIRST_TOLD,
    SPEEDING,
    EventRows,
)
from tracking_core.telling.journal import JournalColumns, note_change, note_event
from tracking_core.visits.visits import begin_visit, conclude_due, visit_that_dwelt

MOST_CHANGES = 3
"""How many changes one fix can note of one fence."""


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
    events.timed[at] = 0


@scalar_kernel
def is_among(fence: int, holding: I32, held: int) -> bool:
    """Whether a fence is one of the first `held`."""
    for k in range(held):  # noqa: SIM110 - numba knows no generators
        if holding[k] == fence:
            return True
    return False


@inlined_kernel
def is_in_clear_cell(row: int, longitude_deg: float, latitude_deg: float, devices: DeviceColumns) -> bool:
    """Whether a point, which is on the globe, is in the cell that is remembered of a device: then no fence holds it."""
    shift = int(devices.clear_shift[row])
    return bool(
        shift >= 0
        and finest_column(longitude_deg) >> shift == devices.clear_column[row]
        and finest_row(latitude_deg) >> shift == devices.clear_row[row]
    )


@inlined_kernel
def find_fences(
    row: int, tenant: int, fix: MeasuredFix, devices: DeviceColumns, fences: CompiledFences, holding: I32
) -> int:
    """`find_containing` for a fix of a device. Most devices are where no fence is near, and are there at the next fix
    too: then the cell is remembered, and the index, whose lines are in no cache, not looked at.
    """
    if is_in_clear_cell(row, fix.longitude_deg, fix.latitude_deg, devices):
        return 0
    held, shift = find_around(fences, tenant, fix.longitude_deg, fix.latitude_deg, holding)
    devices.clear_shift[row] = shift
    if shift >= 0:
        devices.clear_column[row] = finest_column(fix.longitude_deg) >> shift
        devices.clear_row[row] = finest_row(fix.latitude_deg) >> shift
    return held


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
def crossing_kind(fences: CompiledFences, fence: int, happened: int) -> int:
    """The kind of event that an entry or exit is told as."""
    if fences.watches[fence] & CORRIDOR_WATCHED:
        return CORRIDOR_RETURNED if happened == BECAME_IN else CORRIDOR_LEFT
    return ENTERED if happened == BECAME_IN else EXITED


@scalar_kernel
def conclude_visit(
    row: int,
    fence: int,
    known: Presence,
    known_visit: Visit,
    presence: Presence,
    happened: int,
    crossing: Crossing,
    visit: Visit,
    inside: bool,  # noqa: FBT001 - kernels know no keywords
    last: Neighbour,
    fix: Fix,
    speed_mps: float,
    devices: DeviceColumns,
    fences: CompiledFences,
    journal: JournalColumns,
) -> Visit:
    """What a fix says of a visit, known how presence and visit at the fence were before it and are now; notes it all in
    the journal, if anything changed. Returns the visit. There must be room for MOST_CHANGES in the journal, and for two
    of each opening of the fence in between.

    A visit that is due by the fix was long enough unless it ended before; while an exit dated before is only noted or
    pending, it is not known.
    """
    version = fences.version[fence]
    left_us = crossing.at_us if happened == BECAME_OUT else presence.crossed_at_us
    at_us = fix.observed_at_us
    noted = devices.first_change[row]
    if visit.due_us <= at_us:
        visit = conclude_due(
            row, at_us, at_us, left_us, fence, known, known_visit, visit, last, 0, devices, fences, journal
        )
    was_due = devices.first_change[row] != noted
    speeds = False
    if inside and presence.state == IN and fences.watches[fence] & SPEED:
        limit_mps = fences.speed_limit_mps[fence]
        if visit.marks & IS_SPEEDING:
            if speed_mps <= limit_mps:
                visit = Visit(visit.entered_at_us, visit.due_us, visit.marks & ~IS_SPEEDING)
        elif speed_mps > limit_mps + fences.speed_tolerance_mps[fence] and is_active(fences, fence, at_us):
            speeds = True
            visit = Visit(visit.entered_at_us, visit.due_us, visit.marks | IS_SPEEDING)
    if (
        presence.state == known.state
        and presence.fixes == known.fixes
        and presence.crossed_at_us == known.crossed_at_us
        and visit.due_us == known_visit.due_us
        and visit.marks == known_visit.marks
    ):
        return visit
    if speeds:
        change = note_change(journal, row, at_us, fence, version, known, known_visit, devices)
        here = Crossing(at_us, fix.latitude_deg, fix.longitude_deg)
        note_event(journal, change, SPEEDING, here)
        journal.value[change] = rounded(speed_mps, SPEED_PARTS)
    if happened != NO_EVENT or not (was_due or speeds):
        change = note_change(journal, row, at_us, fence, version, known, known_visit, devices)
        if happened != NO_EVENT and is_active(fences, fence, crossing.at_us):
            note_event(journal, change, crossing_kind(fences, fence, happened), crossing)
        elif happened == BECAME_IN:
            # An arrival, though nothing is told (routes/arrivals.py).
            journal.observed_at_us[change] = crossing.at_us
    return visit


@scalar_kernel
def cross_fences(
    row: int,
    fix: Fix,
    before: Fix,
    last: Neighbour,
    speed_mps: float,
    holding: I32,
    held: int,
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    journal: JournalColumns,
) -> None:
    """Moves a device on by a fix that counts; what changes is noted in the journal, with the events. There must be room
    for `held` presences, and in the journal for MOST_CHANGES of each of them and of each presence that the device has,
    and for two of each opening of theirs.

    The first `held` of `holding` are the fences that hold the fix. `before` is the counted fix from which the device
    came, `last` the counted fix before in any case; their times are NO_TIME if there is none. The first counted fix of
    a device says silently what it is inside of.
    """
    watched = 0
    here = Crossing(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg)
    # What the device is inside of or pending at. No node of a fence that holds the fix is removed here.
    node = devices.first_presence[row]
    while node != NOTHING:
        following = presences.following[node]
        fence = presences.fence[node]
        watched |= fences.watches[fence]
        known = load_presence(presences, node)
        inside = is_among(fence, holding, held)
        stays = known.state == IN and known.crossed_at_us == NO_TIME and inside
        if stays and not fences.watches[fence] & (DWELL | SPEED | WINDOWED):
            node = following
            continue
        presence, happened, crossing = known, NO_EVENT, here
        if not stays:
            presence, happened, crossing = observe(fences, fence, known, before, fix)
        known_visit = load_visit(presences, node)
        visit = known_visit
        if happened == BECAME_IN:
            visit = begin_visit(fences, fence, crossing.at_us)
        visit = conclude_visit(
            row, fence, known, known_visit, presence, happened, crossing, visit, inside, last, fix, speed_mps,
            devices, fences, journal,
        )  # fmt: skip
        if presence.state == OUT:
            remove_presence(presences, row, node, devices)
        else:
            store_presence(presences, node, presence, visit)
        node = following
    # What it comes into.
    for k in range(held):
        fence = holding[k]
        if find_presence(presences, row, fence, devices) != NOTHING:
            continue
        watched |= fences.watches[fence]
        presence, happened, crossing = INSIDE, NO_EVENT, here
        if last.at_us != NO_TIME:
            presence, happened, crossing = observe(fences, fence, OUTSIDE, before, fix)
        visit = NO_VISIT
        if presence.state == IN:
            visit = begin_visit(fences, fence, crossing.at_us)
        visit = conclude_visit(
            row, fence, OUTSIDE, NO_VISIT, presence, happened, crossing, visit, True, last, fix, speed_mps,
            devices, fences, journal,
        )  # fmt: skip
        add_presence(presences, row, fence, presence, visit, devices)
    if watched & (DWELL | WINDOWED):
        reckon_due(presences, row, devices)


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
        told = is_active(fences, fence, here.at_us)
        if node == NOTHING:
            if told:
                write_crossing(events, 0, crossing_kind(fences, fence, BECAME_IN), row, fence, here, here.at_us)
            add_presence(presences, row, fence, INSIDE, begin_visit(fences, fence, here.at_us), devices)
            continue
        was_in = presences.state[node] != PENDING_IN
        if inside:
            visit = load_visit(presences, node)
            if not was_in:
                if told:
                    write_crossing(events, 0, crossing_kind(fences, fence, BECAME_IN), row, fence, here, here.at_us)
                visit = begin_visit(fences, fence, here.at_us)
            store_presence(presences, node, INSIDE, visit)
            continue
        distance_m = signed_distance_m(fences, fence, longitude_deg, latitude_deg)
        speaks = evidence(distance_m, accuracy_m, fences.exit_margin_m[fence], fences.accuracy_cap_m[fence])
        if speaks == SPEAKS_OUT:
            if was_in and told:
                write_crossing(events, 0, crossing_kind(fences, fence, BECAME_OUT), row, fence, here, here.at_us)
            remove_presence(presences, row, node, devices)
    return len(devices.tenant)


@scalar_kernel
def time_visits(
    fence: int,
    anew: bool,  # noqa: FBT001 - kernels know no keywords
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
) -> None:
    """Applies the dwell of a fence that was put to every visit of it that has not been long enough yet; `anew` if its
    active times are others: then the dwell counts from the newest fix.
    """
    for row in range(len(devices.tenant)):
        node = find_presence(presences, row, fence, devices)
        if node != NOTHING:
            visit = load_visit(presences, node)
            if visit.entered_at_us != NO_TIME and (anew or not visit.marks & HAS_DWELT):
                timed = begin_visit(fences, fence, int(devices.counted_at_us[row]) if anew else visit.entered_at_us)
                if visit.marks & HAS_DWELT:
                    timed = visit_that_dwelt(fences, fence, Visit(timed.entered_at_us, timed.entered_at_us, 0))
                timed = Visit(timed.entered_at_us, timed.due_us, timed.marks | (visit.marks & IS_SPEEDING))
                store_presence(presences, node, load_presence(presences, node), timed)
        if devices.first_presence[row] != NOTHING or devices.due_us[row] != NEVER:
            reckon_due(presences, row, devices)


@scalar_kernel
def vacate_fence(
    fence: int,
    start: int,
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    events: EventRows,
) -> int:
    """Ends all presence at a fence that was deleted, with an exit for each device inside; as `restate_fence`."""
    for row in range(start, len(devices.tenant)):
        node = find_presence(presences, row, fence, devices)
        if node == NOTHING:
            continue
        if len(events.kind) == events.filled[0]:
            return row
        at_us = devices.counted_at_us[row]
        if presences.state[node] != PENDING_IN and is_active(fences, fence, at_us):
            here = Crossing(at_us, devices.latitude_deg[row], devices.longitude_deg[row])
            write_crossing(events, 0, crossing_kind(fences, fence, BECAME_OUT), row, fence, here, at_us)
        remove_presence(presences, row, node, devices)
        reckon_due(presences, row, devices)
    return len(devices.tenant)
