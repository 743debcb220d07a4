"""Which fences the straight way between two points passes through, and from where to where.

The leg is straight in longitude and latitude, by the shorter way around. It goes down the tenant's tree like a point
does (geofence/lookup.py), but into every cell that it touches: the cost is that of the cells along it.
"""

from __future__ import annotations

import math
from typing import Final

from geofence.compiled import CHILD, CIRCLE, CORRIDOR, I32, I64, NEXT, POLYGON, SLOT, CompiledFences
from geofence.crossing import crossing_fraction
from geofence.distance import signed_distance_m
from geofence.geodesy import wrap_degrees
from geofence.grid import BITS, COLUMNS, DEEPEST
from geofence.kernel import scalar_kernel
from geofence.predicates import orientation

NO_DIRECTION: Final = 0
FORWARD: Final = 1
BACKWARD: Final = 2

WALK_WORDS: Final = 2 * (DEEPEST + 2)
"""How long the scratch of `find_on_leg` is: a node and the next cell of it, for each level."""
_APART: Final = 2.0
_HALVINGS: Final = 40
_STEPS: Final = 32


@scalar_kernel
def _touches(x0: float, y0: float, x1: float, y1: float, west: float, south: float, size: float) -> bool:
    """Whether a leg touches a square, or nearly: what rounding could tell apart from it does."""
    pad = 1e-3
    low, high = 0.0, 1.0
    for axis in range(2):
        start = x0 if axis == 0 else y0
        step = (x1 if axis == 0 else y1) - start
        near = (west if axis == 0 else south) - pad
        far = near + size + 2.0 * pad
        if step == 0.0:
            if start < near or start > far:
                return False
            continue
        first = (near - start) / step
        second = (far - start) / step
        low = max(low, min(first, second))
        high = min(high, max(first, second))
    return low <= high


@scalar_kernel
def _walk_leg(
    fences: CompiledFences,
    tenant: int,
    bit: int,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    walk: I64,
    out_slots: I32,
    found: int,
) -> int:
    """Goes into every cell that a leg in columns and rows of the finest level touches; returns `found` and how many
    more slots of fences that watch for this bit have such a cell. No slot is written twice.
    """
    level = fences.tenant_root[tenant, 1]
    size = 1 << (BITS - 2 * level)
    west = fences.tenant_root[tenant, 2] * size
    south = fences.tenant_root[tenant, 3] * size
    if not _touches(x0, y0, x1, y1, float(west), float(south), float(size)):
        return found
    walk[0] = fences.tenant_root[tenant, 0]
    walk[1] = 0
    depth = 0
    while depth >= 0:
        part = walk[2 * depth + 1]
        if part == 0:
            size >>= 2
        if part == 16:
            size <<= 2
            depth -= 1
            if depth >= 0:
                above = walk[2 * depth + 1] - 1
                west -= (above & 3) * size
                south -= (above >> 2) * size
            continue
        walk[2 * depth + 1] = part + 1
        place = walk[2 * depth] * 16 + part
        slot = fences.cell[place, SLOT]
        child = fences.cell[place, CHILD]
        if slot < 0 and child < 0:
            continue
        here_west = west + (part & 3) * size
        here_south = south + (part >> 2) * size
        if not _touches(x0, y0, x1, y1, float(here_west), float(here_south), float(size)):
            continue
        at = fences.cell[place, NEXT]
        while slot >= 0:
            if fences.watches[slot] & bit:
                known = 0
                for k in range(min(found, len(out_slots))):
                    if out_slots[k] == slot:
                        known = 1
                if known == 0:
                    if found < len(out_slots):
                        out_slots[found] = slot
                    found += 1
            if at < 0:
                break
            slot = fences.entry[at, SLOT]
            at = fences.entry[at, NEXT]
        if child >= 0:
            west = here_west
            south = here_south
            depth += 1
            walk[2 * depth] = child
            walk[2 * depth + 1] = 0
    return found


