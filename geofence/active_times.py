"""Active times as the words that kernels read (geofence/windows.py), each time zone once."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from geofence.compiled import NEVER, NO_TIME
from geofence.definition import ActiveTimes
from geofence.pool import Pool
from geofence.time_zones import offset_changes
from geofence.windows import DAY_US, TIMES_HEADER, WEEK_US, first_instant_us, last_instant_us

I64 = npt.NDArray[np.int64]

_MINUTE_US: Final = 60_000_000
_DAY_MINUTES: Final = 1440
_EPOCH_DAY: Final = 719_163
"""What `date.toordinal` calls the first day of 1970."""


class TimesPool:
    """The words of all active times that are in force, and of every zone that was ever named: 600 at most."""

    def __init__(self) -> None:
        self._pool = Pool(np.int64, room=0)
        self._zones: dict[str, int] = {}

    @property
    def words(self) -> I64:
        """The array, replaced when it grows; empty until the first `put`."""
        return self._pool.rows

    def put(self, times: ActiveTimes) -> tuple[int, int]:
        """Where active times stand, and how many words they take. KeyError for a time zone that is none."""
        zone = self._zone(times.time_zone)
        windows = merged_windows(times)
        words = np.empty(TIMES_HEADER + windows.size, np.int64)
        from_us, until_us = NO_TIME, NEVER
        if times.first_day is not None:
            from_us = first_instant_us(self.words, zone, (times.first_day.toordinal() - _EPOCH_DAY) * DAY_US)
        if times.last_day is not None:
            until_us = last_instant_us(self.words, zone, (times.last_day.toordinal() - _EPOCH_DAY + 1) * DAY_US)
        words[:TIMES_HEADER] = from_us, until_us, zone, len(windows)
        words[TIMES_HEADER:] = windows.ravel()
        return self._pool.put(words), len(words)

    def give_back(self, place: int, count: int) -> None:
        """Frees what `put` took."""
        self._pool.give_back(place, count)

    def _zone(self, name: str) -> int:
        if name not in self._zones:
            changes = offset_changes(name)
            self._zones[name] = self._pool.put(np.concatenate(([len(changes)], changes.ravel())))
        return self._zones[name]


def merged_windows(times: ActiveTimes) -> I64:
    """Int64 (n, 2): begin and end in microseconds of the local week, ascending, with time between each and the next,
    the last and the first too; a begin is within the week. Empty if they leave no time out.
    """
    week = WEEK_US // _MINUTE_US
    is_open = np.zeros(week, np.bool_)
    for window in times.windows:
        length = window.to_minute - window.from_minute
        length += _DAY_MINUTES if length <= 0 else 0
        for day in window.days:
            begin = (day - 1) * _DAY_MINUTES + window.from_minute
            is_open[np.arange(begin, begin + length) % week] = True
    if is_open.all() or not is_open.any():
        return np.empty((0, 2), np.int64)
    was_open = np.roll(is_open, 1)
    begins, ends = np.flatnonzero(is_open & ~was_open), np.flatnonzero(was_open & ~is_open)
    # The end of each is the first one behind it, for the last perhaps in the week that follows.
    ends = np.append(ends, ends[0] + week)[np.searchsorted(ends, begins, side="right")]
    return np.column_stack((begins, ends)).astype(np.int64) * _MINUTE_US
