"""Where a partition goes on after a start: the newest sound snapshot that history and events have reached, or the log's
beginning.

When neither is there any more (snapshots lost, log trimmed), the devices and definitions that SQL remembers are given
to a new engine, and it goes on where the log begins. Vehicles are then where their next fix says; who was inside a
fence is learned anew, silently.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog

from runtime.partitioned_log import START, offset_key
from services.tracking.change import change_of, core_definition, other_device_id
from services.tracking.directory import Directory
from services.tracking.event_sink import Marker
from services.tracking.model import Definition, DefinitionKind, Device
from services.tracking.partition import Partition
from services.tracking.repository import HistoryOffsets
from services.tracking.snapshots import Snapshot, SnapshotFolder
from tracking_core.definitions import DeviceIdentity
from tracking_core.engine import Engine
from tracking_core.settings import EngineSettings
from tracking_core.snapshots.snapshot import SnapshotError

log = structlog.get_logger()

_LAST_NUMBER: Final = 2**64 - 1


def restore(
    number: int,
    settings: EngineSettings,
    folder: SnapshotFolder,
    offsets: HistoryOffsets,
    marker: Marker,
    directory: Directory,
    devices: Iterable[Device],
    definitions: Sequence[Definition],
) -> Partition:
    """The partition, ready to fold on. `devices` and `definitions` are all that SQL has."""
    found = _from_snapshots(folder.read(number), settings, offsets, marker)
    if found is not None:
        engine, offset = found
        log.info("partition goes on from a snapshot", partition=number, offset=offset)
        return Partition(number, engine, offset)
    engine = Engine(settings)
    if offsets.trimmed_before == START:
        return Partition(number, engine, START)
    log.error(
        "no snapshot to go on from, and the log has lost its beginning: fence states are learned anew",
        partition=number,
        before=offsets.trimmed_before,
    )
    now_us = offset_key(offsets.trimmed_before)[0] * 1000
    mine = [device for device in devices if device.number % settings.partitions == number]
    engine.announce([DeviceIdentity(device.number, device.tenant, device.device_id) for device in mine])
    for definition in definitions:
        _define(engine, definition, directory, settings, now_us)
    return Partition(number, engine, _just_before(offsets.trimmed_before))


def _from_snapshots(
    snapshots: Iterable[Snapshot], settings: EngineSettings, offsets: HistoryOffsets, marker: Marker
) -> tuple[Engine, str] | None:
    for snapshot in snapshots:
        if offset_key(snapshot.offset) > offset_key(offsets.log_offset):
            log.warning(
                "snapshot passed over: the history in SQL is older than it",
                partition=snapshot.partition,
                snapshot=snapshot.offset,
                history=offsets.log_offset,
            )
            continue
        if Marker.parse(snapshot.marker.encode()).key() > marker.key():
            log.warning(
                "snapshot passed over: Redis has lost events that were out when it was taken",
                partition=snapshot.partition,
                snapshot=snapshot.marker,
                redis=marker.encode(),
            )
            continue
        try:
            return Engine.restore(snapshot.state, settings), snapshot.offset
        except SnapshotError as error:
            log.warning("snapshot passed over", partition=snapshot.partition, reason=str(error))
    return None


def _define(
    engine: Engine, definition: Definition, directory: Directory, settings: EngineSettings, now_us: int
) -> None:
    device_number, other_number = 0, 0
    if definition.kind is not DefinitionKind.FENCE:
        device = directory.find(definition.tenant, definition.device_id)
        if device is None:
            return
        device_number = device.number
    if definition.kind is DefinitionKind.PROXIMITY:
        other = directory.find(definition.tenant, other_device_id(definition))
        if other is None:
            return
        other_number = other.number
    elif device_number % settings.partitions != settings.partition and definition.kind is not DefinitionKind.FENCE:
        return
    change = core_definition(change_of(definition, device_number, other_number))
    if change is not None:
        engine.define(change, now_us)


def _just_before(offset: str) -> str:
    milliseconds, number = offset_key(offset)
    return f"{milliseconds}-{number - 1}" if number else f"{milliseconds - 1}-{_LAST_NUMBER}"


def restore_all(
    settings: EngineSettings,
    folder: SnapshotFolder,
    offsets: Mapping[int, HistoryOffsets],
    markers: Mapping[int, Marker],
    directory: Directory,
    devices: Sequence[Device],
    definitions: Sequence[Definition],
) -> dict[int, Partition]:
    """All partitions of the installation."""
    return {
        number: restore(
            number,
            dataclasses.replace(settings, partition=number),
            folder,
            offsets[number],
            markers[number],
            directory,
            devices,
            definitions,
        )
        for number in range(settings.partitions)
    }
