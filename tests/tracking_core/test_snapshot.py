"""Snapshots: what is refused, and what settings may change in between. (That a restart changes nothing is tested in
test_engine_against_oracle.py.)
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from geofence.definition import CircleShape, CorridorShape, CrossingRule, FenceDefinition, MultiPolygonShape
from tests.tracking_core.readings import HOUR_US, SECOND_US, START_US, Position, Sample, TagRead, columns_of
from tracking_core.columns import Readings
from tracking_core.definitions import (
    DeleteFence,
    DeviceIdentity,
    PutFence,
    PutLimit,
    PutRoute,
    Route,
    RouteStop,
    SensorLimit,
)
from tracking_core.engine import Engine
from tracking_core.events import Standing
from tracking_core.settings import EngineSettings
from tracking_core.snapshots.snapshot import SnapshotError
from tracking_core.verdicts import Verdict

SETTINGS = EngineSettings(partitions=2, partition=1)


def lived() -> Engine:
    """An engine with something in every table."""
    engine = Engine(SETTINGS)
    engine.announce([DeviceIdentity(n, "täglich", f"d{n}") for n in (1, 3, 9)])
    outer = np.array([(-1.0, -1.0), (2.0, -1.0), (2.0, 2.0), (-1.0, 2.0)])
    hole = outer * 0.1
    line = np.array([(0.0, 0.0), (1.0, 1.0), (1.0, 2.0)])
    rule = CrossingRule(2, 3, 5 * SECOND_US, 1.5, 20.0)
    for number, shape in enumerate(
        (MultiPolygonShape(((outer, hole), (outer + 5,))), CircleShape(0.5, 0.5, 99_000.5), CorridorShape(line, 50.0))
    ):
        engine.define(PutFence(FenceDefinition("täglich", f"f{number}", "F", shape, rule, 4, {"a": "b"})), START_US)
    engine.define(PutLimit(SensorLimit("täglich", "l", 3, 1, None, 5.0, 0.5, SECOND_US, 2)), START_US)
    stops = (RouteStop("s", 0.9, 0.9, 5, 6), RouteStop("t", 1.0, 2.0))
    engine.define(PutRoute(Route("täglich", "r", 3, stops, line, 12.5, 7)), START_US)
    rows = [Position(3, START_US + n * SECOND_US, 0.5 + n * 1e-4, 0.5 + n * 1e-4) for n in range(70)]
    rows += [Position(9, START_US, 3.0, 3.0), Position(9, START_US + SECOND_US, 80.0, 3.0)]
    rows += [Sample(3, START_US, 1, 9.0), Sample(3, START_US + SECOND_US, 1, 9.0), TagRead(1, START_US, b"\x01")]
    engine.step(columns_of([*rows, Position(3, START_US - 10**14, 1.0, 1.0)]), START_US + 100 * SECOND_US)
    return engine


def test_all_of_it_comes_back() -> None:
    engine = lived()
    restored = Engine.restore(engine.snapshot(), SETTINGS)
    assert restored.snapshot() == engine.snapshot()
    assert restored.inside(3) == engine.inside(3) == ["f0", "f1", "f2"]
    now_us = START_US + 70 * SECOND_US
    assert restored.eta("täglich", "r", now_us) == engine.eta("täglich", "r", now_us)
    for ours, theirs in zip(restored.latest(), engine.latest(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Both go on alike: the excursion closes, the tag departs, and an old version is still old.
    more = columns_of([Sample(3, START_US + 2 * SECOND_US, 1, 1.0)])
    later_us = START_US + 900 * SECOND_US
    assert restored.step(more, later_us).events == engine.step(more, later_us).events != ()
    old = PutLimit(SensorLimit("täglich", "l", 3, 1, None, 0.0, version=2))
    assert restored.define(old, later_us).events == ()


def test_an_empty_engine_comes_back() -> None:
    engine = Engine(SETTINGS)
    assert Engine.restore(engine.snapshot(), SETTINGS).snapshot() == engine.snapshot()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda s: s[:10], "at least"),
        (lambda s: b"NOPE" + s[4:], "begins with"),
        (lambda s: s[:4] + struct.pack("<I", 99) + s[8:], "version 99, this engine reads version 10"),
        (lambda s: s[:4] + struct.pack("<I", 2) + s[8:], "version 2, this engine reads version 10"),
        (lambda s: s[:-1], "torn"),
        (lambda s: s[:-1] + bytes([s[-1] ^ 1]), "torn"),
        (lambda s: s + b"\0", "torn"),
        (lambda s: s[:8] + struct.pack("<QI4x", 1, zlib.crc32(b"\xc0")) + b"\xc0", "not a state"),
    ],
)
def test_damaged_bytes_are_refused_in_one_line(spoil, why: str) -> None:
    with pytest.raises(SnapshotError, match=why) as refusal:
        Engine.restore(spoil(lived().snapshot()), SETTINGS)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("other", [EngineSettings(), EngineSettings(partitions=2, partition=0)])
def test_another_partition_s_snapshot_is_refused(other: EngineSettings) -> None:
    with pytest.raises(SnapshotError, match="partition 1 of 2"):
        Engine.restore(lived().snapshot(), other)


def test_smaller_rings_keep_the_newest() -> None:
    smaller = EngineSettings(partitions=2, partition=1, kept_fixes=8)
    restored = Engine.restore(lived().snapshot(), smaller)
    fixes = [Position(3, START_US + n * SECOND_US, 0.5 + n * 1e-4, 0.5 + n * 1e-4) for n in (61, 62, 69)]
    # The last eight of seventy: 62 to 69.
    assert restored.step(columns_of(fixes), START_US).position_verdicts.tolist() == [8, 2, 2]


def drive(first: int, end: int) -> Readings:
    """Device 3 goes north, a fix a second, and out of the fences of `lived` half way."""
    return columns_of([Position(3, START_US + n * SECOND_US, 0.5 + n * 1e-3, 0.5) for n in range(first, end)])


def test_repairs_begin_where_a_snapshot_without_them_was_taken() -> None:
    bare = EngineSettings(partitions=2, partition=1, repairs_late=False)
    before = Engine(bare)
    before.step(drive(0, 10), START_US)
    repairing = Engine.restore(before.snapshot(), SETTINGS)
    repairing.step(drive(12, 14), START_US)
    # Behind the snapshot it is put where it belongs, and knows from where the device came; before it, it is late.
    result = repairing.step(drive(10, 12), START_US)
    assert result.position_verdicts.tolist() == [Verdict.OK, Verdict.OK]
    np.testing.assert_allclose(result.speed_mps, [111.2, 111.2], rtol=1e-2)
    early = columns_of([Position(3, START_US + 5 * SECOND_US + 1, 0.5, 0.5)])
    assert repairing.step(early, START_US).position_verdicts.tolist() == [Verdict.LATE]
    # And back: what is repaired no more is late.
    again = Engine.restore(repairing.snapshot(), bare)
    assert again.latest().observed_at_us.tolist() == [START_US + 13 * SECOND_US]
    assert again.step(drive(13, 14), START_US).position_verdicts.tolist() == [Verdict.DUPLICATE]
    between = columns_of([Position(3, START_US + 12 * SECOND_US + 1, 0.512, 0.5)])
    assert again.step(between, START_US).position_verdicts.tolist() == [Verdict.LATE]


def test_smaller_rings_let_go_of_their_oldest_in_order() -> None:
    wide, narrow = (EngineSettings(partitions=2, partition=1, kept_fixes=kept) for kept in (64, 4))
    engine, always_narrow = Engine(wide), Engine(narrow)
    for each in (engine, always_narrow):
        each.announce([DeviceIdentity(3, "t", "d3")])
        each.define(PutFence(FenceDefinition("t", "f", "F", CircleShape(0.5, 0.52, 1000.0))), START_US)
        each.step(drive(0, 40), START_US)
    restored = Engine.restore(engine.snapshot(), narrow)
    late = columns_of([Position(3, START_US + 38 * SECOND_US + 1, 0.538, 0.5001), Position(3, START_US, 0.6, 0.5)])
    ours, theirs = (each.step(late, START_US) for each in (restored, always_narrow))
    assert ours.position_verdicts.tolist() == theirs.position_verdicts.tolist() == [Verdict.OK, Verdict.STALE]
    assert ours.events == theirs.events
    assert restored.snapshot() == always_narrow.snapshot()


def test_of_a_deleted_fence_nothing_is_kept() -> None:
    """Nor an entry that was withdrawn: it would stand for another fence in the place of this one."""
    engine = Engine(SETTINGS)
    engine.announce([DeviceIdentity(3, "t", "d3")])
    engine.define(PutFence(FenceDefinition("t", "gone", "F", CircleShape(0.5, 0.52, 1000.0))), START_US)
    now_us = START_US + 2 * HOUR_US
    engine.step(columns_of([Position(3, START_US, 0.0, 0.5), Position(3, START_US + HOUR_US, 0.52, 0.5)]), now_us)
    # The one that was inside is a jump from the late ones, and so was the first.
    late = [Position(3, START_US + HOUR_US - n * SECOND_US, 40.0, 0.5) for n in (3, 2, 1)]
    told = engine.step(columns_of([*late, Position(3, START_US + HOUR_US + SECOND_US, 40.0, 0.5)]), now_us).events
    assert [event.standing for event in told if event.subject_id] == [Standing.WITHDRAWN]
    engine.define(DeleteFence("t", "gone", 2), now_us)
    assert Engine.restore(engine.snapshot(), SETTINGS).snapshot() == engine.snapshot()
