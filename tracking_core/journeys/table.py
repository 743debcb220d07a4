"""Journeys and trips out of their records, and into them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from geofence.geodesy import wrap_degrees
from geofence.kernel import scalar_kernel
from tracking_core.aligned_records import Records
from tracking_core.columns import F64, I64, NO_TIME
from tracking_core.journey_records import JourneyColumns
from tracking_core.journeys.journeys import Journey, Trip
from tracking_core.journeys.smoothing import SmoothedMotion
from tracking_core.journeys.stays import NOWHERE, STOPPED, Stay

_LEAVING: Final = 16
_CM: Final = 100.0
_FASTEST_CMPS: Final = 65_535.0


@scalar_kernel
def load_journey(record: Records, latitude_deg: float, longitude_deg: float) -> Journey:
    """What a record says, beside a fix at this place."""
    smoothed = SmoothedMotion(
        latitude_deg + np.float64(record["smoothed_latitude_step_deg"]),
        wrap_degrees(longitude_deg + np.float64(record["smoothed_longitude_step_deg"])),
        np.float64(record["north_mps"]),
        np.float64(record["east_mps"]),
        np.float64(record["position_m2"]),
        np.float64(record["mixed_m2_s"]),
        np.float64(record["velocity_m2_s2"]),
    )
    state = int(np.int64(record["state"]))
    leaving = 1 if state >= _LEAVING else 0
    stay = Stay(
        state - _LEAVING * leaving,
        leaving,
        int(np.int64(record["fixes"])),
        int(np.int64(record["since_us"])),
        int(np.int64(record["until_us"])),
        latitude_deg + np.float64(record["stay_latitude_step_deg"]),
        wrap_degrees(longitude_deg + np.float64(record["stay_longitude_step_deg"])),
        np.float64(record["way_m"]),
    )
    return Journey(smoothed, stay, np.float64(record["odometer_m"]), np.float64(record["fastest_cmps"]) / _CM)


@scalar_kernel
def store_journey(record: Records, journey: Journey, latitude_deg: float, longitude_deg: float) -> None:
    """Writes a record beside a fix at this place."""
    smoothed = journey.smoothed
    stay = journey.stay
    record["smoothed_latitude_step_deg"] = smoothed.latitude_deg - latitude_deg
    record["smoothed_longitude_step_deg"] = wrap_degrees(smoothed.longitude_deg - longitude_deg)
    record["north_mps"] = smoothed.north_mps
    record["east_mps"] = smoothed.east_mps
    record["position_m2"] = smoothed.position_m2
    record["mixed_m2_s"] = smoothed.mixed_m2_s
    record["velocity_m2_s2"] = smoothed.velocity_m2_s2
    record["stay_latitude_step_deg"] = stay.latitude_deg - latitude_deg
    record["stay_longitude_step_deg"] = wrap_degrees(stay.longitude_deg - longitude_deg)
    record["way_m"] = stay.way_m
    record["since_us"] = stay.since_us
    record["until_us"] = stay.until_us
    record["odometer_m"] = journey.odometer_m
    record["fixes"] = stay.fixes
    record["fastest_cmps"] = int(min(journey.fastest_mps * _CM + 0.5, _FASTEST_CMPS))
    record["state"] = stay.state + _LEAVING * stay.leaving


@scalar_kernel
def forget_journey(record: Records) -> None:
    """Makes a record one that says nothing."""
    record["smoothed_latitude_step_deg"] = 0.0
    record["smoothed_longitude_step_deg"] = 0.0
    record["north_mps"] = 0.0
    record["east_mps"] = 0.0
    record["position_m2"] = 0.0
    record["mixed_m2_s"] = 0.0
    record["velocity_m2_s2"] = 0.0
    record["stay_latitude_step_deg"] = 0.0
    record["stay_longitude_step_deg"] = 0.0
    record["way_m"] = 0.0
    record["since_us"] = 0
    record["until_us"] = 0
    record["odometer_m"] = 0.0
    record["fixes"] = 0
    record["fastest_cmps"] = 0
    record["state"] = 0


def latest_journeys(
    journeys: JourneyColumns, rows: npt.NDArray[np.intp], latitude_deg: F64, longitude_deg: F64
) -> tuple[F64, F64, F64, I64]:
    """Metres travelled and the smoothed latitude and longitude of devices, NaN where nothing is known; when the stop
    began at which they are, NO_TIME for none. The places given are those of the newest counted fixes, by row.
    """
    found = np.full((3, len(rows)), np.nan)
    stop_began_at_us = np.full(len(rows), NO_TIME, np.int64)
    if journeys.follows:
        now = journeys.now[rows]
        known = now["state"] != NOWHERE
        found[0, known] = now["odometer_m"][known]
        found[1, known] = (latitude_deg[rows] + now["smoothed_latitude_step_deg"])[known]
        east_deg = longitude_deg[rows] + now["smoothed_longitude_step_deg"]
        found[2, known] = (east_deg - 360.0 * np.floor((east_deg + 180.0) / 360.0))[known]
        stopped = now["state"] % _LEAVING == STOPPED
        stop_began_at_us[stopped] = now["since_us"][stopped]
    return found[0], found[1], found[2], stop_began_at_us


@scalar_kernel
def load_trip(journeys: JourneyColumns, row: int) -> Trip:
    """The trip of a device."""
    trip = journeys.trip[row]
    return Trip(
        int(np.int64(trip["state"])),
        int(trip["departed_at_us"]),
        float(trip["latitude_deg"]),
        float(trip["longitude_deg"]),
        float(trip["odometer_m"]),
    )


@scalar_kernel
def store_trip(journeys: JourneyColumns, row: int, trip: Trip) -> None:
    """Writes the trip of a device."""
    record = journeys.trip[row]
    record["state"] = trip.state
    record["departed_at_us"] = trip.departed_at_us
    record["latitude_deg"] = trip.latitude_deg
    record["longitude_deg"] = trip.longitude_deg
    record["odometer_m"] = trip.odometer_m
