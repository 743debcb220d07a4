"""The history sink: rows of the fold into SQL, in bulk, each flush one transaction with the offsets it reaches.

The buffer between fold and database is bounded in rows; while it is full, the fold waits, and with it the log. The
database may be away for as long as it likes: a flush is tried again until it is in, or found to be in.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Final, NamedTuple, Protocol

import structlog

from runtime.metrics import LATENCY_BUCKETS_S, Counter, Gauge, Histogram
from runtime.partitioned_log import offset_key
from runtime.problems import Unavailable
from services.tracking.directory import Directory
from services.tracking.events import EVENT_COLUMNS, PublishedEvent, event_rows
from services.tracking.history_rows import Counters, Judged, rows_of, verdict_changes
from services.tracking.model import Device
from services.tracking.repository import Flush, HistoryOffsets
from tracking_core.columns import count

log = structlog.get_logger()

RETRY_S: Final = 0.5

ROWS: Final = Counter("drover_tracking_history_rows_total", "Readings committed to history.", ["kind", "outcome"])
FLUSH_TIME: Final = Histogram(
    "drover_tracking_history_flush_seconds", "Time to write one flush.", buckets=LATENCY_BUCKETS_S
)
QUEUE: Final = Gauge("drover_tracking_history_queue_rows", "Rows waiting to be written.")


class HistoryStore(Protocol):
    """What the sink needs of the repository."""

    async def offsets(self, partitions: int) -> dict[int, HistoryOffsets]:
        """Where each partition stands."""

    async def write(self, flush: Flush) -> Counters:
        """One transaction."""


class Kept(NamedTuple):
    """What history keeps of one log entry."""

    partition: int
    offset: str
    judged: Judged | None
    events: Sequence[PublishedEvent]
    devices: Sequence[Device]

    @property
    def rows(self) -> int:
        """What it counts for in the buffer; an entry without rows still moves the offset."""
        return 1 + len(self.events) + (count(self.judged.readings) if self.judged else 0)


class HistorySink:
    """Call `load`, then `run` as a task; `put` entries in order, `passed` tells how far they are committed."""

    def __init__(
        self,
        store: HistoryStore,
        directory: Directory,
        executor: Executor,
        *,
        partitions: int,
        flush_rows: int,
        flush_s: float,
        queue_rows: int,
    ) -> None:
        self._store = store
        self._directory = directory
        self._executor = executor
        self._partitions = partitions
        self._flush_rows = flush_rows
        self._flush_s = flush_s
        self._queue_rows = queue_rows
        self._waiting: list[Kept] = []
        self._rows = 0
        self._closing = False
        self._changed = asyncio.Condition()
        self._committed: dict[int, str] = {}
        self.trouble: str | None = None
        """Why the last attempt to write failed; None when it did not."""

    async def load(self) -> Mapping[int, HistoryOffsets]:
        """Reads how far each partition has come."""
        offsets = await self._store.offsets(self._partitions)
        self._committed = {number: offsets[number].log_offset for number in range(self._partitions)}
        return offsets

    def passed(self, partition: int, offset: str) -> bool:
        """Whether the entry at `offset` is committed."""
        return offset_key(offset) <= offset_key(self._committed[partition])

    async def put(self, kept: Sequence[Kept]) -> None:
        """Takes entries that are not committed yet; passes over the others. Waits while the buffer is full."""
        async with self._changed:
            for entry in kept:
                if self.passed(entry.partition, entry.offset):
                    continue
                await self._changed.wait_for(lambda: self._rows < self._queue_rows)
                self._waiting.append(entry)
                self._rows += entry.rows
                QUEUE.set(self._rows)
                if self._rows == entry.rows or self._rows >= self._flush_rows:
                    self._changed.notify_all()

    async def close(self) -> None:
        """Lets `run` return once everything is written."""
        async with self._changed:
            self._closing = True
            self._changed.notify_all()

    async def run(self) -> None:
        """Writes until closed. Raises HistoryDivergedError."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                try:
                    async with asyncio.timeout(self._flush_s):
                        await self._changed.wait_for(lambda: self._rows >= self._flush_rows or self._closing)
                except TimeoutError:
                    pass
                taken = self._waiting
                self._waiting = []
            await self._flush(taken)
            async with self._changed:
                self._rows -= sum(entry.rows for entry in taken)
                QUEUE.set(self._rows)
                self._changed.notify_all()

    async def _flush(self, taken: Sequence[Kept]) -> None:
        with FLUSH_TIME.time():
            flush = await asyncio.get_running_loop().run_in_executor(self._executor, self._build, taken)
            while True:
                try:
                    grown = await self._store.write(flush)
                except Unavailable as error:
                    # Away, locked or full: nothing is lost by waiting.
                    self.trouble = str(error)
                    log.warning("history waits for the database", error=self.trouble)
                    await asyncio.sleep(RETRY_S)
                    if await self._is_in(flush):
                        grown = collections.Counter()
                        break
                else:
                    break
        self.trouble = None
        for partition, (_, after) in flush.moves.items():
            self._committed[partition] = after
        for (_, counter), amount in grown.items():
            kind, _, outcome = counter.partition("_")
            if outcome in {"stored", "repeated"}:
                ROWS.labels(kind, outcome).inc(amount)

    async def _is_in(self, flush: Flush) -> bool:
        """Whether a flush whose answer was lost had been committed."""
        try:
            stored = await self._store.offsets(self._partitions)
        except Unavailable:
            return False
        return all(stored[partition].log_offset == after for partition, (_, after) in flush.moves.items())

    def _build(self, taken: Sequence[Kept]) -> Flush:
        counters: Counters = collections.Counter()
        judged = [entry.judged for entry in taken if entry.judged]
        moves: dict[int, tuple[str, str]] = {}
        for entry in taken:
            moves[entry.partition] = (self._committed[entry.partition], entry.offset)
        return Flush(
            moves=moves,
            readings=rows_of(judged, self._directory, counters),
            verdict_changes=verdict_changes(judged, self._directory, counters),
            event_columns=EVENT_COLUMNS,
            events=event_rows([event for entry in taken for event in entry.events]),
            devices=list({device.number: device for entry in taken for device in entry.devices}.values()),
            counters=counters,
        )
