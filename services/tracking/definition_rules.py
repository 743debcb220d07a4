"""What a fence, a limit, a route and a proximity must be before they are stored: checked here once, obeyed everywhere.

Each check returns a copy of the message that names the caller's tenant and no version, or raises InvalidDefinition with
a code for programs and a line for people.
"""

from __future__ import annotations

import math
import re
from typing import Final, TypeVar

from drover.geofence.v1.fence_pb2 import Fence
from drover.telemetry.v1.reading_pb2 import Quantity
from drover.tracking.v1.definition_pb2 import Proximity, Route, SensorLimit
from geofence import wire
from geofence.validation import InvalidFence, validate
from services.tracking.model import InvalidDefinition
from services.tracking.ports import Limits

FARTHEST_M: Final = 1_000_000.0
OLDEST_US: Final = 30 * 86_400_000_000
MOST_FIXES: Final = 100

Message = TypeVar("Message", Fence, SensorLimit, Route, Proximity)

LATEST_TIME_US: Final = 253_402_300_799_999_999
LONGEST_GRACE_US: Final = 366 * 86_400_000_000
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_DEVICE_ID: Final = re.compile(r"[^\x00-\x1f]{1,128}")


def with_version(message: Message, version: int) -> bytes:
    """The message's bytes, as stored, with a version in it. Equal messages give equal bytes."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.version = version
    return copy.SerializeToString(deterministic=True)


def checked_fence(fence: Fence, tenant: str, limits: Limits) -> Fence:
    """Raises InvalidDefinition with a reason of `geofence.validation`."""
    vertices = _vertices(fence)
    if vertices > limits.fence_vertices:
        raise InvalidDefinition(
            f"the fence has {vertices} vertices, {limits.fence_vertices} are allowed", code="too_many_points"
        )
    copy = Fence()
    copy.CopyFrom(fence)
    copy.tenant = tenant
    copy.version = 0
    try:
        validate(wire.from_proto(copy))
    except InvalidFence as error:
        raise InvalidDefinition(str(error), code=error.reason) from error
    return copy


def _vertices(fence: Fence) -> int:
    polygons = fence.geometry.multi_polygon.polygons
    rings = sum(max(len(ring.longitude_deg), len(ring.latitude_deg)) for polygon in polygons for ring in polygon.rings)
    corridor = fence.geometry.corridor
    return rings + max(len(corridor.longitude_deg), len(corridor.latitude_deg))


def checked_limit(limit: SensorLimit, tenant: str) -> SensorLimit:
    """Raises InvalidDefinition: bad_id, bad_device_id, unknown_quantity, no_bound, not_finite, bounds_crossed,
    negative.
    """
    _check_ids(limit.limit_id, limit.device_id, "limit")
    if limit.quantity not in Quantity.values() or limit.quantity == Quantity.QUANTITY_UNSPECIFIED:
        raise InvalidDefinition("the limit does not say which quantity it bounds", code="unknown_quantity")
    bounds = [
        value
        for value, is_there in ((limit.minimum, limit.HasField("minimum")), (limit.maximum, limit.HasField("maximum")))
        if is_there
    ]
    if not bounds:
        raise InvalidDefinition("a limit needs a minimum, a maximum or both", code="no_bound")
    if not all(math.isfinite(value) for value in (*bounds, limit.hysteresis)):
        raise InvalidDefinition("bounds and hysteresis are finite numbers", code="not_finite")
    if len(bounds) == 2 and limit.minimum > limit.maximum:
        raise InvalidDefinition("the minimum lies above the maximum", code="bounds_crossed")
    if limit.hysteresis < 0 or limit.minimum_duration_us < 0:
        raise InvalidDefinition("hysteresis and minimum duration are not negative", code="negative")
    copy = SensorLimit()
    copy.CopyFrom(limit)
    copy.tenant = tenant
    copy.version = 0
    copy.device_number = 0
    return copy


def checked_route(route: Route, tenant: str, limits: Limits) -> Route:
    """Raises InvalidDefinition: bad_id, bad_device_id, no_stops, too_many_points, malformed, repeated_stop, not_finite,
    coordinate_out_of_range, bad_speed, bad_planned_arrival, bad_grace, negative.
    """
    _check_ids(route.route_id, route.device_id, "route")
    if not route.stops:
        raise InvalidDefinition("a route has at least one stop", code="no_stops")
    if max(len(route.longitude_deg), len(route.latitude_deg)) + len(route.stops) > limits.route_vertices:
        raise InvalidDefinition(
            f"the route has more than {limits.route_vertices} vertices and stops", code="too_many_points"
        )
    if len(route.longitude_deg) != len(route.latitude_deg) or len(route.longitude_deg) == 1:
        raise InvalidDefinition(
            "the line has as many longitudes as latitudes, and none or at least two of them", code="malformed"
        )
    if len({stop.stop_id for stop in route.stops}) < len(route.stops):
        raise InvalidDefinition("two stops have the same id", code="repeated_stop")
    for longitude_deg, latitude_deg in (
        *zip(route.longitude_deg, route.latitude_deg, strict=True),
        *((stop.longitude_deg, stop.latitude_deg) for stop in route.stops),
    ):
        if not (math.isfinite(longitude_deg) and math.isfinite(latitude_deg)):
            raise InvalidDefinition("coordinates are finite numbers", code="not_finite")
        if abs(longitude_deg) > 180.0 or abs(latitude_deg) > 90.0:
            raise InvalidDefinition(f"{longitude_deg}, {latitude_deg} is not a place", code="coordinate_out_of_range")
    if any(stop.service_time_us < 0 for stop in route.stops):
        raise InvalidDefinition("a service time is not negative", code="negative")
    for stop in route.stops:
        if stop.fence_id and not _ID.fullmatch(stop.fence_id):
            raise InvalidDefinition("the id of a fence is 1 to 128 letters, digits or any of _ . : -", code="bad_id")
        if not 0 <= stop.planned_arrival_us <= LATEST_TIME_US:
            raise InvalidDefinition("a planned arrival is a time until the year 9999", code="bad_planned_arrival")
        if not 0 <= stop.arrival_grace_us <= LONGEST_GRACE_US:
            raise InvalidDefinition("a grace is at most a year, and not negative", code="bad_grace")
    if route.HasField("expected_speed_mps") and not 0.0 < route.expected_speed_mps < math.inf:
        raise InvalidDefinition("an expected speed is above 0", code="bad_speed")
    copy = Route()
    copy.CopyFrom(route)
    copy.tenant = tenant
    copy.version = 0
    copy.device_number = 0
    return copy


def checked_proximity(proximity: Proximity, tenant: str) -> Proximity:
    """Raises InvalidDefinition: bad_id, bad_device_id, one_device, bad_distance, bad_age, negative, no_fixes."""
    _check_ids(proximity.proximity_id, proximity.device_id, "proximity")
    _check_ids(proximity.proximity_id, proximity.other_device_id, "proximity")
    if proximity.device_id == proximity.other_device_id:
        raise InvalidDefinition("a proximity is of two devices", code="one_device")
    if not 0.0 < proximity.distance_m <= FARTHEST_M or not 0.0 <= proximity.margin_m <= FARTHEST_M:
        raise InvalidDefinition(
            f"a distance is above 0, a margin at least 0, both at most {FARTHEST_M:.0f} m", code="bad_distance"
        )
    if proximity.HasField("max_age_us") and not 0 < proximity.max_age_us <= OLDEST_US:
        raise InvalidDefinition("a greatest age is above 0 and at most 30 days", code="bad_age")
    if not 0 <= proximity.minimum_duration_us <= OLDEST_US:
        raise InvalidDefinition("a minimum duration is not negative and at most 30 days", code="negative")
    for name in ("near_fixes", "apart_fixes"):
        if proximity.HasField(name) and not 1 <= getattr(proximity, name) <= MOST_FIXES:
            raise InvalidDefinition(f"1 to {MOST_FIXES} fixes confirm", code="no_fixes")
    copy = Proximity()
    copy.CopyFrom(proximity)
    copy.tenant = tenant
    copy.version = 0
    copy.device_number = 0
    copy.other_device_number = 0
    return copy


def _check_ids(definition_id: str, device_id: str, what: str) -> None:
    if not _ID.fullmatch(definition_id):
        raise InvalidDefinition(f"the id of a {what} is 1 to 128 letters, digits or any of _ . : -", code="bad_id")
    if not _DEVICE_ID.fullmatch(device_id):
        raise InvalidDefinition(f"the {what} names no device", code="bad_device_id")
