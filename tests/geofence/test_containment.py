from __future__ import annotations

import gzip
import itertools
import json
import math

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofence.containment import contains_one, find_containing, find_containing_batch
from geofence.definition import CircleShape, FenceDefinition, MultiPolygonShape
from geofence.fence_set import FenceSet
from geofence.geojson import from_feature
from geofence.lookup_batch import BLOCK, MOST_TILED, TILED_FROM
from tests.geofence.naive import COMPILED, containing, geometry, orientation_sign, polygon, some, star

SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]
HOLE = [(1, 1), (3, 1), (3, 3), (1, 3)]


def found_at(fences: FenceSet, x: float, y: float, tenant: str = "acme") -> list[int]:
    out = np.empty(64, np.int32)
    count = find_containing(fences.compiled, fences.tenant_number(tenant), x, y, out)
    assert count >= 0
    return out[:count].tolist()


def found_by_batch(fences: FenceSet, x, y, tenant: str = "acme") -> list[list[int]]:
    tenants = np.full(len(x), fences.tenant_number(tenant), np.int32)
    offsets, slots = find_containing_batch(fences.compiled, tenants, np.asarray(x, float), np.asarray(y, float))
    assert offsets[0] == 0
    assert offsets[-1] == len(slots)
    return [slots[start:end].tolist() for start, end in itertools.pairwise(offsets)]


def check(fences: FenceSet, geometries, x, y) -> None:
    """Every point, by the batch, and the first thousand one by one, against shapely."""
    expected = containing(geometries, x, y)
    assert found_by_batch(fences, x, y) == expected
    for place in range(min(len(x), 1000)):
        assert found_at(fences, float(x[place]), float(y[place])) == expected[place]
        for slot in range(min(len(geometries), 3)):
            assert contains_one(fences.compiled, slot, float(x[place]), float(y[place])) == (slot in expected[place])


def of_rings(*rings) -> FenceSet:
    fences = FenceSet()
    fences.put(polygon("only", *rings))
    return fences


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [
        (2, 0.5, True),
        (0, 0, True),
        (4, 4, True),
        (4, 0, True),
        (0, 4, True),
        (2, 0, True),
        (2, 4, True),
        (0, 2, True),
        (4, 2, True),
        (2, 2, False),
        (1, 1, True),
        (3, 3, True),
        (2, 1, True),
        (1, 2, True),
        (math.nextafter(4, 5), 2, False),
        (math.nextafter(0, -1), 2, False),
        (2, math.nextafter(4, 5), False),
        (math.nextafter(1, 2), 2, False),
        (5, 0, False),
        (-1, 4, False),
        (-1, 0, False),
        (5, 4, False),
        (math.nan, 2, False),
        (2, math.nan, False),
        (math.inf, 2, False),
        (2, -math.inf, False),
        (361, 2, False),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_square_with_a_hole(x, y, inside, turned):
    rings = [SQUARE[::-1], HOLE] if turned else [SQUARE, HOLE[::-1]]
    fences = of_rings(*rings)
    assert found_at(fences, x, y) == [0] * inside
    assert found_by_batch(fences, [x], [y]) == [[0] * inside]
    assert contains_one(fences.compiled, 0, x, y) == inside


# GEOS decides with 106 bits, which is exact for these; test_finer_than_shapely has what it is not exact for.
coordinates = st.integers(-8, 8).map(float) | st.floats(-8, 8).filter(lambda value: abs(value) > 1e-3 or value == 0)
corners = st.tuples(coordinates, coordinates)


@st.composite
def rings_with_points(draw):
    """A valid ring of few grid or odd vertices, and points on, beside and off it."""
    ring = draw(st.lists(corners, min_size=3, max_size=9, unique=True))
    shape = shapely.Polygon(ring)
    if not (shape.is_valid and shape.area > 0):
        hull = shapely.MultiPoint(ring).convex_hull
        ring = list(hull.exterior.coords)[:-1] if hull.geom_type == "Polygon" else [(0, 0), (8, 0), (0, 8)]
    points = draw(st.lists(corners, min_size=1, max_size=6))
    for start, end in zip(ring, [*ring[1:], ring[0]], strict=True):
        part = draw(st.sampled_from([0.0, 0.25, 0.5, 1 / 3]))
        points.append((start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])))
        points.append((end[0], start[1]))
    points += [(math.nextafter(x, 9), math.nextafter(y, -9)) for x, y in ring if x and y]
    return ring, points


