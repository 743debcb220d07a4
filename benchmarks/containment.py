"""Containment of bulk points in fences, beside `shapely.STRtree.query(predicate="intersects")`, with identical answers.

Cases: `nyc_zones`, 263 real zones with 98,192 vertices (left out, and said so, without the real data);
`synthetic_10000`, fences as fleets have them, see `synthetic_fences`; `growth_100`, `growth_10000` and
`growth_100000`, the same fences at the same density over more and more ground; `edit_100000`, one edit among
100,000 fences, beside a new STRtree; and `differential`, ten million points (a few with --quick) of the kinds that
go wrong, every answer compared.

One core: neither side has more than one thread. Points are made and the peer's tree is built outside the clock; the
peer is given shapely points, ours the columns that decoders deliver.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import pathlib
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import shapely

from benchmarks.report import Options, Result, main, measure_pairs, progress, rate_result, spread_of
from geofence.containment import find_containing_batch
from geofence.definition import FenceDefinition, MultiPolygonShape
from geofence.fence_set import FenceSet
from geofence.geojson import from_feature

F64 = npt.NDArray[np.float64]
TENANT = "benchmark"


class Fences:
    """The same fences for both sides."""

    def __init__(self, shapes: list[MultiPolygonShape]) -> None:
        self.set = FenceSet()
        start = time.perf_counter()
        for number, shape in enumerate(shapes):
            self.set.put(FenceDefinition(TENANT, str(number), "", shape))
        self.build_s = time.perf_counter() - start
        self.geometries = [
            shapely.MultiPolygon([shapely.Polygon(rings[0], rings[1:]) for rings in shape.polygons])
            if len(shape.polygons) > 1
            else shapely.Polygon(shape.polygons[0][0], shape.polygons[0][1:])
            for shape in shapes
        ]
        self.tree = shapely.STRtree(self.geometries)
        self.vertices = sum(len(ring) for shape in shapes for rings in shape.polygons for ring in rings)
        self.bounds = shapely.total_bounds(self.geometries)

    def ours(self, points: F64) -> npt.NDArray[np.int64]:
        """Pairs (point, slot) in ascending order, as (2, n)."""
        tenant = np.full(len(points), self.set.tenant_number(TENANT), np.int32)
        offsets, slots = find_containing_batch(
            self.set.compiled, tenant, np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])
        )
        return np.stack((np.repeat(np.arange(len(points)), np.diff(offsets)), slots.astype(np.int64)))

    def peer(self, points: F64) -> npt.NDArray[np.int64]:
        """The same from shapely."""
        pairs = self.tree.query(shapely.points(points), predicate="intersects")
        return np.asarray(pairs[:, np.lexsort((pairs[1], pairs[0]))], np.int64)

    def agree(self, points: F64) -> bool:
        """Whether both give the same pairs for all points."""
        return np.array_equal(self.ours(points), self.peer(points))

    def bytes_a_fence(self) -> float:
        """Memory of the compiled arrays, room to spare included, for each fence."""
        return sum(array.nbytes for array in self.set.compiled) / len(self.set)


def synthetic_fences(random: np.random.Generator, count: int, extent_deg: float) -> list[MultiPolygonShape]:
    """Fences over a square: yards (turned boxes), circles drawn with 64 corners as map editors do, and jagged zones.

    Four in ten are yards of 100 m to 1 km, three in ten circles of 200 m to 10 km, three in ten zones of 1 to 50 km
    with 30 to 300 corners; they overlap.
    """
    shapes = []
    for _ in range(count):
        centre = np.array((5.0, 50.0)) + random.uniform(-0.5 * extent_deg, 0.5 * extent_deg, 2)
        kind = random.random()
        if kind < 0.4:
            half_m = 50.0 * 10.0 ** random.uniform(0.0, 1.0)
            turn = random.uniform(0.0, math.pi)
            angle = turn + np.array([0.6, math.pi - 0.6, math.pi + 0.6, 2.0 * math.pi - 0.6])
            reach_m = np.full(4, half_m)
        elif kind < 0.7:
            angle = np.linspace(0.0, 2.0 * math.pi, 64, endpoint=False)
            reach_m = np.full(64, 200.0 * 50.0 ** random.uniform(0.0, 1.0))
        else:
            corners = int(30.0 * 10.0 ** random.uniform(0.0, 1.0))
            angle = np.linspace(0.0, 2.0 * math.pi, corners, endpoint=False)
            reach_m = 500.0 * 50.0 ** random.uniform(0.0, 1.0) * (1.0 + 0.3 * random.uniform(-1.0, 1.0, corners))
        reach_deg = reach_m / 111_000.0
        ring = centre + np.column_stack(
            (reach_deg * np.cos(angle) / math.cos(math.radians(centre[1])), reach_deg * np.sin(angle))
        )
        shapes.append(MultiPolygonShape(((ring,),)))
    return shapes


def uniform_points(random: np.random.Generator, bounds: F64, count: int) -> F64:
    """Points all over a box."""
    return random.uniform(bounds[:2], bounds[2:], (count, 2))


def compare(case: str, fences: Fences, random: np.random.Generator, count: int, pairs: int) -> Result:
    """Rates on uniform points, ours on `count`, the peer on as many as take it about as long."""
    points = uniform_points(random, fences.bounds, count)
    few = points[: max(2000, count // 20)]
    peer_points = shapely.points(few)
    tenant = np.full(count, fences.set.tenant_number(TENANT), np.int32)
    x = np.ascontiguousarray(points[:, 0])
    y = np.ascontiguousarray(points[:, 1])
    measured = measure_pairs(
        lambda: find_containing_batch(fences.set.compiled, tenant, x, y),
        lambda: fences.tree.query(peer_points, predicate="intersects"),
        pairs=pairs,
    )
    return rate_result(
        case,
        measured,
        count=count,
        peer_count=len(few),
        unit="points/s",
        checked=fences.agree(few),
        notes={
            "fences": len(fences.set),
            "vertices": fences.vertices,
            "ours_ns": min(pair.ours_s for pair in measured) / count * 1e9,
            "peer_ns": min(pair.peer_s for pair in measured) / len(few) * 1e9,
            "hits_a_point": fences.ours(few).shape[1] / len(few),
            "build_us_a_fence": fences.build_s / len(fences.set) * 1e6,
            "bytes_a_fence": fences.bytes_a_fence(),
        },
    )


def nyc_zones() -> list[MultiPolygonShape] | None:
    """The real zones, or None where the data is not."""
    root = pathlib.Path(__file__).resolve().parent.parent
    folder = pathlib.Path(os.environ.get("DROVER_DATA", root.parent / "shared" / "data"))
    path = folder / "nyc_taxi_zones.geojson.gz"
    if not path.exists():
        progress(f"no real data: {path} is not there; set DROVER_DATA to the folder. Case left out: nyc_zones")
        return None
    with gzip.open(path) as file:
        features = json.load(file)["features"]
    shapes = [from_feature(feature, TENANT, fence_id="zone").shape for feature in features]
    return [shape for shape in shapes if isinstance(shape, MultiPolygonShape)]


def edit(fences: Fences, random: np.random.Generator, edits: int) -> Result:
    """One put in place of a fence, or one deletion and one put, among many; the peer builds its tree anew."""
    shapes = synthetic_fences(random, edits, 20.0)
    seconds: list[float] = []
    for number, shape in enumerate(shapes):
        name = str(int(random.integers(len(fences.set))))
        start = time.perf_counter()
        if number % 2:
            fences.set.delete(TENANT, name)
        fences.set.put(FenceDefinition(TENANT, name, "", shape, version=2))
        seconds.append(time.perf_counter() - start)
        fences.geometries[int(name)] = shapely.Polygon(shape.polygons[0][0])
    peers: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        fences.tree = shapely.STRtree(fences.geometries)
        fences.tree.query(shapely.Point(5.0, 50.0), predicate="intersects")
        peers.append(time.perf_counter() - start)
    slot_of = [fences.set.slot_of(TENANT, str(number)) for number in range(len(fences.geometries))]
    points = uniform_points(random, fences.bounds, 20_000)
    ours = fences.ours(points)
    theirs = fences.peer(points)
    theirs[1] = np.array(slot_of)[theirs[1]]
    theirs = theirs[:, np.lexsort((theirs[1], theirs[0]))]
    ratios = [peer / ours_s for peer, ours_s in zip(peers * len(seconds), seconds, strict=False)]
    return Result(
        case=f"edit_{len(fences.set)}",
        ours=float(np.median(seconds)) * 1e3,
        peer=float(np.median(peers)) * 1e3,
        unit="ms/edit",
        ratio=float(np.median(ratios)),
        spread=spread_of(ratios),
        checked=np.array_equal(ours, theirs),
        notes={"edits": edits, "p99_ms": float(np.quantile(seconds, 0.99)) * 1e3, "worst_ms": max(seconds) * 1e3},
    )


def hard_points(random: np.random.Generator, fences: Fences, count: int) -> F64:
    """A fifth each: anywhere; on vertices; in the middle of edges; beside vertices; level or plumb with vertices."""
    vertices = np.asarray(shapely.get_coordinates(fences.geometries))
    share = count // 5
    chosen = random.integers(0, len(vertices) - 1, share)
    on_vertices = vertices[chosen]
    middles = 0.5 * (vertices[chosen] + vertices[chosen + 1])
    beside = on_vertices + random.normal(0.0, 1e-12, (share, 2)) * 10.0 ** random.uniform(-2, 8, (share, 1))
    aligned = uniform_points(random, fences.bounds, share)
    axis = random.integers(0, 2, share)
    aligned[np.arange(share), axis] = on_vertices[np.arange(share), axis]
    return np.concatenate((uniform_points(random, fences.bounds, share), on_vertices, middles, beside, aligned))


def differential(random: np.random.Generator, sets: list[Fences], total: int) -> Result:
    """Every answer on hard points compared; ours and the peer timed over all of them."""
    asked = 0
    wrong = 0
    ours_s = 0.0
    peer_s = 0.0
    part = min(total // len(sets), 250_000)
    while asked < total:
        for fences in sets:
            points = hard_points(random, fences, part)
            start = time.perf_counter()
            ours = fences.ours(points)
            middle = time.perf_counter()
            theirs = fences.peer(points)
            peer_s += time.perf_counter() - middle
            ours_s += middle - start
            asked += len(points)
            wrong += not np.array_equal(ours, theirs)
            progress(f"differential: {asked:,} points compared, {wrong} parts differ")
    return Result(
        case="differential",
        ours=asked / ours_s,
        peer=asked / peer_s,
        unit="points/s",
        ratio=peer_s / ours_s,
        spread=0.0,
        checked=wrong == 0,
        notes={"points": asked, "parts_that_differ": wrong},
    )


def run(options: Options) -> Iterator[Result]:
    """All cases."""
    random = np.random.default_rng(2024)
    count = 100_000 if options.quick else 1_000_000
    pairs = 3 if options.quick else 7
    sets: list[Fences] = []
    if options.wants("nyc_zones") or options.wants("differential"):
        zones = nyc_zones()
        if zones is not None:
            sets.append(Fences(zones))
    if sets and options.wants("nyc_zones"):
        yield compare("nyc_zones", sets[0], random, count, pairs)
    if options.wants("synthetic_10000") or options.wants("differential"):
        sets.append(Fences(synthetic_fences(random, 10_000, 6.0)))
    if options.wants("synthetic_10000"):
        yield compare("synthetic_10000", sets[-1], random, count, pairs)
    if options.wants("differential"):
        yield differential(random, sets, 100_000 if options.quick else 10_000_000)
    largest = None
    for number in (100, 10_000) if options.quick else (100, 1000, 10_000, 100_000):
        if options.wants(f"growth_{number}") or (options.wants("edit_100000") and number == 100_000):
            # The same density everywhere: what grows is the number of fences alone.
            largest = Fences(synthetic_fences(random, number, 6.0 * math.sqrt(number / 10_000)))
            if options.wants(f"growth_{number}"):
                yield compare(f"growth_{number}", largest, random, count, pairs)
    if largest is not None and options.wants(f"edit_{len(largest.set)}"):
        yield edit(largest, random, 200 if options.quick else 2000)


if __name__ == "__main__":
    main("containment", run)
