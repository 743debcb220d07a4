"""Where one device of a proximity was, by its fixes that count, in order of time."""

from __future__ import annotations

import bisect
from array import array
from typing import Any, NamedTuple

from geofence.geodesy import distance_m, wrap_degrees
from tracking_core.columns import NO_TIME


class Place(NamedTuple):
    """Where a device is at a time.

    Known when it was seen then, or shortly before and shortly after. Else it is believed to be where it was last, and
    may be as far from there as `reach_m`.
    """

    latitude_deg: float
    longitude_deg: float
    known: bool
    reach_m: float


class CompanionTrack:
    """Fixes by time, one a time."""

    def __init__(self) -> None:
        self.times_us: array[int] = array("q")
        self.latitudes_deg: array[float] = array("d")
        self.longitudes_deg: array[float] = array("d")

    @property
    def columns(self) -> tuple[array[Any], ...]:
        """Times, latitudes, longitudes."""
        return self.times_us, self.latitudes_deg, self.longitudes_deg

    def __len__(self) -> int:
        return len(self.times_us)

    @property
    def newest_us(self) -> int:
        """The time of the last fix; NO_TIME without one."""
        return self.times_us[-1] if self.times_us else NO_TIME

    def before_us(self, at_us: int) -> int:
        """The time of the last fix before a time; NO_TIME without one."""
        index = bisect.bisect_left(self.times_us, at_us)
        return self.times_us[index - 1] if index else NO_TIME

    def put(self, at_us: int, latitude_deg: float, longitude_deg: float) -> bool:
        """Takes a fix in, in the place of another of its time; returns whether that is news."""
        index = bisect.bisect_left(self.times_us, at_us)
        if index < len(self) and self.times_us[index] == at_us:
            if self.latitudes_deg[index] == latitude_deg and self.longitudes_deg[index] == longitude_deg:
                return False
            self.latitudes_deg[index] = latitude_deg
            self.longitudes_deg[index] = longitude_deg
            return True
        self.times_us.insert(index, at_us)
        self.latitudes_deg.insert(index, latitude_deg)
        self.longitudes_deg.insert(index, longitude_deg)
        return True

    def remove(self, at_us: int, latitude_deg: float, longitude_deg: float) -> bool:
        """Takes a fix out; returns whether it was there."""
        index = bisect.bisect_left(self.times_us, at_us)
        if (
            index == len(self)
            or self.times_us[index] != at_us
            or self.latitudes_deg[index] != latitude_deg
            or self.longitudes_deg[index] != longitude_deg
        ):
            return False
        for column in self.columns:
            del column[index]
        return True

    def let_go_of_oldest(self) -> None:
        """Forgets the first fix."""
        for column in self.columns:
            del column[0]

    def place_at(self, at_us: int, join_within_us: int, max_age_us: int) -> Place | None:
        """Where the device is: known at its fixes and between two that are at most `join_within_us` apart, on the
        straight way from one to the other; else believed to be at the fix before, if that is at most `max_age_us`
        old, give or take what it moves in this time at the speed at which it came there (a way of at most
        `join_within_us`; who was silent for longer is taken to stand). None: nobody knows.
        """
        index = bisect.bisect_right(self.times_us, at_us) - 1
        if index < 0:
            return None
        latitude_deg, longitude_deg = self.latitudes_deg[index], self.longitudes_deg[index]
        age_us = at_us - self.times_us[index]
        if age_us == 0:
            return Place(latitude_deg, longitude_deg, known=True, reach_m=0.0)
        if index + 1 < len(self):
            apart_us = self.times_us[index + 1] - self.times_us[index]
            if apart_us <= join_within_us:
                part = age_us / apart_us
                step_deg = wrap_degrees(self.longitudes_deg[index + 1] - longitude_deg)
                return Place(
                    latitude_deg + part * (self.latitudes_deg[index + 1] - latitude_deg),
                    wrap_degrees(longitude_deg + part * step_deg),
                    known=True,
                    reach_m=0.0,
                )
        if age_us > max_age_us:
            return None
        return Place(latitude_deg, longitude_deg, known=False, reach_m=age_us * self._speed_to(index, join_within_us))

    def _speed_to(self, index: int, join_within_us: int) -> float:
        """Metres a microsecond on the way to a fix."""
        if index == 0:
            return 0.0
        apart_us = self.times_us[index] - self.times_us[index - 1]
        if apart_us > join_within_us:
            return 0.0
        way_m = distance_m(
            self.latitudes_deg[index - 1],
            self.longitudes_deg[index - 1],
            self.latitudes_deg[index],
            self.longitudes_deg[index],
        )
        return way_m / apart_us
