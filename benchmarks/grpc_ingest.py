"""gRPC to the durable log: batches of 100 positions beside one position a message, and ten thousand quiet streams.

`batch_100`: both go over the same eight streams to the same `python -m ingest`, which decodes, appends to a Redis (its
file on disk) and then acknowledges; a run ends with the last receipt. The load is encoded before the clock starts.
Client, ingest and Redis share the machine's cores. Afterwards the log is read: every reading of every run must be in it
as often as it was sent, under the right device. `streams`: see grpc_streams.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import uvloop

from benchmarks import grpc_streams, servers
from benchmarks.report import Options, Result, main, measure_pairs, progress, rate_result
from drover.api.ingest.v1 import ingest_service_pb2 as messages
from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch
from drover.tracking.v1.definition_pb2 import DeviceAnnouncements
from runtime import redis_client
from runtime.grpc_client import channel, metadata
from runtime.partitioned_log import START, RedisStreamLog
from runtime.tokens import Role, load_or_create_keys
from stack.ports import any_free
from tracking_core.block import EntryKind, unpack
from tracking_core.columns import I64

ROOT = pathlib.Path(__file__).resolve().parent.parent
STREAMS = 8
BATCH = 100
PARTITIONS = 4
NOW_US = 1_700_000_000_000_000


def requests(stream: int, batches: int, size: int, first: int) -> list[bytes]:
    """Encoded requests of one stream: fixes of one device, with all that a tracker sends."""
    encoded: list[bytes] = []
    for number in range(batches):
        fixes = [
            Position(
                observed_at_us=NOW_US + 1_000_000 * sequence,
                latitude_deg=41.0 + sequence * 1e-6,
                longitude_deg=-8.0,
                speed_mps=13.9,
                heading_deg=90.0,
                accuracy_m=4.0,
                satellites=9,
                sequence=sequence,
            )
            for sequence in range(first + number * size, first + (number + 1) * size)
        ]
        device = messages.DeviceReadings(device_id=f"device-{stream}", readings=ReadingBatch(positions=fixes))
        encoded.append(messages.StreamRequest(batch_number=number + 1, devices=[device]).SerializeToString())
    return encoded


class Client:
    """Eight streams to one ingest process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, token: str) -> None:
        self._loop = loop
        self._port = port
        self._metadata = metadata(token)
        self.rejections = 0

    def send(self, loads: list[list[bytes]]) -> None:
        """Returns when every stream has its last receipt."""
        self._loop.run_until_complete(self._send(loads))

    async def _send(self, loads: list[list[bytes]]) -> None:
        async with channel(f"127.0.0.1:{self._port}") as link:
            await asyncio.gather(*(self._stream(link, load) for load in loads))

    async def _stream(self, link: grpc.aio.Channel, load: list[bytes]) -> None:
        call: Any = link.stream_stream(
            "/drover.api.ingest.v1.TelemetryIngest/Stream",
            response_deserializer=messages.StreamResponse.FromString,
        )
        acked = 0
        async for answer in call(iter(load), metadata=self._metadata):
            acked = answer.acked_through
            self.rejections += len(answer.rejections)
        if acked != len(load):
            raise SystemExit(f"{acked} of {len(load)} batches were acknowledged")


@contextlib.contextmanager
def ingest(folder: pathlib.Path, redis_url: str) -> Iterator[tuple[int, int]]:
    """The port and the process id of an ingest process that is ready."""
    port = any_free()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")} | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}",
        "DROVER_DATA_DIR": str(folder),
        "DROVER_REDIS_URL": redis_url,
        "DROVER_PARTITIONS": str(PARTITIONS),
        "DROVER_INGEST_MQTT_URLS": "",
        "DROVER_INGEST_GRPC_ADDRESS": f"127.0.0.1:{port}",
        "DROVER_INGEST_AUTO_PROVISION": "true",
    }
    said = folder / "ingest.log"  # not a pipe: one that nobody reads fills, and then holds ingest
    with said.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "ingest"], env=environment, cwd=ROOT, stderr=log)
    try:
        while b"ready" not in said.read_bytes():
            if process.poll() is not None:
                raise SystemExit(f"ingest did not start:\n{said.read_text()}")
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


