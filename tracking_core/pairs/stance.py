"""The machine of two devices: unknown, apart, pending near, near, pending apart. Pure, no clock.

A sight of both at one moment gives evidence. Near: at most `distance_m` apart, were each as far off as it can be.
Apart: farther apart than that by more than `margin_m`, and both known: who is not heard of may have come along, so
the silence of one never parts. Anything else says nothing. The first sight that speaks settles the stance silently,
and there what is believed may speak for apart too. Then evidence against the stance makes it pending, `near_fixes` or
`apart_fixes` moments confirm it, a nearness also has to be seen to last for `minimum_duration_us`, and evidence for
the old stance cancels.

An event is dated where the distance passed `distance_m`: on the leg from the moment before to the first on the new
side, both devices moving evenly. For a parting that moment may have said nothing (within the margin), so the crossing
is noted when the distance is passed, and dropped when they are near again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tracking_core.columns import NO_TIME
from tracking_core.definitions import Proximity
from tracking_core.pairs.track import Place

UNKNOWN: Final = 0
APART: Final = 1
PENDING_NEAR: Final = 2
NEAR: Final = 3
PENDING_APART: Final = 4

SPEAKS_APART: Final = -1
SAYS_NOTHING: Final = 0
SPEAKS_NEAR: Final = 1


class Sight(NamedTuple):
    """Where both are at one moment."""

    at_us: int
    device: Place
    other: Place
    distance_m: float

    @property
    def known(self) -> bool:
        """Whether neither place is only believed."""
        return self.device.known and self.other.known

    @property
    def reach_m(self) -> float:
        """How much farther apart, or nearer, they may be."""
        return self.device.reach_m + self.other.reach_m


class Meet(NamedTuple):
    """When the distance was passed, and where the first device was then."""

    at_us: int
    latitude_deg: float
    longitude_deg: float


class Stance(NamedTuple):
    """What is remembered of two devices. While pending: how many moments say so, the first and the last of them.

    The crossing is there while pending, and in NEAR after a moment in the margin. `met_at_us` is None for a nearness of
    which nobody knows when it began.
    """

    phase: int = UNKNOWN
    fixes: int = 0
    since_us: int = NO_TIME
    last_us: int = NO_TIME
    crossed: Meet | None = None
    met_at_us: int | None = None

    @property
    def near(self) -> bool:
        """Whether they are together, as far as it is confirmed."""
        return self.phase in (NEAR, PENDING_APART)

    @property
    def settled(self) -> Stance:
        """The same with nothing pending."""
        if self.phase == UNKNOWN:
            return self
        return Stance(NEAR if self.near else APART, met_at_us=self.met_at_us)


def evidence(sight: Sight, rule: Proximity, phase: int) -> int:
    """What a sight speaks for."""
    if sight.distance_m + sight.reach_m <= rule.distance_m:
        return SPEAKS_NEAR
    if (sight.known or phase == UNKNOWN) and sight.distance_m - sight.reach_m > rule.distance_m + rule.margin_m:
        return SPEAKS_APART
    return SAYS_NOTHING


def update(stance: Stance, sight: Sight, rule: Proximity, crossing: Callable[[], Meet]) -> tuple[Stance, Meet | None]:
    """The stance after a sight; and, if it confirms that they met or parted, where that is dated: they met if the
    stance is NEAR then. `crossing` says where the leg to this moment passed the distance.
    """
    speaks = evidence(sight, rule, stance.phase)
    if stance.phase == UNKNOWN:
        settled = {SPEAKS_NEAR: NEAR, SPEAKS_APART: APART, SAYS_NOTHING: UNKNOWN}[speaks]
        return Stance(settled), None
    if speaks == SAYS_NOTHING:
        passed = stance.phase == NEAR and sight.known and sight.distance_m > rule.distance_m
        if passed and stance.crossed is None:
            return stance._replace(crossed=crossing()), None
        return stance, None
    if stance.near == (speaks == SPEAKS_NEAR):
        return stance.settled, None

    fixes, since_us, crossed = stance.fixes + 1, stance.since_us, stance.crossed
    unseen = stance.phase == PENDING_NEAR and sight.at_us - stance.last_us > rule.max_age_us
    if stance.phase in (APART, NEAR) or unseen:
        # A nearness that was not seen to last begins anew.
        fixes, since_us = 1, sight.at_us
        crossed = None if unseen else crossed
    if crossed is None:
        crossed = crossing()
    if stance.near:
        if fixes >= rule.apart_fixes:
            return Stance(APART), crossed
        return Stance(PENDING_APART, fixes, since_us, sight.at_us, crossed, stance.met_at_us), None
    if fixes >= rule.near_fixes and sight.at_us - since_us >= rule.minimum_duration_us:
        return Stance(NEAR, met_at_us=crossed.at_us), crossed
    return Stance(PENDING_NEAR, fixes, since_us, sight.at_us, crossed), None
