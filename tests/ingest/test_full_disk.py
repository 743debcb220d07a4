"""A disk or a memory that is full: ingest acknowledges nothing, says what is wrong, and goes on when there is room."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from runtime.tokens import Role, load_or_create_keys
from stack.ports import any_free
from tests.chaos import readings
from tests.chaos.grpc_sender import GrpcSender
from tests.ingest.rig import readings_of
from tests.ingest.test_process import PARTITIONS, entries_of
from tests.servers.drover import DroverProcess
from tests.servers.full_disk import full_disk
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.server


@contextlib.contextmanager
def _full(redis_server: RedisServer, what: str) -> Iterator[None]:
    """The Redis as shipped, and the same where somebody chose to sync every second."""
    match what:
        case "memory":
            redis_server.command_line("CONFIG SET maxmemory 1")
            yield
            redis_server.command_line("CONFIG SET maxmemory 0")
        case "disk, everysec":
            redis_server.command_line("CONFIG SET appendfsync everysec")
            with full_disk(redis_server.pid):
                yield
        case "disk, as shipped":  # Redis ends rather than lose what it has answered
            with full_disk(redis_server.pid):
                yield
            assert redis_server.exit_code is not None
            redis_server.start()


@pytest.fixture
async def ingest(tmp_path: pathlib.Path, redis_url: str) -> AsyncIterator[tuple[DroverProcess, int, httpx.AsyncClient]]:
    """The process, the port it takes readings at, and a client of its probe."""
    grpc_port, probe_port = any_free(), any_free()
    process = DroverProcess(
        "ingest",
        tmp_path,
        {
            "DATA_DIR": str(tmp_path),
            "PARTITIONS": str(PARTITIONS),
            "REDIS_URL": redis_url,
            "INGEST_MQTT_URLS": "",
            "INGEST_GRPC_ADDRESS": f"127.0.0.1:{grpc_port}",
            "INGEST_AUTO_PROVISION": "true",
            "INGEST_PROBE_PORT": str(probe_port),
        },
    )
    process.launch()
    try:
        await asyncio.to_thread(process.wait_ready, 120)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{probe_port}", timeout=30) as probe:
            yield process, grpc_port, probe
    finally:
        process.kill()


async def test_nothing_is_acknowledged_until_there_is_room(
    tmp_path: pathlib.Path,
    redis_server: RedisServer,
    redis_url: str,
    ingest: tuple[DroverProcess, int, httpx.AsyncClient],
) -> None:
    process, port, probe = ingest
    issuer = load_or_create_keys(tmp_path).issuer
    sent = 0
    for what, said in (("memory", "maxmemory"), ("disk, everysec", "MISCONF"), ("disk, as shipped", "onnect")):
        messages = readings.messages(f"d{sent}", 3, 200, 5)
        sent += len(messages) * 5
        sender = GrpcSender(port, lambda: issuer.issue("test", "acme", Role.FORWARDER, 600), messages)
        try:
            async with asyncio.timeout(120):
                await _fill_and_make_room(redis_server, probe, sender, what, said)
        finally:
            sender.give_up()
            redis_server.command_line("CONFIG SET appendfsync always")
        assert sender.acknowledged == len(messages)
        assert not sender.refused
        assert said in process.said()
        stored = readings_of(await entries_of(redis_url)).positions
        assert len(set(zip(stored.device.tolist(), stored.sequence.tolist(), strict=True))) == sent


async def _fill_and_make_room(
    redis_server: RedisServer, probe: httpx.AsyncClient, sender: GrpcSender, what: str, said: str
) -> None:
    sending = asyncio.create_task(asyncio.to_thread(sender.run))
    while not sender.acknowledged:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    with _full(redis_server, what):
        while said not in (found := await _wrong(probe)).get("batcher_0", ""):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert found["batcher_0"].startswith("the log takes nothing: ")
        before = sender.acknowledged
        await asyncio.sleep(0.3)
        assert sender.acknowledged == before < len(sender.messages)
        assert not sending.done()
    await sending
    while await _wrong(probe):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def _wrong(probe: httpx.AsyncClient) -> dict[str, str]:
    found: dict[str, str] = (await probe.get("/readyz")).json()["wrong"]
    return found
