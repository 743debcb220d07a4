"""A shipment to test with: from Utrecht past Arnhem to Zwolle, cooled, with two pallets."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from services.shipment.commands import CreateShipment, PlannedLimit, PlannedStop, PlannedUnit
from services.shipment.events import ArrivalMissed, ExcursionClosed, ExcursionOpened, FenceCrossed, TagMoved
from services.shipment.model import Shipment, ShipmentId
from services.shipment.plan import shipment_of

TENANT = "acme"
DEVICE = "truck-7"
READER = "portal-1"
EPC = bytes.fromhex("30f4257bf46db64000000190")
OTHER_EPC = bytes.fromhex("01")
TEMPERATURE = 1
HOUR_US = 3_600_000_000
NOW_US = 1_700_000_000_000_000

_numbers = itertools.count()


def stop(stop_id: str, longitude_deg: float = 5.0, latitude_deg: float = 52.0, **fields: Any) -> PlannedStop:
    plan = PlannedStop(
        stop_id=stop_id,
        name=stop_id.title(),
        longitude_deg=longitude_deg,
        latitude_deg=latitude_deg,
        fence_id="",
        radius_m=0.0,
        planned_arrival_us=None,
        service_time_us=0,
    )
    return dataclasses.replace(plan, **fields)


STOPS = (stop("utrecht", 5.12, 52.09), stop("arnhem", 5.91, 51.98), stop("zwolle", 6.09, 52.51))
COMMAND = CreateShipment(
    tenant=TENANT,
    shipment_id="s-1",
    reference="PO 4711",
    device_id=DEVICE,
    stops=STOPS,
    limits=(PlannedLimit(TEMPERATURE, 2.0, 8.0, 0.5, 60_000_000),),
    handling_units=(PlannedUnit(EPC, "pallet 1"), PlannedUnit(OTHER_EPC, "pallet 2")),
    route_longitude_deg=(5.12, 5.5, 6.09),
    route_latitude_deg=(52.09, 52.0, 52.51),
)


def shipment(**fields: Any) -> Shipment:
    command = dataclasses.replace(COMMAND, **fields)
    return shipment_of(command, ShipmentId(command.shipment_id), NOW_US)


def fence(stop_id: str, shipment_id: str = "s-1") -> str:
    return f"shipment:{shipment_id}:{stop_id}"


def _event_id() -> str:
    return f"{next(_numbers):032x}"


def entered(stop_id: str, at_us: int, **fields: Any) -> FenceCrossed:
    event = FenceCrossed(_event_id(), TENANT, DEVICE, at_us, fence(stop_id), entered=True)
    return dataclasses.replace(event, **fields)


def exited(stop_id: str, at_us: int, **fields: Any) -> FenceCrossed:
    return dataclasses.replace(entered(stop_id, at_us), entered=False, **fields)


def arrived(at_us: int, reader: str = READER, epc: bytes = EPC) -> TagMoved:
    return TagMoved(_event_id(), TENANT, reader, at_us, epc, arrived=True)


def departed(at_us: int, reader: str = READER, epc: bytes = EPC) -> TagMoved:
    return TagMoved(_event_id(), TENANT, reader, at_us, epc, arrived=False)


def opened(at_us: int, value: float = 9.5, revision: int = 0, limit_id: str = "shipment:s-1:1") -> ExcursionOpened:
    return ExcursionOpened(
        _event_id(), TENANT, DEVICE, at_us, revision, limit_id, 0, "temperature_celsius", value, bound=8.0
    )


def closed(
    opened_at_us: int, at_us: int, worst: float = 11.0, revision: int = 0, limit_id: str = "shipment:s-1:1"
) -> ExcursionClosed:
    return ExcursionClosed(
        _event_id(), TENANT, DEVICE, at_us, revision, limit_id, 0, "temperature_celsius", opened_at_us, worst
    )


def missed(stop_id: str, due_at_us: int, revision: int = 0, *, withdrawn: bool = False, **fields: Any) -> ArrivalMissed:
    event = ArrivalMissed(_event_id(), TENANT, DEVICE, due_at_us, revision, withdrawn, "s-1", stop_id)
    return dataclasses.replace(event, **fields)
