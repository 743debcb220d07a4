"""Where a partition goes on: with the real engine, without servers."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from drover.geofence.v1.fence_pb2 import Circle, CrossingRule, Fence, Geometry
from drover.tracking.v1.definition_pb2 import Proximity
from runtime.partitioned_log import Entry
from services.tracking.directory import Directory
from services.tracking.event_sink import Marker
from services.tracking.model import Definition, DefinitionKind, Device
from services.tracking.repository import HistoryOffsets
from services.tracking.restore import restore
from services.tracking.snapshots import Snapshot, SnapshotFolder
from tests.services.tracking.build import SECOND, T0, positions, readings
from tracking_core.block import EntryKind, pack
from tracking_core.definitions import DeviceIdentity
from tracking_core.engine import Engine
from tracking_core.pairs.companions import unpack_companions
from tracking_core.settings import EngineSettings

SETTINGS = EngineSettings(partitions=2, partition=0, follows_journeys=False)
TRUCK, VAN = Device(0, "acme", "truck", ""), Device(1, "acme", "van", "")
YARD = Fence(
    fence_id="yard", tenant="acme", name="Yard", version=3,
    geometry=Geometry(circle=Circle(longitude_deg=11.0, latitude_deg=48.0, radius_m=500.0)),
    crossing=CrossingRule(enter_fixes=1, exit_fixes=1),
)  # fmt: skip
FENCE = Definition(DefinitionKind.FENCE, "acme", "yard", 3, deleted=False, device_id="", body=YARD.SerializeToString())

BOTH = Proximity(
    proximity_id="near", tenant="acme", device_id="van", other_device_id="truck", distance_m=50.0, version=2
)  # fmt: skip
NEAR = Definition(
    DefinitionKind.PROXIMITY, "acme", "near", 2, deleted=False, device_id="van", body=BOTH.SerializeToString()
)


def go_on(folder: pathlib.Path, log_offset: str, trimmed_before: str = "0-0", marker: str = ""):
    return restore(
        0,
        SETTINGS,
        SnapshotFolder(folder),
        HistoryOffsets(log_offset, trimmed_before),
        Marker.parse(marker.encode()),
        Directory([TRUCK, VAN]),
        [TRUCK, VAN],
        [FENCE, NEAR],
    )


def state(number_of_fixes: int) -> bytes:
    engine = Engine(SETTINGS)
    engine.announce([DeviceIdentity(0, "acme", "truck")])
    for second in range(number_of_fixes):
        engine.step(readings(positions({"observed_at_us": T0 + second * SECOND})), T0 + second * SECOND)
    return engine.snapshot()


def test_the_newest_snapshot_that_history_has_reached(tmp_path: pathlib.Path):
    folder = SnapshotFolder(tmp_path)
    folder.write(Snapshot(0, "5-0", "", state(1)))
    folder.write(Snapshot(0, "9-0", "", state(2)))
    assert go_on(tmp_path, "9-0").offset == "9-0"
    assert go_on(tmp_path, "12-0").engine.latest().observed_at_us.tolist() == [T0 + SECOND]
    older = go_on(tmp_path, "7-0")
    assert (older.offset, older.engine.latest().observed_at_us.tolist()) == ("5-0", [T0])
    assert go_on(tmp_path, "3-0").offset == "0-0"


def test_a_snapshot_that_redis_has_fallen_behind_is_passed_over(tmp_path: pathlib.Path):
    folder = SnapshotFolder(tmp_path)
    folder.write(Snapshot(0, "5-0", "4-0/2", state(1)))
    folder.write(Snapshot(0, "9-0", "8-0/1", state(2)))
    assert go_on(tmp_path, "9-0", marker="8-0/1").offset == "9-0"
    assert go_on(tmp_path, "9-0", marker="7-0/9").offset == "5-0"
    assert go_on(tmp_path, "9-0", marker="4-0/1").offset == "0-0"


@pytest.mark.parametrize("bad", [b"nonsense", state(1)[:-3]])
def test_a_state_the_engine_refuses_falls_back(tmp_path: pathlib.Path, bad: bytes):
    folder = SnapshotFolder(tmp_path)
    folder.write(Snapshot(0, "5-0", "", state(1)))
    folder.write(Snapshot(0, "9-0", "", bad))
    assert go_on(tmp_path, "9-0").offset == "5-0"


def test_of_another_partition_it_is_refused(tmp_path: pathlib.Path):
    other = Engine(dataclasses.replace(SETTINGS, partition=1))
    SnapshotFolder(tmp_path).write(Snapshot(0, "5-0", "", other.snapshot()))
    assert go_on(tmp_path, "9-0").offset == "0-0"


def test_without_snapshot_and_with_a_trimmed_log_sql_tells_what_holds(tmp_path: pathlib.Path):
    at = f"{T0 // 1000}-0"
    partition = go_on(tmp_path, at, at)
    assert partition.offset == f"{T0 // 1000 - 1}-{2**64 - 1}"
    far, near = {"latitude_deg": 48.1, "longitude_deg": 11.0}, {"latitude_deg": 48.0, "longitude_deg": 11.0}
    fixes = positions({"observed_at_us": T0, **far}, {"observed_at_us": T0 + 600 * SECOND, **near})
    entry = Entry(0, f"{T0 // 1000 + 600_000}-0", T0 + 600 * SECOND, EntryKind.READINGS, pack(readings(fixes)))
    folded = partition.fold(entry)
    (event,) = folded.events
    assert (event.core.kind.value, event.core.subject_version) == ("geofence_entered", 3)
    # The truck is watched for a pair that lives where the van is.
    (told,) = folded.companions
    assert (told.partition, told.kind, len(unpack_companions(told.payload).device)) == (1, EntryKind.COMPANION, 2)
    assert go_on(tmp_path, at, "17-4").offset == "17-3"
