"""How one device and one fence came to the events they have: the fold over stored fixes, told step by step.

The machine is the engine's own (`geofence/transitions.py`), and so are the rules; what the engine keeps is only the
outcome. Fixes are taken in the order of time with the verdicts they ended with, so the events found are those that
stand after all late data, and the edits of the fence where the engine met them: after the fixes that had been received.
Nothing here is fast, and nothing needs to be: a question is about some hundred fixes.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np

from geofence.compiled import NO_TIME, CompiledFences
from geofence.crossing import crossing_fraction
from geofence.definition import CrossingRule, FenceDefinition, same_shape
from geofence.distance import signed_distance_m
from geofence.fence_set import FenceSet
from geofence.surroundings import Box, surroundings
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
    evidence,
    observe,
)
from geofence.windows import is_active
from tracking_core.events import EventKind
from tracking_core.fixes.quality import QualityRules, is_reachable
from tracking_core.verdicts import Verdict

NOWHERE: Final = (Verdict.NO_FIX, Verdict.OUT_OF_RANGE)
"""Verdicts of fixes that do not say where the device was, not even wrongly."""

EXITS: Final = (EventKind.GEOFENCE_EXITED, EventKind.CORRIDOR_LEFT)
"""Kinds of events that leave a device outside."""
FOLLOWED: Final = (EventKind.GEOFENCE_ENTERED, EventKind.CORRIDOR_RETURNED, *EXITS)
"""Kinds of events that a trace finds: those that say whether a device is inside."""


class Reason(enum.IntEnum):
    """Why a fix speaks, or does not, with the numbers of `drover.tracking.v1.EvidenceReason`."""

    UNSPECIFIED = 0
    INSIDE = 1
    """In the fence, or on its boundary."""
    BEYOND_DOUBT = 2
    """Farther outside than its accuracy and the fence's exit margin."""
    WITHIN_MARGIN = 3
    """Outside, but no farther than the exit margin."""
    WITHIN_ACCURACY = 4
    """Outside by more than the exit margin, but not beyond its own accuracy."""
    NOT_COUNTED = 5
    """Its verdict says that it is not to be relied on."""
    NO_FENCE = 6
    """The fence was not there: not made yet, or deleted."""


class StoredFix(NamedTuple):
    """A position as history has it. NaN is what the device left out."""

    observed_at_us: int
    received_at_us: int
    latitude_deg: float
    longitude_deg: float
    accuracy_m: float
    verdict: int


class FenceEdit(NamedTuple):
    """A version of the fence, and when it was made, by the clock of the tracking service; None for a deletion."""

    made_at_us: int
    version: int
    fence: FenceDefinition | None


class TracedEvent(NamedTuple):
    """An event that the fold finds. `leg` has the times of the fixes between which the boundary was passed, if a way
    led across it.
    """

    kind: EventKind
    observed_at_us: int
    confirmed_at_us: int
    latitude_deg: float
    longitude_deg: float
    version: int
    leg: tuple[int, int] | None


class FixStep(NamedTuple):
    """What one fix did. `distance_m` is to the boundary, negative inside, NaN where there is none to tell."""

    fix: StoredFix
    arrived_late: bool
    """Received after a counted fix that is newer."""
    version: int
    distance_m: float
    doubt_m: float
    """Only from farther outside than this would it speak for out: exit margin and accuracy; NaN without a fence."""
    speaks: int
    reason: Reason
    first: bool
    """The first of the device that counts: it settles silently."""
    before: Presence
    after: Presence
    needed: int
    """How many fixes in a row the rule asks for, in the direction that is pending or was confirmed; 0 for none."""
    passed_through: bool
    """The straight way from the counted fix before led through the fence, though both lie outside."""
    event: TracedEvent | None
    untold: TracedEvent | None
    """What would have been told, had the fence been active then."""


class EditStep(NamedTuple):
    """What an edit did: `fix` is the newest counted one, by which the device is stated anew, None without any.
    `distance_m` and `untold` as in `FixStep`, to the new boundary.
    """

    edit: FenceEdit
    made: bool
    """Whether there was no fence before."""
    moved: bool
    """Whether the shape is another than before; if not, nothing is stated anew."""
    fix: StoredFix | None
    distance_m: float
    before: Presence
    after: Presence
    event: TracedEvent | None
    untold: TracedEvent | None


Step = FixStep | EditStep


class Start(NamedTuple):
    """What is known of the device before the first fix. `counted` None: no fix counted before."""

    presence: Presence
    counted: StoredFix | None


NOTHING_BEFORE: Final = Start(NEVER_SEEN, None)


# Slots are int32 and accuracies float32, as the engine has them: so no kernel is compiled again for this.
def _as_slot(slot: int) -> int:
    converted: Any = np.int32(slot)
    return cast("int", converted)


def _as_accuracy(accuracy_m: float) -> float:
    converted: Any = np.float32(accuracy_m)
    return cast("float", converted)


