"""The little machine of one limit and one sensor series: inside, pending outside, open.

Pure: `update(state, sample) -> state, what happened`. A sample equal to a bound is inside.
"""

from __future__ import annotations

from typing import Final

from geofence.kernel import scalar_kernel

INSIDE: Final = 0
PENDING: Final = 1
OPEN: Final = 2

ABOVE: Final = 1
BELOW: Final = 2


@scalar_kernel
def update(
    phase: int,
    side: int,
    since_us: int,
    worst: float,
    at_us: int,
    value: float,
    minimum: float,
    maximum: float,
    hysteresis: float,
    minimum_duration_us: int,
) -> tuple[int, int, int, float, bool, bool]:
    """The next (phase, side, since_us, worst), whether an open excursion closed, and whether one opened.

    `side` says which bound was broken (ABOVE the maximum, BELOW the minimum), `since_us` when, `worst` the most extreme
    value since. A bound that does not exist is NaN and never broken. Both may happen on one sample, which leaves
    through one bound and breaks the other: then the closing comes first. `value` must be finite.
    """
    closed = False
    if phase == OPEN:
        still_out = value > maximum - hysteresis if side == ABOVE else value < minimum + hysteresis
        if still_out:
            worst = max(worst, value) if side == ABOVE else min(worst, value)
            return OPEN, side, since_us, worst, False, False
        closed = True
        phase = INSIDE
    broken = 0
    if value > maximum:
        broken = ABOVE
    elif value < minimum:
        broken = BELOW
    if broken == 0:
        return INSIDE, 0, 0, 0.0, closed, False
    if phase == PENDING and side == broken:
        worst = max(worst, value) if side == ABOVE else min(worst, value)
    else:
        side = broken
        since_us = at_us
        worst = value
    if at_us - since_us >= minimum_duration_us:
        return OPEN, side, since_us, worst, closed, True
    return PENDING, side, since_us, worst, closed, False
