"""Ingest without sockets: the real pipeline over SQLite, and a log in memory that can be made to fail."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from drover.tracking.v1.definition_pb2 import DeviceAnnouncements
from ingest.batcher import Batcher
from ingest.dead_letters.store import DeadLetters, StoredLetter
from ingest.decoders import Decoders
from ingest.decoders.signature import Publish
from ingest.devices.device_name import DeviceName
from ingest.devices.registry import AutoProvisioning, Registry
from ingest.messages import from_pairs
from ingest.partitioning import join
from ingest.pipeline import Pipeline
from ingest.settings import TopicRule
from ingest.topics.rules import TopicRules
from runtime.database import create_engine
from runtime.migrations import migrate
from runtime.partitioned_log import Append, Entry, PartitionedLog
from tracking_core.block import EntryKind, unpack
from tracking_core.columns import Readings

NOW_US = 1_700_000_000_000_000
NO_AUTO = AutoProvisioning()
OWNTRACKS = TopicRule(filter="owntracks/+/+/#", decoder="owntracks", device_levels=(1, 2), tenant="acme")


class FakeLog:
    """Appends to a list. `failures` are raised first, one an append; while `gate` is clear, appends wait."""

    def __init__(self, partitions: int = 4) -> None:
        self.partitions = partitions
        self.entries: list[Append] = []
        self.appends: list[list[Append]] = []
        self.failures: list[Exception] = []
        self.always: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.in_flight = 0
        self.most_in_flight = 0

    async def append(self, entries: Sequence[Append]) -> list[str]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.failures:
                raise self.failures.pop(0)
            if self.always is not None:
                raise self.always
        finally:
            self.in_flight -= 1
        self.entries.extend(entries)
        self.appends.append(list(entries))
        return ["0-1"] * len(entries)

    async def read_from(self, offsets: Mapping[int, str], *, max_entries: int = 64, wait_ms: int = 100) -> list[Entry]:
        raise NotImplementedError

    async def end(self, partition: int) -> str:
        raise NotImplementedError

    async def length(self, partition: int) -> int:
        raise NotImplementedError

    async def trim(self, partition: int, before: str) -> None:
        raise NotImplementedError

    @property
    def readings(self) -> Readings:
        return readings_of(self.entries)


def readings_of(entries: Iterable[Append | Entry]) -> Readings:
    """All readings of log entries."""
    return join([unpack(entry.payload) for entry in entries if entry.kind == EntryKind.READINGS])


def announced_in(entries: Iterable[Append | Entry]) -> list[tuple[int, str, str]]:
    """(number, tenant, id) of all announcements."""
    return [
        (device.device_number, device.tenant, device.device_id)
        for entry in entries
        if entry.kind == EntryKind.ANNOUNCEMENT
        for device in DeviceAnnouncements.FromString(entry.payload).devices
    ]


class Rig(NamedTuple):
    """The parts, running."""

    engine: AsyncEngine
    registry: Registry
    batcher: Batcher
    dead_letters: DeadLetters
    pipeline: Pipeline

    async def send(self, *pairs: tuple[str, bytes], received_at_us: int = NOW_US) -> None:
        """(topic, payload) pairs through the pipeline, as one read."""
        await self.pipeline.accept(
            from_pairs([(topic.encode(), data) for topic, data in pairs], received_at_us, "mqtt")
        )

    async def provision(self, *device_ids: str, tenant: str = "acme") -> list[int]:
        return [(await self.registry.provision(DeviceName(tenant, device_id))).number for device_id in device_ids]

    async def letters(self, *tenants: str) -> list[StoredLetter]:
        """The oldest first; of `acme` if no tenant is named."""
        found = await self.dead_letters.page(tenants or ("acme",), before_id=2**62, size=10_000)
        return found[::-1]


@asynccontextmanager
async def running(
    folder: pathlib.Path,
    log: PartitionedLog,
    *,
    rules: Sequence[TopicRule] = (),
    publish: Publish | None = None,
    auto: AutoProvisioning = NO_AUTO,
    flush_readings: int = 4096,
    queue_readings: int = 262_144,
    max_payload_bytes: int = 1024 * 1024,
    url: str = "",
) -> AsyncIterator[Rig]:
    url = url or f"sqlite+aiosqlite:///{folder / 'ingest.db'}"
    await migrate(url, "ingest")
    engine = create_engine(url)
    registry = Registry(engine, auto)
    batcher = Batcher(
        log,
        registry.device,
        renamed=registry.renamed,
        flush_readings=flush_readings,
        flush_interval_s=0.001,
        queue_readings=queue_readings,
    )
    dead_letters = DeadLetters(engine)
    every = [OWNTRACKS, *rules]
    topic_rules = TopicRules(Decoders(every) if publish is None else Decoders(every, publish))
    pipeline = Pipeline(topic_rules, registry, batcher, dead_letters, max_payload_bytes=max_payload_bytes)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(batcher.run())
            tasks.create_task(dead_letters.run())
            try:
                yield Rig(engine, registry, batcher, dead_letters, pipeline)
            finally:
                registry.close()
                batcher.give_up()
                dead_letters.close()
    finally:
        await engine.dispose()