@settings(max_examples=150, deadline=None)
@given(rings_with_points())
@example(([(0, 0), (4, 0), (4, 4), (2, 2), (0, 4)], [(2, 2), (2, 3), (1, 2), (2, 4), (0, 2), (1, 3)]))
@example(([(0, 0), (1, 1), (2, 0), (3, 1), (4, 0), (4, 2), (0, 2)], [(x / 2, 1) for x in range(-1, 10)]))
@example(([(0, 0), (2, 0), (2, 1), (4, 1), (4, 2), (0, 2)], [(x / 2, 1) for x in range(-1, 10)]))
@example(([(0, 0), (5e-9, 0), (0, 5e-9)], [(2.5e-9, 2.5e-9), (5e-9, 5e-9), (0, 5e-9)]))
@example(([(-8, -8), (8, -8), (8, 8), (-8, 8), (-8, 0), (-7, 0), (-8, -1)], [(-7, 0), (-8, -0.5), (-7.5, 0)]))
@example(  # the last is exactly on an edge, though shapely says it is not
    (
        [(0, 0), (0, 1), (0.6107579143451236, -6.319368590411415), (-4.289267723071354, 4.927207505567612)],
        [(-0.6142484950089957, -3.507724566416658)],
    )
)
def test_any_ring_equals_shapely(ring_and_points):
    ring, points = ring_and_points
    x, y = np.array(points, float).T
    check(of_rings(ring), [shapely.Polygon(ring)], x, y)


def test_finer_than_shapely():
    """An edge that ends 1e-38 beside the axis: 106 bits do not tell on which side the point is, Fraction does."""
    ring = [(0.0, 0.0), (1.1754943508222875e-38, 4.733528711512626), (-5.0, 0.0)]
    x, y = -1.25, 3.5501465336344697
    inside = orientation_sign(*ring[1], *ring[2], x, y) >= 0
    assert found_at(of_rings(ring), x, y) == [0] * inside


@pytest.mark.parametrize("corners", [3, 17, 300, 3000])
@pytest.mark.parametrize(
    ("x", "y", "radius"), [(0.0, 0.0, 1.0), (-73.9, 40.7, 0.01), (120, -45, 30), (2.5, 48.8, 1e-5)]
)
def test_stars_equal_shapely(corners, x, y, radius):
    random = np.random.default_rng(corners)
    ring = star(random, x, y, radius, corners)
    inner = star(random, x, y, 0.3 * radius, max(3, corners // 2))
    shape = shapely.Polygon(ring, [inner])
    fences = of_rings(ring, inner)
    vertices = shapely.get_coordinates(shape)[: some(20_000)]
    middles = 0.5 * (vertices + np.roll(vertices, 1, axis=0))
    uniform = random.uniform((x - radius, y - radius), (x + radius, y + radius), (some(5000), 2))
    level = np.column_stack((uniform[: len(vertices), 0], vertices[: len(uniform), 1]))
    plumb = np.column_stack((vertices[: len(uniform), 0], uniform[: len(vertices), 1]))
    points = np.concatenate((vertices, middles, uniform, level, plumb))
    check(fences, [shape], *points.T)


def test_shared_borders_holes_islands_and_overlapping_parts():
    island = [(1.5, 1.5), (2.5, 1.5), (2.5, 2.5), (1.5, 2.5)]

    def box(west, south, east, north):
        return (np.array([(west, south), (east, south), (east, north), (west, north)], float),)

    shapes = [
        MultiPolygonShape(((np.array(SQUARE, float), np.array(HOLE, float)), (np.array(island, float),))),
        MultiPolygonShape(((np.array([(4, 0), (8, 0), (8, 4), (4, 4)], float),),)),
        MultiPolygonShape(((np.array(HOLE, float),),)),
        # Two parts side by side, and two that overlap: their union.
        MultiPolygonShape(
            ((np.array([(0, 5), (2, 5), (2, 7), (0, 7)], float),), (np.array([(2, 5), (4, 5), (4, 7), (2, 7)], float),))
        ),
        MultiPolygonShape(
            ((np.array([(5, 5), (7, 5), (7, 7), (5, 7)], float),), (np.array([(6, 6), (8, 6), (8, 8), (6, 8)], float),))
        ),
    ]
    fences = FenceSet()
    for number, shape in enumerate(shapes):
        fences.put(FenceDefinition("acme", str(number), "", shape))
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(-1, 9.25, 0.25), np.arange(-1, 9.25, 0.25)))
    union = [shapely.union_all([shapely.Polygon(p[0], p[1:]) for p in shape.polygons]) for shape in shapes]
    check(fences, union, x, y)


