"""Fences as `drover.geofence.v1.Fence`, in and out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from drover.geofence.v1 import fence_pb2
from geofence.definition import (
    ALWAYS,
    F64,
    ActiveTimes,
    CircleShape,
    CorridorShape,
    CrossingRule,
    FenceDefinition,
    MultiPolygonShape,
    Shape,
    VisitRule,
    WeeklyWindow,
)
from geofence.validation import InvalidFence, day_of


def to_proto(definition: FenceDefinition) -> fence_pb2.Fence:
    """The message of a fence; every field of its rules is written out, but for what is not used."""
    rule = definition.crossing
    message = fence_pb2.Fence(
        fence_id=definition.fence_id,
        tenant=definition.tenant,
        name=definition.name,
        crossing=fence_pb2.CrossingRule(
            enter_fixes=rule.enter_fixes,
            exit_fixes=rule.exit_fixes,
            confirm_after_us=rule.confirm_after_us,
            exit_margin_m=rule.exit_margin_m,
            accuracy_cap_m=rule.accuracy_cap_m,
        ),
        version=definition.version,
        labels=dict(definition.labels),
        visit=fence_pb2.VisitRule(
            dwell_us=definition.visit.dwell_us,
            speed_limit_mps=definition.visit.speed_limit_mps,
            speed_tolerance_mps=definition.visit.speed_tolerance_mps,
            watched=definition.visit.watched,
            cross=definition.visit.cross,
        ),
        active=_active_message(definition.active) if definition.active != ALWAYS else None,
    )
    shape = definition.shape
    if isinstance(shape, CircleShape):
        message.geometry.circle.longitude_deg = shape.longitude_deg
        message.geometry.circle.latitude_deg = shape.latitude_deg
        message.geometry.circle.radius_m = shape.radius_m
    elif isinstance(shape, CorridorShape):
        corridor = message.geometry.corridor
        corridor.longitude_deg.extend(shape.line[:, 0].tolist())
        corridor.latitude_deg.extend(shape.line[:, 1].tolist())
        corridor.half_width_m = shape.half_width_m
    else:
        message.geometry.multi_polygon.SetInParent()
        for polygon in shape.polygons:
            rings = message.geometry.multi_polygon.polygons.add().rings
            for ring in polygon:
                rings.add(longitude_deg=ring[:, 0].tolist(), latitude_deg=ring[:, 1].tolist())
    return message


def from_proto(message: fence_pb2.Fence) -> FenceDefinition:
    """The fence of a message, with defaults for what its rule leaves out. Not validated: `validate` is the caller's.

    Raises InvalidFence if it has no geometry, lists of unequal length or a day that is none, for then there is no fence
    at all.
    """
    rule, visit = message.crossing, message.visit
    default = CrossingRule()
    return FenceDefinition(
        tenant=message.tenant,
        fence_id=message.fence_id,
        name=message.name,
        shape=_shape(message.geometry),
        crossing=CrossingRule(
            enter_fixes=rule.enter_fixes if rule.HasField("enter_fixes") else default.enter_fixes,
            exit_fixes=rule.exit_fixes if rule.HasField("exit_fixes") else default.exit_fixes,
            confirm_after_us=rule.confirm_after_us if rule.HasField("confirm_after_us") else default.confirm_after_us,
            exit_margin_m=rule.exit_margin_m if rule.HasField("exit_margin_m") else default.exit_margin_m,
            accuracy_cap_m=rule.accuracy_cap_m if rule.HasField("accuracy_cap_m") else default.accuracy_cap_m,
        ),
        version=message.version,
        labels=dict(message.labels),
        visit=VisitRule(
            dwell_us=visit.dwell_us if visit.HasField("dwell_us") else None,
            speed_limit_mps=visit.speed_limit_mps if visit.HasField("speed_limit_mps") else None,
            speed_tolerance_mps=visit.speed_tolerance_mps,
            watched=visit.watched,
            cross=visit.cross,
        ),
        active=_active(message.active),
    )


def _active_message(active: ActiveTimes) -> fence_pb2.ActiveTimes:
    return fence_pb2.ActiveTimes(
        time_zone=active.time_zone,
        windows=[
            fence_pb2.WeeklyWindow(days=each.days, from_minute=each.from_minute, to_minute=each.to_minute)
            for each in active.windows
        ],
        first_day="" if active.first_day is None else active.first_day.isoformat(),
        last_day="" if active.last_day is None else active.last_day.isoformat(),
    )


def _active(message: fence_pb2.ActiveTimes) -> ActiveTimes:
    return ActiveTimes(
        message.time_zone,
        tuple(WeeklyWindow(tuple(each.days), each.from_minute, each.to_minute) for each in message.windows),
        day_of(message.first_day, "active_from") if message.first_day else None,
        day_of(message.last_day, "active_until") if message.last_day else None,
    )


def _shape(geometry: fence_pb2.Geometry) -> Shape:
    kind = geometry.WhichOneof("shape")
    if kind == "circle":
        circle = geometry.circle
        return CircleShape(circle.longitude_deg, circle.latitude_deg, circle.radius_m)
    if kind == "corridor":
        corridor = geometry.corridor
        return CorridorShape(
            _vertices(corridor.longitude_deg, corridor.latitude_deg, "corridor"), corridor.half_width_m
        )
    if kind == "multi_polygon":
        return MultiPolygonShape(
            tuple(
                tuple(
                    _vertices(ring.longitude_deg, ring.latitude_deg, f"polygon {number}, ring {place}")
                    for place, ring in enumerate(polygon.rings)
                )
                for number, polygon in enumerate(geometry.multi_polygon.polygons)
            )
        )
    raise InvalidFence("missing", "there is no geometry", "geometry")


def _vertices(longitude_deg: Iterable[float], latitude_deg: Iterable[float], where: str) -> F64:
    longitudes = np.fromiter(longitude_deg, np.float64)
    latitudes = np.fromiter(latitude_deg, np.float64)
    if len(longitudes) != len(latitudes):
        raise InvalidFence("malformed", "there are not as many latitudes as longitudes", where)
    return np.column_stack((longitudes, latitudes))
