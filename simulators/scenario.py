"""Who and what is simulated: a town with sites, a fleet with tours, readers at the gates, and what is shipped.

The same seed gives the same scenario, so that whoever defines fences and shipments and whoever drives agree.
"""

from __future__ import annotations

import dataclasses
import pathlib
import random
from typing import Final

from simulators import osm_roads, roads
from simulators.rfid import sgtin_96
from simulators.roads import Crossing, RoadGraph

TOWN_LONGITUDE_DEG: Final = -8.612
TOWN_LATITUDE_DEG: Final = 41.162
SITE_RADIUS_M: Final = 180.0
COMPANY: Final = 614141

SITE_NAMES: Final = (
    "Port terminal", "Rail yard", "Cold store", "Cross dock North", "Cross dock South", "Airport cargo", "Hypermarket",
    "Brewery", "Hospital supply", "Car plant", "Parcel hub", "Builders' yard",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """A place where vehicles stop; has a fence, and some have a reader at the gate."""

    site_id: str
    name: str
    crossing: int
    place: Crossing
    reader_id: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A vehicle of the fleet."""

    device_id: str
    display_name: str
    tour: tuple[int, ...]
    start_share: float
    """How much of its first leg is behind it, 0 to 1."""
    start_before_stop_m: float | None
    """Instead, how far before its first stop it starts."""
    refrigerated: bool
    tags: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a simulation needs to know before it starts."""

    seed: int
    graph: RoadGraph
    sites: tuple[Site, ...]
    fleet: tuple[Member, ...]

    def legs(self, member: Member) -> list[list[Crossing]]:
        """The line of each leg of a tour, site to site."""
        count = len(member.tour)
        ways = [
            self.graph.quickest(self.sites[member.tour[n]].crossing, self.sites[member.tour[(n + 1) % count]].crossing)
            for n in range(count)
        ]
        return [[self.graph.crossings[n] for n in way] for way in ways]


def build(seed: int, vehicles: int, *, osm: pathlib.Path | None = None) -> Scenario:
    """A scenario with so many vehicles, in an invented town or on the roads of an OpenStreetMap extract."""
    rng = random.Random(f"scenario {seed}")
    graph = osm_roads.load(osm) if osm is not None else roads.town(rng, TOWN_LONGITUDE_DEG, TOWN_LATITUDE_DEG)
    crossings = _spread(graph, rng, len(SITE_NAMES))
    sites = tuple(
        Site(f"site-{n:02d}", name, crossing, graph.crossings[crossing], f"reader-{n:02d}" if n % 3 == 0 else None)
        for n, (name, crossing) in enumerate(zip(SITE_NAMES, crossings, strict=True))
    )
    fleet = []
    for number in range(vehicles):
        tour = tuple(rng.sample(range(len(sites)), min(rng.randint(3, 5), len(sites))))
        # Every eighth begins just outside the fence of its stop, so that things happen from the first seconds on.
        before_stop_m = SITE_RADIUS_M * rng.uniform(1.3, 2.0) if number % 8 == 0 else None
        share = rng.uniform(0.0, 0.95)
        refrigerated = number % 3 == 0
        kind = "Reefer" if refrigerated else "Truck"
        tags = tuple(sgtin_96(COMPANY, 812345, 100 * number + n) for n in range(3))
        fleet.append(
            Member(f"truck-{number:04d}", f"{kind} {number:03d}", tour, share, before_stop_m, refrigerated, tags)
        )
    return Scenario(seed, graph, sites, tuple(fleet))


def _spread(graph: RoadGraph, rng: random.Random, count: int) -> list[int]:
    """So many crossings, far from each other: each the farthest of some candidates."""
    chosen = [rng.randrange(len(graph.crossings))]
    while len(chosen) < count:
        candidates = [rng.randrange(len(graph.crossings)) for _ in range(40)]
        chosen.append(
            max(
                candidates,
                key=lambda n: min(roads.distance_m(graph.crossings[n], graph.crossings[other]) for other in chosen),
            )
        )
    return chosen
