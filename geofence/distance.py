"""How deep inside, or how far outside, a fence a point lies."""

from __future__ import annotations

import math

from geofence.compiled import CIRCLE, CORRIDOR, POLYGON, CompiledFences
from geofence.containment import contains_one
from geofence.geodesy import distance_m
from geofence.kernel import scalar_kernel
from geofence.segment import line_distance_m


@scalar_kernel
def signed_distance_m(fences: CompiledFences, slot: int, longitude_deg: float, latitude_deg: float) -> float:
    """Metres to the fence's boundary: negative inside, 0 on it, positive outside; infinite for an empty slot.

    The sign agrees with `contains_one` on every point. NaN in gives NaN.
    """
    if math.isnan(longitude_deg) or math.isnan(latitude_deg):
        return math.nan
    kind = fences.kind[slot]
    if kind == CIRCLE:
        from_centre_m = distance_m(fences.circle[slot, 0], fences.circle[slot, 1], latitude_deg, longitude_deg)
        return float(from_centre_m - fences.circle[slot, 2])
    if kind == CORRIDOR:
        return float(line_distance_m(fences, slot, longitude_deg, latitude_deg) - fences.half_width_m[slot])
    if kind != POLYGON:
        return math.inf
    to_edge_m = line_distance_m(fences, slot, longitude_deg, latitude_deg)
    return -to_edge_m if contains_one(fences, slot, longitude_deg, latitude_deg) else max(to_edge_m, 1e-9)