@scalar_kernel
def find_on_leg(
    fences: CompiledFences,
    tenant: int,
    bit: int,
    longitude0_deg: float,
    latitude0_deg: float,
    longitude1_deg: float,
    latitude1_deg: float,
    walk: I64,
    out_slots: I32,
) -> int:
    """Writes the slots of the tenant's fences that watch for this bit and may be met by a leg between two points on the
    globe, in no order.

    Returns how many, or minus a room that is enough if `out_slots` (int32) is too short; then its content means
    nothing. `walk` is scratch of WALK_WORDS (int64).
    """
    if tenant < 0 or tenant >= len(fences.tenant_root) or fences.tenant_root[tenant, 0] < 0:
        return 0
    scale = COLUMNS / 360.0
    x0 = (longitude0_deg + 180.0) * scale
    y0 = (latitude0_deg + 90.0) * (COLUMNS / 180.0)
    y1 = (latitude1_deg + 90.0) * (COLUMNS / 180.0)
    step_deg = longitude1_deg - longitude0_deg
    x1 = (longitude1_deg + 180.0) * scale
    turn = 0.0
    if abs(step_deg) > 180.0:
        turn = float(COLUMNS) if step_deg < 0.0 else -float(COLUMNS)
        x1 += turn
    found = _walk_leg(fences, tenant, bit, x0, y0, x1, y1, walk, out_slots, 0)
    if turn != 0.0:
        # Over the 180th meridian: the part beyond it is on the other side of the grid.
        found = _walk_leg(fences, tenant, bit, x0 - turn, y0, x1 - turn, y1, walk, out_slots, found)
    return found if found <= len(out_slots) else -found


@scalar_kernel
def _foot(x: float, y: float, x0: float, y0: float, dx: float, dy: float, squeeze: float) -> float:
    """Where on a leg the foot of a point is, in [0, 1], with longitudes squeezed to the length of latitudes."""
    ax = wrap_degrees(x - x0) * squeeze
    length2 = dx * dx * squeeze * squeeze + dy * dy
    if length2 == 0.0:
        return 0.0
    return min(1.0, max(0.0, (ax * dx * squeeze + (y - y0) * dy) / length2))


@scalar_kernel
def _nearest_to_line(fences: CompiledFences, slot: int, x0: float, y0: float, dx: float, dy: float) -> float:
    """Where on a leg it is nearest to the line of a corridor: where they meet, or at the foot of a point of the line,
    or at an end of the leg.
    """
    squeeze = math.cos((y0 + 0.5 * dy) * math.pi / 180.0)
    best = 0.0
    best_m = min(1e18, signed_distance_m(fences, slot, x0, y0))
    end_m = signed_distance_m(fences, slot, x0 + dx, y0 + dy)
    if end_m < best_m:
        best, best_m = 1.0, end_m
    vertex = fences.vertex
    margin_deg = 2.0 * fences.half_width_m[slot] / 111_000.0
    first_chunk = fences.chunks[slot, 0]
    for chunk in range(first_chunk, first_chunk + fences.chunks[slot, 1]):
        west_deg = fences.chunk_box[chunk, 0]
        south_deg = fences.chunk_box[chunk, 1]
        east_deg = fences.chunk_box[chunk, 2]
        north_deg = fences.chunk_box[chunk, 3]
        if north_deg + margin_deg < min(y0, y0 + dy) or south_deg - margin_deg > max(y0, y0 + dy):
            continue
        reach_deg = 0.5 * (abs(dx) + east_deg - west_deg) + margin_deg / max(squeeze, 1e-3)
        if abs(wrap_degrees(x0 + 0.5 * dx - 0.5 * (west_deg + east_deg))) > reach_deg:
            continue
        first = fences.chunk_edges[chunk, 0]
        for edge in range(first, first + fences.chunk_edges[chunk, 1]):
            ax = wrap_degrees(vertex[edge, 0] - x0)
            ay = vertex[edge, 1] - y0
            bx = ax + vertex[edge + 1, 0] - vertex[edge, 0]
            by = vertex[edge + 1, 1] - y0
            side_a = orientation(0.0, 0.0, dx, dy, ax, ay)
            side_b = orientation(0.0, 0.0, dx, dy, bx, by)
            side0 = orientation(ax, ay, bx, by, 0.0, 0.0)
            side1 = orientation(ax, ay, bx, by, dx, dy)
            if side_a * side_b <= 0.0 and side0 * side1 <= 0.0 and side0 != side1:
                return float(min(1.0, max(0.0, side0 / (side0 - side1))))
            for end in range(2):
                t = _foot(vertex[edge + end, 0], vertex[edge + end, 1], x0, y0, dx, dy, squeeze)
                there_m = signed_distance_m(fences, slot, x0 + t * dx, y0 + t * dy)
                if there_m < best_m:
                    best, best_m = t, there_m
    return best


