"""The oracle of active times: every window of the days around as an interval of instants, found with `zoneinfo`."""

from __future__ import annotations

import datetime as dt
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

from geofence.definition import ActiveTimes

Interval = tuple[dt.datetime, dt.datetime]
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def instant(at_us: int) -> dt.datetime:
    return EPOCH + timedelta(microseconds=at_us)


def microseconds(at: dt.datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _wall(zone: ZoneInfo, at: dt.datetime) -> dt.datetime:
    return at.astimezone(zone).replace(tzinfo=None)


def _skip(zone: ZoneInfo, local: dt.datetime) -> dt.datetime:
    """The instant at which the clock skips a local time."""
    low, high = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    while high - low > SECOND:
        middle = low + timedelta(seconds=int((high - low) / SECOND) // 2)
        if _wall(zone, middle) < local:
            low = middle
        else:
            high = middle
    return high


def _instants(zone: ZoneInfo, local: dt.datetime) -> Interval:
    """The first and the last time that the clock shows it."""
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first > second:
        return (_skip(zone, local),) * 2
    return first, second


def intervals(times: ActiveTimes, around_us: int, days: int = 16) -> list[Interval]:
    """When it is active, from before until long after a time, ascending and apart."""
    zone = ZoneInfo(times.time_zone)
    begin, end = instant(around_us) - timedelta(days=9), instant(around_us) + timedelta(days=days)
    found = []
    day = begin.date()
    while day <= end.date():
        midnight = dt.datetime.combine(day, dt.time())
        for window in times.windows:
            if day.isoweekday() in window.days:
                past = window.to_minute <= window.from_minute
                opens = midnight + timedelta(minutes=window.from_minute)
                closes = midnight + timedelta(days=past, minutes=window.to_minute)
                found.append((_instants(zone, opens)[0], _instants(zone, closes)[1]))
        if not times.windows:
            found.append((_instants(zone, midnight)[0], _instants(zone, midnight + timedelta(days=1))[1]))
        day += timedelta(days=1)
    if times.first_day is not None:
        first = _instants(zone, dt.datetime.combine(times.first_day, dt.time()))[0]
        found = [(max(opens, first), closes) for opens, closes in found]
    if times.last_day is not None:
        midnight = dt.datetime.combine(times.last_day, dt.time()) + timedelta(days=1)
        last = _instants(zone, midnight)[1]
        found = [(opens, min(closes, last)) for opens, closes in found]
    apart: list[Interval] = []
    for opens, closes in sorted(found):
        if closes <= opens:
            continue
        if apart and opens <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(closes, apart[-1][1]))
        else:
            apart.append((opens, closes))
    return apart
