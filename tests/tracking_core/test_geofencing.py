"""Crossings and edits of fences, as people would tell them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from geofence.definition import CircleShape, CrossingRule, FenceDefinition, MultiPolygonShape
from tests.tracking_core.readings import MINUTE_US, NAN, START_US, Position, columns_of
from tracking_core.definitions import DeleteFence, DeviceIdentity, PutFence
from tracking_core.engine import Engine
from tracking_core.events import Cause, CoreEvent, EventKind, Standing
from tracking_core.settings import EngineSettings

IN, OUT = EventKind.GEOFENCE_ENTERED, EventKind.GEOFENCE_EXITED
NOW_US = START_US + 1000 * MINUTE_US


def box(
    west: float, south: float, east: float, north: float, fence_id: str = "yard", tenant: str = "t", **rest
) -> FenceDefinition:
    ring = np.array([(west, south), (east, south), (east, north), (west, north)], np.float64)
    return FenceDefinition(tenant, fence_id, f"The {fence_id}", MultiPolygonShape(((ring,),)), **rest)


class Drive:
    """One engine, devices 0 and 2 of tenant t and device 1 of tenant u; a fix a minute."""

    def __init__(self, *fences: FenceDefinition) -> None:
        self.engine = Engine(EngineSettings(follows_journeys=False))
        self.engine.announce([DeviceIdentity(n, "u" if n == 1 else "t", f"d{n}") for n in range(3)])
        self.minute = 0
        for fence in fences:
            assert self.put(fence) == []

    def put(self, fence: FenceDefinition) -> list[tuple[EventKind, str]]:
        return named(self.engine.define(PutFence(fence), NOW_US).events)

    def late(self, minute: float, longitude_deg: float, **rest) -> tuple[CoreEvent, ...]:
        fix = Position(0, START_US + int(minute * MINUTE_US), 0.5, longitude_deg, **rest)
        return self.engine.step(columns_of([fix]), NOW_US).events

    def to(self, longitude_deg: float, latitude_deg: float = 0.5, device: int = 0, **rest) -> tuple[CoreEvent, ...]:
        self.minute += 1
        fix = Position(device, START_US + self.minute * MINUTE_US, latitude_deg, longitude_deg, **rest)
        return self.engine.step(columns_of([fix]), NOW_US).events


def named(events: tuple[CoreEvent, ...]) -> list[tuple[EventKind, str]]:
    return [(event.kind, event.subject_id) for event in events]


YARD = box(0.0, 0.0, 0.05, 1.0)


def test_in_and_out() -> None:
    drive = Drive(YARD)
    assert drive.to(-0.01) == ()
    (entered,) = drive.to(0.01)
    assert (entered.kind, entered.subject_id, entered.details.fence_name) == (IN, "yard", "The yard")
    assert (entered.tenant, entered.device_id, entered.cause) == ("t", "d0", Cause.MOVEMENT)
    # Half way between the two fixes, at the border.
    assert entered.observed_at_us == START_US + MINUTE_US * 3 // 2
    assert entered.confirmed_at_us == START_US + 2 * MINUTE_US
    assert (entered.longitude_deg, entered.latitude_deg) == (pytest.approx(0.0, abs=1e-12), 0.5)
    assert drive.engine.inside(0) == ["yard"]
    assert drive.to(0.04) == ()
    assert drive.to(0.06) == ()
    assert drive.engine.inside(0) == ["yard"]
    (left,) = drive.to(0.08)
    assert left.kind == OUT
    # The second fix outside confirms it; it happened before the first.
    assert left.observed_at_us == START_US + 7 * MINUTE_US // 2
    assert left.confirmed_at_us == START_US + 5 * MINUTE_US
    assert drive.engine.inside(0) == []


def test_the_border_belongs_to_the_fence() -> None:
    drive = Drive(YARD)
    drive.to(-0.01)
    assert named(drive.to(0.0)) == [(IN, "yard")]


def test_the_first_fix_is_silent() -> None:
    drive = Drive(YARD)
    assert drive.to(0.01) == ()
    assert drive.engine.inside(0) == ["yard"]
    drive.to(0.06)
    assert named(drive.to(0.06)) == [(OUT, "yard")]


def test_one_fix_outside_is_not_an_exit() -> None:
    drive = Drive(YARD)
    drive.to(0.01)
    assert drive.to(0.06) == drive.to(0.04) == drive.to(0.06) == drive.to(0.04) == ()


def test_accuracy_speaks_against_an_exit_not_for_an_entry() -> None:
    drive = Drive(YARD)
    drive.to(0.04)
    # 11 m outside, give or take 50 m, says nothing, as often as you like.
    assert all(drive.to(0.0501, accuracy_m=200.0) == () for _ in range(5))
    # 111 m outside is farther than the cap of 50 m.
    assert drive.to(0.051, accuracy_m=200.0) == ()
    (left,) = drive.to(0.051, accuracy_m=200.0)
    # It happened on the way to the first fix outside, though that one said nothing.
    assert left.observed_at_us < START_US + 2 * MINUTE_US


def test_exits_come_before_enters_on_one_fix() -> None:
    rule = CrossingRule(exit_fixes=1)
    a, b = box(0.0, 0.0, 0.05, 1.0, "z", crossing=rule), box(0.06, 0.0, 0.11, 1.0, "a", crossing=rule)
    drive = Drive(a, b)
    drive.to(0.04)
    assert named(drive.to(0.07)) == [(OUT, "z"), (IN, "a")]


def test_events_of_one_fix_are_in_order_of_the_fence_s_name_not_of_its_slot() -> None:
    drive = Drive(*(box(0.0, 0.0, 0.05, 1.0, name) for name in "cab"))
    drive.to(-0.01)
    assert named(drive.to(0.01)) == [(IN, "a"), (IN, "b"), (IN, "c")]


def test_tenants_do_not_meet() -> None:
    drive = Drive(YARD, box(0.0, 0.0, 0.05, 1.0, tenant="u"))
    drive.to(-0.01)
    drive.to(-0.01, device=1)
    assert [event.tenant for event in drive.to(0.01)] == ["t"]
    assert [event.tenant for event in drive.to(0.01, device=1)] == ["u"]


def test_a_device_never_announced_has_no_events() -> None:
    drive = Drive(YARD)
    drive.to(-0.01, device=7)
    assert drive.to(0.01, device=7) == ()
    assert drive.engine.inside(7) == []
    assert drive.engine.inside(99) == []


def test_fixes_that_do_not_count_cross_nothing() -> None:
    drive = Drive(box(0.0, 0.0, 5.0, 1.0))
    drive.to(-0.01)
    # A jump, a poor fix.
    assert drive.to(4.0) == drive.to(0.01, accuracy_m=5000.0) == ()
    assert drive.engine.inside(0) == []


def test_a_carried_device_enters_at_the_fix_for_no_way_there_is_known() -> None:
    drive = Drive(box(4.0, 0.0, 5.0, 1.0))
    drive.to(-0.01)
    assert drive.to(4.1) == ()
    (entered,) = drive.to(4.1, latitude_deg=0.501)
    assert entered.observed_at_us == entered.confirmed_at_us == START_US + 3 * MINUTE_US


def test_a_fence_drawn_around_a_parked_truck() -> None:
    drive = Drive()
    drive.to(0.01)
    (entered,) = drive.engine.define(PutFence(YARD), NOW_US).events
    assert (entered.kind, entered.cause) == (IN, Cause.DEFINITION)
    assert entered.observed_at_us == entered.confirmed_at_us == START_US + MINUTE_US
    assert drive.to(0.011) == ()


def test_a_fence_edited_under_a_parked_truck_raises_no_movement() -> None:
    drive = Drive(YARD)
    drive.to(-0.01)
    drive.to(0.01)
    drive.to(0.01, device=2)
    # Smaller, but still around it; renamed; the same again.
    assert drive.put(box(0.0, 0.0, 0.02, 1.0, version=2)) == []
    assert drive.put(dataclasses.replace(box(0.0, 0.0, 0.02, 1.0), name="Other", version=3)) == []
    assert drive.put(box(0.0, 0.0, 0.02, 1.0, version=3)) == []
    # Away from it: both leave, by the edit.
    moved = drive.engine.define(PutFence(box(1.0, 0.0, 1.02, 1.0, version=4)), NOW_US).events
    assert [(event.kind, event.cause, event.device) for event in moved] == [
        (OUT, Cause.DEFINITION, 0),
        (OUT, Cause.DEFINITION, 2),
    ]
    back = drive.engine.define(PutFence(box(0.0, 0.0, 0.02, 1.0, version=5)), NOW_US).events
    assert [(event.kind, event.cause) for event in back] == [(IN, Cause.DEFINITION)] * 2
    # No two of all these have one id, though the truck's time stands still.
    assert len({event.event_id for event in (*moved, *back)}) == 4
    assert drive.to(0.01) == ()


def test_an_edit_leaves_a_truck_inside_that_is_outside_by_less_than_its_accuracy() -> None:
    drive = Drive(YARD)
    drive.to(0.04, accuracy_m=30.0)
    assert drive.put(box(0.0, 0.0, 0.0399, 1.0, version=2)) == []
    assert drive.engine.inside(0) == ["yard"]


def test_a_deleted_fence_is_left_by_all_and_does_not_come_back_by_an_old_edit() -> None:
    drive = Drive(YARD)
    drive.to(0.01)
    (left,) = drive.engine.define(DeleteFence("t", "yard", 2), NOW_US).events
    assert (left.kind, left.cause, left.subject_version) == (OUT, Cause.DEFINITION, 1)
    assert drive.engine.inside(0) == []
    assert drive.put(YARD) == []
    assert drive.put(dataclasses.replace(YARD, version=3)) == [(IN, "yard")]
    assert drive.engine.define(DeleteFence("t", "nothing", 1), NOW_US).events == ()


def test_an_old_version_changes_nothing() -> None:
    drive = Drive(dataclasses.replace(YARD, version=5))
    drive.to(0.01)
    assert drive.put(box(1.0, 0.0, 1.02, 1.0, version=5)) == drive.put(box(1.0, 0.0, 1.02, 1.0, version=4)) == []
    assert drive.engine.inside(0) == ["yard"]


def test_a_circle() -> None:
    circle = FenceDefinition("t", "round", "Round", CircleShape(0.0, 0.5, 1000.0))
    drive = Drive(circle)
    drive.to(0.0091)
    assert named(drive.to(0.0089)) == [(IN, "round")]


def test_confirmation_by_fixes_and_by_time() -> None:
    slow = box(0.0, 0.0, 0.05, 1.0, "slow", crossing=CrossingRule(enter_fixes=3))
    timed = box(0.0, 0.0, 0.05, 1.0, "timed", crossing=CrossingRule(enter_fixes=9, confirm_after_us=2 * MINUTE_US))
    drive = Drive(slow, timed)
    drive.to(-0.01)
    assert drive.to(0.01) == drive.to(0.01) == ()
    assert drive.engine.inside(0) == []
    both = drive.to(0.01)
    assert named(both) == [(IN, "slow"), (IN, "timed")]
    assert {event.observed_at_us for event in both} == {START_US + 3 * MINUTE_US // 2}
    # Contrary evidence cancels.
    drive = Drive(slow)
    drive.to(-0.01)
    assert all(drive.to(longitude_deg) == () for longitude_deg in (0.01, 0.01, -0.01, 0.01, 0.01))


def test_nan_crosses_nothing() -> None:
    drive = Drive(YARD)
    drive.to(0.01)
    assert drive.to(NAN) == drive.to(0.01, latitude_deg=NAN) == ()
    assert drive.engine.inside(0) == ["yard"]


def test_a_late_fix_says_better_when_it_was() -> None:
    drive = Drive(YARD)
    drive.to(-0.03)
    drive.minute = 9
    (told,) = drive.to(0.01)
    assert (told.standing, told.revision, told.amends_event_id) == (Standing.TOLD, 0, "")
    (amended,) = drive.late(8, -0.01)
    assert (amended.standing, amended.cause, amended.revision) == (Standing.AMENDED, Cause.LATE_DATA, 1)
    assert amended.observed_at_us == START_US + 9 * MINUTE_US
    assert amended.told_at_us == told.observed_at_us
    assert amended.amends_event_id == told.event_id != amended.event_id
    # One that changes nothing says nothing.
    assert drive.late(5, -0.02) == ()
    (again,) = drive.late(9, 0.005)
    assert (again.revision, again.amends_event_id) == (2, told.event_id)


def test_a_visit_that_was_two() -> None:
    drive = Drive(YARD)
    drive.to(-0.01)
    (entered,) = drive.to(0.01)
    drive.minute = 9
    drive.to(0.02)
    drive.late(4, -0.01)
    left, back = drive.late(5, -0.01)
    assert [(event.kind, event.standing, event.revision) for event in (left, back)] == [
        (OUT, Standing.TOLD, 0),
        (IN, Standing.TOLD, 0),
    ]
    assert left.observed_at_us == START_US + 3 * MINUTE_US
    assert back.event_id != entered.event_id


def test_a_visit_that_was_none_and_one_after_all() -> None:
    drive = Drive(box(0.0, 0.0, 0.05, 1.0, crossing=CrossingRule(enter_fixes=2)))
    drive.to(-0.01)
    drive.minute = 4
    drive.to(0.001)
    drive.minute = 9
    (entered,) = drive.to(0.001)
    # It was outside in between: each time it was one fix only.
    (withdrawn,) = drive.late(7, -0.01)
    assert (withdrawn.standing, withdrawn.revision) == (Standing.WITHDRAWN, 1)
    assert withdrawn.amends_event_id == entered.event_id
    assert drive.engine.inside(0) == []
    # It was there before.
    (after_all,) = drive.late(6, 0.001)
    assert (after_all.standing, after_all.revision) == (Standing.AMENDED, 2)
    assert (after_all.observed_at_us, after_all.amends_event_id) == (entered.observed_at_us, entered.event_id)
    (left,) = drive.late(8, -0.01)
    assert left.kind == OUT
    assert drive.engine.inside(0) == []


def test_what_was_told_before_an_edit_stays_told() -> None:
    drive = Drive(YARD)
    drive.to(-0.03)
    drive.minute = 9
    drive.to(0.01)
    drive.put(box(0.0, 0.0, 0.04, 1.0, version=2))
    assert drive.late(8, -0.01) == ()
    drive.minute = 19
    assert drive.to(0.02) == ()
    # Since the edit it goes on as before.
    drive.late(12, -0.01)
    assert [event.kind for event in drive.late(13, -0.01)] == [OUT, IN]
    # An edit of another tenant is none of its business.
    drive.put(box(0.0, 0.0, 0.04, 1.0, tenant="u"))
    assert [event.standing for event in drive.late(14, -0.02)] == [Standing.AMENDED]


def test_an_edit_elsewhere_does_not_end_the_repair() -> None:
    drive = Drive(YARD)
    drive.to(-0.03)
    drive.minute = 9
    (entered,) = drive.to(0.01)
    for number in range(200):  # more than are remembered one by one
        drive.put(box(2.0, 0.0, 3.0, 1.0, f"far-{number}"))
    drive.put(box(2.0, 0.0, 2.5, 1.0, "far-7", version=2))
    drive.engine.define(DeleteFence("t", "far-8", 2), NOW_US)
    (amended,) = drive.late(8, -0.01)
    assert (amended.standing, amended.amends_event_id) == (Standing.AMENDED, entered.event_id)


@pytest.mark.parametrize("longitude_deg", [-0.02, -0.0305])
def test_an_edit_beside_the_way_ends_the_repair(longitude_deg: float) -> None:
    drive = Drive(YARD)
    drive.to(-0.03)
    drive.minute = 9
    drive.to(0.01)
    # Passed between two fixes, or nearer to one than a fix can be wrong.
    drive.put(box(longitude_deg, 0.4, longitude_deg + 0.0001, 0.6, "gate"))
    assert drive.late(8, -0.01) == ()


def test_an_exit_stays_told_when_its_fence_is_edited_and_all_fixes_near_it_are_forgotten() -> None:
    drive = Drive()
    drive.engine = Engine(EngineSettings(follows_journeys=False, kept_fixes=1))
    drive.engine.announce([DeviceIdentity(0, "t", "d0")])
    drive.put(YARD)
    drive.to(0.01)
    drive.to(0.07)
    (left,) = drive.to(0.09)
    assert left.kind == OUT
    drive.put(box(0.0, 0.0, 0.04, 1.0, version=2))
    assert drive.late(2.5, 0.08) == ()
