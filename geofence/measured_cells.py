"""Circles and corridors as cells of the grid: wholly inside, or to be measured.

A cell whose middle is farther from the border than any of its points is from its middle is decided at once. Where a
corridor passes, a cell keeps the segments that come near it.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from geofence.compiled import F64, I32, I64, LIST_HEADER, MEASURE_CIRCLE, SEGMENTS, WHOLLY_INSIDE
from geofence.geodesy import GREATEST_RADIUS_M, LEAST_RADIUS_M, distance_m
from geofence.grid import DEEPEST, cell_key, column_west_deg, key_parts, row_south_deg
from geofence.kernel import kernel, scalar_kernel
from geofence.polygon_cells import first_cells, room_for, room_of_keys
from geofence.segment import box_distance_bound_m, nearest_turn_deg, segment_distance_m

_DEG: Final = math.pi / 180.0
# A circle is looked at where it is at most so many cells wide; a corridor where its line is.
CIRCLE_CELLS: Final = 8.0
CORRIDOR_CELLS: Final = 8.0
FEW_SEGMENTS: Final = 2
MOST_CIRCLE_CELLS: Final = 256
MOST_CORRIDOR_CELLS: Final = 1024
MOST_CELLS_A_SEGMENT: Final = 8
# More than any rounding or series here is off by.
_SLACK_M: Final = 0.01


@scalar_kernel
def _cell_reach_m(west: float, south: float, east: float, north: float) -> float:
    """No point of a cell is farther from its middle than this: the length of a line straight in degrees to a corner."""
    least_latitude = 0.0 if south < 0.0 < north else min(abs(south), abs(north))
    across = 0.5 * (east - west) * _DEG * GREATEST_RADIUS_M * math.cos(least_latitude * _DEG)
    along = 0.5 * (north - south) * _DEG * GREATEST_RADIUS_M
    return math.sqrt(across * across + along * along) + _SLACK_M


@kernel
def box_around(west: float, south: float, east: float, north: float, reach_m: float) -> F64:
    """Boxes (m, 4) in the world that hold everything within `reach_m` of a box; two where it lies across 180."""
    grown_deg = 1.01 * reach_m / (LEAST_RADIUS_M * _DEG)
    south -= grown_deg
    north += grown_deg
    frames = np.empty((3, 4))
    frames[:, 1] = max(south, -90.0)
    frames[:, 3] = min(north, 90.0)
    highest = max(abs(south), abs(north))
    across_deg = 360.0
    if highest < 89.0:
        across_deg = grown_deg / math.cos(highest * _DEG)
    west -= across_deg
    east += across_deg
    if east - west >= 360.0:
        frames[0, 0] = -180.0
        frames[0, 2] = 180.0
        return frames[:1]
    count = 0
    for turn in range(-1, 2):
        low = max(west + 360.0 * turn, -180.0)
        high = min(east + 360.0 * turn, 180.0)
        if low <= high:
            frames[count, 0] = low
            frames[count, 2] = high
            count += 1
    return frames[:count]


@kernel
def compile_circle(latitude_deg: float, longitude_deg: float, radius_m: float) -> tuple[I64, I32]:
    """The cells of a circle: keys, and WHOLLY_INSIDE or MEASURE_CIRCLE."""
    frames = box_around(longitude_deg, latitude_deg, longitude_deg, latitude_deg, radius_m)
    queue = first_cells(frames, CIRCLE_CELLS)
    queued = len(queue)
    keys = np.empty(64, np.int64)
    refs = np.empty(64, np.int32)
    emitted = 0
    done = 0
    while done < queued:
        level, column0, row0 = key_parts(queue[done])
        done += 1
        level += 1
        for cell in range(16):
            column = 4 * column0 + (cell & 3)
            row = 4 * row0 + (cell >> 2)
            west = column_west_deg(level, column)
            east = column_west_deg(level, column + 1)
            south = row_south_deg(level, row)
            north = row_south_deg(level, row + 1)
            middle_m = distance_m(latitude_deg, longitude_deg, 0.5 * (south + north), 0.5 * (west + east))
            reach_m = _cell_reach_m(west, south, east, north) * (1.0 + 1e-6)
            if middle_m - reach_m > radius_m:
                continue
            wholly = middle_m + reach_m < radius_m
            coarse = reach_m > 0.5 * radius_m and level < DEEPEST
            if not wholly and coarse and emitted + 16 * (queued - done) < MOST_CIRCLE_CELLS:
                queue = room_of_keys(queue, queued)
                queue[queued] = cell_key(level, column, row)
                queued += 1
                continue
            keys = room_of_keys(keys, emitted)
            refs = room_for(refs, emitted, 1)
            keys[emitted] = cell_key(level, column, row)
            refs[emitted] = WHOLLY_INSIDE if wholly else MEASURE_CIRCLE
            emitted += 1
    return keys[:emitted].copy(), refs[:emitted].copy()


@scalar_kernel
def _near_segments(
    vertex: F64,
    edges: I32,
    first: int,
    count: int,
    box: tuple[float, float, float, float],
    half_width_m: float,
    out: I32,
    out_start: int,
) -> int:
    """Writes the list of the segments near a cell at `out_start`; returns how many, or -1 if it is wholly inside."""
    west, south, east, north = box
    middle_x = 0.5 * (west + east)
    middle_y = 0.5 * (south + north)
    reach_m = _cell_reach_m(west, south, east, north) * (1.0 + 1e-6)
    kept = 0
    for place in range(first, first + count):
        edge = edges[place]
        ax = vertex[edge, 0]
        ay = vertex[edge, 1]
        bx = vertex[edge + 1, 0]
        by = vertex[edge + 1, 1]
        turned = nearest_turn_deg(middle_x, 0.5 * (ax + bx))
        bound_m = box_distance_bound_m(turned, middle_y, min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))
        if bound_m > half_width_m + reach_m:
            continue
        middle_m = segment_distance_m(ax, ay, bx, by, turned, middle_y)
        if middle_m + reach_m < half_width_m:
            return -1
        if middle_m - reach_m <= half_width_m:
            out[out_start + LIST_HEADER + kept] = edge
            kept += 1
    out[out_start] = kept * 8 + SEGMENTS
    out[out_start + 1] = 0
    return kept


@kernel
def compile_corridor(vertex: F64, half_width_m: float) -> tuple[I64, I32, I32]:
    """The cells of a corridor: keys, places of their lists or WHOLLY_INSIDE, and the lists of segments.

    `vertex` (n, 2) is the line, unwrapped; segment i runs from row i to row i + 1.
    """
    total = len(vertex) - 1
    west = vertex[0, 0]
    east = west
    south = vertex[0, 1]
    north = south
    for row in range(1, len(vertex)):
        west = min(west, vertex[row, 0])
        east = max(east, vertex[row, 0])
        south = min(south, vertex[row, 1])
        north = max(north, vertex[row, 1])
    queue = first_cells(box_around(west, south, east, north, half_width_m), CORRIDOR_CELLS)
    queued = len(queue)
    starts = np.empty(queued, np.int64)
    all_segments = np.arange(total).astype(np.int32)
    arena = np.empty((queued + 1) * (total + LIST_HEADER) + 256, np.int32)
    arena_used = 0
    for place in range(queued):
        starts[place] = arena_used
        arena[arena_used] = total * 8 + SEGMENTS
        arena[arena_used + LIST_HEADER : arena_used + LIST_HEADER + total] = all_segments
        arena_used += LIST_HEADER + total
    keys = np.empty(64, np.int64)
    refs = np.empty(64, np.int32)
    emitted = 0
    lists = np.empty(256, np.int32)
    lists_used = 0
    scratch = np.empty(total + LIST_HEADER, np.int32)
    most = MOST_CORRIDOR_CELLS + MOST_CELLS_A_SEGMENT * total
    done = 0
    while done < queued:
        level, column0, row0 = key_parts(queue[done])
        parent = starts[done]
        done += 1
        level += 1
        for cell in range(16):
            column = 4 * column0 + (cell & 3)
            row = 4 * row0 + (cell >> 2)
            box = (
                column_west_deg(level, column),
                row_south_deg(level, row),
                column_west_deg(level, column + 1),
                row_south_deg(level, row + 1),
            )
            kept = _near_segments(
                vertex, arena, parent + LIST_HEADER, arena[parent] >> 3, box, half_width_m, scratch, 0
            )
            if kept == 0:
                continue
            size = LIST_HEADER + kept
            coarse = kept > FEW_SEGMENTS or _cell_reach_m(box[0], box[1], box[2], box[3]) > 4.0 * half_width_m
            if kept > 0 and coarse and level < DEEPEST and emitted + 16 * (queued - done) < most:
                arena = room_for(arena, arena_used, size)
                arena[arena_used : arena_used + size] = scratch[:size]
                if queued == len(starts):
                    starts = np.concatenate((starts, np.empty(queued + 16, np.int64)))
                    queue = np.concatenate((queue, np.empty(len(starts) - len(queue), np.int64)))
                queue[queued] = cell_key(level, column, row)
                starts[queued] = arena_used
                queued += 1
                arena_used += size
                continue
            keys = room_of_keys(keys, emitted)
            refs = room_for(refs, emitted, 1)
            keys[emitted] = cell_key(level, column, row)
            refs[emitted] = WHOLLY_INSIDE
            if kept > 0:
                lists = room_for(lists, lists_used, size)
                lists[lists_used : lists_used + size] = scratch[:size]
                refs[emitted] = lists_used
                lists_used += size
            emitted += 1
    return keys[:emitted].copy(), refs[:emitted].copy(), lists[:lists_used].copy()
