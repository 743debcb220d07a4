"""The SQL that finds the shipments an event concerns: four questions, each for many events at once, from an index."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, Table, and_, select

from runtime.database import ReadConnection
from services.shipment import tables
from services.shipment.events import ArrivalMissed, Event, ExcursionClosed, ExcursionOpened, FenceCrossed, TagMoved
from services.shipment.model import CORRECTION_GRACE_US, ShipmentId, Status

TAG_GRACE_US: Final = 24 * 3_600 * 1_000_000
"""How long after delivery tag reads still count: goods pass the consignee's portal after the vehicle has arrived. Later
the same pallet travels on, in somebody else's shipment.
"""

Concern = dict[str, list[ShipmentId]]
_shipments: Final = tables.shipments.c


async def concerned_by(connection: ReadConnection, events: Sequence[Event]) -> Mapping[str, Sequence[ShipmentId]]:
    """See ports.ReadShipments."""
    found: Concern = collections.defaultdict(list)
    for tenant in sorted({event.tenant for event in events}):
        mine = [event for event in events if event.tenant == tenant]
        crossings = [event for event in mine if isinstance(event, FenceCrossed)]
        tags = [event for event in mine if isinstance(event, TagMoved)]
        excursions = [event for event in mine if isinstance(event, ExcursionOpened | ExcursionClosed)]
        missed = [event for event in mine if isinstance(event, ArrivalMissed)]
        if crossings:
            await _by_crossings(connection, tenant, crossings, found)
        if tags:
            await _by_tags(connection, tenant, tags, found)
        if excursions:
            await _by_excursions(connection, tenant, excursions, found)
        if missed:
            await _by_routes(connection, tenant, missed, found)
    return found


async def _by_crossings(
    connection: ReadConnection, tenant: str, events: Iterable[FenceCrossed], found: Concern
) -> None:
    """The device's shipments with a stop in the fence that had not ended a day before."""
    query = _joined(tables.stops, tenant, tables.stops.c.fence_id).where(
        _shipments.device_id.in_({event.device_id for event in events}),
        _shipments.ended_at_us >= min(event.since_us for event in events) - CORRECTION_GRACE_US,
        tables.stops.c.fence_id.in_({event.fence_id for event in events}),
    )
    held = await _grouped(connection, query)
    for event in events:
        for row in held.get(event.fence_id, ()):
            if row.device_id == event.device_id and row.ended_at_us >= event.since_us - CORRECTION_GRACE_US:
                _note(found, event, row)


async def _by_tags(connection: ReadConnection, tenant: str, events: Iterable[TagMoved], found: Concern) -> None:
    """Shipments with a handling unit of that EPC that had not ended a day before."""
    query = _joined(tables.handling_units, tenant, tables.handling_units.c.epc_hex).where(
        tables.handling_units.c.epc_hex.in_({event.epc.hex() for event in events}),
        _shipments.ended_at_us >= min(event.observed_at_us for event in events) - TAG_GRACE_US,
    )
    held = await _grouped(connection, query)
    for event in events:
        for row in held.get(event.epc.hex(), ()):
            if row.ended_at_us >= event.observed_at_us - TAG_GRACE_US:
                _note(found, event, row)


async def _by_excursions(
    connection: ReadConnection, tenant: str, events: Iterable[ExcursionOpened | ExcursionClosed], found: Concern
) -> None:
    """The shipment whose limit it is."""
    query = _joined(tables.limits, tenant, tables.limits.c.limit_id).where(
        tables.limits.c.limit_id.in_({event.limit_id for event in events})
    )
    held = await _grouped(connection, query)
    for event in events:
        for row in held.get(event.limit_id, ()):
            _note(found, event, row)


async def _by_routes(connection: ReadConnection, tenant: str, events: Iterable[ArrivalMissed], found: Concern) -> None:
    """The shipment whose route it is."""
    query = select(_shipments.shipment_id, _shipments.device_id).where(
        _shipments.tenant == tenant,
        _shipments.shipment_id.in_({event.route_id for event in events}),
        _shipments.status != Status.CANCELLED.value,
    )
    held = {row.shipment_id: row for row in await connection.execute(query)}
    for event in events:
        row = held.get(event.route_id)
        if row is not None and row.device_id == event.device_id:
            _note(found, event, row)


def _joined(child: Table, tenant: str, subject: Any) -> Select[Any]:
    same = and_(child.c.tenant == _shipments.tenant, child.c.shipment_id == _shipments.shipment_id)
    columns = (subject.label("subject"), _shipments.shipment_id, _shipments.device_id, _shipments.ended_at_us)
    return (
        select(*columns)
        .join_from(tables.shipments, child, same)
        .where(_shipments.tenant == tenant, _shipments.status != Status.CANCELLED.value)
    )


async def _grouped(connection: ReadConnection, query: Select[Any]) -> Mapping[str, list[Any]]:
    # Sorted here: asked to sort, SQLite reads all shipments of the tenant in order rather than use a better index.
    rows: dict[str, list[Any]] = collections.defaultdict(list)
    for row in sorted(await connection.execute(query), key=lambda row: str(row.shipment_id)):
        rows[row.subject].append(row)
    return rows


def _note(found: Concern, event: Event, row: Any) -> None:
    if row.shipment_id not in found[event.event_id]:
        found[event.event_id].append(ShipmentId(row.shipment_id))
