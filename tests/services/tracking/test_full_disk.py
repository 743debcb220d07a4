"""The service on a disk, and beside a Redis, that takes no more: it waits, says so, and loses and doubles nothing."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal

import httpx
import pytest

from runtime import redis_client
from stack.ports import any_free
from tests.servers.drover import DroverProcess
from tests.servers.full_disk import full_disk
from tests.servers.redis import RedisServer
from tests.services.tracking.running import PARTITIONS
from tests.services.tracking.test_crash import Service, check_reference, ends_of, fill, outcome

pytestmark = pytest.mark.server


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "said"), [("sqlite", "the database does not answer"), ("mariadb", "snapshots cannot be written")]
)
async def test_waits_for_room_and_says_so(
    tmp_path: pathlib.Path,
    redis_server: RedisServer,
    redis_url: str,
    request: pytest.FixtureRequest,
    kind: str,
    said: str,
) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path / 'tracking.db'}"
    if kind == "mariadb":  # on a disk of its own
        database = request.getfixturevalue("mariadb_server").url
    probe_port = any_free()
    settings = Service(tmp_path, redis_url, database).environ
    service = DroverProcess(
        "services.tracking",
        tmp_path,
        {name.removeprefix("DROVER_"): value for name, value in settings.items() if name.startswith("DROVER_")}
        | {"TRACKING_PROBE_PORT": str(probe_port)},
    )
    service.launch()
    client = redis_client.connect(redis_url)
    try:
        await asyncio.to_thread(service.wait_ready, 120)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{probe_port}", timeout=30) as probe:

            async def until_it_says(*words: str) -> None:
                async with asyncio.timeout(60):
                    answer = ""
                    while not all(word in answer for word in words):
                        assert service.exit_code is None, service.said()
                        await asyncio.sleep(0.02)
                        answer = (await probe.get("/readyz")).text

            os.kill(service.pid, signal.SIGSTOP)
            await fill(client)
            redis_server.command_line("CONFIG SET maxmemory 1")
            os.kill(service.pid, signal.SIGCONT)
            await until_it_says("Redis takes no events", "maxmemory")
            with full_disk(service.pid):
                redis_server.command_line("CONFIG SET maxmemory 0")
                await until_it_says(said)
            await until_it_says('"ready":true')
        ends = await ends_of(client)
        async with asyncio.timeout(120):
            while await Service(tmp_path, redis_url, database).offsets() != ends:
                assert service.exit_code is None, service.said()
                await asyncio.sleep(0.05)
        found = await outcome(database, client)
    finally:
        redis_server.command_line("CONFIG SET maxmemory 0")
        service.kill()
        await client.aclose()
    check_reference(found)
    ids = [row[0] for row in found.tables["events"]]
    assert len(ids) == len(set(ids)) == sum(map(len, found.events.values()))
    assert len({row[:3] for row in found.tables["positions"]}) == len(found.tables["positions"])
    assert len(ends) == PARTITIONS
