"""The port TrackingDefinitions over gRPC: a shipment's stops become fences, its limits limits, its way a route."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc

from drover.api.tracking.v1 import tracking_service_pb2 as pb
from drover.api.tracking.v1.tracking_service_pb2_grpc import DefinitionsStub
from drover.geofence.v1.fence_pb2 import Circle, Fence, Geometry
from drover.telemetry.v1.reading_pb2 import Quantity
from drover.tracking.v1.definition_pb2 import Route, RouteStop, SensorLimit
from runtime.grpc_client import problem_of
from runtime.problems import Conflict, NotFound
from services.shipment.model import Limit, Shipment, Stop

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Metadata = tuple[tuple[str, str], ...]


class TrackingClient:
    """See ports.TrackingDefinitions. `metadata` gives what a call for a tenant carries."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Callable[[str], Metadata], *, timeout_s: float) -> None:
        self._stub = DefinitionsStub(channel)
        self._metadata = metadata
        self._timeout_s = timeout_s

    async def put(self, shipment: Shipment) -> None:
        """See ports.TrackingDefinitions. Fences first: a route without them has an ETA, but no arrival."""
        for stop in shipment.stops:
            if stop.radius_m is not None:
                await self._put_fence(shipment, stop, stop.radius_m)
        for limit in shipment.limits:
            limit_put = pb.PutSensorLimitRequest(limit=limit_of(shipment, limit))
            await self._call(self._stub.PutSensorLimit, limit_put, shipment.tenant)
        await self._call(self._stub.PutRoute, pb.PutRouteRequest(route=route_of(shipment)), shipment.tenant)

    async def remove(self, shipment: Shipment) -> None:
        """See ports.TrackingDefinitions. Fences of the tenant's own stay."""
        await self._delete(
            self._stub.DeleteRoute, pb.DeleteRouteRequest(route_id=shipment.shipment_id), shipment.tenant
        )
        for limit in shipment.limits:
            request = pb.DeleteSensorLimitRequest(limit_id=limit.limit_id)
            await self._delete(self._stub.DeleteSensorLimit, request, shipment.tenant)
        for stop in shipment.stops:
            if stop.radius_m is not None:
                gone = pb.DeleteFenceRequest(fence_id=stop.fence_id)
                await self._delete(self._stub.DeleteFence, gone, shipment.tenant)

    async def _put_fence(self, shipment: Shipment, stop: Stop, radius_m: float) -> None:
        # "Must not exist", for an edit would make a new version of the fence, and count again who is inside.
        request = pb.PutFenceRequest(fence=fence_of(shipment, stop, radius_m), expected_version=0)
        try:
            await self._call(self._stub.PutFence, request, shipment.tenant)
        except Conflict:
            return  # put before a crash; our fences never change

    async def _delete(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Answer], request: Request, tenant: str
    ) -> None:
        try:
            await self._call(method, request, tenant)
        except NotFound:
            return  # deleted before a crash, or never put

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Answer], request: Request, tenant: str
    ) -> Answer:
        try:
            return await method(request, metadata=self._metadata(tenant), timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise problem_of(error) from error


def fence_of(shipment: Shipment, stop: Stop, radius_m: float) -> Fence:
    """The circle around a stop, labelled with what it belongs to."""
    circle = Circle(longitude_deg=stop.longitude_deg, latitude_deg=stop.latitude_deg, radius_m=radius_m)
    return Fence(
        fence_id=stop.fence_id,
        tenant=shipment.tenant,
        name=stop.name or stop.stop_id,
        geometry=Geometry(circle=circle),
        labels={"kind": "shipment_stop", "shipment_id": shipment.shipment_id, "stop_id": stop.stop_id},
    )


def limit_of(shipment: Shipment, limit: Limit) -> SensorLimit:
    """The limit, for the shipment's device."""
    return SensorLimit(
        limit_id=limit.limit_id,
        tenant=shipment.tenant,
        device_id=shipment.device_id,
        quantity=Quantity.ValueType(limit.quantity),
        minimum=limit.minimum,
        maximum=limit.maximum,
        hysteresis=limit.hysteresis,
        minimum_duration_us=limit.minimum_duration_us,
    )


def route_of(shipment: Shipment) -> Route:
    """The way past the stops; its id is the shipment's."""
    return Route(
        route_id=shipment.shipment_id,
        tenant=shipment.tenant,
        device_id=shipment.device_id,
        longitude_deg=shipment.route_longitude_deg,
        latitude_deg=shipment.route_latitude_deg,
        stops=[
            RouteStop(
                stop_id=stop.stop_id,
                longitude_deg=stop.longitude_deg,
                latitude_deg=stop.latitude_deg,
                planned_arrival_us=stop.planned_arrival_us,
                service_time_us=stop.service_time_us,
                fence_id=stop.fence_id,
            )
            for stop in shipment.stops
        ],
    )
