"""Events in a real Redis: each once, in order, whatever is repeated or lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from drover.tracking.v1.event_pb2 import TrackingEvent
from runtime import redis_client
from runtime.partitioned_log import Append, RedisStreamLog
from services.tracking.event_sink import STREAM, EntryEvents, EventsDivergedError, EventSink, Marker, marker_key
from services.tracking.events import PublishedEvent, published
from tests.services.tracking.build import T0
from tracking_core.block import EntryKind
from tracking_core.events import Cause, CoreEvent, EventKind, FenceCrossing

pytestmark = pytest.mark.server


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    made = redis_client.connect(redis_url)
    yield made
    await made.aclose()


def event(number: int) -> PublishedEvent:
    return published(
        CoreEvent(
            EventKind.GEOFENCE_ENTERED, 0, "acme", "truck-1", "port", 1, T0 + number, T0 + number, Cause.MOVEMENT, 0,
            False, 1.0, 2.0, FenceCrossing("Port"),
        )
    )  # fmt: skip


def entry(offset: int, *numbers: int) -> EntryEvents:
    return EntryEvents(f"{offset}-0", [event(number) for number in numbers])


async def stream(client: redis.Redis) -> list[int]:
    found = await client.xrange(STREAM)
    return [TrackingEvent.FromString(fields[b"e"]).observed_at_us - T0 for _, fields in found]


async def sink(client: redis.Redis) -> EventSink:
    made = EventSink(client, 1_000_000)
    await made.load(2)
    return made


async def test_events_are_in_the_stream_in_order_and_hinted_at(client: redis.Redis):
    async with client.pubsub() as hints:
        await hints.psubscribe("drover.alerts.*")
        await hints.get_message(timeout=1)
        await (await sink(client)).publish(0, [entry(5, 1, 2), entry(6, 3)])
        assert await stream(client) == [1, 2, 3]
        heard = [await hints.get_message(timeout=1) for _ in range(3)]
        assert [hint["channel"] for hint in heard] == [b"drover.alerts.acme.geofence_entered"] * 3
        assert TrackingEvent.FromString(heard[2]["data"]).event_id == event(3).event_id
        assert await client.get(marker_key(0)) == b"6-0/1"


async def test_what_is_out_is_not_published_again_after_a_restart(client: redis.Redis):
    first = await sink(client)
    await first.publish(0, [entry(5, 1, 2), entry(6, 3)])
    async with client.pubsub() as hints:
        await hints.psubscribe("drover.alerts.*")
        await hints.get_message(timeout=1)
        second = await sink(client)
        await second.publish(0, [entry(5, 1, 2)])
        await second.publish(0, [entry(6, 3), entry(7, 4)])
        assert await stream(client) == [1, 2, 3, 4]
        assert await hints.get_message(timeout=1) is not None
        assert await hints.get_message(timeout=0.1) is None


async def test_a_restart_in_the_middle_of_an_entry_goes_on_in_its_middle(client: redis.Redis, monkeypatch):
    monkeypatch.setattr("services.tracking.event_sink.GROUP_EVENTS", 2)
    first = await sink(client)

    async def die(*_: object) -> None:
        raise asyncio.CancelledError

    calls = 0
    publish_group = first._publish_group

    async def once(*arguments) -> None:
        nonlocal calls
        calls += 1
        await (publish_group if calls == 1 else die)(*arguments)

    monkeypatch.setattr(first, "_publish_group", once)
    with pytest.raises(asyncio.CancelledError):
        await first.publish(0, [entry(5, 1, 2, 3, 4, 5)])
    assert await stream(client) == [1, 2]
    await (await sink(client)).publish(0, [entry(5, 1, 2, 3, 4, 5), entry(6, 6)])
    assert await stream(client) == [1, 2, 3, 4, 5, 6]


async def test_companions_go_into_the_logs_of_their_partitions_once(client: redis.Redis, monkeypatch):
    monkeypatch.setattr("services.tracking.event_sink.GROUP_EVENTS", 2)
    monkeypatch.setattr("services.tracking.event_sink.RETRY_S", 0.01)
    companions = [Append(number % 2, EntryKind.COMPANION, b"%d" % number) for number in range(3)]
    mixed = EntryEvents("5-0", [event(1), *companions])
    first = await sink(client)
    script = first._script
    answers = [True, False]

    async def losing(**arguments):
        await script(**arguments)
        if not answers.pop(0):
            raise asyncio.CancelledError

    monkeypatch.setattr(first, "_script", losing)
    with pytest.raises(asyncio.CancelledError):
        await first.publish(0, [mixed])
    await (await sink(client)).publish(0, [mixed, EntryEvents("6-0", companions[:1]), entry(7, 2)])
    assert await stream(client) == [1, 2]
    log = RedisStreamLog(client, 2)
    entries = await log.read_from({0: "0-0", 1: "0-0"}, wait_ms=0)
    assert [(each.partition, each.kind, each.payload) for each in entries] == [
        (0, EntryKind.COMPANION, b"0"), (0, EntryKind.COMPANION, b"2"), (0, EntryKind.COMPANION, b"0"),
        (1, EntryKind.COMPANION, b"1"),
    ]  # fmt: skip
    assert await client.get(marker_key(0)) == b"7-0/1"


async def test_an_answer_that_is_lost_publishes_nothing_twice(client: redis.Redis, monkeypatch):
    monkeypatch.setattr("services.tracking.event_sink.RETRY_S", 0.01)
    made = await sink(client)
    script = made._script
    losses = ["after", "before", None]

    async def losing(**arguments):
        loss = losses.pop(0)
        if loss != "before":
            await script(**arguments)
        if loss:
            raise redis.ConnectionError("gone")

    monkeypatch.setattr(made, "_script", losing)
    await made.publish(0, [entry(5, 1, 2)])
    assert await stream(client) == [1, 2]
    assert not losses


async def test_a_second_publisher_is_refused(client: redis.Redis):
    first, second = await sink(client), await sink(client)
    await first.publish(0, [entry(5, 1)])
    with pytest.raises(EventsDivergedError, match="'5-0/1', not ''"):
        await second.publish(0, [entry(6, 2)])
    await second.publish(1, [entry(6, 3)])
    assert await stream(client) == [1, 3]


async def test_the_stream_is_bounded(client: redis.Redis):
    made = EventSink(client, 1_000)
    await made.load(1)
    await made.publish(0, [entry(5, *range(5_000))])
    assert 1_000 <= await client.xlen(STREAM) < 1_200


async def test_waits_while_redis_is_away(redis_server, redis_url: str, client: redis.Redis, monkeypatch):
    monkeypatch.setattr("services.tracking.event_sink.RETRY_S", 0.01)
    made = await sink(client)
    await made.publish(0, [entry(5, 1)])
    redis_server.kill()
    publishing = asyncio.create_task(made.publish(0, [entry(6, 2)]))
    await asyncio.sleep(0.1)
    assert not publishing.done()
    redis_server.start()  # not in a thread: it would take the server with it when it ends
    await asyncio.wait_for(publishing, 10)
    assert await stream(client) == [1, 2]


def test_markers_are_read_as_they_are_written():
    assert Marker.parse(None) == Marker("0-0", 0)
    assert Marker.parse(b"17-3/4") == Marker("17-3", 4)
    assert Marker.parse(Marker("17-3", 4).encode().encode()) == Marker("17-3", 4)
    assert Marker("0-0", 0).encode() == ""
