"""A polygon as cells of the grid: those wholly inside, and those its border passes, each with its list of edges.

The polygon is looked at on the level on which it is a few cells wide; a border cell left with more than `FEW_EDGES`
edges is cut into 4 by 4, breadth first, so that a fence that would need too many cells ends with longer lists
everywhere rather than somewhere.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.border_list import ANY, reduce_list, shortest_list, touched_cells
from geofence.compiled import F64, I32, I64, LIST_HEADER, RAY_EAST, WHOLLY_INSIDE
from geofence.grid import (
    DEEPEST,
    PAD_DEG,
    cell_key,
    column_west_deg,
    finest_column,
    finest_row,
    key_parts,
    level_for,
    row_south_deg,
)
from geofence.kernel import kernel
from geofence.rays import winding_by_list

# A cell with more is cut further.
FEW_EDGES: Final = 4
# A fence is looked at first on the level on which it is so many cells wide or high, or down to a quarter of that.
FIRST_CELLS: Final = 8.0
# Cells for one fence: so many, and so many for each of its edges.
MOST_CELLS: Final = 4096
MOST_CELLS_AN_EDGE: Final = 8


@kernel
def room_for(array: I32, used: int, more: int) -> I32:
    """The array, or a longer copy with room for `more` after `used`."""
    if used + more <= len(array):
        return array
    grown = np.empty(2 * (used + more), array.dtype)
    grown[:used] = array[:used]
    return grown


@kernel
def room_of_keys(array: I64, used: int) -> I64:
    """The array, or a copy twice as long if it is full."""
    if used < len(array):
        return array
    grown = np.empty(2 * used, array.dtype)
    grown[:used] = array[:used]
    return grown


@kernel
def first_cells(frames: F64, cells: float) -> I64:
    """The keys of the cells, a level above the one that `level_for` names, that the boxes in `frames` touch; each once.

    `frames` (m, 4): west, south, east, north; what lies outside the world is left away.
    """
    widest = 0.0
    highest = 0.0
    for frame in range(len(frames)):
        widest = max(widest, frames[frame, 2] - frames[frame, 0])
        highest = max(highest, frames[frame, 3] - frames[frame, 1])
    level = level_for(widest, highest, cells) - 1
    shift = 2 * (DEEPEST - level)
    keys = np.empty(16, np.int64)
    count = 0
    for frame in range(len(frames)):
        if frames[frame, 0] > 180.0 or frames[frame, 2] < -180.0:
            continue
        west = finest_column(max(frames[frame, 0] - PAD_DEG, -180.0)) >> shift
        east = finest_column(min(frames[frame, 2] + PAD_DEG, 180.0)) >> shift
        south = finest_row(max(frames[frame, 1] - PAD_DEG, -90.0)) >> shift
        north = finest_row(min(frames[frame, 3] + PAD_DEG, 90.0)) >> shift
        for row in range(south, north + 1):
            for column in range(west, east + 1):
                key = cell_key(level, column, row)
                known = False
                for place in range(count):
                    known = known or keys[place] == key
                if not known:
                    keys = room_of_keys(keys, count)
                    keys[count] = key
                    count += 1
    return keys[:count]


@kernel
def compile_polygon(vertex: F64, edges: I32, frames: F64) -> tuple[I64, I32, I32]:
    """The cells of a polygon: keys, places of their lists or WHOLLY_INSIDE, and the lists.

    `vertex` (n, 2) holds closed rings, outer ones counter-clockwise, holes clockwise; `edges` are the rows at which an
    edge starts; `frames` the boxes of the polygons and of their copies a turn away. A point of a border cell is inside
    where the winding number of its list is positive or ON_EDGE.
    """
    total = len(edges)
    keys = np.empty(64, np.int64)
    refs = np.empty(64, np.int32)
    emitted = 0
    lists = np.empty(256, np.int32)
    lists_used = 0
    arena = np.empty(2 * (total + LIST_HEADER) + 256, np.int32)
    arena_used = 0
    touching = np.full(total, ANY, np.int32)
    scratch = np.empty((2, total + LIST_HEADER), np.int32)
    winding = np.zeros(16, np.int64)
    side_x = np.empty(5)
    side_y = np.empty(5)
    most = MOST_CELLS + MOST_CELLS_AN_EDGE * total

    queue = first_cells(frames, FIRST_CELLS)
    queued = len(queue)
    starts = np.empty(queued, np.int64)
    for place in range(queued):
        level, column, row = key_parts(queue[place])
        box = (
            column_west_deg(level, column) - PAD_DEG,
            row_south_deg(level, row) - PAD_DEG,
            column_west_deg(level, column + 1) + PAD_DEG,
            row_south_deg(level, row + 1) + PAD_DEG,
        )
        arena = room_for(arena, arena_used, total + LIST_HEADER)
        starts[place] = arena_used
        arena_used += LIST_HEADER + reduce_list(
            vertex, edges, 0, total, touching, ANY, RAY_EAST, 0, box, arena, arena_used
        )

    done = 0
    while done < queued:
        level, column0, row0 = key_parts(queue[done])
        parent = starts[done]
        done += 1
        level += 1
        column0 *= 4
        row0 *= 4
        for step in range(5):
            side_x[step] = column_west_deg(level, column0 + step)
            side_y[step] = row_south_deg(level, row0 + step)
        touched = 0
        for place in range(arena[parent] >> 3):
            edge = arena[parent + LIST_HEADER + place]
            touching[place] = touched_cells(
                vertex[edge, 0], vertex[edge, 1], vertex[edge + 1, 0], vertex[edge + 1, 1], side_x, side_y
            )
            touched |= touching[place]
        for cell in range(16):
            if not (touched >> cell) & 1:
                middle_x = 0.5 * (side_x[cell & 3] + side_x[(cell & 3) + 1])
                middle_y = 0.5 * (side_y[cell >> 2] + side_y[(cell >> 2) + 1])
                winding[cell] = winding_by_list(arena, parent, vertex, middle_x, middle_y)

        for cell in range(16):
            cell_x = cell & 3
            cell_y = cell >> 2
            key = cell_key(level, column0 + cell_x, row0 + cell_y)
            if not (touched >> cell) & 1:
                if winding[cell] > 0:
                    keys = room_of_keys(keys, emitted)
                    refs = room_for(refs, emitted, 1)
                    keys[emitted] = key
                    refs[emitted] = WHOLLY_INSIDE
                    emitted += 1
                continue
            box = (
                side_x[cell_x] - PAD_DEG,
                side_y[cell_y] - PAD_DEG,
                side_x[cell_x + 1] + PAD_DEG,
                side_y[cell_y + 1] + PAD_DEG,
            )
            size = LIST_HEADER + shortest_list(vertex, arena, parent, touching, touched, winding, cell, box, scratch)
            if size > LIST_HEADER + FEW_EDGES and level < DEEPEST and emitted + 16 * (queued - done) < most:
                arena = room_for(arena, arena_used, size)
                arena[arena_used : arena_used + size] = scratch[0, :size]
                if queued == len(starts):
                    starts = np.concatenate((starts, np.empty(queued + 16, np.int64)))
                    queue = np.concatenate((queue, np.empty(len(starts) - len(queue), np.int64)))
                queue[queued] = key
                starts[queued] = arena_used
                queued += 1
                arena_used += size
                continue
            keys = room_of_keys(keys, emitted)
            refs = room_for(refs, emitted, 1)
            lists = room_for(lists, lists_used, size)
            lists[lists_used : lists_used + size] = scratch[0, :size]
            keys[emitted] = key
            refs[emitted] = lists_used
            emitted += 1
            lists_used += size
    return keys[:emitted].copy(), refs[:emitted].copy(), lists[:lists_used].copy()
