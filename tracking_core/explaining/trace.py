"""How one device and one fence came to the events they have: the fold over stored fixes, told step by step.

The machine is the engine's own (`geofence/transitions.py`), and so are the rules; what the engine keeps is only the
outcome. Fixes are taken in the order of time with the verdicts they ended with, so the events found are those that
stand after all late data, and the edits of the fence where the engine met them: after the fixes that had been received.
Nothing here is fast, and nothing needs to be: a question is about some hundred fixes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from geofence.compiled import NO_TIME
from geofence.definition import same_shape
from geofence.transitions import (
    ENTERED,
    EXITED,
    IN,
    INSIDE,
    NEVER_SEEN,
    NO_EVENT,
    OUT,
    OUTSIDE,
    PENDING_IN,
    PENDING_OUT,
    SAYS_NOTHING,
    SPEAKS_IN,
    SPEAKS_OUT,
    UNKNOWN,
    Crossing,
    Fix,
    Presence,
    observe,
)
from tracking_core.explaining.order import arrived_late, places_of
from tracking_core.explaining.steps import (
    EXITS,
    EditStep,
    FenceEdit,
    FixStep,
    Reason,
    Start,
    Step,
    StoredFix,
    TracedEvent,
)
from tracking_core.explaining.version import Version, as_accuracy
from tracking_core.fixes.quality import QualityRules, is_reachable
from tracking_core.verdicts import Verdict


def trace(fixes: Sequence[StoredFix], edits: Sequence[FenceEdit], start: Start, quality: QualityRules) -> list[Step]:
    """The steps of one device at one fence, in the order in which they took effect.

    `fixes`: in the order of time, stored ones with a place (no NaN) or with a verdict that does not count. `edits`: by
    version; those made before the first fix was received say only what holds at the start.
    """
    due = places_of(fixes, edits)
    begun = [edit for edit, place in zip(edits, due, strict=True) if place == 0]
    waiting = [(edit, place) for edit, place in zip(edits, due, strict=True) if place > 0]
    late = arrived_late(fixes)
    fold = _Fold(Version(begun[-1] if begun else None), start, quality)
    for index, fix in enumerate(fixes):
        while waiting and waiting[0][1] <= index:
            fold.obey(waiting.pop(0)[0])
        fold.take(fix, arrived_late=late[index])
    for edit, _ in waiting:
        fold.obey(edit)
    return fold.steps


class _Fold:
    """The machine on its way."""

    def __init__(self, obeyed: Version, start: Start, quality: QualityRules) -> None:
        self.steps: list[Step] = []
        self._obeyed = obeyed
        self._presence = start.presence
        self._counted = start.counted
        self._quality = quality
        self._jumped = False
        self._outside = start.counted is not None and obeyed.distance_m(start.counted) > 0.0
        self._leg: tuple[int, int] | None = None

    def take(self, fix: StoredFix, *, arrived_late: bool) -> None:
        """One fix."""
        known = self._presence
        obeyed = self._obeyed
        distance_m = obeyed.distance_m(fix)
        first = fix.verdict == Verdict.OK and self._counted is None
        event, needed, passed_through = None, 0, False
        if fix.verdict != Verdict.OK:
            speaks, reason = SAYS_NOTHING, Reason.NOT_COUNTED
            self._jumped = self._jumped or fix.verdict == Verdict.IMPLAUSIBLE_JUMP
        else:
            speaks, reason = obeyed.evidence_of(fix, distance_m)
            if first:
                self._presence = INSIDE if speaks == SPEAKS_IN else OUTSIDE
            elif obeyed.fence is not None:
                came = self._came_from(fix)
                event = self._observe(fix, came)
                needed = self._needed(event)
                if known.state == OUT and distance_m > 0.0 and self._outside:
                    passed_through = obeyed.led_through(came, fix)
            self._outside = distance_m > 0.0
            self._counted = fix
            self._jumped = False
        self.steps.append(
            FixStep(
                fix,
                arrived_late,
                obeyed.version,
                distance_m,
                obeyed.doubt_m(fix),
                speaks,
                reason,
                first,
                known,
                self._presence,
                needed,
                passed_through,
                event if obeyed.tells(event) else None,
                None if obeyed.tells(event) else event,
            )
        )

    def _observe(self, fix: StoredFix, came: Fix) -> TracedEvent | None:
        known, obeyed = self._presence, self._obeyed
        there = Fix(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg, as_accuracy(fix.accuracy_m))
        # An engine knows nothing but out of a fence that it has no presence at.
        was = OUTSIDE if known.state == UNKNOWN else known
        self._presence, happened, crossing = observe(obeyed.compiled, obeyed.slot, was, came, there)
        if was.crossed_at_us == NO_TIME:
            self._leg = None if came.observed_at_us == NO_TIME else (came.observed_at_us, fix.observed_at_us)
        if happened == NO_EVENT:
            return None
        return _event(obeyed, happened, crossing, fix.observed_at_us, self._leg)

    def _came_from(self, fix: StoredFix) -> Fix:
        """The counted fix before, as `fix_quality.count_fix` has it: none where that one turned out to be the bad one
        of the two.
        """
        counted = self._counted
        assert counted is not None
        if self._jumped and not is_reachable(
            fix.observed_at_us,
            fix.latitude_deg,
            fix.longitude_deg,
            counted.observed_at_us,
            counted.latitude_deg,
            counted.longitude_deg,
            as_accuracy(fix.accuracy_m),
            self._quality,
        ):
            return Fix(NO_TIME, math.nan, math.nan, math.nan)
        return Fix(counted.observed_at_us, counted.latitude_deg, counted.longitude_deg, math.nan)

    def _needed(self, event: TracedEvent | None) -> int:
        rule = self._obeyed.rule
        if self._presence.state == PENDING_OUT or (event is not None and event.kind in EXITS):
            return rule.exit_fixes
        if self._presence.state == PENDING_IN or event is not None:
            return rule.enter_fixes
        return 0

    def obey(self, edit: FenceEdit) -> None:
        """One edit: as `geofencing.restate_fence` and `vacate_fence` do it."""
        old, obeyed = self._obeyed, Version(edit)
        known, fix = self._presence, self._counted
        moved = edit.fence is None or old.fence is None or not same_shape(old.fence.shape, edit.fence.shape)
        happened = NO_EVENT
        distance_m = math.nan
        if fix is not None:
            distance_m = obeyed.distance_m(fix)
        self._outside = distance_m > 0.0
        if edit.fence is None:
            self._presence = OUTSIDE if fix is not None else NEVER_SEEN
            if known.state in (IN, PENDING_OUT):
                happened = EXITED
        elif moved and fix is not None:
            self._presence, happened = _restated(known, obeyed.evidence_of(fix, distance_m)[0])
        stays = known.state in (IN, PENDING_OUT) and (not moved or distance_m <= 0.0)
        if edit.fence is not None and fix is not None and stays and old.opens_to(obeyed, fix):
            happened = ENTERED
        event = None
        telling = old if edit.fence is None else obeyed
        if happened != NO_EVENT and fix is not None:
            here = Crossing(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg)
            event = _event(telling, happened, here, fix.observed_at_us, None)
        told = telling.tells(event)
        self._obeyed = obeyed
        self.steps.append(
            EditStep(
                edit,
                old.fence is None,
                moved,
                fix,
                distance_m,
                known,
                self._presence,
                event if told else None,
                None if told else event,
            )
        )


def _event(
    obeyed: Version, happened: int, crossing: Crossing, confirmed_at_us: int, leg: tuple[int, int] | None
) -> TracedEvent:
    return TracedEvent(
        obeyed.kind(happened),
        crossing.at_us,
        confirmed_at_us,
        crossing.latitude_deg,
        crossing.longitude_deg,
        obeyed.version,
        leg,
    )


def _restated(known: Presence, speaks: int) -> tuple[Presence, int]:
    """What one look at a new shape makes of a presence, and the event of it."""
    was_in = known.state in (IN, PENDING_OUT)
    if speaks == SPEAKS_IN:
        return INSIDE, NO_EVENT if was_in else ENTERED
    if speaks == SPEAKS_OUT:
        return OUTSIDE, EXITED if was_in else NO_EVENT
    return known, NO_EVENT
