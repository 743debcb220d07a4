from __future__ import annotations

import itertools
import pathlib
import random

import pytest

from runtime.problems import FatalError
from simulators import osm_roads, roads, scenario
from simulators.roads import Crossing, distance_m
from simulators.traffic import Traffic
from simulators.vehicle import Vehicle


def test_the_same_seed_gives_the_same_scenario() -> None:
    one, same, other = scenario.build(5, 20), scenario.build(5, 20), scenario.build(6, 20)
    assert one.fleet == same.fleet
    assert one.sites == same.sites
    assert one.graph.crossings == same.graph.crossings
    assert one.graph.crossings != other.graph.crossings


def test_the_quickest_way_is_a_way_and_no_longer_than_any_detour() -> None:
    graph = roads.town(random.Random(3), 5.0, 52.0, size_m=3_000)

    def seconds(way: list[int]) -> float:
        pairs = itertools.pairwise(way)
        return sum(graph.road(a, b).length_m / graph.road(a, b).speed_mps for a, b in pairs)

    rng = random.Random(4)
    for _ in range(30):
        start, goal, middle = (rng.randrange(len(graph.crossings)) for _ in range(3))
        direct = graph.quickest(start, goal)
        assert (direct[0], direct[-1]) == (start, goal)
        detour = graph.quickest(start, middle) + graph.quickest(middle, goal)[1:]
        assert seconds(direct) <= seconds(detour) + 1e-6


def test_vehicles_keep_to_speed_and_place_and_reach_their_sites() -> None:
    plan = scenario.build(1, 5)
    traffic = Traffic(len(plan.graph.crossings), random.Random(1))
    for member in plan.fleet:
        vehicle = Vehicle(plan.graph, [site.crossing for site in plan.sites], list(member.tour), random.Random(2))
        before = vehicle.drive(1.0, traffic.at(0.0), 30.0)
        visited = set()
        for second in range(2 * 3600):
            now = vehicle.drive(1.0, traffic.at(float(second)), 30.0)
            a, b = Crossing(before.longitude_deg, before.latitude_deg), Crossing(now.longitude_deg, now.latitude_deg)
            assert distance_m(a, b) <= 1.1 * roads.ARTERIAL_MPS + 1
            assert 0 <= now.heading_deg < 360
            if now.at_site is not None:
                visited.add(now.at_site)
                assert distance_m(b, plan.sites[now.at_site].place) < 5
            before = now
        assert visited == set(member.tour)


def test_roads_of_a_real_town_are_connected(drover_data: pathlib.Path) -> None:
    graph = osm_roads.load(drover_data / "porto.osm.pbf")
    assert len(graph.crossings) > 1_000
    reached = {0}
    queue = [0]
    while queue:
        for road in graph.roads[queue.pop()]:
            if road.to not in reached:
                reached.add(road.to)
                queue.append(road.to)
    assert len(reached) == len(graph.crossings)
    plan = scenario.build(1, 10, osm=drover_data / "porto.osm.pbf")
    assert all(plan.legs(member) for member in plan.fleet)


def test_no_roads_is_one_clear_line(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FatalError, match="there is no file"):
        osm_roads.load(tmp_path / "missing.osm.pbf")
