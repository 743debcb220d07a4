"""The box around a fence holds every place from which a fix says anything but that the device is out."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence.definition import CircleShape, CorridorShape, CrossingRule, FenceDefinition, MultiPolygonShape, Shape
from geofence.surroundings import surroundings

GEOD = pyproj.Geod(ellps="WGS84")


def fence(shape: Shape, margin_m: float = 0.0, cap_m: float = 0.0) -> FenceDefinition:
    return FenceDefinition("t", "f", "F", shape, CrossingRule(exit_margin_m=margin_m, accuracy_cap_m=cap_m))


@given(
    st.floats(-180, 180),
    st.floats(-90, 90),
    st.floats(1, 100_000),
    st.floats(0, 5_000),
    st.floats(0, 500),
    st.floats(-180, 180),
)
def test_all_around(
    longitude_deg: float, latitude_deg: float, radius_m: float, margin_m: float, cap_m: float, azimuth_deg: float
) -> None:
    west, south, east, north = surroundings(fence(CircleShape(longitude_deg, latitude_deg, radius_m), margin_m, cap_m))
    to_longitude_deg, to_latitude_deg, _ = GEOD.fwd(
        longitude_deg, latitude_deg, azimuth_deg, radius_m + margin_m + cap_m
    )
    assert south <= to_latitude_deg <= north
    assert west <= to_longitude_deg <= east or math.isclose(abs(to_longitude_deg), 180.0)


def test_a_polygon_without_a_margin_is_its_own_box() -> None:
    ring = np.array([(9.0, 50.0), (9.1, 50.0), (9.1, 50.1)])
    assert surroundings(fence(MultiPolygonShape(((ring,),)))) == (9.0, 50.0, 9.1, 50.1)


def test_the_width_of_a_corridor_counts() -> None:
    line = np.array([(9.0, 0.0), (9.1, 0.0)])
    west, south, east, north = surroundings(fence(CorridorShape(line, 1_110.0)))
    assert (west, south, east, north) == pytest.approx((8.99, -0.01, 9.11, 0.01), abs=3e-4)


@pytest.mark.parametrize(
    "ring",
    [
        [(179.0, 10.0), (181.0, 10.0), (181.0, 11.0)],
        [(179.0, 10.0), (-179.0, 10.0), (-179.0, 11.0)],
        [(-100.0, 89.5), (100.0, 89.5), (0.0, 89.9)],
    ],
)
def test_over_the_180th_meridian_and_near_a_pole_it_goes_all_around(ring: list[tuple[float, float]]) -> None:
    box = surroundings(fence(MultiPolygonShape(((np.array(ring),),))))
    assert (box.west, box.east) == (-180.0, 180.0)