def test_real_zones_equal_shapely(drover_data):
    with gzip.open(drover_data / "nyc_taxi_zones.geojson.gz") as file:
        features = json.load(file)["features"]
    if not COMPILED:
        features = features[:10]
    fences = FenceSet()
    geometries = []
    for number, feature in enumerate(features):
        fence = from_feature(feature, "acme", fence_id=str(number))
        fences.put(fence)
        geometries.append(geometry(fence.shape))
    random = np.random.default_rng(7)
    west, south, east, north = shapely.total_bounds(geometries)
    vertices = random.permutation(np.concatenate([shapely.get_coordinates(zone) for zone in geometries]))[
        : some(40_000)
    ]
    count = some(100_000)
    uniform = random.uniform((west, south), (east, north), (count, 2))
    beside = vertices + random.normal(0, 1e-7, vertices.shape)
    level = np.column_stack((random.uniform(west, east, len(vertices)), vertices[:, 1]))
    points = np.concatenate((uniform, vertices, beside, level))
    check(fences, geometries, *points.T)


def test_synthetic_fences_of_all_sizes_equal_shapely():
    random = np.random.default_rng(11)
    fences = FenceSet()
    geometries = []
    for number in range(some(3000)):
        ring = star(random, *random.uniform(-60, 60, 2), 10 ** random.uniform(-5, 1.3), int(random.integers(3, 40)))
        fences.put(polygon(str(number), ring))
        geometries.append(shapely.Polygon(ring))
    vertices = np.concatenate([shapely.get_coordinates(shape) for shape in geometries])
    points = np.concatenate(
        (random.uniform(-85, 85, (some(20_000), 2)), vertices, 0.5 * (vertices[1:] + vertices[:-1]))
    )
    check(fences, geometries, *points.T)


def test_a_comb_that_no_grid_resolves():
    """Many long thin teeth: cells keep long lists, within the budget of cells."""
    teeth = some(2000)
    ring = [(0.0, -1.0)]
    for tooth in range(teeth):
        ring += [(tooth * 1e-3, 10.0), (tooth * 1e-3 + 5e-4, 0.0)]
    ring.append((teeth * 1e-3, -1.0))
    fences = of_rings(ring)
    assert len(fences._rows[0].keys) < 8192 + 16 * len(ring)
    random = np.random.default_rng(3)
    points = random.uniform((-0.1, -1.1), (teeth * 1e-3 + 0.1, 10.1), (some(4000), 2))
    check(fences, [shapely.Polygon(ring)], *points.T)


