"""The list of edges that decides a cell through which the border of a polygon passes.

A cell that no edge touches is wholly inside or wholly outside. For a cell that edges touch, a ray goes out from the
cell to the nearest cell that none touches, whose winding number is known: the point's is that number and the
crossings on the way, and only edges that touch a cell on the way can be crossed there, because an edge beyond would
have to pass through the untouched cell. Of those edges, one that ends neither in nor beside the rows of the cell is
crossed by all points of the cell or by none, and is counted beforehand. Of the four directions the one that leaves
the fewest edges is kept. Everything is decided with padded cells and exact signs, so the answer is exact.

Edges clipped to cells, and a reference point in each cell with a path to it, were considered and left: both need the
crossing of two rounded segments. This needs nothing but the side of a line on which a point lies.
"""

from __future__ import annotations

from typing import Final

from geofence.compiled import F64, I32, I64, LIST_HEADER, RAY_EAST, RAY_NORTH, RAY_SOUTH, RAY_WEST
from geofence.grid import PAD_DEG
from geofence.kernel import kernel, scalar_kernel
from geofence.rays import crossing_east, frame_sign, in_frame

# The bit that every edge of a family has, beside one for each of the sixteen cells that it touches.
ANY: Final = 1 << 16


@scalar_kernel
def touches(ax: float, ay: float, bx: float, by: float, west: float, south: float, east: float, north: float) -> bool:
    """Whether an edge touches a box; true also where rounding leaves it open (separating axes)."""
    if max(ax, bx) < west or min(ax, bx) > east or max(ay, by) < south or min(ay, by) > north:
        return False
    dx = bx - ax
    dy = by - ay
    to_x = 0.5 * (west + east) - ax
    to_y = 0.5 * (south + north) - ay
    reach = abs(dx) * 0.5 * (north - south) + abs(dy) * 0.5 * (east - west)
    slack = 1e-14 * (abs(dx * to_y) + abs(dy * to_x))
    return abs(dx * to_y - dy * to_x) <= reach + slack


@scalar_kernel
def reduce_list(
    vertex: F64,
    edges: I32,
    first: int,
    count: int,
    touching: I32,
    run: int,
    ray: int,
    base: int,
    box: tuple[float, float, float, float],
    out: I32,
    out_start: int,
) -> int:
    """Writes the list that decides a cell from edges[first:first+count] at `out_start`; returns how many edges it has.

    An edge is looked at if its bits in `touching` (which cells of the family it touches) meet `run`. `base` is the
    winding number where the ray ends, `box` the padded cell: west, south, east, north.
    """
    u_a, v_a = in_frame(ray, box[0], box[1])
    u_b, v_b = in_frame(ray, box[2], box[3])
    behind = min(u_a, u_b)
    low = min(v_a, v_b)
    high = max(v_a, v_b)
    middle_u = 0.5 * (u_a + u_b)
    middle_v = 0.5 * (v_a + v_b)
    sign = frame_sign(ray)
    kept = 0
    for place in range(count):
        if not touching[place] & run:
            continue
        edge = edges[first + place]
        x1 = vertex[edge, 0]
        y1 = vertex[edge, 1]
        x2 = vertex[edge + 1, 0]
        y2 = vertex[edge + 1, 1]
        u1, v1 = in_frame(ray, x1, y1)
        u2, v2 = in_frame(ray, x2, y2)
        if max(v1, v2) < low or min(v1, v2) > high or max(u1, u2) < behind:
            continue
        if min(v1, v2) <= low and max(v1, v2) >= high and not touches(x1, y1, x2, y2, box[0], box[1], box[2], box[3]):
            base += sign * crossing_east(u1, v1, u2, v2, middle_u, middle_v)
            continue
        out[out_start + LIST_HEADER + kept] = edge
        kept += 1
    out[out_start] = kept * 8 + ray
    out[out_start + 1] = base
    return kept


@scalar_kernel
def touched_cells(ax: float, ay: float, bx: float, by: float, side_x: F64, side_y: F64) -> int:
    """One bit for each of 4 by 4 cells that an edge touches, and ANY. `side_x` and `side_y` are their five sides."""
    bits = ANY
    for cell_y in range(4):
        south = side_y[cell_y] - PAD_DEG
        north = side_y[cell_y + 1] + PAD_DEG
        if max(ay, by) < south or min(ay, by) > north:
            continue
        for cell_x in range(4):
            if touches(ax, ay, bx, by, side_x[cell_x] - PAD_DEG, south, side_x[cell_x + 1] + PAD_DEG, north):
                bits |= 1 << (4 * cell_y + cell_x)
    return bits


@kernel
def shortest_list(
    vertex: F64,
    arena: I32,
    parent: int,
    touching: I32,
    touched: int,
    winding: I64,
    cell: int,
    box: tuple[float, float, float, float],
    scratch: I32,
) -> int:
    """Writes into scratch[0] the list of one of the sixteen cells of a parent; returns how many edges it has.

    The parent's list is at arena[parent]; `touching` are the bits of its edges, `touched` the cells that any touches,
    `winding` the numbers of the others. The parent's own ray serves every cell of the family; rays that end at an
    untouched cell of the family mostly leave less.
    """
    first = parent + LIST_HEADER
    count = arena[parent] >> 3
    fewest = reduce_list(
        vertex, arena, first, count, touching, ANY, arena[parent] & 7, arena[parent + 1], box, scratch[0], 0
    )
    for ray in range(4):
        step_x = 1 if ray == RAY_EAST else (-1 if ray == RAY_WEST else 0)
        step_y = 1 if ray == RAY_NORTH else (-1 if ray == RAY_SOUTH else 0)
        at_x = cell & 3
        at_y = cell >> 2
        run = 0
        while 0 <= at_x < 4 and 0 <= at_y < 4 and (touched >> (4 * at_y + at_x)) & 1:
            run |= 1 << (4 * at_y + at_x)
            at_x += step_x
            at_y += step_y
        if not (0 <= at_x < 4 and 0 <= at_y < 4):
            continue
        kept = reduce_list(
            vertex, arena, first, count, touching, run, ray, winding[4 * at_y + at_x], box, scratch[1], 0
        )
        if kept < fewest:
            fewest = kept
            scratch[0, : kept + LIST_HEADER] = scratch[1, : kept + LIST_HEADER]
    return fewest
