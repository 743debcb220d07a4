"""Verdicts on fixes, one rule at a time; speed, heading and what the live map is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.tracking_core.readings import (
    HOUR_US,
    MINUTE_US,
    NAN,
    SECOND_US,
    START_US,
    Position,
    columns_of,
)
from tracking_core.columns import NO_TIME
from tracking_core.definitions import DeviceIdentity
from tracking_core.device_table import WrongPartitionError
from tracking_core.engine import Engine
from tracking_core.settings import EngineSettings
from tracking_core.step_result import StepResult
from tracking_core.verdicts import Verdict

NOW_US = START_US + 10 * HOUR_US
METRE_DEG = 1.0 / 111_195.0


def at(seconds: float, north_m: float = 0.0, **rest) -> Position:
    return Position(0, START_US + int(seconds * SECOND_US), 50.0 + north_m * METRE_DEG, 8.0, **rest)


def step(*rows: Position, engine: Engine | None = None, now_us: int = NOW_US) -> StepResult:
    return (engine or Engine(EngineSettings())).step(columns_of(rows), now_us)


def verdicts(*rows: Position, **rest) -> list[Verdict]:
    return [Verdict(number) for number in step(*rows, **rest).position_verdicts.tolist()]


OK, JUMP, LATE = Verdict.OK, Verdict.IMPLAUSIBLE_JUMP, Verdict.LATE


def test_an_ordinary_drive_counts() -> None:
    assert verdicts(*(at(n * 10, n * 200) for n in range(20))) == [OK] * 20


@pytest.mark.parametrize(
    ("fix", "verdict"),
    [
        (at(0, satellites=0), Verdict.NO_FIX),
        (Position(0, START_US, 0.0, 0.0), Verdict.NO_FIX),
        (Position(0, START_US, -0.0, 0.0), Verdict.NO_FIX),
        (Position(0, START_US, 0.0, 1e-9), OK),
        (Position(0, START_US, NAN, 8.0), Verdict.OUT_OF_RANGE),
        (Position(0, START_US, 50.0, NAN), Verdict.OUT_OF_RANGE),
        (Position(0, START_US, math.inf, 8.0), Verdict.OUT_OF_RANGE),
        (Position(0, START_US, 90.0, -180.0), OK),
        (Position(0, START_US, 90.0000001, 8.0), Verdict.OUT_OF_RANGE),
        (Position(0, START_US, 50.0, 180.0000001), Verdict.OUT_OF_RANGE),
        (at(0, speed_mps=-0.1), Verdict.OUT_OF_RANGE),
        (at(0, speed_mps=151.0), Verdict.OUT_OF_RANGE),
        (at(0, speed_mps=math.inf), Verdict.OUT_OF_RANGE),
        (at(0, heading_deg=360.0), OK),
        (at(0, heading_deg=360.1), Verdict.OUT_OF_RANGE),
        (at(0, heading_deg=-1.0), Verdict.OUT_OF_RANGE),
        (at(0, accuracy_m=1000.0), OK),
        (at(0, accuracy_m=1001.0), Verdict.IMPRECISE),
        (at(0, accuracy_m=NAN), OK),
        (at(0, accuracy_m=-5.0), OK),
        (Position(0, NOW_US + 5 * MINUTE_US, 50.0, 8.0), OK),
        (Position(0, NOW_US + 5 * MINUTE_US + 1, 50.0, 8.0), Verdict.FUTURE_CLOCK),
        (Position(0, 0, 50.0, 8.0), Verdict.STALE),
        (Position(0, NO_TIME, 50.0, 8.0), Verdict.STALE),
        (Position(0, 2**63 - 1, 50.0, 8.0), Verdict.FUTURE_CLOCK),
    ],
)
def test_each_rule(fix: Position, verdict: Verdict) -> None:
    assert verdicts(fix) == [verdict]
    # Whatever it is, its exact repetition is a duplicate, and a good fix after it counts.
    assert verdicts(fix, fix) == [verdict, Verdict.DUPLICATE]
    if verdict != OK:
        assert verdicts(fix, at(60)) == [verdict, OK]


def test_a_repetition_may_have_another_number_and_another_way() -> None:
    first = at(0, sequence=5, sent_at_us=1, received_at_us=2)
    assert verdicts(first, at(0, sequence=6, sent_at_us=3, received_at_us=4)) == [OK, Verdict.DUPLICATE]


def test_a_repetition_is_known_at_any_age_in_the_timeline() -> None:
    fixes = [at(n) for n in range(64)]
    assert verdicts(*fixes, *fixes) == [OK] * 64 + [Verdict.DUPLICATE] * 64
    # One more, and the oldest is forgotten: from then on it is too old to say what it was.
    assert verdicts(*fixes, at(64), fixes[0], fixes[1]) == [OK] * 65 + [Verdict.STALE, Verdict.DUPLICATE]


def test_late_and_stale() -> None:
    day_s = 24 * 3600
    engine = Engine(EngineSettings())
    assert verdicts(at(day_s), engine=engine, now_us=NOW_US + 24 * HOUR_US) == [OK]
    assert verdicts(at(5), at(0), at(-1), at(-1), at(0), engine=engine) == [
        OK,
        OK,
        Verdict.STALE,
        Verdict.DUPLICATE,
        Verdict.DUPLICATE,
    ]
    # A late fix does not move the device back.
    assert engine.latest().observed_at_us.tolist() == [START_US + day_s * SECOND_US]


def test_without_repairs_a_late_fix_changes_nothing() -> None:
    engine = Engine(EngineSettings(repairs_late=False))
    result = step(at(10), at(5), at(10, 5), at(5), at(5, 5), at(20), engine=engine)
    expected = [OK, LATE, Verdict.CONFLICTING, Verdict.DUPLICATE, Verdict.CONFLICTING, OK]
    assert result.position_verdicts.tolist() == expected
    assert len(result.verdict_changes.device) == 0
    assert result.live.observed_at_us.tolist() == [START_US + 20 * SECOND_US]


def test_of_two_fixes_with_one_time_the_same_one_counts_whichever_came_first() -> None:
    one, other = at(0), at(0, 5)
    there, back = step(one, other, other, one), step(other, one, one, other)
    repeated = [Verdict.DUPLICATE, Verdict.DUPLICATE]
    assert {tuple(result.position_verdicts.tolist()) for result in (there, back)} == {
        (OK, Verdict.CONFLICTING, *repeated),
        (OK, OK, *repeated),
    }
    (changed,) = (result.verdict_changes for result in (there, back) if len(result.verdict_changes.device))
    assert (changed.before.tolist(), changed.after.tolist()) == ([OK], [Verdict.CONFLICTING])
    assert there.live.latitude_deg.tolist() == back.live.latitude_deg.tolist() != changed.latitude_deg.tolist()


def test_a_fix_without_a_place_does_not_contradict_one_with() -> None:
    assert verdicts(at(0, satellites=0), at(0, 5)) == [Verdict.NO_FIX, OK]
    assert verdicts(at(0), at(0, 5, accuracy_m=5000.0)) == [OK, Verdict.IMPRECISE]


def test_an_earlier_neighbour_changes_verdicts() -> None:
    engine = Engine(EngineSettings())
    assert verdicts(at(0, 50_000), at(10), at(20, 100), engine=engine) == [OK, JUMP, OK]
    # Where it really was before: now the far one is the jump.
    result = step(at(-10), engine=engine)
    assert result.position_verdicts.tolist() == [OK]
    assert result.verdict_changes.device.tolist() == [0, 0]
    assert result.verdict_changes.observed_at_us.tolist() == [START_US, START_US + 10 * SECOND_US]
    assert result.verdict_changes.before.tolist() == [OK, JUMP]
    assert result.verdict_changes.after.tolist() == [JUMP, OK]


def test_the_newest_fix_may_turn_out_to_be_wrong() -> None:
    engine = Engine(EngineSettings())
    assert verdicts(at(20, 50_000), engine=engine) == [OK]
    result = step(at(10), engine=engine)
    assert result.position_verdicts.tolist() == [OK]
    assert result.verdict_changes.after.tolist() == [JUMP]
    assert result.live.observed_at_us.tolist() == [START_US + 10 * SECOND_US]
    assert engine.latest().latitude_deg.tolist() == [50.0]


def test_one_bad_fix_costs_one_fix() -> None:
    assert verdicts(at(0), at(10, 50_000), at(20, 100), at(30, 200)) == [OK, JUMP, OK, OK]


def test_a_bad_first_fix_costs_one_more() -> None:
    assert verdicts(at(0, 50_000), at(10), at(20, 100), at(30, 200)) == [OK, JUMP, OK, OK]


def test_two_bad_fixes_that_disagree_cost_two() -> None:
    assert verdicts(at(0), at(10, 50_000), at(20, -50_000), at(30, 300)) == [OK, JUMP, JUMP, OK]


def test_a_device_that_was_carried_goes_on_where_it_is() -> None:
    result = step(at(0), at(10, 50_000), at(20, 50_100), at(30, 50_200))
    assert result.position_verdicts.tolist() == [OK, JUMP, OK, OK]
    # Nothing is derived from the fix that turned out to be wrong.
    np.testing.assert_allclose(result.speed_mps, [NAN, NAN, NAN, 10.0], rtol=1e-2)


def test_time_makes_far_places_reachable() -> None:
    assert verdicts(at(0), at(10, 1_698)) == [OK, OK]
    assert verdicts(at(0), at(10, 1_702)) == [OK, JUMP]
    assert verdicts(at(0), at(10, 1_750, accuracy_m=60.0)) == [OK, OK]
    assert verdicts(at(0), at(340, 50_000)) == [OK, OK]


def test_a_jump_along_the_antimeridian_is_none() -> None:
    west, east = Position(0, START_US, 0.5, 179.9999), Position(0, START_US + SECOND_US, 0.5, -179.9999)
    assert verdicts(west, east) == [OK, OK]


def test_speed_and_heading_are_derived_only_where_missing() -> None:
    rows = [
        at(0),
        at(10, 100),
        at(20, 200, speed_mps=3.0, heading_deg=45.0),
        at(30, 300, speed_mps=0.0),
        at(40, 301),
        at(40 + 15 * 60 + 1, 400),
    ]
    result = step(*rows)
    np.testing.assert_allclose(result.speed_mps, [NAN, 10.0, 3.0, 0.0, 0.1, NAN], rtol=5e-3)
    # Due north; as measured; due north; too short a way, so as before; too long ago.
    np.testing.assert_allclose(result.heading_deg, [NAN, 0.0, 45.0, 0.0, 0.0, NAN], atol=1e-3)


def test_fixes_that_do_not_count_keep_what_they_measured() -> None:
    result = step(at(0), at(10, 50_000, speed_mps=7.0, heading_deg=9.0))
    assert (result.speed_mps[1], result.heading_deg[1]) == (7.0, 9.0)


def test_live_positions_are_the_newest_that_count() -> None:
    rows = [at(0), at(10, 100), at(20, 50_000), Position(3, START_US, 1.0, 1.0, accuracy_m=4.0), at(5)]
    live = step(*rows).live
    # The last is late: it tells how fast the device was, not where it is.
    assert live.device.tolist() == [3, 0]
    assert live.observed_at_us.tolist() == [START_US, START_US + 10 * SECOND_US]
    np.testing.assert_allclose(live.speed_mps, [NAN, 20.0], rtol=5e-3)
    np.testing.assert_allclose(live.accuracy_m, [4.0, NAN])
    assert len(step(at(0, satellites=0)).live.device) == 0


def test_latest_names_only_devices_with_a_fix() -> None:
    engine = Engine(EngineSettings(partitions=4, partition=3))
    rows = [Position(n, START_US, 1.0, 1.0, satellites=s) for n, s in ((11, 5), (3, 5), (7, 0))]
    step(*rows, engine=engine)
    assert engine.latest().device.tolist() == [3, 11]
    assert engine.latest(np.array([11, 7, 15], np.uint32)).device.tolist() == [11]


def test_a_device_of_another_partition_is_a_mistake_of_ours() -> None:
    engine = Engine(EngineSettings(partitions=4, partition=3))
    before = engine.snapshot()
    with pytest.raises(WrongPartitionError, match="device 4 is of partition 0"):
        step(Position(3, START_US, 1.0, 1.0), Position(4, START_US, 1.0, 1.0), engine=engine)
    with pytest.raises(WrongPartitionError):
        engine.announce([DeviceIdentity(5, "t", "d")])
    assert Engine.restore(before, engine.settings).latest().device.tolist() == []


def test_the_log_s_clock_never_runs_back() -> None:
    engine = Engine(EngineSettings())
    engine.tick(NOW_US)
    fix = Position(0, NOW_US, 50.0, 8.0)
    assert verdicts(fix, engine=engine, now_us=0) == [OK]


def test_columns_of_any_layout_are_let_in() -> None:
    rows = columns_of([at(0), at(0), at(10), at(10)])
    strided = np.repeat(rows.positions.observed_at_us, 2)[::2]
    unaligned = np.frombuffer(b"\0" + rows.positions.latitude_deg.tobytes(), np.uint8)[1:].view(np.float64)
    assert not strided.flags.c_contiguous
    assert not unaligned.flags.aligned
    positions = rows.positions._replace(observed_at_us=strided, latitude_deg=unaligned)
    result = Engine(EngineSettings()).step(rows._replace(positions=positions), NOW_US)
    assert result.position_verdicts.tolist() == [OK, Verdict.DUPLICATE, OK, Verdict.DUPLICATE]


def test_columns_of_unequal_length_are_refused() -> None:
    rows = columns_of([at(0), at(10)])
    with pytest.raises(ValueError, match="shape"):
        Engine(EngineSettings()).step(rows._replace(positions=rows.positions._replace(satellites=np.zeros(1, "i4"))), 0)


@pytest.mark.parametrize(
    "wrong", [{"partitions": 0}, {"partition": 1}, {"kept_fixes": 0}, {"tag_silence_us": 0}, {"highest_speed_mps": NAN}]
)
def test_settings_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"must be|does not exist"):
        EngineSettings(**wrong)
