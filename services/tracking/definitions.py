"""Definitions on their way into the log: every stored version reaches every partition, at least once, and in any case.

An edit is first in SQL, then in the log, then marked as published; whoever dies in between leaves an unpublished row,
which is appended again at the next chance. The engine passes over a version it has seen. A limit or route of a device
that nobody has announced yet waits in SQL for the announcement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import redis.asyncio as redis
import structlog

from drover.tracking.v1.definition_pb2 import DefinitionChange
from runtime.metrics import Counter, Gauge
from runtime.partitioned_log import Append, PartitionedLog
from runtime.problems import Unavailable
from runtime.process import Stop
from runtime.redis_client import AWAY
from services.tracking.change import change_of, deletion_of, other_device_id
from services.tracking.directory import Directory
from services.tracking.model import Definition, DefinitionKind
from tracking_core.block import EntryKind

log = structlog.get_logger()

REPAIR_S: Final = 1.0

PUBLISHED: Final = Counter("drover_tracking_definitions_total", "Definitions appended to the log.", ["kind"])
UNPUBLISHED: Final = Gauge(
    "drover_tracking_definitions_unpublished",
    "Definitions stored but not in the log: Redis is away, or the device is unknown.",
)


class DefinitionStore(Protocol):
    """What is needed of the repository."""

    async def edit(
        self,
        kind: DefinitionKind,
        tenant: str,
        definition_id: str,
        change: Callable[[Definition], Definition | None],
        now_us: int,
    ) -> Definition:
        """Replaces the present version."""

    async def unpublished(self) -> list[Definition]:
        """What is not in the log."""

    async def mark_published(self, published: Sequence[Definition]) -> None:
        """It is now."""


class DefinitionBook:
    """Edits definitions and sees that the log gets them. `run` as a task repairs what a crash or an outage left."""

    def __init__(
        self, store: DefinitionStore, directory: Directory, telemetry: PartitionedLog, client: redis.Redis
    ) -> None:
        self._store = store
        self._directory = directory
        self._log = telemetry
        self._client = client
        # One at a time, so that two versions of one definition go into the log in their order.
        self._one_at_a_time = asyncio.Lock()
        self._look = asyncio.Event()

    async def edit(
        self,
        kind: DefinitionKind,
        tenant: str,
        definition_id: str,
        change: Callable[[Definition], Definition | None],
        now_us: int,
    ) -> Definition:
        """Stores what `change` makes of the present version, and publishes it.

        While the log is away the edit is stored all the same, and takes effect when the log is back.
        """
        changed = False

        def noting(present: Definition) -> Definition | None:
            nonlocal changed
            wanted = change(present)
            changed = wanted is not None
            return wanted

        async with self._one_at_a_time:
            edited = await self._store.edit(kind, tenant, definition_id, noting, now_us)
            if not changed:
                return edited
            try:
                await self._publish([edited])
            except (*AWAY, Unavailable) as error:
                log.warning("definition waits for the log", kind=kind.value, id=definition_id, error=str(error))
                self._look.set()
            return edited

    def announced(self) -> None:
        """New devices are known: look whether something waited for them."""
        self._look.set()

    async def run(self, stop: Stop) -> None:
        """Publishes what is unpublished: at the start, after announcements, and after outages."""
        self._look.set()
        while not stop.is_set():
            if self._look.is_set():
                self._look.clear()
                try:
                    async with self._one_at_a_time:
                        await self._publish(await self._store.unpublished())
                except (*AWAY, Unavailable) as error:
                    log.warning("definitions wait for the log or the database", error=str(error))
                    self._look.set()
            await stop.wait_for(REPAIR_S)

    async def _publish(self, wanted: Sequence[Definition]) -> None:
        done: list[Definition] = []
        for definition in wanted:
            entries = self._entries(definition)
            if entries:
                await self._log.append(entries)
                done.append(definition)
        UNPUBLISHED.set(len(wanted) - len(done))
        if not done:
            return
        await self._store.mark_published(done)
        pipeline = self._client.pipeline(transaction=False)
        for definition in done:
            # A hint for screens; the log has the truth.
            pipeline.publish(f"drover.definitions.{definition.tenant}", change_of(definition).SerializeToString())
            PUBLISHED.labels(definition.kind.value).inc()
        await pipeline.execute()

    def _entries(self, definition: Definition) -> list[Append]:
        """One entry a partition; none yet for a device that nobody announced.

        What belongs to one device is put in the device's partition and ended in all others: it may have been another
        device's before. A proximity concerns the partitions of two devices, and is put in all.
        """
        partitions = range(self._log.partitions)
        if definition.deleted or definition.kind is DefinitionKind.FENCE:
            return [_append(number, change_of(definition)) for number in partitions]
        device = self._directory.find(definition.tenant, definition.device_id)
        if device is None:
            return []
        if definition.kind is DefinitionKind.PROXIMITY:
            other = self._directory.find(definition.tenant, other_device_id(definition))
            if other is None:
                return []
            change = change_of(definition, device.number, other.number)
            return [_append(number, change) for number in partitions]
        home = device.number % self._log.partitions
        put, ended = change_of(definition, device.number), deletion_of(definition)
        return [_append(number, put if number == home else ended) for number in partitions]


def _append(partition: int, change: DefinitionChange) -> Append:
    return Append(partition, EntryKind.DEFINITION, change.SerializeToString(deterministic=True))
