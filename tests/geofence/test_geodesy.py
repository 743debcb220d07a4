from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofence.geodesy import bearing_deg, cartesian_m, destination, distance_m, wrap_degrees
from tests.geofence.naive import GEOD, some

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


def true_distance_m(latitude1, longitude1, latitude2, longitude2):
    return GEOD.inv(longitude1, latitude1, longitude2, latitude2)[2]


@settings(max_examples=300, deadline=None)
@given(latitudes, longitudes, latitudes, longitudes)
@example(0, 0, 0, 0)
@example(0, 0, 0, 180)
@example(0, 0, 0, 179.5)
@example(30, 0, -30, 180)
@example(30, 0, -29.9, 179.8)
@example(90, 10, -90, 50)
@example(90, 10, 90, 50)
@example(0, -180, 0, 180)
@example(10, 179.99, 10, -179.99)
@example(89.999, 0, 89.999, 180)
@example(45, 0, 45, 1e-9)
@example(74.99, 5, 75.02, 5.04)
def test_distance_is_that_of_geographiclib(latitude1, longitude1, latitude2, longitude2):
    true_m = true_distance_m(latitude1, longitude1, latitude2, longitude2)
    assert distance_m(latitude1, longitude1, latitude2, longitude2) == pytest.approx(true_m, rel=5e-6, abs=2e-4)


@settings(max_examples=300, deadline=None)
@given(st.floats(-89.9, 89.9), longitudes, st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_short_distances(latitude, longitude, north, east):
    true_m = true_distance_m(latitude, longitude, max(-90.0, min(latitude + north, 90.0)), longitude + east)
    assert distance_m(latitude, longitude, max(-90.0, min(latitude + north, 90.0)), longitude + east) == pytest.approx(
        true_m, rel=1e-6, abs=1e-4
    )


def test_distance_of_many():
    random = np.random.default_rng(1)
    count = some(20_000)
    for spread in (180.0, 1.0, 0.01):
        latitude1 = random.uniform(-90, 90, count)
        longitude1 = random.uniform(-180, 180, count)
        latitude2 = np.clip(latitude1 + random.uniform(-spread, spread, count), -90, 90)
        longitude2 = longitude1 + random.uniform(-spread, spread, count)
        true_m = GEOD.inv(longitude1, latitude1, longitude2, latitude2)[2]
        ours_m = [distance_m(*row) for row in zip(latitude1, longitude1, latitude2, longitude2, strict=True)]
        np.testing.assert_allclose(ours_m, true_m, rtol=5e-6, atol=2e-4)


@settings(max_examples=300, deadline=None)
@given(st.floats(-89.9, 89.9), longitudes, st.floats(0, 359.9), st.floats(0.1, 1.9e7))
@example(0, 0, 90, 1e6)
@example(0, 179.9, 90, 1e6)
@example(60, 0, 0, 4e6)
def test_destination_and_bearing(latitude, longitude, bearing, travelled_m):
    reached = destination(latitude, longitude, bearing, travelled_m)
    true_longitude, true_latitude, _ = GEOD.fwd(longitude, latitude, bearing, travelled_m)
    assert true_distance_m(*reached, true_latitude, true_longitude) < 1e-3
    true_bearing = GEOD.inv(longitude, latitude, reached[1], reached[0])[0]
    off_deg = abs(wrap_degrees(bearing_deg(latitude, longitude, *reached) - true_bearing))
    # A bearing is no better than the points it is taken between.
    assert off_deg < 1e-4 + math.degrees(1e-6 / travelled_m)


def test_bearing_of_a_point_to_itself_is_0():
    assert bearing_deg(10.0, 20.0, 10.0, 20.0) == 0.0


def test_cartesian():
    transformer = GEOD  # the ellipsoid's own axes
    assert cartesian_m(0.0, 0.0) == pytest.approx((transformer.a, 0, 0))
    assert cartesian_m(90.0, 33.0) == pytest.approx((0, 0, transformer.b), abs=1e-6)
    assert cartesian_m(0.0, 90.0) == pytest.approx((0, transformer.a, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("given_deg", "wrapped"),
    [(0, 0), (180, -180), (-180, -180), (190, -170), (-190, 170), (720, 0), (179.99999999999997, -180)],
)
def test_wrap(given_deg, wrapped):
    assert wrap_degrees(float(given_deg)) == wrapped


@pytest.mark.parametrize("place", range(4))
def test_nan_gives_nan(place):
    numbers = [10.0, 20.0, 40.0, 50.0]
    numbers[place] = math.nan
    assert math.isnan(distance_m(*numbers))
