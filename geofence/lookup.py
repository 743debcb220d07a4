"""The look-up of one point: down one path of the tenant's tree, past the entries of every fence that may.

A fence stands at most once on a path. An entry says that the cell is wholly inside, or how to decide: a list of
edges with the winding number where a ray ends (geofence/border_list.py), a list of segments, or a circle to be
measured. The boundary belongs to the fence. A point that is NaN or not on the globe is in no fence.
"""

from __future__ import annotations

from geofence.compiled import (
    CHILD,
    I32,
    MEASURE_CIRCLE,
    NEXT,
    REF,
    SEGMENTS,
    SLOT,
    WHOLLY_INSIDE,
    CompiledFences,
)
from geofence.grid import BITS, finest_column, finest_row
from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.measure import in_circle, near_line
from geofence.rays import winding_by_list


@inlined_kernel
def place_in_node(node: int, column: int, row: int, shift: int) -> int:
    """The row of `cell` for the cell of a node in which a point's finest column and row lie."""
    return node * 16 + ((row >> shift) & 3) * 4 + ((column >> shift) & 3)


@inlined_kernel
def insert_ascending(slots: I32, first: int, last: int, slot: int) -> None:
    """Puts a slot in its place among slots[first:last], which ascend and become one more."""
    here = last
    while here > first and slots[here - 1] > slot:
        slots[here] = slots[here - 1]
        here -= 1
    slots[here] = slot


@scalar_kernel
def holds_by_measure(fences: CompiledFences, slot: int, ref: int, longitude_deg: float, latitude_deg: float) -> bool:
    """Whether a circle or a corridor holds a point of the cell in which it has the entry `ref`; false for others."""
    if ref == MEASURE_CIRCLE:
        return in_circle(fences.circle, slot, longitude_deg, latitude_deg)
    if ref >= 0 and fences.border_list[ref] & 7 == SEGMENTS:
        width_m = fences.half_width_m[slot]
        return near_line(fences.border_list, fences.vertex, width_m, ref, longitude_deg, latitude_deg)
    return False


@scalar_kernel
def _find_measured(
    fences: CompiledFences, node: int, shift: int, longitude_deg: float, latitude_deg: float, out_slots: I32, found: int
) -> int:
    """Goes down a path for circles and corridors only; returns `found` and how many more hold the point."""
    column = finest_column(longitude_deg)
    row = finest_row(latitude_deg)
    while node >= 0:
        shift -= 2
        place = place_in_node(node, column, row, shift)
        slot = fences.cell[place, SLOT]
        ref = fences.cell[place, REF]
        at = fences.cell[place, NEXT]
        while slot >= 0:
            if holds_by_measure(fences, slot, ref, longitude_deg, latitude_deg):
                if found < len(out_slots):
                    insert_ascending(out_slots, 0, found, slot)
                found += 1
            if at < 0:
                break
            slot = fences.entry[at, SLOT]
            ref = fences.entry[at, REF]
            at = fences.entry[at, NEXT]
        node = fences.cell[place, CHILD]
    return found


@inlined_kernel
def find_containing(
    fences: CompiledFences, tenant: int, longitude_deg: float, latitude_deg: float, out_slots: I32
) -> int:
    """Writes the slots of the tenant's fences that hold a point, ascending.

    Returns how many, or minus the room needed if `out_slots` (int32) is too short; then its content means nothing.
    For many points `find_containing_batch` (geofence/lookup_batch.py) is two to three times as fast.
    """
    found, _ = find_around(fences, tenant, longitude_deg, latitude_deg, out_slots)
    return found


@inlined_kernel
def find_around(
    fences: CompiledFences, tenant: int, longitude_deg: float, latitude_deg: float, out_slots: I32
) -> tuple[int, int]:
    """As `find_containing`; the second says how far the finest column and row of the point are shifted for the smallest
    cell that the index has around it, if no fence of the tenant may hold anything there, else -1.
    """
    if tenant < 0 or tenant >= len(fences.tenant_root):
        return 0, -1
    if not (abs(longitude_deg) <= 180.0 and abs(latitude_deg) <= 90.0):
        return 0, -1
    root = fences.tenant_root[tenant, 0]
    if root < 0:
        return 0, -1
    root_shift = BITS - 2 * fences.tenant_root[tenant, 1]
    column = finest_column(longitude_deg)
    row = finest_row(latitude_deg)
    if column >> root_shift != fences.tenant_root[tenant, 2] or row >> root_shift != fences.tenant_root[tenant, 3]:
        return 0, -1
    found = 0
    clear = True
    # Circles and corridors wait for a second walk: with them in this loop the compiler moves their sines and cosines in
    # front of it, and every look-up pays 30 ns for them.
    measured = False
    node = root
    shift = root_shift
    while node >= 0:
        shift -= 2
        place = place_in_node(node, column, row, shift)
        slot = fences.cell[place, SLOT]
        ref = fences.cell[place, REF]
        at = fences.cell[place, NEXT]
        clear = clear and slot < 0
        while slot >= 0:
            inside = ref == WHOLLY_INSIDE
            if ref == MEASURE_CIRCLE or (ref >= 0 and fences.border_list[ref] & 7 == SEGMENTS):
                measured = True
            elif not inside:
                inside = winding_by_list(fences.border_list, ref, fences.vertex, longitude_deg, latitude_deg) > 0
            if inside:
                if found < len(out_slots):
                    insert_ascending(out_slots, 0, found, slot)
                found += 1
            if at < 0:
                break
            slot = fences.entry[at, SLOT]
            ref = fences.entry[at, REF]
            at = fences.entry[at, NEXT]
        node = fences.cell[place, CHILD]
    if measured:
        found = _find_measured(fences, root, root_shift, longitude_deg, latitude_deg, out_slots, found)
    return found if found <= len(out_slots) else -found, shift if clear else -1


@inlined_kernel
def touch_cells(fences: CompiledFences, tenant: int, longitude_deg: float, latitude_deg: float) -> int:
    """Reads what `find_containing` will read of the index first, and returns a number that means nothing."""
    nothing = 0
    if 0 <= tenant < len(fences.tenant_root) and abs(longitude_deg) <= 180.0 and abs(latitude_deg) <= 90.0:
        node = fences.tenant_root[tenant, 0]
        shift = BITS - 2 * fences.tenant_root[tenant, 1]
        column = finest_column(longitude_deg)
        row = finest_row(latitude_deg)
        if column >> shift != fences.tenant_root[tenant, 2] or row >> shift != fences.tenant_root[tenant, 3]:
            node = -1
        while node >= 0:
            shift -= 2
            place = place_in_node(node, column, row, shift)
            nothing += fences.cell[place, SLOT]
            node = fences.cell[place, CHILD]
    return nothing


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
    has_cell = False
    ref = 0
    while node >= 0 and not has_cell:
        shift -= 2
        place = place_in_node(node, column, row, shift)
        has_cell = fences.cell[place, SLOT] == slot
        ref = fences.cell[place, REF]
        at = fences.cell[place, NEXT]
        while at >= 0 and not has_cell:
            has_cell = fences.entry[at, SLOT] == slot
            ref = fences.entry[at, REF]
            at = fences.entry[at, NEXT]
        node = fences.cell[place, CHILD]
    if not has_cell:
        return False
    if ref == WHOLLY_INSIDE:
        return True
    if ref == MEASURE_CIRCLE or fences.border_list[ref] & 7 == SEGMENTS:
        return holds_by_measure(fences, slot, ref, longitude_deg, latitude_deg)
    return winding_by_list(fences.border_list, ref, fences.vertex, longitude_deg, latitude_deg) > 0
