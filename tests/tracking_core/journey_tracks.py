"""Tracks of one device for the tests of journeys, and the kernels run over them one fix at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pyproj

from tests.tracking_core.naive_journeys import Told
from tests.tracking_core.readings import NAN, SECOND_US, START_US, Position
from tracking_core.columns import NO_TIME
from tracking_core.fixes.quality import MeasuredFix, Neighbour
from tracking_core.journeys.journeys import (
    BEFORE_TRIPS,
    NO_JOURNEY,
    ON_TRIP,
    STOP_BEGAN,
    STOP_ENDED,
    TRIP_ENDED,
    TRIP_STARTED,
    Journey,
    Trip,
    is_silent,
    journey_rules,
    no_trip,
    travel,
    trip_end,
    trip_length_m,
)
from tracking_core.settings import EngineSettings

GEOD = pyproj.Geod(ellps="WGS84")


class Followed:
    """The kernels of a journey over fixes that all count."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.rules = journey_rules(settings or EngineSettings())
        self.journey: Journey = NO_JOURNEY
        self.trip: Trip = BEFORE_TRIPS
        self.last: Position | None = None
        self.told: list[Told] = []

    def read(self, fix: Position, *, connected: bool = True) -> None:
        last_us = NO_TIME if self.last is None else self.last.observed_at_us
        if is_silent(last_us, fix.observed_at_us, self.rules):
            if self.trip.state == ON_TRIP:
                self._end_trip(last_us + self.rules.silent_after_us)
            self.trip = no_trip()
        before = Neighbour(NO_TIME, NAN, NAN)
        if self.last is not None and connected:
            before = Neighbour(last_us, self.last.latitude_deg, self.last.longitude_deg)
        measured = MeasuredFix(
            fix.observed_at_us,
            0,
            fix.latitude_deg,
            fix.longitude_deg,
            np.float32(NAN),
            np.float32(fix.accuracy_m),
            np.float32(fix.speed_mps),
            np.float32(NAN),
        )
        was = self.journey.stay
        self.journey, self.trip, told = travel(self.journey, self.trip, measured, before, last_us, self.rules)
        self.last = fix
        now, stay = fix.observed_at_us, self.journey.stay
        if told & STOP_ENDED:
            place = (was.latitude_deg, was.longitude_deg)
            self.told.append(Told("stop_ended", was.until_us, now, place, was.since_us))
        if told & STOP_BEGAN:
            self.told.append(Told("stop_began", stay.since_us, now, (stay.latitude_deg, stay.longitude_deg)))
        if told & TRIP_STARTED:
            place = (self.trip.latitude_deg, self.trip.longitude_deg)
            self.told.append(Told("trip_started", self.trip.departed_at_us, now, place))
        if told & TRIP_ENDED:
            self._end_trip(now)
            self.trip = no_trip()

    def _end_trip(self, confirmed_at_us: int) -> None:
        assert self.last is not None
        last = self.last
        at_us, latitude, longitude = trip_end(self.journey, last.observed_at_us, last.latitude_deg, last.longitude_deg)
        length_m = trip_length_m(self.journey, self.trip)
        began_us, fastest_mps = self.trip.departed_at_us, self.journey.fastest_mps
        self.told.append(
            Told("trip_ended", at_us, confirmed_at_us, (latitude, longitude), began_us, length_m, fastest_mps)
        )


def assert_alike(ours: Sequence[Told], theirs: Sequence[Told]) -> None:
    for mine, other in itertools.zip_longest(ours, theirs):
        assert mine is not None, other
        assert other is not None, mine
        assert mine[:3] == other[:3]
        assert mine.began_at_us == other.began_at_us
        apart_m = GEOD.inv(mine.place[1], mine.place[0], other.place[1], other.place[0])[2]
        assert apart_m < 0.5
        assert math.isclose(mine.length_m, other.length_m, rel_tol=1e-4, abs_tol=0.5)
        assert math.isclose(mine.fastest_mps, other.fastest_mps, rel_tol=1e-3, abs_tol=0.05)


def along(
    start: tuple[float, float], legs: Sequence[tuple[float, float, float]], every_s: float = 10.0
) -> list[Position]:
    """A clean track: (bearing, speed, seconds) after one another, a fix `every_s`."""
    latitude, longitude = start
    at_s = 0.0
    fixes = [Position(0, START_US, latitude, longitude)]
    for bearing_deg, speed_mps, lasts_s in legs:
        for _ in range(round(lasts_s / every_s)):
            longitude, latitude, _back = GEOD.fwd(longitude, latitude, bearing_deg, speed_mps * every_s)
            at_s += every_s
            fixes.append(Position(0, START_US + round(at_s * SECOND_US), latitude, longitude, speed_mps=speed_mps))
    return fixes


def noisy(fixes: Sequence[Position], deviation_m: float, random: np.random.Generator) -> list[Position]:
    """With the noise of a receiver that says how good it is; and no speeds."""
    found = []
    for fix in fixes:
        east_m, north_m = random.normal(0.0, deviation_m, 2)
        bearing = math.degrees(math.atan2(east_m, north_m))
        longitude, latitude, _ = GEOD.fwd(fix.longitude_deg, fix.latitude_deg, bearing, math.hypot(east_m, north_m))
        found.append(Position(0, fix.observed_at_us, latitude, longitude, accuracy_m=1.51 * deviation_m))
    return found


def length_m(fixes: Sequence[Position]) -> float:
    return sum(
        GEOD.inv(a.longitude_deg, a.latitude_deg, b.longitude_deg, b.latitude_deg)[2]
        for a, b in itertools.pairwise(fixes)
    )
