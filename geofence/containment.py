"""Which fences hold a point: down one path of the tenant's tree, past the entries of every fence that may.

A fence stands at most once on a path. An entry says that the cell is wholly inside, or how to decide: a list of
edges with the winding number where a ray ends (geofence/border_list.py), a list of segments, or a circle to be
measured. The boundary belongs to the fence. A point that is NaN or not on the globe is in no fence.
"""

from __future__ import annotations

import math

import numpy as np

from geofence.compiled import F64, I32, I64, LIST_HEADER, MEASURE_CIRCLE, SEGMENTS, WHOLLY_INSIDE, CompiledFences
from geofence.geodesy import cartesian_m, distance_m
from geofence.grid import BITS, finest_column, finest_row
from geofence.kernel import inlined_kernel, kernel, scalar_kernel
from geofence.rays import winding_by_list
from geofence.segment import flat_bound_m, nearest_turn_deg, segment_distance_m


@scalar_kernel
def _in_circle(circle: F64, slot: int, longitude_deg: float, latitude_deg: float) -> bool:
    """By the chord, where that decides; else by the geodesic."""
    x, y, z = cartesian_m(latitude_deg, longitude_deg)
    dx = x - circle[slot, 3]
    dy = y - circle[slot, 4]
    dz = z - circle[slot, 5]
    chord2 = dx * dx + dy * dy + dz * dz
    if chord2 <= circle[slot, 6]:
        return True
    if chord2 >= circle[slot, 7]:
        return False
    length_m = distance_m(circle[slot, 0], circle[slot, 1], latitude_deg, longitude_deg)
    return bool(length_m <= circle[slot, 2])


@scalar_kernel
def _near_line(
    border_list: I32, vertex: F64, half_width_m: float, start: int, longitude_deg: float, latitude_deg: float
) -> bool:
    """Whether any segment of a cell's list is within the corridor's half width."""
    cosine = math.cos(latitude_deg * math.pi / 180.0)
    first = start + LIST_HEADER
    for place in range(first, first + (border_list[start] >> 3)):
        edge = border_list[place]
        ax = vertex[edge, 0]
        ay = vertex[edge, 1]
        bx = vertex[edge + 1, 0]
        by = vertex[edge + 1, 1]
        turned_deg = nearest_turn_deg(longitude_deg, 0.5 * (ax + bx))
        if flat_bound_m(ax, ay, bx, by, turned_deg, latitude_deg, cosine) > half_width_m:
            continue
        if segment_distance_m(ax, ay, bx, by, turned_deg, latitude_deg) <= half_width_m:
            return True
    return False


@inlined_kernel
def _insert(out_slots: I32, found: int, slot: int) -> int:
    """Puts a slot in its place among the `found` ascending ones; beyond the room it is only counted."""
    if found < len(out_slots):
        here = found
        while here > 0 and out_slots[here - 1] > slot:
            out_slots[here] = out_slots[here - 1]
            here -= 1
        out_slots[here] = slot
    return found + 1


@scalar_kernel
def _find_measured(
    fences: CompiledFences, node: int, shift: int, longitude_deg: float, latitude_deg: float, out_slots: I32, found: int
) -> int:
    """Goes down a path for circles and corridors only; returns `found` and how many hold the point."""
    column = finest_column(longitude_deg)
    row = finest_row(latitude_deg)
    while node >= 0:
        shift -= 2
        place = node * 16 + ((row >> shift) & 3) * 4 + ((column >> shift) & 3)
        at = fences.cell[place, 1]
        while at >= 0:
            slot = fences.entry[at, 0]
            ref = fences.entry[at, 1]
            if ref == MEASURE_CIRCLE:
                if _in_circle(fences.circle, slot, longitude_deg, latitude_deg):
                    found = _insert(out_slots, found, slot)
            elif ref >= 0 and fences.border_list[ref] & 7 == SEGMENTS:
                width_m = fences.half_width_m[slot]
                if _near_line(fences.border_list, fences.vertex, width_m, ref, longitude_deg, latitude_deg):
                    found = _insert(out_slots, found, slot)
            at = fences.entry[at, 2]
        node = fences.cell[place, 0]
    return found


