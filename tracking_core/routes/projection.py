"""The nearest place on a line, looked for only where it can be: not behind, and not too far ahead."""

from __future__ import annotations

import math
from typing import NamedTuple

from geofence.kernel import scalar_kernel
from tracking_core.columns import F64


class Line(NamedTuple):
    """Points of all planned lines, one line behind the other."""

    longitude_deg: F64
    latitude_deg: F64
    along_m: F64
    """Distance from the first point of the line."""


@scalar_kernel
def project(
    line: Line,
    first_point: int,
    points: int,
    segment: int,
    from_m: float,
    until_m: float,
    longitude_deg: float,
    latitude_deg: float,
) -> tuple[float, float, int]:
    """Where on the part of a line between two distances along it (metres) a point is nearest: the distance along, how
    far off it is, and the segment. Of equally near places the first.

    The line is rows `first_point` to `first_point + points` of `line`, at least two; `segment` is one not after
    `from_m`. Measured in the plane that touches the ellipsoid at the point (radii of curvature of WGS 84): exact to a
    thousandth within some kilometres, and beyond it only says "far".
    """
    sine = math.sin(math.radians(latitude_deg))
    curvature = 1.0 - 6.69437999014e-3 * sine * sine
    normal_m = 6378137.0 / math.sqrt(curvature)
    north_m = math.radians(normal_m * (1.0 - 6.69437999014e-3) / curvature)
    east_m = math.radians(normal_m * math.cos(math.radians(latitude_deg)))
    best_along_m = from_m
    best_offset_m = math.inf
    best_segment = segment
    for i in range(segment, points - 1):
        a = first_point + i
        start_m = line.along_m[a]
        if start_m > until_m:
            break
        length_m = line.along_m[a + 1] - start_m
        if start_m + length_m < from_m:
            continue
        lowest = 0.0
        highest = 1.0
        if length_m > 0.0:
            lowest = max((from_m - start_m) / length_m, 0.0)
            highest = max(min((until_m - start_m) / length_m, 1.0), lowest)
        step_deg = line.longitude_deg[a] - longitude_deg
        step_deg -= 360.0 * math.floor((step_deg + 180.0) / 360.0)
        leg_deg = line.longitude_deg[a + 1] - line.longitude_deg[a]
        leg_deg -= 360.0 * math.floor((leg_deg + 180.0) / 360.0)
        x = step_deg * east_m
        y = (line.latitude_deg[a] - latitude_deg) * north_m
        leg_x = leg_deg * east_m
        leg_y = (line.latitude_deg[a + 1] - line.latitude_deg[a]) * north_m
        square = leg_x * leg_x + leg_y * leg_y
        part = -(x * leg_x + y * leg_y) / square if square > 0.0 else 0.0
        part = min(max(part, lowest), highest)
        offset_m = math.hypot(x + part * leg_x, y + part * leg_y)
        if offset_m < best_offset_m:
            best_offset_m = offset_m
            best_along_m = start_m + part * length_m
            best_segment = i
    return best_along_m, best_offset_m, best_segment
