"""From many small batches of readings to one append: a block a partition, all in one transaction.

One append is in flight at a time, so that the readings of a device reach the log in the order they came; what arrives
meanwhile makes the next one. While the log is away the append is repeated, and everybody waits: nothing is dropped and
nothing acknowledged. A repetition may append twice what was appended once; readers count exact repetitions and store
them once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import structlog
from redis.exceptions import ResponseError

from drover.tracking.v1.definition_pb2 import DeviceAnnounced, DeviceAnnouncements
from ingest.devices.registry import Device
from ingest.fault_points import reach
from ingest.partitioning import join, split
from runtime.metrics import LATENCY_BUCKETS_S, LATENESS_BUCKETS_S, BulkHistogram, Counter, Gauge, Histogram
from runtime.partitioned_log import Append, PartitionedLog
from runtime.problems import Unavailable
from runtime.redis_client import AWAY
from tracking_core.block import EntryKind, pack
from tracking_core.columns import U32, Readings, count

log = structlog.get_logger()

_APPENDED: Final = Counter("drover_ingest_readings_appended", "Readings in the log.", ["kind"])
_QUEUED: Final = Gauge("drover_ingest_queue_readings", "Readings that wait for the log.")
_APPEND_S: Final = Histogram("drover_ingest_append_seconds", "One append.", buckets=LATENCY_BUCKETS_S)
_LAG_S: Final = Histogram(
    "drover_ingest_lag_seconds", "From receipt to the log, the oldest reading of an append.", buckets=LATENCY_BUCKETS_S
)
_LATENESS_S: Final = BulkHistogram(
    "drover_ingest_lateness_seconds", "Age of readings, by the device's clock, when in the log.", LATENESS_BUCKETS_S
)
_FLUSH: Final = Histogram("drover_ingest_flush_readings", "Readings in an append.", buckets=[4**n for n in range(9)])

# A full disk, no memory, a replica: the server answers, and says that it cannot. A person mends it, and we go on.
_TRY_AGAIN: Final = (*AWAY, ResponseError)
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 1.0
# What waited for an append is taken together, up to so many times `flush_readings`: each append syncs the disk. Beyond
# it little is won (8: the same within noise), and whoever reads the log holds dozens of entries in memory.
_BACKLOG_FLUSHES: Final = 4


class LogUnavailableError(Unavailable):
    """Stopped before the readings were in the log: their messages must not be acknowledged."""

    code = "log_unavailable"


class _Waiting(NamedTuple):
    readings: Readings
    size: int
    appended: asyncio.Future[None]


class Batcher:
    """Collects readings until there are `flush_readings` of them or the first has waited `flush_interval_s`.

    `device` gives the device of a number, to announce it; `renamed` holds numbers to announce again. `run` must be
    running for anything to get there.
    """

    def __init__(
        self,
        log_: PartitionedLog,
        device: Callable[[int], Device],
        *,
        renamed: set[int] | None = None,
        flush_readings: int = 4096,
        flush_interval_s: float = 0.005,
        queue_readings: int = 262_144,
    ) -> None:
        self._log: Final = log_
        self._device: Final = device
        self._renamed: Final[set[int]] = set() if renamed is None else renamed
        self._flush_readings: Final = flush_readings
        self._flush_interval_s: Final = flush_interval_s
        self._queue_readings: Final = queue_readings
        self._announced = np.zeros(1024, np.bool_)
        self._queue: Final[list[_Waiting]] = []
        self._queued = 0
        self._arrived: Final = asyncio.Event()
        self._full: Final = asyncio.Event()
        self._room: Final = asyncio.Event()
        self._room.set()
        self._door: Final = asyncio.Lock()
        self._closing: Final = asyncio.Event()
        self._given_up: Final = asyncio.Event()
        self._appending: asyncio.Timeout | None = None
        self.wrong: str | None = None
        """What keeps readings from the log now, in one line."""

    @property
    def queued(self) -> int:
        """Readings that wait for the log, those of the append in flight among them."""
        return self._queued

    async def has_room(self) -> None:
        """Returns when the queue is not full: first come, first in. Call `submit` without waiting in between.

        Raises LogUnavailableError when closed.
        """
        if not self._room.is_set() or self._door.locked():
            async with self._door:
                await self._room.wait()
        if self._closing.is_set():
            raise LogUnavailableError("ingest is stopping")

    def submit(self, readings: Readings) -> asyncio.Future[None]:
        """Queues readings behind all that were queued before; the future is done when they are in the log.

        It raises LogUnavailableError when closed before that.
        """
        appended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        size = count(readings)
        if size == 0:
            appended.set_result(None)
        elif self._closing.is_set():
            appended.set_exception(LogUnavailableError("ingest is stopping"))
        else:
            self._queue.append(_Waiting(readings, size, appended))
            self._change_queued(size)
        return appended

    def close(self) -> None:
        """Lets `run` end once what is queued is in the log; nothing more is taken."""
        self._closing.set()
        self._room.set()
        self._arrived.set()
        self._full.set()

    def give_up(self) -> None:
        """Ends waiting for a log that is away, or that says nothing: the grace time is over."""
        self.close()
        is_first = not self._given_up.is_set()
        self._given_up.set()
        if is_first and self._appending is not None:
            self._appending.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Appends until closed and empty. Raises what is a bug."""
        while True:
            await self._arrived.wait()
            if not self._queue:
                if self._closing.is_set():
                    return
                self._arrived.clear()
                continue
            if self._queued < self._flush_readings and self._flush_interval_s and not self._closing.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), self._flush_interval_s)
            await self._flush(self._next_batch())

    def _change_queued(self, by: int) -> None:
        self._queued += by
        _QUEUED.set(self._queued)
        for event, is_so in (
            (self._arrived, bool(self._queue)),
            (self._full, self._queued >= self._flush_readings),
            (self._room, self._queued < self._queue_readings),
        ):
            if is_so or self._closing.is_set():
                event.set()
            else:
                event.clear()

    def _next_batch(self) -> list[_Waiting]:
        readings = parts = 0
        while parts < len(self._queue) and readings < _BACKLOG_FLUSHES * self._flush_readings:
            readings += self._queue[parts].size
            parts += 1
        batch, self._queue[:] = self._queue[:parts], self._queue[parts:]
        return batch

    async def _flush(self, batch: Sequence[_Waiting]) -> None:
        readings = join([waiting.readings for waiting in batch])
        kinds = (readings.positions, readings.sensors, readings.tags)
        new = self._new_devices([columns.device for columns in kinds])
        entries = [*self._announcements(new), *self._blocks(readings)]
        reach("before_append")
        appended = await self._append_patiently(entries)
        if appended:
            reach("after_append")
            self._announced[new] = True
            self._observe(readings, batch)
        for waiting in batch:
            if waiting.appended.cancelled():
                continue
            if appended:
                waiting.appended.set_result(None)
            else:
                waiting.appended.set_exception(LogUnavailableError("the log does not answer"))
        self._change_queued(-sum(waiting.size for waiting in batch))

    async def _append_patiently(self, entries: Sequence[Append]) -> bool:
        """Tries until it succeeds; False when given up."""
        pause_s = _FIRST_PAUSE_S
        while not self._given_up.is_set():
            started_s = time.perf_counter()
            try:
                await self._append_until_given_up(entries)
            except _TRY_AGAIN as error:
                self.wrong = f"the log takes nothing: {error}"
                log.warning("the log takes nothing, trying again", error=str(error), pause_s=pause_s)
                try:
                    await asyncio.wait_for(self._given_up.wait(), pause_s)
                except TimeoutError:
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            self.wrong = None
            _APPEND_S.observe(time.perf_counter() - started_s)
            return True
        return False

    async def _append_until_given_up(self, entries: Sequence[Append]) -> None:
        """Raises what `append` raises, and TimeoutError when given up meanwhile."""
        try:
            async with asyncio.timeout(None) as self._appending:
                await self._log.append(entries)
        finally:
            self._appending = None

    def _new_devices(self, devices: Sequence[U32]) -> U32:
        """Numbers that this process has not announced, or not under their present name; each once."""
        highest = max(int(column.max(initial=0)) for column in devices)
        if highest >= len(self._announced):
            grown = np.zeros(max(2 * len(self._announced), highest + 1), np.bool_)
            grown[: len(self._announced)] = self._announced
            self._announced = grown
        while self._renamed:
            number = self._renamed.pop()
            if number < len(self._announced):
                self._announced[number] = False
        return np.unique(np.concatenate([column[~self._announced[column]] for column in devices]))

    def _announcements(self, numbers: U32) -> list[Append]:
        by_partition: dict[int, DeviceAnnouncements] = {}
        for number in numbers.tolist():
            device = self._device(number)
            announced = DeviceAnnounced(
                device_number=number,
                tenant=device.name.tenant,
                device_id=device.name.device_id,
                display_name=device.display_name,
            )
            by_partition.setdefault(number % self._log.partitions, DeviceAnnouncements()).devices.append(announced)
        return [
            Append(partition, EntryKind.ANNOUNCEMENT, announcements.SerializeToString())
            for partition, announcements in by_partition.items()
        ]

    def _blocks(self, readings: Readings) -> list[Append]:
        return [
            Append(partition, EntryKind.READINGS, pack(part))
            for partition, part in split(readings, self._log.partitions)
        ]

    def _observe(self, readings: Readings, batch: Sequence[_Waiting]) -> None:
        received = (readings.positions.received_at_us, readings.sensors.received_at_us, readings.tags.received_at_us)
        oldest_us = min(int(column.min()) for column in received if len(column))
        now_s = time.time()
        _LAG_S.observe(max(0.0, now_s - oldest_us / 1e6))
        for columns in (readings.positions, readings.sensors, readings.tags):
            _LATENESS_S.observe(now_s - columns.observed_at_us / 1e6)
        _FLUSH.observe(sum(waiting.size for waiting in batch))
        for name, column in zip(("position", "sensor", "tag"), received, strict=True):
            _APPENDED.labels(name).inc(len(column))
