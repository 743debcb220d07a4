"""Between shipments and the rows of their tables. Pure."""

from __future__ import annotations

import array
import collections
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Table

from services.shipment import tables
from services.shipment.model import (
    Crossing,
    HandlingUnit,
    Limit,
    Shipment,
    ShipmentException,
    ShipmentId,
    Sighting,
    Status,
    Stop,
)

Values = dict[str, Any]
CHILDREN: tuple[Table, ...] = (
    tables.stops,
    tables.limits,
    tables.handling_units,
    tables.sightings,
    tables.exceptions,
    tables.crossings,
)


def rows_of(shipment: Shipment) -> dict[Table, list[Values]]:
    """Every row of a shipment, by table; each with the shipment's key."""
    key: Values = {"tenant": shipment.tenant, "shipment_id": shipment.shipment_id}
    rows: dict[Table, list[Values]] = {
        tables.shipments: [
            {
                "reference": shipment.reference,
                "device_id": shipment.device_id,
                "status": shipment.status.value,
                "ended_at_us": tables.OPEN if shipment.ended_at_us is None else shipment.ended_at_us,
                "cancel_reason": shipment.cancel_reason,
                "route": _packed((*shipment.route_longitude_deg, *shipment.route_latitude_deg)),
                "content_digest": shipment.content_digest,
                "created_at_us": shipment.created_at_us,
                "updated_at_us": shipment.updated_at_us,
                "version": shipment.version,
            }
        ],
        tables.stops: [{"position": number, **_fields(each)} for number, each in enumerate(shipment.stops)],
        tables.limits: [{"position": number, **_fields(each)} for number, each in enumerate(shipment.limits)],
        tables.handling_units: [
            {"position": number, "epc_hex": each.epc.hex(), "name": each.name}
            for number, each in enumerate(shipment.handling_units)
        ],
        tables.sightings: [
            {"epc_hex": unit.epc.hex(), **each._asdict()} for unit in shipment.handling_units for each in unit.sightings
        ],
        tables.exceptions: [_fields(each) for each in shipment.exceptions],
        tables.crossings: [each._asdict() for each in shipment.crossings],
    }
    return {table: [key | row for row in some] for table, some in rows.items()}


def shipments_of(parents: Iterable[Row[Any]], children: Mapping[Table, Iterable[Row[Any]]]) -> list[Shipment]:
    """Shipments from their rows. The children are those of all parents, each table's in the order of its key."""
    grouped: dict[Table, dict[str, list[Row[Any]]]] = {}
    for table, rows in children.items():
        grouped[table] = collections.defaultdict(list)
        for row in rows:
            grouped[table][row.shipment_id].append(row)
    return [_shipment_of(row, {table: by_id[row.shipment_id] for table, by_id in grouped.items()}) for row in parents]


def _shipment_of(row: Row[Any], children: Mapping[Table, Sequence[Row[Any]]]) -> Shipment:
    seen: dict[str, list[Sighting]] = collections.defaultdict(list)
    for each in children[tables.sightings]:
        seen[each.epc_hex].append(Sighting(each.observed_at_us, bool(each.gone), each.reader_id))
    coordinates = _unpacked(row.route)
    half = len(coordinates) // 2
    return Shipment(
        tenant=row.tenant,
        shipment_id=ShipmentId(row.shipment_id),
        reference=row.reference,
        device_id=row.device_id,
        stops=tuple(Stop(**_without_key(each)) for each in children[tables.stops]),
        limits=tuple(Limit(**_without_key(each)) for each in children[tables.limits]),
        handling_units=tuple(
            HandlingUnit(bytes.fromhex(each.epc_hex), each.name, tuple(sorted(seen[each.epc_hex], key=sighting_order)))
            for each in children[tables.handling_units]
        ),
        route_longitude_deg=coordinates[:half],
        route_latitude_deg=coordinates[half:],
        content_digest=row.content_digest,
        created_at_us=row.created_at_us,
        updated_at_us=row.updated_at_us,
        version=row.version,
        status=Status(row.status),
        ended_at_us=None if row.ended_at_us == tables.OPEN else row.ended_at_us,
        cancel_reason=row.cancel_reason,
        exceptions=tuple(
            sorted(
                (ShipmentException(**_without_key(each)) for each in children[tables.exceptions]),
                key=lambda each: (each.opened_at_us, each.key),
            )
        ),
        crossings=tuple(
            sorted(
                Crossing(each.observed_at_us, bool(each.entered), each.fence_id, each.revision, bool(each.withdrawn))
                for each in children[tables.crossings]
            )
        ),
    )


def sighting_order(sighting: Sighting) -> tuple[bool, Sighting]:
    """As `lifecycle.py` keeps them: readers that still have the tag last."""
    return not sighting.gone, sighting


def _fields(item: Stop | Limit | ShipmentException) -> Values:
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


def _without_key(row: Row[Any]) -> Values:
    return {name: value for name, value in row._asdict().items() if name not in {"tenant", "shipment_id", "position"}}


def _packed(values: Iterable[float]) -> bytes:
    doubles = array.array("d", values)
    if sys.byteorder == "big":
        doubles.byteswap()
    return doubles.tobytes()


def _unpacked(data: bytes) -> tuple[float, ...]:
    doubles = array.array("d", bytes(data))
    if sys.byteorder == "big":
        doubles.byteswap()
    return tuple(doubles)
