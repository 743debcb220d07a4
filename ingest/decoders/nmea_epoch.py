"""What the sentences of one epoch say together: one fix.

Source: NMEA 0183, version 4.11, sentences RMC, GGA, GNS, GLL, VTG, GSA and ZDA. Speeds are knots, heights metres above
mean sea level, times and dates UTC. Habits and traps:

- an empty field is unknown;
- ddmm.mmmm: the two digits before the point are minutes;
- RMC has a status, a mode and, from 4.1 on, a navigational status; the last of them is `V` of most receivers and says
  nothing of the fix;
- a year of two digits is 1980 to 2079, as GPS began in 1980; ZDA has all four, and holds where both are there;
- a receiver without a fix repeats its last place, or says none: the first is a fix with no satellites, the second none;
- GGA stops counting at 12 satellites on many receivers. GSA comes once a constellation; it is asked for their number
  where GGA and GNS do not say, and for whether the fix is flat: a height is then not measured, and left out;
- a date without a fix is that of the receiver's own clock, which may never have been set: good for its epoch only.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable
from typing import Final

from drover.telemetry.v1.reading_pb2 import Position

DAY_US: Final = 86_400_000_000

_EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()
_MPS_PER_KNOT: Final = 1852 / 3600
_KMH_PER_MPS: Final = 3.6
_FIRST_YEAR: Final = 80
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{0,15})?|-?\.\d{1,15}", re.ASCII)
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d|60)(?:\.(\d{0,12}))?", re.ASCII)
_ANGLE: Final = re.compile(r"(\d{1,3})([0-5]\d(?:\.\d{0,15})?)", re.ASCII)
_FLAT: Final = 2


class BadFieldError(ValueError):
    """A field that is not of its form: the whole sentence counts for nothing."""


@dataclasses.dataclass(slots=True)
class Epoch:
    """All that is known of one instant. `time_us` is since midnight."""

    time_us: int
    day: int | None = None
    """Since 1970-01-01."""
    has_sure_day: bool = False
    """Whether it comes with a fix, or from ZDA without an RMC that has none."""
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    satellites: int | None = None
    satellites_listed: int = 0
    dimensions: int = 0
    is_void: bool = False

    @property
    def observed_at_us(self) -> int | None:
        """Since the Unix epoch; None without a date."""
        return None if self.day is None else self.day * DAY_US + self.time_us

    def position(self) -> Position | None:
        """The fix; None without a place or without a date."""
        observed_at_us = self.observed_at_us
        if self.latitude_deg is None or self.longitude_deg is None or observed_at_us is None:
            return None
        # Dead reckoning is a fix without satellites; zero would say that there is none.
        satellites = self.satellites or self.satellites_listed or None
        return Position(
            observed_at_us=observed_at_us,
            latitude_deg=self.latitude_deg,
            longitude_deg=self.longitude_deg,
            altitude_m=None if self.dimensions == _FLAT else self.altitude_m,
            speed_mps=self.speed_mps,
            heading_deg=self.heading_deg,
            satellites=0 if self.is_void else satellites,
        )


HAS_PLACE: Final = frozenset({"RMC", "GGA", "GNS", "GLL"})
"""The formatters that say where the device is."""

_TIME_FIELD: Final = {"RMC": 0, "GGA": 0, "GNS": 0, "ZDA": 0, "GLL": 4}


def time_of(formatter: str, fields: list[str]) -> int | None:
    """Microseconds since midnight; None for a sentence that has no time, or does not know it. Raises BadFieldError."""
    index = _TIME_FIELD.get(formatter)
    if index is None or not _text(fields, index):
        return None
    match = _TIME.fullmatch(fields[index])
    if match is None:
        raise BadFieldError(f"the time {fields[index][:20]!r}")
    hour, minute, second, fraction = match.groups()
    whole_s = (int(hour) * 60 + int(minute)) * 60 + int(second)
    return whole_s * 1_000_000 + int((fraction or "")[:6].ljust(6, "0"))


def take(epoch: Epoch, formatter: str, fields: list[str]) -> bool:
    """Adds what a sentence says; False for one that is not read. Raises BadFieldError, and the epoch is as it was."""
    read = _READERS.get(formatter)
    if read is None:
        return False
    read(epoch, fields)
    return True


def _text(fields: list[str], index: int) -> str:
    return fields[index] if index < len(fields) else ""


def _number(fields: list[str], index: int) -> float | None:
    text = _text(fields, index)
    if not text:
        return None
    if _NUMBER.fullmatch(text) is None:
        raise BadFieldError(f"the number {text[:20]!r}")
    return float(text)


def _count(fields: list[str], index: int) -> int | None:
    number = _number(fields, index)
    if number is None:
        return None
    if number < 0 or number >= 2**31 or not number.is_integer():
        raise BadFieldError(f"the number {fields[index][:20]!r}")
    return int(number)


def _angle(fields: list[str], index: int, negative: str, positive: str) -> float | None:
    text, side = _text(fields, index), _text(fields, index + 1)
    if not text:
        return None
    match = _ANGLE.fullmatch(text)
    if match is None or side not in {negative, positive}:
        raise BadFieldError(f"the coordinate {text[:20]!r} {side[:5]!r}")
    angle_deg = int(match[1]) + float(match[2]) / 60
    return -angle_deg if side == negative else angle_deg


def _place(fields: list[str], index: int) -> tuple[float, float] | None:
    latitude_deg, longitude_deg = _angle(fields, index, "S", "N"), _angle(fields, index + 2, "W", "E")
    if latitude_deg is None or longitude_deg is None:
        return None
    return latitude_deg, longitude_deg


def _set_place(epoch: Epoch, place: tuple[float, float] | None) -> None:
    if place is not None:
        epoch.latitude_deg, epoch.longitude_deg = place


def _day(year: int, month: int, day: int) -> int:
    try:
        return dt.date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise BadFieldError(f"the date {year}-{month}-{day}") from None


def _rmc(epoch: Epoch, fields: list[str]) -> None:
    """time, status, latitude, N or S, longitude, E or W, knots, course, ddmmyy, variation, E or W, mode."""
    status, date, mode = _text(fields, 1), _text(fields, 8), _text(fields, 11)
    if status not in {"A", "V"}:
        raise BadFieldError(f"the status {status[:20]!r}")
    place, speed_knots, heading_deg = _place(fields, 2), _number(fields, 6), _number(fields, 7)
    day = None
    if date:
        if len(date) != 6 or not (date.isascii() and date.isdigit()):
            raise BadFieldError(f"the date {date[:20]!r}")
        year = int(date[4:])
        day = _day(year + (1900 if year >= _FIRST_YEAR else 2000), int(date[2:4]), int(date[:2]))
    is_void = status == "V" or mode == "N"
    _set_place(epoch, place)
    epoch.is_void |= is_void
    epoch.speed_mps = None if speed_knots is None else speed_knots * _MPS_PER_KNOT
    epoch.heading_deg = heading_deg
    if day is not None and (epoch.day is None or not epoch.has_sure_day):
        epoch.day = day
    epoch.has_sure_day = epoch.day is not None and not epoch.is_void


def _zda(epoch: Epoch, fields: list[str]) -> None:
    """time, day, month, year of four digits, zone."""
    day, month, year = (_count(fields, index) for index in (1, 2, 3))
    if day is not None and month is not None and year is not None:
        epoch.day = _day(year, month, day)
        epoch.has_sure_day = not epoch.is_void


def _gga(epoch: Epoch, fields: list[str]) -> None:
    """time, latitude, N or S, longitude, E or W, quality, satellites, HDOP, height, M, separation, M."""
    place, quality, satellites, altitude_m = _place(fields, 1), _count(fields, 5), _count(fields, 6), _number(fields, 8)
    _set_place(epoch, place)
    epoch.is_void |= quality == 0
    epoch.satellites, epoch.altitude_m = satellites, altitude_m


def _gns(epoch: Epoch, fields: list[str]) -> None:
    """time, latitude, N or S, longitude, E or W, modes of constellations, satellites, HDOP, height, separation."""
    place, mode, satellites, altitude_m = _place(fields, 1), _text(fields, 5), _count(fields, 6), _number(fields, 8)
    _set_place(epoch, place)
    epoch.is_void |= bool(mode) and set(mode) == {"N"}
    epoch.satellites, epoch.altitude_m = satellites, altitude_m


def _gll(epoch: Epoch, fields: list[str]) -> None:
    """latitude, N or S, longitude, E or W, time, status, mode."""
    place, status, mode = _place(fields, 0), _text(fields, 5), _text(fields, 6)
    if status not in {"A", "V", ""}:
        raise BadFieldError(f"the status {status[:20]!r}")
    _set_place(epoch, place)
    epoch.is_void |= status == "V" or mode == "N"


def _vtg(epoch: Epoch, fields: list[str]) -> None:
    """course, T, magnetic course, M, knots, N, km/h, K, mode. RMC has the same, and is asked first."""
    heading_deg, speed_knots, speed_kmh = _number(fields, 0), _number(fields, 4), _number(fields, 6)
    speed_mps = None if speed_kmh is None else speed_kmh / _KMH_PER_MPS
    if speed_knots is not None:
        speed_mps = speed_knots * _MPS_PER_KNOT
    epoch.heading_deg = heading_deg if epoch.heading_deg is None else epoch.heading_deg
    epoch.speed_mps = speed_mps if epoch.speed_mps is None else epoch.speed_mps


def _gsa(epoch: Epoch, fields: list[str]) -> None:
    """M or A, 1 for no fix, 2 or 3 dimensions, twelve satellites, PDOP, HDOP, VDOP, constellation."""
    dimensions = _count(fields, 1)
    epoch.dimensions = max(epoch.dimensions, dimensions or 0)
    epoch.satellites_listed += sum(1 for satellite in fields[2:14] if satellite)


_READERS: Final[dict[str, Callable[[Epoch, list[str]], None]]] = {
    "RMC": _rmc, "ZDA": _zda, "GGA": _gga, "GNS": _gns, "GLL": _gll, "VTG": _vtg, "GSA": _gsa,
}  # fmt: skip
