"""Which fences hold a point."""

from __future__ import annotations

import numpy as np

from geofence.compiled import CIRCLE, CORRIDOR, F64, I32, I64, POLYGON, CompiledFences
from geofence.geodesy import distance_m
from geofence.kernel import kernel
from geofence.predicates import orientation
from geofence.segment import line_distance_m


@kernel
def contains_one(fences: CompiledFences, slot: int, longitude_deg: float, latitude_deg: float) -> bool:
    """Whether one fence holds a point."""
    kind = fences.kind[slot]
    if kind == CIRCLE:
        circle = fences.circle[slot]
        return bool(distance_m(circle[0], circle[1], latitude_deg, longitude_deg) <= circle[2])
    if kind == CORRIDOR:
        return bool(line_distance_m(fences, slot, longitude_deg, latitude_deg) <= fences.half_width_m[slot])
    if kind != POLYGON:
        return False
    winding = 0
    vertex = fences.vertex
    for chunk in range(fences.chunks[slot, 0], fences.chunks[slot, 0] + fences.chunks[slot, 1]):
        first = fences.chunk_edges[chunk, 0]
        for edge in range(first, first + fences.chunk_edges[chunk, 1]):
            x1, y1 = vertex[edge]
            x2, y2 = vertex[edge + 1]
            if y1 == latitude_deg and (
                x1 == longitude_deg or (y2 == latitude_deg and min(x1, x2) <= longitude_deg <= max(x1, x2))
            ):
                return True
            if (y1 > latitude_deg) != (y2 > latitude_deg):
                side = orientation(x1, y1, x2, y2, longitude_deg, latitude_deg)
                if side == 0.0:
                    return True
                if (side > 0.0) == (y2 > y1):
                    winding += 1 if y2 > y1 else -1
    return winding != 0


@kernel
def find_containing(
    fences: CompiledFences, tenant: int, longitude_deg: float, latitude_deg: float, out_slots: I32
) -> int:
    """Writes the slots of the tenant's fences that hold a point, ascending.

    Returns how many, or minus the room needed if `out_slots` (int32) is too short; then its content means nothing.
    """
    found = 0
    for slot in range(len(fences.tenant)):
        if fences.tenant[slot] == tenant and contains_one(fences, slot, longitude_deg, latitude_deg):
            if found < len(out_slots):
                out_slots[found] = slot
            found += 1
    return found if found <= len(out_slots) else -found


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
