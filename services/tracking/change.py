"""Definitions from stored rows to the log (`DefinitionChange`), and from the log to what `Engine.define` takes."""

from __future__ import annotations

from typing import Final

import numpy as np

from drover.geofence.v1.fence_pb2 import Fence
from drover.tracking.v1.definition_pb2 import DefinitionChange, Key, Proximity, Route, SensorLimit
from geofence import wire
from services.tracking.model import Definition as StoredDefinition
from services.tracking.model import DefinitionKind
from tracking_core import definitions as core

DEFAULT_SPEED_MPS: Final = 13.9


def change_of(stored: StoredDefinition, device_number: int = 0, other_device_number: int = 0) -> DefinitionChange:
    """The log entry for a stored version. `device_number` is that of the device named, of all but fences."""
    if stored.deleted:
        return deletion_of(stored)
    match stored.kind:
        case DefinitionKind.FENCE:
            return DefinitionChange(fence_put=Fence.FromString(stored.body))
        case DefinitionKind.LIMIT:
            limit = SensorLimit.FromString(stored.body)
            limit.device_number = device_number
            return DefinitionChange(limit_put=limit)
        case DefinitionKind.ROUTE:
            route = Route.FromString(stored.body)
            route.device_number = device_number
            return DefinitionChange(route_put=route)
        case DefinitionKind.PROXIMITY:
            proximity = Proximity.FromString(stored.body)
            proximity.device_number = device_number
            proximity.other_device_number = other_device_number
            return DefinitionChange(proximity_put=proximity)


def other_device_id(stored: StoredDefinition) -> str:
    """The second device of a proximity that is not deleted."""
    return Proximity.FromString(stored.body).other_device_id


def deletion_of(stored: StoredDefinition) -> DefinitionChange:
    """The log entry that ends a definition with this version."""
    key = Key(tenant=stored.tenant, id=stored.definition_id, version=stored.version)
    match stored.kind:
        case DefinitionKind.FENCE:
            return DefinitionChange(fence_deleted=key)
        case DefinitionKind.LIMIT:
            return DefinitionChange(limit_deleted=key)
        case DefinitionKind.ROUTE:
            return DefinitionChange(route_deleted=key)
        case DefinitionKind.PROXIMITY:
            return DefinitionChange(proximity_deleted=key)


def core_definition(change: DefinitionChange) -> core.Definition | None:
    """What the engine is told; None for a change of a kind that this version does not know.

    Raises InvalidFence for a fence without geometry, which should never have been appended.
    """
    match change.WhichOneof("change"):
        case "fence_put":
            return core.PutFence(wire.from_proto(change.fence_put))
        case "fence_deleted":
            gone = change.fence_deleted
            return core.DeleteFence(gone.tenant, gone.id, gone.version)
        case "limit_put":
            return core.PutLimit(_limit(change.limit_put))
        case "limit_deleted":
            gone = change.limit_deleted
            return core.DeleteLimit(gone.tenant, gone.id, gone.version)
        case "route_put":
            return core.PutRoute(_route(change.route_put))
        case "route_deleted":
            gone = change.route_deleted
            return core.DeleteRoute(gone.tenant, gone.id, gone.version)
        case "proximity_put":
            return core.PutProximity(_proximity(change.proximity_put))
        case "proximity_deleted":
            gone = change.proximity_deleted
            return core.DeleteProximity(gone.tenant, gone.id, gone.version)
        case _:
            return None


def _limit(limit: SensorLimit) -> core.SensorLimit:
    return core.SensorLimit(
        tenant=limit.tenant,
        limit_id=limit.limit_id,
        device=limit.device_number,
        quantity=int(limit.quantity),
        minimum=limit.minimum if limit.HasField("minimum") else None,
        maximum=limit.maximum if limit.HasField("maximum") else None,
        hysteresis=limit.hysteresis,
        minimum_duration_us=limit.minimum_duration_us,
        version=limit.version,
    )


def _route(route: Route) -> core.Route:
    return core.Route(
        tenant=route.tenant,
        route_id=route.route_id,
        device=route.device_number,
        stops=tuple(
            core.RouteStop(
                stop_id=stop.stop_id,
                longitude_deg=stop.longitude_deg,
                latitude_deg=stop.latitude_deg,
                planned_arrival_us=stop.planned_arrival_us if stop.HasField("planned_arrival_us") else None,
                service_time_us=stop.service_time_us,
                fence_id=stop.fence_id,
                arrival_grace_us=(
                    stop.arrival_grace_us if stop.HasField("arrival_grace_us") else core.DEFAULT_GRACE_US
                ),
            )
            for stop in route.stops
        ),
        line=np.column_stack((np.array(route.longitude_deg), np.array(route.latitude_deg))).astype(np.float64),
        expected_speed_mps=route.expected_speed_mps if route.HasField("expected_speed_mps") else DEFAULT_SPEED_MPS,
        version=route.version,
    )


def _proximity(proximity: Proximity) -> core.Proximity:
    given = {
        name: getattr(proximity, name)
        for name in ("margin_m", "max_age_us", "near_fixes", "apart_fixes")
        if proximity.HasField(name)
    }
    return core.Proximity(
        tenant=proximity.tenant,
        proximity_id=proximity.proximity_id,
        device=proximity.device_number,
        device_id=proximity.device_id,
        other_device=proximity.other_device_number,
        other_device_id=proximity.other_device_id,
        distance_m=proximity.distance_m,
        minimum_duration_us=proximity.minimum_duration_us,
        name=proximity.name,
        version=proximity.version,
        **given,
    )
