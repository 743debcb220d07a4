"""The machine of one device and one fence: unknown, out, pending in, in, pending out. Pure, scalar, no clock.

A fix gives evidence. With d the signed distance to the boundary in metres, negative inside, and a the accuracy of
the fix: d <= 0 speaks for in; d - min(a, accuracy cap) > exit margin speaks for out; anything else, or a fix that
is not to be relied on, says nothing. The first fix that speaks settles the state silently. Then evidence against
the state makes it pending, the rule's number of fixes in a row, or its time, confirms it, and evidence for the old
state cancels. A fix that says nothing neither counts nor cancels.

An event is dated where the path crossed the boundary: on the leg from the last fix on the old side to the first on the
new one. For an exit that first fix may have said nothing (outside by less than its accuracy), so the crossing is noted
when the boundary is passed, and dropped when a fix speaks for the old state again.

`Presence` of a device that is out is always `OUTSIDE`, so nothing need be stored for it.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from geofence.compiled import NO_TIME, CompiledFences
from geofence.containment import contains_one
from geofence.crossing import crossing_fraction
from geofence.distance import signed_distance_m
from geofence.geodesy import wrap_degrees
from geofence.kernel import scalar_kernel
from geofence.rounding import PLACE_PARTS, rounded

UNKNOWN: Final = 0
OUT: Final = 1
PENDING_IN: Final = 2
IN: Final = 3
PENDING_OUT: Final = 4

SPEAKS_OUT: Final = -1
SAYS_NOTHING: Final = 0
SPEAKS_IN: Final = 1

NO_EVENT: Final = 0
ENTERED: Final = 1
EXITED: Final = 2


class Presence(NamedTuple):
    """What is remembered of a device at a fence.

    `fixes` and `pending_since_us` (time of the first pending fix) mean something while pending. The crossing
    (NO_TIME and NaN if none is noted) is there while pending, and in `IN` after a fix just outside that said
    nothing.
    """

    state: int
    fixes: int
    pending_since_us: int
    crossed_at_us: int
    crossed_latitude_deg: float
    crossed_longitude_deg: float


NEVER_SEEN: Final = Presence(UNKNOWN, 0, NO_TIME, NO_TIME, math.nan, math.nan)
OUTSIDE: Final = Presence(OUT, 0, NO_TIME, NO_TIME, math.nan, math.nan)
INSIDE: Final = Presence(IN, 0, NO_TIME, NO_TIME, math.nan, math.nan)


class Crossing(NamedTuple):
    """When and where a path passed a boundary."""

    at_us: int
    latitude_deg: float
    longitude_deg: float


class Fix(NamedTuple):
    """A position with its time. `accuracy_m` is NaN where the device gave none, which counts as 0."""

    observed_at_us: int
    latitude_deg: float
    longitude_deg: float
    accuracy_m: float


@scalar_kernel
def _settled(state: int) -> Presence:
    """A presence with nothing pending."""
    return Presence(state, 0, NO_TIME, NO_TIME, math.nan, math.nan)


@scalar_kernel
def _noted(state: int, fixes: int, since_us: int, crossing: Crossing) -> Presence:
    """A presence that remembers a crossing."""
    return Presence(state, fixes, since_us, crossing.at_us, crossing.latitude_deg, crossing.longitude_deg)


@scalar_kernel
def evidence(distance_m: float, accuracy_m: float, exit_margin_m: float, accuracy_cap_m: float) -> int:
    """What a fix at this signed distance speaks for. NaN accuracy counts as 0; NaN distance says nothing."""
    if distance_m <= 0.0:
        return SPEAKS_IN
    doubt_m = min(accuracy_m, accuracy_cap_m) if accuracy_m > 0.0 else 0.0
    return SPEAKS_OUT if distance_m - doubt_m > exit_margin_m else SAYS_NOTHING


@scalar_kernel
def passes_boundary(presence: Presence, inside: bool) -> bool:  # noqa: FBT001 - kernels know no keywords
    """Whether `update` with this fix notes a crossing, so that it is worth finding where."""
    if presence.state == OUT:
        return inside
    return presence.state == IN and not inside and presence.crossed_at_us == NO_TIME


@scalar_kernel
def update(
    presence: Presence,
    speaks: int,
    inside: bool,  # noqa: FBT001 - kernels know no keywords
    observed_at_us: int,
    crossing: Crossing,
    enter_fixes: int,
    exit_fixes: int,
    confirm_after_us: int,
) -> tuple[Presence, int, Crossing]:
    """The presence after a fix that is relied on; NO_EVENT, ENTERED or EXITED; and where an event is dated.

    `crossing`: where the leg to this fix passed the boundary, read only if `passes_boundary`. `confirm_after_us` is
    NO_TIME if unused. An event is confirmed by this fix. Without an event the third means nothing.
    """
    state = presence.state
    if state == UNKNOWN:
        if speaks == SPEAKS_IN:
            return _settled(IN), NO_EVENT, crossing
        if speaks == SPEAKS_OUT:
            return _settled(OUT), NO_EVENT, crossing
        return presence, NO_EVENT, crossing

    dated = crossing
    if presence.crossed_at_us != NO_TIME:
        dated = Crossing(presence.crossed_at_us, presence.crossed_latitude_deg, presence.crossed_longitude_deg)
    was_in = state in (IN, PENDING_OUT)
    if speaks == SAYS_NOTHING:
        if state == IN and not inside:
            return _noted(IN, 0, NO_TIME, dated), NO_EVENT, dated
        return presence, NO_EVENT, dated
    if was_in == (speaks == SPEAKS_IN):
        return _settled(IN if was_in else OUT), NO_EVENT, dated

    fixes = 1
    since_us = observed_at_us
    if state in (PENDING_IN, PENDING_OUT):
        fixes = presence.fixes + 1
        since_us = presence.pending_since_us
    lasted = confirm_after_us != NO_TIME and fixes > 1 and observed_at_us - since_us >= confirm_after_us
    if fixes >= (exit_fixes if was_in else enter_fixes) or lasted:
        return _settled(OUT if was_in else IN), (EXITED if was_in else ENTERED), dated
    return _noted(PENDING_OUT if was_in else PENDING_IN, fixes, since_us, dated), NO_EVENT, dated


@scalar_kernel
def crossing_at(before: Fix, after: Fix, fraction: float) -> Crossing:
    """When and where a device was that far along the leg between two fixes, in [0, 1].

    Interpolated linearly in time and along the shorter way in longitude; to a microsecond and a billionth of a degree.
    """
    latitude_deg, longitude_deg = after.latitude_deg, after.longitude_deg
    at_us = after.observed_at_us
    if fraction < 1.0:
        step_deg = wrap_degrees(after.longitude_deg - before.longitude_deg)
        at_us = before.observed_at_us + round(fraction * (after.observed_at_us - before.observed_at_us))
        latitude_deg = before.latitude_deg + fraction * (after.latitude_deg - before.latitude_deg)
        longitude_deg = wrap_degrees(before.longitude_deg + fraction * step_deg)
    return Crossing(at_us, rounded(latitude_deg, PLACE_PARTS), rounded(longitude_deg, PLACE_PARTS))


@scalar_kernel
def crossing_between(fences: CompiledFences, slot: int, before: Fix, after: Fix) -> Crossing:
    """When and where the leg between two fixes first passes the boundary, as `crossing_at` says.

    With no fix before (its time is NO_TIME), or a leg that does not cross, it is the end of the leg.
    """
    fraction = 1.0
    if before.observed_at_us != NO_TIME:
        fraction = crossing_fraction(
            fences, slot, before.longitude_deg, before.latitude_deg, after.longitude_deg, after.latitude_deg
        )
    return crossing_at(before, after, fraction)


@scalar_kernel
def observe(
    fences: CompiledFences, slot: int, presence: Presence, before: Fix, fix: Fix
) -> tuple[Presence, int, Crossing]:
    """Everything for one fix at one fence: containment, distance where it matters, evidence, crossing, `update`.

    `before` is the last fix of the device that was relied on (its time is NO_TIME if there is none). Do not call it
    for a fix that is not relied on: such a fix says nothing and leaves everything as it is.
    """
    inside = contains_one(fences, slot, fix.longitude_deg, fix.latitude_deg)
    speaks = SPEAKS_IN
    if not inside:
        distance_m = math.inf
        if fix.accuracy_m > 0.0 or fences.exit_margin_m[slot] > 0.0:
            distance_m = signed_distance_m(fences, slot, fix.longitude_deg, fix.latitude_deg)
        speaks = evidence(distance_m, fix.accuracy_m, fences.exit_margin_m[slot], fences.accuracy_cap_m[slot])
    crossing = Crossing(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg)
    if passes_boundary(presence, inside):
        crossing = crossing_between(fences, slot, before, fix)
    return update(
        presence,
        speaks,
        inside,
        fix.observed_at_us,
        crossing,
        fences.enter_fixes[slot],
        fences.exit_fixes[slot],
        fences.confirm_after_us[slot],
    )
