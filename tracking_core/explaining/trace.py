"""How one device and one fence came to the events they have: the fold over stored fixes, told step by step.

The machine is the engine's own (machine.py), and so are the rules; what the engine keeps is only the outcome. Fixes are
taken in the order of time with the verdicts they ended with, so the events found are those that stand after all late
data, and the edits of the fence where the engine met them: after the fixes that had been received. Nothing here is
fast, and nothing needs to be: a question is about some hundred fixes.
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
    NEVER_SEEN,
    OUT,
    PENDING_IN,
    PENDING_OUT,
    SAYS_NOTHING,
    Crossing,
    Fix,
    Presence,
    observe,
)
from tracking_core.events import CoreEvent, EventKind, FenceCrossing
from tracking_core.explaining.machine import Machine, halved
from tracking_core.explaining.order import Place, arrived_late, place_of_route, places_of
from tracking_core.explaining.steps import (
    CROSSINGS,
    EXITS,
    EditStep,
    FenceEdit,
    FixStep,
    Reason,
    RouteEdit,
    Start,
    Step,
    StoredFix,
    TimeStep,
    TracedEvent,
    Unseen,
    crossing_of,
    traced,
)
from tracking_core.explaining.version import Version
from tracking_core.fixes.quality import is_reachable, quality_rules
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict
from tracking_core.visits.passages import NO_GAP, TOO_LONG


def trace(
    fixes: Sequence[StoredFix],
    edits: Sequence[FenceEdit],
    start: Start,
    settings: EngineSettings,
    until_us: int | None = None,
    routes: Sequence[RouteEdit] = (),
) -> list[Step]:
    """The steps of one device at one fence, in the order in which they took effect.

    `fixes`: in the order of time, stored ones with a place (no NaN) or with a verdict that does not count. `edits`: by
    version; those made before the first fix was received say only what holds at the start. `until_us`: until when, by
    the clock of the log, nothing newer than these fixes came; None if that is not known. `routes`: those of the
    device that stop at the fence.
    """
    due = places_of(fixes, edits)
    begun = [edit for edit, place in zip(edits, due, strict=True) if place.at == 0]
    waiting = [(edit, place) for edit, place in zip(edits, due, strict=True) if place.at > 0]
    late = arrived_late(fixes)
    fold = _Fold(edits, begun[-1] if begun else None, start, settings)
    planned = sorted((place_of_route(fixes, edit.made_at_us), at) for at, edit in enumerate(routes))
    for index, fix in enumerate(fixes):
        while planned and planned[0][0] <= index:
            fold.expect(routes[planned.pop(0)[1]])
        while waiting and waiting[0][1].at <= index:
            fold.obey(*waiting.pop(0))
        fold.take(fix, arrived_late=late[index])
    for edit, place in waiting:
        fold.obey(edit, place)
    for _, at in planned:
        fold.expect(routes[at])
    if until_us is not None:
        fold.wait(until_us)
    return fold.steps


class _Fold:
    """The machine on its way."""

    def __init__(
        self, edits: Sequence[FenceEdit], begun: FenceEdit | None, start: Start, settings: EngineSettings
    ) -> None:
        self.steps: list[Step] = []
        named = next(((edit.fence.tenant, edit.fence.fence_id) for edit in edits if edit.fence), ("", ""))
        machine = self._machine = Machine(settings, *named)
        if begun is not None:
            machine.obey(begun)
        machine.begin(start)
        self._version = Version(begun, machine)
        self._counted = start.counted
        self._quality = quality_rules(settings)
        self._jumped = False
        self._leg: tuple[int, int] | None = None

    @property
    def _presence(self) -> Presence:
        return NEVER_SEEN if self._counted is None else self._machine.presence

    def take(self, fix: StoredFix, *, arrived_late: bool) -> None:
        """One fix."""
        known, version = self._presence, self._version
        distance_to_m = version.distance_m(fix)
        first = fix.verdict == Verdict.OK and self._counted is None
        events: tuple[TracedEvent, ...] = ()
        untold, unseen, speed_mps = None, Unseen.UNSPECIFIED, math.nan
        through_us = NO_TIME
        if fix.verdict != Verdict.OK:
            speaks, reason = SAYS_NOTHING, Reason.NOT_COUNTED
            self._jumped = self._jumped or fix.verdict == Verdict.IMPLAUSIBLE_JUMP
        else:
            speaks, reason = version.evidence_of(fix, distance_to_m)
            came = self._came_from(fix)
            if known.state == OUT and distance_to_m > 0.0:
                through_us = version.leads_through(came, fix)
            told = self._machine.take(fix, came, arrived_late=arrived_late)
            speed_mps = self._machine.speed_mps
            if known.crossed_at_us == NO_TIME:
                self._leg = None if came.observed_at_us == NO_TIME else (came.observed_at_us, fix.observed_at_us)
            events = tuple(self._traced(event, came) for event in told)
            if not first and crossing_of(events) is None:
                untold = self._untold(known, fix, came)
            if through_us != NO_TIME and all(event.kind is not EventKind.GEOFENCE_CROSSED for event in events):
                unseen = self._unseen(fix, came, through_us)
            self._counted = fix
            self._jumped = False
        after = self._presence
        self.steps.append(
            FixStep(
                fix,
                arrived_late,
                version.version,
                distance_to_m,
                version.doubt_m(fix),
                speaks,
                reason,
                first,
                known,
                after,
                0 if fix.verdict != Verdict.OK or first else self._needed(after, crossing_of(events) or untold),
                through_us != NO_TIME,
                unseen,
                speed_mps,
                self._machine.visit,
                events,
                untold,
            )
        )

    def _traced(self, event: CoreEvent, came: Fix) -> TracedEvent:
        if event.kind is EventKind.GEOFENCE_CROSSED:
            return traced(event, (came.observed_at_us, event.confirmed_at_us))
        return traced(event, self._leg if event.kind in CROSSINGS else None)

    def _untold(self, known: Presence, fix: StoredFix, came: Fix) -> TracedEvent | None:
        """The entry or exit of a fix, where the machine went on and nothing is told."""
        was_in, is_in = (state in (IN, PENDING_OUT) for state in (known.state, self._machine.presence.state))
        if was_in == is_in:
            return None
        there = Fix(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg, halved(fix.accuracy_m))
        version = self._version
        _, happened, crossing = observe(version.compiled, version.slot, known, came, there)
        return self._event(version, happened, crossing, fix.observed_at_us, self._leg)

    def _unseen(self, fix: StoredFix, came: Fix, through_us: int) -> Unseen:
        """Why nothing is told of a way that led through."""
        fence = self._version.fence
        assert fence is not None
        if not fence.visit.cross:
            return Unseen.NOT_ASKED
        gap = self._machine.gap(came, fix)
        if gap != NO_GAP:
            return Unseen.TOO_LONG_AGO if gap == TOO_LONG else Unseen.TOO_FAR
        return Unseen.UNSPECIFIED if self._version.is_active(through_us) else Unseen.NOT_ACTIVE

    def _came_from(self, fix: StoredFix) -> Fix:
        """The counted fix before, as `fix_quality.count_fix` has it: none where that one turned out to be the bad one
        of the two.
        """
        counted = self._counted
        if counted is None or (
            self._jumped
            and not is_reachable(
                fix.observed_at_us,
                fix.latitude_deg,
                fix.longitude_deg,
                counted.observed_at_us,
                counted.latitude_deg,
                counted.longitude_deg,
                halved(fix.accuracy_m),
                self._quality,
            )
        ):
            return Fix(NO_TIME, math.nan, math.nan, math.nan)
        return Fix(counted.observed_at_us, counted.latitude_deg, counted.longitude_deg, math.nan)

    def _needed(self, after: Presence, event: TracedEvent | None) -> int:
        rule = self._version.rule
        if after.state == PENDING_OUT or (event is not None and event.kind in EXITS):
            return rule.exit_fixes
        if after.state == PENDING_IN or event is not None:
            return rule.enter_fixes
        return 0

    def expect(self, edit: RouteEdit) -> None:
        """A route that was put."""
        self._machine.expect(edit)

    def obey(self, edit: FenceEdit, place: Place) -> None:
        """One edit: of a device that had come near, what was due before it stays as it is."""
        if place.is_near:
            self.wait(edit.made_at_us)
        old, known, fix = self._version, self._presence, self._counted
        moved = edit.fence is None or old.fence is None or not same_shape(old.fence.shape, edit.fence.shape)
        told = tuple(traced(event) for event in self._machine.obey(edit))
        version = self._version = Version(edit, self._machine)
        distance_to_m = math.nan if fix is None else version.distance_m(fix)
        after, untold = self._presence, None
        was_in, is_in = (state in (IN, PENDING_OUT) for state in (known.state, after.state))
        if fix is not None and was_in != is_in and not told:
            here = Crossing(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg)
            telling = old if edit.fence is None else version
            untold = self._event(telling, ENTERED if is_in else EXITED, here, fix.observed_at_us, None)
        self.steps.append(
            EditStep(
                edit, old.fence is None, moved, fix, distance_to_m, known, after, self._machine.visit, told, untold
            )
        )

    def wait(self, until_us: int) -> None:
        """Until a time of the log's clock nothing comes."""
        known = self._presence
        if told := tuple(traced(event) for event in self._machine.wait(until_us)):
            self.steps.append(TimeStep(known, self._presence, self._machine.visit, told))

    @staticmethod
    def _event(
        version: Version, happened: int, crossing: Crossing, confirmed_at_us: int, leg: tuple[int, int] | None
    ) -> TracedEvent:
        name = "" if version.fence is None else version.fence.name
        return TracedEvent(
            version.kind(happened),
            crossing.at_us,
            confirmed_at_us,
            crossing.latitude_deg,
            crossing.longitude_deg,
            version.version,
            leg,
            FenceCrossing(name),
        )
