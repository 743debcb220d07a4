"""Where a device stays, and the metres it makes: stops, departures, and an odometer that drift does not turn.

A device is always at some place: one that it passes, or one where it stopped. It stays there as long as its fixes lie
within the radius, less what their accuracy leaves open. Two fixes in a row outside, or one that is far outside, and it
has left; then the first fix outside is the next place, if the second lies near it, else the second.

A place where it stays for the rule's time is a stop, dated at the first fix there. A stop's own place is the mean of
what is seen of it, so that it gets better the longer it lasts, and drift does not end it.

Metres count when the device leaves. While it passes a place every leg counts, later; of a stop only the way from where
the stay began to where it stands, and from there to where it left for.

Pure and scalar. The idea of a stay point: Q. Li et al., "Mining user similarity based on location history", ACM GIS
2008, section 3.1; the two fixes, the accuracy and the mean are ours.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from geofence.geodesy import distance_m, wrap_degrees
from geofence.kernel import scalar_kernel
from tracking_core.columns import NO_TIME

NOWHERE: Final = 0
PASSING: Final = 1
STOPPED: Final = 2

NOTHING_HAPPENED: Final = 0
STOPPED_HERE: Final = 1
LEFT: Final = 2

_MOST_FIXES: Final = 10_000
"""So many fixes a mean weighs at most: in a stop of days it still follows."""


class StayRules(NamedTuple):
    """The settings of stays, as numbers for the kernel."""

    radius_m: float
    after_us: int
    clear_m: float
    accuracy_cap_m: float
    assumed_accuracy_m: float


class Stay(NamedTuple):
    """`since_us`: time of the first fix at the place; `until_us`: of the last one. `leaving`: 1 if the newest fix was
    outside. `way_m`: metres made since the place, that do not count yet.
    """

    state: int
    leaving: int
    fixes: int
    since_us: int
    until_us: int
    latitude_deg: float
    longitude_deg: float
    way_m: float


NO_STAY: Final = Stay(NOWHERE, 0, 0, 0, 0, 0.0, 0.0, 0.0)


class PlacedFix(NamedTuple):
    """A fix that counts, with the smoothed place beside it."""

    at_us: int
    latitude_deg: float
    longitude_deg: float
    accuracy_m: float
    smoothed_latitude_deg: float
    smoothed_longitude_deg: float


@scalar_kernel
def doubt_m(accuracy_m: float, rules: StayRules) -> float:
    """What the accuracy of a fix leaves open."""
    return min(accuracy_m if accuracy_m > 0.0 else rules.assumed_accuracy_m, rules.accuracy_cap_m)


@scalar_kernel
def passing(at_us: int, latitude_deg: float, longitude_deg: float) -> Stay:
    """A new place."""
    return Stay(PASSING, 0, 1, at_us, at_us, latitude_deg, longitude_deg, 0.0)


@scalar_kernel
def is_within(stay: Stay, latitude_deg: float, longitude_deg: float, accuracy_m: float, rules: StayRules) -> bool:
    """Whether a fix is at the place of a stay, as far as its accuracy can tell."""
    away_m = distance_m(stay.latitude_deg, stay.longitude_deg, latitude_deg, longitude_deg)
    return bool(away_m - doubt_m(accuracy_m, rules) <= rules.radius_m)


@scalar_kernel
def stay_on(stay: Stay, at_us: int, latitude_deg: float, longitude_deg: float) -> Stay:
    """A stop with one more fix."""
    fixes = min(stay.fixes + 1, _MOST_FIXES)
    mean_latitude_deg = stay.latitude_deg + (latitude_deg - stay.latitude_deg) / fixes
    step_deg = wrap_degrees(longitude_deg - stay.longitude_deg)
    mean_longitude_deg = wrap_degrees(stay.longitude_deg + step_deg / fixes)
    return Stay(STOPPED, 0, fixes, stay.since_us, at_us, mean_latitude_deg, mean_longitude_deg, 0.0)


@scalar_kernel
def move_on(
    stay: Stay,
    fix: PlacedFix,
    before_us: int,
    before_latitude_deg: float,
    before_longitude_deg: float,
    rules: StayRules,
) -> tuple[Stay, int, float]:
    """The stay after a fix; NOTHING_HAPPENED, STOPPED_HERE or LEFT (the stay that was); and the metres that count now.

    `before` is the counted fix before this one; its time is NO_TIME where the device did not come from there by any way
    that is known, and then it is at a new place without metres.
    """
    if stay.state == NOWHERE:
        return passing(fix.at_us, fix.latitude_deg, fix.longitude_deg), NOTHING_HAPPENED, 0.0
    if before_us == NO_TIME:
        return passing(fix.at_us, fix.latitude_deg, fix.longitude_deg), LEFT, 0.0
    leg_m = distance_m(before_latitude_deg, before_longitude_deg, fix.latitude_deg, fix.longitude_deg)
    away_m = distance_m(stay.latitude_deg, stay.longitude_deg, fix.latitude_deg, fix.longitude_deg)
    doubt = doubt_m(fix.accuracy_m, rules)
    if away_m - doubt <= rules.radius_m:
        if stay.state == STOPPED:
            return stay_on(stay, fix.at_us, fix.latitude_deg, fix.longitude_deg), NOTHING_HAPPENED, 0.0
        if fix.at_us - stay.since_us < rules.after_us:
            fixes = min(stay.fixes + 1, _MOST_FIXES)
            stayed = Stay(
                PASSING, 0, fixes, stay.since_us, fix.at_us, stay.latitude_deg, stay.longitude_deg, stay.way_m + leg_m
            )
            return stayed, NOTHING_HAPPENED, 0.0
        to_stop_m = distance_m(
            stay.latitude_deg, stay.longitude_deg, fix.smoothed_latitude_deg, fix.smoothed_longitude_deg
        )
        stopped = Stay(
            STOPPED,
            0,
            min(stay.fixes + 1, _MOST_FIXES),
            stay.since_us,
            fix.at_us,
            fix.smoothed_latitude_deg,
            fix.smoothed_longitude_deg,
            0.0,
        )
        return stopped, STOPPED_HERE, min(to_stop_m, stay.way_m + leg_m)
    way_m = away_m if stay.state == STOPPED and not stay.leaving else stay.way_m + leg_m
    if not stay.leaving and away_m - doubt <= rules.clear_m:
        leaving = Stay(
            stay.state, 1, stay.fixes, stay.since_us, stay.until_us, stay.latitude_deg, stay.longitude_deg, way_m
        )
        return leaving, NOTHING_HAPPENED, 0.0
    if stay.leaving and leg_m - doubt <= rules.radius_m:
        there = Stay(PASSING, 0, 2, before_us, fix.at_us, before_latitude_deg, before_longitude_deg, leg_m)
        return there, LEFT, way_m - leg_m
    return passing(fix.at_us, fix.latitude_deg, fix.longitude_deg), LEFT, way_m
