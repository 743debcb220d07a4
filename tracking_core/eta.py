"""When a device will arrive: what is answered to `Engine.eta`."""

from __future__ import annotations

from dataclasses import dataclass


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
