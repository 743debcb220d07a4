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
from geofence.kernel import kernel
from geofence.rays import winding_by_list
from geofence.segment import flat_bound_m, nearest_turn_deg, segment_distance_m


@kernel
def _in_circle(fences: CompiledFences, slot: int, longitude_deg: float, latitude_deg: float) -> bool:
    """By the chord, where that decides; else by the geodesic."""
    x, y, z = cartesian_m(latitude_deg, longitude_deg)
    dx = x - fences.circle[slot, 3]
    dy = y - fences.circle[slot, 4]
    dz = z - fences.circle[slot, 5]
    chord2 = dx * dx + dy * dy + dz * dz
    if chord2 <= fences.circle[slot, 6]:
        return True
    if chord2 >= fences.circle[slot, 7]:
        return False
    length_m = distance_m(fences.circle[slot, 0], fences.circle[slot, 1], latitude_deg, longitude_deg)
    return bool(length_m <= fences.circle[slot, 2])


@kernel
def _near_line(fences: CompiledFences, slot: int, start: int, longitude_deg: float, latitude_deg: float) -> bool:
    """Whether any segment of a cell's list is within the corridor's half width."""
    half_width_m = fences.half_width_m[slot]
    cosine = math.cos(latitude_deg * math.pi / 180.0)
    vertex = fences.vertex
    first = start + LIST_HEADER
    for place in range(first, first + (fences.border_list[start] >> 3)):
        edge = fences.border_list[place]
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


@kernel
def _holds(fences: CompiledFences, slot: int, ref: int, longitude_deg: float, latitude_deg: float) -> bool:
    """Whether a fence holds a point of the cell in which it has the entry `ref`."""
    if ref == WHOLLY_INSIDE:
        return True
    if ref == MEASURE_CIRCLE:
        return _in_circle(fences, slot, longitude_deg, latitude_deg)
    if fences.border_list[ref] & 7 == SEGMENTS:
        return _near_line(fences, slot, ref, longitude_deg, latitude_deg)
    return winding_by_list(fences.border_list, ref, fences.vertex, longitude_deg, latitude_deg) > 0


@kernel
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
    while node >= 0:
        shift -= 2
        place = node * 16 + ((row >> shift) & 3) * 4 + ((column >> shift) & 3)
        at = fences.cell[place, 1]
        while at >= 0:
            if fences.entry[at, 0] == slot:
                return _holds(fences, slot, fences.entry[at, 1], longitude_deg, latitude_deg)
            at = fences.entry[at, 2]
        node = fences.cell[place, 0]
    return False


@kernel
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
    node = fences.tenant_root[tenant, 0]
    if node < 0:
        return 0
    shift = BITS - 2 * fences.tenant_root[tenant, 1]
    column = finest_column(longitude_deg)
    row = finest_row(latitude_deg)
    if column >> shift != fences.tenant_root[tenant, 2] or row >> shift != fences.tenant_root[tenant, 3]:
        return 0
    found = 0
    room = len(out_slots)
    while node >= 0:
        shift -= 2
        place = node * 16 + ((row >> shift) & 3) * 4 + ((column >> shift) & 3)
        at = fences.cell[place, 1]
        while at >= 0:
            slot = fences.entry[at, 0]
            if _holds(fences, slot, fences.entry[at, 1], longitude_deg, latitude_deg):
                if found < room:
                    here = found
                    while here > 0 and out_slots[here - 1] > slot:
                        out_slots[here] = out_slots[here - 1]
                        here -= 1
                    out_slots[here] = slot
                found += 1
            at = fences.entry[at, 2]
        node = fences.cell[place, 0]
    return found if found <= room else -found


@kernel
def find_containing_batch(
    fences: CompiledFences, tenant: I32, longitude_deg: F64, latitude_deg: F64
) -> tuple[I64, I32]:
    """`find_containing` for n points, each with its own tenant: point i is in slots[offsets[i]:offsets[i + 1]]."""
    count = len(longitude_deg)
    offsets = np.zeros(count + 1, np.int64)
    slots = np.empty(max(16, 2 * count), np.int32)
    used = 0
    for row in range(count):
        found = find_containing(fences, tenant[row], longitude_deg[row], latitude_deg[row], slots[used:])
        if found < 0:
            grown = np.empty(2 * len(slots) - found, np.int32)
            grown[:used] = slots[:used]
            slots = grown
            found = find_containing(fences, tenant[row], longitude_deg[row], latitude_deg[row], slots[used:])
        used += found
        offsets[row + 1] = used
    return offsets, slots[:used].copy()
