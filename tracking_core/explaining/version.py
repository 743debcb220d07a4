"""A version of a fence in the tables of a machine: what it says of a fix."""

from __future__ import annotations

import math

from geofence.compiled import NO_TIME
from geofence.definition import CrossingRule, FenceDefinition
from geofence.distance import signed_distance_m
from geofence.fence_set import FenceSet
from geofence.passing import passing_fractions
from geofence.transitions import ENTERED, SAYS_NOTHING, SPEAKS_IN, SPEAKS_OUT, Fix, evidence
from geofence.windows import is_active
from tracking_core.events import EventKind
from tracking_core.explaining.machine import Machine, halved
from tracking_core.explaining.steps import NOWHERE, FenceEdit, Reason, StoredFix
from tracking_core.presence_pool import IS_SPEEDING, Visit
from tracking_core.visits.visits import begin_visit, visit_that_dwelt


class Version:
    """The version in force, which the machine has obeyed; none where the fence is not there."""

    def __init__(self, edit: FenceEdit | None, machine: Machine) -> None:
        self.version = 0 if edit is None else edit.version
        self.fence = None if edit is None else edit.fence
        self.slot = -1 if machine.slot is None else machine.slot
        self.compiled = machine.compiled

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

    def leads_through(self, before: Fix, fix: StoredFix) -> int:
        """When the straight way between two fixes outside first touches the fence; NO_TIME if it does not."""
        if self.fence is None or before.observed_at_us == NO_TIME:
            return NO_TIME
        first, _ = passing_fractions(
            self.compiled, self.slot, before.longitude_deg, before.latitude_deg, fix.longitude_deg, fix.latitude_deg
        )
        if first > 1.0:
            return NO_TIME
        return before.observed_at_us + round(first * (fix.observed_at_us - before.observed_at_us))

    def is_active(self, at_us: int) -> bool:
        """Whether it tells of what happens at this time."""
        return self.fence is not None and is_active(self.compiled, self.slot, at_us)

    def evidence_of(self, fix: StoredFix, distance_m: float) -> tuple[int, Reason]:
        """What a fix that counts says, and why."""
        if self.fence is None:
            return SAYS_NOTHING, Reason.NO_FENCE
        rule = self.rule
        speaks = evidence(distance_m, halved(fix.accuracy_m), rule.exit_margin_m, rule.accuracy_cap_m)
        if speaks == SPEAKS_IN:
            return speaks, Reason.INSIDE
        if speaks == SPEAKS_OUT:
            return speaks, Reason.BEYOND_DOUBT
        return speaks, Reason.WITHIN_MARGIN if distance_m <= rule.exit_margin_m else Reason.WITHIN_ACCURACY


def visit_since(fence: FenceDefinition, entered_at_us: int, *, has_dwelt: bool, is_speeding: bool) -> Visit:
    """The visit of a device that came in at a time; whether that it dwelt, and that it is too fast, was told since."""
    fences = FenceSet()
    slot = fences.put(fence)
    visit = begin_visit(fences.compiled, slot, entered_at_us)
    if has_dwelt:
        visit = visit_that_dwelt(fences.compiled, slot, Visit(entered_at_us, entered_at_us, 0))
    return visit._replace(marks=visit.marks | (IS_SPEEDING if is_speeding else 0))
