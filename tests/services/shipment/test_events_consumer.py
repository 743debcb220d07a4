"""Events from a real Redis into a real database: each is applied once, whatever dies in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as redis
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from drover.tracking.v1 import event_pb2 as pb
from runtime import event_stream, redis_client
from runtime.database import create_engine, read
from runtime.event_stream import EventConsumer
from runtime.migrations import migrate
from runtime.process import Stop
from services.shipment import tables, wire
from services.shipment.commands import GetShipment
from services.shipment.events_consumer import GROUP, STREAM, events_consumer
from services.shipment.handlers import create_shipment, get_shipment
from services.shipment.hints import RedisHints
from services.shipment.model import Shipment, ShipmentId, Status
from services.shipment.ports import Ports
from services.shipment.repository import SqlStorage
from services.shipment.settings import ShipmentSettings
from tests.servers.redis import RedisServer
from tests.services.shipment.examples import COMMAND, DEVICE, NOW_US, TENANT, fence

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(event_stream, "SWEEP_INTERVAL_S", 0.05)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    async with redis_client.connect(redis_url) as client:
        yield client


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    await migrate(database_url, "services.shipment")
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def ports(engine: AsyncEngine, client: redis.Redis) -> Ports:
    ports = Ports(SqlStorage(engine), RedisHints(client), lambda: NOW_US, lambda: None)
    await create_shipment(COMMAND, ports)
    return ports


def crossing(number: int, stop_id: str, at_us: int, *, entered: bool) -> bytes:
    event = pb.TrackingEvent(
        event_id=f"{number:032x}", tenant=TENANT, device_id=DEVICE, observed_at_us=at_us, cause=pb.CAUSE_MOVEMENT
    )
    if entered:
        event.geofence_entered.fence_id = fence(stop_id)
    else:
        event.geofence_exited.fence_id = fence(stop_id)
    return event.SerializeToString()


def withdrawn(told: bytes) -> bytes:
    event = pb.TrackingEvent.FromString(told)
    event.MergeFrom(
        pb.TrackingEvent(
            event_id=f"{int(event.event_id, 16) + 1000:032x}",
            amends_event_id=event.event_id,
            revision=1,
            told_at_us=event.observed_at_us,
            standing=pb.STANDING_WITHDRAWN,
            cause=pb.CAUSE_LATE_DATA,
        )
    )
    return event.SerializeToString()


STORY = [
    crossing(1, "utrecht", 10, entered=False),
    crossing(2, "arnhem", 20, entered=True),
    crossing(3, "arnhem", 30, entered=False),
    crossing(4, "zwolle", 40, entered=True),
]


async def publish(client: redis.Redis, *events: bytes) -> None:
    for event in events:
        await client.xadd(STREAM, {b"e": event})


@contextlib.asynccontextmanager
async def running(consumer: EventConsumer) -> AsyncIterator[None]:
    stop = Stop()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(consumer.run(stop))
        yield
        stop.set()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the condition lies in Redis
            await asyncio.sleep(0.01)


async def present(ports: Ports) -> Shipment:
    return await get_shipment(GetShipment(TENANT, ShipmentId("s-1")), ports)


async def idle(client: redis.Redis) -> bool:
    """Everything published is delivered and acknowledged."""
    groups = await client.xinfo_groups(STREAM)
    newest = (await client.xinfo_stream(STREAM))["last-generated-id"]
    return any(group["pending"] == 0 and group["last-delivered-id"] == newest for group in groups)


async def inbox(engine: AsyncEngine) -> int:
    async with read(engine) as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(tables.inbox))).scalar_one())


def reader(client: redis.Redis, ports: Ports) -> EventConsumer:
    return events_consumer(client, ports, ShipmentSettings())


async def test_a_delivery_that_is_withdrawn_is_none(client: redis.Redis, engine: AsyncEngine, ports: Ports) -> None:
    async with running(reader(client, ports)):
        await publish(client, *STORY)
        await until(lambda: idle(client))
        assert (await present(ports)).status == "delivered"
        await publish(client, withdrawn(STORY[-1]))
        await until(lambda: idle(client))
        assert (await present(ports)).status == "in_transit"
        async with read(engine) as connection:
            outbox = (await connection.execute(sa.select(tables.definition_outbox.c.action))).scalars().all()
        # Its fences were to be removed; it needs them again.
        assert outbox == ["put"]
        await publish(client, crossing(5, "zwolle", 50, entered=True))
        await until(lambda: idle(client))
    shipment = await present(ports)
    assert (shipment.status, shipment.ended_at_us) == ("delivered", 50)


async def test_a_journey_told_twice(client: redis.Redis, engine: AsyncEngine, ports: Ports) -> None:
    hints = client.pubsub(ignore_subscribe_messages=True)
    await hints.subscribe(f"drover.shipments.{TENANT}")
    await hints.get_message(timeout=1)
    async with running(reader(client, ports)):
        await publish(
            client, *STORY, *STORY[::-1], pb.TrackingEvent(event_id="x", tenant="t", device_id="d").SerializeToString()
        )
        await until(lambda: idle(client))
    now = await present(ports)
    assert (now.status, now.ended_at_us) == (Status.DELIVERED, 40)
    assert await inbox(engine) == 4
    told = []
    while (message := await hints.get_message(timeout=0.2)) is not None:
        told.append(wire.pb.Shipment.FromString(message["data"]))
    await hints.aclose()
    assert [each.version for each in told] == list(range(2, now.version + 1)), (
        "a version for each batch that changed it"
    )
    assert told[-1] == wire.to_proto(now)


async def test_a_death_between_commit_and_acknowledgement(
    client: redis.Redis, engine: AsyncEngine, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(client, *STORY[:2])

    async def die(*_: Any) -> int:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(client, "xack", die)
        with pytest.raises(asyncio.CancelledError):
            await reader(client, ports).run(Stop())
    assert ((await present(ports)).version, await inbox(engine)) == (2, 2), "applied"
    assert (await client.xpending(STREAM, GROUP))["pending"] == 2, "and not acknowledged"
    async with running(reader(client, ports)):
        await until(lambda: idle(client))
    assert ((await present(ports)).version, await inbox(engine)) == (2, 2)


async def test_a_death_before_the_commit(
    client: redis.Redis, engine: AsyncEngine, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(client, STORY[0])

    async def die(*_: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr("services.shipment.repository.SqlShipments.save", die)
        with pytest.raises(asyncio.CancelledError):
            await reader(client, ports).run(Stop())
    assert ((await present(ports)).version, await inbox(engine)) == (1, 0)
    async with running(reader(client, ports)):
        await until(lambda: idle(client))
    assert ((await present(ports)).version, await inbox(engine)) == (2, 1)


async def test_poison_goes_to_the_dead_events_and_stops_nobody(client: redis.Redis, ports: Ports) -> None:
    consumer = reader(client, ports)
    async with running(consumer):
        await publish(client, STORY[0], b"\xff not an event", STORY[1])
        await client.xadd(STREAM, {b"wrong": b"field"})
        await publish(client, STORY[2])
        await until(lambda: idle(client))
    assert (await present(ports)).status is Status.IN_TRANSIT
    dead = await consumer.dead.page()
    assert [each.event for each in dead] == [b"\xff not an event", b""]
    assert all(each.error.startswith("malformed_event") for each in dead)
    assert await consumer.replay_dead() == (0, 2)


async def test_two_processes_share_the_work(client: redis.Redis, engine: AsyncEngine, ports: Ports) -> None:
    one = events_consumer(client, ports, ShipmentSettings(consumer="one"))
    other = events_consumer(client, ports, ShipmentSettings(consumer="other"))
    async with running(one), running(other):
        for number in range(14):
            await publish(client, crossing(number, "arnhem", number, entered=number % 2 == 0))
        await publish(client, crossing(99, "zwolle", 99, entered=True))
        await until(lambda: idle(client))
    now = await present(ports)
    assert now.status is Status.DELIVERED
    assert (now.stops[1].arrived_at_us, now.stops[1].departed_at_us) == (0, 13)
    assert await inbox(engine) == 15


async def test_a_redis_that_is_away_costs_hints_and_nothing_more(
    client: redis.Redis, ports: Ports, redis_server: RedisServer
) -> None:
    redis_server.kill()
    try:
        await ports.hints.shipment_changed(await present(ports))
    finally:
        redis_server.start()
