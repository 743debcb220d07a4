"""What time brings about while a device is inside: it has dwelt, and a time window of the fence opens.

A window that opens is an entry of who is inside: told then (*restated*), and the dwell counts from there. So a visit
knows one time at which something is due: the end of its dwell, if that is over before the window closes, else the
opening of the next window. Both are decided by the first fix from then on, or assumed while none comes (timers.py).
"""

from __future__ import annotations

from geofence.compiled import CORRIDOR_WATCHED, WINDOWED, CompiledFences
from geofence.kernel import scalar_kernel
from geofence.transitions import Crossing, Presence
from geofence.windows import windows_around
from tracking_core.columns import I32, NO_TIME
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.fixes.quality import Neighbour
from tracking_core.presence_pool import AWAITS_OPENING, HAS_DWELT, RESTATED_WITHIN_US, PresenceColumns, Visit
from tracking_core.telling.event_rows import CORRIDOR_RETURNED, DWELT, ENTERED
from tracking_core.telling.journal import JournalColumns, note_change, note_event


@scalar_kernel
def begin_visit(fences: CompiledFences, fence: int, entered_at_us: int) -> Visit:
    """The visit of a device that has just come inside, or is found inside by an opening."""
    dwell_us = int(fences.dwell_us[fence])
    due_us = NEVER if dwell_us == NEVER else entered_at_us + dwell_us
    if not fences.watches[fence] & WINDOWED:
        return Visit(entered_at_us, due_us, 0)
    is_open, closes_us, opens_us = windows_around(fences.schedule, fences.times[fence], entered_at_us)
    if is_open and due_us < closes_us:
        return Visit(entered_at_us, due_us, 0)
    return Visit(entered_at_us, opens_us, AWAITS_OPENING)


@scalar_kernel
def visit_that_dwelt(fences: CompiledFences, fence: int, visit: Visit) -> Visit:
    """A visit whose dwell was due, afterwards."""
    marks = visit.marks | HAS_DWELT
    if not fences.watches[fence] & WINDOWED:
        return Visit(visit.entered_at_us, NEVER, marks)
    opens_us = windows_around(fences.schedule, fences.times[fence], visit.due_us)[2]
    return Visit(visit.entered_at_us, opens_us, marks | AWAITS_OPENING)


@scalar_kernel
def conclude_due(
    row: int,
    noted_at_us: int,
    until_us: int,
    left_us: int,
    fence: int,
    known: Presence,
    known_visit: Visit,
    visit: Visit,
    last: Neighbour,
    assumed: int,
    devices: DeviceColumns,
    fences: CompiledFences,
    journal: JournalColumns,
) -> Visit:
    """Notes in the journal, under `noted_at_us`, all that was due of a visit up to `until_us`; returns the visit. While
    an exit dated `left_us` (NO_TIME: none) is noted or pending, what was due behind it is not known.

    `known` and `known_visit` are what is put back when the changes are taken back; `last` is the counted fix before.
    There must be room (`openings_due`).
    """
    while visit.due_us <= until_us and (left_us == NO_TIME or left_us >= visit.due_us):
        due_us = visit.due_us
        opens = (visit.marks & AWAITS_OPENING) != 0
        if opens and due_us - last.at_us > RESTATED_WITHIN_US:
            # Nobody knew where it was: what a fix shows is taken up silently, like a first fix.
            return visit if assumed else begin_visit(fences, fence, until_us)
        change = note_change(journal, row, noted_at_us, fence, fences.version[fence], known, known_visit, devices)
        there = Crossing(due_us, last.latitude_deg, last.longitude_deg)
        if opens:
            visit = begin_visit(fences, fence, due_us)
            watched = fences.watches[fence] & CORRIDOR_WATCHED
            note_event(journal, change, CORRIDOR_RETURNED if watched else ENTERED, there)
            journal.confirmed_at_us[change] = due_us
            journal.value[change] = 1.0
        else:
            note_event(journal, change, DWELT, there)
            journal.since_us[change] = visit.entered_at_us
            visit = visit_that_dwelt(fences, fence, visit)
        journal.assumed[change] = assumed
    return visit


@scalar_kernel
def openings_between(fences: CompiledFences, fence: int, from_us: int, until_us: int) -> int:
    """How often a fence opens from a time on until another."""
    count = 0
    opens_us = windows_around(fences.schedule, fences.times[fence], from_us - 1)[2]
    while opens_us <= until_us:
        count += 1
        opens_us = windows_around(fences.schedule, fences.times[fence], opens_us)[2]
    return count


@scalar_kernel
def openings_inside(
    row: int, last_us: int, until_us: int, presences: PresenceColumns, devices: DeviceColumns, fences: CompiledFences
) -> int:
    """At most so many openings are told of a device until a time, of the fences that it is inside of or pending at;
    its counted fix before was at `last_us`.
    """
    if len(fences.schedule) == 0 or last_us == NO_TIME:
        return 0
    until_us = min(until_us, last_us + RESTATED_WITHIN_US)
    count = 0
    node = devices.first_presence[row]
    while node != NOTHING:
        fence = presences.fence[node]
        if fences.watches[fence] & WINDOWED:
            # Where it is pending at, it may turn out to have been since the crossing.
            from_us = presences.due_us[node]
            if presences.crossed_at_us[node] != NO_TIME:
                from_us = min(from_us, presences.crossed_at_us[node])
            if from_us <= until_us:
                count += openings_between(fences, fence, from_us, until_us)
        node = presences.following[node]
    return count


@scalar_kernel
def openings_entered(last_us: int, until_us: int, holding: I32, held: int, fences: CompiledFences) -> int:
    """At most so many openings are told of the first `held` of `holding` if a device comes into them on the way from
    its counted fix before to one at `until_us`.
    """
    if len(fences.schedule) == 0 or last_us == NO_TIME:
        return 0
    until_us = min(until_us, last_us + RESTATED_WITHIN_US)
    count = 0
    for k in range(held):
        if fences.watches[holding[k]] & WINDOWED:
            count += openings_between(fences, holding[k], last_us, until_us)
    return count
