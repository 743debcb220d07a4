"""Whether a point is in a circle, or near a line: measured on the ellipsoid, with as little work as decides it."""

from __future__ import annotations

import math

from geofence.compiled import F64, I32, LIST_HEADER
from geofence.geodesy import cartesian_m, distance_m
from geofence.kernel import scalar_kernel
from geofence.segment import flat_bound_m, nearest_turn_deg, segment_distance_m


@scalar_kernel
def in_circle(circle: F64, slot: int, longitude_deg: float, latitude_deg: float) -> bool:
    """By the chord, where that decides; else by the geodesic."""
    x, y, z = cartesian_m(latitude_deg, longitude_deg)
    dx = x - circle[slot, 3]
    dy = y - circle[slot, 4]
    dz = z - circle[slot, 5]
    chord2 = dx * dx + dy * dy + dz * dz
    if chord2 <= circle[slot, 6]:
        return True
    if chord2 >= circle[slot, 7]:
        return False
    length_m = distance_m(circle[slot, 0], circle[slot, 1], latitude_deg, longitude_deg)
    return bool(length_m <= circle[slot, 2])


@scalar_kernel
def near_line(
    border_list: I32, vertex: F64, half_width_m: float, start: int, longitude_deg: float, latitude_deg: float
) -> bool:
    """Whether any segment of a cell's list is within the corridor's half width."""
    cosine = math.cos(latitude_deg * math.pi / 180.0)
    first = start + LIST_HEADER
    for place in range(first, first + (border_list[start] >> 3)):
        edge = border_list[place]
        ax = vertex[edge, 0]
        ay = vertex[edge, 1]
        bx = vertex[edge + 1, 0]
        by = vertex[edge + 1, 1]
        turned_deg = nearest_turn_deg(longitude_deg, 0.5 * (ax + bx))
        if flat_bound_m(ax, ay, bx, by, turned_deg, latitude_deg, cosine) > half_width_m:
            continue
        if segment_distance_m(ax, ay, bx, by, turned_deg, latitude_deg) <= half_width_m:
            return True
    return False
