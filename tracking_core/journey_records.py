"""How the journey of a device is kept: one record a device, one beside each kept fix, and the trip that it is on.

A journey changes with every fix, so its record is as small as it may be: places are steps from the fix, in degrees of
half the digits, which are right to a millimetre. A trip changes rarely, so that the journal can remember what it was.
All zeros: nothing is known.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from tracking_core.timeline import Records, empty_records, more_records

JOURNEY: Final = np.dtype(
    [
        ("since_us", "i8"),
        ("until_us", "i8"),
        ("odometer_m", "f8"),
        ("smoothed_latitude_step_deg", "f4"),
        ("smoothed_longitude_step_deg", "f4"),
        ("north_mps", "f4"),
        ("east_mps", "f4"),
        ("position_m2", "f4"),
        ("mixed_m2_s", "f4"),
        ("velocity_m2_s2", "f4"),
        ("stay_latitude_step_deg", "f4"),
        ("stay_longitude_step_deg", "f4"),
        ("way_m", "f4"),
        ("fixes", "u2"),
        ("fastest_cmps", "u2"),
        ("state", "u1"),
    ]
)
TRIP: Final = np.dtype(
    [
        ("state", "i8"),
        ("departed_at_us", "i8"),
        ("latitude_deg", "f8"),
        ("longitude_deg", "f8"),
        ("odometer_m", "f8"),
    ]
)


class JourneyColumns(NamedTuple):
    """A record a device; none where journeys are not followed."""

    now: Records
    trip: Records


def no_journeys() -> JourneyColumns:
    """Of no devices."""
    return JourneyColumns(empty_records(JOURNEY, 0), empty_records(TRIP, 0))


def more_journeys(journeys: JourneyColumns, devices: int) -> JourneyColumns:
    """The same with room for more devices."""
    return JourneyColumns(more_records(journeys.now, devices), more_records(journeys.trip, devices))
