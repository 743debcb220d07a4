"""The loop of the service: log entries into the engines, what comes of them to the sinks, in order.

Engines live in one thread (numba lets go of the GIL there); everything else is on the event loop. Live positions and
events go out right after the step; history follows through a bounded buffer, and when that is full the fold waits, and
the log keeps what comes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from operator import attrgetter
from typing import Final, TypeVar

import numpy as np
import structlog

from runtime.metrics import Counter, Gauge
from runtime.partitioned_log import Append, Entry, PartitionedLog
from runtime.process import Stop
from runtime.redis_client import AWAY
from services.tracking.definitions import DefinitionBook
from services.tracking.directory import Directory
from services.tracking.event_sink import EntryEvents, EventSink
from services.tracking.history import HistorySink, Kept
from services.tracking.live_sink import LiveSink
from services.tracking.partition import Folded, Partition
from services.tracking.snapshot_rounds import SnapshotRounds
from tracking_core.block import EntryKind
from tracking_core.routes.eta import RouteEta
from tracking_core.step_result import LatestColumns

log = structlog.get_logger()

Answer = TypeVar("Answer")

WAIT_MS: Final = 100
RETRY_S: Final = 0.2
AHEAD_TOO_FAR_S: Final = 60.0
"""From there on it is said: until the log's clock goes on, timers wait."""

LAG: Final = Gauge(
    "drover_tracking_lag_seconds", "Age of the oldest entry not folded yet, 0 when all are.", ["partition"]
)
AHEAD: Final = Gauge(
    "drover_tracking_log_ahead_seconds", "How far the log is dated ahead of this machine's clock, where it is."
)
TICKS: Final = Counter("drover_tracking_ticks_total", "Ticks appended because a timer of an idle partition was due.")


@dataclasses.dataclass(frozen=True, slots=True)
class Sinks:
    """Where results go."""

    history: HistorySink
    events: EventSink
    live: LiveSink


