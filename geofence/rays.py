"""Counting the edges that a ray from a point crosses, in four directions, exactly.

The winding number of closed rings about a point is the sum, over the edges that a ray from it crosses, of +1 for an
edge that passes from right to left and -1 for one from left to right (D. Sunday, "Inclusion of a Point in a
Polygon", 2001; the half-open rule for vertices after W. R. Franklin's PNPOLY). Rays north, west and south are rays
east in a turned or mirrored frame; mirroring changes the sign of every crossing.
"""

from __future__ import annotations

from typing import Final

from geofence.compiled import F64, I32, LIST_HEADER, RAY_EAST, RAY_NORTH, RAY_SOUTH, RAY_WEST
from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.predicates import orientation

# What a winding number can never be: the point lies on an edge.
ON_EDGE: Final = 1 << 24


@inlined_kernel
def crossing_east(x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> int:
    """1, -1 or 0 as the ray from (x, y) to the east crosses the edge upwards, downwards or not; ON_EDGE if on the edge.

    The far end of an edge counts as on it only where the edge is flat: it is the near end of the next.
    """
    if y1 == y and (x1 == x or (y2 == y and min(x1, x2) <= x <= max(x1, x2))):
        return ON_EDGE
    if (y1 > y) == (y2 > y):
        return 0
    if x1 < x and x2 < x:
        return 0
    upwards = y2 > y1
    if not (x1 > x and x2 > x):
        side = orientation(x1, y1, x2, y2, x, y)
        if side == 0.0:
            return ON_EDGE
        if (side > 0.0) != upwards:
            return 0
    return 1 if upwards else -1


@inlined_kernel
def winding_by_list(border_list: I32, start: int, vertex: F64, x: float, y: float) -> int:
    """The winding number about a point of a border cell by the cell's list; ON_EDGE on an edge."""
    header = border_list[start]
    ray = header & 7
    winding = 0
    first = start + LIST_HEADER
    last = first + (header >> 3)
    swapped = ray in (RAY_NORTH, RAY_SOUTH)
    along = -1.0 if ray in (RAY_WEST, RAY_SOUTH) else 1.0
    u = along * (y if swapped else x)
    v = x if swapped else y
    across = 1 if swapped else 0
    for place in range(first, last):
        edge = border_list[place]
        crossed = crossing_east(
            along * vertex[edge, across],
            vertex[edge, 1 - across],
            along * vertex[edge + 1, across],
            vertex[edge + 1, 1 - across],
            u,
            v,
        )
        if crossed == ON_EDGE:
            return ON_EDGE
        winding += crossed
    return int(border_list[start + 1] + frame_sign(ray) * winding)


@scalar_kernel
def in_frame(ray: int, x: float, y: float) -> tuple[float, float]:
    """A point in the frame in which the ray runs along the first coordinate."""
    if ray == RAY_EAST:
        return x, y
    if ray == RAY_WEST:
        return -x, y
    if ray == RAY_NORTH:
        return y, x
    return -y, x


@scalar_kernel
def frame_sign(ray: int) -> int:
    """What a crossing in the frame of a ray counts for: -1 where the frame is mirrored."""
    return 1 if ray in (RAY_EAST, RAY_SOUTH) else -1
