"""Edits of fences, and how a device notices those that concern it, or its new name: when it is next looked at.

An edit concerns a device that has a fix that counts, or the way between two of them, near where the fence was or is.
Such a device goes on from where it is, and no late fix is put before that: what was told of a fence stays told when
somebody moves the fence. For all others nothing has changed, so that their history can still be repaired.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.surroundings import Box
from tracking_core.columns import F64, I32, I64
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.fixes.quality import last_judged_us
from tracking_core.fixes.timeline import Timeline, base_us, place_of
from tracking_core.growth import longer, next_size
from tracking_core.presence_pool import PresenceColumns, find_presence
from tracking_core.telling.journal import JournalColumns, forget_changes
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_JUMP = int(Verdict.IMPLAUSIBLE_JUMP)
_CONFLICTING = int(Verdict.CONFLICTING)

KEPT_EDITS: Final = 64
"""Of a tenant. Before there are more, all its devices are looked at."""


class EditColumns(NamedTuple):
    """How often the fences of each tenant, by its number, were edited; of the last edits of each, in a ring of
    KEPT_EDITS: the slot of the fence, and the box around it, (tenants * KEPT_EDITS, 4).
    """

    made: I64
    slot: I32
    box: F64


class Edits:
    """Of all tenants. Not part of a snapshot: whatever had been edited was looked at before it was taken."""

    def __init__(self) -> None:
        self.columns = EditColumns(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, 4)))

    def is_full(self, tenant: int) -> bool:
        """Whether every device of a tenant must be looked at before the next edit is noted."""
        made = self.columns.made
        return tenant < len(made) and made[tenant] > 0 and made[tenant] % KEPT_EDITS == 0

    def note(self, tenant: int, slot: int, box: Box) -> None:
        """Notes that a tenant's fence in this slot had, or has, this box around it."""
        made, slots, boxes = self.columns
        if tenant >= len(made):
            size = next_size(len(made), tenant + 1)
            made, slots = longer(made, size, 0), longer(slots, size * KEPT_EDITS, NOTHING)
            boxes = np.concatenate((boxes, np.zeros((size * KEPT_EDITS - len(boxes), 4))))
            self.columns = EditColumns(made, slots, boxes)
        place = tenant * KEPT_EDITS + int(made[tenant]) % KEPT_EDITS
        slots[place], boxes[place] = slot, box
        made[tenant] += 1


@scalar_kernel
def concern_visitors(slot: int, rows: int, devices: DeviceColumns, presences: PresenceColumns) -> None:
    """Lets the devices, of the first rows, that are at a fence notice its next edit, wherever they were."""
    for row in range(rows):
        if find_presence(presences, row, slot, devices) != NOTHING:
            devices.edit_seen[row] = -1


@inlined_kernel
def settle_edits(
    row: int, devices: DeviceColumns, timeline: Timeline, journal: JournalColumns, edits: EditColumns
) -> None:
    """After an edit that concerns it, or under a new name, a device goes on from where it is: what was told before
    stays told, what was assumed too.
    """
    tenant = devices.tenant[row]
    edit = edits.made[tenant] if 0 <= tenant < len(edits.made) else 0
    if devices.edit_seen[row] != edit:
        if is_concerned(row, devices, timeline, journal, edits):
            devices.settled_us[row] = last_judged_us(devices, row)
            forget_changes(journal, row, NEVER, devices)
        devices.edit_seen[row] = edit
        devices.clear_shift[row] = -1


@scalar_kernel
def is_concerned(
    row: int, devices: DeviceColumns, timeline: Timeline, journal: JournalColumns, edits: EditColumns
) -> bool:
    """Whether any edit since the last look concerns a device of which there are some."""
    seen = devices.edit_seen[row]
    if seen < 0 or not timeline.repairs:
        return True
    tenant = devices.tenant[row]
    # Changes before that hang there still, but can be taken back no more.
    after_us = max(devices.settled_us[row], base_us(timeline, row))
    for edit in range(seen, edits.made[tenant]):
        place = tenant * KEPT_EDITS + edit % KEPT_EDITS
        if names_fence(journal, devices.first_change[row], edits.slot[place], after_us):
            return True
        box = Box(edits.box[place, 0], edits.box[place, 1], edits.box[place, 2], edits.box[place, 3])
        if came_near(row, timeline, box, after_us):
            return True
    return False


@scalar_kernel
def settle_all(
    rows: int,
    tenant: int,
    devices: DeviceColumns,
    timeline: Timeline,
    journal: JournalColumns,
    edits: EditColumns,
) -> None:
    """Lets the devices of a tenant, of the first rows, notice all edits."""
    for row in range(rows):
        if devices.tenant[row] == tenant:
            settle_edits(row, devices, timeline, journal, edits)


@scalar_kernel
def names_fence(journal: JournalColumns, first: int, slot: int, after_us: int) -> bool:
    """Whether a chain has a change of a fence after a time."""
    node = first
    while node != NOTHING:
        if journal.fence[node] == slot and journal.at_us[node] > after_us:
            return True
        node = journal.following[node]
    return False


@scalar_kernel
def came_near(row: int, timeline: Timeline, box: Box, after_us: int) -> bool:
    """Whether the last counted fix up to a time, a later one that may count, or the straight way between two of these
    touches a box. A way over the 180th meridian is near everything.
    """
    last = NOTHING
    is_near = False
    for age in range(-1, timeline.ring.length[row]):
        place = place_of(timeline.ring, row, timeline.places, age)
        at_us = timeline.ring.times_us[place]
        verdict = timeline.kept[place]["verdict"]
        if at_us <= after_us:
            if (age < 0 and at_us > 0) or (age >= 0 and verdict == _OK):
                last = place
                is_near = touches(timeline, last, last, box)
        elif age >= 0 and verdict in (_OK, _JUMP, _CONFLICTING):
            if is_near or touches(timeline, place if last == NOTHING else last, place, box):
                return True
            last = place
    return is_near


@scalar_kernel
def touches(timeline: Timeline, first: int, second: int, box: Box) -> bool:
    """Whether the box around two places of the timeline touches another."""
    a, b = timeline.kept[first], timeline.kept[second]
    a_deg, b_deg = a["longitude_deg"], b["longitude_deg"]
    if abs(a_deg - b_deg) > 180.0:
        return True
    if max(a_deg, b_deg) < box.west or min(a_deg, b_deg) > box.east:
        return False
    a_deg, b_deg = a["latitude_deg"], b["latitude_deg"]
    return bool(max(a_deg, b_deg) >= box.south and min(a_deg, b_deg) <= box.north)
