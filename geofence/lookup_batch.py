"""`find_containing` for many points at once, arranged so that little time is spent waiting for memory.

One point after the other, a look-up is a chain of dependent reads, and with 10,000 fences most of its time is
waiting for them. So points go in stages: a block of them goes down the tree together, level by level, then entries
are read, then borders are tested; in each stage the reads are of different points and independent, so that the
processor has ten of them under way (10,000 fences, 30,000 points: 520 ns a point in place of 700). In large batches
the points are first put into tiles of the plane, and neighbours find in the caches what they need (then 225 ns in
place of 290).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.compiled import (
    CHILD,
    F64,
    I32,
    I64,
    LIST_HEADER,
    MEASURE_CIRCLE,
    NEXT,
    REF,
    SEGMENTS,
    SLOT,
    WHOLLY_INSIDE,
    CompiledFences,
)
from geofence.grid import BITS, finest_column, finest_row
from geofence.kernel import kernel, scalar_kernel
from geofence.lookup import find_containing, holds_by_measure, insert_ascending, place_in_node
from geofence.rays import winding_by_list
from geofence.tiles import fill_tiles, no_points

# Points of a block, and entries and tests that a block may lead to; beyond, its points are looked up one by one.
BLOCK: Final = 256
MOST_WORK: Final = 4096
# From so many points on there are several for each tile of the plane: tile by tile is faster than in stages.
TILED_FROM: Final = 32768
# So many at once: memory that is used again costs less than memory that is new (a page a microsecond), and the finds
# of so many are sorted by point in the caches.
MOST_TILED: Final = 1 << 18

# Rows of the workspace: the points on their way down, entries to read, borders to test, and what was found.
_NODE: Final = 0
_SHIFT: Final = 1
_COLUMN: Final = 2
_ROW: Final = 3
_POINT: Final = 4
_ENTRY_OF: Final = 5
_ENTRY: Final = 6
_TEST_OF: Final = 7
_TEST_SLOT: Final = 8
_TEST_REF: Final = 9
_FOUND_OF: Final = 10
_FOUND: Final = 11
_TEST_EDGE: Final = 12
_WORK_ROWS: Final = 13


@scalar_kernel
def _start(
    fences: CompiledFences, tenant: I32, longitude_deg: F64, latitude_deg: F64, first: int, last: int, work: I32
) -> int:
    """Puts the points first to last - 1 that lie under their tenant's root on their way; returns how many."""
    active = 0
    roots = fences.tenant_root
    for point in range(first, last):
        number = tenant[point]
        x = longitude_deg[point]
        y = latitude_deg[point]
        if number < 0 or number >= len(roots) or not (abs(x) <= 180.0 and abs(y) <= 90.0):
            continue
        shift = BITS - 2 * roots[number, 1]
        column = finest_column(x)
        row = finest_row(y)
        if roots[number, 0] < 0 or column >> shift != roots[number, 2] or row >> shift != roots[number, 3]:
            continue
        work[_NODE, active] = roots[number, 0]
        work[_SHIFT, active] = shift
        work[_COLUMN, active] = column
        work[_ROW, active] = row
        work[_POINT, active] = point
        active += 1
    return active


@scalar_kernel
def _descend(cell: I32, entry: I32, active: int, work: I32) -> tuple[int, int]:
    """Takes all points down to their leaves; returns how many tests and finds that gave, or (-1, 0) if too many."""
    entries = 0
    tests = 0
    found = 0
    while active > 0:
        if max(entries, tests, found) + active > MOST_WORK:
            return -1, 0
        staying = 0
        for index in range(active):
            shift = work[_SHIFT, index] - 2
            column = work[_COLUMN, index]
            row = work[_ROW, index]
            point = work[_POINT, index]
            place = place_in_node(work[_NODE, index], column, row, shift)
            slot = cell[place, SLOT]
            ref = cell[place, REF]
            # Written always, counted if meant: cheaper than a branch that cannot be foretold.
            work[_FOUND_OF, found] = point
            work[_FOUND, found] = slot
            found += slot >= 0 and ref == WHOLLY_INSIDE
            work[_TEST_OF, tests] = point
            work[_TEST_SLOT, tests] = slot
            work[_TEST_REF, tests] = ref
            tests += slot >= 0 and ref != WHOLLY_INSIDE
            work[_ENTRY_OF, entries] = point
            work[_ENTRY, entries] = cell[place, NEXT]
            entries += cell[place, NEXT] >= 0
            work[_NODE, staying] = cell[place, CHILD]
            work[_SHIFT, staying] = shift
            work[_COLUMN, staying] = column
            work[_ROW, staying] = row
            work[_POINT, staying] = point
            staying += cell[place, CHILD] >= 0
        active = staying
    done = 0
    while done < entries:
        if max(entries, tests, found) >= MOST_WORK:
            return -1, 0
        point = work[_ENTRY_OF, done]
        at = work[_ENTRY, done]
        done += 1
        ref = entry[at, REF]
        if ref == WHOLLY_INSIDE:
            work[_FOUND_OF, found] = point
            work[_FOUND, found] = entry[at, SLOT]
            found += 1
        else:
            work[_TEST_OF, tests] = point
            work[_TEST_SLOT, tests] = entry[at, SLOT]
            work[_TEST_REF, tests] = ref
            tests += 1
        if entry[at, NEXT] >= 0:
            work[_ENTRY_OF, entries] = point
            work[_ENTRY, entries] = entry[at, NEXT]
            entries += 1
    return tests, found


