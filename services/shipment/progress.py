"""Where a shipment stands: its stops and the crossings of their fences in, status and times at the stops out. Pure.

The crossings are folded in order of event time, so the order they became known in does not matter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from services.shipment.model import Crossing, Status, Stop

EARTH_RADIUS_M: Final = 6_371_009.0


class Progress(NamedTuple):
    """Stops with their times, the status, and when the last stop was reached."""

    stops: tuple[Stop, ...]
    status: Status
    delivered_at_us: int | None


class _Lap(NamedTuple):
    """Stop `again` is at the same place as the earlier stop `first`, and there are others `between` them.

    On a round trip (depot, customer, depot) a vehicle that turns back to fetch something has not come to the end:
    `again` counts once one of `between` was visited, and from then on `first` does not.
    """

    first: int
    again: int
    between: frozenset[int]


def progress_of(stops: Sequence[Stop], crossings: Iterable[Crossing]) -> Progress:
    """Folds the crossings; what happened after delivery is passed over."""
    laps = _laps(stops)
    last = len(stops) - 1
    arrived: dict[int, int] = {}
    departed: dict[int, int] = {}
    inside: set[int] = set()
    under_way = False
    # At one time exits come before entries, as the core publishes them.
    for observed_at_us, entered, fence_id, *_ in sorted(crossings):
        visited = arrived.keys() | departed.keys()
        due = [
            position
            for position, stop in enumerate(stops)
            if stop.fence_id == fence_id
            and all(visited & lap.between for lap in laps if lap.again == position)
            and (position in inside or not any(visited & lap.between for lap in laps if lap.first == position))
        ]
        for position in due:
            if entered and position == last:
                arrived[position] = observed_at_us
                return _progress(stops, arrived, departed, Status.DELIVERED, observed_at_us)
            if entered:
                arrived.setdefault(position, observed_at_us)
                departed.pop(position, None)  # it came back
                inside.add(position)
                under_way = under_way or position > 0
            elif position != last and (position in inside or position not in arrived):
                # Without an arrival before it: the first fix ever was inside, and that makes no event.
                departed[position] = observed_at_us
                inside.discard(position)
                under_way = True
    here = Status.AT_STOP if inside else Status.IN_TRANSIT
    return _progress(stops, arrived, departed, here if under_way else Status.PLANNED, None)


def _progress(
    stops: Sequence[Stop], arrived: dict[int, int], departed: dict[int, int], status: Status, ended: int | None
) -> Progress:
    timed = tuple(
        dataclasses.replace(stop, arrived_at_us=arrived.get(position), departed_at_us=departed.get(position))
        for position, stop in enumerate(stops)
    )
    return Progress(timed, status, ended)


def _laps(stops: Sequence[Stop]) -> list[_Lap]:
    laps = []
    for again, stop in enumerate(stops):
        same = [_same_place(stop, earlier) for earlier in stops[:again]]
        for first in range(again):
            between = frozenset(other for other in range(first + 1, again) if not same[other])
            if same[first] and between:
                laps.append(_Lap(first, again, between))
    return laps


def _same_place(one: Stop, other: Stop) -> bool:
    """Whether a vehicle can be at both at once: the same fence, or circles that overlap (flat over such distances)."""
    if one.fence_id == other.fence_id:
        return True
    north_m = math.radians(one.latitude_deg - other.latitude_deg) * EARTH_RADIUS_M
    around_deg = math.remainder(one.longitude_deg - other.longitude_deg, 360.0)
    latitude_rad = math.radians((one.latitude_deg + other.latitude_deg) / 2)
    east_m = math.radians(around_deg) * EARTH_RADIUS_M * math.cos(latitude_rad)
    return math.hypot(north_m, east_m) <= (one.radius_m or 0.0) + (other.radius_m or 0.0)
