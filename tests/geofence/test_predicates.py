from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofence.predicates import orientation, orientation_exact, two_product, two_sum
from tests.geofence.naive import orientation_sign

degrees = st.floats(-360, 360).filter(lambda value: value == 0 or abs(value) > 1e-100)
steps = st.integers(-3, 3)


def nudged(value: float, count: int) -> float:
    for _ in range(abs(count)):
        value = math.nextafter(value, math.copysign(math.inf, count))
    return value


@settings(max_examples=300, deadline=None)
@given(degrees, degrees, degrees, degrees, degrees, degrees)
@example(0.1, 0.1, 0.3, 0.3, 0.2, 0.2)
@example(0, 0, 0, 0, 0, 0)
def test_orientation_is_the_exact_sign(ax, ay, bx, by, px, py):
    assert math.copysign(1, orientation(ax, ay, bx, by, px, py)) * bool(
        orientation(ax, ay, bx, by, px, py)
    ) == orientation_sign(ax, ay, bx, by, px, py)


@settings(max_examples=400, deadline=None)
@given(degrees, degrees, degrees, degrees, st.integers(0, 64), steps, steps)
@example(-74.0, 40.0, -73.9, 40.1, 32, 0, 0)
@example(12.0, 12.0, 24.0, 24.0, 16, 1, 0)
def test_orientation_beside_the_line(ax, ay, bx, by, part, step_x, step_y):
    px = nudged(ax + (bx - ax) * part / 64, step_x)
    py = nudged(ay + (by - ay) * part / 64, step_y)
    sign = orientation_sign(ax, ay, bx, by, px, py)
    for side in (orientation(ax, ay, bx, by, px, py), orientation_exact(ax, ay, bx, by, px, py)):
        assert (side > 0) - (side < 0) == sign


def test_kettners_grid():
    """Points a rounding apart beside a diagonal, where the plain determinant is often wrong (Kettner et al., 2008)."""
    wrong = 0
    for row in range(32):
        for column in range(32):
            px, py = nudged(0.5, column), nudged(0.5, row)
            sign = orientation_sign(12.0, 12.0, 24.0, 24.0, px, py)
            side = orientation(12.0, 12.0, 24.0, 24.0, px, py)
            assert (side > 0) - (side < 0) == sign
            plain = (12.0 - px) * (24.0 - py) - (12.0 - py) * (24.0 - px)
            wrong += ((plain > 0) - (plain < 0)) != sign
    assert wrong > 100


@given(degrees, degrees)
def test_transformations_lose_nothing(a, b):
    from fractions import Fraction

    high, low = two_sum(a, b)
    assert Fraction(high) + Fraction(low) == Fraction(a) + Fraction(b)
    high, low = two_product(a, b)
    if a * b == 0 or abs(a * b) > 1e-280:
        assert Fraction(high) + Fraction(low) == Fraction(a) * Fraction(b)


@pytest.mark.parametrize("place", range(6))
def test_nan_gives_nan(place):
    numbers = [0.0, 0.0, 1.0, 1.0, 0.5, 0.25]
    numbers[place] = math.nan
    assert math.isnan(orientation(*numbers))
