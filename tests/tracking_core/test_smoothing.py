"""The filter in closed form says what the matrices say, anywhere on earth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.tracking_core.journey_tracks import GEOD
from tests.tracking_core.naive_journeys import NaiveKalman
from tracking_core.journeys.smoothing import (
    SmoothingRules,
    axis_variance_m2,
    begin_smoothing,
    smooth,
    smoothed_heading_deg,
    smoothed_speed_mps,
)
from tracking_core.settings import MINUTE_US, SECOND_US, EngineSettings

RULES = SmoothingRules(10.0, 0.5, 15 * MINUTE_US)
STARTS = [(53.5, 10.0), (-33.9, 18.4), (0.0, 179.999), (10.0, -179.9995), (84.99, 20.0), (89.99, 0.0), (-89.995, 77.0)]

steps = st.lists(
    st.tuples(st.sampled_from([1, 1, 5, 10, 60]), st.floats(0.0, 360.0), st.floats(0.0, 30.0), st.floats(0.0, 40.0)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STARTS), steps)
@example((89.99, 0.0), [(10, 0.0, 30.0, 5.0)] * 12)
@example((0.0, 179.999), [(10, 90.0, 30.0, 5.0)] * 12)
@example(
    (84.99, 20.0), [(10, 12.0, 28.0, 1.0), (10, 0.0, 0.0, 37.0)]
)  # what one leg was off is still there after the next
def test_it_says_what_the_matrices_say(start: tuple[float, float], walk: list[tuple[int, float, float, float]]) -> None:
    rules, naive_settings = RULES, EngineSettings()
    latitude, longitude = start
    motion = begin_smoothing(latitude, longitude, axis_variance_m2(8.0, rules))
    naive = NaiveKalman(naive_settings, start, axis_variance_m2(8.0, rules), 15.0**2)
    longest_m = 0.0
    for elapsed_s, bearing_deg, speed_mps, accuracy_m in walk:
        longest_m = max(longest_m, speed_mps * elapsed_s)
        longitude, latitude, _ = GEOD.fwd(longitude, latitude, bearing_deg, speed_mps * elapsed_s)
        motion = smooth(motion, elapsed_s * SECOND_US, latitude, longitude, accuracy_m, rules)
        naive.step(elapsed_s, (latitude, longitude), axis_variance_m2(accuracy_m, rules))
        apart_m = GEOD.inv(motion.longitude_deg, motion.latitude_deg, naive.place[1], naive.place[0])[2]
        assert apart_m < 0.02 + 0.003 * longest_m
        assert math.hypot(motion.east_mps - naive.velocity[0], motion.north_mps - naive.velocity[1]) < 0.25
        assert np.allclose(
            [motion.position_m2, motion.mixed_m2_s, motion.velocity_m2_s2],
            [naive.covariance[0, 0], naive.covariance[0, 2], naive.covariance[2, 2]],
            rtol=1e-6,
        )


def test_a_device_under_way_is_known_better_than_its_fixes() -> None:
    """Straight on at 20 m/s with noise of 10 m: place and velocity come nearer to the truth than single fixes are."""
    random = np.random.default_rng(1)
    motion = begin_smoothing(48.0, 11.0, 100.0)
    raw, smoothed = [], []
    for second in range(1, 400):
        longitude, latitude, _ = GEOD.fwd(11.0, 48.0, 60.0, 20.0 * second)
        east_m, north_m = random.normal(0.0, 10.0, 2)
        bearing, off_m = math.degrees(math.atan2(east_m, north_m)), math.hypot(east_m, north_m)
        seen_longitude, seen_latitude, _ = GEOD.fwd(longitude, latitude, bearing, off_m)
        motion = smooth(motion, SECOND_US, seen_latitude, seen_longitude, 15.1, RULES)
        if second > 60:
            raw.append(off_m)
            smoothed.append(GEOD.inv(longitude, latitude, motion.longitude_deg, motion.latitude_deg)[2])
            assert abs(smoothed_speed_mps(motion) - 20.0) < 8.0
            assert abs(smoothed_heading_deg(motion) - 60.0) < 25.0
    assert np.mean(smoothed) < 0.6 * np.mean(raw)


def test_what_stands_comes_to_rest() -> None:
    random = np.random.default_rng(2)
    motion = begin_smoothing(48.0, 11.0, 100.0)
    variances, places = [], []
    for _ in range(600):
        north_deg, east_deg = random.normal(0.0, 10.0 / 111_000, 2)
        motion = smooth(
            motion, SECOND_US, 48.0 + north_deg, 11.0 + east_deg / math.cos(math.radians(48.0)), 15.1, RULES
        )
        variances.append(motion.position_m2)
        places.append(GEOD.inv(11.0, 48.0, motion.longitude_deg, motion.latitude_deg)[2])
    assert variances[-1] == pytest.approx(variances[-2], rel=1e-9)
    assert variances[-1] < 0.35 * 100.0
    assert np.mean(places[100:]) < 0.6 * 10.0 * math.sqrt(math.pi / 2)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 1000, SECOND_US, MINUTE_US, 15 * MINUTE_US, 24 * 60 * MINUTE_US, -5]),
            st.sampled_from([-90.0, -89.9999, -45.0, 0.0, 84.9999, 85.0001, 90.0]),
            st.sampled_from([-180.0, -179.9999, 0.0, 90.0, 180.0]),
            st.sampled_from([math.nan, -1.0, 0.0, 1e-9, 30.0, 1000.0]),
        ),
        max_size=12,
    )
)
def test_it_is_always_somewhere(fixes: list[tuple[int, float, float, float]]) -> None:
    """Never NaN, never off the earth, never a variance that is none, whatever counts and in whatever rhythm."""
    motion = begin_smoothing(0.0, 0.0, 1.0)
    for elapsed_us, latitude_deg, longitude_deg, accuracy_m in fixes:
        motion = smooth(motion, elapsed_us, latitude_deg, longitude_deg, accuracy_m, RULES)
        assert all(map(math.isfinite, motion))
        assert -180.0 <= motion.longitude_deg <= 180.0
        assert min(motion.position_m2, motion.velocity_m2_s2) >= 0.0
