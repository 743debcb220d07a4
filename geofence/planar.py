"""A fence's rings on the plane of longitude and latitude: closed, unwrapped at 180 degrees, outer rings to the left.

RFC 7946 (section 3.1.9) asks for shapes that cross the 180th meridian to be cut there, and such are taken as they
are. Two other ways of writing them are understood too: longitudes that run on beyond 180 (170, 190), and a ring all
of whose vertices lie within 45 degrees of the meridian, on both sides of it (170, -170): it is the small ring
across the meridian, not the strip that spans more than 270 degrees the other way.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.definition import F64, Ring
from geofence.kernel import scalar_kernel
from geofence.predicates import orientation

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
        # A ring with no other longitudes than these is the whole world.
        and (magnitude < 180.0).any()
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


@scalar_kernel
def is_flat(ring: F64) -> bool:
    """Whether all vertices of a ring (float64 (n, 2)) lie on one line, exactly; so do any two."""
    first = 0
    other = first
    for index in range(len(ring)):
        if ring[index, 0] != ring[first, 0] or ring[index, 1] != ring[first, 1]:
            other = index
            break
    for index in range(len(ring)):
        if (
            orientation(ring[first, 0], ring[first, 1], ring[other, 0], ring[other, 1], ring[index, 0], ring[index, 1])
            != 0.0
        ):
            return False
    return True


@scalar_kernel
def runs_left(ring: F64) -> bool:
    """Whether a closed ring that does not cross itself runs counter-clockwise, exactly.

    Its lowest vertex, the leftmost of those, is a convex corner: the ring turns left there or right.
    """
    count = len(ring) - 1
    low = 0
    for index in range(count):
        if ring[index, 1] < ring[low, 1] or (ring[index, 1] == ring[low, 1] and ring[index, 0] < ring[low, 0]):
            low = index
    before = low
    after = low
    for _ in range(count):
        if ring[before, 0] != ring[low, 0] or ring[before, 1] != ring[low, 1]:
            break
        before = before - 1 if before > 0 else count - 1
    for _ in range(count):
        if ring[after, 0] != ring[low, 0] or ring[after, 1] != ring[low, 1]:
            break
        after = after + 1 if after < count - 1 else 0
    turn = orientation(ring[before, 0], ring[before, 1], ring[low, 0], ring[low, 1], ring[after, 0], ring[after, 1])
    return turn > 0.0


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
