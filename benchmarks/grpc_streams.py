"""Ten thousand devices, each with a gRPC stream of its own and one batch a second, held by one ingest process.

Every stream sends a batch of ten positions a second, at a moment of its own within the second, whether or not the last
one was acknowledged. Ours are the batches acknowledged a second; the peer is what was offered. Held means: every batch
is acknowledged, and the last receipts come no later than the others. The clients are one process on the other core.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pathlib
import resource
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import grpc
import numpy as np
import uvloop

from benchmarks.report import Result, progress
from drover.api.ingest.v1 import ingest_service_pb2 as messages
from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch
from runtime.grpc_client import metadata

POSITIONS: Final = 10
NOW_US: Final = 1_700_000_000_000_000
_STREAMS_A_CONNECTION: Final = 250
_OPEN_AT_ONCE: Final = 200


class Scale(NamedTuple):
    streams: int
    seconds: int


FULL: Final = Scale(10_000, 10)
QUICK: Final = Scale(2_000, 5)


class Held(NamedTuple):
    """What the clients saw."""

    sent: int
    acknowledged: int
    rejections: int
    elapsed_s: float
    """From the first batch to the last receipt."""
    processor_s: float
    """Of the clients, from the first batch on."""
    receipt_s: list[float]
    """The 50th and 99th percentile and the longest time from a batch to its receipt."""


def _request(stream: int, number: int) -> bytes:
    first = (number - 1) * POSITIONS
    fixes = [
        Position(
            observed_at_us=NOW_US + 100_000 * sequence,
            latitude_deg=41.0 + stream * 1e-5,
            longitude_deg=-8.0 + sequence * 1e-6,
            speed_mps=13.9,
            sequence=sequence,
        )
        for sequence in range(first, first + POSITIONS)
    ]
    device = messages.DeviceReadings(device_id=f"stream-{stream}", readings=ReadingBatch(positions=fixes))
    return messages.StreamRequest(batch_number=number, devices=[device]).SerializeToString()


class _Clients:
    def __init__(self, port: int, token: str, scale: Scale, on_open: Callable[[], None]) -> None:
        self._port = port
        self._on_open = on_open
        self._metadata = metadata(token)
        self._scale = scale
        self._opening = asyncio.Semaphore(_OPEN_AT_ONCE)
        self._open = 0
        self._everybody = asyncio.Event()
        self._starts_s = 0.0
        self._spent_s = 0.0
        self._times: list[float] = []
        self._acknowledged = 0
        self._rejections = 0

    async def run(self) -> Held:
        connections = -(-self._scale.streams // _STREAMS_A_CONNECTION)
        # A pool of its own for each channel: equal channels would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        links = [grpc.aio.insecure_channel(f"127.0.0.1:{self._port}", options=options) for _ in range(connections)]
        try:
            await asyncio.gather(*(self._stream(links[n % connections], n) for n in range(self._scale.streams)))
            elapsed_s = time.monotonic() - self._starts_s
        finally:
            await asyncio.gather(*(link.close() for link in links))
        times = np.array(self._times)
        sent = self._scale.streams * self._scale.seconds
        percentiles = [*np.percentile(times, [50, 99]).tolist(), float(times.max())]
        spent_s = time.process_time() - self._spent_s
        return Held(sent, self._acknowledged, self._rejections, elapsed_s, spent_s, percentiles)

    async def _stream(self, link: grpc.aio.Channel, stream: int) -> None:
        sent_s: list[float] = []
        # Batch 1 opens the stream, outside the clock: a device has to be provisioned, and an HTTP/2 stream made.
        load = [_request(stream, number) for number in range(1, self._scale.seconds + 2)]

        async def requests() -> AsyncIterator[bytes]:
            yield load[0]
            await self._everybody.wait()
            begins_s = self._starts_s + stream / self._scale.streams
            for second, request in enumerate(load[1:]):
                await asyncio.sleep(begins_s + second - time.monotonic())
                sent_s.append(time.monotonic())
                yield request

        call: Any = link.stream_stream(
            "/drover.api.ingest.v1.TelemetryIngest/Stream", response_deserializer=messages.StreamResponse.FromString
        )
        await self._opening.acquire()
        acknowledged = 0
        async for answer in call(requests(), metadata=self._metadata):
            self._rejections += len(answer.rejections)
            if acknowledged == 0:
                self._opening.release()
                self._open += 1
                if self._open == self._scale.streams:
                    self._starts_s = time.monotonic() + 1.0
                    self._spent_s = time.process_time()
                    self._on_open()
                    self._everybody.set()
            now_s = time.monotonic()
            self._times += [
                now_s - sent_s[number - 2] for number in range(max(2, acknowledged + 1), answer.acked_through + 1)
            ]
            self._acknowledged += answer.acked_through - max(1, acknowledged)
            acknowledged = answer.acked_through


def _clients(port: int, token: str, scale: Scale, answer: Any) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    answer.put(uvloop.run(_Clients(port, token, scale, lambda: answer.put(None)).run()))


def resident_mb(pid: int) -> float:
    """Memory of a process, by Linux."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def processor_s(pid: int) -> float:
    """Processor time that a process has used, by Linux."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def hold(port: int, pid: int, token: str, scale: Scale) -> Result:
    """The case `streams`, against the ingest process `pid` on `port`."""
    progress(f"{scale.streams:,} streams, one batch a second, {scale.seconds} s")
    context = multiprocessing.get_context("spawn")
    answer: Any = context.Queue()
    clients = context.Process(target=_clients, args=(port, token, scale, answer))
    clients.start()
    assert answer.get(timeout=300) is None
    spent_s = -processor_s(pid)
    held: Held = answer.get(timeout=300)
    spent_s += processor_s(pid)
    clients.join()
    offered = scale.streams
    taken = held.acknowledged / max(scale.seconds, held.elapsed_s)
    return Result(
        case="streams_10000" if scale == FULL else f"streams_{scale.streams}",
        ours=taken,
        peer=float(offered),
        unit="batches/s",
        ratio=taken / offered,
        spread=None,
        checked=held.acknowledged == held.sent and held.rejections == 0,
        notes={
            "streams": scale.streams,
            "positions_per_batch": POSITIONS,
            "receipt_p50_ms": held.receipt_s[0] * 1e3,
            "receipt_p99_ms": held.receipt_s[1] * 1e3,
            "receipt_worst_ms": held.receipt_s[2] * 1e3,
            "ingest_processor_us_a_batch": 1e6 * spent_s / held.sent,
            "clients_processor_us_a_batch": 1e6 * held.processor_s / held.sent,
            "ingest_resident_mb": resident_mb(pid),
        },
    )
