"""Circles and corridors against GeographicLib (pyproj.Geod), and distances and crossings of every shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofence.containment import contains_one, find_containing_batch
from geofence.crossing import crossing_fraction
from geofence.definition import CircleShape, CorridorShape, FenceDefinition
from geofence.distance import signed_distance_m
from geofence.fence_set import FenceSet
from geofence.segment import box_distance_bound_m, segment_distance_m
from tests.geofence.naive import GEOD, line_distance_m, polygon, some, star


def only(shape) -> FenceSet:
    fences = FenceSet()
    fences.put(FenceDefinition("acme", "only", "", shape))
    return fences


def holds(fences: FenceSet, x, y) -> np.ndarray:
    """Which points the only fence holds, by the batch, which must agree with `contains_one`."""
    offsets, _ = find_containing_batch(fences.compiled, np.zeros(len(x), np.int32), np.asarray(x), np.asarray(y))
    held = np.diff(offsets) == 1
    for place in range(min(len(x), 300)):
        assert contains_one(fences.compiled, 0, float(x[place]), float(y[place])) == held[place]
    return held


CENTRES = [(0, 0), (-73.9, 40.7), (180, 10), (-179.9, -60), (12, 89.9), (5, -90), (33, 90), (100, 66.5)]


@pytest.mark.parametrize("radius_m", [0.5, 30, 5000, 300_000, 4_000_000])
@pytest.mark.parametrize(("x", "y"), CENTRES)
def test_circle_is_that_of_geographiclib(x, y, radius_m):
    random = np.random.default_rng(4)
    fences = only(CircleShape(float(x), float(y), float(radius_m)))
    count = some(4000)
    bearing = random.uniform(0, 360, count)
    away_m = radius_m * np.concatenate((random.uniform(0, 3, count // 2), random.normal(1, 1e-4, count - count // 2)))
    away_m = np.minimum(np.abs(away_m), 1.9e7)
    longitude, latitude, _ = GEOD.fwd(np.full(count, x), np.full(count, y), bearing, away_m)
    # Far from the border it must be right, within a thousandth of a millimetre and the millionth part it may be either.
    sure = np.abs(away_m - radius_m) > 1e-6 + 1e-6 * radius_m
    held = holds(fences, longitude, latitude)
    assert (held == (away_m <= radius_m))[sure].all()
    assert sure.sum() > 0.9 * count
    assert held.any()
    for place in range(0, count, max(1, count // 50)):
        ours_m = signed_distance_m(fences.compiled, 0, longitude[place], latitude[place])
        assert ours_m == pytest.approx(away_m[place] - radius_m, abs=1e-3 + 1e-6 * away_m[place])
        assert (ours_m <= 0) == held[place] or not sure[place]


LINES = {
    "street": [(2.30, 48.85), (2.31, 48.86), (2.33, 48.86), (2.33, 48.85)],
    "motorway": [(-8.6, 41.1), (-8.4, 40.2), (-9.1, 38.7), (-7.9, 37.0)],
    "along the equator": [(10, 0), (20, 0)],
    "across the antimeridian": [(178, -18), (-178, -16), (-177, -19)],
    "far north": [(20, 70), (60, 72), (100, 71)],
    "one leg back on itself": [(5, 45), (6, 45), (5.5, 45)],
    "repeated point": [(5, 45), (5, 45), (5.2, 45.1)],
}


@pytest.mark.parametrize("half_width_m", [20, 2000, 60_000])
@pytest.mark.parametrize("name", LINES)
def test_corridor_is_that_of_geographiclib(name, half_width_m):
    line = np.array(LINES[name], float)
    unwrapped = np.column_stack((np.rad2deg(np.unwrap(np.deg2rad(line[:, 0]))), line[:, 1]))
    fences = only(CorridorShape(line, float(half_width_m)))
    random = np.random.default_rng(8)
    count = max(some(120), 20)
    at = random.uniform(0, len(line) - 1, count)
    segment = np.minimum(at.astype(int), len(line) - 2)
    part = (at - segment)[:, None]
    on_line = unwrapped[segment] * (1 - part) + unwrapped[segment + 1] * part
    away_m = half_width_m * np.concatenate(
        (random.uniform(0, 3, count // 2), random.normal(1, 2e-3, count - count // 2))
    )
    x, y, _ = GEOD.fwd(on_line[:, 0], on_line[:, 1], random.uniform(0, 360, count), away_m)
    held = holds(fences, x, y)
    allowed_m = max(0.5, 1e-3 * half_width_m)
    decided = 0
    for place in range(count):
        true_m = line_distance_m(unwrapped, x[place], y[place])
        ours_m = signed_distance_m(fences.compiled, 0, x[place], y[place]) + half_width_m
        assert ours_m == pytest.approx(true_m, rel=1e-3, abs=0.05)
        if abs(true_m - half_width_m) > allowed_m:
            decided += 1
            assert held[place] == (true_m <= half_width_m)
    assert decided > count // 3
    assert held.any()


@settings(max_examples=60, deadline=None)
@given(st.floats(-179, 179), st.floats(-84, 84), st.floats(-3, 3), st.floats(-3, 3), st.floats(-2, 2), st.floats(-2, 2))
@example(0, 0, 1, 0, 0.5, 0)
@example(0, 0, 0, 0, 1, 1)
@example(10, 80, 3, 0, 1, 1)
@example(179, 10, 3, 1, 2, 0)
def test_distance_to_a_segment(x, y, step_x, step_y, off_x, off_y):
    line = np.array([(x, y), (x + step_x, y + step_y)])
    point = (x + off_x, y + off_y)
    true_m = line_distance_m(line, *point)
    ours_m = segment_distance_m(*line[0], *line[1], *point)
    assert ours_m == pytest.approx(true_m, rel=1e-3, abs=0.1)
    low, high = line.min(axis=0), line.max(axis=0)
    assert box_distance_bound_m(*point, *low, *high) <= true_m * (1 + 1e-9) + 1e-3


def test_distance_to_a_very_long_edge_bent_on_the_ground():
    line = np.array([(-100.0, 50.0), (80.0, 50.0)])
    assert segment_distance_m(*line[0], *line[1], -10.0, 60.0) == pytest.approx(
        line_distance_m(line, -10.0, 60.0), rel=1e-3
    )


def test_signed_distance_of_a_polygon():
    random = np.random.default_rng(6)
    ring = star(random, 10.0, 50.0, 0.5, 100)
    fences = FenceSet()
    fences.put(polygon("only", ring))
    closed = np.vstack((ring, ring[:1]))
    for x, y in random.uniform((9, 49), (11, 51), (max(some(100), 12), 2)):
        true_m = line_distance_m(closed, x, y, steps=20_000)
        ours_m = signed_distance_m(fences.compiled, 0, x, y)
        assert abs(ours_m) == pytest.approx(true_m, rel=1e-3, abs=0.1)
        assert (ours_m <= 0) == contains_one(fences.compiled, 0, x, y)
    for x, y in ring:
        assert signed_distance_m(fences.compiled, 0, x, y) == pytest.approx(0, abs=1e-6)
        assert signed_distance_m(fences.compiled, 0, x, y) <= 0
    assert math.isnan(signed_distance_m(fences.compiled, 0, math.nan, 1.0))
    assert signed_distance_m(fences.compiled, 5, 1.0, 1.0) == math.inf


def test_distance_across_the_antimeridian():
    fences = FenceSet()
    fences.put(polygon("only", [(170, -1), (179, -1), (179, 1), (170, 1)]))
    true_m = GEOD.inv(179, 0, -179.5, 0)[2]
    assert signed_distance_m(fences.compiled, 0, -179.5, 0.0) == pytest.approx(true_m, rel=1e-6)


SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]


@pytest.mark.parametrize(
    ("start", "end", "fraction"),
    [
        ((-2, 2), (2, 2), 0.5),
        ((2, 2), (6, 2), 0.5),
        ((-1, 2), (7, 2), 0.125),
        ((-2, -2), (2, 2), 0.5),
        ((-2, 0), (2, 0), 0.5),
        ((0, 2), (-2, 2), 0.0),
        ((2, 0), (4, 0), 0.0),
        ((-2, 4), (0, 4), 1.0),
        ((1, 1), (3, 3), 1.0),
        ((-2, 5), (6, 5), 1.0),
        ((2, 2), (2, 2), 1.0),
        ((0, 0), (0, 0), 0.0),
        ((math.nan, 0), (1, 1), 1.0),
    ],
)
def test_crossing_of_a_square(start, end, fraction):
    fences = FenceSet()
    fences.put(polygon("only", SQUARE))
    assert crossing_fraction(fences.compiled, 0, *map(float, start), *map(float, end)) == pytest.approx(fraction)


@pytest.mark.parametrize(("west", "east"), [(170, 190), (-190, -170)])
def test_crossing_across_the_antimeridian(west, east):
    fences = FenceSet()
    fences.put(polygon("only", [(west, 0), (east, 0), (east, 4), (west, 4)]))
    assert crossing_fraction(fences.compiled, 0, 160.0, 2.0, 180.0, 2.0) == pytest.approx(0.5)
    assert crossing_fraction(fences.compiled, 0, 160.0, 2.0, -180.0, 2.0) == pytest.approx(0.5)
    assert crossing_fraction(fences.compiled, 0, -160.0, 2.0, 175.0, 2.0) == pytest.approx(0.4)
    assert crossing_fraction(fences.compiled, 0, -175.0, 2.0, -165.0, 2.0) == pytest.approx(0.5)


def test_the_crossing_lies_on_the_boundary():
    random = np.random.default_rng(12)
    ring = star(random, 10.0, 50.0, 0.5, 60)
    fences = FenceSet()
    fences.put(polygon("ring", ring))
    fences.put(FenceDefinition("acme", "circle", "", CircleShape(10.0, 50.0, 30_000.0)))
    fences.put(FenceDefinition("acme", "line", "", CorridorShape(ring[:10], 4000.0)))
    crossed = 0
    for start, end in random.uniform((9.3, 49.5), (10.7, 50.5), (max(some(60), 12), 2, 2)):
        for slot in range(3):
            sides = [contains_one(fences.compiled, slot, *point) for point in (start, end)]
            fraction = crossing_fraction(fences.compiled, slot, *start, *end)
            assert 0 <= fraction <= 1
            if sides[0] != sides[1]:
                crossed += 1
                assert abs(signed_distance_m(fences.compiled, slot, *(start + fraction * (end - start)))) < 0.05
                # Nothing is crossed before.
                for earlier in np.linspace(0, fraction, 40)[:-1]:
                    if slot == 0:
                        assert contains_one(fences.compiled, slot, *(start + earlier * (end - start))) == sides[0]
    assert crossed > 10
