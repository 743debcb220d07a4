"""Which fences a device is inside of or pending at, as chains of nodes.

A device that is out of a fence has no node for it: the state grows with what devices are inside of, not with devices
times fences.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import scalar_kernel
from geofence.transitions import IN, PENDING_OUT, Presence
from tracking_core.columns import F64, I32, I64
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.growth import longer_columns, next_size
from tracking_core.node_pool import EVER_TAKEN, empty_free, give_back, room_left, take_node


class PresenceColumns(NamedTuple):
    """Nodes (node_pool.py); the fields are those of `geofence.transitions.Presence`, `fence` is the slot."""

    free: I64
    following: I32
    fence: I32
    state: I64
    fixes: I64
    pending_since_us: I64
    crossed_at_us: I64
    crossed_latitude_deg: F64
    crossed_longitude_deg: F64


_LAYOUT: Final = ("i4", "i4", "i8", "i8", "i8", "i8", "f8", "f8")


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
def store_presence(presences: PresenceColumns, node: int, presence: Presence) -> None:
    """Writes a node."""
    presences.state[node] = presence.state
    presences.fixes[node] = presence.fixes
    presences.pending_since_us[node] = presence.pending_since_us
    presences.crossed_at_us[node] = presence.crossed_at_us
    presences.crossed_latitude_deg[node] = presence.crossed_latitude_deg
    presences.crossed_longitude_deg[node] = presence.crossed_longitude_deg


@scalar_kernel
def add_presence(presences: PresenceColumns, row: int, fence: int, presence: Presence, devices: DeviceColumns) -> None:
    """Hangs a new node on a device. There must be room."""
    node = take_node(presences.following, presences.free)
    presences.following[node] = devices.first_presence[row]
    devices.first_presence[row] = node
    presences.fence[node] = fence
    store_presence(presences, node, presence)


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
        self.columns = PresenceColumns(empty_free(), *(np.empty(0, dtype) for dtype in _LAYOUT))

    def make_room(self, wanted: int) -> None:
        """At least `wanted` more nodes fit."""
        if room_left(self.columns.following, self.columns.free) < wanted:
            held = len(self.columns.following)
            size = next_size(held, int(self.columns.free[EVER_TAKEN]) + wanted)
            columns = longer_columns(self.columns[1:], size, [0] * len(_LAYOUT))
            self.columns = PresenceColumns(self.columns.free, *columns)
