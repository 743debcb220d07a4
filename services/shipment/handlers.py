"""What the service does: one function a command, which takes the command and the ports."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence

import structlog

from runtime.metrics import Counter
from services.shipment import lifecycle
from services.shipment.commands import CancelShipment, CreateShipment, GetShipment, ListShipments
from services.shipment.events import Event
from services.shipment.model import Shipment, ShipmentExists, ShipmentId, UnknownShipment
from services.shipment.plan import check_text, shipment_of
from services.shipment.ports import DefinitionAction, Ports, Work

log = structlog.get_logger()

CREATED = Counter("drover_shipment_created_total", "Shipments made")
CHANGES = Counter("drover_shipment_changes_total", "What events changed, by kind", ["kind"])


async def create_shipment(command: CreateShipment, ports: Ports) -> Shipment:
    """Makes the shipment, or returns the one that the same command made. Raises InvalidShipment, ShipmentExists."""
    shipment_id = ShipmentId(command.shipment_id or uuid.uuid4().hex)
    shipment = shipment_of(command, shipment_id, ports.now_us())
    async with ports.storage.write() as work:
        present = await work.shipments.get(command.tenant, shipment_id)
        if present is not None:
            if present.content_digest != shipment.content_digest:
                raise ShipmentExists(shipment_id)
            return present
        await work.shipments.add(shipment)
        await work.outbox.request(command.tenant, shipment_id, DefinitionAction.PUT, shipment.created_at_us)
    ports.outbox_filled()
    CREATED.inc()
    await ports.hints.shipment_changed(shipment)
    return shipment


async def cancel_shipment(command: CancelShipment, ports: Ports) -> Shipment:
    """Cancels the shipment, if it is not yet. Raises Invalid, UnknownShipment, ShipmentEnded, ShipmentChanged."""
    check_text("reason", command.reason)
    async with ports.storage.write() as work:
        before = await work.shipments.get(command.tenant, command.shipment_id)
        if before is None:
            raise UnknownShipment(command.shipment_id)
        after = lifecycle.cancel(before, command.reason, ports.now_us())
        if after == before:
            return before
        after = await _save(work, before, after, ports.now_us())
    ports.outbox_filled()
    await ports.hints.shipment_changed(after)
    return after


async def get_shipment(command: GetShipment, ports: Ports) -> Shipment:
    """The shipment. Raises UnknownShipment."""
    async with ports.storage.read() as work:
        shipment = await work.shipments.get(command.tenant, command.shipment_id)
    if shipment is None:
        raise UnknownShipment(command.shipment_id)
    return shipment


async def list_shipments(command: ListShipments, ports: Ports) -> list[Shipment]:
    """A page of shipments."""
    async with ports.storage.read() as work:
        return await work.shipments.page(command)


async def handle_events(events: Sequence[Event], ports: Ports) -> None:
    """Applies events to the shipments that they concern, in order, all in one transaction, each event once: the inbox
    knows those that were applied.

    Raises ShipmentChanged, or Conflict, when somebody else changes the same shipment: calling again helps.
    """
    async with ports.storage.read() as look:
        concerned = await look.shipments.concerned_by(events)
    if not concerned:
        return
    changed: list[Shipment] = []
    outbox_filled = False
    async with ports.storage.write() as work:
        fresh = await work.inbox.take(concerned.keys(), ports.now_us())
        news = [event for event in events if event.event_id in fresh]
        for tenant in sorted({event.tenant for event in news}):
            mine = [event for event in news if event.tenant == tenant]
            ids = {shipment_id for event in mine for shipment_id in concerned[event.event_id]}
            for before in await work.shipments.get_many(tenant, ids):
                theirs = [event for event in mine if before.shipment_id in concerned[event.event_id]]
                after = _moved(before, theirs)
                if after != before:
                    changed.append(await _save(work, before, after, ports.now_us()))
                    outbox_filled |= (before.ended_at_us is None) != (after.ended_at_us is None)
    if outbox_filled:
        ports.outbox_filled()
    for shipment in changed:
        await ports.hints.shipment_changed(shipment)


def _moved(before: Shipment, events: Sequence[Event]) -> Shipment:
    after = before
    for event in events:
        after, changes = lifecycle.apply(after, event)
        if changes:
            log.info("shipment changed", tenant=after.tenant, shipment=after.shipment_id, changes=list(changes))
        for change in changes:
            CHANGES.labels(change.split()[0]).inc()
    return after


async def _save(work: Work, before: Shipment, after: Shipment, now_us: int) -> Shipment:
    """Stores the next version; one that has just ended asks for its definitions to be removed, and one whose end was
    withdrawn asks for them again.
    """
    after = dataclasses.replace(after, version=before.version + 1, updated_at_us=now_us)
    await work.shipments.save(before, after)
    if before.ended_at_us is None and after.ended_at_us is not None:
        await work.outbox.request(after.tenant, after.shipment_id, DefinitionAction.REMOVE, now_us)
    if before.ended_at_us is not None and after.ended_at_us is None:
        await work.outbox.request(after.tenant, after.shipment_id, DefinitionAction.PUT, now_us)
    return after
