"""How far a point is from a segment that is straight in longitude and latitude, in metres on the ellipsoid."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from geofence.compiled import CompiledFences
from geofence.geodesy import (
    ECCENTRICITY_SQUARED,
    EQUATORIAL_RADIUS_M,
    LEAST_RADIUS_M,
    cartesian_m,
    distance_m,
)
from geofence.kernel import scalar_kernel

_DEG: Final = math.pi / 180.0
# A straight line in degrees bends on the ground; within a piece of this length the distance has one minimum.
_PIECE_DEG: Final = 1.0
_MOST_PIECES: Final = 360
# Where the flat estimate of a distance is within a tenth of the true one: not far from the point, not near a pole.
_FLAT_DEG: Final = 1.0
_FLAT_LATITUDE_DEG: Final = 70.0


@scalar_kernel
def nearest_turn_deg(longitude_deg: float, middle_deg: float) -> float:
    """The longitude plus the multiple of 360 that brings it nearest to `middle_deg`."""
    return float(longitude_deg + 360.0 * np.floor((middle_deg - longitude_deg) / 360.0 + 0.5))


@scalar_kernel
def box_distance_bound_m(
    longitude_deg: float, latitude_deg: float, west_deg: float, south_deg: float, east_deg: float, north_deg: float
) -> float:
    """A distance in metres that no point of the box is nearer than; cheap, at most the true one.

    The greater of two: along the meridian, and to the nearest meridian of the box, which on a sphere is
    asin(cos(latitude) * sin(gap)) and no less than cos(latitude) * (gap - gap^3 / 6).
    """
    north_gap = max(0.0, south_deg - latitude_deg, latitude_deg - north_deg) * _DEG
    turned_deg = nearest_turn_deg(longitude_deg, 0.5 * (west_deg + east_deg))
    east_gap = min(max(0.0, west_deg - turned_deg, turned_deg - east_deg), 90.0) * _DEG
    across = math.cos(latitude_deg * _DEG) * (east_gap - east_gap * east_gap * east_gap / 6.0)
    return 0.999 * LEAST_RADIUS_M * max(north_gap, across)


@scalar_kernel
def _step_along(
    ax: float, ay: float, dx: float, dy: float, t: float, px: float, py: float, pz: float
) -> tuple[float, float, float]:
    """One Gauss-Newton step of the foot at `t`: the change of t, the metres a unit of t is there, the squared chord."""
    latitude = (ay + t * dy) * _DEG
    longitude = (ax + t * dx) * _DEG
    sin_latitude = math.sin(latitude)
    cos_latitude = math.cos(latitude)
    sin_longitude = math.sin(longitude)
    cos_longitude = math.cos(longitude)
    w2 = 1.0 - ECCENTRICITY_SQUARED * sin_latitude * sin_latitude
    normal_m = EQUATORIAL_RADIUS_M / math.sqrt(w2)
    meridian_m = normal_m * (1.0 - ECCENTRICITY_SQUARED) / w2
    x = px - normal_m * cos_latitude * cos_longitude
    y = py - normal_m * cos_latitude * sin_longitude
    z = pz - normal_m * (1.0 - ECCENTRICITY_SQUARED) * sin_latitude
    east_m = -sin_longitude * x + cos_longitude * y
    north_m = cos_latitude * z - sin_latitude * (cos_longitude * x + sin_longitude * y)
    east_rate = normal_m * cos_latitude * dx * _DEG
    north_rate = meridian_m * dy * _DEG
    rate2 = east_rate * east_rate + north_rate * north_rate
    step = (east_m * east_rate + north_m * north_rate) / rate2 if rate2 > 0.0 else 0.0
    return step, math.sqrt(rate2), x * x + y * y + z * z


@scalar_kernel
def segment_distance_m(
    ax_deg: float, ay_deg: float, bx_deg: float, by_deg: float, longitude_deg: float, latitude_deg: float
) -> float:
    """Metres from a point to the segment a b; x is longitude, and the segment may lie beyond 180.

    The foot is found by Gauss-Newton on the chord in earth-centred coordinates, from the nearest of the piece ends; the
    distance to it is geodesic. Where the steps do not settle (near a pole) the interval is narrowed by thirds.
    """
    px, py, pz = cartesian_m(latitude_deg, longitude_deg)
    dx = bx_deg - ax_deg
    dy = by_deg - ay_deg
    pieces = min(_MOST_PIECES, int(max(abs(dx), abs(dy)) / _PIECE_DEG) + 1)
    best = 0
    best_chord2 = math.inf
    if pieces > 1:
        for end in range(pieces + 1):
            _, _, chord2 = _step_along(ax_deg, ay_deg, dx, dy, end / pieces, px, py, pz)
            if chord2 < best_chord2:
                best_chord2 = chord2
                best = end
    low = max(0.0, (best - 1) / pieces)
    high = min(1.0, (best + 1) / pieces)
    t = best / pieces if pieces > 1 else 0.5
    settled = False
    for _ in range(12):
        step, rate_m, _ = _step_along(ax_deg, ay_deg, dx, dy, t, px, py, pz)
        moved = min(max(t + step, low), high)
        settled = abs(moved - t) * rate_m < 1e-3
        t = moved
        if settled:
            break
    if not settled:
        while high - low > 1e-9:
            third = (high - low) / 3.0
            _, _, chord2_low = _step_along(ax_deg, ay_deg, dx, dy, low + third, px, py, pz)
            _, _, chord2_high = _step_along(ax_deg, ay_deg, dx, dy, high - third, px, py, pz)
            if chord2_low < chord2_high:
                high -= third
            else:
                low += third
        t = 0.5 * (low + high)
    foot_longitude_deg = ax_deg + t * dx
    return distance_m(
        latitude_deg, nearest_turn_deg(longitude_deg, foot_longitude_deg), ay_deg + t * dy, foot_longitude_deg
    )


@scalar_kernel
def flat_bound_m(
    ax_deg: float, ay_deg: float, bx_deg: float, by_deg: float, longitude_deg: float, latitude_deg: float, cosine: float
) -> float:
    """A lower bound of the distance to a short segment close by, on a plane; 0 where that would not be one."""
    x1 = ax_deg - longitude_deg
    y1 = ay_deg - latitude_deg
    x2 = bx_deg - longitude_deg
    y2 = by_deg - latitude_deg
    if max(abs(x1), abs(x2), abs(y1), abs(y2)) > _FLAT_DEG or abs(latitude_deg) > _FLAT_LATITUDE_DEG:
        return 0.0
    x1 *= cosine
    x2 *= cosine
    dx = x2 - x1
    dy = y2 - y1
    length2 = dx * dx + dy * dy
    t = min(1.0, max(0.0, -(x1 * dx + y1 * dy) / length2)) if length2 > 0.0 else 0.0
    x = x1 + t * dx
    y = y1 + t * dy
    return 0.9 * LEAST_RADIUS_M * _DEG * math.sqrt(x * x + y * y)


@scalar_kernel
def line_distance_m(fences: CompiledFences, slot: int, longitude_deg: float, latitude_deg: float) -> float:
    """Metres from a point to the nearest edge of a polygon or segment of a corridor's line; never negative.

    Runs of edges whose box is farther than the best so far are passed over. Infinite where there are no edges.
    """
    best_m = math.inf
    cosine = math.cos(latitude_deg * _DEG)
    vertex = fences.vertex
    box = fences.chunk_box
    first_chunk = fences.chunks[slot, 0]
    for chunk in range(first_chunk, first_chunk + fences.chunks[slot, 1]):
        west_deg = box[chunk, 0]
        east_deg = box[chunk, 2]
        turned_deg = nearest_turn_deg(longitude_deg, 0.5 * (west_deg + east_deg))
        if box_distance_bound_m(turned_deg, latitude_deg, west_deg, box[chunk, 1], east_deg, box[chunk, 3]) >= best_m:
            continue
        first = fences.chunk_edges[chunk, 0]
        for edge in range(first, first + fences.chunk_edges[chunk, 1]):
            ax = vertex[edge, 0]
            ay = vertex[edge, 1]
            bx = vertex[edge + 1, 0]
            by = vertex[edge + 1, 1]
            if flat_bound_m(ax, ay, bx, by, turned_deg, latitude_deg, cosine) < best_m:
                best_m = min(best_m, segment_distance_m(ax, ay, bx, by, turned_deg, latitude_deg))
    return best_m
