"""What a device has travelled: its smoothed motion, its stay, its odometer, and the trip it is on.

A trip begins where the device left for good: it departs when it leaves a place, and once it is farther from there than
drift would take it the trip is open, dated when it was last seen at the place. It ends when the device has stopped for
longer than the closing time, dated when that stop began; or when nothing was heard of it for the silence, dated at the
last fix, or where the stop began at which it was. Shorter stops are part of the trip.

Pure and scalar: a journey and a trip and a fix, and the journey and the trip after it. A journey changes with every
fix; a trip changes rarely.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.geodesy import distance_m
from geofence.kernel import scalar_kernel
from tracking_core.columns import NO_TIME
from tracking_core.fixes.quality import MeasuredFix, Neighbour
from tracking_core.journeys.smoothing import (
    SmoothedMotion,
    SmoothingRules,
    at_rest,
    axis_variance_m2,
    smooth,
    smoothed_speed_mps,
)
from tracking_core.journeys.stays import (
    LEFT,
    NO_STAY,
    STOPPED,
    STOPPED_HERE,
    PlacedFix,
    Stay,
    StayRules,
    doubt_m,
    is_within,
    move_on,
    stay_on,
)
from tracking_core.settings import EngineSettings

NO_TRIP: Final = 0
DEPARTED: Final = 1
ON_TRIP: Final = 2

# What happened with a fix; several may, and are added up.
STOP_BEGAN: Final = 1
STOP_ENDED: Final = 2
TRIP_STARTED: Final = 4
TRIP_ENDED: Final = 8


class JourneyRules(NamedTuple):
    """The settings of this stage, as numbers for the kernel."""

    smoothing: SmoothingRules
    stays: StayRules
    departs_m: float
    closes_after_us: int
    silent_after_us: int


class Journey(NamedTuple):
    """`odometer_m` counts from the first fix. `fastest_mps`: since the device was last seen standing without a trip."""

    smoothed: SmoothedMotion
    stay: Stay
    odometer_m: float
    fastest_mps: float


class Trip(NamedTuple):
    """NO_TRIP, or when and where the device departed, and what its odometer showed."""

    state: int
    departed_at_us: int
    latitude_deg: float
    longitude_deg: float
    odometer_m: float


NO_JOURNEY: Final = Journey(SmoothedMotion(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), NO_STAY, 0.0, 0.0)
BEFORE_TRIPS: Final = Trip(NO_TRIP, 0, 0.0, 0.0, 0.0)


def journey_rules(settings: EngineSettings) -> JourneyRules:
    """The rules of an engine."""
    smoothing = SmoothingRules(
        float(settings.assumed_accuracy_m), float(settings.velocity_wander_m2_s3), settings.derive_within_us
    )
    stays = StayRules(
        float(settings.stop_radius_m),
        settings.stop_after_us,
        float(settings.stop_clear_m),
        float(settings.stop_accuracy_cap_m),
        float(settings.assumed_accuracy_m),
    )
    return JourneyRules(
        smoothing, stays, float(settings.trip_departs_m), settings.trip_closes_after_us, settings.trip_silence_us
    )


@scalar_kernel
def no_trip() -> Trip:
    """Not on any."""
    return Trip(NO_TRIP, 0, 0.0, 0.0, 0.0)


@scalar_kernel
def trip_length_m(journey: Journey, trip: Trip) -> float:
    """Metres of a trip until now. The way from a place that the device only passes is a part of it."""
    under_way_m = 0.0 if journey.stay.state == STOPPED else journey.stay.way_m
    return journey.odometer_m + under_way_m - trip.odometer_m


@scalar_kernel
def is_silent(last_us: int, at_us: int, rules: JourneyRules) -> bool:
    """Whether a device whose last fix was then has been silent for too long now."""
    return bool(last_us != NO_TIME and at_us - last_us >= rules.silent_after_us)


@scalar_kernel
def stands(stay: Stay, trip: Trip, before: Neighbour) -> bool:
    """Whether a device that came by a known way is at a stop and on no trip, as most devices are most of the time."""
    return bool(stay.state == STOPPED and stay.leaving == 0 and trip.state == NO_TRIP and before.at_us != NO_TIME)


@scalar_kernel
def stand_on(
    journey: Journey, at_us: int, latitude_deg: float, longitude_deg: float, accuracy_m: float, rules: JourneyRules
) -> Journey:
    """What `travel` comes to for a device that stands and still does; neither a leg nor a velocity is needed."""
    stay = stay_on(journey.stay, at_us, latitude_deg, longitude_deg)
    variance_m2 = axis_variance_m2(accuracy_m, rules.smoothing) / stay.fixes
    return Journey(at_rest(stay.latitude_deg, stay.longitude_deg, variance_m2), stay, journey.odometer_m, 0.0)


@scalar_kernel
def travel(
    journey: Journey, trip: Trip, fix: MeasuredFix, before: Neighbour, last_us: int, rules: JourneyRules
) -> tuple[Journey, Trip, int]:
    """Journey and trip after a fix that counts, and what happened. `before` is the counted fix before, its time NO_TIME
    where the device did not come from there by a known way; `last_us` is that fix's time in any case.

    A trip on which the device fell silent is to be ended before (`is_silent`). What happened is dated thus: STOP_BEGAN
    and TRIP_ENDED at the `since_us` and place of the stay now, STOP_ENDED at the `until_us` and place of the stay that
    was, TRIP_STARTED as the trip says.
    """
    # Columns have it in half the digits; all that follows is reckoned in full.
    accuracy_m = np.float64(fix.accuracy_m)
    if stands(journey.stay, trip, before) and is_within(
        journey.stay, fix.latitude_deg, fix.longitude_deg, accuracy_m, rules.stays
    ):
        return stand_on(journey, fix.observed_at_us, fix.latitude_deg, fix.longitude_deg, accuracy_m, rules), trip, 0
    elapsed_us = fix.observed_at_us - before.at_us if before.at_us != NO_TIME else 0
    if journey.stay.fixes == 0:
        elapsed_us = 0
    smoothed = smooth(journey.smoothed, elapsed_us, fix.latitude_deg, fix.longitude_deg, accuracy_m, rules.smoothing)
    placed = PlacedFix(
        fix.observed_at_us,
        fix.latitude_deg,
        fix.longitude_deg,
        accuracy_m,
        smoothed.latitude_deg,
        smoothed.longitude_deg,
    )
    was = journey.stay
    stay, happened, counted_m = move_on(
        was, placed, before.at_us, before.latitude_deg, before.longitude_deg, rules.stays
    )
    told = 0
    if happened == STOPPED_HERE:
        told = STOP_BEGAN
        if trip.state == DEPARTED:
            trip = no_trip()
    elif happened == LEFT:
        if was.state == STOPPED:
            told = STOP_ENDED
        # After a gap nobody knows when it departed: a trip begins where it is found moving.
        gap = before.at_us == NO_TIME or is_silent(last_us, fix.observed_at_us, rules)
        gap = gap or (was.leaving == 1 and is_silent(was.until_us, last_us, rules))
        if trip.state == NO_TRIP and not gap:
            trip = Trip(DEPARTED, was.until_us, was.latitude_deg, was.longitude_deg, journey.odometer_m)
        if trip.state == DEPARTED:
            away_m = distance_m(trip.latitude_deg, trip.longitude_deg, fix.latitude_deg, fix.longitude_deg)
            if away_m - doubt_m(accuracy_m, rules.stays) >= rules.departs_m:
                trip = Trip(ON_TRIP, trip.departed_at_us, trip.latitude_deg, trip.longitude_deg, trip.odometer_m)
                told += TRIP_STARTED

    speed_mps = np.float64(fix.speed_mps) if fix.speed_mps >= 0.0 else smoothed_speed_mps(smoothed)
    fastest_mps = speed_mps if is_silent(last_us, fix.observed_at_us, rules) else max(journey.fastest_mps, speed_mps)
    if stay.state == STOPPED and not stay.leaving:
        # It stands: so does what is shown of it, and the next fixes away from here are not taken for its speed.
        variance_m2 = axis_variance_m2(accuracy_m, rules.smoothing) / stay.fixes
        smoothed = at_rest(stay.latitude_deg, stay.longitude_deg, variance_m2)
        if trip.state == ON_TRIP and fix.observed_at_us - stay.since_us >= rules.closes_after_us:
            told += TRIP_ENDED
        elif trip.state == NO_TRIP:
            fastest_mps = 0.0
    return Journey(smoothed, stay, journey.odometer_m + counted_m, fastest_mps), trip, told


@scalar_kernel
def trip_end(
    journey: Journey, last_us: int, last_latitude_deg: float, last_longitude_deg: float
) -> tuple[int, float, float]:
    """When and where a trip ends that ends now: where the device stopped, else at its last fix."""
    if journey.stay.state == STOPPED:
        return journey.stay.since_us, journey.stay.latitude_deg, journey.stay.longitude_deg
    return last_us, last_latitude_deg, last_longitude_deg