@scalar_kernel
def _test(fences: CompiledFences, longitude_deg: F64, latitude_deg: F64, tests: int, found: int, work: I32) -> int:
    """Decides the tests of a block; returns how many finds there are now, or -1 if too many."""
    if found + tests > MOST_WORK:
        return -1
    # Two passes without a branch fetch the list and an edge of every test: the passes after them, whose branches nobody
    # can foretell, would have only a few such reads under way.
    for index in range(tests):
        ref = work[_TEST_REF, index]
        work[_TEST_EDGE, index] = fences.border_list[ref + LIST_HEADER if ref >= 0 else 0]
    for index in range(tests):
        work[_TEST_EDGE, index] = int(fences.vertex[work[_TEST_EDGE, index], 0])
    for index in range(tests):
        ref = work[_TEST_REF, index]
        point = work[_TEST_OF, index]
        slot = work[_TEST_SLOT, index]
        x = longitude_deg[point]
        y = latitude_deg[point]
        if ref == MEASURE_CIRCLE or fences.border_list[ref] & 7 == SEGMENTS:
            inside = holds_by_measure(fences, slot, ref, x, y)
        else:
            inside = winding_by_list(fences.border_list, ref, fences.vertex, x, y) > 0
        if inside:
            work[_FOUND_OF, found] = point
            work[_FOUND, found] = slot
            found += 1
    return found


@scalar_kernel
def _gather(first: int, last: int, finds: I32, found: int, standing: I32, offsets: I64, slots: I32) -> None:
    """Writes finds (point, slot) of the points first to last - 1 behind slots[:offsets[first]], ascending.

    Fills the offsets of these points. `standing` is workspace, one for each of the points.
    """
    for point in range(first, last):
        standing[point - first] = 0
    for index in range(found):
        standing[finds[0, index] - first] += 1
    for point in range(first, last):
        offsets[point + 1] = offsets[point] + standing[point - first]
        standing[point - first] = 0
    for index in range(found):
        point = finds[0, index]
        start = offsets[point]
        insert_ascending(slots, start, start + standing[point - first], finds[1, index])
        standing[point - first] += 1


@kernel
def _room(finds: I32, used: int, more: int) -> I32:
    """The finds (2, m), or a copy with room for `more` after `used`."""
    if used + more <= finds.shape[1]:
        return finds
    grown = np.empty((2, 2 * (used + more)), np.int32)
    grown[:, :used] = finds[:, :used]
    return grown


@kernel
def _one_by_one(
    fences: CompiledFences,
    tenant: I32,
    longitude_deg: F64,
    latitude_deg: F64,
    first: int,
    last: int,
    finds: I32,
    used: int,
) -> tuple[I32, int]:
    """Looks up the points first to last - 1 in turn; returns the finds, perhaps in a longer array, and how many."""
    out = np.empty(64, np.int32)
    for point in range(first, last):
        here = -1
        while here < 0:
            here = find_containing(fences, tenant[point], longitude_deg[point], latitude_deg[point], out)
            if here < 0:
                out = np.empty(-2 * here, np.int32)
        if used + here > finds.shape[1]:
            finds = _room(finds, used, here)
        for place in range(here):
            finds[0, used] = point
            finds[1, used] = out[place]
            used += 1
    return finds, used


@kernel
def _in_stages(
    fences: CompiledFences,
    tenant: I32,
    longitude_deg: F64,
    latitude_deg: F64,
    first: int,
    last: int,
    work: I32,
    finds: I32,
) -> tuple[I32, int]:
    """Looks up the points first to last - 1 block by block; returns the finds, perhaps moved, and how many."""
    used = 0
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        active = _start(fences, tenant, longitude_deg, latitude_deg, start, end, work)
        tests, here = _descend(fences.cell, fences.entry, active, work)
        if tests >= 0:
            here = _test(fences, longitude_deg, latitude_deg, tests, here, work)
        if tests < 0 or here < 0:
            finds, used = _one_by_one(fences, tenant, longitude_deg, latitude_deg, start, end, finds, used)
            continue
        finds = _room(finds, used, here)
        for place in range(here):
            finds[0, used] = work[_FOUND_OF, place]
            finds[1, used] = work[_FOUND, place]
            used += 1
    return finds, used


@kernel
def find_containing_batch(
    fences: CompiledFences, tenant: I32, longitude_deg: F64, latitude_deg: F64
) -> tuple[I64, I32]:
    """`find_containing` for n points, each with its own tenant: point i is in slots[offsets[i]:offsets[i + 1]].

    `tenant` int32, degrees float64, all (n,); offsets int64 (n + 1,), slots int32, ascending for each point.
    """
    count = len(longitude_deg)
    part = min(count, MOST_TILED)
    tiled = no_points(part if count >= TILED_FROM else 0)
    work = np.empty((_WORK_ROWS, MOST_WORK + 1), np.int32)
    finds = np.empty((2, part + 64), np.int32)
    standing = np.empty(part, np.int32)
    offsets = np.empty(count + 1, np.int64)
    offsets[0] = 0
    slots = np.empty(count + 64, np.int32)
    for first in range(0, count, MOST_TILED):
        last = min(first + MOST_TILED, count)
        if last - first < TILED_FROM:
            finds, used = _in_stages(fences, tenant, longitude_deg, latitude_deg, first, last, work, finds)
        else:
            fill_tiles(tenant, longitude_deg, latitude_deg, first, last, tiled)
            finds, used = _in_stages(
                fences, tiled.tenant, tiled.longitude_deg, tiled.latitude_deg, 0, last - first, work, finds
            )
            for place in range(used):
                finds[0, place] = tiled.point[finds[0, place]]
        if offsets[first] + used > len(slots):
            slots = np.concatenate((slots, np.empty(len(slots) + used, np.int32)))
        _gather(first, last, finds, used, standing, offsets, slots)
    return offsets, slots[: offsets[count]].copy()
