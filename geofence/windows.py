"""When a fence is active: kernels over its weekly windows and the offsets of its time zone.

A window is open from the first instant to the last at which the clock on the wall shows a time within it. So a time
that a clock skips (an hour in spring) is the instant of the skip, and of one that it shows twice (an hour in autumn)
the first begins a window and the second ends it. Windows that overlap or touch are one.

Nothing is unrolled: an answer is reckoned from the few windows around the time asked about, so that a fence costs as
much as its windows and not as the years. Words of `CompiledFences.schedule`, from `place` on: FROM and UNTIL (UTC, us:
the first and the last day), where the zone stands, how many windows there are (none: all the time), then of each its
begin and end in microseconds of the local week, ascending and apart. A zone is how many offsets it had, then of each
since when (UTC, us) and how much (us).
"""

from __future__ import annotations

from typing import Final

from geofence.compiled import I64, NEVER, NO_TIME, WINDOWED, CompiledFences
from geofence.kernel import scalar_kernel

FROM: Final = 0
UNTIL: Final = 1
ZONE: Final = 2
COUNT: Final = 3
TIMES_HEADER: Final = 4
DAY_US: Final = 86_400_000_000
WEEK_US: Final = 7 * DAY_US
_MONDAY_US: Final = 4 * DAY_US
"""The first Monday after 1970 began, on any clock."""
_FARTHEST_OFFSET_US: Final = 26 * 3_600_000_000
"""No clock differs by more from UTC, nor skips more at once."""


@scalar_kernel
def _offset_at(schedule: I64, zone: int, at_us: int) -> int:
    """Which offset of a zone holds at a time."""
    low, high = 0, int(schedule[zone]) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if schedule[zone + 1 + 2 * middle] <= at_us:
            low = middle
        else:
            high = middle - 1
    return low


@scalar_kernel
def first_instant_us(schedule: I64, zone: int, local_us: int) -> int:
    """The first instant (UTC) at which the clock shows this local time or a later one."""
    at = _offset_at(schedule, zone, local_us - _FARTHEST_OFFSET_US)
    last = int(schedule[zone]) - 1
    while True:
        offset_us = schedule[zone + 2 + 2 * at]
        instant_us = int(max(schedule[zone + 1 + 2 * at], local_us - offset_us))
        if at == last or instant_us < schedule[zone + 3 + 2 * at]:
            return instant_us
        at += 1


@scalar_kernel
def last_instant_us(schedule: I64, zone: int, local_us: int) -> int:
    """The instant (UTC) from which on the clock never shows a time before this local one."""
    at = _offset_at(schedule, zone, local_us + _FARTHEST_OFFSET_US)
    last = int(schedule[zone]) - 1
    while True:
        instant_us = int(local_us - schedule[zone + 2 + 2 * at])
        if at < last:
            instant_us = int(min(instant_us, schedule[zone + 3 + 2 * at]))
        if at == 0 or instant_us > schedule[zone + 1 + 2 * at]:
            return instant_us
        at -= 1


@scalar_kernel
def windows_around(schedule: I64, place: int, at_us: int) -> tuple[bool, int, int]:
    """Whether active times are open at an instant (the end of a window is outside it); when the window that holds it
    closes; and when the next one after it opens. NEVER where there is none.
    """
    from_us, until_us = int(schedule[place + FROM]), int(schedule[place + UNTIL])
    count = int(schedule[place + COUNT])
    if count == 0:
        opens_us = from_us if at_us < from_us else NEVER
        return from_us <= at_us < until_us, until_us, opens_us
    zone = int(schedule[place + ZONE])
    begin_us = max(at_us, from_us)
    local_us = begin_us + int(schedule[zone + 2 + 2 * _offset_at(schedule, zone, begin_us)])
    week = (local_us - _MONDAY_US) // WEEK_US - 1
    opened_us, closes_us = NO_TIME, NO_TIME
    # Some window begins in each week, if it is not one of those that a clock skips: four weeks are enough.
    for number in range(5 * count):
        words = place + TIMES_HEADER + 2 * (number % count)
        monday_us = (week + number // count) * WEEK_US + _MONDAY_US
        first_us = max(first_instant_us(schedule, zone, monday_us + int(schedule[words])), from_us)
        last_us = min(last_instant_us(schedule, zone, monday_us + int(schedule[words + 1])), until_us)
        if last_us <= first_us:
            continue
        if first_us > closes_us:
            if first_us > at_us:
                return opened_us <= at_us < closes_us, closes_us, first_us
            opened_us = first_us
        closes_us = max(closes_us, last_us)
    return opened_us <= at_us < closes_us, closes_us, NEVER


@scalar_kernel
def is_active(fences: CompiledFences, slot: int, at_us: int) -> bool:
    """Whether a fence tells of what happens at this time."""
    if not fences.watches[slot] & WINDOWED:
        return True
    return windows_around(fences.schedule, fences.times[slot], at_us)[0]
