"""Fixes that are sent again under another time: one sequence, one content. (test_late_data.py shuffles them.)"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofence.definition import CircleShape, FenceDefinition
from tests.tracking_core.naive import NaiveEngine, content_number
from tests.tracking_core.readings import HOUR_US, MINUTE_US, SECOND_US, START_US, Position, columns_of
from tracking_core.columns import NO_SEQUENCE
from tracking_core.definitions import DeviceIdentity, PutFence
from tracking_core.engine import Engine
from tracking_core.events import EventKind, Standing
from tracking_core.fixes.repeats import NO_MARK, sequence_mark
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

NOW_US = START_US + HOUR_US
OK, REPEATED = Verdict.OK, Verdict.REPEATED


def at(seconds: float, sequence: int = 7, north_deg: float = 0.0, **rest) -> Position:
    return Position(0, START_US + int(seconds * SECOND_US), 50.0 + north_deg, 8.0, sequence=sequence, **rest)


def final(*fixes: Position, engine: Engine | None = None, rules: EngineSettings | None = None) -> list[Verdict]:
    """The verdict on each fix after all came, one by one. No two may have one time."""
    engine = engine or Engine(rules or EngineSettings())
    found: dict[int, int] = {}
    for fix in fixes:
        result = engine.step(columns_of([fix]), NOW_US)
        found[fix.observed_at_us] = int(result.position_verdicts[0])
        changes = result.verdict_changes
        for at_us, before, after in zip(changes.observed_at_us, changes.before, changes.after, strict=True):
            assert found[int(at_us)] == before
            found[int(at_us)] = int(after)
    return [Verdict(found[fix.observed_at_us]) for fix in fixes]


@pytest.mark.parametrize(
    ("fixes", "expected"),
    [
        ((at(0), at(120)), [OK, REPEATED]),
        ((at(0), at(120.000001)), [OK, OK]),
        ((at(0), at(10, 8)), [OK, OK]),
        ((at(0), at(10, north_deg=1e-7)), [OK, OK]),
        ((at(0), at(10, satellites=9)), [OK, OK]),
        ((at(0, NO_SEQUENCE), at(10, NO_SEQUENCE)), [OK, OK]),
        ((at(0, 0), at(10, 0)), [OK, REPEATED]),
        ((at(0, 0), at(10, NO_SEQUENCE)), [OK, OK]),
        # Others may lie between, and the number may be large.
        ((at(0, 2**40), at(5, 2**40 + 1), at(10, 2**40)), [OK, OK, REPEATED]),
        # A chain: all are repetitions of the first.
        ((at(0), at(100), at(200), at(300)), [OK, REPEATED, REPEATED, REPEATED]),
        # What is no fix by itself stays that.
        ((at(0, satellites=0), at(10, satellites=0)), [Verdict.NO_FIX] * 2),
        ((at(0, accuracy_m=2000.0), at(10, accuracy_m=2000.0)), [Verdict.IMPRECISE] * 2),
        ((at(0, speed_mps=-1.0), at(10, speed_mps=-1.0)), [Verdict.OUT_OF_RANGE] * 2),
        # A jump that is sent again is not yet believed.
        ((at(0, 1), at(10, 2, 1.0), at(20, 2, 1.0), at(30, 3)), [OK, Verdict.IMPLAUSIBLE_JUMP, REPEATED, OK]),
    ],
)
def test_what_counts_does_not_depend_on_the_order_of_arrival(
    fixes: tuple[Position, ...], expected: list[Verdict]
) -> None:
    verdicts = dict(zip(fixes, expected, strict=True))
    for arriving in itertools.permutations(fixes):
        assert final(*arriving) == [verdicts[fix] for fix in arriving]


def test_a_parked_device_that_counts_on_repeats_nothing() -> None:
    assert final(*(at(n * 10, n) for n in range(40))) == [OK] * 40


def test_none_is_looked_for_without_a_bound_or_without_repairs() -> None:
    for rules in (EngineSettings(repeated_within_us=0), EngineSettings(repairs_late=False)):
        assert final(at(0), at(10), rules=rules) == [OK, OK]
    with pytest.raises(ValueError, match="repeated_within_us must not be below 0, but is -1"):
        EngineSettings(repeated_within_us=-1)


def test_a_repetition_stays_one_when_the_timeline_forgets_what_it_repeats() -> None:
    engine = Engine(EngineSettings(kept_fixes=3))
    assert final(at(0), at(20), engine=engine) == [OK, REPEATED]
    assert final(at(30, 8), at(40, 9), engine=engine) == [OK, OK]  # the first is let go of
    result = engine.step(columns_of([at(25, 10, 1e-4)]), NOW_US)  # and the device folded again
    assert (result.position_verdicts.tolist(), len(result.verdict_changes.device)) == ([OK], 0)


def test_the_one_that_came_first_stops_to_count_when_an_older_one_comes() -> None:
    engine = Engine(EngineSettings())
    engine.announce([DeviceIdentity(0, "t", "d")])
    engine.define(PutFence(FenceDefinition("t", "f", "F", CircleShape(8.0, 50.01, 200.0))), START_US)
    outside, inside = at(0, 1), at(60, 2, 0.01)
    entered = engine.step(columns_of([outside, inside]), NOW_US).events
    assert [event.kind for event in entered if event.subject_id] == [EventKind.GEOFENCE_ENTERED]
    result = engine.step(columns_of([dataclasses.replace(inside, observed_at_us=START_US + 30 * SECOND_US)]), NOW_US)
    assert result.position_verdicts.tolist() == [OK]
    changes = result.verdict_changes
    assert changes.content.tolist() == [content_number(inside)]
    assert [column.tolist() for column in changes[:2]] == [[0], [inside.observed_at_us]]
    assert [column.tolist() for column in changes[3:]] == [[50.01], [8.0], [OK], [REPEATED]]
    assert result.live.observed_at_us.tolist() == [START_US + 30 * SECOND_US]
    (amended,) = (event for event in result.events if event.subject_id)
    assert (amended.kind, amended.standing) == (EventKind.GEOFENCE_ENTERED, Standing.AMENDED)
    assert amended.observed_at_us < next(event for event in entered if event.subject_id).observed_at_us


def test_it_does_not_keep_a_signal_alive() -> None:
    """Who repeats what he said does not say where he is now."""
    engine = Engine(EngineSettings(signal_lost_after_us=MINUTE_US))
    engine.announce([DeviceIdentity(0, "t", "d")])
    engine.step(columns_of([at(0), at(50)]), START_US + 50 * SECOND_US)
    lost = engine.tick(START_US + 111 * SECOND_US).events
    assert [(event.kind, event.observed_at_us) for event in lost] == [(EventKind.SIGNAL_LOST, START_US + MINUTE_US)]


def test_a_restart_remembers_the_sequences() -> None:
    engine = Engine(EngineSettings())
    engine.announce([DeviceIdentity(0, "t", "d")])
    assert final(at(0), at(5, 8), engine=engine) == [OK, OK]
    restored = Engine.restore(engine.snapshot(), EngineSettings())
    again = columns_of([at(10), at(15, 8), at(20, 9)])
    assert restored.step(again, NOW_US).position_verdicts.tolist() == [REPEATED, REPEATED, OK]
    engine.step(again, NOW_US)
    # The oldest arrives last.
    oldest = columns_of([at(-30)])
    ours, theirs = (each.step(oldest, NOW_US).verdict_changes.after.tolist() for each in (restored, engine))
    assert ours == theirs == [REPEATED]
    assert restored.snapshot() == engine.snapshot()


def test_history_that_is_sent_again_waits_once() -> None:
    engine = Engine(EngineSettings())
    early, late = (at(seconds, north_deg=1e-4, is_historical=True) for seconds in (20, 40))
    assert final(at(0, 1), late, early, engine=engine) == [OK, REPEATED, Verdict.HISTORICAL]
    assert final(at(30, north_deg=1e-4), engine=engine) == [REPEATED]  # and wakes nothing
    assert engine.latest().observed_at_us.tolist() == [START_US]
    changes = engine.step(columns_of([at(60, 8)]), NOW_US).verdict_changes
    assert [column.tolist() for column in changes[5:]] == [[Verdict.HISTORICAL], [OK]]
    assert changes.observed_at_us.tolist() == [early.observed_at_us]


def test_of_the_history_of_one_time_another_waits_when_the_first_turns_out_to_be_a_repetition() -> None:
    two = [at(40, north_deg=1e-4, is_historical=True, accuracy_m=accuracy_m) for accuracy_m in (5.0, 6.0)]
    first, second = sorted(two, key=content_number)
    engine = Engine(EngineSettings())
    waiting = engine.step(columns_of([at(0, 1), first, second]), NOW_US)
    assert waiting.position_verdicts.tolist() == [OK, Verdict.HISTORICAL, Verdict.CONFLICTING]
    again = dataclasses.replace(first, observed_at_us=START_US + 20 * SECOND_US)
    changes = engine.step(columns_of([again]), NOW_US).verdict_changes
    assert changes.before.tolist() == [Verdict.HISTORICAL, Verdict.CONFLICTING]
    assert changes.after.tolist() == [REPEATED, Verdict.HISTORICAL]


def test_history_that_a_repetition_woke_goes_on_counting() -> None:
    engine = Engine(EngineSettings())
    history = at(50, 8, 1e-4, is_historical=True)
    assert final(at(0, 6), at(60), history, at(30), engine=engine) == [OK, REPEATED, OK, OK]
    assert engine.latest().observed_at_us.tolist() == [history.observed_at_us]


counting = st.tuples(
    st.sampled_from([1, 1, 1, 1, 2, 64, 65, 0, -1, -2, 16_380, 16_381]),
    st.sampled_from([5, 5, 5, 10, -12]),
    st.sampled_from([0.0, 0.0, 1e-4]),
    st.sampled_from([-1, -1, -1, -1, -1, 0, 7]),
)
"""By how much the number goes up (-2: there is none), and time goes on; where, and with how many satellites."""


@pytest.mark.compiled
@settings(max_examples=150, deadline=None)
@given(st.lists(counting, max_size=60), st.sampled_from([3, 8, 64]))
@example([(1, 1, 0.0, -1)] * 300 + [(-1, 1, 0.0, -1)] * 2, 64)
@example([(64, 1, 0.0, -1)] * 256 + [(61, 1, 0.0, -1)], 300)
def test_a_number_that_is_known_to_be_new_is_new(steps: list[tuple[int, int, float, int]], kept_fixes: int) -> None:
    rules = EngineSettings(repeated_within_us=400 * SECOND_US, kept_fixes=kept_fixes)
    fixes, sequence, seconds = [], 200, 0
    for step, later_s, north_deg, satellites in steps:
        sequence += max(step, -1)
        seconds += later_s
        number = NO_SEQUENCE if step == -2 else sequence
        fixes.append(at(seconds, number, north_deg, satellites=satellites))
        seconds += max(0, -2 * later_s)
    oracle = NaiveEngine(rules)
    expected = [int(oracle.read(fix, NOW_US)[0]) for fix in fixes]
    assert Engine(rules).step(columns_of(fixes), NOW_US).position_verdicts.tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(1, 16_380))
def test_numbers_that_follow_each_other_have_marks_of_their_own(sequence: int, further: int) -> None:
    marks = [sequence_mark(int(np.int64(sequence))), sequence_mark((sequence + further) % 2**63)]
    assert NO_MARK not in marks
    assert all(0 < mark < 2**14 for mark in marks)
    if sequence + further < 2**63:
        assert marks[0] != marks[1]
