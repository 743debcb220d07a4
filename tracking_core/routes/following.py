"""Route stage: how far along its planned line each device has come, and at what pace.

Progress never goes back, so a line that passes one place twice (out and back) is followed in order: each fix is looked
for between where the device was and where it can have come to since.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from geofence.kernel import scalar_kernel
from tracking_core.columns import I64, NO_TIME, PositionColumns
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.fixes.folded import FoldedFixes
from tracking_core.routes.projection import Line, project
from tracking_core.routes.table import RouteColumns
from tracking_core.settings import EngineSettings

PACE_FADES_S: Final = 1800.0
"""Within this time the weight of what was driven falls to 1/e."""
EXPECTED_WEIGHS_S: Final = 600.0
"""The expected speed counts like this much driving of one's own."""
_REACH_M: Final = 1000.0
_FASTER_THAN_KNOWN: Final = 2.0


class RouteRules(NamedTuple):
    """The settings of this stage, as numbers for the kernel."""

    highest_speed_mps: float
    stopped_below_mps: float
    off_route_m: float


def route_rules(settings: EngineSettings) -> RouteRules:
    """The rules of an engine."""
    return RouteRules(float(settings.highest_speed_mps), float(settings.stopped_below_mps), float(settings.off_route_m))


@scalar_kernel
def pace_mps(paced_m: float, paced_s: float, expected_speed_mps: float) -> float:
    """The device's own pace, shrunk to the expected speed by how little is known of it."""
    return (paced_m + expected_speed_mps * EXPECTED_WEIGHS_S) / (paced_s + EXPECTED_WEIGHS_S)


@scalar_kernel
def follow(
    route: int,
    at_us: int,
    longitude_deg: float,
    latitude_deg: float,
    routes: RouteColumns,
    line: Line,
    rules: RouteRules,
) -> None:
    """Moves one route's state by one fix of its device.

    The first fix is looked for on the whole line. A later one at most twice the known or expected speed ahead, and if
    it is not there, on all that remains, as far as the highest speed allows. A fix off the line changes only
    `offset_m`.
    """
    first_point = routes.first_point[route]
    points = routes.points[route]
    matched_us = routes.matched_at_us[route]
    progress_m = routes.progress_m[route]
    elapsed_s = 0.0
    if matched_us == NO_TIME:
        along_m, offset_m, segment = project(line, first_point, points, 0, 0.0, math.inf, longitude_deg, latitude_deg)
    else:
        elapsed_s = (at_us - matched_us) * 1e-6
        expected_mps = routes.expected_speed_mps[route]
        known_mps = max(expected_mps, pace_mps(routes.paced_m[route], routes.paced_s[route], expected_mps))
        segment = routes.segment[route]
        until_m = progress_m + _FASTER_THAN_KNOWN * known_mps * elapsed_s + _REACH_M
        along_m, offset_m, segment = project(
            line, first_point, points, segment, progress_m, until_m, longitude_deg, latitude_deg
        )
        if offset_m > rules.off_route_m:
            until_m = progress_m + rules.highest_speed_mps * elapsed_s + _REACH_M
            along_m, offset_m, segment = project(
                line, first_point, points, routes.segment[route], progress_m, until_m, longitude_deg, latitude_deg
            )
    routes.offset_m[route] = offset_m
    if not offset_m <= rules.off_route_m:
        return
    if matched_us != NO_TIME and elapsed_s > 0.0:
        come_m = along_m - progress_m
        if come_m / elapsed_s >= rules.stopped_below_mps:
            fading = math.exp(-elapsed_s / PACE_FADES_S)
            routes.paced_m[route] = routes.paced_m[route] * fading + come_m
            routes.paced_s[route] = routes.paced_s[route] * fading + elapsed_s
    routes.progress_m[route] = along_m
    routes.segment[route] = segment
    routes.matched_at_us[route] = at_us


@scalar_kernel
def follow_routes(
    fixes: PositionColumns,
    rows: I64,
    folded: FoldedFixes,
    devices: DeviceColumns,
    routes: RouteColumns,
    line: Line,
    rules: RouteRules,
) -> None:
    """Moves the routes of each device by its counted fixes, as far as they came in order."""
    for i in range(len(rows)):
        route = devices.first_route[rows[i]]
        if route == NOTHING or not folded.in_order[i]:
            continue
        while route != NOTHING:
            follow(route, fixes.observed_at_us[i], fixes.longitude_deg[i], fixes.latitude_deg[i], routes, line, rules)
            route = routes.following[route]
