"""/v1/shipments: what is carried, where it stands, and when it will arrive."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Body, Query
from pydantic import Field, model_validator
from starlette.responses import Response

from drover.api.shipment.v1.shipment_service_pb2 import (
    CancelShipmentRequest,
    CreateShipmentRequest,
    GetShipmentRequest,
    ListShipmentsRequest,
)
from drover.api.tracking.v1.tracking_service_pb2 import GetEtaRequest
from drover.shipment.v1 import shipment_pb2
from drover.shipment.v1.shipment_pb2 import HandlingUnit, Shipment, ShipmentLimit, ShipmentStop
from drover.telemetry.v1 import reading_pb2
from gateway.auth import Editor, Reader
from gateway.json_view import enum_number, json_response, view
from gateway.paging import cursor, page_token
from gateway.rest.context import Services
from gateway.rest.documentation import DeviceId, Given, Page, PageQuery, Shown, TimeText, TimeUs, problems

router = APIRouter(prefix="/v1/shipments", tags=["shipments"])

Status = Literal["planned", "in_transit", "at_stop", "delivered", "cancelled"]
Quantity = Literal[
    "temperature_celsius",
    "humidity_ratio",
    "shock_mps2",
    "door_open",
    "battery_ratio",
    "fuel_ratio",
    "pressure_pa",
    "illuminance_lux",
    "voltage_v",
    "ignition_on",
    "odometer_m",
]
ShipmentId = Annotated[str, Field(min_length=1, max_length=128)]
_QUANTITIES = reading_pb2.DESCRIPTOR.enum_types_by_name["Quantity"]
_STATUSES = shipment_pb2.DESCRIPTOR.enum_types_by_name["ShipmentStatus"]


class NewStop(Given):
    """A stop to pass, in order."""

    stop_id: str = Field("", max_length=128, description="Unique within the shipment; made if left out.")
    name: str = Field("", max_length=256, examples=["Hamburg"])
    longitude_deg: float = Field(ge=-180, le=180)
    latitude_deg: float = Field(ge=-90, le=90)
    fence_id: str = Field("", max_length=128, description="The fence whose crossing is arrival; a circle if left out.")
    radius_m: float = Field(0.0, ge=0, le=1_000_000, description="Of the circle; 200 m if left out.")
    planned_arrival_us: TimeUs | None = Field(None, alias="planned_arrival_at")
    service_time_us: int = Field(0, ge=0, lt=2**63, description="How long the vehicle is expected to stay.")

    def proto(self) -> ShipmentStop:
        """As the service takes it."""
        return ShipmentStop(**self.model_dump())


class NewLimit(Given):
    """Bounds that hold while the shipment is carried."""

    quantity: Quantity
    minimum: float | None = None
    maximum: float | None = None
    hysteresis: float = Field(0.0, ge=0)
    minimum_duration_us: int = Field(0, ge=0, lt=2**63)

    def proto(self) -> ShipmentLimit:
        """As the service takes it."""
        return ShipmentLimit(**{**self.model_dump(), "quantity": enum_number(_QUANTITIES, self.quantity)})


class NewHandlingUnit(Given):
    """A tagged pallet, case or returnable item."""

    epc: str = Field(pattern="^([0-9A-Fa-f]{2}){1,16}$", examples=["3034257BF7194E4000001A85"])
    name: str = Field("", max_length=256)

    def proto(self) -> HandlingUnit:
        """As the service takes it."""
        return HandlingUnit(epc=bytes.fromhex(self.epc), name=self.name)


class NewShipment(Given):
    """A shipment to make."""

    shipment_id: str = Field("", max_length=128, description="Made if left out.", examples=["s-1001"])
    reference: str = Field("", max_length=256)
    device_id: DeviceId = Field(examples=["truck-7"])
    stops: list[NewStop] = Field(min_length=1, max_length=200)
    limits: list[NewLimit] = Field([], max_length=32)
    handling_units: list[NewHandlingUnit] = Field([], max_length=10_000)
    route_longitude_deg: list[float] = Field([], max_length=100_000, description="The planned line, if known.")
    route_latitude_deg: list[float] = Field([], max_length=100_000)

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.route_latitude_deg) != len(self.route_longitude_deg):
            raise ValueError("a route has as many latitudes as longitudes")
        return self

    def proto(self) -> Shipment:
        """As the service takes it."""
        return Shipment(
            shipment_id=self.shipment_id,
            reference=self.reference,
            device_id=self.device_id,
            stops=[stop.proto() for stop in self.stops],
            limits=[limit.proto() for limit in self.limits],
            handling_units=[unit.proto() for unit in self.handling_units],
            route_longitude_deg=self.route_longitude_deg,
            route_latitude_deg=self.route_latitude_deg,
        )


class Cancellation(Given):
    """Why a shipment ends."""

    reason: str = Field("", max_length=1_000)


class StopView(Shown):
    """A stop and what became of it."""

    stop_id: str
    name: str
    longitude_deg: float
    latitude_deg: float
    fence_id: str
    radius_m: float
    planned_arrival_at: TimeText | None
    service_time_us: int
    arrived_at: TimeText | None
    departed_at: TimeText | None
    missed_at: TimeText | None = Field(
        description="When it was due and not reached; it stays when it is reached later."
    )


class LimitView(Shown):
    """A limit that holds."""

    quantity: Quantity
    minimum: float | None
    maximum: float | None
    hysteresis: float
    minimum_duration_us: int


class HandlingUnitView(Shown):
    """A unit and where it was last read."""

    epc: str
    epc_uri: str | None
    name: str
    last_reader_id: str
    last_seen_at: TimeText | None
    present: bool


class ExceptionView(Shown):
    """What went wrong."""

    event_id: str
    kind: str
    detail: str
    opened_at: TimeText
    closed_at: TimeText | None


class ShipmentView(Shown):
    """A shipment as it stands."""

    shipment_id: str
    tenant: str
    reference: str
    device_id: str
    status: Status
    stops: list[StopView]
    limits: list[LimitView]
    handling_units: list[HandlingUnitView]
    exceptions: list[ExceptionView]
    route_longitude_deg: list[float]
    route_latitude_deg: list[float]
    created_at: TimeText
    updated_at: TimeText
    version: int


class StopEtaView(Shown):
    """When a stop will be reached: half, one and nine in ten arrivals come before these."""

    stop_id: str
    p10_at: TimeText | None
    p50_at: TimeText | None
    p90_at: TimeText | None
    remaining_m: float
    passed: bool
    planned_arrival_at: TimeText | None


class EtaView(Shown):
    """Arrival times for what remains of a route."""

    route_id: str
    device_id: str
    stops: list[StopEtaView]
    method: str = Field(examples=["route_pace"])
    based_on_at: TimeText | None = Field(description="The fix they rest on; null when the device was never seen.")
    reasons: list[str] = Field(description="Why they deserve less trust.", examples=[["stale"]])


class ShipmentsQuery(PageQuery):
    """Which shipments."""

    status: list[Status] = Field([], description="Only these.")
    device_id: str = Field("", max_length=256, description="Only this device's.")


@router.get("", response_model=Page[ShipmentView], responses=problems())
async def list_shipments(
    session: Reader, services: Services, shipments: Annotated[ShipmentsQuery, Query()]
) -> Response:
    """Shipments, newest first."""
    query = f"shipments {sorted(shipments.status)} {shipments.device_id}"
    request = ListShipmentsRequest(
        device_id=shipments.device_id, page_size=shipments.limit, page_token=page_token(shipments.cursor, query)
    )
    for status in shipments.status:
        number: Any = enum_number(_STATUSES, status)
        request.statuses.append(number)
    answer = await services.call(services.shipments.ListShipments, request, session.token)
    items = [view(shipment) for shipment in answer.shipments]
    return json_response({"items": items, "next_cursor": cursor(answer.next_page_token, query)})


@router.post("", response_model=ShipmentView, status_code=201, responses=problems(404, 409, body=True))
async def create_shipment(session: Editor, services: Services, shipment: NewShipment) -> Response:
    """Makes a shipment, its stop fences, route and limits. The same id with the same content changes nothing."""
    answer = await services.call(
        services.shipments.CreateShipment, CreateShipmentRequest(shipment=shipment.proto()), session.token
    )
    made = answer.shipment
    return json_response(view(made), 201, headers={"Location": f"/v1/shipments/{made.shipment_id}"})


@router.get("/{shipment_id}", response_model=ShipmentView, responses=problems(404))
async def get_shipment(session: Reader, services: Services, shipment_id: ShipmentId) -> Response:
    """One shipment."""
    answer = await services.call(
        services.shipments.GetShipment, GetShipmentRequest(shipment_id=shipment_id), session.token
    )
    return json_response(view(answer.shipment))


@router.get("/{shipment_id}/eta", response_model=EtaView, responses=problems(404))
async def get_eta(session: Reader, services: Services, shipment_id: ShipmentId) -> Response:
    """When its remaining stops will be reached."""
    answer = await services.call(services.tracking.GetEta, GetEtaRequest(route_id=shipment_id), session.token)
    return json_response(view(answer))


@router.post("/{shipment_id}/cancel", response_model=ShipmentView, responses=problems(404, 409, body=True))
async def cancel_shipment(
    session: Editor,
    services: Services,
    shipment_id: ShipmentId,
    cancellation: Annotated[Cancellation | None, Body()] = None,
) -> Response:
    """Ends a shipment before delivery."""
    reason = cancellation.reason if cancellation is not None else ""
    answer = await services.call(
        services.shipments.CancelShipment,
        CancelShipmentRequest(shipment_id=shipment_id, reason=reason),
        session.token,
    )
    return json_response(view(answer.shipment))
