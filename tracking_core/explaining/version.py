"""A version of a fence, compiled alone: what it says of a fix."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from geofence.compiled import NO_TIME, CompiledFences
from geofence.crossing import crossing_fraction
from geofence.definition import CrossingRule
from geofence.distance import signed_distance_m
from geofence.fence_set import FenceSet
from geofence.transitions import ENTERED, SAYS_NOTHING, SPEAKS_IN, SPEAKS_OUT, Fix, evidence
from geofence.windows import is_active
from tracking_core.events import EventKind
from tracking_core.explaining.steps import NOWHERE, FenceEdit, Reason, StoredFix, TracedEvent


# Slots are int32 and accuracies float32, as the engine has them: so no kernel is compiled again for this.
def as_slot(slot: int) -> int:
    """A slot as it stands in the engine's columns."""
    converted: Any = np.int32(slot)
    return cast("int", converted)


def as_accuracy(accuracy_m: float) -> float:
    """An accuracy as it stands in the engine's columns."""
    converted: Any = np.float32(accuracy_m)
    return cast("float", converted)


class Version:
    """A version in force; none where the fence is not there."""

    def __init__(self, edit: FenceEdit | None) -> None:
        self.version = 0 if edit is None else edit.version
        self.fence = None if edit is None else edit.fence
        self._set = FenceSet()
        self.slot = as_slot(-1 if self.fence is None else self._set.put(self.fence))

    @property
    def compiled(self) -> CompiledFences:
        """The fence alone, for kernels."""
        return self._set.compiled

    @property
    def rule(self) -> CrossingRule:
        """How it is entered and left."""
        return CrossingRule() if self.fence is None else self.fence.crossing

    def kind(self, happened: int) -> EventKind:
        """As what an entry or exit is told."""
        if self.fence is not None and self.fence.visit.watched:
            return EventKind.CORRIDOR_RETURNED if happened == ENTERED else EventKind.CORRIDOR_LEFT
        return EventKind.GEOFENCE_ENTERED if happened == ENTERED else EventKind.GEOFENCE_EXITED

    def distance_m(self, fix: StoredFix) -> float:
        """To the boundary, negative inside; NaN without a fence or a place."""
        if self.fence is None or fix.verdict in NOWHERE:
            return math.nan
        return signed_distance_m(self.compiled, self.slot, fix.longitude_deg, fix.latitude_deg)

    def doubt_m(self, fix: StoredFix) -> float:
        """Only from farther outside than this would a fix speak for out; NaN without a fence."""
        if self.fence is None:
            return math.nan
        rule = self.fence.crossing
        return rule.exit_margin_m + (min(fix.accuracy_m, rule.accuracy_cap_m) if fix.accuracy_m > 0.0 else 0.0)

    def tells(self, event: TracedEvent | None) -> bool:
        """Whether an event is of a time at which the fence is active."""
        return event is not None and is_active(self.compiled, self.slot, event.observed_at_us)

    def opens_to(self, edited: Version, fix: StoredFix) -> bool:
        """Whether other active times hold a fix that these do not."""
        at_us = fix.observed_at_us
        return is_active(edited.compiled, edited.slot, at_us) and not is_active(self.compiled, self.slot, at_us)

    def led_through(self, before: Fix, fix: StoredFix) -> bool:
        """Whether the straight way between two fixes outside touches the fence."""
        if self.fence is None or before.observed_at_us == NO_TIME:
            return False
        return (
            crossing_fraction(
                self.compiled, self.slot, before.longitude_deg, before.latitude_deg, fix.longitude_deg, fix.latitude_deg
            )
            < 1.0
        )

    def evidence_of(self, fix: StoredFix, distance_m: float) -> tuple[int, Reason]:
        """What a fix that counts says, and why."""
        if self.fence is None:
            return SAYS_NOTHING, Reason.NO_FENCE
        rule = self.rule
        speaks = evidence(distance_m, as_accuracy(fix.accuracy_m), rule.exit_margin_m, rule.accuracy_cap_m)
        if speaks == SPEAKS_IN:
            return speaks, Reason.INSIDE
        if speaks == SPEAKS_OUT:
            return speaks, Reason.BEYOND_DOUBT
        return speaks, Reason.WITHIN_MARGIN if distance_m <= rule.exit_margin_m else Reason.WITHIN_ACCURACY
