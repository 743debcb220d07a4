"""Stops, trips and the odometer: what the oracle says, and what people expect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking_core.journey_tracks import Followed, along, assert_alike, length_m, noisy
from tests.tracking_core.naive_journeys import NaiveJourney
from tests.tracking_core.readings import HOUR_US, MINUTE_US, NAN, SECOND_US, START_US, Position
from tracking_core.journeys.stays import PASSING, STOPPED
from tracking_core.settings import EngineSettings

DRIVE = [(80.0, 15.0, 600), (0.0, 0.0, 1200), (300.0, 12.0, 400), (0.0, 0.0, 240), (200.0, 20.0, 300)]


def kinds(followed: Followed) -> list[str]:
    return [told.kind for told in followed.told]


def follow(fixes: list[Position], rules: EngineSettings | None = None) -> Followed:
    followed = Followed(rules)
    for fix in fixes:
        followed.read(fix)
    return followed


@st.composite
def drives(draw: st.DrawFn) -> list[tuple[Position, bool]]:
    """Fixes of a device that stands, creeps, drives, jumps and is silent, and whether they are connected."""
    fixes, at_s = [], 0
    x_m, y_m = 0.0, 0.0
    start = draw(st.sampled_from([(53.5, 10.0), (0.001, 179.9999), (-45.0, -179.98)]))
    for _ in range(draw(st.integers(1, 12))):
        doing = draw(st.sampled_from(["stand", "stand", "creep", "drive", "drive", "spike", "silence"]))
        for _ in range(draw(st.integers(1, 8))):
            at_s += draw(st.sampled_from([1, 10, 30, 30, 60, 90]))
            off_m = 0.0
            if doing == "silence":
                at_s += 2400
                doing = draw(st.sampled_from(["stand", "drive"]))
            if doing == "creep":
                x_m += draw(st.integers(-30, 30))
            elif doing == "drive":
                x_m += draw(st.integers(100, 900))
                y_m += draw(st.integers(-300, 300))
            elif doing == "spike":
                off_m = draw(st.sampled_from([0.0, 0.0, 80.0, 400.0, 2000.0]))
            else:
                off_m = draw(st.sampled_from([0.0, 3.0, -20.0]))
            latitude = start[0] + (y_m + off_m) / 111_000
            longitude = (start[1] + x_m / 90_000 + 180.0) % 360.0 - 180.0
            accuracy = draw(st.sampled_from([NAN, NAN, 5.0, 40.0, 300.0]))
            speed = draw(st.sampled_from([NAN, NAN, 7.0]))
            fix = Position(0, START_US + at_s * SECOND_US, latitude, longitude, speed_mps=speed, accuracy_m=accuracy)
            fixes.append((fix, draw(st.sampled_from([True] * 15 + [False]))))
    return fixes


@settings(max_examples=150, deadline=None)
@given(drives())
def test_stops_and_trips_are_what_the_oracle_says(fixes: list[tuple[Position, bool]]) -> None:
    ours, oracle = Followed(), NaiveJourney()
    for fix, connected in fixes:
        ours.read(fix, connected=connected)
        oracle.read(fix, connected=connected)
        assert ours.journey.odometer_m == pytest.approx(oracle.odometer_m, rel=1e-5, abs=0.5)
    assert_alike(ours.told, oracle.told)


def test_a_day_of_deliveries() -> None:
    """A drive, a long stop, a drive with a short stop; closed by silence."""
    fixes = along((53.5, 10.0), DRIVE)
    followed = follow(fixes)
    followed.read(
        Position(0, fixes[-1].observed_at_us + 2 * HOUR_US, *(fixes[-1].latitude_deg, fixes[-1].longitude_deg))
    )
    assert kinds(followed) == [
        "trip_started", "stop_began", "trip_ended", "stop_ended", "trip_started", "stop_began", "stop_ended",
        "trip_ended", "stop_began",
    ]  # fmt: skip
    first, stop, ended, left, second, _, _, silent, _ = followed.told
    assert first.observed_at_us == START_US
    # It stands from second 600 on; a fix before may lie within the radius already.
    assert abs(stop.observed_at_us - START_US - 600 * SECOND_US) <= 10 * SECOND_US
    assert ended.observed_at_us == stop.observed_at_us
    assert ended.length_m == pytest.approx(600 * 15.0, rel=0.005)
    assert ended.fastest_mps == pytest.approx(15.0)
    assert left.observed_at_us == second.observed_at_us == START_US + 1800 * SECOND_US
    assert silent.observed_at_us == fixes[-1].observed_at_us
    assert silent.confirmed_at_us == fixes[-1].observed_at_us + 30 * MINUTE_US
    assert silent.length_m == pytest.approx(400 * 12.0 + 300 * 20.0, rel=0.005)
    assert silent.fastest_mps == pytest.approx(20.0)


@pytest.mark.parametrize("every_s", [1, 10, 30])
@pytest.mark.parametrize("start", [(53.5, 10.0), (0.0, 179.9), (78.0, 16.0), (-45.0, -179.95)])
def test_the_odometer_is_the_length_of_a_clean_track(every_s: int, start: tuple[float, float]) -> None:
    legs = [(bearing, 17.0, 120.0) for bearing in (80, 130, 170, 95, 40, 350, 10, 60)]
    fixes = along(start, legs, every_s)
    followed = follow(fixes)
    metres = followed.journey.odometer_m + followed.journey.stay.way_m
    assert metres == pytest.approx(length_m(fixes), rel=1e-3)
    assert followed.journey.stay.state == PASSING


def test_the_odometer_counts_the_way_from_stop_to_stop() -> None:
    fixes = along((53.5, 10.0), [(90, 10, 600), (0, 0, 600), (90, 10, 600), (0, 0, 600), (90, 10, 300), (0, 0, 600)])
    followed = follow(fixes)
    assert followed.journey.stay.state == STOPPED
    assert followed.journey.odometer_m == pytest.approx(15_000.0, rel=1e-3)


@pytest.mark.parametrize("deviation_m", [3.0, 10.0, 20.0, 40.0])
@pytest.mark.parametrize("seed", range(6))
def test_parked_drift_is_no_trip(deviation_m: float, seed: int) -> None:
    """Four hours of a receiver that stands, a fix every ten seconds: one stop, no trip, and few metres.

    Of the poorest, two fixes in a row are now and then outside: its stop is told again, but still there is no trip.
    """
    random = np.random.default_rng(seed)
    parked = along((53.5, 10.0), [(0.0, 0.0, 4 * 3600)])
    followed = follow(noisy(parked, deviation_m, random))
    assert set(kinds(followed)) <= {"stop_began", "stop_ended"}
    if deviation_m < 40.0:
        assert kinds(followed) == ["stop_began"]
        assert followed.journey.odometer_m < 10.0 * deviation_m
        assert followed.journey.smoothed.north_mps == followed.journey.smoothed.east_mps == 0.0
        assert abs(followed.journey.smoothed.latitude_deg - 53.5) * 111_000 < 0.2 * deviation_m


@pytest.mark.parametrize("seed", range(6))
def test_wandering_drift_is_no_trip(seed: int) -> None:
    """Indoors the error wanders: correlated over minutes, 30 m wide, with an accuracy that admits it."""
    random = np.random.default_rng(seed)
    x_m = y_m = 0.0
    followed = Followed()
    for tick in range(1440):
        x_m, y_m = (0.95 * value + random.normal(0.0, 30.0 * 0.31) for value in (x_m, y_m))
        followed.read(
            Position(0, START_US + tick * 10 * SECOND_US, 48.0 + y_m / 111_000, 11.0 + x_m / 74_000, accuracy_m=45.0)
        )
    assert "trip_started" not in kinds(followed)


def test_one_spike_ends_no_stop() -> None:
    parked = along((53.5, 10.0), [(0.0, 0.0, 1800)])
    spike = parked[100]
    parked[100] = Position(0, spike.observed_at_us, spike.latitude_deg + 0.003, spike.longitude_deg)
    assert kinds(follow(parked)) == ["stop_began"]


def test_a_tracker_that_sleeps_in_the_yard() -> None:
    """Nothing is heard over night: the trip ends with the last fix, the stop is told in the morning, the next trip
    begins where it stood.
    """
    evening = along((53.5, 10.0), [(90.0, 15.0, 900)], 30.0)
    last = evening[-1]
    followed = follow(evening)
    morning = along((last.latitude_deg, last.longitude_deg), [(0.0, 0.0, 60), (270.0, 15.0, 300)], 30.0)
    for fix in morning:
        followed.read(
            Position(0, fix.observed_at_us - START_US + last.observed_at_us + 10 * HOUR_US, fix.latitude_deg,
                     fix.longitude_deg)
        )  # fmt: skip
    assert kinds(followed) == ["trip_started", "trip_ended", "stop_began", "stop_ended", "trip_started"]
    _, ended, began, left, started = followed.told
    assert ended.observed_at_us == last.observed_at_us
    assert began.observed_at_us <= last.observed_at_us
    assert left.observed_at_us == started.observed_at_us == last.observed_at_us + 10 * HOUR_US + 60 * SECOND_US


def test_a_ferry_is_no_trip() -> None:
    """Silent from one port to the other: nobody knows when it left, and so no trip is dated into the silence."""
    followed = follow(along((54.0, 10.0), [(0.0, 0.0, 600)]))
    stood_until_us = followed.journey.stay.until_us
    landed = along((55.0, 12.0), [(0.0, 0.0, 600)])
    for fix in landed:
        later_us = fix.observed_at_us + 5 * HOUR_US
        followed.read(Position(0, later_us, fix.latitude_deg, fix.longitude_deg))
    assert kinds(followed) == ["stop_began", "stop_ended", "stop_began"]
    assert followed.told[1].observed_at_us == stood_until_us


@pytest.mark.parametrize(
    ("name", "value"), [("stop_radius_m", 0), ("assumed_accuracy_m", -1), ("trip_closes_after_us", 60 * SECOND_US)]
)
def test_settings_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        EngineSettings(**{name: value})
