"""kill -9 of the tracking service, anywhere: rows, accounts and events end up as if nothing had happened."""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
import redis.asyncio as redis
from sqlalchemy.exc import DBAPIError

from drover.geofence.v1.fence_pb2 import Circle, CrossingRule, Fence, Geometry
from drover.tracking.v1.definition_pb2 import DefinitionChange, SensorLimit
from drover.tracking.v1.event_pb2 import TrackingEvent
from runtime import redis_client
from runtime.database import create_engine
from runtime.partitioned_log import Append, RedisStreamLog
from services.tracking.event_sink import STREAM
from services.tracking.model import Device
from stack.ports import any_free
from tests.conftest import ROOT
from tests.servers.process import _die_with_parent
from tests.services.tracking.build import SECOND, T0, positions, readings, sensors, tags
from tests.services.tracking.conftest import rows
from tests.services.tracking.dying import POINTS
from tests.services.tracking.running import PARTITIONS, announcement, block
from tracking_core.block import EntryKind
from tracking_core.columns import Readings

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

DEVICES = [Device(number, ("acme", "bolt")[number % 3 == 0], f"d{number}", "") for number in range(24)]
BLOCKS = 160
TABLES = ("positions", "sensor_samples", "tag_reads", "events", "accounts", "devices", "history_offsets")


def batches(partition: int) -> Iterator[Readings]:
    """Vehicles that come and go, some late, some repeated; a freezer that warms up now and then; a tag reader."""
    chance = random.Random(partition)
    mine = [device.number for device in DEVICES if device.number % PARTITIONS == partition]
    sent: list[dict[str, Any]] = []
    for tick in range(BLOCKS):
        at_us = T0 + tick * 600 * SECOND
        fixes = [
            {
                "device": number,
                "observed_at_us": at_us + number * 1000,
                "latitude_deg": 48.0 + chance.choice((0.0, 0.0, 0.02)),
                "longitude_deg": 11.0 + chance.random() / 1000,
                "satellites": chance.choice((7, 9)),
            }
            for number in mine
        ]
        late = [{**fix, "observed_at_us": fix["observed_at_us"] - 1500 * SECOND} for fix in fixes[:2]]
        repeated = chance.sample(sent, min(5, len(sent)))
        sent += fixes
        yield readings(
            positions(*fixes, *late, *repeated),
            sensors(*({"device": number, "observed_at_us": at_us, "value": chance.choice((4, 9))} for number in mine)),
            tags(*({"device": number, "observed_at_us": at_us, "epc": bytes([tick % 7])} for number in mine[:3])),
        )


async def fill(client: redis.Redis) -> None:
    log = RedisStreamLog(client, PARTITIONS)
    await log.check_partitions()
    for tenant in ("acme", "bolt"):
        yard = Fence(
            fence_id="yard", tenant=tenant, name="Yard", version=1,
            geometry=Geometry(circle=Circle(longitude_deg=11.0, latitude_deg=48.0, radius_m=500.0)),
            crossing=CrossingRule(enter_fixes=1, exit_fixes=1),
        )  # fmt: skip
        change = DefinitionChange(fence_put=yard).SerializeToString()
        await log.append([Append(number, EntryKind.DEFINITION, change) for number in range(PARTITIONS)])
    for partition in range(PARTITIONS):
        await log.append([announcement(partition, DEVICES)])
        for device in DEVICES[partition:6:PARTITIONS]:
            limit = SensorLimit(
                limit_id=f"l{device.number}", tenant=device.tenant, device_id=device.device_id, quantity=1,  # type: ignore[arg-type]
                maximum=8.0, version=1, device_number=device.number,
            )  # fmt: skip
            change = DefinitionChange(limit_put=limit).SerializeToString()
            await log.append([Append(partition, EntryKind.DEFINITION, change)])
        await log.append([block(partition, batch) for batch in batches(partition)])


