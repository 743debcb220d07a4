"""A recorded morning of ships through the engine and through the oracle."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import itertools
import pathlib
from collections import Counter

import numpy as np
import pytest

from geofence.definition import CircleShape, FenceDefinition, MultiPolygonShape
from tests.tracking_core import naive
from tests.tracking_core.readings import NAN, Position, columns_of
from tracking_core.definitions import DeviceIdentity, PutFence
from tracking_core.engine import Engine
from tracking_core.events import CoreEvent, Standing
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

ROWS = 30_000
REPLAYED_AT_US = 1_700_000_000_000_000
# Longitude and latitude of harbours where ships move.
HARBOURS = {
    "los-angeles": (-118.24, 33.74), "new-orleans": (-90.05, 29.94), "houston": (-95.00, 29.70),
    "miami": (-80.15, 25.77), "seattle": (-122.36, 47.60), "new-york": (-74.05, 40.67), "norfolk": (-76.32, 36.92),
    "san-francisco": (-122.36, 37.81), "port-arthur": (-93.93, 29.85), "galveston": (-94.77, 29.33),
}  # fmt: skip


def fences() -> list[FenceDefinition]:
    made = []
    for name, (x, y) in HARBOURS.items():
        for size in (0.02, 0.05, 0.1, 0.2):
            ring = np.array([(x - size, y - size), (x + size, y - size), (x + size, y + size), (x - size, y + size)])
            shape = MultiPolygonShape(((ring,),))
            made.append(FenceDefinition("sea", f"{name}-{size}", name, shape))
        made.append(FenceDefinition("sea", f"{name}-round", name, CircleShape(x, y, 2500.0)))
    return made


@pytest.fixture(scope="module")
def morning(drover_data: pathlib.Path) -> list[Position]:
    numbers: dict[str, int] = {}
    fixes = []
    with gzip.open(drover_data / "ais_us_2022-01-03.csv.gz", "rt", newline="") as file:
        for row in itertools.islice(csv.DictReader(file), ROWS):
            moment = dt.datetime.fromisoformat(row["BaseDateTime"]).replace(tzinfo=dt.UTC)
            knots, course_deg = float(row["SOG"]), float(row["COG"])
            fixes.append(
                Position(
                    numbers.setdefault(row["MMSI"], len(numbers)),
                    int(moment.timestamp()) * 1_000_000,
                    float(row["LAT"]),
                    float(row["LON"]),
                    speed_mps=knots * 1852 / 3600 if knots < 102.3 else NAN,
                    heading_deg=course_deg if course_deg < 360 else NAN,
                    received_at_us=REPLAYED_AT_US,
                )
            )
    return fixes


@pytest.fixture(scope="module")
def expected(morning: list[Position]) -> list[CoreEvent]:
    """What the oracle says of the ships in the order of time."""
    ordered = sorted(morning, key=lambda fix: fix.observed_at_us)
    return [naive.meaning(event) for event in naive.standing(naive.events_of(ordered, fences()))]


def fold(fixes: list[Position], batch: int) -> tuple[list[CoreEvent], list[int]]:
    engine = Engine(EngineSettings())
    engine.announce([DeviceIdentity(n, "sea", f"device-{n}") for n in {fix.device for fix in fixes}])
    for fence in fences():
        engine.define(PutFence(fence), 0)
    events, verdicts = [], []
    for start in range(0, len(fixes), batch):
        result = engine.step(columns_of(fixes[start : start + batch]), REPLAYED_AT_US)
        events += result.events
        verdicts += result.position_verdicts.tolist()
    return events, verdicts


@pytest.mark.compiled
def test_the_ships_do_what_the_oracle_says(morning: list[Position], expected: list[CoreEvent]) -> None:
    """As recorded: not quite in order of time, one fix in twenty is late."""
    events, verdicts = fold(morning, 1777)
    assert naive.differences(expected, [naive.meaning(event) for event in naive.standing(events)]) == []
    assert len(expected) > 40
    assert verdicts.count(Verdict.OK) > 0.98 * len(morning)
    assert verdicts.count(Verdict.LATE) == 0
    assert len({event.event_id for event in events}) == len(events)


@pytest.mark.compiled
def test_the_ships_do_the_same_in_any_order(morning: list[Position], expected: list[CoreEvent]) -> None:
    """Each ship's fixes shuffled among as many as are kept of it."""
    random = np.random.default_rng(5)
    seen: Counter[int] = Counter()
    keyed = []
    for fix in sorted(morning, key=lambda fix: fix.observed_at_us):
        keyed.append((seen[fix.device] // EngineSettings().kept_fixes, random.random(), fix))
        seen[fix.device] += 1
    shuffled = [fix for *_, fix in sorted(keyed, key=lambda key: key[:2])]
    events, verdicts = fold(shuffled, 501)
    assert naive.differences(expected, [naive.meaning(event) for event in naive.standing(events)]) == []
    assert verdicts.count(Verdict.LATE) == verdicts.count(Verdict.STALE) == 0
    assert Counter(event.standing for event in events)[Standing.AMENDED] > 10
    assert len({event.event_id for event in events}) == len(events)
