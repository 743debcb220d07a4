"""Snapshots: what is refused, and what settings may change in between. (That a restart changes nothing is tested in
test_engine_against_oracle.py.)
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from geofence.definition import CircleShape, CorridorShape, CrossingRule, FenceDefinition, MultiPolygonShape
from tests.tracking_core.readings import SECOND_US, START_US, Position, Sample, TagRead, columns_of
from tracking_core.definitions import DeviceIdentity, PutFence, PutLimit, PutRoute, Route, RouteStop, SensorLimit
from tracking_core.engine import Engine
from tracking_core.settings import EngineSettings
from tracking_core.snapshot import SnapshotError

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
        (lambda s: s[:4] + struct.pack("<I", 99) + s[8:], "version 99, this engine reads version 1"),
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
