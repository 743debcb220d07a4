"""Between the wire and the model: shipments both ways, events one way."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from drover.api.shipment.v1.shipment_service_pb2 import ListShipmentsRequest
from drover.shipment.v1 import shipment_pb2 as pb
from drover.telemetry.v1.reading_pb2 import Quantity
from drover.tracking.v1.event_pb2 import Cause, Standing, TrackingEvent
from runtime.problems import Invalid
from services.shipment import commands
from services.shipment.events import ArrivalMissed, Event, ExcursionClosed, ExcursionOpened, FenceCrossed, TagMoved
from services.shipment.model import HandlingUnit, Limit, Shipment, ShipmentException, Status, Stop
from services.shipment.plan import InvalidShipment

STATUS_NUMBER: Final = {
    Status.PLANNED: pb.SHIPMENT_STATUS_PLANNED,
    Status.IN_TRANSIT: pb.SHIPMENT_STATUS_IN_TRANSIT,
    Status.AT_STOP: pb.SHIPMENT_STATUS_AT_STOP,
    Status.DELIVERED: pb.SHIPMENT_STATUS_DELIVERED,
    Status.CANCELLED: pb.SHIPMENT_STATUS_CANCELLED,
}
_STATUS_OF: Final = {number: status for status, number in STATUS_NUMBER.items()}


class MalformedEvent(Invalid):
    """Bytes of the event stream that are no TrackingEvent, or one that lacks what every event has."""

    code = "malformed_event"


def to_proto(shipment: Shipment) -> pb.Shipment:
    """The shipment as callers see it."""
    return pb.Shipment(
        shipment_id=shipment.shipment_id,
        tenant=shipment.tenant,
        reference=shipment.reference,
        device_id=shipment.device_id,
        status=STATUS_NUMBER[shipment.status],
        stops=[_stop(each) for each in shipment.stops],
        limits=[_limit(each) for each in shipment.limits],
        handling_units=[_unit(each) for each in shipment.handling_units],
        exceptions=[_exception(each) for each in shipment.exceptions],
        route_longitude_deg=shipment.route_longitude_deg,
        route_latitude_deg=shipment.route_latitude_deg,
        created_at_us=shipment.created_at_us,
        updated_at_us=shipment.updated_at_us,
        version=shipment.version,
    )


def _stop(stop: Stop) -> pb.ShipmentStop:
    return pb.ShipmentStop(
        stop_id=stop.stop_id,
        name=stop.name,
        longitude_deg=stop.longitude_deg,
        latitude_deg=stop.latitude_deg,
        fence_id=stop.fence_id,
        radius_m=stop.radius_m or 0.0,
        planned_arrival_us=stop.planned_arrival_us,
        service_time_us=stop.service_time_us,
        arrived_at_us=stop.arrived_at_us,
        departed_at_us=stop.departed_at_us,
        missed_at_us=stop.missed_at_us,
    )


def _limit(limit: Limit) -> pb.ShipmentLimit:
    return pb.ShipmentLimit(
        quantity=Quantity.ValueType(limit.quantity),
        minimum=limit.minimum,
        maximum=limit.maximum,
        hysteresis=limit.hysteresis,
        minimum_duration_us=limit.minimum_duration_us,
    )


def _unit(unit: HandlingUnit) -> pb.HandlingUnit:
    sighting = unit.last_sighting
    if sighting is None:
        return pb.HandlingUnit(epc=unit.epc, name=unit.name)
    return pb.HandlingUnit(
        epc=unit.epc,
        name=unit.name,
        last_reader_id=sighting.reader_id,
        last_seen_at_us=sighting.observed_at_us,
        present=not sighting.gone,
    )


def _exception(exception: ShipmentException) -> pb.ShipmentException:
    return pb.ShipmentException(
        event_id=exception.event_id,
        kind="excursion",
        detail=exception.detail,
        opened_at_us=exception.opened_at_us,
        closed_at_us=exception.closed_at_us,
    )


def create_command(shipment: pb.Shipment, tenant: str) -> commands.CreateShipment:
    """What a caller asks for. What only the service sets is passed over: a shipment can be sent back as it came.

    Raises InvalidShipment when it names another tenant.
    """
    if shipment.tenant not in {"", tenant}:
        raise InvalidShipment("tenant: the shipment names another tenant than the token", code="tenant_mismatch")
    made_here = f"shipment:{shipment.shipment_id}:"
    return commands.CreateShipment(
        tenant=tenant,
        shipment_id=shipment.shipment_id,
        reference=shipment.reference,
        device_id=shipment.device_id,
        stops=tuple(
            commands.PlannedStop(
                stop_id=stop.stop_id,
                name=stop.name,
                longitude_deg=stop.longitude_deg,
                latitude_deg=stop.latitude_deg,
                fence_id="" if stop.fence_id == made_here + stop.stop_id else stop.fence_id,
                radius_m=stop.radius_m,
                planned_arrival_us=stop.planned_arrival_us if stop.HasField("planned_arrival_us") else None,
                service_time_us=stop.service_time_us,
            )
            for stop in shipment.stops
        ),
        limits=tuple(
            commands.PlannedLimit(
                quantity=int(limit.quantity),
                minimum=limit.minimum if limit.HasField("minimum") else None,
                maximum=limit.maximum if limit.HasField("maximum") else None,
                hysteresis=limit.hysteresis,
                minimum_duration_us=limit.minimum_duration_us,
            )
            for limit in shipment.limits
        ),
        handling_units=tuple(commands.PlannedUnit(unit.epc, unit.name) for unit in shipment.handling_units),
        route_longitude_deg=tuple(shipment.route_longitude_deg),
        route_latitude_deg=tuple(shipment.route_latitude_deg),
    )


def statuses_of(request: ListShipmentsRequest) -> frozenset[Status]:
    """The statuses asked for. Raises InvalidShipment for a number that is none."""
    unknown = [number for number in request.statuses if number not in _STATUS_OF]
    if unknown:
        raise InvalidShipment(f"statuses: {unknown[0]} is no status", code="bad_status")
    return frozenset(_STATUS_OF[number] for number in request.statuses)


def event_of(data: bytes) -> Event | None:
    """An entry of the event stream; None for one that moves no shipment. Raises MalformedEvent.

    Crossings whose cause is a definition move none: the fence has moved, or came to be, and not the vehicle.
    """
    try:
        event = TrackingEvent.FromString(data)
    except DecodeError as error:
        raise MalformedEvent("the entry is no TrackingEvent") from error
    if not (event.event_id and event.tenant and event.device_id):
        raise MalformedEvent("the event lacks its id, its tenant or its device")
    edited = event.cause == Cause.CAUSE_DEFINITION
    who = (event.event_id, event.tenant, event.device_id, event.observed_at_us)
    match event.WhichOneof("kind"):
        case "geofence_entered" | "geofence_exited" if edited:
            return None
        case "geofence_entered":
            return _crossed(event, who, event.geofence_entered.fence_id, entered=True)
        case "geofence_exited":
            return _crossed(event, who, event.geofence_exited.fence_id, entered=False)
        case "tag_arrived":
            return TagMoved(*who, event.tag_arrived.epc, arrived=True)
        case "tag_departed":
            return TagMoved(*who, event.tag_departed.epc, arrived=False)
        case "excursion_opened":
            opened = event.excursion_opened
            quantity = _quantity_name(opened.quantity)
            return ExcursionOpened(
                *who, event.revision, opened.limit_id, opened.probe, quantity, opened.value, opened.bound
            )
        case "excursion_closed":
            closed = event.excursion_closed
            quantity = _quantity_name(closed.quantity)
            return ExcursionClosed(
                *who, event.revision, closed.limit_id, closed.probe, quantity, closed.opened_at_us, closed.worst_value
            )
        case "missed_arrival":
            missed = event.missed_arrival
            withdrawn = event.standing == Standing.STANDING_WITHDRAWN
            return ArrivalMissed(*who, event.revision, withdrawn, missed.route_id, missed.stop_id)
        case _:
            return None


def _crossed(event: TrackingEvent, who: tuple[str, str, str, int], fence_id: str, *, entered: bool) -> FenceCrossed:
    return FenceCrossed(
        *who,
        fence_id,
        entered,
        event.revision,
        event.standing == Standing.STANDING_WITHDRAWN,
        event.told_at_us if event.HasField("told_at_us") else None,
    )


def _quantity_name(number: Quantity.ValueType) -> str:
    if number not in Quantity.values():
        return f"quantity {number}"  # of a later version
    return Quantity.Name(number).removeprefix("QUANTITY_").lower()
