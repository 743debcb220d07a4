"""One shape, compiled by itself: its border, the boxes of runs of its edges, and its cells."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from geofence.compiled import CIRCLE, CORRIDOR, F64, I32, I64, POLYGON
from geofence.definition import CircleShape, CorridorShape, MultiPolygonShape, Shape
from geofence.geodesy import GREATEST_RADIUS_M, LEAST_RADIUS_M, cartesian_m
from geofence.kernel import kernel
from geofence.measured_cells import compile_circle, compile_corridor
from geofence.planar import planar_rings, unwrapped_line
from geofence.polygon_cells import compile_polygon

# Neighbouring edges that share a box: few enough to look at each, many enough that boxes are cheap.
CHUNK_EDGES: Final = 16
# What the chord of a geodesic may be off by against that of an arc of the same curvature (its torsion, and rounding).
_CHORD_SLACK: Final = 1e-9


class CompiledShape(NamedTuple):
    """Rows for the pools of `CompiledFences`; `refs` >= 0 count from the start of `lists`, edges from `vertex`."""

    kind: int
    circle: F64
    half_width_m: float
    vertex: F64
    chunk_edges: I32
    chunk_box: F64
    keys: I64
    refs: I32
    lists: I32


_NO_CIRCLE: Final = np.zeros(8)
_NO_VERTEX: Final = np.zeros((0, 2))
_NO_EDGES: Final = np.zeros((0, 2), np.int32)
_NO_BOX: Final = np.zeros((0, 4))
_NO_LISTS: Final = np.zeros(0, np.int32)


def compile_shape(shape: Shape) -> CompiledShape:
    """Compiles a valid shape. Pure: the same shape gives the same rows, whatever else there is."""
    if isinstance(shape, CircleShape):
        return _circle(shape)
    if isinstance(shape, CorridorShape):
        return _corridor(shape)
    return _polygons(shape)


def _circle(shape: CircleShape) -> CompiledShape:
    """The chords within which a point is surely in or out: those of arcs of the least and the greatest radius.

    By Schur's comparison a geodesic, whose curvature in space is that of the normal section, has a chord between those
    of circular arcs of its length with the greatest and the least curvature of the ellipsoid.
    """
    surely_in_m = 2.0 * LEAST_RADIUS_M * math.sin(shape.radius_m / (2.0 * LEAST_RADIUS_M)) * (1.0 - _CHORD_SLACK)
    surely_out_m = 2.0 * GREATEST_RADIUS_M * math.sin(shape.radius_m / (2.0 * GREATEST_RADIUS_M)) * (1.0 + _CHORD_SLACK)
    circle = np.array(
        [
            shape.latitude_deg,
            shape.longitude_deg,
            shape.radius_m,
            *cartesian_m(shape.latitude_deg, shape.longitude_deg),
            # A nanometre's rounding of earth-centred coordinates counts for circles of less than a metre.
            max(surely_in_m - 1e-8, 0.0) ** 2,
            (surely_out_m + 1e-8) ** 2,
        ]
    )
    keys, refs = compile_circle(shape.latitude_deg, shape.longitude_deg, shape.radius_m)
    return CompiledShape(CIRCLE, circle, 0.0, _NO_VERTEX, _NO_EDGES, _NO_BOX, keys, refs, _NO_LISTS)


def _corridor(shape: CorridorShape) -> CompiledShape:
    vertex = unwrapped_line(shape.line)
    ends = np.array([len(vertex)])
    edges, boxes = chunked(vertex, ends)
    keys, refs, lists = compile_corridor(vertex, shape.half_width_m)
    return CompiledShape(CORRIDOR, _NO_CIRCLE, shape.half_width_m, vertex, edges, boxes, keys, refs, lists)


def _polygons(shape: MultiPolygonShape) -> CompiledShape:
    """Rings as they are, and after them copies a turn away of the polygons that reach the 180th meridian.

    A copy serves the points on the other side; near the meridian a turn is added to a coordinate without rounding.
    """
    rings: list[F64] = []
    copies: list[F64] = []
    frames: list[tuple[float, float, float, float]] = []
    for polygon in shape.polygons:
        planar = planar_rings(polygon)
        rings += planar
        west, south = planar[0].min(axis=0)
        east, north = planar[0].max(axis=0)
        frames.append((west, south, east, north))
        for turn_deg in (-360.0, 360.0):
            if (turn_deg < 0.0 and east >= 180.0) or (turn_deg > 0.0 and west <= -180.0):
                copies += [ring + np.array((turn_deg, 0.0)) for ring in planar]
                frames.append((west + turn_deg, south, east + turn_deg, north))
    lines = rings + copies
    vertex = np.concatenate(lines) if len(lines) > 1 else lines[0]
    ends = np.cumsum([len(line) for line in lines])
    chunk_edges, chunk_box = chunked(vertex, ends[: len(rings)])
    edges = np.delete(np.arange(len(vertex), dtype=np.int32), ends - 1)
    keys, refs, lists = compile_polygon(vertex, edges, np.array(frames))
    return CompiledShape(POLYGON, _NO_CIRCLE, 0.0, vertex, chunk_edges, chunk_box, keys, refs, lists)


@kernel
def chunked(vertex: F64, ends: I64) -> tuple[I32, F64]:
    """Runs of at most CHUNK_EDGES edges of each line: (first edge, number of edges), and their boxes.

    `vertex` (n, 2) holds lines one after the other; `ends` are the rows after their last.
    """
    most = 0
    start = 0
    for line in range(len(ends)):
        most += (ends[line] - start - 1 + CHUNK_EDGES - 1) // CHUNK_EDGES
        start = ends[line]
    edges = np.empty((most, 2), np.int32)
    boxes = np.empty((most, 4), np.float64)
    start = 0
    chunk = 0
    for line in range(len(ends)):
        for first in range(start, ends[line] - 1, CHUNK_EDGES):
            count = min(CHUNK_EDGES, ends[line] - 1 - first)
            edges[chunk, 0] = first
            edges[chunk, 1] = count
            boxes[chunk, 0] = boxes[chunk, 2] = vertex[first, 0]
            boxes[chunk, 1] = boxes[chunk, 3] = vertex[first, 1]
            for row in range(first + 1, first + count + 1):
                boxes[chunk, 0] = min(boxes[chunk, 0], vertex[row, 0])
                boxes[chunk, 1] = min(boxes[chunk, 1], vertex[row, 1])
                boxes[chunk, 2] = max(boxes[chunk, 2], vertex[row, 0])
                boxes[chunk, 3] = max(boxes[chunk, 3], vertex[row, 1])
            chunk += 1
        start = ends[line]
    return edges, boxes


@kernel
def offset_edges(lists: I32, refs: I32, header: int, start: int) -> None:
    """Adds `start` to every edge of the lists that `refs` name."""
    for index in range(len(refs)):
        ref = refs[index]
        if ref >= 0:
            for place in range(ref + header, ref + header + (lists[ref] >> 3)):
                lists[place] += start