def test_small_large_empty_and_overfull_batches_agree():
    fences = FenceSet()
    overlapping = 40
    for number in range(overlapping):
        fences.put(polygon(str(number), [(0, 0), (9, 0), (9, 9 + number % 3), (0, 9)]))
    fences.put(FenceDefinition("acme", "round", "", CircleShape(4.5, 4.5, 300_000.0)))
    random = np.random.default_rng(5)
    assert found_by_batch(fences, [], []) == []
    for count in (1, BLOCK, BLOCK + 1, *((TILED_FROM, MOST_TILED + 100) if COMPILED else ())):
        points = random.uniform(-1, 10, (count, 2))
        by_batch = found_by_batch(fences, *points.T)
        for place in range(0, count, max(1, count // 200)):
            assert by_batch[place] == found_at(fences, *points[place])
    assert max(map(len, found_by_batch(fences, *points.T))) == overlapping + 1


def test_too_little_room_is_told_and_nothing_is_written_beyond():
    fences = FenceSet()
    for number in range(5):
        fences.put(polygon(str(number), SQUARE))
    room = np.full(8, -7, np.int32)
    number = fences.tenant_number("acme")
    assert find_containing(fences.compiled, number, 1.0, 1.0, room[:3]) == -5
    assert (room[3:] == -7).all()
    assert find_containing(fences.compiled, number, 1.0, 1.0, room) == 5
    assert room.tolist() == [0, 1, 2, 3, 4, -7, -7, -7]


ACROSS = {
    "running on": [(170, -10), (190, -10), (190, 10), (170, 10)],
    "running on westwards": [(-170, -10), (-170, 10), (-190, 10), (-190, -10)],
    "wrapped": [(170, -10), (-170, -10), (-170, 10), (170, 10)],
}


@pytest.mark.parametrize("name", ACROSS)
def test_rings_across_the_antimeridian_equal_the_cut_polygon(name):
    fences = of_rings(ACROSS[name])
    cut = FenceSet()
    halves = (
        np.array([(170, -10), (180, -10), (180, 10), (170, 10)], float),
        np.array([(-180, -10), (-170, -10), (-170, 10), (-180, 10)], float),
    )
    cut.put(FenceDefinition("acme", "cut", "", MultiPolygonShape(tuple((half,) for half in halves))))
    for x in (-180, -179.99, -175, -170, -169.99, 0, 169.99, 170, 175, 179.99, 180, math.nextafter(-170, 0)):
        for y in (-10.01, -10, 0, 10, 10.01):
            inside = abs(x) >= 170 and abs(y) <= 10
            assert found_at(fences, x, y) == [0] * inside, (x, y)
            assert found_at(cut, x, y) == [0] * inside, (x, y)


def test_a_jagged_ring_across_the_antimeridian_equals_shapely_a_turn_away():
    random = np.random.default_rng(2)
    ring = star(random, 180.0, 50.0, 5.0, 200)
    assert (ring[:, 0] > 180).any()
    shape = shapely.Polygon(ring)
    for frame in (ring, np.column_stack((np.where(ring[:, 0] > 180, ring[:, 0] - 360, ring[:, 0]), ring[:, 1]))):
        fences = of_rings(frame)
        # On multiples of 2**-30 a turn is added without rounding.
        points = np.round(random.uniform((174, 44), (186, 56), (some(4000), 2)) * 2**30) / 2**30
        points = np.concatenate((points, ring[ring[:, 0] <= 180]))
        expected = containing([shape], *points.T)
        x = np.where(points[:, 0] > 180, points[:, 0] - 360, points[:, 0])
        assert found_by_batch(fences, x, points[:, 1]) == expected


def test_a_border_on_the_antimeridian_belongs_from_both_sides():
    east = of_rings([(170, 0), (180, 0), (180, 5), (170, 5)])
    assert found_at(east, 180, 2) == [0]
    assert found_at(east, -180, 2) == [0]
    assert found_at(east, math.nextafter(-180, 0), 2) == []


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_poles_and_the_whole_world(pole):
    sign = math.copysign(1, pole)
    cap = of_rings([(-180, 80 * sign), (180, 80 * sign), (180, pole), (-180, pole)])
    world = of_rings([(-180, -90), (180, -90), (180, 90), (-180, 90)])
    for x in (-180, -90, 0, 45.5, 180):
        assert found_at(cap, x, pole) == [0]
        assert found_at(cap, x, 80 * sign) == [0]
        assert found_at(cap, x, math.nextafter(80 * sign, 0)) == []
        assert found_at(world, x, pole) == [0]
        assert found_at(world, x, 0) == [0]
    assert found_at(cap, 0, math.nextafter(pole, 1000 * sign)) == []


def test_a_ring_far_wider_than_it_is_not_taken_for_one_across_the_antimeridian():
    wide = of_rings([(-150, -10), (150, -10), (0, 10)])
    assert found_at(wide, 0, 0) == [0]
    assert found_at(wide, 179, -9.9) == []
