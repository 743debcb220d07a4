"""The courier with fakes: everything in the outbox is told in the end, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from runtime.problems import Invalid, Unavailable
from runtime.process import Stop
from services.shipment import definition_courier
from services.shipment.commands import CancelShipment
from services.shipment.definition_courier import CLAIM_US, INBOX_KEEP_US, LAST_RETRY_US, DefinitionCourier
from services.shipment.handlers import cancel_shipment, create_shipment, handle_events
from services.shipment.model import ShipmentId
from services.shipment.ports import Ports
from tests.services.shipment.examples import COMMAND, NOW_US, TENANT, entered
from tests.services.shipment.fakes import FakeDefinitions, World

S1 = ShipmentId("s-1")


@pytest.fixture
def world() -> World:
    return World(NOW_US)


@pytest.fixture
def definitions() -> FakeDefinitions:
    return FakeDefinitions()


@pytest.fixture
def courier(world: World, definitions: FakeDefinitions) -> DefinitionCourier:
    return DefinitionCourier(world.storage, definitions, lambda: world.time_us)


async def test_tells_what_was_created_and_what_has_ended(
    world: World, definitions: FakeDefinitions, courier: DefinitionCourier
) -> None:
    await create_shipment(COMMAND, world.ports)
    await create_shipment(dataclasses.replace(COMMAND, shipment_id="s-2"), world.ports)
    assert await courier.work_once(Stop())
    assert definitions.defined == {"s-1", "s-2"}
    assert world.storage.outbox.tasks == {}
    assert not await courier.work_once(Stop())
    await cancel_shipment(CancelShipment(TENANT, S1, ""), world.ports)
    await handle_events([entered("zwolle", 1, fence_id="shipment:s-2:zwolle")], world.ports)
    await courier.work_once(Stop())
    assert definitions.defined == set()
    assert len(definitions.calls) == 4


async def test_a_service_that_is_away_is_told_when_it_is_back(
    world: World, definitions: FakeDefinitions, courier: DefinitionCourier
) -> None:
    definitions.problems = [Unavailable("away"), Unavailable("away")]
    await create_shipment(COMMAND, world.ports)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await courier.work_once(Stop())
        assert not await courier.work_once(Stop()), "not before its time"
        world.time_us += 1_000_000
    assert await courier.work_once(Stop())
    assert definitions.defined == {"s-1"}


async def test_one_that_is_refused_holds_up_no_other(
    world: World, definitions: FakeDefinitions, courier: DefinitionCourier
) -> None:
    await create_shipment(COMMAND, world.ports)
    definitions.problems = [Invalid("no", code="bad")]
    await courier.work_once(Stop())
    await create_shipment(dataclasses.replace(COMMAND, shipment_id="s-2"), world.ports)
    await courier.work_once(Stop())
    assert definitions.defined == {"s-2"}
    waits = []
    for _ in range(12):
        world.time_us = world.storage.outbox.tasks[S1].due_at_us
        definitions.problems = [Invalid("no", code="bad")]
        await courier.work_once(Stop())
        waits.append(world.storage.outbox.tasks[S1].due_at_us - world.time_us)
    assert waits == sorted(waits), "less and less often"
    assert waits[-1] == LAST_RETRY_US
    world.time_us += LAST_RETRY_US
    await courier.work_once(Stop())
    assert definitions.defined == {"s-1", "s-2"}


async def test_a_death_in_the_middle_is_made_good(
    world: World, definitions: FakeDefinitions, courier: DefinitionCourier
) -> None:
    await create_shipment(COMMAND, world.ports)

    class Dying(FakeDefinitions):
        async def put(self, shipment: object) -> None:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await DefinitionCourier(world.storage, Dying(), lambda: world.time_us).work_once(Stop())
    assert not await courier.work_once(Stop()), "perhaps it lives"
    world.time_us += CLAIM_US
    assert await courier.work_once(Stop())
    assert definitions.defined == {"s-1"}


async def test_two_couriers_do_not_tell_twice(
    world: World, definitions: FakeDefinitions, courier: DefinitionCourier
) -> None:
    await create_shipment(COMMAND, world.ports)
    other = DefinitionCourier(world.storage, definitions, lambda: world.time_us)
    await asyncio.gather(courier.work_once(Stop()), other.work_once(Stop()))
    assert definitions.calls == [("put", "s-1")]


async def test_what_ends_while_it_is_told_is_removed_afterwards(
    world: World, definitions: FakeDefinitions, courier: DefinitionCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_shipment(COMMAND, world.ports)
    put = definitions.put

    async def put_while_cancelled(shipment: object) -> None:
        await cancel_shipment(CancelShipment(TENANT, S1, ""), world.ports)
        await put(shipment)  # type: ignore[arg-type]

    monkeypatch.setattr(definitions, "put", put_while_cancelled)
    await courier.work_once(Stop())
    assert definitions.defined == {"s-1"}
    await courier.work_once(Stop())
    assert definitions.defined == set()
    assert world.storage.outbox.tasks == {}


async def test_runs_at_once_when_woken_and_stops_when_asked(
    world: World, definitions: FakeDefinitions, courier: DefinitionCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definition_courier, "POLL_S", 60.0)
    ports: Ports = dataclasses.replace(world.ports, outbox_filled=courier.wake)
    stop = Stop()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(courier.run(stop))
        await asyncio.sleep(0.05)
        await create_shipment(COMMAND, ports)
        while not definitions.defined:  # noqa: ASYNC110 - the fake knows no events
            await asyncio.sleep(0.01)
        stop.set()


async def test_goes_on_while_the_database_is_away(
    world: World, definitions: FakeDefinitions, courier: DefinitionCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definition_courier, "AWAY_PAUSE_S", 0.01)
    await create_shipment(COMMAND, world.ports)
    troubles = iter([Unavailable("away"), Unavailable("away")])
    due = world.storage.outbox.due

    async def due_or_away(now_us: int, limit: int) -> object:
        if (trouble := next(troubles, None)) is not None:
            raise trouble
        return await due(now_us, limit)

    monkeypatch.setattr(world.storage.outbox, "due", due_or_away)
    stop = Stop()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(courier.run(stop))
        while not definitions.defined:  # noqa: ASYNC110 - the fake knows no events
            await asyncio.sleep(0.01)
        stop.set()


async def test_forgets_events_of_long_ago(world: World, courier: DefinitionCourier) -> None:
    world.storage.inbox.taken = {"old": NOW_US - INBOX_KEEP_US - 1, "new": NOW_US}
    stop = Stop()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(courier.run(stop))
        await asyncio.sleep(0.05)
        stop.set()
    assert set(world.storage.inbox.taken) == {"new"}