class Service:
    """The service as a process, with settings that make flushes and snapshots come thick and fast."""

    def __init__(self, folder: pathlib.Path, redis_url: str, database_url: str) -> None:
        self.database_url = database_url
        self.log = folder / "tracking.log"
        self.was_ready = 0
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DROVER_")},
            "DROVER_DATA_DIR": str(folder / "data"),
            "DROVER_REDIS_URL": redis_url,
            "DROVER_PARTITIONS": str(PARTITIONS),
            "DROVER_TRACKING_GRPC_ADDRESS": f"127.0.0.1:{any_free()}",
            "DROVER_TRACKING_DATABASE_URL": database_url,
            "DROVER_TRACKING_READ_ENTRIES": "2",
            "DROVER_TRACKING_HISTORY_FLUSH_ROWS": "200",
            "DROVER_TRACKING_HISTORY_FLUSH_MS": "5",
            "DROVER_TRACKING_SNAPSHOT_ENTRIES": "15",
            "DROVER_TRACKING_LOG_KEEP_HOURS": "0",
            # No ticks: they would make the log another one.
            "DROVER_TRACKING_TAG_SILENCE_S": "86400",
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            *(("tests.services.tracking.dying", *arguments) if arguments else ["services.tracking"]),
        ]
        with self.log.open("ab") as log:
            self.was_ready = self.log.read_text().count(" ready ")
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )

    async def offsets(self) -> dict[int, str]:
        engine = create_engine(self.database_url)
        try:
            return dict(await rows(engine, "SELECT partition_number, log_offset FROM history_offsets"))
        except DBAPIError:  # the tables are not there yet
            return {}
        finally:
            await engine.dispose()

    async def finish(self, process: subprocess.Popen[bytes], ends: dict[int, str]) -> None:
        deadline = time.monotonic() + 240
        while self.log.read_text().count(" ready ") == self.was_ready or await self.offsets() != ends:
            assert process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            await asyncio.sleep(0.05)
        process.terminate()
        assert process.wait(30) == 0, self.log.read_text()[-3000:]


class Outcome(NamedTuple):
    """All that can be seen afterwards."""

    tables: dict[str, list[tuple[Any, ...]]]
    events: dict[str, list[bytes]]
    """Of the stream, by device."""


async def outcome(database_url: str, client: redis.Redis) -> Outcome:
    engine = create_engine(database_url)
    tables = {}
    for name in TABLES:
        columns = "partition_number, log_offset" if name == "history_offsets" else "*"
        tables[name] = sorted(await rows(engine, f"SELECT {columns} FROM {name}"), key=repr)
    await engine.dispose()
    events: dict[str, list[bytes]] = {}
    for _, fields in await client.xrange(STREAM):
        event = TrackingEvent.FromString(fields[b"e"])
        events.setdefault(f"{event.tenant}/{event.device_id}", []).append(fields[b"e"])
    return Outcome(tables, events)


class Scene(NamedTuple):
    """The first half of the log is there; a test appends the other once the service has died in the middle."""

    url: str
    client: redis.Redis
    ends: dict[int, str]
    expected: Outcome

    async def append(self, half: int, halves: int = 2) -> None:
        pipeline = self.client.pipeline()
        for number in range(PARTITIONS):
            mine = [entry for entry in recorded[0].entries if entry[0] == b"drover:log:%d" % number]
            size = len(mine) // halves
            for key, offset, fields in mine[half * size : (half + 1) * size if half + 1 < halves else None]:
                pipeline.xadd(key, fields, id=offset)
        await pipeline.execute()


class Recorded(NamedTuple):
    """The entries of the log, with their offsets, and what an uninterrupted run made of them."""

    entries: list[tuple[bytes, bytes, dict[bytes, bytes]]]
    expected: Outcome


recorded: list[Recorded] = []


async def record(url: str, client: redis.Redis, folder: pathlib.Path) -> Recorded:
    await fill(client)
    entries = [
        (key, offset, fields)
        for key in (b"drover:log:%d" % number for number in range(PARTITIONS))
        for offset, fields in await client.xrange(key)
    ]
    folder.mkdir()  # noqa: ASYNC240 - at once
    database = f"sqlite+aiosqlite:///{folder / 'tracking.db'}"
    service = Service(folder, url, database)
    await service.finish(service.start(), await ends_of(client))
    return Recorded(entries, await outcome(database, client))


async def ends_of(client: redis.Redis) -> dict[int, str]:
    log = RedisStreamLog(client, PARTITIONS)
    return {number: await log.end(number) for number in range(PARTITIONS)}


@pytest.fixture
async def scene(redis_url: str, tmp_path: pathlib.Path) -> AsyncIterator[Scene]:
    """A filled log, the same for every test, and what it comes to."""
    client = redis_client.connect(redis_url)
    if not recorded:
        recorded.append(await record(redis_url, client, tmp_path / "reference"))
        await client.flushall()
    entries = recorded[0].entries
    ends = {
        number: [offset for key, offset, _ in entries if key.endswith(b":%d" % number)][-1].decode()
        for number in range(PARTITIONS)
    }
    made = Scene(redis_url, client, ends, recorded[0].expected)
    await made.append(0)
    yield made
    await client.aclose()


def check_reference(expected: Outcome) -> None:
    """The comparison means something only if there is something to compare."""
    accounts = {(tenant, counter): amount for tenant, counter, amount in expected.tables["accounts"]}
    for tenant in ("acme", "bolt"):
        for kind in ("positions", "sensors", "tags"):
            read, stored = accounts[tenant, f"{kind}_read"], accounts[tenant, f"{kind}_stored"]
            assert read == stored + accounts.get((tenant, f"{kind}_repeated"), 0)
            assert stored > 0
        assert accounts[tenant, "positions_repeated"] > 0
    assert sum(amount for (_, counter), amount in accounts.items() if counter == "positions_stored") == len(
        expected.tables["positions"]
    )
    assert sum(map(len, expected.events.values())) == len(expected.tables["events"]) > 300
    kinds = {
        TrackingEvent.FromString(body).WhichOneof("kind") for bodies in expected.events.values() for body in bodies
    }
    assert {"geofence_entered", "geofence_exited", "excursion_opened", "excursion_closed", "tag_arrived"} <= kinds


