"""A small made-up fleet for the page to show: trucks between Dutch and Belgian cities. No network, no clock."""

from __future__ import annotations

import math
import random
from typing import Final

import numpy as np
import numpy.typing as npt

from drover.tracking.v1.event_pb2 import Cause, Severity, TrackingEvent
from gateway.live.positions_table import Fixes

CITIES: Final = {
    "Rotterdam": (4.40, 51.90),
    "Amsterdam": (4.85, 52.37),
    "Utrecht": (5.11, 52.08),
    "Eindhoven": (5.46, 51.44),
    "Antwerp": (4.38, 51.24),
    "Ghent": (3.73, 51.06),
    "Brussels": (4.36, 50.86),
    "Breda": (4.77, 51.58),
    "Venlo": (6.16, 51.37),
    "Arnhem": (5.91, 51.98),
    "Zwolle": (6.09, 52.51),
    "Vlissingen": (3.58, 51.46),
}
_ROADS: Final = (
    ("Rotterdam", "Utrecht"), ("Rotterdam", "Breda"), ("Rotterdam", "Amsterdam"), ("Breda", "Antwerp"),
    ("Antwerp", "Ghent"), ("Antwerp", "Brussels"), ("Ghent", "Brussels"), ("Breda", "Eindhoven"),
    ("Eindhoven", "Venlo"), ("Utrecht", "Amsterdam"), ("Utrecht", "Arnhem"), ("Utrecht", "Eindhoven"),
    ("Arnhem", "Zwolle"), ("Amsterdam", "Zwolle"), ("Arnhem", "Venlo"), ("Ghent", "Vlissingen"),
    ("Breda", "Vlissingen"),
)  # fmt: skip
_METRES_A_DEGREE: Final = 111_195.0
_NAMES: Final = ("Atlas", "Bison", "Condor", "Dolmen", "Egret", "Falcon", "Gannet", "Heron", "Ibex", "Jackdaw")


def _road(start: str, end: str) -> npt.NDArray[np.float64]:
    """A gently winding way; the same for the same cities."""
    (x0, y0), (x1, y1) = CITIES[start], CITIES[end]
    bend = random.Random(start + end)
    a, b = bend.uniform(-0.06, 0.06), bend.uniform(-0.03, 0.03)
    share = np.linspace(0.0, 1.0, 80)
    off = a * np.sin(np.pi * share) + b * np.sin(3 * np.pi * share)
    length = math.hypot(x1 - x0, y1 - y0)
    return np.column_stack(
        (x0 + (x1 - x0) * share - off * (y1 - y0) / length, y0 + (y1 - y0) * share + off * (x1 - x0) / length)
    )


_WAYS: Final = {ends: _road(*ends) for ends in _ROADS} | {(b, a): _road(a, b)[::-1] for a, b in _ROADS}


class Truck:
    """One vehicle: somewhere on the way from one city to the next."""

    def __init__(self, number: int, seed: random.Random) -> None:
        self.number = number
        self.device_id = f"truck-{number:03d}"
        self.name = f"{_NAMES[number % len(_NAMES)]} {number:03d}"
        self.seed = seed
        self.ends = seed.choice(list(_WAYS))
        self.at_m = seed.random() * 40_000
        self.speed_mps = seed.uniform(17, 27)
        self.silent_s = 0.0 if seed.random() < 0.86 else seed.choice([90.0, 160.0, 700.0])
        self.knows_heading = seed.random() > 0.06
        self.longitude_deg = self.latitude_deg = 0.0
        self.heading_deg = math.nan
        self.advance(0.0)

    def advance(self, seconds: float) -> None:
        """Drives on."""
        self.at_m += self.speed_mps * seconds
        way = _WAYS[self.ends]
        scale = np.array([math.cos(math.radians(51.6)), 1.0]) * _METRES_A_DEGREE
        legs = np.linalg.norm(np.diff(way, axis=0) * scale, axis=1)
        ends = np.concatenate(([0.0], np.cumsum(legs)))
        if self.at_m >= ends[-1]:
            self.at_m -= float(ends[-1])
            self.ends = self.seed.choice([pair for pair in _WAYS if pair[0] == self.ends[1]])
            self.advance(0.0)
            return
        leg = int(np.searchsorted(ends, self.at_m, "right")) - 1
        here = way[leg] + (way[leg + 1] - way[leg]) * (self.at_m - ends[leg]) / legs[leg]
        step = (way[leg + 1] - way[leg]) * scale
        self.longitude_deg, self.latitude_deg = float(here[0]), float(here[1])
        self.heading_deg = math.degrees(math.atan2(step[0], step[1])) % 360 if self.knows_heading else math.nan


class World:
    """All trucks, as the columns that a frame is made of."""

    def __init__(self, trucks: int, seed: int = 7) -> None:
        self.random = random.Random(seed)
        self.trucks = [Truck(number, random.Random(seed * 100_003 + number)) for number in range(1, trucks + 1)]
        self.device_number = np.array([truck.number for truck in self.trucks], np.uint32)
        self._events = 0

    def advance(self, seconds: float) -> None:
        """Every truck that is not silent drives on."""
        for truck in self.trucks:
            if truck.silent_s == 0.0:
                truck.advance(seconds)

    def fixes(self, now_us: int) -> Fixes:
        """Where they were seen last; silent ones a while ago."""
        trucks = self.trucks
        return Fixes(
            np.array([now_us - int(truck.silent_s * 1e6) for truck in trucks], np.int64),
            np.array([truck.longitude_deg for truck in trucks]),
            np.array([truck.latitude_deg for truck in trucks]),
            np.array([0.0 if truck.silent_s else truck.speed_mps for truck in trucks], np.float32),
            np.array([truck.heading_deg for truck in trucks], np.float32),
            np.array([6.0 + truck.number % 9 for truck in trucks], np.float32),
        )

    def event(
        self, kind: str, truck: Truck, now_us: int, severity: Severity.ValueType, **details: object
    ) -> TrackingEvent:
        """Something that happened to a truck, where it is now."""
        self._events += 1
        event = TrackingEvent(
            event_id=f"{self._events:032x}",
            tenant="demo",
            device_id=truck.device_id,
            device_number=truck.number,
            observed_at_us=now_us,
            confirmed_at_us=now_us,
            cause=Cause.CAUSE_MOVEMENT,
            severity=severity,
            latitude_deg=truck.latitude_deg,
            longitude_deg=truck.longitude_deg,
        )
        body = getattr(event, kind)
        body.SetInParent()
        for name, value in details.items():
            setattr(body, name, value)
        return event
