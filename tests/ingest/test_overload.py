"""A log that takes far less than devices send, and a stop under load: the broker keeps what ingest cannot take."""

from __future__ import annotations

import asyncio
import pathlib
import re
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import psutil
import pytest

from drover.api.ingest.v1.ingest_service_pb2 import DeviceReadings, StreamRequest
from drover.telemetry.v1.reading_pb2 import Position
from ingest.streams.source import PATH
from runtime import redis_client
from runtime.grpc_client import channel, metadata
from runtime.partitioned_log import START, RedisStreamLog
from runtime.tokens import Role, load_or_create_keys
from stack.ports import any_free
from tests.chaos.mqtt_sender import connect_packet, packet, read_packet, text
from tests.ingest.readings import batch, position
from tests.ingest.rig import readings_of
from tests.servers.drover import DroverProcess
from tests.servers.fault_proxy import FAIR, FaultProxy, Weather
from tests.servers.mosquitto import Mosquitto
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.server

PARTITIONS = 2
HIGH_WATER = 5_000
FIRST_US = 1_700_000_000_000_000


class World:
    """Ingest between a broker of its own and the Redis of the session, each behind a proxy."""

    def __init__(self, folder: pathlib.Path, broker: Mosquitto, to_broker: FaultProxy, to_redis: FaultProxy) -> None:
        self.broker = broker
        self.to_broker = to_broker
        self.to_redis = to_redis
        self.folder = folder
        self.probe_port = any_free()
        self.grpc_port = any_free()
        self.ingest = DroverProcess(
            "ingest",
            folder,
            {
                "DATA_DIR": str(folder),
                "PARTITIONS": str(PARTITIONS),
                "REDIS_URL": f"redis://127.0.0.1:{to_redis.port}/0",
                "INGEST_MQTT_URLS": f"mqtt://127.0.0.1:{to_broker.port}",
                "INGEST_GRPC_ADDRESS": f"127.0.0.1:{self.grpc_port}",
                "INGEST_AUTO_PROVISION": "true",
                "INGEST_MQTT_HIGH_WATER_MESSAGES": str(HIGH_WATER),
                "INGEST_PROBE_PORT": str(self.probe_port),
                "INGEST_DRAIN_S": "60",
            },
        )

    async def start(self, **settings: str) -> None:
        self.ingest.launch(**settings)
        await asyncio.to_thread(self.ingest.wait_ready)
        await self.until(self._is_subscribed)

    def _is_subscribed(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probe_port}/readyz", timeout=30) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    async def metric(self, name: str) -> float:
        return await asyncio.to_thread(self._metric, name)

    def _metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.probe_port}/metrics", timeout=30) as answer:
            said = answer.read().decode()
        return sum(
            float(value) for value in re.findall(rf"^{name}(?:_total)?(?:{{[^}}]*}})? (\S+)$", said, re.MULTILINE)
        )

    async def until(self, condition, seconds: float = 120.0) -> None:  # type: ignore[no-untyped-def]
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(condition):
                assert self.ingest.exit_code is None, self.ingest.said()
                await asyncio.sleep(0.05)


@pytest.fixture
async def world(tmp_path: pathlib.Path, redis_server: RedisServer, redis_url: str) -> AsyncIterator[World]:
    (tmp_path / "broker").mkdir()
    broker = Mosquitto.as_shipped(tmp_path / "broker")
    broker.start()
    async with FaultProxy(broker.port).serving() as to_broker, FaultProxy(redis_server.port).serving() as to_redis:
        made = World(tmp_path, broker, to_broker, to_redis)
        try:
            yield made
        finally:
            made.ingest.kill()
            broker.kill()


async def _publish(broker: Mosquitto, first: int, count: int) -> None:
    """Fixes numbered from `first`; returns when the broker has acknowledged all."""
    topics = [text(f"drover/v1/acme/truck-{n}/position".encode()) for n in range(10)]
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    writer.write(connect_packet("fast"))
    await read_packet(reader)

    async def hear() -> None:
        for _ in range(count):
            packet_type, body = await read_packet(reader)
            assert packet_type == 0x40
            assert len(body) == 2 or body[2] == 0, "nobody is subscribed"

    hearing = asyncio.create_task(hear())
    for number in range(first, first + count):
        fix = Position(
            sequence=number, observed_at_us=FIRST_US + number * 1_000_000, latitude_deg=50.0, longitude_deg=9.0
        )
        head = topics[number % 10] + (number % 65_535 + 1).to_bytes(2, "big") + b"\x00"
        writer.write(packet(0x32, head + fix.SerializeToString()))
        if number % 500 == 0:
            await writer.drain()
    await asyncio.wait_for(hearing, 120)
    writer.close()
    await writer.wait_closed()


