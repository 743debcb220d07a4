"""A road graph from an OpenStreetMap extract, with the package `osmium`."""

from __future__ import annotations

import itertools
import pathlib
from typing import Final

from runtime.problems import FatalError
from simulators.roads import Crossing, Road, RoadGraph, distance_m, largest_part

# Metres a second where no limit is tagged, by the kind of road that trucks use.
SPEEDS_MPS: Final = {
    "motorway": 27.8, "motorway_link": 16.7, "trunk": 22.2, "trunk_link": 13.9, "primary": 13.9, "primary_link": 11.1,
    "secondary": 13.9, "secondary_link": 11.1, "tertiary": 11.1, "tertiary_link": 8.3, "unclassified": 8.3,
    "residential": 8.3,
}  # fmt: skip


def load(file: pathlib.Path) -> RoadGraph:
    """The largest connected part of the roads in a .osm.pbf file. Raises FatalError when it cannot be read."""
    try:
        import osmium  # noqa: PLC0415 - optional: only this option needs it
    except ImportError as error:
        raise FatalError("--osm needs the package osmium: pip install osmium") from error
    if not file.is_file():
        raise FatalError(f"there is no file {file}")
    numbers: dict[int, int] = {}
    crossings: list[Crossing] = []
    roads: list[list[Road]] = []
    for way in osmium.FileProcessor(str(file)).with_locations().with_filter(osmium.filter.KeyFilter("highway")):
        if not isinstance(way, osmium.osm.Way) or way.tags.get("highway") not in SPEEDS_MPS:
            continue
        nodes = []
        for node in way.nodes:
            if not node.location.valid():
                continue  # cut off at the border of the extract
            if node.ref not in numbers:
                numbers[node.ref] = len(crossings)
                crossings.append(Crossing(node.lon, node.lat))
                roads.append([])
            nodes.append(numbers[node.ref])
        speed = SPEEDS_MPS[way.tags["highway"]]
        both = way.tags.get("oneway") not in {"yes", "1", "true"}
        for here, there in itertools.pairwise(nodes):
            length = distance_m(crossings[here], crossings[there])
            roads[here].append(Road(there, length, speed))
            if both:
                roads[there].append(Road(here, length, speed))
    if not crossings:
        raise FatalError(f"{file} holds no roads")
    return largest_part(RoadGraph(crossings, roads))
