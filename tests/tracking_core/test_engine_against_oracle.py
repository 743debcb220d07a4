"""The engine says what the oracle says, however the readings are cut into batches, and after any restart."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking_core import naive
from tests.tracking_core.fleets import IDENTITIES, SETTINGS, definitions, entries, positions, wander
from tests.tracking_core.readings import START_US, Position, Sample, TagRead, columns_of
from tracking_core.definitions import PutFence
from tracking_core.engine import Engine
from tracking_core.events import Cause, CoreEvent, EventKind
from tracking_core.step_result import StepResult
from tracking_core.verdicts import Verdict

KINDS = (Position, Sample, TagRead)


def in_order(rows: list[Any]) -> list[Any]:
    """As a batch holds them: positions, samples, tag reads."""
    return [row for kind in KINDS for row in rows if isinstance(row, kind)]


def verdicts_of(result: StepResult) -> list[int]:
    return [*result.position_verdicts.tolist(), *result.sensor_verdicts.tolist(), *result.tag_verdicts.tolist()]


def fold(engine: Engine, log: list[tuple[int, Any]]) -> tuple[list[CoreEvent], list[int]]:
    events: list[CoreEvent] = []
    verdicts: list[int] = []
    for now_us, what in log:
        if what is None:
            result = engine.tick(now_us)
        elif isinstance(what, list):
            result = engine.step(columns_of(what), now_us)
            verdicts += verdicts_of(result)
        else:
            result = engine.define(what, now_us)
        events += result.events
    return events, verdicts


def timed(relative: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    now_us, log = START_US, []
    for later_us, what in relative:
        now_us += later_us
        log.append((now_us, what))
    return log


def fresh() -> Engine:
    engine = Engine(SETTINGS)
    engine.announce(IDENTITIES)
    return engine


def through_the_oracle(log: list[tuple[int, Any]]) -> tuple[list[CoreEvent], list[int]]:
    oracle = naive.NaiveEngine(SETTINGS)
    oracle.announce(IDENTITIES)
    events: list[CoreEvent] = []
    verdicts: list[int] = []
    for now_us, what in log:
        if what is None:
            events += oracle.tick(now_us)
        elif isinstance(what, list):
            for row in in_order(what):
                verdict, concluded = oracle.read(row, now_us)
                verdicts.append(int(verdict))
                events += concluded
        else:
            events += oracle.define(what, now_us)
    return events, verdicts


odd_logs = st.builds(
    lambda first, relative: timed([(0, change) for change in first] + relative),
    st.lists(definitions, max_size=6),
    entries,
)
busy_logs = st.integers(0, 10**9).map(wander)


def assert_like_the_oracle(log: list[tuple[int, Any]]) -> None:
    events, verdicts = through_the_oracle(log)
    ours, our_verdicts = fold(fresh(), log)
    assert our_verdicts == verdicts
    ids = [event.event_id for event in ours]
    assert len(set(ids)) == len(ids)
    assert naive.differences(naive.standing(events), naive.standing(ours)) == []


@settings(max_examples=150, deadline=None)
@given(odd_logs)
def test_odd_readings_mean_what_the_oracle_says(log: list[tuple[int, Any]]) -> None:
    assert_like_the_oracle(log)


@pytest.mark.compiled
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_busy_fleets_do_what_the_oracle_says(seed: int) -> None:
    assert_like_the_oracle(wander(seed))


@pytest.mark.parametrize(
    "seed",
    [
        810097,  # two fixes of one time, both without a longitude
        38911683,  # a late fix from where the device came as fast to where it sped
    ],
)
def test_logs_on_which_they_once_disagreed(seed: int) -> None:
    assert_like_the_oracle(wander(seed))


@pytest.mark.compiled
def test_busy_fleets_do_everything() -> None:
    """The logs of the tests above are worth something: every kind of event, cause and verdict is in them, often."""
    events: Counter[Any] = Counter()
    verdicts: Counter[Any] = Counter()
    for seed in range(40):
        concluded, judged = fold(fresh(), wander(seed))
        events.update((event.kind, event.cause) for event in concluded)
        verdicts.update(map(Verdict, judged))
    for kind in (EventKind.GEOFENCE_ENTERED, EventKind.GEOFENCE_EXITED, EventKind.EXCURSION_OPENED):
        assert events[kind, Cause.MOVEMENT] > 40
        assert events[kind, Cause.DEFINITION] > 5
    assert events[EventKind.EXCURSION_CLOSED, Cause.MOVEMENT] > 20
    assert events[EventKind.GEOFENCE_DWELT, Cause.TIMER] > 50
    assert events[EventKind.GEOFENCE_ENTERED, Cause.TIMER] > 30
    assert events[EventKind.GEOFENCE_SPEEDING, Cause.MOVEMENT] > 40
    assert events[EventKind.GEOFENCE_CROSSED, Cause.MOVEMENT] > 10
    assert events[EventKind.MISSED_ARRIVAL, Cause.TIMER] > 20
    assert events[EventKind.SIGNAL_LOST, Cause.TIMER] > 20
    assert events[EventKind.SIGNAL_RESTORED, Cause.MOVEMENT] > 20
    assert events[EventKind.TAG_ARRIVED, Cause.MOVEMENT] > 50
    assert events[EventKind.TAG_DEPARTED, Cause.TIMER] > 50
    assert all(verdicts[verdict] > 5 for verdict in Verdict if verdict not in {Verdict.UNSPECIFIED, Verdict.NO_FIX})


@pytest.mark.compiled
@settings(max_examples=60, deadline=None)
@given(st.one_of(odd_logs, busy_logs), st.data())
def test_cutting_batches_changes_nothing(log: list[tuple[int, Any]], data: st.DataObject) -> None:
    cut: list[tuple[int, Any]] = []
    random = data.draw(st.randoms(use_true_random=False))
    for now_us, what in log:
        if isinstance(what, list):
            rows = in_order(what)
            at = sorted(random.sample(range(len(rows) + 1), random.randint(0, len(rows))))
            cut += [(now_us, rows[i:j]) for i, j in zip([0, *at], [*at, len(rows)], strict=True)]
        else:
            cut.append((now_us, what))
    whole, in_parts = fresh(), fresh()
    events, verdicts = fold(whole, log)
    assert fold(in_parts, cut) == (events, verdicts)
    assert in_parts.snapshot() == whole.snapshot()
    again, _ = fold(fresh(), log)
    ids = [event.event_id for event in events]
    assert [event.event_id for event in again] == ids
    assert len(set(ids)) == len(ids)


@pytest.mark.compiled
@settings(max_examples=60, deadline=None)
@given(st.one_of(odd_logs, busy_logs), st.data())
def test_a_restart_changes_nothing(log: list[tuple[int, Any]], data: st.DataObject) -> None:
    stop = data.draw(st.integers(0, len(log)))
    uninterrupted, stopped = fresh(), fresh()
    events, verdicts = fold(uninterrupted, log)
    before = fold(stopped, log[:stop])
    state = stopped.snapshot()
    restored = Engine.restore(state, SETTINGS)
    assert restored.snapshot() == state
    assert restored.next_wakeup_us() == stopped.next_wakeup_us()
    after = fold(restored, log[stop:])
    assert (before[0] + after[0], before[1] + after[1]) == (events, verdicts)
    assert restored.snapshot() == uninterrupted.snapshot()
    for number in range(len(IDENTITIES)):
        assert restored.inside(number) == uninterrupted.inside(number)


@pytest.mark.parametrize("crowd", [300, 700])
@settings(max_examples=5, deadline=None)
@given(st.lists(positions, min_size=30, max_size=30))
def test_more_events_than_there_is_room_for(crowd: int, rows: list[Position]) -> None:
    """Kernels that run out of room go on where they stopped: as many fences as never fit at first."""
    box = PutFence(_box_over_half_the_grid("0"))
    few, many = fresh(), fresh()
    few.define(box, START_US)
    for number in range(crowd):
        many.define(PutFence(_box_over_half_the_grid(str(number))), START_US)
    log = [(START_US, rows)]
    told, verdicts = fold(few, log)
    one = [event for event in told if event.subject_id]
    all_told, same_verdicts = fold(many, log)
    all_of_them = [event for event in all_told if event.subject_id]
    assert verdicts == same_verdicts
    assert [event for event in all_of_them if event.subject_id == "0"] == one
    assert len(all_of_them) == crowd * len(one)


def _box_over_half_the_grid(fence_id: str) -> Any:
    import numpy as np

    from geofence.definition import FenceDefinition, MultiPolygonShape

    ring = np.array([(-0.01, -0.01), (0.02, -0.01), (0.02, 0.05), (-0.01, 0.05)])
    return FenceDefinition("west", fence_id, "Half", MultiPolygonShape(((ring,),)))
