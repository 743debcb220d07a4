"""Which fences a device is inside of or pending at, as chains of nodes.

A device that is out of a fence has no node for it: the state grows with what devices are inside of, not with devices
times fences.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import scalar_kernel
from geofence.transitions import IN, PENDING_OUT, Presence
from tracking_core.aligned_records import RecordColumns
from tracking_core.columns import F64, I32, I64, NO_TIME
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.node_pool import empty_nodes, give_back, take_node, with_room

IS_SPEEDING: Final = 1
HAS_DWELT: Final = 2
AWAITS_OPENING: Final = 4
"""What is due is that a time window opens, not the end of the dwell."""

RESTATED_WITHIN_US: Final = 8 * 86_400_000_000
"""For so long after its last fix that counts a device is restated by openings: a silent one not for ever, and one that
is inside every Monday, whatever the clocks do between.
"""


class Visit(NamedTuple):
    """What is remembered of a stay inside, beside where it may end. `entered_at_us` is NO_TIME and all else nothing
    while a device is not inside; `due_us` is when it will have dwelt, or, of a fence with windows, when the next one
    opens (visits/visits.py; NEVER: it has, or nobody wants to know).
    """

    entered_at_us: int
    due_us: int
    marks: int


NO_VISIT: Final = Visit(NO_TIME, NEVER, 0)


class PresenceColumns(RecordColumns):
    """Nodes (node_pool.py); the fields are those of `geofence.transitions.Presence` and of `Visit`, `fence` is the
    slot.
    """

    free: I64
    """Of the first two nodes: what node_pool.py says of a pool."""
    following: I32
    fence: I32
    state: I64
    fixes: I64
    pending_since_us: I64
    crossed_at_us: I64
    crossed_latitude_deg: F64
    crossed_longitude_deg: F64
    entered_at_us: I64
    due_us: I64
    marks: I64


NODE: Final = np.dtype(
    [
        ("following", "i4"),
        ("fence", "i4"),
        ("state", "i8"),
        ("fixes", "i8"),
        ("crossed_at_us", "i8"),
        ("pending_since_us", "i8"),
        ("entered_at_us", "i8"),
        ("due_us", "i8"),
        ("marks", "i8"),
        # The second line of memory.
        ("crossed_latitude_deg", "f8"),
        ("crossed_longitude_deg", "f8"),
        ("free", "i8"),
        ("unused", "u1", 40),
    ]
)
"""128 bytes."""
SAID: Final = tuple(name for name in NODE.names or () if name not in ("following", "fence", "free", "unused"))
"""The fields of a node that say what a device is at its fence."""


@scalar_kernel
def find_presence(presences: PresenceColumns, row: int, fence: int, devices: DeviceColumns) -> int:
    """The node of a device at a fence, or NOTHING."""
    node = int(devices.first_presence[row])
    while node != NOTHING and presences.fence[node] != fence:
        node = presences.following[node]
    return node


@scalar_kernel
def load_presence(presences: PresenceColumns, node: int) -> Presence:
    """What a node holds."""
    return Presence(
        presences.state[node],
        presences.fixes[node],
        presences.pending_since_us[node],
        presences.crossed_at_us[node],
        presences.crossed_latitude_deg[node],
        presences.crossed_longitude_deg[node],
    )


@scalar_kernel
def load_visit(presences: PresenceColumns, node: int) -> Visit:
    """What a node holds of the visit."""
    return Visit(int(presences.entered_at_us[node]), int(presences.due_us[node]), int(presences.marks[node]))


@scalar_kernel
def is_held(presences: PresenceColumns, node: int) -> bool:
    """Whether an exit is noted or pending, dated before the visit is due: it is not known yet whether it ends there."""
    crossed_at_us = presences.crossed_at_us[node]
    return bool(crossed_at_us != NO_TIME and crossed_at_us < presences.due_us[node])


@scalar_kernel
def reckon_due(presences: PresenceColumns, row: int, devices: DeviceColumns) -> None:
    """Finds when the first visit of a device is due."""
    due_us = NEVER
    last_us = devices.counted_at_us[row]
    node = devices.first_presence[row]
    while node != NOTHING:
        if (
            presences.due_us[node] < due_us
            and not is_held(presences, node)
            and (not presences.marks[node] & AWAITS_OPENING or presences.due_us[node] - last_us <= RESTATED_WITHIN_US)
        ):
            due_us = presences.due_us[node]
        node = presences.following[node]
    devices.due_us[row] = due_us


@scalar_kernel
def store_presence(presences: PresenceColumns, node: int, presence: Presence, visit: Visit) -> None:
    """Writes a node."""
    presences.entered_at_us[node] = visit.entered_at_us
    presences.due_us[node] = visit.due_us
    presences.marks[node] = visit.marks
    presences.state[node] = presence.state
    presences.fixes[node] = presence.fixes
    presences.pending_since_us[node] = presence.pending_since_us
    presences.crossed_at_us[node] = presence.crossed_at_us
    presences.crossed_latitude_deg[node] = presence.crossed_latitude_deg
    presences.crossed_longitude_deg[node] = presence.crossed_longitude_deg


@scalar_kernel
def add_presence(
    presences: PresenceColumns, row: int, fence: int, presence: Presence, visit: Visit, devices: DeviceColumns
) -> None:
    """Hangs a new node on a device. There must be room."""
    node = take_node(presences.following, presences.free)
    presences.following[node] = devices.first_presence[row]
    devices.first_presence[row] = node
    presences.fence[node] = fence
    store_presence(presences, node, presence, visit)


@scalar_kernel
def remove_presence(presences: PresenceColumns, row: int, node: int, devices: DeviceColumns) -> None:
    """Takes a node from its device."""
    if devices.first_presence[row] == node:
        devices.first_presence[row] = presences.following[node]
    else:
        before = devices.first_presence[row]
        while presences.following[before] != node:
            before = presences.following[before]
        presences.following[before] = presences.following[node]
    give_back(presences.following, presences.free, node)


@scalar_kernel
def inside_of(presences: PresenceColumns, first: int, fences: I32) -> int:
    """Writes the slots of the fences that the device whose first node is given is inside of, pending exits among them;
    returns how many, also if `fences` is too short for all.
    """
    count = 0
    node = first
    while node != NOTHING:
        if presences.state[node] == IN or presences.state[node] == PENDING_OUT:
            if count < len(fences):
                fences[count] = presences.fence[node]
            count += 1
        node = presences.following[node]
    return count


class PresencePool:
    """The columns, which grow."""

    def __init__(self) -> None:
        self.columns = PresenceColumns.of(empty_nodes(NODE))

    def make_room(self, wanted: int) -> None:
        """At least `wanted` more nodes fit."""
        self.columns = with_room(self.columns, wanted)