async def stored(redis_url: str) -> dict[str, I64]:
    """The sequence numbers in the log, by device id."""
    names: dict[int, str] = {}
    found: dict[int, list[I64]] = {}
    async with redis_client.connect(redis_url) as client:
        log = RedisStreamLog(client, PARTITIONS)
        for partition in range(PARTITIONS):
            offset = START
            while entries := await log.read_from({partition: offset}, max_entries=500, wait_ms=0):
                offset = entries[-1].offset
                for entry in entries:
                    if entry.kind == EntryKind.ANNOUNCEMENT:
                        for device in DeviceAnnouncements.FromString(entry.payload).devices:
                            names[device.device_number] = device.device_id
                    elif entry.kind == EntryKind.READINGS:
                        positions = unpack(entry.payload).positions
                        for number in np.unique(positions.device).tolist():
                            found.setdefault(number, []).append(positions.sequence[positions.device == number])
    return {names[number]: np.concatenate(parts) for number, parts in found.items()}


def run(options: Options) -> Iterator[Result]:
    """The cases `batch_100` and `streams`."""
    if options.wants("batch_100"):
        yield batch_100(options)
    if options.wants("streams"):
        grpc_streams.raise_file_limit()
        for scale in grpc_streams.QUICK if options.quick else grpc_streams.FULL:
            yield streams(scale)


def batch_100(options: Options) -> Result:
    """Batches beside single messages."""
    pairs = 3 if options.quick else 7
    batches, singles = (300, 600) if options.quick else (1_500, 3_000)
    progress("encoding the load")
    batched = [requests(stream, batches, BATCH, 0) for stream in range(STREAMS)]
    single = [requests(stream, singles, 1, batches * BATCH) for stream in range(STREAMS)]
    loop = uvloop.new_event_loop()
    with servers.folder() as folder, servers.redis(folder) as redis_url, ingest(folder, redis_url) as (port, _):
        token = load_or_create_keys(folder).issuer.issue("benchmark", "bench", Role.FORWARDER, 3600)
        client = Client(loop, port, token)
        measured = measure_pairs(lambda: client.send(batched), lambda: client.send(single), pairs=pairs)
        sequences = loop.run_until_complete(stored(redis_url))
    loop.close()
    # The warm-up sends everything once more.
    wanted = np.full(batches * BATCH + singles, pairs + 1)
    checked = (
        client.rejections == 0
        and set(sequences) == {f"device-{stream}" for stream in range(STREAMS)}
        and all(np.array_equal(np.bincount(found), wanted) for found in sequences.values())
    )
    return rate_result(
        "batch_100",
        measured,
        count=STREAMS * batches * BATCH,
        peer_count=STREAMS * singles,
        unit="positions/s",
        checked=checked,
        notes={"streams": STREAMS},
    )


def streams(scale: grpc_streams.Scale) -> Result:
    """Many streams that are mostly quiet."""
    with servers.folder() as folder, servers.redis(folder) as redis_url, ingest(folder, redis_url) as (port, pid):
        token = load_or_create_keys(folder).issuer.issue("benchmark", "bench", Role.FORWARDER, 3600)
        held = grpc_streams.hold(port, pid, token, scale)
        sequences = asyncio.run(stored(redis_url))
    wanted = np.arange((scale.seconds + 1) * grpc_streams.POSITIONS)
    in_the_log = len(sequences) == scale.streams and all(
        np.array_equal(np.sort(found), wanted) for found in sequences.values()
    )
    return dataclasses.replace(held, checked=held.checked and in_the_log)


if __name__ == "__main__":
    main("grpc_ingest", run)
