"""Active times as properties of a GeoJSON feature, in and out: `time_zone`, `active_from`, `active_until`, and
`active_windows`, a list of windows like {"days": ["mon", "tue"], "from": "08:00", "to": "17:30"}; without days one is
of every day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from geofence.definition import ActiveTimes, WeeklyWindow
from geofence.validation import MOST_WINDOWS, InvalidFence, day_of

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"(\d\d):([0-5]\d)", re.ASCII)


def active_times(properties: Mapping[str, object]) -> ActiveTimes:
    """What the properties say; the defaults for what they leave out. Raises InvalidFence: bad_active_times."""
    zone = properties.get("time_zone")
    if not isinstance(zone, str | None):
        raise InvalidFence("bad_active_times", "a time zone is a name like Europe/Berlin", "time_zone")
    given = properties.get("active_windows")
    windows = [] if given is None else given
    if not isinstance(windows, list | tuple) or len(windows) > MOST_WINDOWS:
        raise InvalidFence("bad_active_times", f"these are a list of at most {MOST_WINDOWS}", "active_windows")
    return ActiveTimes(
        zone or "",
        tuple(_window(window, f"active_windows, {number}") for number, window in enumerate(windows)),
        _day(properties, "active_from"),
        _day(properties, "active_until"),
    )


def active_properties(active: ActiveTimes) -> dict[str, Any]:
    """The properties of active times, null where nothing is said."""
    return {
        "time_zone": active.time_zone or None,
        "active_windows": [
            {
                "days": [DAYS[day - 1] for day in window.days],
                "from": _written(window.from_minute),
                "to": _written(window.to_minute),
            }
            for window in active.windows
        ]
        or None,
        "active_from": None if active.first_day is None else active.first_day.isoformat(),
        "active_until": None if active.last_day is None else active.last_day.isoformat(),
    }


def _window(value: object, where: str) -> WeeklyWindow:
    if not isinstance(value, Mapping):
        raise InvalidFence("bad_active_times", "a window is an object with days, from and to", where)
    days = value.get("days")
    if days is None:
        days = list(DAYS)
    if not isinstance(days, list | tuple) or not days or not all(day in DAYS for day in days):
        raise InvalidFence("bad_active_times", f"days are some of {', '.join(DAYS)}", where)
    numbers = tuple(sorted({DAYS.index(day) + 1 for day in days}))
    return WeeklyWindow(numbers, _minute(value.get("from"), where), _minute(value.get("to"), where))


def _minute(value: object, where: str) -> int:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidFence("bad_active_times", "a time is written hh:mm, from 00:00 to 24:00", where)
    return int(found[1]) * 60 + int(found[2])


def _written(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _day(properties: Mapping[str, object], name: str) -> Any:
    value = properties.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidFence("bad_active_times", "a day is written YYYY-MM-DD", name)
    return day_of(value, name)
