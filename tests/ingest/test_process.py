"""The process itself, with a real Redis: it says ready, drains when asked to stop, and loses nothing when killed."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import sys
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from drover.api.ingest.v1 import ingest_service_pb2 as messages
from runtime import redis_client
from runtime.grpc_client import metadata
from runtime.partitioned_log import START, Entry, RedisStreamLog
from runtime.tokens import Role, load_or_create_keys
from stack.ports import any_free
from tests.ingest.readings import batch, position
from tests.ingest.rig import announced_in, readings_of
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.server

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PARTITIONS = 3
SIZE = 10


class Ingest:
    """`python -m ingest` on SQLite in a folder, without MQTT."""

    def __init__(self, folder: pathlib.Path, redis_url: str) -> None:
        self.folder = folder
        self.port = any_free()
        self.log = folder / "ingest.log"
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")} | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}",
            "DROVER_DATA_DIR": str(folder),
            "DROVER_REDIS_URL": redis_url,
            "DROVER_PARTITIONS": str(PARTITIONS),
            "DROVER_INGEST_MQTT_URLS": "",
            "DROVER_INGEST_GRPC_ADDRESS": f"127.0.0.1:{self.port}",
            "DROVER_INGEST_AUTO_PROVISION": "true",
            "DROVER_INGEST_FLUSH_READINGS": "100",
        }

    async def start(self, **environment: str) -> asyncio.subprocess.Process:
        """Returns when it says ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ingest", cwd=ROOT, env=self._environment | environment,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        while line := await asyncio.wait_for(process.stderr.readline(), 60):
            with self.log.open("ab") as file:
                file.write(line)
            if b"ready" in line:
                return process
        await process.wait()
        raise AssertionError(self.log.read_text())

    async def send(self, acked: list[int], first: int = 1) -> grpc.RpcError | None:
        """Batches of SIZE fixes, numbered from `first`, until the stream breaks; receipts go to `acked`."""
        return await asyncio.to_thread(self._send, acked, first)

    def _send(self, acked: list[int], first: int) -> grpc.RpcError | None:
        # Not grpc.aio: when the server ends a stream under a write, its client drops the status and the receipts
        # that have come, and reports INTERNAL in their place.
        token = load_or_create_keys(self.folder).issuer.issue("test", "acme", Role.FORWARDER, 600)

        def requests() -> Iterator[messages.StreamRequest]:
            for number in range(1, 3_000):
                fixes = batch(*(position(sequence=(first + number) * SIZE + n) for n in range(SIZE)))
                device = messages.DeviceReadings(device_id=f"truck-{number % 7}", readings=fixes)
                yield messages.StreamRequest(batch_number=number, devices=[device])

        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as link:
            call = link.stream_stream(
                "/drover.api.ingest.v1.TelemetryIngest/Stream",
                request_serializer=messages.StreamRequest.SerializeToString,
                response_deserializer=messages.StreamResponse.FromString,
            )
            try:
                for answer in call(requests(), metadata=metadata(token)):
                    assert not answer.rejections
                    acked.append(first + answer.acked_through)
            except grpc.RpcError as error:
                return error
        return None


async def entries_of(redis_url: str) -> list[Entry]:
    """All there are."""
    async with redis_client.connect(redis_url) as client:
        log = RedisStreamLog(client, PARTITIONS)
        return await log.read_from(dict.fromkeys(range(PARTITIONS), START), max_entries=100_000, wait_ms=0)


def _numbers(entries: list[Entry], first: int, acked: list[int]) -> list[int]:
    """Checks that what was acknowledged is in the log; returns the sequence numbers there."""
    stored: list[int] = readings_of(entries).positions.sequence.tolist()
    assert acked, "nothing was acknowledged: the test says nothing"
    assert set(range((first + 1) * SIZE, (acked[-1] + 1) * SIZE)) <= set(stored)
    return stored


async def test_stopping_drains_and_acknowledges_all_it_took(tmp_path: pathlib.Path, redis_url: str) -> None:
    ingest = Ingest(tmp_path, redis_url)
    process = await ingest.start()
    acked: list[int] = []
    sending = asyncio.create_task(ingest.send(acked, 0))
    while not acked:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 15) == 0
    error = await asyncio.wait_for(sending, 15)
    stored = _numbers(await entries_of(redis_url), 0, acked)
    if error is not None:
        assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert len(stored) == len(set(stored)) == acked[-1] * SIZE


@pytest.mark.parametrize("point", ["before_append:3", "after_append:3", "before_ack:3", "after_ack:3"])
async def test_killed_at_any_point_nothing_acknowledged_is_lost(
    tmp_path: pathlib.Path, redis_url: str, point: str
) -> None:
    ingest = Ingest(tmp_path, redis_url)
    process = await ingest.start(DROVER_FAULT_POINT=point)
    acked: list[int] = []
    await asyncio.wait_for(ingest.send(acked, 0), 30)
    assert await asyncio.wait_for(process.wait(), 15) == -signal.SIGKILL
    entries = await entries_of(redis_url)
    stored = _numbers(entries, 0, acked)
    assert len(stored) == len(set(stored))
    names = {number: name for number, _, name in announced_in(entries)}
    positions = readings_of(entries).positions
    for number, name in names.items():
        of_device = positions.sequence[positions.device == np.uint32(number)]
        assert np.all(np.diff(of_device) > 0)
        assert {(sequence // SIZE) % 7 for sequence in of_device.tolist()} == {int(name.removeprefix("truck-"))}


async def test_a_redis_killed_in_between_loses_nothing(
    tmp_path: pathlib.Path, redis_server: RedisServer, redis_url: str
) -> None:
    ingest = Ingest(tmp_path, redis_url)
    process = await ingest.start()
    acked: list[int] = []
    sending = asyncio.create_task(ingest.send(acked, 0))
    while not acked:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    redis_server.kill()
    await asyncio.sleep(0.5)  # receipts that were on their way
    before = len(acked)
    await asyncio.sleep(0.5)
    assert not sending.done()
    assert len(acked) == before
    redis_server.start()
    assert await asyncio.wait_for(sending, 60) is None
    process.terminate()
    assert await process.wait() == 0
    stored = _numbers(await entries_of(redis_url), 0, acked)
    assert set(stored) == set(range(SIZE, 3_000 * SIZE))
    # What was in flight may be there twice: the engine counts exact repetitions, and stores them once.
    assert len(stored) - len(set(stored)) <= 2_000


async def test_a_wrong_setting_is_one_line(tmp_path: pathlib.Path, redis_url: str) -> None:
    with pytest.raises(AssertionError, match=r"unknown setting DROVER_INGEST_AUTOPROVISION.*did you mean"):
        await Ingest(tmp_path, redis_url).start(DROVER_INGEST_AUTOPROVISION="true")
