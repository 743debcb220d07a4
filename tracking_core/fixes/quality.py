"""What each fix is worth, and from which fix before it the device came.

The predicates stand in the order in which they are asked; the first that holds names the verdict. Only `OK` changes the
newest counted fix of a device. Those of `judge_fix` look at a fix by itself, those of `count_fix` at the fixes before
it in time: `fix_folding.py` asks these again when an earlier one arrives late.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from geofence.geodesy import distance_m
from geofence.kernel import inlined_kernel, scalar_kernel
from tracking_core.columns import NO_TIME, PositionColumns
from tracking_core.content_hash import SEED, mix_integer, mix_number
from tracking_core.device_table import DeviceColumns
from tracking_core.fixes.timeline import Timeline, is_before_ring
from tracking_core.memory import SAME, Memory, recall, recall_unordered, remember_last
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_DUPLICATE = int(Verdict.DUPLICATE)
_NO_FIX = int(Verdict.NO_FIX)
_OUT_OF_RANGE = int(Verdict.OUT_OF_RANGE)
_IMPLAUSIBLE_JUMP = int(Verdict.IMPLAUSIBLE_JUMP)
_FUTURE_CLOCK = int(Verdict.FUTURE_CLOCK)
_IMPRECISE = int(Verdict.IMPRECISE)
_STALE = int(Verdict.STALE)
_CONFLICTING = int(Verdict.CONFLICTING)

CLOCK_UNSET_BEFORE_US: Final = 946_684_800_000_000
"""2000-01-01: no device that tracks anything is older, so an earlier time is that of a clock that was never set."""


class QualityRules(NamedTuple):
    """The settings of this stage, as numbers for the kernel."""

    kept_quarantined: int
    horizon_us: int
    future_tolerance_us: int
    highest_speed_mps: float
    jump_slack_m: float
    imprecise_m: float


def quality_rules(settings: EngineSettings) -> QualityRules:
    """The rules of an engine."""
    return QualityRules(
        settings.kept_quarantined,
        settings.horizon_us,
        settings.future_tolerance_us,
        float(settings.highest_speed_mps),
        float(settings.jump_slack_m),
        float(settings.imprecise_m),
    )


class MeasuredFix(NamedTuple):
    """One fix as the device measured it. NaN is what it left out."""

    observed_at_us: int
    received_at_us: int
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    accuracy_m: float
    speed_mps: float
    heading_deg: float


class Neighbour(NamedTuple):
    """The counted fix before one that counts, to go by. The time is NO_TIME where there is none: on the first fix of a
    device, and where the fix before turned out to be the bad one.
    """

    at_us: int
    latitude_deg: float
    longitude_deg: float


@inlined_kernel
def fix_content(fixes: PositionColumns, i: int) -> np.uint64:
    """What the fix at `i` says, as 64 bits."""
    state = mix_number(SEED, fixes.latitude_deg[i])
    state = mix_number(state, fixes.longitude_deg[i])
    state = mix_number(state, fixes.altitude_m[i])
    state = mix_number(state, fixes.speed_mps[i])
    state = mix_number(state, fixes.heading_deg[i])
    state = mix_number(state, fixes.accuracy_m[i])
    return mix_integer(state, fixes.satellites[i])


@inlined_kernel
def says_nowhere(fixes: PositionColumns, i: int) -> bool:
    """No satellites, or exactly 0,0: what receivers send when they have no fix."""
    return bool(fixes.satellites[i] == 0 or (fixes.latitude_deg[i] == 0.0 and fixes.longitude_deg[i] == 0.0))


@inlined_kernel
def is_impossible(fixes: PositionColumns, i: int, highest_speed_mps: float) -> bool:
    """Latitude, longitude, speed or heading outside what exists. NaN speed and heading are unknown, not impossible; a
    NaN coordinate is impossible.
    """
    latitude_deg = fixes.latitude_deg[i]
    longitude_deg = fixes.longitude_deg[i]
    if not (-90.0 <= latitude_deg <= 90.0 and -180.0 <= longitude_deg <= 180.0):
        return True
    speed_mps = fixes.speed_mps[i]
    if speed_mps < 0.0 or speed_mps > highest_speed_mps:
        return True
    heading_deg = fixes.heading_deg[i]
    return bool(heading_deg < 0.0 or heading_deg > 360.0)


@scalar_kernel
def is_reachable(
    at_us: int,
    latitude_deg: float,
    longitude_deg: float,
    from_us: int,
    from_latitude_deg: float,
    from_longitude_deg: float,
    accuracy_m: float,
    rules: QualityRules,
) -> bool:
    """Whether a device can have come from one place to the other in the time between, whichever was first."""
    allowed_m = rules.highest_speed_mps * (abs(at_us - from_us) * 1e-6) + rules.jump_slack_m
    if accuracy_m > 0.0:  # false for NaN
        allowed_m += accuracy_m
    # Most fixes are told without trigonometry: along the meridian and then the parallel is no shorter than straight, a
    # degree of latitude is between 110.5 and 111.7 km long everywhere, and one of longitude at most 111.4 km.
    north_deg = abs(latitude_deg - from_latitude_deg)
    if north_deg * 111_700.0 + abs(longitude_deg - from_longitude_deg) * 111_400.0 <= allowed_m:
        return True
    if north_deg * 110_500.0 > allowed_m:
        return False
    return distance_m(latitude_deg, longitude_deg, from_latitude_deg, from_longitude_deg) <= allowed_m


@inlined_kernel
def judge_fix(
    fixes: PositionColumns,
    i: int,
    row: int,
    now_us: int,
    content: np.uint64,
    devices: DeviceColumns,
    timeline: Timeline,
    quarantine: Memory,
    rules: QualityRules,
) -> int:
    """The verdict on the fix at `i` by itself: OK if it depends on the fixes beside it whether it counts.

    A fix whose time is not believed is remembered in the quarantine; all others but duplicates belong into the ring.
    """
    at_us = fixes.observed_at_us[i]
    counted_us = devices.counted_at_us[row]
    # A fix newer than all in the ring need not be looked for there.
    newest = at_us > timeline.newest_us[row]
    unbelievable = 0
    if at_us > now_us + rules.future_tolerance_us:
        unbelievable = _FUTURE_CLOCK
    elif (
        at_us < CLOCK_UNSET_BEFORE_US
        or (not newest and is_before_ring(timeline, row, at_us))
        or (counted_us != NO_TIME and at_us < counted_us - rules.horizon_us)
    ):
        unbelievable = _STALE
    if unbelievable:
        if recall_unordered(quarantine, row, rules.kept_quarantined, at_us, content):
            return _DUPLICATE
        remember_last(quarantine, row, rules.kept_quarantined, at_us, content)
        return unbelievable
    if not newest and recall(timeline.ring, row, timeline.places, at_us, content) == SAME:
        return _DUPLICATE
    if says_nowhere(fixes, i):
        return _NO_FIX
    if is_impossible(fixes, i, rules.highest_speed_mps):
        return _OUT_OF_RANGE
    if fixes.accuracy_m[i] > rules.imprecise_m:
        return _IMPRECISE
    return _OK


@inlined_kernel
def last_judged_us(devices: DeviceColumns, row: int) -> int:
    """The time of the newest fix that was counted or suspected; NO_TIME if there is none."""
    return int(max(devices.counted_at_us[row], devices.suspect_at_us[row]))


@inlined_kernel
def counted_fix(row: int, devices: DeviceColumns) -> Neighbour:
    """The newest counted fix of a device."""
    return Neighbour(int(devices.counted_at_us[row]), devices.latitude_deg[row], devices.longitude_deg[row])


@inlined_kernel
def count_fix(fix: MeasuredFix, row: int, devices: DeviceColumns, rules: QualityRules) -> tuple[int, Neighbour]:
    """The verdict on a fix that is not older than any before it; if it is OK the device moves on to it, and the second
    is the counted fix before. All but speed and heading of the device is changed.

    A jump is judged against both neighbours: the fix that jumps is kept aside as the suspect; if the next one agrees
    with the suspect and not with the counted fix, the counted one was wrong (or the device was carried), and the device
    goes on from there. So one bad fix costs one fix, also when it is the first.
    """
    before = Neighbour(NO_TIME, math.nan, math.nan)
    at_us = fix.observed_at_us
    counted_us = devices.counted_at_us[row]
    if counted_us != NO_TIME:
        if at_us == last_judged_us(devices, row):
            return _CONFLICTING, before
        if is_reachable(
            at_us,
            fix.latitude_deg,
            fix.longitude_deg,
            counted_us,
            devices.latitude_deg[row],
            devices.longitude_deg[row],
            fix.accuracy_m,
            rules,
        ):
            before = Neighbour(counted_us, devices.latitude_deg[row], devices.longitude_deg[row])
        elif devices.suspect_at_us[row] == NO_TIME or not is_reachable(
            at_us,
            fix.latitude_deg,
            fix.longitude_deg,
            devices.suspect_at_us[row],
            devices.suspect_latitude_deg[row],
            devices.suspect_longitude_deg[row],
            fix.accuracy_m,
            rules,
        ):
            devices.suspect_at_us[row] = at_us
            devices.suspect_latitude_deg[row] = fix.latitude_deg
            devices.suspect_longitude_deg[row] = fix.longitude_deg
            return _IMPLAUSIBLE_JUMP, before
    if devices.suspect_at_us[row] != NO_TIME:
        devices.suspect_at_us[row] = NO_TIME
        devices.suspect_latitude_deg[row] = math.nan
        devices.suspect_longitude_deg[row] = math.nan
    devices.counted_at_us[row] = at_us
    devices.received_at_us[row] = fix.received_at_us
    devices.latitude_deg[row] = fix.latitude_deg
    devices.longitude_deg[row] = fix.longitude_deg
    devices.altitude_m[row] = fix.altitude_m
    devices.accuracy_m[row] = fix.accuracy_m
    return _OK, before
