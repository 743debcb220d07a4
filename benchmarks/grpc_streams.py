"""Ten thousand devices, each with a gRPC stream of its own and one batch a second, held by one ingest process.

Every stream sends a batch of ten positions a second, at a moment of its own within the second, whether or not the last
one was acknowledged. Ours are the batches acknowledged a second; the peer is what was offered. Held means: every batch
is acknowledged, and the last receipts come no later than the others; a receipt's time counts from the moment that its
batch was due, not from when it was sent.

Once over 40 connections, as forwarders would, and once with a connection for each device. The clients are one process
with one loop over their sockets (http2_client.py); the load is encoded before the clock starts.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import queue
import resource
import select
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.http2_client import BrokenError, Connection, Stream
from benchmarks.report import Result, progress
from drover.api.ingest.v1 import ingest_service_pb2 as messages
from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch

POSITIONS: Final = 10
NOW_US: Final = 1_700_000_000_000_000
_PATH: Final = "/drover.api.ingest.v1.TelemetryIngest/Stream"
_OPEN_AT_ONCE: Final = 200
_PATIENCE_S: Final = 120.0


class Scale(NamedTuple):
    streams: int
    connections: int
    seconds: int


FULL: Final = (Scale(10_000, 40, 10), Scale(10_000, 10_000, 10))
QUICK: Final = (Scale(4_000, 40, 4),)


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
    """The 50th and 99th percentile and the longest time from when a batch was due to its receipt."""


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
    def __init__(self, port: int, token: str, scale: Scale) -> None:
        self._scale = scale
        self._connections = [Connection(port, _PATH, token) for _ in range(scale.connections)]
        self._by_socket = {each.socket.fileno(): each for each in self._connections}
        self._poll = select.epoll()
        for number in self._by_socket:
            self._poll.register(number, select.EPOLLIN)
        self._streams: list[Stream] = []
        self._acknowledged = [0] * scale.streams
        self._rejections = 0
        self._open = 0
        self._times: list[float] = []
        self._starts_s = 0.0

    def run(self, on_open: Callable[[], None]) -> Held:
        """Raises BrokenError."""
        # Batch 1 opens the stream, outside the clock: a device has to be provisioned, and an HTTP/2 stream made.
        self._until(self._open_more)
        if any(each.max_streams < self._scale.streams / self._scale.connections for each in self._connections):
            raise BrokenError("more streams on a connection than the server allows")
        load = [
            [_request(stream, number + 2) for stream in range(self._scale.streams)]
            for number in range(self._scale.seconds)
        ]
        on_open()
        spent_s = -time.process_time()
        self._starts_s = time.monotonic()
        self._send(load)
        elapsed_s = time.monotonic() - self._starts_s
        spent_s += time.process_time()
        for stream in self._streams:
            self._connection_of(stream.index).end(stream)
        self._until(lambda: all(stream.ended is not None for stream in self._streams))
        if any(stream.ended is None or stream.ended.get("grpc-status") != "0" for stream in self._streams):
            raise BrokenError("a stream did not end well")
        times = np.array(self._times)
        percentiles = [*np.percentile(times, [50, 99]).tolist(), float(times.max())]
        sent = self._scale.streams * self._scale.seconds
        return Held(sent, len(times), self._rejections, elapsed_s, spent_s, percentiles)

    def _connection_of(self, stream: int) -> Connection:
        return self._connections[stream % len(self._connections)]

    def _open_more(self) -> bool:
        while len(self._streams) < min(self._scale.streams, self._open + _OPEN_AT_ONCE):
            index = len(self._streams)
            stream = self._connection_of(index).open(index)
            self._streams.append(stream)
            self._connection_of(index).send(stream, _request(index, 1))
        return self._open == self._scale.streams

    def _send(self, load: list[list[bytes]]) -> None:
        streams = self._scale.streams
        total = streams * self._scale.seconds
        sent = 0
        gives_up_s = self._starts_s + self._scale.seconds + _PATIENCE_S
        while len(self._times) < total:
            due = min(total, int((time.monotonic() - self._starts_s) * streams))
            touched: set[Connection] = set()
            for number in range(sent, due):
                second, stream = divmod(number, streams)
                connection = self._connection_of(stream)
                connection.send(self._streams[stream], load[second][stream])
                touched.add(connection)
            sent = due
            for connection in touched:
                connection.flush()
            self._read(0.001)
            if time.monotonic() > gives_up_s:
                raise BrokenError(f"{len(self._times)} receipts of {total}")

    def _until(self, is_so: Callable[[], bool]) -> None:
        gives_up_s = time.monotonic() + _PATIENCE_S
        while not is_so():
            for connection in self._connections:
                connection.flush()
            self._read(0.01)
            if time.monotonic() > gives_up_s:
                raise BrokenError(f"{self._open} streams are open, {len(self._streams)} were begun")

    def _read(self, at_most_s: float) -> None:
        for number, _ in self._poll.poll(at_most_s):
            for stream, message in self._by_socket[number].read():
                self._take(stream.index, messages.StreamResponse.FromString(message))

    def _take(self, stream: int, receipt: messages.StreamResponse) -> None:
        now_s = time.monotonic()
        before = self._acknowledged[stream]
        if receipt.acked_through <= before:
            raise BrokenError(f"batch {receipt.acked_through} was acknowledged after batch {before}")
        self._open += before == 0
        self._rejections += len(receipt.rejections)
        first_due_s = self._starts_s + stream / self._scale.streams
        self._times += [
            now_s - first_due_s - (number - 2) for number in range(max(2, before + 1), receipt.acked_through + 1)
        ]
        self._acknowledged[stream] = receipt.acked_through


def raise_file_limit() -> None:
    """As many files as we may have open; processes that are started have it too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _clients(port: int, token: str, scale: Scale, answer: Any) -> None:
    raise_file_limit()
    answer.put(_Clients(port, token, scale).run(lambda: answer.put(None)))


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