class Fold:
    """Folds all partitions. `run` as a task; `latest` and `eta` ask the engines between two rounds."""

    def __init__(
        self,
        telemetry: PartitionedLog,
        partitions: Mapping[int, Partition],
        sinks: Sinks,
        directory: Directory,
        book: DefinitionBook,
        rounds: SnapshotRounds,
        engine_thread: Executor,
        *,
        read_entries: int,
        tick_interval_s: float,
    ) -> None:
        self._log = telemetry
        self._partitions = partitions
        self._sinks = sinks
        self._directory = directory
        self._book = book
        self._rounds = rounds
        self._engine_thread = engine_thread
        self._read_entries = read_entries
        self._tick_interval_s = tick_interval_s
        self._offsets = {number: partition.offset for number, partition in partitions.items()}
        self._wakeups: dict[int, int | None] = {}
        self._ticked_s = dict.fromkeys(partitions, 0.0)
        self._is_ahead = False
        self.trouble: str | None = None
        """Why the log cannot be read; None when it can."""

    async def run(self, stop: Stop) -> None:
        """Folds until asked to stop; then lets history finish and takes last snapshots."""
        self._wakeups = await self._in_engine(self._ask_wakeups)
        while not stop.is_set():
            entries = await self._read()
            if entries:
                folded, self._wakeups = await self._in_engine(self._fold, entries)
                await self._give(folded)
            await self._tick({entry.partition for entry in entries})
            await self._rounds.turn(self._in_engine)
        await self._sinks.history.close()
        await self._rounds.finish(self._in_engine)

    async def _in_engine(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._engine_thread, work, *arguments)

    async def _read(self) -> list[Entry]:
        try:
            entries = await self._log.read_from(self._offsets, max_entries=self._read_entries, wait_ms=WAIT_MS)
        except AWAY as error:
            if self.trouble is None:
                log.warning("the fold waits for the log", error=str(error))
            self.trouble = str(error) or type(error).__name__
            await asyncio.sleep(RETRY_S)
            return []
        self.trouble = None
        now_s = time.time()
        seen: set[int] = set()
        for entry in entries:
            if entry.partition not in seen:
                seen.add(entry.partition)
                LAG.labels(str(entry.partition)).set(max(0.0, now_s - entry.appended_at_us / 1e6))
            self._offsets[entry.partition] = entry.offset
        if entries:
            self._watch_clock(max(entry.appended_at_us for entry in entries) / 1e6 - now_s)
        for number in self._partitions.keys() - seen:
            LAG.labels(str(number)).set(0.0)
        return entries

    def _watch_clock(self, ahead_s: float) -> None:
        AHEAD.set(max(0.0, ahead_s))
        is_ahead = ahead_s > AHEAD_TOO_FAR_S
        if is_ahead and not self._is_ahead:
            log.warning("the log is dated ahead of this machine's clock: see `drover doctor`", ahead_s=round(ahead_s))
        self._is_ahead = is_ahead

    def _fold(self, entries: Sequence[Entry]) -> tuple[list[Folded], dict[int, int | None]]:
        return [self._partitions[entry.partition].fold(entry) for entry in entries], self._ask_wakeups()

    def _ask_wakeups(self) -> dict[int, int | None]:
        return {number: partition.engine.next_wakeup_us() for number, partition in self._partitions.items()}

    async def _give(self, folded: Sequence[Folded]) -> None:
        # Ingest announces all devices whenever it starts; only what is news goes on.
        news = {each: self._directory.add(each.devices) for each in folded if each.devices}
        if any(news.values()):
            self._book.announced()
        by_partition = [(number, list(group)) for number, group in itertools.groupby(folded, attrgetter("partition"))]
        await self._sinks.live.publish([(each.partition, each.frame) for each in folded if each.frame is not None])
        for number, group in by_partition:
            await self._sinks.events.publish(
                number,
                [
                    EntryEvents(each.offset, (*each.events, *each.companions))
                    for each in group
                    if each.events or each.companions
                ],
            )
        await self._sinks.history.put(
            [Kept(each.partition, each.offset, each.judged, each.events, news.get(each, ())) for each in folded]
        )
        for number, group in by_partition:
            self._rounds.folded(number, len(group))

    async def _tick(self, busy: set[int]) -> None:
        """Appends a tick to each partition that is idle while a timer is due, at most one an interval."""
        now_us, now_s = time.time_ns() // 1000, time.monotonic()
        due = [
            number
            for number, wakeup_us in self._wakeups.items()
            if wakeup_us is not None
            and wakeup_us <= now_us
            and number not in busy
            and now_s - self._ticked_s[number] >= self._tick_interval_s
        ]
        if not due:
            return
        try:
            await self._log.append([Append(number, EntryKind.TICK, b"") for number in due])
        except AWAY:
            return
        TICKS.inc(len(due))
        for number in due:
            self._ticked_s[number] = now_s

    async def latest(self, numbers: Sequence[int]) -> list[tuple[LatestColumns, list[list[str]]]]:
        """See ports.LiveState."""
        return await self._in_engine(self._latest, numbers)

    def _latest(self, numbers: Sequence[int]) -> list[tuple[LatestColumns, list[list[str]]]]:
        found: list[tuple[LatestColumns, list[list[str]]]] = []
        for number, partition in self._partitions.items():
            mine = [each for each in numbers if each % len(self._partitions) == number]
            if mine:
                columns = partition.engine.latest(np.array(mine, np.uint32))
                found.append((columns, [partition.engine.inside(each) for each in columns.device.tolist()]))
        return found

    async def eta(self, tenant: str, route_id: str, device_number: int, now_us: int) -> RouteEta | None:
        """See ports.LiveState."""
        engine = self._partitions[device_number % len(self._partitions)].engine
        return await self._in_engine(engine.eta, tenant, route_id, now_us)
