"""What callers ask of the shipment service. The tenant is always the token's."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from services.shipment.model import ShipmentId, Status


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedStop:
    """A stop as asked for: with the tenant's own fence, or with none; then `radius_m` (0: the default) makes one."""

    stop_id: str
    name: str
    longitude_deg: float
    latitude_deg: float
    fence_id: str
    radius_m: float
    planned_arrival_us: int | None
    service_time_us: int


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedLimit:
    """Bounds as asked for; `quantity` is its number on the wire."""

    quantity: int
    minimum: float | None
    maximum: float | None
    hysteresis: float
    minimum_duration_us: int


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedUnit:
    """A handling unit as asked for."""

    epc: bytes
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class CreateShipment:
    """Makes a shipment; an empty id has one made. The same id with the same content again changes nothing."""

    tenant: str
    shipment_id: str
    reference: str
    device_id: str
    stops: tuple[PlannedStop, ...]
    limits: tuple[PlannedLimit, ...]
    handling_units: tuple[PlannedUnit, ...]
    route_longitude_deg: tuple[float, ...]
    route_latitude_deg: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class CancelShipment:
    """Ends a shipment before delivery; again changes nothing."""

    tenant: str
    shipment_id: ShipmentId
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class GetShipment:
    """One shipment."""

    tenant: str
    shipment_id: ShipmentId


class PageKey(NamedTuple):
    """The last shipment of a page."""

    created_at_us: int
    shipment_id: ShipmentId


@dataclasses.dataclass(frozen=True, slots=True)
class ListShipments:
    """The tenant's shipments, newest first, after the page that ended with `after`. Empty filters do not filter."""

    tenant: str
    statuses: frozenset[Status]
    device_id: str
    after: PageKey | None
    limit: int
