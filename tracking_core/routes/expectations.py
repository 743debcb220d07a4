"""Arrivals that are waited for: of each stop of a route with a planned arrival and a fence, until when.

Nodes that hang on their device (node_pool.py).
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.columns import I8, I32, I64, NO_TIME
from tracking_core.definitions import Route, RouteStop
from tracking_core.device_table import NEVER, NOTHING
from tracking_core.growth import longer, longer_columns, next_size
from tracking_core.node_pool import EVER_TAKEN, empty_free, give_back, room_left, take_node

WAITING: Final = 0
ARRIVED: Final = 1
MISSED: Final = 2
"""It was due, and the device has not come since."""
LATE: Final = 3
"""It was missed, and the device came later."""


class ExpectedColumns(NamedTuple):
    """`first` and `next_us` have a row a device, or none as long as nothing was ever waited for: the first node, and
    when the first arrival is due (NEVER: none is, or whether it is missed is not known yet), by the device's clock.

    Of a node: `number` names it, the same in every process; `fence` is the slot of where it is expected (NOTHING while
    there is no such fence); being inside by a fix behind `since_us` until `due_us` is an arrival (NEVER: no plan
    says until when).

    A route may come back to a fence. Then `anew` is 1, and only an entry is an arrival, and that of one stop only: not
    before the device came to `before`, the node of the stop there that is before it in the route (NOTHING: none is
    waited for). In the chain of a device later stops stand before earlier ones.
    """

    first: I32
    next_us: I64
    free: I64
    following: I32
    number: I64
    fence: I32
    since_us: I64
    due_us: I64
    planned_us: I64
    before: I32
    anew: I8
    state: I8


_LAYOUT: Final = ("i4", "i8", "i4", "i8", "i8", "i8", "i4", "i1", "i1")


class ExpectedStop(NamedTuple):
    """Whom a node belongs to, and what is expected."""

    row: int
    node: int
    route: Route
    stop: RouteStop


@scalar_kernel
def hang_expectation(row: int, first: I32, following: I32, free: I64) -> int:
    """Takes a node for a device. There must be room."""
    node = take_node(following, free)
    following[node] = first[row]
    first[row] = node
    return node


@scalar_kernel
def drop_expectation(row: int, node: int, first: I32, following: I32, free: I64) -> None:
    """Gives the node of a device back."""
    if first[row] == node:
        first[row] = following[node]
    else:
        before = first[row]
        while following[before] != node:
            before = following[before]
        following[before] = following[node]
    give_back(following, free, node)


class ExpectationTable:
    """The columns, and what their numbers mean."""

    def __init__(self) -> None:
        nothing = (np.empty(0, np.int32), np.empty(0, np.int64), empty_free())
        self.columns = ExpectedColumns(*nothing, *(np.empty(0, dtype) for dtype in _LAYOUT))
        self._stops: dict[int, ExpectedStop] = {}

    def stop_of(self, number: int) -> ExpectedStop | None:
        """What a number means; None of a route that is no longer in force."""
        return self._stops.get(number)

    def at_fence(self, tenant: str, fence_id: str) -> list[ExpectedStop]:
        """All that is expected at a fence."""
        return [each for each in self._stops.values() if each.route.tenant == tenant and each.stop.fence_id == fence_id]

    def put(self, row: int, rows: int, route: Route, stop: RouteStop, fence: int, since_us: int, state: int) -> int:
        """Waits for an arrival of the device of a row, of so many; returns the node."""
        self._make_room(rows)
        columns = self.columns
        node = hang_expectation(row, columns.first, columns.following, columns.free)
        earlier = route.stops[: route.stops.index(stop)]
        named = _number(route, stop)
        columns.number[node] = named
        columns.fence[node] = fence
        columns.since_us[node] = since_us
        planned_us = stop.planned_arrival_us
        columns.due_us[node] = NEVER if planned_us is None else planned_us + stop.arrival_grace_us
        columns.planned_us[node] = NO_TIME if planned_us is None else planned_us
        same = [each for each in earlier if each.fence_id == stop.fence_id]
        known = [self._stops[number].node for each in same if (number := _number(route, each)) in self._stops]
        columns.before[node] = known[-1] if known else NOTHING
        columns.anew[node] = bool(same)
        columns.state[node] = state
        self._stops[named] = ExpectedStop(row, node, route, stop)
        return node

    def forget(self, route: Route) -> None:
        """Waits for nothing of a route any more."""
        for stop in route.stops:
            known = self._stops.pop(_number(route, stop), None)
            if known is not None:
                columns = self.columns
                drop_expectation(known.row, known.node, columns.first, columns.following, columns.free)

    def states(self, route: Route) -> dict[RouteStop, int]:
        """How it stands with each stop of a route that is waited for."""
        known = [self._stops.get(_number(route, stop)) for stop in route.stops]
        return {each.stop: int(self.columns.state[each.node]) for each in known if each is not None}

    def packed(self, route: Route) -> list[tuple[str, int, int]]:
        """What is waited for on a route, in the order of its stops: which, since when, and the state."""
        kept: list[tuple[str, int, int]] = []
        for stop in route.stops:
            known = self._stops.get(_number(route, stop))
            if known is not None:
                since_us, state = self.columns.since_us[known.node], self.columns.state[known.node]
                kept.append((stop.stop_id, int(since_us), int(state)))
        return kept

    def _make_room(self, rows: int) -> None:
        columns = self.columns
        if rows > len(columns.first):
            size = next_size(len(columns.first), rows)
            first, next_us = longer(columns.first, size, NOTHING), longer(columns.next_us, size, NEVER)
            columns = columns._replace(first=first, next_us=next_us)
        if room_left(columns.following, columns.free) < 1:
            held = len(columns.following)
            size = next_size(held, int(columns.free[EVER_TAKEN]) + 1)
            grown = longer_columns(columns[3:], size, [0] * len(_LAYOUT))
            columns = ExpectedColumns(columns.first, columns.next_us, columns.free, *grown)
        self.columns = columns


def is_expected(route: Route, stop: RouteStop, counted_at_us: int) -> bool:
    """Whether an arrival at a stop is waited for at all: it has a fence, and a plan that was not over with the newest
    fix of the device; without a plan only where the route comes back to, so that it is known which visit is which.
    """
    planned_us = stop.planned_arrival_us
    if not stop.fence_id:
        return False
    if planned_us is None:
        later = route.stops[route.stops.index(stop) + 1 :]
        return any(each.fence_id == stop.fence_id and each.planned_arrival_us is not None for each in later)
    return counted_at_us == NO_TIME or planned_us + stop.arrival_grace_us > counted_at_us


def _number(route: Route, stop: RouteStop) -> int:
    """63 bits of BLAKE2b over tenant, route, its version and the stop; texts after their lengths."""
    text = "".join(f"{len(each)}:{each}" for each in (route.tenant, route.route_id, str(route.version), stop.stop_id))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
