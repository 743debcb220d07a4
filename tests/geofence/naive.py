"""Slow and obvious oracles for the kernels of geofence."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction

import numba
import numpy as np
import pyproj
import shapely

from geofence.definition import FenceDefinition, MultiPolygonShape

GEOD = pyproj.Geod(ellps="WGS84")
# With compiled kernels; without, tests of many points take a hundredth of them.
COMPILED = not numba.config.DISABLE_JIT


def some(count: int) -> int:
    return count if COMPILED else max(count // 100, 50)


def orientation_sign(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> int:
    determinant = (Fraction(ax) - Fraction(px)) * (Fraction(by) - Fraction(py)) - (Fraction(ay) - Fraction(py)) * (
        Fraction(bx) - Fraction(px)
    )
    return (determinant > 0) - (determinant < 0)


def geometry(shape: MultiPolygonShape) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.Polygon(rings[0], rings[1:]) for rings in shape.polygons])


def containing(geometries, x, y) -> list[list[int]]:
    """For each point, the places of the geometries that shapely says intersect it, and of those on whose boundary it is
    exactly: now and then shapely, which reckons in doubled doubles, takes such a point for one beside the edge.
    """
    tree = shapely.STRtree(geometries)
    points = shapely.points(x, y)
    found: list[set[int]] = [set() for _ in x]
    for point, place in tree.query(points, predicate="intersects").T.tolist():
        found[point].add(place)
    for point, place in tree.query(points, predicate="dwithin", distance=1e-12).T.tolist():
        if place not in found[point] and is_on_boundary(geometries[place], float(x[point]), float(y[point])):
            found[point].add(place)
    return [sorted(places) for places in found]


def is_on_boundary(geometry, x: float, y: float) -> bool:
    """Whether a point is on an edge, without any rounding."""
    for line in shapely.get_parts(shapely.boundary(geometry)):
        for (ax, ay), (bx, by) in itertools.pairwise(shapely.get_coordinates(line).tolist()):
            if min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
                across = (Fraction(bx) - Fraction(ax)) * (Fraction(y) - Fraction(ay))
                if across == (Fraction(by) - Fraction(ay)) * (Fraction(x) - Fraction(ax)):
                    return True
    return False


def polygon(fence_id: str, *rings, tenant: str = "acme", **others) -> FenceDefinition:
    shape = MultiPolygonShape((tuple(np.array(ring, np.float64) for ring in rings),))
    return FenceDefinition(tenant, fence_id, fence_id, shape, **others)


def star(random: np.random.Generator, x: float, y: float, radius: float, corners: int) -> np.ndarray:
    """A jagged ring around a point that does not cross itself."""
    angle = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False) + random.uniform(0.0, np.pi / corners, corners)
    reach = radius * random.uniform(0.4, 1.0, corners)
    return np.column_stack((x + reach * np.cos(angle), y + reach * np.sin(angle)))


def line_distance_m(line: np.ndarray, longitude_deg: float, latitude_deg: float, steps: int = 4000) -> float:
    """Distance to a line straight in degrees: to many points on it, then to many around the nearest."""
    # Where a point is repeated, the nearest place would be many places.
    line = line[np.append(True, np.any(np.diff(line, axis=0) != 0, axis=1))]
    low, high = 0.0, len(line) - 1.0
    for _ in range(3):
        at = np.linspace(low, high, steps)
        segment = np.minimum(at.astype(int), len(line) - 2)
        part = (at - segment)[:, None]
        on_line = line[segment] * (1.0 - part) + line[segment + 1] * part
        count = len(on_line)
        _, _, away = GEOD.inv(on_line[:, 0], on_line[:, 1], np.full(count, longitude_deg), np.full(count, latitude_deg))
        nearest = int(np.argmin(away))
        width = (high - low) / steps
        low = max(0.0, at[nearest] - 2 * width)
        high = min(len(line) - 1.0, at[nearest] + 2 * width)
    return float(away.min())


@dataclasses.dataclass
class Machine:
    """DESIGN 5, word by word: states as strings, every fix kept, everything found by looking back."""

    enter_fixes: int
    exit_fixes: int
    confirm_after_us: int | None
    exit_margin_m: float
    accuracy_cap_m: float
    state: str = "unknown"

    def __post_init__(self) -> None:
        self.fixes: list[tuple[int, float, float, str]] = []
        self.pending: list[int] = []

    def see(self, at_us: int, distance_m: float, accuracy_m: float) -> tuple[str, int, int] | None:
        """Takes a fix; returns (event, first fix of the new side, confirming fix) by their places among all fixes."""
        if distance_m <= 0.0:
            says = "in"
        elif distance_m - min(accuracy_m, self.accuracy_cap_m) > self.exit_margin_m:
            says = "out"
        else:
            says = "nothing"
        self.fixes.append((at_us, distance_m, accuracy_m, says))
        place = len(self.fixes) - 1
        if says == "nothing":
            return None
        if self.state == "unknown":
            self.state = says
            return None
        if says == self.state:
            self.pending = []
            return None
        self.pending.append(place)
        needed = self.enter_fixes if says == "in" else self.exit_fixes
        lasted = (
            self.confirm_after_us is not None
            and len(self.pending) > 1
            and at_us - self.fixes[self.pending[0]][0] >= self.confirm_after_us
        )
        if len(self.pending) < needed and not lasted:
            return None
        first = self.pending[0]
        if says == "out":
            # The boundary was passed on the way from the last fix inside, which for an exit may be before the first
            # fix that spoke for it.
            while self.fixes[first - 1][1] > 0.0:
                first -= 1
        self.state = says
        self.pending = []
        return ("exited" if says == "out" else "entered", first, place)