async def _sequences(redis_url: str) -> np.ndarray:  # type: ignore[type-arg]
    async with redis_client.connect(redis_url) as client:
        log = RedisStreamLog(client, PARTITIONS)
        entries = await log.read_from(dict.fromkeys(range(PARTITIONS), START), max_entries=1_000_000, wait_ms=0)
    return np.sort(readings_of(entries).positions.sequence)


@pytest.mark.timeout(300)
async def test_a_log_that_is_too_slow_pauses_reading_and_memory_stays(world: World, redis_url: str) -> None:
    """100,000 messages wait at the broker, not in ingest; then all of them arrive, once."""
    await world.start()
    await _publish(world.broker, 0, 10_000)
    await world.until(lambda: world._metric("drover_ingest_readings_appended") == 10_000)
    process = psutil.Process(world.ingest.pid)
    before = process.memory_info().rss
    world.to_redis.weather = Weather(bytes_per_s=200_000)  # some 2,000 readings a second
    await _publish(world.broker, 10_000, 100_000)
    most = process.memory_info().rss
    for _ in range(20):
        assert await world.metric("drover_ingest_mqtt_in_flight_messages") < HIGH_WATER + 4_000, "and one more read"
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.05)
    assert await world.metric("drover_ingest_mqtt_pauses") > 0
    assert await world.metric("drover_ingest_readings_appended") < 110_000, "not slow enough to say anything"
    world.to_redis.weather = FAIR
    await world.until(lambda: world._metric("drover_ingest_readings_appended") >= 110_000)
    most = max(most, process.memory_info().rss)
    assert most - before < 64 * 1024 * 1024
    assert np.array_equal(await _sequences(redis_url), np.arange(110_000))


async def _stop(world: World) -> float:
    """SIGTERM; how long it took to end, which it must do with 0."""
    begun_s = time.monotonic()
    world.ingest.terminate()
    async with asyncio.timeout(60):
        while (code := world.ingest.exit_code) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert code == 0, world.ingest.said()
    return time.monotonic() - begun_s


async def test_a_stop_under_load_drains_and_the_next_goes_on_where_it_ended(world: World, redis_url: str) -> None:
    """What was read is appended and acknowledged, so that not even the log has anything twice."""
    await world.start()
    publishing = asyncio.create_task(_publish(world.broker, 0, 30_000))
    await world.until(lambda: world._metric("drover_ingest_readings_appended") > 1_000)
    await _stop(world)
    stored = len(await _sequences(redis_url))
    await publishing
    assert stored < 30_000, "it had nothing left to do when it was stopped"
    await world.start()
    await world.until(lambda: world._metric("drover_ingest_readings_appended") >= 30_000 - stored)
    assert np.array_equal(await _sequences(redis_url), np.arange(30_000))


async def test_a_stop_does_not_wait_for_a_log_that_is_silent(world: World, redis_url: str) -> None:
    """Its grace time over, it leaves without a word; the broker has everything, and the next one takes it."""
    await world.start(INGEST_DRAIN_S="3")
    world.to_redis.weather = Weather(is_silent=True)
    await _publish(world.broker, 0, 1_000)
    await world.until(lambda: world._metric("drover_ingest_mqtt_in_flight_messages") == 1_000)
    assert await _stop(world) < 25, "its grace time is 3 s, that of a read from Redis 30"
    assert "stopping with messages that are not durable" in world.ingest.said()
    world.to_redis.weather = FAIR
    assert len(await _sequences(redis_url)) == 0
    await world.start()
    await world.until(lambda: world._metric("drover_ingest_readings_appended") >= 1_000)
    assert np.array_equal(await _sequences(redis_url), np.arange(1_000))


async def test_nor_when_those_who_sent_have_left(world: World) -> None:
    """Nothing is left to be told to anybody; the grace time goes on all the same, and ends."""
    await world.start(INGEST_DRAIN_S="3")
    world.to_redis.weather = Weather(is_silent=True)
    token = load_or_create_keys(world.folder).issuer.issue("test", "acme", Role.FORWARDER, 600)
    request = StreamRequest(batch_number=1, devices=[DeviceReadings(device_id="truck", readings=batch(position()))])
    async with channel(f"127.0.0.1:{world.grpc_port}") as link:
        call: Any = link.stream_stream(PATH)(metadata=metadata(token))
        await call.write(request.SerializeToString())
        await world.until(lambda: world._metric("drover_ingest_queue_readings") == 1)
        call.cancel()
    await world.until(lambda: world._metric("drover_ingest_grpc_streams") == 0)
    assert await _stop(world) < 25
    assert "stopping with messages that are not durable" in world.ingest.said()
