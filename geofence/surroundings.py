"""The box around a fence outside of which a fix has nothing to do with it."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from geofence.definition import F64, CircleShape, CorridorShape, FenceDefinition, MultiPolygonShape

_DEGREE_M: Final = 110_000.0
"""Less than the shortest degree of latitude."""
_SLACK: Final = 1.01


class Box(NamedTuple):
    """In degrees, borders included; all longitudes where a fence reaches the 180th meridian or comes near a pole."""

    west: float
    south: float
    east: float
    north: float


def surroundings(fence: FenceDefinition) -> Box:
    """The box around all places at which a fix, however imprecise, says anything but that the device is out."""
    shape, rule = fence.shape, fence.crossing
    reach_m = rule.exit_margin_m + rule.accuracy_cap_m
    points: F64
    match shape:
        case CircleShape(longitude_deg, latitude_deg, radius_m):
            points = np.array([(longitude_deg, latitude_deg)])
            reach_m += radius_m
        case CorridorShape(line, half_width_m):
            points = line
            reach_m += half_width_m
        case MultiPolygonShape(polygons):
            points = np.concatenate([rings[0] for rings in polygons])
    west, south = (float(number) for number in points.min(axis=0))
    east, north = (float(number) for number in points.max(axis=0))
    widened_deg = reach_m * _SLACK / _DEGREE_M
    south, north = south - widened_deg, north + widened_deg
    steepest_deg = max(abs(south), abs(north))
    if steepest_deg >= 89.0 or east - west > 180.0:
        return Box(-180.0, south, 180.0, north)
    widened_deg /= math.cos(math.radians(steepest_deg))
    west, east = west - widened_deg, east + widened_deg
    if west < -180.0 or east > 180.0:
        return Box(-180.0, south, 180.0, north)
    return Box(west, south, east, north)
