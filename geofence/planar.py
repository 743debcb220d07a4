"""A fence's rings on the plane of longitude and latitude: closed, unwrapped at 180 degrees, outer rings to the left.

RFC 7946 (section 3.1.9) asks for shapes that cross the 180th meridian to be cut there, and such are taken as they
are. Two other ways of writing them are understood too: longitudes that run on beyond 180 (170, 190), and a ring all
of whose vertices lie within 45 degrees of the meridian, on both sides of it (170, -170): it is the small ring
across the meridian, not the strip that spans more than 270 degrees the other way.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.definition import F64, MultiPolygonShape, Ring

# A ring without a vertex nearer to Greenwich than this, and on both sides of the 180th meridian, crosses it.
CROSSING_LONGITUDE_DEG: Final = 135.0


def closed(ring: Ring) -> F64:
    """The ring with its first vertex repeated at the end (once), as float64 (n, 2)."""
    vertices = np.ascontiguousarray(ring, np.float64).reshape(-1, 2)
    if len(vertices) and not np.array_equal(vertices[0], vertices[-1]):
        return np.concatenate((vertices, vertices[:1]))
    return vertices


def crosses_antimeridian(longitude_deg: F64) -> bool:
    """Whether longitudes within [-180, 180] are those of a ring that crosses the 180th meridian uncut."""
    magnitude = np.abs(longitude_deg)
    return bool(
        len(longitude_deg)
        and magnitude.min() >= CROSSING_LONGITUDE_DEG
        and magnitude.max() <= 180.0
        and longitude_deg.min() < 0.0 < longitude_deg.max()
    )


def unwrapped(vertices: F64, turn: bool) -> F64:  # noqa: FBT001
    """The vertices with western longitudes moved up by 360 if `turn`; exact, as they lie beyond -128 (Sterbenz)."""
    if not turn:
        return vertices
    moved = vertices.copy()
    moved[:, 0] = np.where(moved[:, 0] < 0.0, moved[:, 0] + 360.0, moved[:, 0])
    return moved


def unwrapped_line(line: F64) -> F64:
    """A line whose every step is the shorter way around; longitudes may run beyond 180."""
    vertices = np.ascontiguousarray(line, np.float64).reshape(-1, 2)
    steps = np.diff(vertices[:, 0])
    turns = -np.round(steps / 360.0) * (np.abs(steps) > 180.0)
    if not turns.any():
        return vertices
    moved = vertices.copy()
    moved[1:, 0] += 360.0 * np.cumsum(turns)
    return moved


def runs_left(ring: F64) -> bool:
    """Whether a closed ring runs counter-clockwise, by twice its signed area about its first vertex."""
    x = ring[:, 0] - ring[0, 0]
    y = ring[:, 1] - ring[0, 1]
    return bool(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]) > 0.0)


def planar_rings(polygon: tuple[Ring, ...]) -> list[F64]:
    """Closed rings of one polygon: the outer one counter-clockwise, holes clockwise, in one frame of longitudes."""
    rings = [closed(ring) for ring in polygon]
    turn = bool(rings) and crosses_antimeridian(rings[0][:, 0])
    oriented: list[F64] = []
    for place, ring in enumerate(rings):
        moved = unwrapped(ring, turn)
        if len(moved) and runs_left(moved) != (place == 0):
            moved = np.ascontiguousarray(moved[::-1])
        oriented.append(moved)
    return oriented


def shape_rings(shape: MultiPolygonShape) -> list[F64]:
    """All rings of a shape. Their winding numbers add up to the number of polygons that hold a point."""
    return [ring for polygon in shape.polygons for ring in planar_rings(polygon)]
