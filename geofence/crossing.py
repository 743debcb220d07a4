"""Where the straight way between two fixes first passes the boundary of a fence."""

from __future__ import annotations

import math
from typing import Final

from geofence.compiled import CIRCLE, CORRIDOR, POLYGON, CompiledFences
from geofence.distance import signed_distance_m
from geofence.geodesy import wrap_degrees
from geofence.kernel import scalar_kernel
from geofence.predicates import orientation

# A leg against a circle or corridor is looked at in this many steps before the crossing is narrowed down.
_STEPS: Final = 32


@scalar_kernel
def _meets_edge(x0: float, y0: float, x1: float, y1: float, ax: float, ay: float, bx: float, by: float) -> float:
    """The least t in [0, 1] at which the leg is on the edge a b; 2 if never. Exact as to whether, rounded as to t."""
    if max(ax, bx) < min(x0, x1) or max(x0, x1) < min(ax, bx):
        return 2.0
    if max(ay, by) < min(y0, y1) or max(y0, y1) < min(ay, by):
        return 2.0
    side0 = orientation(ax, ay, bx, by, x0, y0)
    side1 = orientation(ax, ay, bx, by, x1, y1)
    if (side0 > 0.0 and side1 > 0.0) or (side0 < 0.0 and side1 < 0.0):
        return 2.0
    side_a = orientation(x0, y0, x1, y1, ax, ay)
    side_b = orientation(x0, y0, x1, y1, bx, by)
    if (side_a > 0.0 and side_b > 0.0) or (side_a < 0.0 and side_b < 0.0):
        return 2.0
    if side0 == 0.0:
        if side1 != 0.0 or (ax == bx and ay == by):
            # The leg starts on the line of the edge, and as the edge's ends are on both sides of the leg, on the edge.
            return 0.0 if side1 != 0.0 else _along(x0, y0, x1, y1, ax, ay)
        return max(0.0, min(_along(x0, y0, x1, y1, ax, ay), _along(x0, y0, x1, y1, bx, by)))
    return min(1.0, max(0.0, side0 / (side0 - side1)))


@scalar_kernel
def _along(x0: float, y0: float, x1: float, y1: float, x: float, y: float) -> float:
    """Where a point on the line of the leg lies on it: 0 at its start, 1 at its end; 0 for a leg of no length."""
    if abs(x1 - x0) >= abs(y1 - y0):
        return (x - x0) / (x1 - x0) if x1 != x0 else 0.0
    return (y - y0) / (y1 - y0)


@scalar_kernel
def _polygon_fraction(fences: CompiledFences, slot: int, x0: float, y0: float, x1: float, y1: float) -> float:
    """The least t over all edges; 1 if there is none."""
    best = 1.0
    vertex = fences.vertex
    box = fences.chunk_box
    first_chunk = fences.chunks[slot, 0]
    for chunk in range(first_chunk, first_chunk + fences.chunks[slot, 1]):
        for turn in range(-1, 2):
            start = x0 + 360.0 * turn
            end = x1 + 360.0 * turn
            if max(start, end) < box[chunk, 0] or min(start, end) > box[chunk, 2]:
                continue
            if max(y0, y1) < box[chunk, 1] or min(y0, y1) > box[chunk, 3]:
                continue
            first = fences.chunk_edges[chunk, 0]
            for edge in range(first, first + fences.chunk_edges[chunk, 1]):
                t = _meets_edge(
                    start, y0, end, y1, vertex[edge, 0], vertex[edge, 1], vertex[edge + 1, 0], vertex[edge + 1, 1]
                )
                best = min(best, t)
    return best


@scalar_kernel
def _measured_fraction(fences: CompiledFences, slot: int, x0: float, y0: float, dx: float, dy: float) -> float:
    """For a circle or corridor: the first change of sides among `_STEPS` equal steps, narrowed by halving."""
    started_inside = signed_distance_m(fences, slot, x0, y0) <= 0.0
    low = 0.0
    for step in range(1, _STEPS + 1):
        high = step / _STEPS
        if (signed_distance_m(fences, slot, x0 + high * dx, y0 + high * dy) <= 0.0) != started_inside:
            for _ in range(40):
                middle = 0.5 * (low + high)
                if (signed_distance_m(fences, slot, x0 + middle * dx, y0 + middle * dy) <= 0.0) == started_inside:
                    low = middle
                else:
                    high = middle
            return high
        low = high
    return 1.0


@scalar_kernel
def crossing_fraction(
    fences: CompiledFences,
    slot: int,
    longitude0_deg: float,
    latitude0_deg: float,
    longitude1_deg: float,
    latitude1_deg: float,
) -> float:
    """How far along the leg from point 0 to point 1 it first touches the boundary, in [0, 1]; 1 if it never does.

    The leg is straight in longitude and latitude, by the shorter way around in longitude. For polygons whether it
    touches is exact; for circles and corridors an excursion shorter than a thirty-second of the leg may be
    overlooked. NaN in, or an empty slot, gives 1.
    """
    dx = wrap_degrees(longitude1_deg - longitude0_deg)
    dy = latitude1_deg - latitude0_deg
    if math.isnan(dx) or math.isnan(dy):
        return 1.0
    # Without a turn the end is taken as it is: adding the difference to the start could round it off an edge.
    end_deg = longitude1_deg if abs(longitude1_deg - longitude0_deg) <= 180.0 else longitude0_deg + dx
    kind = fences.kind[slot]
    if kind == POLYGON:
        return _polygon_fraction(fences, slot, longitude0_deg, latitude0_deg, end_deg, latitude1_deg)
    if kind in (CIRCLE, CORRIDOR):
        return _measured_fraction(fences, slot, longitude0_deg, latitude0_deg, dx, dy)
    return 1.0
