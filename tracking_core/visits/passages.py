"""Fences that a device passed through between two fixes that count, both outside.

Only what a tenant watches for costs anything: the fold asks once a fix whether there is such a fence.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from geofence.compiled import CROSS, CompiledFences
from geofence.geodesy import distance_m
from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.passing import find_on_leg, passing_direction, passing_fractions
from geofence.transitions import OUTSIDE, Fix, crossing_at
from geofence.windows import is_active
from tracking_core.columns import I32, I64, NO_TIME
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.fixes.quality import MeasuredFix, Neighbour
from tracking_core.presence_pool import NO_VISIT, PresenceColumns, find_presence
from tracking_core.settings import EngineSettings
from tracking_core.telling.event_rows import CROSSED
from tracking_core.telling.journal import JournalColumns, note_change, note_event
from tracking_core.visits.geofencing import is_among

NO_GAP: Final = 0
TOO_LONG: Final = 1
TOO_FAR: Final = 2


class PassageRules(NamedTuple):
    """The settings of this stage, as numbers for the kernel."""

    within_us: int
    within_m: float


def passage_rules(settings: EngineSettings) -> PassageRules:
    """The rules of an engine."""
    return PassageRules(settings.cross_within_us, float(settings.cross_within_m))


@inlined_kernel
def leg_gap(last: Neighbour, fix: MeasuredFix, rules: PassageRules) -> int:
    """Whether two fixes are near enough to say what lies between them: NO_GAP, TOO_LONG or TOO_FAR."""
    if fix.observed_at_us - last.at_us > rules.within_us:
        return TOO_LONG
    length_m = distance_m(last.latitude_deg, last.longitude_deg, fix.latitude_deg, fix.longitude_deg)
    return TOO_FAR if length_m > rules.within_m else NO_GAP


@inlined_kernel
def find_passages(
    tenant: int,
    last: Neighbour,
    fix: MeasuredFix,
    fences: CompiledFences,
    rules: PassageRules,
    walk: I64,
    passing: I32,
) -> int:
    """Writes the fences that the leg from the counted fix before may pass through; returns how many, or minus a room
    that is enough if `passing` is too short. None if no fence of the tenant watches for it, or the leg is too long.
    """
    if tenant < 0 or tenant >= len(fences.tenant_crosses) or fences.tenant_crosses[tenant] == 0:
        return 0
    if last.at_us == NO_TIME or leg_gap(last, fix, rules) != NO_GAP:
        return 0
    return find_on_leg(
        fences, tenant, CROSS, last.longitude_deg, last.latitude_deg, fix.longitude_deg, fix.latitude_deg, walk, passing
    )


@scalar_kernel
def pass_fences(
    row: int,
    fix: Fix,
    before: Fix,
    passing: I32,
    passed: int,
    holding: I32,
    held: int,
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    journal: JournalColumns,
) -> None:
    """Notes which of the first `passed` fences the leg passed through and hold neither end of it: the device is neither
    inside of them nor pending, its presences being still those of before the fix, and the fix is not inside. There must
    be room in the journal for `passed` changes.
    """
    elapsed_us = fix.observed_at_us - before.observed_at_us
    for k in range(passed):
        fence = passing[k]
        if is_among(fence, holding, held) or find_presence(presences, row, fence, devices) != NOTHING:
            continue
        first, second = passing_fractions(
            fences, fence, before.longitude_deg, before.latitude_deg, fix.longitude_deg, fix.latitude_deg
        )
        if first > 1.0:
            continue
        there = crossing_at(before, fix, first)
        if not is_active(fences, fence, there.at_us):
            continue
        change = note_change(journal, row, fix.observed_at_us, fence, fences.version[fence], OUTSIDE, NO_VISIT, devices)
        note_event(journal, change, CROSSED, there)
        journal.since_us[change] = before.observed_at_us + round(second * elapsed_us)
        journal.value[change] = passing_direction(
            fences, fence, before.longitude_deg, before.latitude_deg, fix.longitude_deg, fix.latitude_deg
        )
