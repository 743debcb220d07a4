"""A road graph: crossings, roads between them, and the quickest way from one to another."""

from __future__ import annotations

import dataclasses
import heapq
import math
import random
from typing import Final

EARTH_RADIUS_M: Final = 6_371_008.8

STREET_MPS: Final = 8.3
ARTERIAL_MPS: Final = 16.7


@dataclasses.dataclass(frozen=True, slots=True)
class Crossing:
    """A node of the graph."""

    longitude_deg: float
    latitude_deg: float


@dataclasses.dataclass(frozen=True, slots=True)
class Road:
    """One way along an edge."""

    to: int
    length_m: float
    speed_mps: float


def distance_m(a: Crossing, b: Crossing) -> float:
    """Great-circle distance; good enough to drive by."""
    p, q = math.radians(a.latitude_deg), math.radians(b.latitude_deg)
    half = math.sin((q - p) / 2) ** 2
    half += math.cos(p) * math.cos(q) * math.sin(math.radians(b.longitude_deg - a.longitude_deg) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))


def bearing_deg(a: Crossing, b: Crossing) -> float:
    """Direction from a to b, clockwise from north, 0 to 360."""
    p, q = math.radians(a.latitude_deg), math.radians(b.latitude_deg)
    east = math.radians(b.longitude_deg - a.longitude_deg)
    y = math.sin(east) * math.cos(q)
    x = math.cos(p) * math.sin(q) - math.sin(p) * math.cos(q) * math.cos(east)
    return math.degrees(math.atan2(y, x)) % 360


class RoadGraph:
    """Crossings and the roads that leave each of them."""

    def __init__(self, crossings: list[Crossing], roads: list[list[Road]]) -> None:
        self.crossings = crossings
        self.roads = roads

    def nearest(self, place: Crossing) -> int:
        """The crossing nearest to a place."""
        return min(range(len(self.crossings)), key=lambda n: distance_m(self.crossings[n], place))

    def quickest(self, start: int, goal: int) -> list[int]:
        """Crossings from start to goal by least driving time (Dijkstra). Raises ValueError when there is no way."""
        best = {start: 0.0}
        came_from: dict[int, int] = {}
        queue = [(0.0, start)]
        while queue:
            seconds, here = heapq.heappop(queue)
            if here == goal:
                way = [goal]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if seconds > best[here]:
                continue
            for road in self.roads[here]:
                then = seconds + road.length_m / road.speed_mps
                if then < best.get(road.to, math.inf):
                    best[road.to] = then
                    came_from[road.to] = here
                    heapq.heappush(queue, (then, road.to))
        raise ValueError(f"there is no way from crossing {start} to {goal}")

    def road(self, start: int, to: int) -> Road:
        """The road between two neighbours. Raises ValueError when they are none."""
        for road in self.roads[start]:
            if road.to == to:
                return road
        raise ValueError(f"no road from crossing {start} to {to}")


def town(
    rng: random.Random, longitude_deg: float, latitude_deg: float, *, size_m: float = 9_000.0, block_m: float = 300.0
) -> RoadGraph:
    """An invented town around a place: a grid of streets bent out of shape, some missing, every fourth an arterial."""
    count = max(3, int(size_m / block_m))
    per_degree = math.pi / 180 * EARTH_RADIUS_M
    shrink = math.cos(math.radians(latitude_deg))
    crossings = []
    for row in range(count):
        for column in range(count):
            # Two long waves bend the grid, and every crossing is moved a little.
            bend = 0.6 * block_m * math.sin(row / 5.0 + 1.0), 0.6 * block_m * math.sin(column / 6.0)
            east = (column - count / 2) * block_m + bend[0] + rng.gauss(0, block_m / 9)
            north = (row - count / 2) * block_m + bend[1] + rng.gauss(0, block_m / 9)
            crossings.append(Crossing(longitude_deg + east / (per_degree * shrink), latitude_deg + north / per_degree))
    roads: list[list[Road]] = [[] for _ in crossings]
    for row in range(count):
        for column in range(count):
            here = row * count + column
            for down, right in ((0, 1), (1, 0)):
                if row + down >= count or column + right >= count:
                    continue
                arterial = (row if right else column) % 4 == 0
                if not arterial and rng.random() < 0.18:
                    continue  # arterials are never missing, so every crossing can be reached by one
                there = here + down * count + right
                length = distance_m(crossings[here], crossings[there])
                speed = ARTERIAL_MPS if arterial else STREET_MPS
                roads[here].append(Road(there, length, speed))
                roads[there].append(Road(here, length, speed))
    return largest_part(RoadGraph(crossings, roads))


def _reached(start: int, neighbours: list[list[int]]) -> set[int]:
    found: set[int] = set()
    queue = [start]
    while queue:
        here = queue.pop()
        if here not in found:
            found.add(here)
            queue.extend(neighbours[here])
    return found


def largest_part(graph: RoadGraph) -> RoadGraph:
    """The largest set of crossings of which each can be reached from each, one-way streets obeyed."""
    ahead = [[road.to for road in leaving] for leaving in graph.roads]
    behind: list[list[int]] = [[] for _ in graph.crossings]
    for here, leaving in enumerate(ahead):
        for there in leaving:
            behind[there].append(here)
    left = set(range(len(graph.crossings)))
    largest: set[int] = set()
    while len(left) > len(largest):
        start = next(iter(left))
        part = _reached(start, ahead) & _reached(start, behind)
        left -= part
        largest = max(largest, part, key=len)
    numbers = {old: new for new, old in enumerate(sorted(largest))}
    return RoadGraph(
        [graph.crossings[old] for old in numbers],
        [
            [dataclasses.replace(road, to=numbers[road.to]) for road in graph.roads[old] if road.to in numbers]
            for old in numbers
        ],
    )
