"""A vehicle on its tour: drives along roads, brakes for stops, waits there, drives on."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import Final

from simulators.roads import Crossing, Road, RoadGraph, bearing_deg

ACCELERATION_MPS2: Final = 1.2
BRAKING_MPS2: Final = 1.8


@dataclasses.dataclass(slots=True)
class Truth:
    """Where a vehicle really is; what its tracker says is another matter."""

    longitude_deg: float
    latitude_deg: float
    speed_mps: float
    heading_deg: float
    at_site: int | None
    """The site it waits at."""


class Vehicle:
    """Drives from site to site in the order of its tour, for ever. `sites` are crossings of the graph."""

    def __init__(self, graph: RoadGraph, sites: list[int], tour: list[int], rng: random.Random) -> None:
        self._graph = graph
        self._sites = sites
        self._tour = tour
        self._rng = rng
        self._leg = 0
        self._way: list[int] = []
        self._edge = 0
        self._done_m = 0.0
        self._wait_s = 0.0
        self._speed_mps = 0.0
        self._plan()

    @property
    def destination(self) -> int:
        """The site it drives to, or waits at."""
        return self._tour[(self._leg + 1) % len(self._tour)]

    def way_ahead(self) -> list[Crossing]:
        """The crossings that remain of this leg, the next one first."""
        return [self._graph.crossings[n] for n in self._way[self._edge + 1 :]]

    def place(self, share: float) -> None:
        """Puts it, at full speed, where a share of its present leg is behind it, 0 to 1: a fleet is everywhere."""
        self._pass(share * self._remaining_m())

    def place_before_stop(self, remaining_m: float) -> None:
        """Puts it, at full speed, so far before its stop."""
        self._pass(max(0.0, self._remaining_m() - remaining_m))

    def _pass(self, metres: float) -> None:
        self._done_m += metres
        while self._edge < len(self._way) - 2 and self._done_m >= self._road().length_m:
            self._done_m -= self._road().length_m
            self._edge += 1
        self._speed_mps = self._road().speed_mps

    def _road(self) -> Road:
        return self._graph.road(self._way[self._edge], self._way[self._edge + 1])

    def _plan(self) -> None:
        start = self._tour[self._leg % len(self._tour)]
        self._way = self._graph.quickest(self._sites[start], self._sites[self.destination])
        self._edge = 0
        self._done_m = 0.0

    def _remaining_m(self) -> float:
        pairs = zip(self._way[self._edge :], self._way[self._edge + 1 :], strict=False)
        return sum(self._graph.road(a, b).length_m for a, b in pairs) - self._done_m

    def drive(self, seconds: float, traffic: Callable[[int], float], dwell_s: float) -> Truth:
        """Moves on. `traffic` gives, for a crossing, the share of the free speed that is possible."""
        if self._wait_s > 0:
            self._wait_s -= seconds
            if self._wait_s > 0:
                return self._truth(self.destination)
            self._leg += 1
            self._plan()
        wanted = self._road().speed_mps * traffic(self._way[self._edge]) * self._rng.uniform(0.92, 1.05)
        stopping = math.sqrt(2 * BRAKING_MPS2 * max(0.0, self._remaining_m()))
        wanted = min(wanted, max(stopping, 1.0))
        change = max(-BRAKING_MPS2 * seconds, min(ACCELERATION_MPS2 * seconds, wanted - self._speed_mps))
        self._speed_mps = max(0.5, self._speed_mps + change)
        self._done_m += self._speed_mps * seconds
        while self._done_m >= self._road().length_m:
            if self._edge == len(self._way) - 2:
                self._done_m = self._road().length_m
                self._speed_mps = 0.0
                self._wait_s = dwell_s * self._rng.uniform(0.5, 1.5)
                return self._truth(self.destination)
            self._done_m -= self._road().length_m
            self._edge += 1
        return self._truth(None)

    def _truth(self, at_site: int | None) -> Truth:
        a = self._graph.crossings[self._way[self._edge]]
        b = self._graph.crossings[self._way[self._edge + 1]]
        share = min(1.0, self._done_m / max(self._road().length_m, 0.1))
        return Truth(
            a.longitude_deg + share * (b.longitude_deg - a.longitude_deg),
            a.latitude_deg + share * (b.latitude_deg - a.latitude_deg),
            self._speed_mps,
            bearing_deg(a, b),
            at_site,
        )
