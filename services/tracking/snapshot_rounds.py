"""When snapshots are taken and written, and the log behind them let go.

A snapshot is taken between two entries and written only once history has committed that far too (events are out by
then: the fold publishes them before it goes on). A restart so never finds a snapshot that is ahead of what it must
have led to. The log is trimmed behind the older of the two snapshots kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import structlog

from runtime.metrics import LATENCY_BUCKETS_S, Histogram
from runtime.partitioned_log import PartitionedLog, offset_key
from runtime.problems import Unavailable
from runtime.redis_client import AWAY
from services.tracking.event_sink import EventSink
from services.tracking.history import HistorySink
from services.tracking.partition import Partition
from services.tracking.snapshots import Snapshot, SnapshotFolder

log = structlog.get_logger()

FINISH_S: Final = 10.0
"""How long a stop waits for history to be committed before it leaves without last snapshots."""

TAKE_TIME: Final = Histogram(
    "drover_tracking_snapshot_take_seconds", "Time the fold stood still for a snapshot.", buckets=LATENCY_BUCKETS_S
)

InEngine = Callable[..., Awaitable[Any]]


class TrimMarks(Protocol):
    """What is needed of the repository."""

    async def mark_trimmed(self, partition: int, before: str) -> None:
        """Writes down that entries before an offset will go."""


class SnapshotRounds:
    """Call `turn` once a round of the fold, `finish` at its end."""

    def __init__(
        self,
        partitions: Mapping[int, Partition],
        folder: SnapshotFolder,
        history: HistorySink,
        events: EventSink,
        telemetry: PartitionedLog,
        marks: TrimMarks,
        *,
        interval_s: float,
        entries: int,
        log_keep_hours: float,
    ) -> None:
        self._partitions = partitions
        self._folder = folder
        self._history = history
        self._events = events
        self._log = telemetry
        self._marks = marks
        self._interval_s = interval_s
        self._entries = entries
        self._keep_ms = int(log_keep_hours * 3_600_000)
        self._since = dict.fromkeys(partitions, 0)
        # Spread over the interval, so that partitions do not all stand still in one round.
        start_s = time.monotonic()
        self._taken_s = {
            number: start_s - interval_s * position / len(partitions) for position, number in enumerate(partitions)
        }
        self._waiting: dict[int, Snapshot] = {}
        self._writing: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why the last snapshot was not written; None when it was."""

    def folded(self, partition: int, entries: int) -> None:
        """So many entries more."""
        self._since[partition] += entries

    async def turn(self, in_engine: InEngine) -> None:
        """Takes the next snapshot that is due, and begins to write one that may be written."""
        now_s = time.monotonic()
        for number in self._partitions:
            waited = now_s - self._taken_s[number] >= self._interval_s
            many = self._since[number] >= self._entries
            if self._since[number] and (waited or many) and number not in self._waiting:
                await self._take(number, in_engine)
                break
        if self._writing is not None:
            if not self._writing.done():
                return
            self._writing.result()
            self._writing = None
        for number, snapshot in self._waiting.items():
            if self._history.passed(number, snapshot.offset):
                del self._waiting[number]
                self._writing = asyncio.create_task(self._write(snapshot))
                return

    async def finish(self, in_engine: InEngine) -> None:
        """Last snapshots, so that the next start has little to fold again. Does without when SQL does not follow."""
        if self._writing is not None:
            await self._writing
        deadline_s = time.monotonic() + FINISH_S
        for number, partition in self._partitions.items():
            if not self._since[number] and number not in self._waiting:
                continue
            while not self._history.passed(number, partition.offset):
                if time.monotonic() > deadline_s:
                    log.warning("stopped without a last snapshot: history is behind", partition=number)
                    return
                await asyncio.sleep(0.01)
            await self._take(number, in_engine)
            await self._write(self._waiting.pop(number))

    async def _take(self, number: int, in_engine: InEngine) -> None:
        partition = self._partitions[number]
        with TAKE_TIME.time():
            state: bytes = await in_engine(partition.engine.snapshot)
        self._waiting[number] = Snapshot(number, partition.offset, self._events.marker(number).encode(), state)
        self._since[number] = 0
        self._taken_s[number] = time.monotonic()

    async def _write(self, snapshot: Snapshot) -> None:
        try:
            await asyncio.to_thread(self._folder.write, snapshot)
        except OSError as error:
            # A full disk. The ones before it stand, and so does the log behind them: nothing is lost by waiting.
            self.trouble = f"snapshots cannot be written: {error}"
            log.warning("snapshot not written", partition=snapshot.partition, error=str(error))
            return
        self.trouble = None
        oldest = await asyncio.to_thread(self._folder.oldest_offset, snapshot.partition)
        if oldest is None:
            return
        kept_from = f"{max(0, time.time_ns() // 1_000_000 - self._keep_ms)}-0"
        before = min(oldest, kept_from, key=offset_key)
        if offset_key(before) == (0, 0):
            return
        # First the note, then the deed: a start that finds no snapshot must know that the log has lost its beginning.
        try:
            await self._marks.mark_trimmed(snapshot.partition, before)
            await self._log.trim(snapshot.partition, before)
        except (*AWAY, Unavailable) as error:
            log.warning("the log is trimmed later", error=str(error))
