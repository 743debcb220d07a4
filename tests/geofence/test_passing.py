"""Which fences a leg passes through: against shapely for polygons, against many points of the leg for the others."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geofence.compiled import CROSS
from geofence.containment import contains_one
from geofence.definition import CircleShape, CorridorShape, FenceDefinition, MultiPolygonShape, VisitRule
from geofence.fence_set import FenceSet
from geofence.passing import (
    BACKWARD,
    FORWARD,
    NO_DIRECTION,
    WALK_WORDS,
    find_on_leg,
    passing_direction,
    passing_fractions,
)
from tests.geofence import naive

CROSSED = VisitRule(cross=True)
Leg = tuple[float, float, float, float]


def put(fences: FenceSet, number: int, shape) -> int:
    return fences.put(FenceDefinition("t", str(number), "", shape, visit=CROSSED))


def met(fences: FenceSet, leg: Leg, room: int = 64) -> list[int]:
    slots = np.empty(room, np.int32)
    count = find_on_leg(fences.compiled, 0, CROSS, *leg, np.empty(WALK_WORDS, np.int64), slots)
    assert count >= 0
    found = slots[:count].tolist()
    assert len(set(found)) == count
    return sorted(found)


def square(west: float, south: float, size: float) -> MultiPolygonShape:
    corners = [(west, south), (west + size, south), (west + size, south + size), (west, south + size)]
    return MultiPolygonShape(((np.array(corners),),))


def test_polygons_as_shapely_says() -> None:
    random = np.random.default_rng(1)
    fences, rings = FenceSet(), []
    for number in range(60):
        x, y = random.uniform(-1.0, 1.0, 2)
        rings.append(naive.star(random, x, y, random.uniform(0.01, 0.3), int(random.integers(3, 20))))
        put(fences, number, MultiPolygonShape(((rings[-1],),)))
    areas = [shapely.Polygon(ring) for ring in rings]
    passed = 0
    for _ in range(naive.some(3000)):
        x0, y0 = random.uniform(-1.2, 1.2, 2)
        reach = random.choice([0.001, 0.05, 0.5])
        x1, y1 = x0 + random.uniform(-reach, reach), y0 + random.uniform(-reach, reach)
        leg = shapely.LineString([(x0, y0), (x1, y1)])
        candidates = met(fences, (x0, y0, x1, y1))
        for slot, area in enumerate(areas):
            if not area.intersects(leg):
                continue
            assert slot in candidates
            if area.intersects(shapely.Point(x0, y0)) or area.intersects(shapely.Point(x1, y1)):
                continue
            first, last = passing_fractions(fences.compiled, slot, x0, y0, x1, y1)
            along = shapely.Point(x0, y0)
            parts = shapely.get_coordinates(area.intersection(leg))
            apart = [along.distance(shapely.Point(part)) / leg.length for part in parts]
            assert first == pytest.approx(min(apart), abs=1e-7)
            assert last == pytest.approx(max(apart), abs=1e-7)
            passed += 1
        for slot in candidates:
            if not areas[slot].intersects(leg):
                assert passing_fractions(fences.compiled, slot, x0, y0, x1, y1) == (2.0, 2.0)
    assert passed > naive.some(3000) / 20


@pytest.mark.parametrize("latitude_deg", [0.0, 60.0])
def test_circles_and_corridors_as_many_points_say(latitude_deg: float) -> None:
    random = np.random.default_rng(2)
    fences = FenceSet()
    for number in range(20):
        x, y = random.uniform(-0.1, 0.1, 2)
        if number % 2:
            shape = CircleShape(x, latitude_deg + y, float(random.uniform(20.0, 2000.0)))
        else:
            line = np.array([(x, latitude_deg + y)]) + np.cumsum(random.uniform(-0.03, 0.03, (4, 2)), axis=0)
            shape = CorridorShape(line, float(random.uniform(5.0, 500.0)))
        put(fences, number, shape)
    compiled, passed, missed = fences.compiled, 0, 0
    steps = np.linspace(0.0, 1.0, 400 if naive.COMPILED else 80)
    for _ in range(max(naive.some(300), 20)):
        x0, y0, x1, y1 = random.uniform(-0.12, 0.12, 4)
        y0, y1 = y0 + latitude_deg, y1 + latitude_deg
        candidates = met(fences, (x0, y0, x1, y1))
        for slot in range(20):
            if contains_one(compiled, slot, x0, y0) or contains_one(compiled, slot, x1, y1):
                continue
            inside = [contains_one(compiled, slot, x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in steps]
            first, last = passing_fractions(compiled, slot, x0, y0, x1, y1)
            if not any(inside):
                missed += 1
                # Less than a step of it, if at all.
                assert first > 1.0 or last - first < steps[1]
                continue
            passed += 1
            assert slot in candidates
            if slot % 2:
                assert first <= steps[inside.index(True)]
                assert last >= steps[len(steps) - 1 - inside[::-1].index(True)]
            for t in (first, last):
                assert contains_one(compiled, slot, x0 + t * (x1 - x0), y0 + t * (y1 - y0))
    assert passed > 20
    assert missed > 20


def test_a_corridor_that_is_met_twice() -> None:
    fences = FenceSet()
    arch = np.array([(0.0, 0.0), (0.0, 0.01), (0.01, 0.01), (0.01, 0.0)])
    slot = put(fences, 0, CorridorShape(arch, 55.0))
    first, last = passing_fractions(fences.compiled, slot, -0.01, 0.002, 0.02, 0.002)
    # 55 metres are half of a thousandth of a degree.
    assert (first, last) == pytest.approx(((0.01 - 0.0005) / 0.03, (0.02 + 0.0005) / 0.03), abs=1e-3)


@pytest.mark.parametrize(
    ("leg", "expected"),
    [
        ((-1.0, 0.5, 2.0, 0.5), (1 / 3, 2 / 3)),
        ((-1.0, 0.0, 2.0, 0.0), (1 / 3, 2 / 3)),  # along its edge
        ((-1.0, -0.9, 1.0, 3.1), (2.0, 2.0)),
        ((-1.0, 0.0, 1.0, 2.0), (0.5, 0.5)),  # the corner alone, which belongs to it
        ((-1.0, -2.0, -1.0, 3.0), (2.0, 2.0)),
        ((3.0, 3.0, 3.0, 3.0), (2.0, 2.0)),
    ],
)
def test_edges_and_corners(leg: Leg, expected: tuple[float, float]) -> None:
    fences = FenceSet()
    slot = put(fences, 0, square(0.0, 0.0, 1.0))
    assert passing_fractions(fences.compiled, slot, *leg) == pytest.approx(expected, abs=1e-9)
    if expected[0] <= 1.0:
        assert met(fences, leg) == [slot]


@pytest.mark.parametrize("shape", [square(179.995, -0.005, 0.01), CircleShape(180.0, 0.0, 500.0)])
def test_across_the_180th_meridian(shape) -> None:
    fences = FenceSet()
    slot = put(fences, 0, shape)
    for leg in ((179.98, 0.0, -179.98, 0.0), (-179.98, 0.0, 179.98, 0.0)):
        assert met(fences, leg) == [slot]
        first, last = passing_fractions(fences.compiled, slot, *leg)
        assert 0.3 < first < 0.5 < last < 0.7


def test_only_what_watches_and_only_of_the_tenant() -> None:
    fences = FenceSet()
    watching = put(fences, 0, square(0.0, 0.0, 1.0))
    fences.put(FenceDefinition("t", "other", "", square(0.0, 0.0, 1.0)))
    fences.put(FenceDefinition("u", "0", "", square(0.0, 0.0, 1.0), visit=CROSSED))
    leg = (-1.0, 0.5, 2.0, 0.5)
    assert met(fences, leg) == [watching]
    assert fences.compiled.tenant_crosses[:2].tolist() == [1, 1]
    fences.delete("t", "0")
    assert met(fences, leg) == []
    assert fences.compiled.tenant_crosses[:2].tolist() == [0, 1]
    walk = np.empty(WALK_WORDS, np.int64)
    for tenant in (-1, 2, 99):
        assert find_on_leg(fences.compiled, tenant, CROSS, *leg, walk, np.empty(4, np.int32)) == 0


def test_too_little_room_is_said() -> None:
    fences = FenceSet()
    for number in range(10):
        put(fences, number, square(0.1 * number, 0.0, 0.05))
    leg = (-1.0, 0.02, 2.0, 0.02)
    assert met(fences, leg) == list(range(10))
    walk = np.empty(WALK_WORDS, np.int64)
    assert find_on_leg(fences.compiled, 0, CROSS, *leg, walk, np.empty(3, np.int32)) <= -10


def test_many_tenants_count_their_own() -> None:
    fences = FenceSet()
    for number in range(30):
        fences.put(FenceDefinition(f"t{number}", "a", "", square(0.0, 0.0, 1.0), visit=CROSSED))
    assert fences.compiled.tenant_crosses[:30].tolist() == [1] * 30


NORTHWARD = np.array([(0.0, -0.01), (0.0, 0.0), (0.0, 0.01)])


@pytest.mark.parametrize(
    ("line", "leg", "direction"),
    [
        (NORTHWARD, (-0.01, 0.005, 0.01, 0.005), FORWARD),
        (NORTHWARD, (0.01, 0.005, -0.01, 0.005), BACKWARD),
        (NORTHWARD[::-1], (-0.01, 0.005, 0.01, 0.005), BACKWARD),
        # Through a point of the line, and along the line.
        (NORTHWARD, (-0.01, 0.0, 0.01, 0.0), FORWARD),
        (NORTHWARD, (0.0, -0.02, 0.0, 0.02), NO_DIRECTION),
        # There and back: a line with a bend that both ends are on one side of.
        (np.array([(0.0, 0.0), (0.01, 0.005), (0.0, 0.01)]), (0.005, -0.01, 0.005, 0.02), NO_DIRECTION),
        (NORTHWARD, (-0.01, 0.02, 0.01, 0.02), NO_DIRECTION),
        (NORTHWARD + np.array([180.0, 0.0]), (179.99, 0.005, -179.99, 0.005), FORWARD),
    ],
)  # fmt: skip
def test_directions_across_a_line(line: np.ndarray, leg: Leg, direction: int) -> None:
    fences = FenceSet()
    slot = put(fences, 0, CorridorShape(line, 50.0))
    assert passing_direction(fences.compiled, slot, *leg) == direction
    area = put(fences, 1, square(-0.001, -0.001, 0.002))
    assert passing_direction(fences.compiled, area, *leg) == NO_DIRECTION
