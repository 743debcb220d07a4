"""The trace finds what the engine told, whatever the order of arrival and the edits in between."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geofence.definition import CircleShape, CorridorShape, CrossingRule, FenceDefinition, VisitRule
from geofence.transitions import IN, OUT, OUTSIDE, PENDING_OUT, SAYS_NOTHING, SPEAKS_IN, SPEAKS_OUT
from tests.tracking_core.fleets import IDENTITIES, active_times, boxes, circles, rules
from tests.tracking_core.readings import NAN, SECOND_US, START_US, Position
from tests.tracking_core.test_late_data import KEPT, WIDE, Told, drives, in_order
from tracking_core.definitions import DeleteFence, PutFence
from tracking_core.events import EventKind
from tracking_core.explaining.steps import NOTHING_BEFORE, EditStep, FenceEdit, FixStep, Reason, Start, Step, StoredFix
from tracking_core.explaining.trace import trace
from tracking_core.fixes.quality import quality_rules
from tracking_core.verdicts import Verdict

QUALITY = quality_rules(WIDE)
ENTERED, EXITED = EventKind.GEOFENCE_ENTERED, EventKind.GEOFENCE_EXITED

edits = st.lists(
    st.tuples(
        st.integers(0, KEPT),
        st.sampled_from(["a", "a", "b"]),
        st.one_of(st.none(), st.tuples(st.one_of(boxes, boxes, circles, st.none()), rules, active_times)),
    ),
    max_size=5,
)


def what(fix: Position) -> tuple[Any, ...]:
    """A fix by what it says, as `Told` keeps its verdict."""
    return (fix.device, fix.observed_at_us, fix.latitude_deg, fix.longitude_deg, fix.accuracy_m, fix.satellites)


class Stored:
    """An engine, and history: what was received when, the verdicts, the versions of the fences."""

    def __init__(self) -> None:
        self.told = Told(WIDE)
        self.received: dict[tuple[Any, ...], Position] = {}
        self.received_at_us: dict[tuple[Any, ...], int] = {}
        self.versions: dict[str, list[FenceEdit]] = {"a": [], "b": []}
        self.now_us = START_US

    def edit(self, fence_id: str, drawn: Any) -> None:
        self.now_us += SECOND_US
        version = 1 + sum(map(len, self.versions.values()))
        fence, known = None, self.versions[fence_id][-1].fence if self.versions[fence_id] else None
        if drawn is not None:
            shape, rule, active = drawn
            # Without a shape: an edit of the rest.
            shape = shape or (CircleShape(0.0, 0.0, 400.0) if known is None else known.shape)
            fence = FenceDefinition("west", fence_id, "Yard", shape, rule, version, active=active)
        change = DeleteFence("west", fence_id, version) if fence is None else PutFence(fence)
        self.told.events += self.told.engine.define(change, self.now_us).events
        self.versions[fence_id].append(FenceEdit(self.now_us, version, fence))

    def take(self, fix: Position) -> None:
        self.now_us += SECOND_US
        self.received.setdefault(what(fix), fix)
        self.received_at_us.setdefault(what(fix), self.now_us)
        self.told.take([fix])

    def fixes(self, device: int) -> list[StoredFix]:
        return [
            StoredFix(
                fix.observed_at_us,
                self.received_at_us[what(fix)],
                fix.latitude_deg,
                fix.longitude_deg,
                float(np.float32(fix.accuracy_m)),
                self.told.verdicts[what(fix)],
            )
            for fix in sorted(self.received.values(), key=in_order)
            if fix.device == device
        ]

    def standing(self, device: int, fence_id: str) -> list[tuple[Any, ...]]:
        return sorted(
            (
                event.confirmed_at_us,
                event.observed_at_us,
                event.kind,
                event.latitude_deg,
                event.longitude_deg,
                event.subject_version,
            )
            for event in self.told.standing
            if event.device == device and event.subject_id == fence_id and not event.details.restated
        )


def events_of(steps: list[Step]) -> list[tuple[Any, ...]]:
    found = [step.event for step in steps if step.event is not None]
    return sorted(
        (
            event.confirmed_at_us,
            event.observed_at_us,
            event.kind,
            event.latitude_deg,
            event.longitude_deg,
            event.version,
        )
        for event in found
    )


@pytest.mark.compiled
@settings(max_examples=150, deadline=None)
@given(drives(KEPT // 2), edits, st.sampled_from(["in order", "shuffled"]), st.randoms(use_true_random=False))
def test_the_trace_finds_the_events_that_stand(
    fixes: list[Position], drawn: list, arrival: str, choose: random.Random
) -> None:
    arriving = fixes.copy()
    if arrival == "shuffled":
        choose.shuffle(arriving)
    stored = Stored()
    coming = sorted(drawn, key=lambda edit: edit[0])
    for number, fix in enumerate(arriving):
        while coming and coming[0][0] <= number:
            stored.edit(*coming.pop(0)[1:])
        stored.take(fix)
    for edit in coming:
        stored.edit(*edit[1:])
    for device in (0, 2):
        for fence_id, versions in stored.versions.items():
            track = stored.fixes(device)
            steps = trace(track, versions, NOTHING_BEFORE, QUALITY)
            assert events_of(steps) == stored.standing(device, fence_id)
            assert [step.fix for step in steps if isinstance(step, FixStep)] == track
            last = next((step.after.state for step in reversed(steps)), OUT)
            inside = fence_id in stored.told.engine.inside(IDENTITIES[device].number)
            assert inside == (last in (IN, PENDING_OUT))


@pytest.mark.compiled
@settings(max_examples=60, deadline=None)
@given(drives(KEPT // 2), st.tuples(st.one_of(boxes, circles), rules, active_times), st.data())
def test_a_trace_may_begin_at_any_settled_moment(fixes: list[Position], drawn: Any, data: st.DataObject) -> None:
    versions = [FenceEdit(START_US, 1, FenceDefinition("west", "a", "Yard", *drawn[:2], active=drawn[2]))]
    stored = Stored()
    stored.edit("a", drawn)
    for fix in fixes:
        stored.take(fix)
    track = stored.fixes(0)
    whole = trace(track, versions, NOTHING_BEFORE, QUALITY)
    settled = [
        at
        for at, step in enumerate(whole)
        if step.after.state in (IN, OUT) and step.after.fixes == 0 and step.fix.verdict == Verdict.OK
    ]
    if not settled:
        return
    at = data.draw(st.sampled_from(settled))
    start = Start(whole[at].after, track[at])
    assert str(trace(track[at + 1 :], versions, start, QUALITY)) == str(whole[at + 1 :])


def fence(radius_m: float = 100.0, version: int = 1, **rule: Any) -> FenceDefinition:
    return FenceDefinition("acme", "yard", "Yard", CircleShape(11.0, 48.0, radius_m), CrossingRule(**rule), version)


def fix(second: int, east_m: float, accuracy_m: float = NAN, verdict: int = Verdict.OK, late_s: int = 1) -> StoredFix:
    """So far east of the middle of the fence."""
    at_us = START_US + second * SECOND_US
    return StoredFix(at_us, at_us + late_s * SECOND_US, 48.0, 11.0 + east_m / 74_630.0, accuracy_m, verdict)


def follow(fixes: list[StoredFix], *versions: FenceDefinition | None, start: Start = NOTHING_BEFORE) -> list[Step]:
    made = [FenceEdit(START_US - SECOND_US, 1, versions[0])]
    made += [FenceEdit(START_US + 1_000 * SECOND_US, number, each) for number, each in enumerate(versions[1:], start=2)]
    return trace(fixes, made, start, QUALITY)


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