class _Obeyed:
    """A version, compiled alone."""

    def __init__(self, edit: FenceEdit | None) -> None:
        self.version = 0 if edit is None else edit.version
        self.fence = None if edit is None else edit.fence
        self._set = FenceSet()
        self.slot = _as_slot(-1 if self.fence is None else self._set.put(self.fence))

    @property
    def compiled(self) -> CompiledFences:
        return self._set.compiled

    @property
    def rule(self) -> CrossingRule:
        return CrossingRule() if self.fence is None else self.fence.crossing

    def kind(self, happened: int) -> EventKind:
        """As what an entry or exit is told."""
        if self.fence is not None and self.fence.visit.watched:
            return EventKind.CORRIDOR_RETURNED if happened == ENTERED else EventKind.CORRIDOR_LEFT
        return EventKind.GEOFENCE_ENTERED if happened == ENTERED else EventKind.GEOFENCE_EXITED

    def distance_m(self, fix: StoredFix) -> float:
        if self.fence is None or fix.verdict in NOWHERE:
            return math.nan
        return signed_distance_m(self.compiled, self.slot, fix.longitude_deg, fix.latitude_deg)

    def doubt_m(self, fix: StoredFix) -> float:
        if self.fence is None:
            return math.nan
        rule = self.fence.crossing
        return rule.exit_margin_m + (min(fix.accuracy_m, rule.accuracy_cap_m) if fix.accuracy_m > 0.0 else 0.0)

    def tells(self, event: TracedEvent | None) -> bool:
        """Whether an event is of a time at which the fence is active."""
        return event is not None and is_active(self.compiled, self.slot, event.observed_at_us)

    def opens_to(self, edited: _Obeyed, fix: StoredFix) -> bool:
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
        speaks = evidence(distance_m, _as_accuracy(fix.accuracy_m), rule.exit_margin_m, rule.accuracy_cap_m)
        if speaks == SPEAKS_IN:
            return speaks, Reason.INSIDE
        if speaks == SPEAKS_OUT:
            return speaks, Reason.BEYOND_DOUBT
        return speaks, Reason.WITHIN_MARGIN if distance_m <= rule.exit_margin_m else Reason.WITHIN_ACCURACY


def trace(fixes: Sequence[StoredFix], edits: Sequence[FenceEdit], start: Start, quality: QualityRules) -> list[Step]:
    """The steps of one device at one fence, in the order in which they took effect.

    `fixes`: in the order of time, stored ones with a place (no NaN) or with a verdict that does not count. `edits`: by
    version; those made before the first fix was received say only what holds at the start.
    """
    due = _places(fixes, edits)
    begun = [edit for edit, place in zip(edits, due, strict=True) if place == 0]
    waiting = [(edit, place) for edit, place in zip(edits, due, strict=True) if place > 0]
    late = _arrived_late(fixes)
    fold = _Fold(_Obeyed(begun[-1] if begun else None), start, quality)
    for index, fix in enumerate(fixes):
        while waiting and waiting[0][1] <= index:
            fold.obey(waiting.pop(0)[0])
        fold.take(fix, arrived_late=late[index])
    for edit, _ in waiting:
        fold.obey(edit)
    return fold.steps


def _places(fixes: Sequence[StoredFix], edits: Sequence[FenceEdit]) -> list[int]:
    """Before which fix each edit took effect: behind all that had come, or before one that came later and counts.

    That one would be `late` had the edit concerned the device (edits.py): so all that was known from there on was far
    from the fence, as it was and as it is, and says the same of both.
    """
    judged = [(at, fix) for at, fix in enumerate(fixes) if fix.verdict in (Verdict.OK, Verdict.IMPLAUSIBLE_JUMP)]
    places: list[int] = []
    was: FenceDefinition | None = None
    for edit in edits:
        known = [(at, fix) for at, fix in judged if fix.received_at_us < edit.made_at_us]
        begin = max(places[-1] if places else 0, _near_until(known, [each for each in (was, edit.fence) if each]))
        end = max((at + 1 for at, _ in known), default=0)
        later = (at for at, fix in judged if begin <= at < end and fix.received_at_us >= edit.made_at_us)
        places.append(next(later, max(begin, end)))
        was = edit.fence
    return places


def _near_until(known: Sequence[tuple[int, StoredFix]], fences: Sequence[FenceDefinition]) -> int:
    """Behind the last fix that has to do with one of the fences: near it, on a way near it, or one by which an exit is
    confirmed.
    """
    boxes = [surroundings(fence) for fence in fences]
    most = max((fence.crossing.exit_fixes for fence in fences), default=0)
    until, to_confirm = 0, 0
    before: StoredFix | None = None
    for at, fix in known:
        if any(_touches(before or fix, fix, box) for box in boxes):
            until, to_confirm = at + 1, most
        elif to_confirm:
            until, to_confirm = at + 1, to_confirm - (fix.verdict == Verdict.OK)
        before = fix
    return until


def _touches(first: StoredFix, second: StoredFix, box: Box) -> bool:
    return bool(
        abs(first.longitude_deg - second.longitude_deg) > 180.0
        or (
            max(first.longitude_deg, second.longitude_deg) >= box.west
            and min(first.longitude_deg, second.longitude_deg) <= box.east
            and max(first.latitude_deg, second.latitude_deg) >= box.south
            and min(first.latitude_deg, second.latitude_deg) <= box.north
        )
    )


def _arrived_late(fixes: Sequence[StoredFix]) -> list[bool]:
    late = [False] * len(fixes)
    earliest_us: int | None = None
    for at in range(len(fixes) - 1, -1, -1):
        fix = fixes[at]
        late[at] = earliest_us is not None and fix.received_at_us > earliest_us
        if fix.verdict == Verdict.OK:
            earliest_us = fix.received_at_us if earliest_us is None else min(earliest_us, fix.received_at_us)
    return late


class _Fold:
    """The machine on its way."""

    def __init__(self, obeyed: _Obeyed, start: Start, quality: QualityRules) -> None:
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
        there = Fix(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg, _as_accuracy(fix.accuracy_m))
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
            _as_accuracy(fix.accuracy_m),
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
        old, obeyed = self._obeyed, _Obeyed(edit)
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
    obeyed: _Obeyed, happened: int, crossing: Crossing, confirmed_at_us: int, leg: tuple[int, int] | None
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
