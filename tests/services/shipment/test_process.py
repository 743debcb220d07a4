"""The whole process, `python -m services.shipment`, with a real Redis and a fake of the tracking service's port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
import redis.asyncio as redis

from drover.api.shipment.v1 import shipment_service_pb2 as api
from drover.api.shipment.v1.shipment_service_pb2_grpc import ShipmentsStub
from drover.shipment.v1 import shipment_pb2 as pb
from runtime import redis_client
from runtime.grpc_client import channel, metadata
from runtime.tokens import KeyPair, Role, load_or_create_keys
from services.shipment.events_consumer import GROUP, STREAM
from stack.ports import any_free
from tests.services.shipment.examples import DEVICE, TENANT, fence
from tests.services.shipment.fake_tracking import FakeTracking, serving
from tests.services.shipment.test_events_consumer import STORY

pytestmark = pytest.mark.server

ROOT = pathlib.Path(__file__).resolve().parents[3]


class RedisWire:
    """Stands between the process and Redis. While `swallows` is set, a command of that name never arrives."""

    def __init__(self, redis_port: int) -> None:
        self._redis_port = redis_port
        self.swallows: bytes | None = None
        self.swallowed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._redis_port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pump(reader, server_writer, watch=True))
            tasks.create_task(self._pump(server_reader, writer, watch=False))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watch: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if watch and self.swallows is not None and self.swallows in data:
                    self.swallowed.set()
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()


class Service:
    """Starts and kills the process."""

    def __init__(self, data_dir: pathlib.Path, redis_port: int, tracking_port: int) -> None:
        self.port = any_free()
        self.data_dir = data_dir
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DROVER_")},
            "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}",
            "DROVER_DATA_DIR": str(data_dir),
            "DROVER_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "DROVER_SHIPMENT_GRPC_ADDRESS": f"127.0.0.1:{self.port}",
            "DROVER_SHIPMENT_TRACKING_ADDRESS": f"127.0.0.1:{tracking_port}",
        }
        self.process: asyncio.subprocess.Process | None = None
        self.log = ""

    async def start(self, *arguments: str, **settings: str) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.shipment", *arguments, cwd=self.data_dir,
            env=self._environment | settings, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def ready(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            while line := await self.process.stderr.readline():
                self.log += line.decode()
                if "ready" in line.decode():
                    return
        raise AssertionError(f"it ended: {self.log}")

    async def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process is not None
        async with asyncio.timeout(20):
            _, rest = await self.process.communicate()
        self.log += rest.decode()
        assert self.process.returncode is not None
        return self.process.returncode

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.data_dir / "shipment.db")) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def keys(tmp_path: pathlib.Path) -> KeyPair:
    return load_or_create_keys(tmp_path)


@pytest.fixture
async def redis_wire(redis_url: str) -> AsyncIterator[tuple[RedisWire, int]]:
    wire = RedisWire(int(redis_url.split(":")[2].split("/", maxsplit=1)[0]))
    server = await asyncio.start_server(wire, "127.0.0.1", 0)
    yield wire, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    async with redis_client.connect(redis_url) as client:
        yield client


@pytest.fixture
async def service(tmp_path: pathlib.Path, redis_wire: tuple[RedisWire, int]) -> AsyncIterator[Service]:
    service = Service(tmp_path, redis_wire[1], any_free())
    yield service
    if service.process is not None and service.process.returncode is None:
        service.process.kill()
        await service.process.communicate()


@pytest.fixture
async def stub(service: Service) -> AsyncIterator[ShipmentsStub]:
    async with channel(f"127.0.0.1:{service.port}") as link:
        yield ShipmentsStub(link)


def tracking_port(service: Service) -> int:
    return int(service._environment["DROVER_SHIPMENT_TRACKING_ADDRESS"].rpartition(":")[2])


def token(keys: KeyPair) -> tuple[tuple[str, str], ...]:
    return metadata(keys.issuer.issue("ada", TENANT, Role.DISPATCHER, 600))


SHIPMENT = pb.Shipment(
    shipment_id="s-1",
    device_id=DEVICE,
    stops=[
        pb.ShipmentStop(stop_id=name, longitude_deg=degrees, latitude_deg=52.0)
        for name, degrees in (("utrecht", 5.0), ("arnhem", 6.0), ("zwolle", 7.0))
    ],
)


async def create(stub: ShipmentsStub, keys: KeyPair) -> None:
    request = api.CreateShipmentRequest(shipment=SHIPMENT)
    await stub.CreateShipment(request, metadata=token(keys), wait_for_ready=True, timeout=20)  # type: ignore[misc]


async def get(stub: ShipmentsStub, keys: KeyPair) -> pb.Shipment:
    request = api.GetShipmentRequest(shipment_id="s-1")
    answer = await stub.GetShipment(request, metadata=token(keys), wait_for_ready=True, timeout=20)  # type: ignore[misc]
    found: pb.Shipment = answer.shipment
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the condition lies in another process
            await asyncio.sleep(0.02)


async def test_kill_9_between_commit_and_acknowledgement_applies_the_event_once(
    service: Service, stub: ShipmentsStub, keys: KeyPair, client: redis.Redis, redis_wire: tuple[RedisWire, int]
) -> None:
    wire, _ = redis_wire
    tracking = FakeTracking()
    async with serving(tracking, keys.verifier, tracking_port(service)):
        await service.start()
        await service.ready()
        await create(stub, keys)
        await until(lambda: "s-1" in tracking.ids("route"))
        assert tracking.ids("fence") == {fence("utrecht"), fence("arnhem"), fence("zwolle")}

        wire.swallows = b"XACK"
        await client.xadd(STREAM, {b"e": STORY[0]})
        await asyncio.wait_for(wire.swallowed.wait(), 20)
        assert await service.end(signal.SIGKILL) == -signal.SIGKILL
        assert service.rows("SELECT version, status FROM shipments") == [(2, "in_transit")]
        assert service.rows("SELECT count(*) FROM inbox") == [(1,)]
        assert (await client.xpending(STREAM, GROUP))["pending"] == 1

        wire.swallows = None
        await service.start()
        await service.ready()
        for event in STORY[1:]:
            await client.xadd(STREAM, {b"e": event})
        await until(lambda: service.rows("SELECT status FROM shipments") == [("delivered",)])
        found = await get(stub, keys)
        assert found.status == pb.SHIPMENT_STATUS_DELIVERED
        assert [stop.departed_at_us for stop in found.stops] == [10, 30, 0]
        await until(lambda: not tracking.defined)
        assert await service.end(signal.SIGTERM) == 0
        assert service.rows("SELECT count(*) FROM inbox") == [(4,)]
        assert service.rows("SELECT count(*) FROM definition_outbox") == [(0,)]
    assert (await client.xpending(STREAM, GROUP))["pending"] == 0


async def test_definitions_survive_an_outage_and_a_kill(service: Service, stub: ShipmentsStub, keys: KeyPair) -> None:
    await service.start()
    await service.ready()
    await create(stub, keys)  # with nobody there to be told
    assert (await get(stub, keys)).version == 1
    await service.end(signal.SIGKILL)
    tracking = FakeTracking()
    async with serving(tracking, keys.verifier, tracking_port(service)):
        await service.start()
        await service.ready()
        await until(lambda: "s-1" in tracking.ids("route"))
        assert len(tracking.ids("fence")) == 3
        await until(lambda: service.rows("SELECT count(*) FROM definition_outbox") == [(0,)])
        assert await service.end(signal.SIGTERM) == 0
    assert [name for name, _ in tracking.calls].count("put route") == 1


async def test_dead_events_are_replayed_by_hand(
    service: Service, stub: ShipmentsStub, keys: KeyPair, client: redis.Redis
) -> None:
    await service.start()
    await service.ready()
    await create(stub, keys)
    await client.xadd(STREAM, {b"e": b"\xff"})
    async with asyncio.timeout(20):
        while not await client.xlen(f"{STREAM}:dead:{GROUP}"):  # noqa: ASYNC110 - it lies in Redis
            await asyncio.sleep(0.02)
    # As if a mended version could read it now.
    await client.delete(f"{STREAM}:dead:{GROUP}")
    await client.xadd(f"{STREAM}:dead:{GROUP}", {"e": STORY[0], "error": "x", "tries": 1, "id": "0-1"})
    await service.end(signal.SIGTERM)
    await service.start("replay-dead")
    assert await service.ended() == 0
    assert "handled=1" in service.log
    assert service.rows("SELECT status FROM shipments") == [("in_transit",)]
    assert await client.xlen(f"{STREAM}:dead:{GROUP}") == 0


async def test_what_a_person_must_mend_is_one_line(service: Service, tmp_path: pathlib.Path) -> None:
    for settings, line in [
        ({"DROVER_SHIPMENT_TRACKING_ADRESS": "x"}, "did you mean DROVER_SHIPMENT_TRACKING_ADDRESS?"),
        ({"DROVER_SHIPMENT_DATABASE_URL": "mysql+asyncmy://a:secret@127.0.0.1:1/x"}, "cannot open the database"),
    ]:
        service.log = ""
        await service.start(**settings)
        assert await service.ended() == 1
        assert line in service.log
        assert "secret" not in service.log
        assert len(service.log.splitlines()) == 1


async def test_runs_without_redis_and_the_tracking_service(
    service: Service, stub: ShipmentsStub, keys: KeyPair
) -> None:
    await service.start(DROVER_REDIS_URL="redis://127.0.0.1:1/0")
    await service.ready()
    await create(stub, keys)
    assert (await get(stub, keys)).status == pb.SHIPMENT_STATUS_PLANNED
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.GetShipment(api.GetShipmentRequest(shipment_id="s-1"), timeout=5)  # type: ignore[misc]
    assert await service.end(signal.SIGTERM) == 0
