"""The trace finds what the engine told, whatever the order of arrival and the edits in between."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geofence.definition import (
    ALWAYS,
    ActiveTimes,
    CircleShape,
    CorridorShape,
    CrossingRule,
    FenceDefinition,
    MultiPolygonShape,
    VisitRule,
    WeeklyWindow,
)
from geofence.transitions import IN, OUT, OUTSIDE, PENDING_OUT, SAYS_NOTHING, SPEAKS_IN, SPEAKS_OUT
from tests.tracking_core.fleets import IDENTITIES, STEP_DEG, active_times, boxes, circles, gates, rules, visit_rules
from tests.tracking_core.readings import HOUR_US, NAN, SECOND_US, START_US, Position
from tests.tracking_core.test_late_data import KEPT, NOW_US, WIDE, Key, Told, drives, in_order, key_of
from tracking_core.definitions import DeleteFence, PutFence, PutRoute, Route, RouteStop
from tracking_core.events import CoreEvent, EventKind
from tracking_core.explaining.steps import (
    FOLLOWED,
    NOTHING_BEFORE,
    EditStep,
    FenceEdit,
    FixStep,
    Reason,
    RouteEdit,
    Start,
    Step,
    StoredFix,
    TracedEvent,
)
from tracking_core.explaining.trace import trace
from tracking_core.verdicts import Verdict

ENTERED, EXITED = EventKind.GEOFENCE_ENTERED, EventKind.GEOFENCE_EXITED

edits = st.lists(
    st.tuples(
        st.integers(0, KEPT),
        st.one_of(
            st.none(), st.tuples(st.one_of(boxes, boxes, circles, gates, st.none()), rules, active_times, visit_rules)
        ),
    ),
    max_size=5,
)


@st.composite
def tours(draw: st.DrawFn, longest: int) -> list[Position]:
    """Fixes of two devices in the order of time, most of them within reach of the one before, and some with a speed.

    None is sent as history: history does not keep which were, so an edit is not known to have come before they counted.
    """
    fixes = []
    for device in (0, 2):
        at_s, x, y = 0, draw(st.integers(0, 4)), draw(st.integers(0, 4))
        for step in draw(st.lists(st.integers(0, 8), min_size=4, max_size=longest)):
            x, y = (x + step // 3 - 1) % 5, (y + step % 3 - 1) % 5
            at_s += draw(st.sampled_from([0, 5, 10, 15, 15, 15, 15, 30, 30, 700]))
            fixes.append(
                Position(
                    device,
                    START_US + at_s * SECOND_US,
                    y * STEP_DEG + 1e-3,
                    x * STEP_DEG + 1e-3,
                    speed_mps=draw(st.sampled_from([NAN, NAN, 8.0, 30.0, 80.0])),
                    accuracy_m=draw(st.sampled_from([NAN, NAN, NAN, 30.0, 150.0])),
                    satellites=draw(st.sampled_from([-1] * 9 + [0])),
                )
            )
    return sorted(fixes, key=in_order)


class Stored:
    """An engine, and history: what was received when, the verdicts, the versions of the fences."""

    def __init__(self) -> None:
        self.told = Told(WIDE)
        self.received: dict[Key, Position] = {}
        self.received_at_us: dict[Key, int] = {}
        self.versions: list[FenceEdit] = []
        self.routes: list[RouteEdit] = []
        self.now_us = NOW_US

    def edit(self, drawn: Any) -> None:
        """After an hour, by when all has come about that was due: how much the clock of a device is behind that of the
        log is known by the fix that came last in order, and which that was is not stored.
        """
        self.now_us += HOUR_US
        version = 1 + len(self.versions)
        fence, known = None, self.versions[-1].fence if self.versions else None
        if drawn is not None:
            shape, rule, active, visit = drawn
            # Without a shape: an edit of the rest.
            shape = shape or (CircleShape(0.0, 0.0, 400.0) if known is None else known.shape)
            fence = FenceDefinition("west", "a", "Yard", shape, rule, version, visit=visit, active=active)
        change = DeleteFence("west", "a", version) if fence is None else PutFence(fence)
        self.told.events += self.told.engine.define(change, self.now_us).events
        self.versions.append(FenceEdit(self.now_us, version, fence))

    def expect(self, route: Route) -> None:
        """A route that is put after all that has come."""
        self.now_us += SECOND_US
        route = dataclasses.replace(route, version=1 + len(self.routes))
        self.told.events += self.told.engine.define(PutRoute(route), self.now_us).events
        self.routes.append(RouteEdit(self.now_us, route))

    def take(self, fix: Position) -> None:
        self.now_us += SECOND_US
        self.received.setdefault(key_of(fix), fix)
        self.received_at_us.setdefault(key_of(fix), self.now_us)
        self.told.now_us = self.now_us
        self.told.take([fix])

    def wait(self) -> None:
        """For an hour nothing comes."""
        self.told.wait(HOUR_US // SECOND_US)
        self.now_us = self.told.now_us

    def fixes(self, device: int) -> list[StoredFix]:
        return [
            StoredFix(
                fix.observed_at_us,
                self.received_at_us[key_of(fix)],
                fix.latitude_deg,
                fix.longitude_deg,
                float(np.float32(fix.accuracy_m)),
                self.told.verdicts[key_of(fix)],
                float(np.float32(fix.speed_mps)),
            )
            for fix in sorted(self.received.values(), key=in_order)
            if fix.device == device
        ]

    def standing(self, device: int) -> list[tuple[Any, ...]]:
        return sorted(
            told(event, event.subject_version)
            for event in self.told.standing
            if event.device == device
            and event.kind in FOLLOWED
            and (event.kind != EventKind.MISSED_ARRIVAL or event.details.fence_id == "a")
        )


def told(event: CoreEvent | TracedEvent, version: int) -> tuple[Any, ...]:
    return (
        event.confirmed_at_us,
        event.observed_at_us,
        event.kind,
        str((event.latitude_deg, event.longitude_deg)),
        version,
        str(event.details),
    )


def events_of(steps: list[Step]) -> list[tuple[Any, ...]]:
    return sorted(told(event, event.version) for step in steps for event in step.events)


@pytest.mark.compiled
@settings(max_examples=150, deadline=None)
@given(tours(KEPT // 2), edits, st.sampled_from(["in order", "shuffled"]), st.randoms(use_true_random=False))
def test_the_trace_finds_the_events_that_stand(
    fixes: list[Position], drawn: list, arrival: str, choose: random.Random
) -> None:
    arriving = fixes.copy()
    if arrival == "shuffled":
        choose.shuffle(arriving)
    check(arriving, drawn)


def check(arriving: list[Position], drawn: list[Any], planned: Sequence[tuple[int, Route]] = ()) -> list[Step]:
    """Holds what an engine told against the trace of what it stored; the steps."""
    stored, found = Stored(), []
    coming = sorted(drawn, key=lambda edit: edit[0])
    for number, fix in enumerate(arriving):
        for at, route in planned:
            if at == number:
                stored.expect(route)
        while coming and coming[0][0] <= number:
            stored.edit(coming.pop(0)[1])
        stored.take(fix)
    for edit in coming:
        stored.edit(edit[1])
    stored.wait()
    for device in (0, 2):
        track = stored.fixes(device)
        routes = [edit for edit in stored.routes if edit.route.device == device]
        steps = trace(track, stored.versions, NOTHING_BEFORE, WIDE, stored.now_us, routes)
        assert events_of(steps) == stored.standing(device)
        assert [step.fix for step in steps if isinstance(step, FixStep)] == track
        last = next((step.after.state for step in reversed(steps)), OUT)
        inside = bool(stored.told.engine.inside(IDENTITIES[device].number))
        assert inside == (last in (IN, PENDING_OUT))
        found += steps
    return found


def busy(choose: random.Random) -> tuple[list[Position], list[Any]]:
    """A drive that is in and out of a fence, too fast and too long, or through it, and edits that mostly stay there."""
    fixes, at_s, x, y = [], 0, choose.randrange(5), choose.randrange(5)
    for _ in range(KEPT // 2):
        x, y = min(4, max(0, x + choose.randint(-1, 1))), min(4, max(0, y + choose.randint(-1, 1)))
        at_s += choose.choice([10, 15, 15, 15, 30, 30, 60, 700])
        fixes.append(
            Position(
                choose.choice([0, 0, 2]),
                START_US + at_s * SECOND_US,
                y * STEP_DEG + 1e-3,
                x * STEP_DEG + 1e-3,
                speed_mps=choose.choice([NAN, NAN, 8.0, 30.0, 80.0]),
                accuracy_m=choose.choice([NAN, NAN, NAN, 30.0, 150.0]),
            )
        )
    office = ActiveTimes("UTC", tuple(WeeklyWindow((2,), minute, minute + 2) for minute in range(1_333, 1_400, 4)))
    drawn: list[Any] = []
    for at in (0, 0, choose.randrange(KEPT), choose.randrange(KEPT)):
        left, bottom = choose.randrange(3), choose.randrange(3)
        shape: Any = choose.choice(
            [
                box(left, bottom, 2, 2),
                box(left + 0.3, bottom - 0.2, 0.4, 2.4),
                CircleShape(left * STEP_DEG, bottom * STEP_DEG, 1500.0),
                CorridorShape(np.array([[0.0, 0.02], [0.04, 0.02]]), 1500.0),
            ]
        )
        rule = CrossingRule(enter_fixes=choose.randint(1, 2), exit_fixes=choose.randint(1, 3))
        visit = VisitRule(
            choose.choice([None, 17_370_000, 63_370_000]),
            choose.choice([None, 9.7, 61.3]),
            choose.choice([0.0, 15.1]),
            watched=isinstance(shape, CorridorShape) and choose.random() < 0.5,
            cross=choose.random() < 0.7,
        )
        drawn.append((at, (shape, rule, choose.choice([ALWAYS, ALWAYS, office]), visit) if at < 50 else None))
    return fixes, drawn


def box(left: float, bottom: float, width: float, height: float) -> MultiPolygonShape:
    """In steps of the grid."""
    corners = [(left, bottom), (left + width, bottom), (left + width, bottom + height), (left, bottom + height)]
    return MultiPolygonShape(((np.array(corners) * STEP_DEG,),))


@pytest.mark.compiled
def test_every_kind_of_event_is_found_in_busy_drives() -> None:
    found: set[Any] = set()
    for seed in range(60):
        choose = random.Random(seed)
        fixes, drawn = busy(choose)
        if seed % 2:
            choose.shuffle(fixes)
        # A route that comes back to the fence, known before the first fix or, of fixes in order, between two.
        stops = [
            RouteStop(
                f"stop-{at}",
                0.01,
                0.01,
                START_US + choose.randrange(0, 1_500) * SECOND_US + 7,
                0,
                choose.choice("aab"),
                0,
            )
            for at in range(3)
        ]
        routes = [
            (0 if seed % 2 else choose.randrange(8), Route("west", f"tour-{device}", device, tuple(stops)))
            for device in (0, 2)
        ]
        # What an edit leaves assumed of arrivals depends on how near the device had come, so: none behind the first.
        if seed % 4 < 2:
            drawn = [edit for edit in drawn if edit[0] == 0]
        else:
            routes = []
        found |= {(event.kind, event.is_restated) for step in check(fixes, drawn, routes) for event in step.events}
    assert found == {(kind, False) for kind in FOLLOWED} | {(ENTERED, True), (EventKind.CORRIDOR_RETURNED, True)}


@pytest.mark.compiled
@settings(max_examples=60, deadline=None)
@given(drives(KEPT // 2), st.tuples(st.one_of(boxes, circles, gates), rules, active_times, visit_rules), st.data())
def test_a_trace_may_begin_at_any_settled_moment(fixes: list[Position], drawn: Any, data: st.DataObject) -> None:
    versions = [
        FenceEdit(START_US, 1, FenceDefinition("west", "a", "Yard", *drawn[:2], active=drawn[2], visit=drawn[3]))
    ]
    stored = Stored()
    stored.edit(drawn)
    for fix in fixes:
        stored.take(fix)
    track = stored.fixes(0)
    whole = trace(track, versions, NOTHING_BEFORE, WIDE)
    settled = [
        at
        for at, step in enumerate(whole)
        if step.after.state in (IN, OUT) and step.after.fixes == 0 and step.fix.verdict == Verdict.OK
    ]
    if not settled:
        return
    at = data.draw(st.sampled_from(settled))
    start = Start(whole[at].after, track[at], whole[at].visit)
    assert str(trace(track[at + 1 :], versions, start, WIDE)) == str(whole[at + 1 :])


def fence(radius_m: float = 100.0, version: int = 1, **rule: Any) -> FenceDefinition:
    return FenceDefinition("acme", "yard", "Yard", CircleShape(11.0, 48.0, radius_m), CrossingRule(**rule), version)


def fix(second: int, east_m: float, accuracy_m: float = NAN, verdict: int = Verdict.OK, late_s: int = 1) -> StoredFix:
    """So far east of the middle of the fence."""
    at_us = START_US + second * SECOND_US
    return StoredFix(at_us, at_us + late_s * SECOND_US, 48.0, 11.0 + east_m / 74_630.0, accuracy_m, verdict)


def follow(fixes: list[StoredFix], *versions: FenceDefinition | None, start: Start = NOTHING_BEFORE) -> list[Step]:
    made = [FenceEdit(START_US - SECOND_US, 1, versions[0])]
    made += [FenceEdit(START_US + 1_000 * SECOND_US, number, each) for number, each in enumerate(versions[1:], start=2)]
    return trace(fixes, made, start, WIDE)


def test_a_fix_that_only_a_jump_agrees_with_has_no_way_to_it() -> None:
    """The device was carried: the way to its new place is not known, so the exit is dated at the fix."""
    fixes = [fix(0, 0), fix(60, 90_000, verdict=Verdict.IMPLAUSIBLE_JUMP), fix(120, 90_010), fix(180, 90_020)]
    steps = follow(fixes, fence())
    exited = steps[3].event
    assert exited is not None
    assert (exited.kind, exited.observed_at_us, exited.leg) == (EXITED, fixes[2].observed_at_us, None)
    # It came back: the way is that from where it was before the jump.
    back = follow([fix(0, 0), fixes[1], fix(120, 300), fix(180, 300)], fence())[3].event
    assert back is not None
    assert back.leg == (fix(0, 0).observed_at_us, fix(120, 300).observed_at_us)


def test_what_a_fix_says_and_why() -> None:
    rule = {"exit_margin_m": 20.0, "accuracy_cap_m": 50.0}
    fixes = [
        fix(0, 0),
        fix(60, 115, 10.0),
        fix(120, 125, 10.0),
        fix(180, 165, 1000.0),
        fix(240, 171, 1000.0),
        fix(300, 500, verdict=Verdict.IMPRECISE),
        fix(360, NAN, verdict=Verdict.OUT_OF_RANGE),
        fix(420, 99),
    ]
    steps = [step for step in follow(fixes, fence(**rule)) if isinstance(step, FixStep)]
    assert [(step.reason, step.speaks, step.doubt_m) for step in steps] == [
        (Reason.INSIDE, SPEAKS_IN, 20.0),
        (Reason.WITHIN_MARGIN, SAYS_NOTHING, 30.0),
        (Reason.WITHIN_ACCURACY, SAYS_NOTHING, 30.0),
        (Reason.WITHIN_ACCURACY, SAYS_NOTHING, 70.0),
        (Reason.BEYOND_DOUBT, SPEAKS_OUT, 70.0),
        (Reason.NOT_COUNTED, SAYS_NOTHING, 20.0),
        (Reason.NOT_COUNTED, SAYS_NOTHING, 20.0),
        (Reason.INSIDE, SPEAKS_IN, 20.0),
    ]
    assert [round(step.distance_m) for step in steps[:6]] == [-100, 15, 25, 65, 71, 400]
    assert steps[6].distance_m != steps[6].distance_m
    assert [step.after.state for step in steps] == [IN, IN, IN, IN, PENDING_OUT, PENDING_OUT, PENDING_OUT, IN]
    assert (steps[4].after.fixes, steps[4].needed) == (1, 2)


def test_edits_take_effect_behind_the_fixes_that_had_come() -> None:
    fixes = [fix(0, 150), fix(990, 150), fix(1_020, 150)]
    steps = follow(fixes, fence(), fence(300.0, version=2), None, fence(300.0, version=4))
    assert [type(step) for step in steps] == [FixStep, FixStep, EditStep, EditStep, EditStep, FixStep]
    assert [step.event.kind if step.event else None for step in steps] == [None, None, ENTERED, EXITED, ENTERED, None]
    assert [step.event.version for step in steps if step.event] == [2, 2, 4]
    assert {step.event.observed_at_us for step in steps if step.event} == {fixes[1].observed_at_us}
    assert [step.version for step in steps if isinstance(step, FixStep)] == [1, 1, 4]


def test_what_came_late_and_what_the_fence_was_not_there_for() -> None:
    fixes = [fix(0, 0), fix(60, 0, late_s=600), fix(120, 0), fix(2_000, 50)]
    steps = follow(fixes, None, fence(version=2))
    assert [step.arrived_late for step in steps if isinstance(step, FixStep)] == [False, True, False, False]
    assert [step.reason for step in steps if isinstance(step, FixStep)] == [Reason.NO_FENCE] * 3 + [Reason.INSIDE]
    edit = steps[3]
    assert isinstance(edit, EditStep)
    assert edit.made
    assert edit.event is not None
    assert edit.event.observed_at_us == fixes[2].observed_at_us


def test_a_corridor_that_is_watched_is_left_and_returned_to() -> None:
    line = np.array([[11.0, 47.9], [11.0, 48.1]])
    watched = FenceDefinition("acme", "way", "Way", CorridorShape(line, 100.0), visit=VisitRule(watched=True))
    steps = follow([fix(0, 0), fix(60, 300), fix(120, 300), fix(180, 50)], watched, None)
    assert [step.event.kind for step in steps if step.event] == [
        EventKind.CORRIDOR_LEFT,
        EventKind.CORRIDOR_RETURNED,
        EventKind.CORRIDOR_LEFT,
    ]


def test_a_way_through_between_two_fixes_outside() -> None:
    steps = follow([fix(0, -500), fix(60, 500), fix(120, 900), fix(180, 0), fix(240, 900)], fence(exit_fixes=1))
    assert [step.passed_through for step in steps if isinstance(step, FixStep)] == [False, True, False, False, False]
    (begun,) = follow([fix(60, 500)], fence(), start=Start(OUTSIDE, fix(0, -500)))
    assert isinstance(begun, FixStep)
    assert begun.passed_through