@scalar_kernel
def _narrow(
    fences: CompiledFences, slot: int, x0: float, y0: float, dx: float, dy: float, out: float, inside: float
) -> float:
    """Between a place of a leg outside and one inside, where it passes the boundary first; the result is inside."""
    # A corridor may be met more than once on the way there.
    for step in range(1, _STEPS if fences.kind[slot] == CORRIDOR else 1):
        between = out + (inside - out) * step / _STEPS
        if signed_distance_m(fences, slot, x0 + between * dx, y0 + between * dy) <= 0.0:
            inside = between
            break
    for _ in range(_HALVINGS):
        middle = 0.5 * (out + inside)
        if signed_distance_m(fences, slot, x0 + middle * dx, y0 + middle * dy) <= 0.0:
            inside = middle
        else:
            out = middle
    return inside


@scalar_kernel
def passing_fractions(
    fences: CompiledFences,
    slot: int,
    longitude0_deg: float,
    latitude0_deg: float,
    longitude1_deg: float,
    latitude1_deg: float,
) -> tuple[float, float]:
    """How far along a leg of which both ends are outside it first and last touches the fence, each in [0, 1]; 2 and 2
    if it does not.

    For polygons whether it does is exact. For circles and corridors it is decided at the one place of the leg that is
    nearest to the centre or the line, found in the plane, which legs of 20 km leave by a few metres. Where a leg meets
    a corridor more than once, a meeting shorter than a thirty-second of it does not count as the first or last.
    """
    kind = fences.kind[slot]
    if kind == POLYGON:
        first = crossing_fraction(fences, slot, longitude0_deg, latitude0_deg, longitude1_deg, latitude1_deg)
        if first >= 1.0:
            return _APART, _APART
        back = crossing_fraction(fences, slot, longitude1_deg, latitude1_deg, longitude0_deg, latitude0_deg)
        return first, max(first, 1.0 - back)
    if kind not in (CIRCLE, CORRIDOR):
        return _APART, _APART
    x0, y0 = longitude0_deg, latitude0_deg
    dx = wrap_degrees(longitude1_deg - longitude0_deg)
    dy = latitude1_deg - latitude0_deg
    if kind == CIRCLE:
        squeeze = math.cos(fences.circle[slot, 0] * math.pi / 180.0)
        nearest = _foot(fences.circle[slot, 1], fences.circle[slot, 0], x0, y0, dx, dy, squeeze)
    else:
        nearest = _nearest_to_line(fences, slot, x0, y0, dx, dy)
    if signed_distance_m(fences, slot, x0 + nearest * dx, y0 + nearest * dy) > 0.0:
        return _APART, _APART
    return (
        _narrow(fences, slot, x0, y0, dx, dy, 0.0, nearest),
        _narrow(fences, slot, x0, y0, dx, dy, 1.0, nearest),
    )


@scalar_kernel
def passing_direction(
    fences: CompiledFences,
    slot: int,
    longitude0_deg: float,
    latitude0_deg: float,
    longitude1_deg: float,
    latitude1_deg: float,
) -> int:
    """FORWARD if a leg crosses the line of a corridor from its left to its right, looking along it; BACKWARD if the
    other way; NO_DIRECTION if it ends on the side where it began, crosses no piece of the line, or is of another fence.
    """
    if fences.kind[slot] != CORRIDOR:
        return NO_DIRECTION
    dx = wrap_degrees(longitude1_deg - longitude0_deg)
    dy = latitude1_deg - latitude0_deg
    vertex = fences.vertex
    turns = 0
    first_chunk = fences.chunks[slot, 0]
    for chunk in range(first_chunk, first_chunk + fences.chunks[slot, 1]):
        first = fences.chunk_edges[chunk, 0]
        for edge in range(first, first + fences.chunk_edges[chunk, 1]):
            ax = wrap_degrees(vertex[edge, 0] - longitude0_deg)
            ay = vertex[edge, 1] - latitude0_deg
            bx = ax + vertex[edge + 1, 0] - vertex[edge, 0]
            by = vertex[edge + 1, 1] - latitude0_deg
            # A point of the line on the leg counts as on its left, so that two pieces that meet there count once.
            left_a = orientation(0.0, 0.0, dx, dy, ax, ay) >= 0.0
            left_b = orientation(0.0, 0.0, dx, dy, bx, by) >= 0.0
            if left_a == left_b:
                continue
            side0 = orientation(ax, ay, bx, by, 0.0, 0.0)
            side1 = orientation(ax, ay, bx, by, dx, dy)
            if (side0 > 0.0) != (side1 > 0.0):
                turns += 1 if side0 > 0.0 else -1
    if turns == 0:
        return NO_DIRECTION
    return FORWARD if turns > 0 else BACKWARD
