"""What is told after a device was folded anew: the difference between what was told before and what is true now.

Events are compared by fence and kind. One that is the same in time, confirmation and place was told already. Of the
others, those that were told and those that are true are paired, nearest in time first come first served: a pair is one
visit of which something was put right, an *amended* event. What is left of the old is *withdrawn*, what is left of the
new is told for the first time, late.
"""

from __future__ import annotations

from typing import Final

from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.transitions import Crossing
from tracking_core.columns import NO_TIME
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.node_pool import give_back
from tracking_core.telling.event_rows import (
    AMENDED,
    ARRIVAL_MISSED,
    DWELT,
    FIRST_TOLD,
    SIGNAL_LOST,
    TOLD_AGAIN,
    TOLD_LATE,
    TRIP_ENDED,
    WITHDRAWN,
    EventRows,
)
from tracking_core.telling.journal import ARRIVAL, NO_CROSSING, STANDS, JournalColumns, give_back_withdrawn
from tracking_core.visits.geofencing import write_crossing

_FARTHEST_US: Final = 2**63 - 1


@scalar_kernel
def is_timed(kind: int) -> bool:
    """Whether an event of this kind is brought about by time alone: confirmed when it was due, whatever showed it."""
    return kind in (SIGNAL_LOST, DWELT, ARRIVAL_MISSED)


@inlined_kernel
def is_confirmed_by_fix(journal: JournalColumns, node: int) -> bool:
    """Whether what an event is confirmed by is its fix; else it is an opening window, or a silence."""
    return bool(journal.confirmed_at_us[node] == 0)


@scalar_kernel
def confirmed_us(journal: JournalColumns, node: int) -> int:
    """When the event of a change was confirmed."""
    if is_confirmed_by_fix(journal, node):
        return int(journal.observed_at_us[node] if is_timed(journal.kind[node]) else journal.at_us[node])
    return int(journal.confirmed_at_us[node])


@scalar_kernel
def tell(
    journal: JournalColumns, node: int, row: int, reading: int, correction: int, told_at_us: int, events: EventRows
) -> None:
    """A row for the event of a change, as it stands in the journal; there must be room. `told_at_us` is what its time
    was when it was told last, if it was.
    """
    crossing = Crossing(journal.observed_at_us[node], journal.latitude_deg[node], journal.longitude_deg[node])
    at = events.filled[0]
    write_crossing(events, reading, journal.kind[node], row, journal.fence[node], crossing, confirmed_us(journal, node))
    events.correction[at] = correction
    events.named_at_us[at] = journal.named_at_us[node]
    events.revision[at] = journal.revision[node]
    events.told_at_us[at] = told_at_us
    events.opened_at_us[at] = journal.since_us[node]
    events.value[at] = journal.value[node]
    events.antenna[at] = journal.version[node]
    events.assumed[at] = journal.assumed[node]
    events.timed[at] = not is_confirmed_by_fix(journal, node)
    events.reference[at] = journal.fastest_mps[node]
    events.began_latitude_deg[at] = journal.crossed_latitude_deg[node]
    events.began_longitude_deg[at] = journal.crossed_longitude_deg[node]


@scalar_kernel
def is_named(journal: JournalColumns, node: int, kind: int, fence: int, version: int, named_at_us: int) -> bool:
    """Whether a change has an event of this kind, fence and name."""
    return bool(
        journal.named_at_us[node] == named_at_us
        and journal.kind[node] == kind
        and journal.fence[node] == fence
        and journal.version[node] == version
    )


@scalar_kernel
def has_name(
    journal: JournalColumns,
    first: int,
    kind: int,
    fence: int,
    version: int,
    named_at_us: int,
    stands: bool,  # noqa: FBT001 - kernels know no keywords
) -> bool:
    """Whether a chain has an event of this kind, fence and name; of the withdrawn only those that stand."""
    node = first
    while node != NOTHING:
        if is_named(journal, node, kind, fence, version, named_at_us) and (not stands or journal.marks[node] == STANDS):
            return True
        node = journal.following[node]
    return False


@scalar_kernel
def name_event(journal: JournalColumns, node: int, row: int, devices: DeviceColumns) -> tuple[bool, int]:
    """Gives the event of a change the time under which it is told; returns whether it was told and withdrawn before,
    and so continues the revisions it had, and the time it had then.

    That time is its own, unless another event was first told under it and moved since: then it is a microsecond later,
    so that no two have one name.
    """
    kind = journal.kind[node]
    fence = journal.fence[node]
    version = journal.version[node]
    name_us = journal.observed_at_us[node]
    while has_name(journal, devices.first_change[row], kind, fence, version, name_us, False) or has_name(
        journal, devices.first_withdrawn[row], kind, fence, version, name_us, True
    ):
        name_us += 1
    journal.named_at_us[node] = name_us
    before = NOTHING
    withdrawn = devices.first_withdrawn[row]
    while withdrawn != NOTHING:
        if is_named(journal, withdrawn, kind, fence, version, name_us):
            journal.revision[node] = journal.revision[withdrawn] + 1
            told_at_us = journal.observed_at_us[withdrawn]
            give_back_withdrawn(journal, row, before, withdrawn, devices)
            return True, told_at_us
        before = withdrawn
        withdrawn = journal.following[withdrawn]
    return False, journal.observed_at_us[node]


@scalar_kernel
def tell_news(
    journal: JournalColumns,
    row: int,
    reading: int,
    from_us: int,
    late: bool,  # noqa: FBT001 - kernels know no keywords
    devices: DeviceColumns,
    events: EventRows,
) -> None:
    """Names and tells every event without a name of fixes from this time on. There must be room."""
    node = devices.first_change[row]
    while node != NOTHING and journal.at_us[node] >= from_us:
        if journal.kind[node] != NO_CROSSING and journal.named_at_us[node] == NO_TIME:
            again, told_at_us = name_event(journal, node, row, devices)
            correction = TOLD_LATE if late else FIRST_TOLD
            if again:
                correction = AMENDED if late else TOLD_AGAIN
            tell(journal, node, row, reading, correction, told_at_us, events)
        node = journal.following[node]


