"""The oracle of journeys: matrices, lists of fixes and pyproj, slow and obvious: one device in order."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import NamedTuple

import numpy as np
import pyproj

from tests.tracking_core.readings import Position
from tracking_core.settings import EngineSettings

GEOD = pyproj.Geod(ellps="WGS84")


def metres(first: tuple[float, float], second: tuple[float, float]) -> float:
    return float(GEOD.inv(first[1], first[0], second[1], second[0])[2])


class Told(NamedTuple):
    kind: str
    observed_at_us: int
    confirmed_at_us: int
    place: tuple[float, float]
    began_at_us: int = 0
    length_m: float = 0.0
    fastest_mps: float = 0.0
    began: tuple[float, float] = (0.0, 0.0)
    by_silence: bool = False


class NaiveKalman:
    """Four dimensions, all matrices written out, in an azimuthal plane at the last estimate."""

    def __init__(
        self, settings: EngineSettings, place: tuple[float, float], variance_m2: float, speed_m2: float
    ) -> None:
        self.settings = settings
        self.place = place
        self.velocity = np.zeros(2)
        self.covariance = np.kron(np.diag([variance_m2, speed_m2]), np.eye(2))

    def step(self, elapsed_s: float, measured: tuple[float, float], variance_m2: float) -> None:
        plane = pyproj.Proj(proj="aeqd", lat_0=self.place[0], lon_0=self.place[1], ellps="WGS84")
        state = np.concatenate([np.zeros(2), self.velocity])
        move = np.kron(np.array([[1.0, elapsed_s], [0.0, 1.0]]), np.eye(2))
        noise = self.settings.velocity_wander_m2_s3 * np.kron(
            np.array([[elapsed_s**3 / 3, elapsed_s**2 / 2], [elapsed_s**2 / 2, elapsed_s]]), np.eye(2)
        )
        see = np.kron(np.array([[1.0, 0.0]]), np.eye(2))
        state = move @ state
        covariance = move @ self.covariance @ move.T + noise
        gain = covariance @ see.T @ np.linalg.inv(see @ covariance @ see.T + variance_m2 * np.eye(2))
        state = state + gain @ (np.array(plane(measured[1], measured[0])) - see @ state)
        self.covariance = (np.eye(4) - gain @ see) @ covariance
        longitude, latitude = plane(*state[:2], inverse=True)
        self.place = (latitude, longitude)
        # North is elsewhere in the plane of the new place.
        ahead = plane(*(state[:2] + state[2:]), inverse=True)
        azimuth = math.radians(GEOD.inv(longitude, latitude, *ahead)[0])
        self.velocity = math.hypot(*state[2:]) * np.array([math.sin(azimuth), math.cos(azimuth)])


@dataclasses.dataclass
class NaivePlace:
    """A place and the fixes seen there; of a stop also what its own place is the mean of."""

    first: Position
    last: Position
    seen: int = 1
    stopped: bool = False
    means: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    away: Position | None = None
    way_m: float = 0.0

    @property
    def where(self) -> tuple[float, float]:
        if not self.stopped:
            return at(self.first)
        # Degrees that do not jump at 180.
        reference = self.means[0][1]
        return (
            float(np.mean([latitude for latitude, _ in self.means])),
            reference + float(np.mean([(longitude - reference + 180) % 360 - 180 for _, longitude in self.means])),
        )


def at(fix: Position) -> tuple[float, float]:
    return fix.latitude_deg, fix.longitude_deg


class NaiveJourney:
    """`read` a fix that counts; `told` is what happened so far."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        self.told: list[Told] = []
        self.kalman: NaiveKalman | None = None
        self.place: NaivePlace | None = None
        self.last: Position | None = None
        self.counted_m = 0.0
        self.fastest_mps = 0.0
        self.departure: Told | None = None
        self.departed_m = 0.0
        self.on_trip = False

    @property
    def odometer_m(self) -> float:
        return self.counted_m

    def _variance(self, fix: Position) -> float:
        accuracy = fix.accuracy_m if fix.accuracy_m > 0 else self.settings.assumed_accuracy_m
        # Of a normal distribution in the plane, 68 % lie within sqrt(-2 ln 0.32) deviations.
        return max(accuracy, 1.0) ** 2 / (-2 * math.log(0.32))

    def _doubt(self, fix: Position) -> float:
        accuracy = fix.accuracy_m if fix.accuracy_m > 0 else self.settings.assumed_accuracy_m
        return min(accuracy, self.settings.stop_accuracy_cap_m)

    def read(self, fix: Position, *, connected: bool = True) -> None:
        """`connected`: it came from the fix before by a way that is known."""
        settings, last = self.settings, self.last
        silent = last is not None and fix.observed_at_us - last.observed_at_us >= settings.trip_silence_us
        if silent:
            assert last is not None
            if self.on_trip:
                self._end_trip(last.observed_at_us + settings.trip_silence_us, by_silence=True)
            self.departure, self.on_trip = None, False
        elapsed_us = fix.observed_at_us - last.observed_at_us if last is not None and connected else 0
        if self.kalman is None or not 0 < elapsed_us <= settings.derive_within_us:
            self.kalman = NaiveKalman(settings, at(fix), self._variance(fix), 15.0**2)
        else:
            self.kalman.step(elapsed_us * 1e-6, at(fix), self._variance(fix))
        speed = float(np.float32(fix.speed_mps)) if fix.speed_mps >= 0 else math.hypot(*self.kalman.velocity)
        self.fastest_mps = speed if silent else max(self.fastest_mps, speed)
        self._stay(fix, connected=connected)
        place = self.place
        assert place is not None
        if place.stopped and place.away is None:
            self.kalman = NaiveKalman(settings, place.where, self._variance(fix) / len(place.means), 1.0)
            if self.on_trip and fix.observed_at_us - place.first.observed_at_us >= settings.trip_closes_after_us:
                self._end_trip(fix.observed_at_us)
            elif self.departure is None:
                self.fastest_mps = 0.0
        self.last = fix

    def _stay(self, fix: Position, *, connected: bool) -> None:
        settings, place, last = self.settings, self.place, self.last
        assert self.kalman is not None
        if place is None or last is None:
            self.place = NaivePlace(fix, fix)
            return
        if not connected:
            self._leave(place, fix, known=False)
            self.place = NaivePlace(fix, fix)
            return
        leg_m, away_m = metres(at(last), at(fix)), metres(place.where, at(fix))
        if away_m <= settings.stop_radius_m + self._doubt(fix):
            place.last, place.away = fix, None
            place.seen += 1
            place.way_m = 0.0 if place.stopped else place.way_m + leg_m
            if place.stopped:
                place.means.append(at(fix))
            elif fix.observed_at_us - place.first.observed_at_us >= settings.stop_after_us:
                self.counted_m += min(place.way_m, metres(at(place.first), self.kalman.place))
                place.stopped, place.means, place.way_m = True, [self.kalman.place] * place.seen, 0.0
                if not self.on_trip:
                    self.departure = None
                self.told.append(Told("stop_began", place.first.observed_at_us, fix.observed_at_us, place.where))
        elif place.away is None and away_m <= settings.stop_clear_m + self._doubt(fix):
            place.way_m = away_m if place.stopped else place.way_m + leg_m
            place.away = fix
        else:
            near = place.away is not None and leg_m <= settings.stop_radius_m + self._doubt(fix)
            way_m = away_m if place.stopped and place.away is None else place.way_m + leg_m
            before_m = self.counted_m
            self.counted_m += way_m - leg_m if near else way_m
            self._leave(place, fix, known=True, before_m=before_m)
            self.place = NaivePlace(last, fix, seen=2, way_m=leg_m) if near else NaivePlace(fix, fix)

    def _leave(self, place: NaivePlace, fix: Position, *, known: bool, before_m: float = 0.0) -> None:
        last = place.last
        if place.stopped:
            began_us = place.first.observed_at_us
            self.told.append(Told("stop_ended", last.observed_at_us, fix.observed_at_us, place.where, began_us))
        away = [each.observed_at_us for each in (last, place.away, fix) if each is not None]
        unseen_us = max(later - earlier for earlier, later in itertools.pairwise(away))
        if known and self.departure is None and unseen_us < self.settings.trip_silence_us:
            self.departure = Told("trip_started", last.observed_at_us, 0, place.where)
            self.departed_m = before_m
        far = (
            self.departure and metres(self.departure.place, at(fix)) - self._doubt(fix) >= self.settings.trip_departs_m
        )
        if far and not self.on_trip:
            assert self.departure is not None
            self.on_trip = True
            self.told.append(self.departure._replace(confirmed_at_us=fix.observed_at_us))

    def fall_silent(self, confirmed_at_us: int) -> Told:
        """What is told when nothing is heard until then."""
        self._end_trip(confirmed_at_us, by_silence=True)
        return self.told[-1]

    def _end_trip(self, confirmed_at_us: int, *, by_silence: bool = False) -> None:
        assert self.departure is not None
        assert self.place is not None
        assert self.last is not None
        ended, where, way_m = self.last, at(self.last), self.place.way_m
        if self.place.stopped:
            ended, where, way_m = self.place.first, self.place.where, 0.0
        self.told.append(
            Told(
                "trip_ended",
                ended.observed_at_us,
                confirmed_at_us,
                where,
                self.departure.observed_at_us,
                self.counted_m + way_m - self.departed_m,
                self.fastest_mps,
                self.departure.place,
                by_silence,
            )
        )
        self.departure, self.on_trip = None, False
