"""The handlers with fakes of their ports."""

from __future__ import annotations

import dataclasses

import pytest

from services.shipment.commands import CancelShipment, GetShipment, ListShipments
from services.shipment.handlers import (
    cancel_shipment,
    create_shipment,
    get_shipment,
    handle_events,
    list_shipments,
)
from services.shipment.model import ShipmentChanged, ShipmentEnded, ShipmentExists, ShipmentId, Status, UnknownShipment
from services.shipment.plan import InvalidShipment
from services.shipment.ports import DefinitionAction
from tests.services.shipment.examples import (
    COMMAND,
    HOUR_US,
    NOW_US,
    TENANT,
    arrived,
    entered,
    exited,
    fence,
    opened,
    stop,
)
from tests.services.shipment.fakes import World

S1 = ShipmentId("s-1")


@pytest.fixture
def world() -> World:
    return World(NOW_US)


async def test_creating_stores_tells_and_asks_for_definitions(world: World) -> None:
    made = await create_shipment(COMMAND, world.ports)
    assert await get_shipment(GetShipment(TENANT, S1), world.ports) == made
    assert world.storage.outbox.tasks[S1].action is DefinitionAction.PUT
    assert world.hints.told == [made]
    assert world.wakes == 1


async def test_creating_again_changes_nothing(world: World) -> None:
    made = await create_shipment(COMMAND, world.ports)
    world.time_us += HOUR_US
    assert await create_shipment(COMMAND, world.ports) == made
    await handle_events([exited("utrecht", 1)], world.ports)
    again = await create_shipment(COMMAND, world.ports)
    assert (again.status, again.version) == (Status.IN_TRANSIT, 2), "as it is now"
    with pytest.raises(ShipmentExists):
        await create_shipment(dataclasses.replace(COMMAND, reference="other"), world.ports)
    other = await create_shipment(dataclasses.replace(COMMAND, tenant="other", reference="other"), world.ports)
    assert other.version == 1, "ids are the tenant's own"


async def test_without_an_id_one_is_made(world: World) -> None:
    anonymous = dataclasses.replace(COMMAND, shipment_id="")
    one, two = [await create_shipment(anonymous, world.ports) for _ in range(2)]
    assert one.shipment_id != two.shipment_id
    assert one.stops[0].fence_id == fence("utrecht", one.shipment_id)


async def test_a_mistake_leaves_nothing_behind(world: World) -> None:
    with pytest.raises(InvalidShipment):
        await create_shipment(dataclasses.replace(COMMAND, stops=()), world.ports)
    assert (world.storage.writes, world.hints.told) == (0, [])


async def test_cancelling(world: World) -> None:
    await create_shipment(COMMAND, world.ports)
    world.time_us += 5
    cancelled = await cancel_shipment(CancelShipment(TENANT, S1, "lost"), world.ports)
    assert (cancelled.status, cancelled.version, cancelled.updated_at_us) == (Status.CANCELLED, 2, NOW_US + 5)
    assert world.storage.outbox.tasks[S1].action is DefinitionAction.REMOVE
    assert world.hints.told[-1] == cancelled
    assert await cancel_shipment(CancelShipment(TENANT, S1, "again"), world.ports) == cancelled
    await handle_events([entered("zwolle", 1)], world.ports)
    assert world.storage.shipments.rows[TENANT, S1] == cancelled


async def test_what_cannot_be_cancelled(world: World) -> None:
    with pytest.raises(UnknownShipment):
        await cancel_shipment(CancelShipment(TENANT, S1, ""), world.ports)
    await create_shipment(COMMAND, world.ports)
    with pytest.raises(UnknownShipment):
        await cancel_shipment(CancelShipment("other", S1, ""), world.ports)
    with pytest.raises(InvalidShipment):
        await cancel_shipment(CancelShipment(TENANT, S1, "x" * 257), world.ports)
    await handle_events([entered("zwolle", 1)], world.ports)
    with pytest.raises(ShipmentEnded):
        await cancel_shipment(CancelShipment(TENANT, S1, ""), world.ports)


