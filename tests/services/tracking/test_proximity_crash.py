"""kill -9 anywhere: what a partition tells another is in its log once, and the same meetings stand."""

from __future__ import annotations

import asyncio
import collections
import pathlib
import random
import subprocess
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import redis.asyncio as redis

from drover.tracking.v1.definition_pb2 import DefinitionChange, Proximity
from drover.tracking.v1.event_pb2 import Standing, TrackingEvent
from runtime import redis_client
from runtime.database import create_engine
from runtime.partitioned_log import Append, RedisStreamLog
from services.tracking.event_sink import STREAM
from services.tracking.model import Device
from tests.services.tracking.build import SECOND, T0, positions, readings
from tests.services.tracking.conftest import rows
from tests.services.tracking.running import PARTITIONS, announcement, block
from tests.services.tracking.test_crash import Service, ends_of
from tracking_core.block import EntryKind
from tracking_core.pairs.companions import CompanionFix, companion_fixes, unpack_companions

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

DEVICES = [Device(number, "acme", f"d{number}", "") for number in range(4)]
PAIRS = [(0, 1), (1, 2), (2, 0), (3, 0)]
BLOCKS = 60


async def define(log: RedisStreamLog) -> None:
    for first, second in PAIRS:
        proximity = Proximity(
            proximity_id=f"p{first}{second}", tenant="acme", device_id=f"d{first}", other_device_id=f"d{second}",
            device_number=first, other_device_number=second, distance_m=100.0, version=1,
        )  # fmt: skip
        change = DefinitionChange(proximity_put=proximity).SerializeToString()
        await log.append([Append(number, EntryKind.DEFINITION, change) for number in range(PARTITIONS)])


async def drive(log: RedisStreamLog, part: int) -> None:
    """A third of the fixes: all wander about, some fixes are late, some come twice."""
    chance = random.Random(part)
    for turn in range(part * BLOCKS // 3, (part + 1) * BLOCKS // 3):
        for partition in range(PARTITIONS):
            fixes: list[dict[str, Any]] = []
            for device in DEVICES[partition::PARTITIONS]:
                for late_s in (0, 25) if chance.random() < 0.2 else (0,):
                    fix = {
                        "device": device.number,
                        "observed_at_us": T0 + (10 * turn + 2 * device.number - late_s) * SECOND,
                        "latitude_deg": chance.choice((0.0, 0.0, 0.0005, 0.003)),
                        "longitude_deg": 11.0,
                        "satellites": 9,
                    }
                    fixes += [fix] * chance.choice((1, 1, 1, 2))
            await log.append([block(partition, readings(positions(*fixes)))])


class Outcome(NamedTuple):
    """What is in the end; `companions` by (home, source), `standing` without what tells how it came about."""

    companions: dict[tuple[int, int], list[list[CompanionFix]]]
    standing: list[tuple[Any, ...]]
    ids: list[str]


async def outcome(client: redis.Redis, database_url: str) -> Outcome:
    companions: dict[tuple[int, int], list[list[CompanionFix]]] = collections.defaultdict(list)
    for home in range(PARTITIONS):
        for _, fields in await client.xrange(f"drover:log:{home}"):
            if int(fields[b"k"]) == EntryKind.COMPANION:
                fixes = companion_fixes(unpack_companions(fields[b"b"]))
                companions[home, fixes[0].device % PARTITIONS].append(fixes)
    told: dict[str, TrackingEvent] = {}
    events = [TrackingEvent.FromString(fields[b"e"]) for _, fields in await client.xrange(STREAM)]
    for event in events:
        told[event.amends_event_id or event.event_id] = event
    standing = sorted(
        (event.device_id, event.WhichOneof("kind"), event.observed_at_us, event.confirmed_at_us, event.latitude_deg)
        for event in told.values()
        if event.standing != Standing.STANDING_WITHDRAWN
    )
    engine = create_engine(database_url)
    stored = await rows(engine, "SELECT event_id FROM events")
    await engine.dispose()
    assert sorted(each[0] for each in stored) == sorted(event.event_id for event in events)
    return Outcome(companions, standing, [event.event_id for event in events])


def service(folder: pathlib.Path, url: str) -> Service:
    made = Service(folder, url, f"sqlite+aiosqlite:///{folder / 'tracking.db'}")
    made.environ |= {
        "DROVER_TRACKING_LOG_KEEP_HOURS": "24",
        "DROVER_TRACKING_SIGNAL_LOST_AFTER_S": "0",
        "DROVER_TRACKING_FOLLOWS_JOURNEYS": "false",
    }
    return made


async def settle(made: Service, process: subprocess.Popen[bytes], client: redis.Redis) -> None:
    """Until all is folded, also what partitions told each other."""
    deadline = time.monotonic() + 240
    while True:
        ends = await ends_of(client)
        if made.log.read_text().count(" ready ") > made.was_ready and await made.offsets() == ends:
            break
        assert process.poll() is None, made.log.read_text()[-3000:]
        assert time.monotonic() < deadline, made.log.read_text()[-3000:]
        await asyncio.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 0, made.log.read_text()[-3000:]


@pytest.fixture
async def log(redis_url: str) -> AsyncIterator[RedisStreamLog]:
    client = redis_client.connect(redis_url)
    made = RedisStreamLog(client, PARTITIONS)
    await made.check_partitions()
    await made.append([announcement(number, DEVICES) for number in range(PARTITIONS)])
    await define(made)
    yield made
    await client.aclose()


async def test_killed_at_every_point_and_folded_again_from_the_start(
    log: RedisStreamLog, redis_url: str, tmp_path: pathlib.Path
):
    client = redis_client.connect(redis_url)
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    reference.mkdir()
    killed.mkdir()
    for part in range(3):
        await drive(log, part)
    whole = service(reference, redis_url)
    await settle(whole, whole.start(), client)
    expected = await outcome(client, whole.database_url)
    assert len(expected.standing) > 30
    # One that shares both, one of another partition to the second, one of the first to itself.
    assert {key: len(told) for key, told in expected.companions.items()}.keys() == {(0, 0), (0, 1), (1, 0), (1, 1)}

    await client.flushall()
    await log.check_partitions()
    await log.append([announcement(number, DEVICES) for number in range(PARTITIONS)])
    await define(log)
    dying = service(killed, redis_url)
    points = [("before_events", "3"), ("after_events", "4"), ("after_history", "3"), ("after_snapshot", "1")]
    for number, (point, times) in enumerate(points):
        if number < 3:
            await drive(log, number)
        process = dying.start(point, times)
        assert await asyncio.to_thread(process.wait, 200) == -9, f"{point}: {dying.log.read_text()[-3000:]}"
    await settle(dying, dying.start(), client)
    found = await outcome(client, dying.database_url)
    assert found.companions == expected.companions
    assert found.standing == expected.standing
    assert len(set(found.ids)) == len(found.ids)

    # Without snapshots all of it is folded again: nothing is said twice, to people or to partitions.
    for snapshot in (killed / "data" / "tracking" / "snapshots").iterdir():
        snapshot.unlink()
    await settle(dying, dying.start(), client)
    assert await outcome(client, dying.database_url) == found
    await client.aclose()