@scalar_kernel
def take_over(journal: JournalColumns, node: int, old: int) -> None:
    """Gives the event of a change name and revision of one that was told, which is then done with."""
    journal.named_at_us[node] = journal.named_at_us[old]
    journal.revision[node] = journal.revision[old]
    journal.assumed[node] = journal.assumed[old]
    journal.kind[old] = NO_CROSSING


@scalar_kernel
def is_unnamed(journal: JournalColumns, node: int, old: int) -> bool:
    """Whether a change has an event without a name of the kind and fence, or expectation, of an old one."""
    return bool(
        journal.kind[node] == journal.kind[old]
        and journal.fence[node] == journal.fence[old]
        and (journal.fence[node] != ARRIVAL or journal.version[node] == journal.version[old])
        and journal.named_at_us[node] == NO_TIME
    )


@scalar_kernel
def is_same_place(first_deg: float, second_deg: float) -> bool:
    """Whether two coordinates are the same; so are two that are unknown."""
    return bool(first_deg == second_deg or (first_deg != first_deg and second_deg != second_deg))  # noqa: PLR0124 - NaN


@scalar_kernel
def began_alike(journal: JournalColumns, node: int, old: int) -> bool:
    """Whether two trips that ended began at the same place, which is all of a change's state before that is told."""
    return bool(
        journal.kind[node] != TRIP_ENDED
        or (
            is_same_place(journal.crossed_latitude_deg[node], journal.crossed_latitude_deg[old])
            and is_same_place(journal.crossed_longitude_deg[node], journal.crossed_longitude_deg[old])
        )
    )


@scalar_kernel
def keep_told(journal: JournalColumns, row: int, from_us: int, taken_back: int, devices: DeviceColumns) -> None:
    """Finds the events that are as they were told."""
    old = taken_back
    while old != NOTHING:
        if journal.kind[old] != NO_CROSSING:
            node = devices.first_change[row]
            while node != NOTHING and journal.at_us[node] >= from_us:
                if (
                    is_unnamed(journal, node, old)
                    and journal.observed_at_us[node] == journal.observed_at_us[old]
                    and confirmed_us(journal, node) == confirmed_us(journal, old)
                    and is_confirmed_by_fix(journal, node) == is_confirmed_by_fix(journal, old)
                    and journal.since_us[node] == journal.since_us[old]
                    and journal.value[node] == journal.value[old]
                    and journal.fastest_mps[node] == journal.fastest_mps[old]
                    and is_same_place(journal.latitude_deg[node], journal.latitude_deg[old])
                    and is_same_place(journal.longitude_deg[node], journal.longitude_deg[old])
                    and began_alike(journal, node, old)
                ):
                    take_over(journal, node, old)
                    break
                node = journal.following[node]
        old = journal.following[old]


@scalar_kernel
def amend(
    journal: JournalColumns,
    row: int,
    reading: int,
    from_us: int,
    taken_back: int,
    within_us: int,
    late: bool,  # noqa: FBT001 - kernels know no keywords
    devices: DeviceColumns,
    events: EventRows,
) -> None:
    """Pairs each event that was told with the nearest new one within this time, and tells the new one as its
    correction.
    """
    old = taken_back
    while old != NOTHING:
        if journal.kind[old] != NO_CROSSING:
            nearest = NOTHING
            nearest_us = _FARTHEST_US
            node = devices.first_change[row]
            while node != NOTHING and journal.at_us[node] >= from_us:
                if is_unnamed(journal, node, old):
                    apart_us = abs(journal.observed_at_us[node] - journal.observed_at_us[old])
                    if apart_us <= within_us and apart_us < nearest_us:
                        nearest = node
                        nearest_us = apart_us
                node = journal.following[node]
            if nearest != NOTHING:
                assumed = journal.assumed[nearest]
                take_over(journal, nearest, old)
                journal.assumed[nearest] = assumed
                journal.revision[nearest] += 1
                correction = AMENDED if late else TOLD_AGAIN
                tell(journal, nearest, row, reading, correction, journal.observed_at_us[old], events)
        old = journal.following[old]


@scalar_kernel
def tell_corrections(
    journal: JournalColumns,
    row: int,
    reading: int,
    from_us: int,
    taken_back: int,
    late: bool,  # noqa: FBT001 - kernels know no keywords
    devices: DeviceColumns,
    events: EventRows,
) -> None:
    """Tells the difference between a chain of changes that was taken back and the changes from this time on: because of
    a late fix, or of one that came in order and shows that something was assumed wrongly. There must be room for the
    events of both. The chain is given back.
    """
    keep_told(journal, row, from_us, taken_back, devices)
    # Those of the same time first: nobody should read that it moved to where another one was withdrawn.
    amend(journal, row, reading, from_us, taken_back, 0, late, devices, events)
    amend(journal, row, reading, from_us, taken_back, _FARTHEST_US, late, devices, events)
    old = taken_back
    while old != NOTHING:
        following = journal.following[old]
        if journal.kind[old] == NO_CROSSING:
            give_back(journal.following, journal.free, old)
        else:
            journal.revision[old] += 1
            tell(journal, old, row, reading, WITHDRAWN, journal.observed_at_us[old], events)
            journal.following[old] = devices.first_withdrawn[row]
            devices.first_withdrawn[row] = old
        old = following
    tell_news(journal, row, reading, from_us, late, devices, events)
