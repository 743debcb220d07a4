"""One partition: its engine, and how far into the log it has come. Entries in, what came of them out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from google.protobuf.message import DecodeError

from drover.tracking.v1.definition_pb2 import DefinitionChange, DeviceAnnouncements
from geofence.validation import InvalidFence
from runtime.metrics import LATENCY_BUCKETS_S, Counter, Histogram
from runtime.partitioned_log import Append, Entry
from services.tracking.change import core_definition
from services.tracking.events import PublishedEvent, published
from services.tracking.history_rows import Judged
from services.tracking.model import Device
from tracking_core import live_frame
from tracking_core.block import DamagedBlockError, EntryKind, unpack
from tracking_core.columns import Readings
from tracking_core.definitions import Definition, DeviceIdentity, InvalidDefinitionError
from tracking_core.engine import Engine
from tracking_core.pairs.companions import CompanionColumns, pack_companions, unpack_companions
from tracking_core.step_result import StepResult

log = structlog.get_logger()

ENTRIES: Final = Counter("drover_tracking_entries_total", "Log entries folded.", ["kind"])
DAMAGED: Final = Counter(
    "drover_tracking_damaged_entries_total", "Log entries passed over because they could not be read.", ["kind"]
)
COMPANIONS_TOO_LATE: Final = Counter(
    "drover_tracking_companions_too_late_total",
    "Fixes that came to a proximity later than what it remembers, and changed nothing.",
)
STEP_TIME: Final = Histogram("drover_tracking_step_seconds", "Time of one engine step.", buckets=LATENCY_BUCKETS_S)


class UnreadableEntryError(ValueError):
    """An entry of a kind that this version does not know."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """What came of one entry."""

    partition: int
    offset: str
    kind: int
    judged: Judged | None = None
    events: Sequence[PublishedEvent] = ()
    devices: Sequence[Device] = ()
    frame: bytes | None = None
    """Live positions, packed."""
    companions: Sequence[Append] = ()
    """What the logs of partitions with proximities are to get."""


class Partition:
    """A fold over one partition of the log. Not thread-safe: everything that touches the engine goes by one thread."""

    def __init__(self, number: int, engine: Engine, offset: str) -> None:
        self.number = number
        self.engine = engine
        self.offset = offset
        """The last entry folded."""

    def fold(self, entry: Entry) -> Folded:
        """Folds the entry after `offset`. One that cannot be read is counted, logged and passed over, always."""
        try:
            work = self._read(entry)
        except (DamagedBlockError, DecodeError, InvalidFence, InvalidDefinitionError, UnreadableEntryError) as error:
            DAMAGED.labels(str(entry.kind)).inc()
            log.error(  # noqa: TRY400 - the bytes are at fault, not the code
                "damaged log entry passed over",
                partition=self.number,
                offset=entry.offset,
                kind=entry.kind,
                reason=str(error),
            )
            folded = Folded(self.number, entry.offset, entry.kind)
        else:
            folded = work()
        ENTRIES.labels(str(entry.kind)).inc()
        self.offset = entry.offset
        return folded

    def _read(self, entry: Entry) -> Callable[[], Folded]:
        """What is to be done with an entry. Raises for bytes that say nothing, before any state has changed."""
        match entry.kind:
            case EntryKind.READINGS:
                return functools.partial(self._step, entry, unpack(entry.payload))
            case EntryKind.ANNOUNCEMENT:
                return functools.partial(self._announce, entry, DeviceAnnouncements.FromString(entry.payload))
            case EntryKind.DEFINITION:
                change = core_definition(DefinitionChange.FromString(entry.payload))
                if change is None:
                    raise UnreadableEntryError("a change of an unknown kind")
                return functools.partial(self._define, entry, change)
            case EntryKind.COMPANION:
                return functools.partial(self._accompany, entry, unpack_companions(entry.payload))
            case EntryKind.TICK:
                return functools.partial(self._tick, entry)
            case _:
                raise UnreadableEntryError(f"an entry of the unknown kind {entry.kind}")

    def _step(self, entry: Entry, readings: Readings) -> Folded:
        with STEP_TIME.time():
            result = self.engine.step(readings, entry.appended_at_us)
        judged = Judged(
            readings, result.position_verdicts, result.sensor_verdicts, result.tag_verdicts, result.verdict_changes
        )
        return self._folded(entry, result, judged)

    def _announce(self, entry: Entry, announced: DeviceAnnouncements) -> Folded:
        devices = [
            Device(each.device_number, each.tenant, each.device_id, each.display_name) for each in announced.devices
        ]
        self.engine.announce([DeviceIdentity(each.number, each.tenant, each.device_id) for each in devices])
        return Folded(self.number, entry.offset, entry.kind, devices=devices)

    def _define(self, entry: Entry, change: Definition) -> Folded:
        return self._folded(entry, self.engine.define(change, entry.appended_at_us))

    def _accompany(self, entry: Entry, companions: CompanionColumns) -> Folded:
        before = self.engine.companions_too_late
        result = self.engine.accompany(companions, entry.appended_at_us)
        COMPANIONS_TOO_LATE.inc(self.engine.companions_too_late - before)
        return self._folded(entry, result)

    def _tick(self, entry: Entry) -> Folded:
        return self._folded(entry, self.engine.tick(entry.appended_at_us))

    def _folded(self, entry: Entry, result: StepResult, judged: Judged | None = None) -> Folded:
        return Folded(
            self.number,
            entry.offset,
            entry.kind,
            judged=judged,
            events=[published(event) for event in result.events],
            frame=live_frame.pack(result.live) if len(result.live.device) else None,
            companions=[
                Append(each.partition, EntryKind.COMPANION, pack_companions(each.columns)) for each in result.companions
            ],
        )
