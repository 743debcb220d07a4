"""When a device will arrive at the stops of its route, with what certainty, and why that may be less than it looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from geofence.geodesy import distance_m
from tracking_core.columns import NO_TIME
from tracking_core.device_table import DeviceColumns
from tracking_core.routes.following import EXPECTED_WEIGHS_S, pace_mps
from tracking_core.routes.table import RouteTable
from tracking_core.settings import EngineSettings

_Z_90: Final = 1.2815515655446004
"""The 90 % quantile of the normal distribution."""
_SPREAD_KNOWN: Final = 0.15
_SPREAD_UNKNOWN: Final = 0.35
"""Standard deviation of the logarithm of the travel time, for a device whose pace is well known and one whose is not.
Chosen, not learned: calibration needs trips that ended."""
_DETOUR: Final = 1.3
"""How much longer the way back to the route is than the straight line."""


@dataclass(frozen=True, slots=True)
class StopEta:
    """One stop. The times are None where the stop is passed or nothing is known of the device."""

    stop_id: str
    p10_us: int | None
    p50_us: int | None
    p90_us: int | None
    remaining_m: float
    """Along the route; 0 for a passed stop, NaN when nothing is known of the device."""
    passed: bool
    planned_arrival_us: int | None


@dataclass(frozen=True, slots=True)
class RouteEta:
    """All stops of a route, in its order."""

    tenant: str
    route_id: str
    device: int
    device_id: str
    stops: tuple[StopEta, ...]
    method: str
    """`route_pace` (own pace along the planned line), `expected_speed` (no own pace yet), `straight_line` (off the
    route), `none` (no fix)."""
    based_on_us: int
    """When the fix was observed that all rests on; 0 when there is none."""
    reasons: tuple[str, ...]
    """Why the times deserve less trust: `stale`, `off_route`, `stopped`, `no_fix`."""


def predict(
    slot: int,
    row: int,
    device_id: str,
    routes: RouteTable,
    devices: DeviceColumns,
    settings: EngineSettings,
    now_us: int,
) -> RouteEta:
    """Arrival times from the state of one route and its device.

    Travel time is the distance that remains divided by the pace, which is the device's own shrunk to the expected
    speed; planned service times at stops between are added. p10 and p90 are those of a log-normal travel time around
    it. Unless the fix is stale, no arrival is before `now_us`.
    """
    route = routes.definitions[slot]
    based_on_us = int(devices.counted_at_us[row])
    if based_on_us == NO_TIME:
        unknown = tuple(
            StopEta(stop.stop_id, None, None, None, math.nan, passed=False, planned_arrival_us=stop.planned_arrival_us)
            for stop in route.stops
        )
        return RouteEta(route.tenant, route.route_id, route.device, device_id, unknown, "none", 0, ("no_fix",))

    columns = routes.columns
    progress_m = float(columns.progress_m[slot])
    paced_s = float(columns.paced_s[slot])
    pace = pace_mps(float(columns.paced_m[slot]), paced_s, route.expected_speed_mps)
    off_route = not columns.offset_m[slot] <= settings.off_route_m
    stale = now_us - based_on_us > settings.stale_after_us
    reasons = [
        reason
        for reason, holds in (
            ("stale", stale),
            ("off_route", off_route),
            ("stopped", float(devices.speed_mps[row]) < settings.stopped_below_mps),
        )
        if holds
    ]
    known = paced_s / (paced_s + EXPECTED_WEIGHS_S)
    spread = math.exp(_Z_90 * (_SPREAD_UNKNOWN + (_SPREAD_KNOWN - _SPREAD_UNKNOWN) * known))

    along_m = routes.stops_along_m[slot]
    stops: list[StopEta] = []
    service_us = 0
    way_back_m = math.nan
    start_m = progress_m
    for stop, stop_m in zip(route.stops, along_m.tolist(), strict=True):
        if progress_m >= stop_m - settings.stop_reach_m:
            stops.append(StopEta(stop.stop_id, None, None, None, 0.0, True, stop.planned_arrival_us))
            continue
        if off_route and math.isnan(way_back_m):
            way_back_m = _DETOUR * distance_m(
                float(devices.latitude_deg[row]),
                float(devices.longitude_deg[row]),
                stop.latitude_deg,
                stop.longitude_deg,
            )
            start_m = stop_m
        remaining_m = stop_m - start_m + (way_back_m if off_route else 0.0)
        travel_us = remaining_m / pace * 1e6
        earliest_us = -(2**63) if stale else now_us
        p10_us, p50_us, p90_us = (
            max(based_on_us + service_us + round(travel_us * factor), earliest_us)
            for factor in (1.0 / spread, 1.0, spread)
        )
        stops.append(StopEta(stop.stop_id, p10_us, p50_us, p90_us, remaining_m, False, stop.planned_arrival_us))
        service_us += stop.service_time_us
    method = "straight_line" if off_route else "route_pace" if paced_s > 0.0 else "expected_speed"
    return RouteEta(
        route.tenant, route.route_id, route.device, device_id, tuple(stops), method, based_on_us, tuple(reasons)
    )