def assert_same(found: Outcome, expected: Outcome) -> None:
    for name in TABLES:
        assert found.tables[name] == expected.tables[name], name
    assert found.events == expected.events


async def test_killed_at_every_point(scene: Scene, tmp_path: pathlib.Path):
    """One after the other, each time going on from where the last death left it."""
    check_reference(scene.expected)
    database = f"sqlite+aiosqlite:///{tmp_path / 'tracking.db'}"
    service = Service(tmp_path, scene.url, database)
    for number, point in enumerate(POINTS):
        if number == len(POINTS) - 2:
            await scene.append(1)
        process = service.start(point, str(number % 2 + 1))
        assert await asyncio.to_thread(process.wait, 60) == -9, f"{point}: {service.log.read_text()[-3000:]}"
    await service.finish(service.start(), scene.ends)
    assert_same(await outcome(database, scene.client), scene.expected)
    damaged = list((tmp_path / "data" / "tracking" / "snapshots").glob("*.damaged"))
    assert not damaged


async def test_killed_at_any_time_with_mariadb(scene: Scene, tmp_path: pathlib.Path, mariadb_server):
    service = Service(tmp_path, scene.url, mariadb_server.url)
    chance = random.Random(1)
    before = {}
    for life in range(2):
        process = service.start()
        while (now := await service.offsets()) == before or not now:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        before = now
        await asyncio.sleep(chance.random() / 10)
        process.kill()
        process.wait()
        if life == 0:
            await scene.append(1)
    await service.finish(service.start(), scene.ends)
    assert_same(await outcome(mariadb_server.url, scene.client), scene.expected)


async def test_a_damaged_newest_snapshot_costs_nothing(scene: Scene, tmp_path: pathlib.Path):
    database = f"sqlite+aiosqlite:///{tmp_path / 'tracking.db'}"
    service = Service(tmp_path, scene.url, database)
    process = service.start("after_snapshot", "4")
    assert await asyncio.to_thread(process.wait, 60) == -9
    await scene.append(1)
    for partition in range(PARTITIONS):
        newest = max(
            (tmp_path / "data" / "tracking" / "snapshots").glob(f"{partition}-*.snapshot"),
            key=lambda path: tuple(map(int, path.stem.split("-")[1:])),
        )
        newest.write_bytes(newest.read_bytes()[:-10])
    await service.finish(service.start(), scene.ends)
    assert_same(await outcome(database, scene.client), scene.expected)


async def test_without_any_snapshot_it_goes_on_all_the_same(scene: Scene, tmp_path: pathlib.Path):
    """The log is whole: all of it is folded again, and nothing is written or published twice."""
    database = f"sqlite+aiosqlite:///{tmp_path / 'tracking.db'}"
    service = Service(tmp_path, scene.url, database)
    service.environ["DROVER_TRACKING_LOG_KEEP_HOURS"] = "24"
    process = service.start("after_snapshot", "4")
    assert await asyncio.to_thread(process.wait, 60) == -9
    await scene.append(1)
    for snapshot in (tmp_path / "data" / "tracking" / "snapshots").iterdir():
        snapshot.unlink()
    await service.finish(service.start(), scene.ends)
    assert_same(await outcome(database, scene.client), scene.expected)


async def test_with_snapshots_gone_and_the_log_trimmed_no_reading_is_lost_or_doubled(
    scene: Scene, tmp_path: pathlib.Path
):
    """What it concludes then may differ; what it counts may not."""
    database = f"sqlite+aiosqlite:///{tmp_path / 'tracking.db'}"
    service = Service(tmp_path, scene.url, database)
    process = service.start("after_snapshot", "4")
    assert await asyncio.to_thread(process.wait, 60) == -9
    await scene.append(1)
    for snapshot in (tmp_path / "data" / "tracking" / "snapshots").iterdir():
        snapshot.unlink()
    await service.finish(service.start(), scene.ends)
    assert "the log has lost its beginning" in service.log.read_text()
    found = await outcome(database, scene.client)
    keys = [[row[:3] for row in tables["positions"]] for tables in (found.tables, scene.expected.tables)]
    assert keys[0] == keys[1]
    counted = [
        [row for row in tables["accounts"] if row[1].endswith(("_read", "_stored", "_repeated"))]
        for tables in (found.tables, scene.expected.tables)
    ]
    assert counted[0] == counted[1]
