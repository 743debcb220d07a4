"""Stops and trips of the engine: told in time, corrected when fixes come late, and asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.tracking_core import naive
from tests.tracking_core.journey_tracks import along, length_m
from tests.tracking_core.readings import HOUR_US, MINUTE_US, SECOND_US, START_US, Position, columns_of
from tracking_core.columns import NO_TIME
from tracking_core.definitions import DeviceIdentity
from tracking_core.engine import Engine
from tracking_core.events import Cause, CoreEvent, EventKind, Standing, TripEnd
from tracking_core.settings import EngineSettings

SETTINGS = EngineSettings(signal_lost_after_us=0)
DAY = [(80.0, 15.0, 600), (0.0, 0.0, 1200), (300.0, 12.0, 400)]


def fleet(settings: EngineSettings = SETTINGS) -> Engine:
    engine = Engine(settings)
    engine.announce([DeviceIdentity(0, "acme", "truck")])
    return engine


def send(engine: Engine, fixes: list[Position], now_us: int | None = None) -> list[CoreEvent]:
    now_us = fixes[-1].observed_at_us if now_us is None else now_us
    return list(engine.step(columns_of(fixes), now_us).events)


def kinds(events: list[CoreEvent]) -> list[tuple[str, Standing]]:
    return [(event.kind.value, event.standing) for event in events]


def test_a_trip_and_a_stop() -> None:
    engine = fleet()
    fixes = along((53.5, 10.0), DAY, 30.0)
    started, stopped, ended, left, again = send(engine, fixes)
    assert [event.kind.value for event in (started, stopped, ended, left, again)] == [
        "trip_started", "stop_began", "trip_ended", "stop_ended", "trip_started",
    ]  # fmt: skip
    assert (started.observed_at_us, started.subject_id, started.cause) == (START_US, "", Cause.MOVEMENT)
    assert ended.observed_at_us == stopped.observed_at_us
    assert ended.confirmed_at_us - stopped.observed_at_us >= 5 * MINUTE_US
    assert isinstance(ended.details, TripEnd)
    assert ended.details.started_at_us == START_US
    assert ended.details.distance_m == pytest.approx(length_m(fixes[:21]), rel=1e-3)
    assert ended.details.fastest_mps == pytest.approx(15.0)
    assert (ended.details.by_silence, ended.assumed) == (False, False)
    assert left.observed_at_us == again.observed_at_us == START_US + 1800 * SECOND_US


def test_silence_ends_a_trip_though_nothing_comes() -> None:
    engine = fleet()
    fixes = along((53.5, 10.0), DAY[:1], 30.0)
    assert kinds(send(engine, fixes)) == [("trip_started", Standing.TOLD)]
    last = fixes[-1]
    due_us = last.observed_at_us + 30 * MINUTE_US
    assert engine.next_wakeup_us() is not None
    assert engine.tick(due_us - 1).events == ()
    (ended,) = engine.tick(due_us + HOUR_US).events
    assert (ended.kind, ended.observed_at_us, ended.confirmed_at_us) == (
        EventKind.TRIP_ENDED, last.observed_at_us, due_us,
    )  # fmt: skip
    assert (ended.cause, ended.assumed) == (Cause.TIMER, True)
    assert isinstance(ended.details, TripEnd)
    assert ended.details.by_silence
    assert engine.next_wakeup_us() is None
    # The next fix shows the same gap: nothing is told of it again.
    later = dataclasses.replace(last, observed_at_us=last.observed_at_us + 5 * HOUR_US)
    assert kinds(send(engine, [later])) == [("stop_began", Standing.TOLD)]
    gap = fleet()
    told = send(gap, [*fixes, later])
    assert [event.event_id for event in told if event.kind == EventKind.TRIP_ENDED] == [ended.event_id]


def test_a_backlog_takes_the_end_back() -> None:
    engine = fleet()
    whole = along((53.5, 10.0), [(80.0, 15.0, 4800)], 120.0)
    told = send(engine, whole[:10])
    told += engine.tick(whole[-1].observed_at_us).events
    assert kinds(told) == [("trip_started", Standing.TOLD), ("trip_ended", Standing.TOLD)]
    # First the newest fix, then what was kept for want of coverage, backwards.
    told += send(engine, whole[-1:])
    told += [event for fix in whole[-2:9:-1] for event in send(engine, [fix], whole[-1].observed_at_us)]
    assert ("trip_ended", Standing.WITHDRAWN) in kinds(told)
    straight = fleet()
    assert [event.event_id for event in naive.standing(told)] == [event.event_id for event in send(straight, whole)]
    assert engine.latest().travelled_m == pytest.approx(straight.latest().travelled_m)
    (ended,) = engine.tick(whole[-1].observed_at_us + HOUR_US).events
    (same,) = straight.tick(whole[-1].observed_at_us + HOUR_US).events
    assert (ended.details, ended.observed_at_us) == (same.details, same.observed_at_us)


def test_a_late_fix_makes_a_trip_longer() -> None:
    engine = fleet()
    fixes = along((53.5, 10.0), [(80.0, 15.0, 300), (170.0, 15.0, 300), (0.0, 0.0, 1200)], 30.0)
    corner = fixes.pop(10)
    told = send(engine, fixes)
    (before,) = [event for event in told if event.kind == EventKind.TRIP_ENDED]
    told = send(engine, [corner], fixes[-1].observed_at_us)
    (amended,) = [event for event in told if event.kind == EventKind.TRIP_ENDED]
    assert (amended.kind, amended.standing, amended.revision) == (EventKind.TRIP_ENDED, Standing.AMENDED, 1)
    assert amended.amends_event_id == before.event_id
    assert isinstance(amended.details, TripEnd)
    assert isinstance(before.details, TripEnd)
    assert amended.details.distance_m > before.details.distance_m + 100.0


def test_what_is_known_now() -> None:
    engine = fleet()
    fixes = along((53.5, 10.0), DAY[:2], 30.0)
    send(engine, fixes[:15])
    latest = engine.latest()
    assert latest.stop_began_at_us.tolist() == [NO_TIME]
    assert 0.0 < latest.travelled_m[0] <= length_m(fixes[:15]) + 0.01
    assert latest.smoothed_latitude_deg[0] == pytest.approx(fixes[14].latitude_deg, abs=1e-4)
    send(engine, fixes[15:])
    latest = Engine.restore(engine.snapshot(), SETTINGS).latest()
    assert abs(latest.stop_began_at_us[0] - START_US - 600 * SECOND_US) <= 30 * SECOND_US
    assert latest.travelled_m[0] == pytest.approx(9000.0, rel=1e-3)
    assert latest.smoothed_longitude_deg[0] == pytest.approx(fixes[-1].longitude_deg, abs=1e-5)


def test_without_journeys_nothing_is_kept_of_them() -> None:
    engine = fleet(dataclasses.replace(SETTINGS, follows_journeys=False))
    assert send(engine, along((53.5, 10.0), DAY, 30.0)) == []
    latest = engine.latest()
    assert np.isnan([latest.travelled_m, latest.smoothed_latitude_deg, latest.smoothed_longitude_deg]).all()
    assert latest.stop_began_at_us.tolist() == [NO_TIME]
    assert engine.next_wakeup_us() is None
    # Journeys begin with the next fix where a snapshot has none.
    restored = Engine.restore(engine.snapshot(), SETTINGS)
    later = [dataclasses.replace(fix, observed_at_us=fix.observed_at_us + HOUR_US) for fix in along((53.5, 10.0), DAY)]
    assert EventKind.TRIP_ENDED in {event.kind for event in send(restored, later)}


def test_a_device_that_nobody_knows_has_no_journey() -> None:
    engine = Engine(SETTINGS)
    assert send(engine, along((53.5, 10.0), DAY, 30.0)) == []
    assert np.isnan(engine.latest().travelled_m).all()