async def test_an_event_is_applied_once(world: World) -> None:
    await create_shipment(COMMAND, world.ports)
    event = exited("utrecht", 7)
    await handle_events([event], world.ports)
    moved = world.storage.shipments.rows[TENANT, S1]
    assert (moved.status, moved.version) == (Status.IN_TRANSIT, 2)
    await handle_events([event], world.ports)
    assert world.storage.shipments.rows[TENANT, S1] == moved
    assert world.hints.told[1:] == [moved]


async def test_an_event_moves_every_shipment_of_the_device_that_it_concerns(world: World) -> None:
    port = (stop("a", fence_id="port"), stop("b"))
    for number in (1, 2):
        await create_shipment(dataclasses.replace(COMMAND, shipment_id=f"s-{number}", stops=port), world.ports)
    await create_shipment(dataclasses.replace(COMMAND, shipment_id="s-3", stops=port, device_id="x"), world.ports)
    await handle_events([exited("", 5, fence_id="port")], world.ports)
    statuses = {each.shipment_id: each.status for each in world.storage.shipments.rows.values()}
    assert statuses == {"s-1": "in_transit", "s-2": "in_transit", "s-3": "planned"}


async def test_an_event_that_concerns_nobody_writes_nothing(world: World) -> None:
    await create_shipment(COMMAND, world.ports)
    writes = world.storage.writes
    for event in (entered("", 1, fence_id="elsewhere"), entered("zwolle", 1, tenant="other"), opened(1, limit_id="x")):
        await handle_events([event], world.ports)
    assert (world.storage.writes, world.storage.inbox.taken) == (writes, {})


async def test_events_that_come_together_are_one_change(world: World) -> None:
    for number in (1, 2):
        await create_shipment(dataclasses.replace(COMMAND, shipment_id=f"s-{number}"), world.ports)
    twice = exited("utrecht", 1)
    later = exited("utrecht", 2, fence_id=fence("utrecht", "s-2"))
    foreign = entered("zwolle", 9, tenant="other")
    writes = world.storage.writes
    await handle_events([twice, later, foreign, entered("arnhem", 3), twice], world.ports)
    first, second = world.storage.shipments.rows.values()
    assert (first.status, first.version) == (Status.AT_STOP, 2)
    assert (second.status, second.version) == (Status.IN_TRANSIT, 2)
    assert world.storage.writes == writes + 1
    assert len(world.storage.inbox.taken) == 3
    assert world.hints.told[2:] == [first, second]


async def test_delivery_asks_for_the_definitions_to_be_removed(world: World) -> None:
    await create_shipment(COMMAND, world.ports)
    await handle_events([arrived(3)], world.ports)
    assert world.storage.outbox.tasks[S1].action is DefinitionAction.PUT
    await handle_events([entered("zwolle", 7)], world.ports)
    assert world.storage.outbox.tasks[S1].action is DefinitionAction.REMOVE
    assert world.wakes == 2


async def test_a_change_by_somebody_else_undoes_the_whole_event(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await create_shipment(COMMAND, world.ports)
    event = exited("utrecht", 7)

    async def too_late(*_: object) -> None:
        raise ShipmentChanged("s-1")

    with monkeypatch.context() as patched:
        patched.setattr(world.storage.shipments, "save", too_late)
        with pytest.raises(ShipmentChanged):
            await handle_events([event], world.ports)
    assert world.storage.inbox.taken == {}, "so that it is applied when it comes again"
    await handle_events([event], world.ports)
    assert world.storage.shipments.rows[TENANT, S1].status is Status.IN_TRANSIT


async def test_lists_and_questions(world: World) -> None:
    with pytest.raises(UnknownShipment):
        await get_shipment(GetShipment(TENANT, S1), world.ports)
    made = await create_shipment(COMMAND, world.ports)
    everything = ListShipments(TENANT, frozenset(), "", None, 10)
    assert await list_shipments(everything, world.ports) == [made]
