"""A consumer group's reader of a durable stream: every event is handled at least once, in the stream's order.

Handlers de-duplicate by themselves (an inbox table in the transaction of what they change), for an event comes again
when the process, or Redis, dies between the handler's return and the acknowledgement.

What can go wrong, and what becomes of it:

- the handler raises a Problem: the events of the batch are handled one by one;
- for one event, a Problem that time may cure (unavailable, conflict, exhausted): it is tried again, with backoff.
  The events behind it wait, so that order holds. After `tries` calls, or for `unavailable` after `patience_s`, for
  then the event is not to blame, it goes to the dead events of the group;
- another Problem: nothing but the event is wrong, and it goes there at once;
- anything else: a bug. The process ends and is started again, the event is delivered again; after `tries`
  deliveries it goes to the dead events unhandled. A poisonous event stops nobody for long;
- Redis is away or restarts: the consumer waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import redis.asyncio as redis
import structlog
from redis.exceptions import ResponseError

from runtime.dead_events import DeadEvents, EventHandler, Replayed
from runtime.metrics import Counter, Gauge
from runtime.problems import Kind, Problem
from runtime.process import Stop
from runtime.redis_client import AWAY

log = structlog.get_logger()

EVENT_FIELD: Final = b"e"
CURABLE: Final[frozenset[Kind]] = frozenset({"unavailable", "conflict", "exhausted"})
FIRST_BACKOFF_S: Final = 0.1
MAX_BACKOFF_S: Final = 10.0
SWEEP_INTERVAL_S: Final = 5.0
"""How often entries that another consumer left behind are looked for, and the metrics are brought up to date."""

HANDLED = Counter("drover_runtime_events_handled_total", "Events handled", ["stream", "group"])
RETRIED = Counter(
    "drover_runtime_events_retried_total", "Calls of a handler that will be repeated", ["stream", "group"]
)
BURIED = Counter("drover_runtime_events_dead_total", "Events given up", ["stream", "group", "reason"])
DEAD = Gauge("drover_runtime_dead_events", "Events given up and not yet replayed", ["stream", "group"])
PENDING = Gauge("drover_runtime_events_pending", "Events delivered to a consumer, not yet done", ["stream", "group"])
LAG = Gauge("drover_runtime_events_lag_seconds", "Age of the newest event not yet delivered", ["stream", "group"])

_T = TypeVar("_T")


class _Delivered(NamedTuple):
    entry_id: str
    event: bytes
    times: int


class _StoppedError(Exception):
    """The process was asked to stop while it waited."""


class EventConsumer:
    """Reads `stream` as `consumer` of `group` and calls `handler` with up to `batch` events at a time.

    `consumer` is unique among the processes of the group and stays the same over restarts: what a consumer had not
    finished when it died, it finds at once under its own name; others take it over after `claim_after_ms`.
    The queue is the stream itself, which its producer bounds; at most `batch` entries are in memory.
    """

    def __init__(
        self,
        client: redis.Redis,
        stream: str,
        group: str,
        consumer: str,
        handler: EventHandler,
        *,
        tries: int = 5,
        patience_s: float = 3_600.0,
        block_ms: int = 500,
        batch: int = 64,
        claim_after_ms: int = 60_000,
    ) -> None:
        self._client = client
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._handler = handler
        self._tries = tries
        self._patience_s = patience_s
        self._block_ms = block_ms
        self._batch = batch
        self._claim_after_ms = claim_after_ms
        self.dead: Final = DeadEvents(client, stream, group)

    async def run(self, stop: Stop) -> None:
        """Reads until asked to stop; what is in hand is finished first, unless it is waiting to be tried again."""
        try:
            await self._repeat_while_away(stop, self._create_group)
            await self._take_over(stop, of=self._consumer, idle_ms=0)
            sweep_at = 0.0
            while not stop.is_set():
                if time.monotonic() >= sweep_at:
                    await self._take_over(stop, of=None, idle_ms=self._claim_after_ms)
                    await self._repeat_while_away(stop, self.measure)
                    sweep_at = time.monotonic() + SWEEP_INTERVAL_S
                if batch := await self._repeat_while_away(stop, self._read_new):
                    await self._handle_all(batch, stop)
        except _StoppedError:
            return

    async def replay_dead(self) -> Replayed:
        """Hands every dead event of the group to the handler once more; those that fail again stay."""
        return await self.dead.replay(self._handler)

    async def measure(self) -> None:
        """Sets the metrics of depth and lag."""
        labels = (self._stream, self._group)
        DEAD.labels(*labels).set(await self.dead.count())
        groups: Any = await self._client.xinfo_groups(self._stream)
        newest: Any = await self._client.xinfo_stream(self._stream)
        for group in groups:
            if group["name"] == self._group.encode():
                PENDING.labels(*labels).set(group["pending"])
                lag_ms = _milliseconds(newest["last-generated-id"]) - _milliseconds(group["last-delivered-id"])
                LAG.labels(*labels).set(lag_ms / 1000 if _milliseconds(group["last-delivered-id"]) else 0.0)

    async def _create_group(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _read_new(self) -> list[_Delivered]:
        found: Any = await self._client.xreadgroup(
            self._group, self._consumer, {self._stream: ">"}, count=self._batch, block=self._block_ms
        )
        return [
            _Delivered(entry_id.decode(), fields.get(EVENT_FIELD, b""), 1)
            for _stream, rows in found
            for entry_id, fields in rows
        ]

    async def _take_over(self, stop: Stop, *, of: str | None, idle_ms: int) -> None:
        """Handles what was delivered `idle_ms` ago or longer (to the consumer `of`) and not finished.

        One at a time: claiming counts as a delivery, and only the event that is really tried may be charged for it.
        """
        after = "-"
        while not stop.is_set():

            async def claim(after: str = after) -> tuple[str, _Delivered | None] | None:
                return await self._claim_next(after, of, idle_ms)

            claimed = await self._repeat_while_away(stop, claim)
            if claimed is None:
                return
            after = f"({claimed[0]}"
            if claimed[1] is not None:
                await self._handle(claimed[1], stop)

    async def _claim_next(self, after: str, of: str | None, idle_ms: int) -> tuple[str, _Delivered | None] | None:
        """The next pending entry, now ours: its id, and nothing more when it was trimmed or another was faster."""
        pending: Any = await self._client.xpending_range(
            self._stream, self._group, min=after, max="+", count=1, consumername=of, idle=idle_ms
        )
        if not pending:
            return None
        entry_id = pending[0]["message_id"]
        rows: Any = await self._client.xclaim(self._stream, self._group, self._consumer, idle_ms, [entry_id])
        if rows and rows[0][0] is not None:
            times = pending[0]["times_delivered"] + 1
            return entry_id.decode(), _Delivered(entry_id.decode(), rows[0][1].get(EVENT_FIELD, b""), times)
        if not await self._client.xrange(self._stream, min=entry_id, max=entry_id):
            await self._client.xack(self._stream, self._group, entry_id)  # trimmed from the stream
        return entry_id.decode(), None

    async def _handle_all(self, batch: Sequence[_Delivered], stop: Stop) -> None:
        """Together, which is one transaction; or, where that fails, one by one, to find who is to blame."""
        if len(batch) == 1:
            await self._handle(batch[0], stop)
            return
        try:
            await self._handler([each.event for each in batch])
        except Problem as problem:
            log.debug("events will be tried one by one", events=len(batch), reason=str(problem))
            for each in batch:
                if stop.is_set():
                    return  # what is left stays pending under our name
                await self._handle(each, stop)
        else:
            await self._acknowledge(batch, stop)

    async def _handle(self, delivered: _Delivered, stop: Stop) -> None:
        entry_id, event, times = delivered
        if times > self._tries:
            await self._bury(stop, delivered, "crash", f"delivered {times - 1} times, and never finished", times - 1)
            return
        began = time.monotonic()
        backoff_s = FIRST_BACKOFF_S
        calls = 0
        while True:
            calls += 1
            try:
                await self._handler([event])
            except Problem as problem:
                if problem.kind == "unavailable":
                    hopeless = time.monotonic() - began >= self._patience_s
                else:
                    hopeless = problem.kind not in CURABLE or calls >= self._tries
                if hopeless:
                    await self._bury(stop, delivered, problem.code, str(problem), calls)
                    return
                RETRIED.labels(self._stream, self._group).inc()
                log.warning("event will be tried again", entry=entry_id, tries=calls, reason=str(problem))
                if await stop.wait_for(backoff_s):
                    raise _StoppedError from problem
                backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
            else:
                break
        await self._acknowledge([delivered], stop)

    async def _acknowledge(self, done: Sequence[_Delivered], stop: Stop) -> None:
        async def acknowledge() -> None:
            await self._client.xack(self._stream, self._group, *(each.entry_id for each in done))

        await self._repeat_while_away(stop, acknowledge)
        HANDLED.labels(self._stream, self._group).inc(len(done))

    async def _bury(self, stop: Stop, delivered: _Delivered, reason: str, error: str, tries: int) -> None:
        async def bury() -> None:
            await self.dead.bury(delivered.entry_id, delivered.event, error=f"{reason}: {error}", tries=tries)

        await self._repeat_while_away(stop, bury)
        BURIED.labels(self._stream, self._group, reason).inc()
        log.error("event given up", entry=delivered.entry_id, tries=tries, reason=reason, error=error)

    async def _repeat_while_away(self, stop: Stop, call: Callable[[], Awaitable[_T]]) -> _T:
        """The result of `call`, which is harmless to repeat, as soon as Redis answers. Raises _StoppedError."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                answer = await self._with_group(call)
            except AWAY as error:
                log.warning("waiting for Redis", stream=self._stream, group=self._group, reason=str(error))
                if await stop.wait_for(backoff_s):
                    raise _StoppedError from error
                backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
            else:
                _heed_cancellation()
                return answer

    async def _with_group(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """The result of `call`, once more after the group was made anew: by a Redis that lost its data, or by a person
        who removed the stream. The group then begins at the beginning; the inbox knows what was done.
        """
        try:
            return await call()
        except ResponseError as error:
            # UNBLOCKED is what a read that waits is told when the stream goes away under it.
            if not str(error).startswith(("NOGROUP", "no such key", "UNBLOCKED")):
                raise
            await self._create_group()
            return await call()


def _heed_cancellation() -> None:
    """Before Python 3.12 `asyncio.wait_for`, in which the client sends, may swallow a cancellation (CPython gh-86296).

    A consumer would then go on for ever in a process that is coming down.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _milliseconds(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
