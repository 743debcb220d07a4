"""Tells the tracking service what the outbox holds, until it has been told: so a crash or an outage loses nothing.

A task is claimed for a while, carried out, and struck off. Dying in between leaves it claimed until the time is up;
then it is carried out once more, which is harmless. The queue is the outbox table, at most one row a shipment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from runtime.metrics import Counter, Gauge
from runtime.problems import Problem, Unavailable
from runtime.process import Stop
from services.shipment.ports import DefinitionAction, DefinitionTask, Storage, TrackingDefinitions

log = structlog.get_logger()

POLL_S: Final = 1.0
BATCH: Final = 32
CLAIM_US: Final = 10_000_000
FIRST_RETRY_US: Final = 1_000_000
LAST_RETRY_US: Final = 300_000_000
"""Between tries of a task that the tracking service refuses: what is wrong may be mended there."""
AWAY_PAUSE_S: Final = 0.5
"""Between tries while the tracking service or the database is away."""
INBOX_KEEP_US: Final = 30 * 24 * 3_600 * 1_000_000
"""How long the inbox remembers an event: longer than the event stream keeps it."""
FORGET_INTERVAL_US: Final = 3_600 * 1_000_000

TOLD = Counter("drover_shipment_definitions_told_total", "Tasks carried out", ["action"])
REFUSED = Counter("drover_shipment_definitions_refused_total", "Tries that failed", ["code"])
WAITING = Gauge("drover_shipment_definitions_waiting", "Shipments whose definitions are still to be told")


class DefinitionCourier:
    """One for a process; several processes share the outbox."""

    def __init__(self, storage: Storage, definitions: TrackingDefinitions, now_us: Callable[[], int]) -> None:
        self._storage = storage
        self._definitions = definitions
        self._now_us = now_us
        self._filled = asyncio.Event()
        self._forget_at_us = 0

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._filled.set()

    async def run(self, stop: Stop) -> None:
        """Works until asked to stop."""
        away = False
        while not stop.is_set():
            self._filled.clear()
            try:
                busy = await self.work_once(stop)
                await self._forget()
            except Unavailable as problem:
                if not away:  # once an outage
                    log.warning("definitions wait", reason=str(problem))
                away = True
                await stop.wait_for(AWAY_PAUSE_S)
                continue
            away = away and not busy
            if not busy:
                await self._wait(stop)

    async def work_once(self, stop: Stop) -> bool:
        """Carries out the tasks that are due; returns whether there were any. Raises Unavailable."""
        async with self._storage.write() as work:
            tasks = await work.outbox.due(self._now_us(), BATCH)
            WAITING.set(await work.outbox.waiting())
        for task in tasks:
            if stop.is_set():
                break
            async with self._storage.write() as work:
                claimed = await work.outbox.claim(task, self._now_us() + CLAIM_US)
            if claimed is not None:
                await self._carry_out(claimed)
        return bool(tasks)

    async def _carry_out(self, task: DefinitionTask) -> None:
        async with self._storage.read() as look:
            shipment = await look.shipments.get(task.tenant, task.shipment_id)
        assert shipment is not None
        try:
            if task.action is DefinitionAction.PUT:
                await self._definitions.put(shipment)
            else:
                await self._definitions.remove(shipment)
        except Unavailable as problem:
            REFUSED.labels(problem.code).inc()
            await self._postpone(task, int(AWAY_PAUSE_S * 1e6), problem)
            raise  # so is everything else that waits
        except Problem as problem:
            REFUSED.labels(problem.code).inc()
            log.warning("definitions refused", shipment=task.shipment_id, reason=str(problem), tries=task.attempts + 1)
            await self._postpone(task, min(FIRST_RETRY_US << min(task.attempts, 20), LAST_RETRY_US), problem)
        else:
            async with self._storage.write() as work:
                await work.outbox.finish(task, self._now_us())
            TOLD.labels(task.action.value).inc()

    async def _postpone(self, task: DefinitionTask, delay_us: int, problem: Problem) -> None:
        async with self._storage.write() as work:
            await work.outbox.postpone(task, self._now_us() + delay_us, str(problem))

    async def _forget(self) -> None:
        now_us = self._now_us()
        if now_us >= self._forget_at_us:
            async with self._storage.write() as work:
                await work.inbox.forget(now_us - INBOX_KEEP_US)
            self._forget_at_us = now_us + FORGET_INTERVAL_US

    async def _wait(self, stop: Stop) -> None:
        """Until there is something new, or a while has passed; the latter for what is postponed."""
        waits = {asyncio.create_task(self._filled.wait()), asyncio.create_task(stop.wait())}
        await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