@inlined_kernel
def find_containing(
    fences: CompiledFences, tenant: int, longitude_deg: float, latitude_deg: float, out_slots: I32
) -> int:
    """Writes the slots of the tenant's fences that hold a point, ascending.

    Returns how many, or minus the room needed if `out_slots` (int32) is too short; then its content means nothing.
    """
    if tenant < 0 or tenant >= len(fences.tenant_root):
        return 0
    if not (abs(longitude_deg) <= 180.0 and abs(latitude_deg) <= 90.0):
        return 0
    root = fences.tenant_root[tenant, 0]
    if root < 0:
        return 0
    root_shift = BITS - 2 * fences.tenant_root[tenant, 1]
    column = finest_column(longitude_deg)
    row = finest_row(latitude_deg)
    if column >> root_shift != fences.tenant_root[tenant, 2] or row >> root_shift != fences.tenant_root[tenant, 3]:
        return 0
    found = 0
    # Circles and corridors wait for a second walk: with them in this loop the compiler moves their sines and cosines in
    # front of it, and every look-up pays 30 ns for them.
    measured = False
    node = root
    shift = root_shift
    while node >= 0:
        shift -= 2
        place = node * 16 + ((row >> shift) & 3) * 4 + ((column >> shift) & 3)
        at = fences.cell[place, 1]
        while at >= 0:
            ref = fences.entry[at, 1]
            if ref == WHOLLY_INSIDE:
                found = _insert(out_slots, found, fences.entry[at, 0])
            elif ref == MEASURE_CIRCLE or fences.border_list[ref] & 7 == SEGMENTS:
                measured = True
            elif winding_by_list(fences.border_list, ref, fences.vertex, longitude_deg, latitude_deg) > 0:
                found = _insert(out_slots, found, fences.entry[at, 0])
            at = fences.entry[at, 2]
        node = fences.cell[place, 0]
    if measured:
        found = _find_measured(fences, root, root_shift, longitude_deg, latitude_deg, out_slots, found)
    return found if found <= len(out_slots) else -found


@scalar_kernel
def contains_one(fences: CompiledFences, slot: int, longitude_deg: float, latitude_deg: float) -> bool:
    """Whether the fence in a slot holds a point; false for an empty slot."""
    tenant = fences.tenant[slot]
    if tenant < 0 or not (abs(longitude_deg) <= 180.0 and abs(latitude_deg) <= 90.0):
        return False
    node = fences.tenant_root[tenant, 0]
    shift = BITS - 2 * fences.tenant_root[tenant, 1]
    column = finest_column(longitude_deg)
    row = finest_row(latitude_deg)
    if node < 0 or column >> shift != fences.tenant_root[tenant, 2] or row >> shift != fences.tenant_root[tenant, 3]:
        return False
    at = -1
    while node >= 0 and at < 0:
        shift -= 2
        place = node * 16 + ((row >> shift) & 3) * 4 + ((column >> shift) & 3)
        at = fences.cell[place, 1]
        while at >= 0 and fences.entry[at, 0] != slot:
            at = fences.entry[at, 2]
        node = fences.cell[place, 0]
    if at < 0:
        return False
    ref = fences.entry[at, 1]
    if ref == WHOLLY_INSIDE:
        return True
    if ref == MEASURE_CIRCLE:
        return _in_circle(fences.circle, slot, longitude_deg, latitude_deg)
    if fences.border_list[ref] & 7 == SEGMENTS:
        width_m = fences.half_width_m[slot]
        return _near_line(fences.border_list, fences.vertex, width_m, ref, longitude_deg, latitude_deg)
    return winding_by_list(fences.border_list, ref, fences.vertex, longitude_deg, latitude_deg) > 0


@kernel
def find_containing_batch(
    fences: CompiledFences, tenant: I32, longitude_deg: F64, latitude_deg: F64
) -> tuple[I64, I32]:
    """`find_containing` for n points, each with its own tenant: point i is in slots[offsets[i]:offsets[i + 1]]."""
    count = len(longitude_deg)
    offsets = np.zeros(count + 1, np.int64)
    slots = np.empty(max(16, 2 * count), np.int32)
    # A slice of `slots` in place of this costs 30 ns a point: making an array, even a view, counts references.
    here = np.empty(64, np.int32)
    used = 0
    for row in range(count):
        found = find_containing(fences, tenant[row], longitude_deg[row], latitude_deg[row], here)
        if found < 0:
            here = np.empty(-2 * found, np.int32)
            found = find_containing(fences, tenant[row], longitude_deg[row], latitude_deg[row], here)
        if used + found > len(slots):
            grown = np.empty(2 * (used + found), np.int32)
            grown[:used] = slots[:used]
            slots = grown
        for place in range(found):
            slots[used + place] = here[place]
        used += found
        offsets[row + 1] = used
    return offsets, slots[:used].copy()
