"""Where, between two moments, two devices that move evenly come to be a distance apart."""

from __future__ import annotations

import math

from geofence.geodesy import ECCENTRICITY_SQUARED, wrap_degrees
from geofence.rounding import PLACE_PARTS, rounded
from tracking_core.pairs.stance import Meet, Sight


def crossing_on(before: Sight | None, sight: Sight, distance_m: float, within_us: int, *, outward: bool) -> Meet:
    """When and where on the leg from one sight to the next the distance is passed, out of it or into it.

    The next sight itself without a leg: when there is none before, it is more than `within_us` ago or on the new side
    already (where it said nothing); outward also when it is only believed.
    """
    if (
        before is None
        or sight.at_us - before.at_us > within_us
        or (before.distance_m <= distance_m) != outward
        or (outward and not before.known)
    ):
        return Meet(sight.at_us, sight.device.latitude_deg, sight.device.longitude_deg)
    part = _part(before, sight, distance_m, outward=outward)
    step_deg = wrap_degrees(sight.device.longitude_deg - before.device.longitude_deg)
    return Meet(
        before.at_us + round(part * (sight.at_us - before.at_us)),
        rounded(
            before.device.latitude_deg + part * (sight.device.latitude_deg - before.device.latitude_deg), PLACE_PARTS
        ),
        rounded(wrap_degrees(before.device.longitude_deg + part * step_deg), PLACE_PARTS),
    )


def _part(before: Sight, sight: Sight, distance_m: float, *, outward: bool) -> float:
    """From 0 to 1. The way from the one device to the other, in the plane that touches the earth where the first is,
    each end stretched to its true length, changes evenly: a quadratic equation.
    """
    east_m, north_m = _way(before)
    later_east_m, later_north_m = _way(sight)
    east_step_m, north_step_m = later_east_m - east_m, later_north_m - north_m
    square = east_step_m * east_step_m + north_step_m * north_step_m
    half = east_m * east_step_m + north_m * north_step_m
    discriminant = half * half - square * (east_m * east_m + north_m * north_m - distance_m * distance_m)
    if square == 0.0 or discriminant < 0.0:
        return 1.0
    root = math.sqrt(discriminant)
    return min(max((-half + (root if outward else -root)) / square, 0.0), 1.0)


def _way(sight: Sight) -> tuple[float, float]:
    """From the one device to the other, metres to the east and to the north: by the radii of curvature between them."""
    middle_deg = 0.5 * (sight.other.latitude_deg + sight.device.latitude_deg)
    sine = math.sin(math.radians(middle_deg))
    curvature = 1.0 - ECCENTRICITY_SQUARED * sine * sine
    east = math.cos(math.radians(middle_deg)) * wrap_degrees(sight.other.longitude_deg - sight.device.longitude_deg)
    north = (1.0 - ECCENTRICITY_SQUARED) / curvature * (sight.other.latitude_deg - sight.device.latitude_deg)
    length = math.hypot(east, north)
    stretch = sight.distance_m / length if length > 0.0 else 0.0
    return east * stretch, north * stretch
