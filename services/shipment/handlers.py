"""What the service does: one function a command, which takes the command and the ports."""

from __future__ import annotations

import dataclasses
import uuid

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


async def handle_event(event: Event, ports: Ports) -> None:
    """Applies an event to every shipment that it concerns, once: the inbox knows those that were applied.

    Raises ShipmentChanged when somebody else changes the same shipment: calling again helps.
    """
    async with ports.storage.read() as look:
        if not await look.shipments.concerned_by(event):
            return
    changed: list[Shipment] = []
    async with ports.storage.write() as work:
        if not await work.inbox.take(event.event_id, ports.now_us()):
            return
        for shipment_id in await work.shipments.concerned_by(event):
            before = await work.shipments.get(event.tenant, shipment_id)
            assert before is not None
            after, changes = lifecycle.apply(before, event)
            if not changes:
                continue
            changed.append(await _save(work, before, after, ports.now_us()))
            log.info("shipment changed", tenant=event.tenant, shipment=shipment_id, changes=list(changes))
            for change in changes:
                CHANGES.labels(change.split()[0]).inc()
    for shipment in changed:
        if shipment.ended_at_us is not None:
            ports.outbox_filled()
        await ports.hints.shipment_changed(shipment)


async def _save(work: Work, before: Shipment, after: Shipment, now_us: int) -> Shipment:
    """Stores the next version; one that has just ended asks for its definitions to be removed."""
    after = dataclasses.replace(after, version=before.version + 1, updated_at_us=now_us)
    await work.shipments.save(before, after)
    if before.ended_at_us is None and after.ended_at_us is not None:
        await work.outbox.request(after.tenant, after.shipment_id, DefinitionAction.REMOVE, now_us)
    return after