def _next(answer: Any, clients: Any) -> Any:
    while True:
        try:
            return answer.get(timeout=1)
        except queue.Empty:
            if not clients.is_alive():
                raise SystemExit("the clients ended before they were done") from None


def hold(port: int, pid: int, token: str, scale: Scale) -> Result:
    """The case `streams`, against the ingest process `pid` on `port`."""
    progress(f"{scale.streams:,} streams, {scale.connections:,} connections, a batch a second, {scale.seconds} s")
    context = multiprocessing.get_context("spawn")
    answer: Any = context.Queue()
    clients = context.Process(target=_clients, args=(port, token, scale, answer))
    clients.start()
    assert _next(answer, clients) is None
    spent_s = -processor_s(pid)
    held: Held = _next(answer, clients)
    spent_s += processor_s(pid)
    clients.join()
    offered = scale.streams
    taken = held.acknowledged / max(scale.seconds, held.elapsed_s)
    return Result(
        case=f"streams_{scale.streams}" + ("_connections" if scale.connections == scale.streams else ""),
        ours=taken,
        peer=float(offered),
        unit="batches/s",
        ratio=taken / offered,
        spread=None,
        checked=held.acknowledged == held.sent and held.rejections == 0,
        notes={
            "streams": scale.streams,
            "connections": scale.connections,
            "positions_per_batch": POSITIONS,
            "receipt_p50_ms": held.receipt_s[0] * 1e3,
            "receipt_p99_ms": held.receipt_s[1] * 1e3,
            "receipt_worst_ms": held.receipt_s[2] * 1e3,
            "ingest_processor_us_a_batch": 1e6 * spent_s / held.sent,
            "clients_processor_us_a_batch": 1e6 * held.processor_s / held.sent,
            "ingest_resident_mb": resident_mb(pid),
        },
    )
