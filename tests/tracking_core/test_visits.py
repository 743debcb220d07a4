"""Visits: how long they last, how fast devices are in them, and corridors that are watched."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from geofence.definition import CorridorShape, CrossingRule, FenceDefinition, MultiPolygonShape, VisitRule
from tests.tracking_core.readings import MINUTE_US, NAN, START_US, Position, columns_of
from tracking_core.definitions import DeleteFence, DeviceIdentity, PutFence
from tracking_core.engine import Engine
from tracking_core.events import (
    Cause,
    CoreEvent,
    Direction,
    EventKind,
    FenceDwell,
    FencePassage,
    FenceSpeeding,
    Standing,
)
from tracking_core.settings import EngineSettings

SETTINGS = EngineSettings(signal_lost_after_us=0, follows_journeys=False)
# From 0 to 0.01 degrees: a kilometre. Devices drive along the parallel in its middle.
SQUARE = MultiPolygonShape(((np.array([(0.0, 0.0), (0.01, 0.0), (0.01, 0.01), (0.0, 0.01)]),),))
ROAD = CorridorShape(np.array([(0.0, 0.005), (0.1, 0.005)]), 100.0)
DWELL = VisitRule(dwell_us=10 * MINUTE_US)
IN, OUT = 0.005, -0.005


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE_US)


class Log:
    """An engine with one fence, and what it told, briefly."""

    def __init__(self, visit: VisitRule, settings: EngineSettings = SETTINGS, shape: Any = SQUARE, **rule: Any) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.engine.announce([DeviceIdentity(0, "acme", "truck")])
        self.fence = FenceDefinition("acme", "yard", "Yard", shape, CrossingRule(**rule), visit=visit)
        self.engine.define(PutFence(self.fence), START_US)
        self.told: list[CoreEvent] = []

    def drive(
        self, *fixes: tuple[float, float], now: float | None = None, speed: float = NAN, **rest: Any
    ) -> list[Any]:
        """Fixes of (minute, longitude), in one batch."""
        rows = [Position(0, at(minute), 0.005, x, speed_mps=speed, **rest) for minute, x in fixes]
        return self._tell(self.engine.step(columns_of(rows), at(fixes[-1][0] if now is None else now)))

    def tick(self, minute: float) -> list[Any]:
        return self._tell(self.engine.tick(at(minute)))

    def put(self, **changes: Any) -> list[Any]:
        version = self.fence.version + 1
        self.fence = dataclasses.replace(self.fence, version=version, **changes)
        return self._tell(self.engine.define(PutFence(self.fence), 0))

    def restart(self) -> None:
        self.engine = Engine.restore(self.engine.snapshot(), self.settings)

    def _tell(self, result: Any) -> list[Any]:
        self.told += result.events
        return [
            (event.kind.value.split("_")[1], (event.observed_at_us - START_US) / MINUTE_US)
            + (() if event.standing == Standing.TOLD else (event.standing.name.lower(),))
            for event in result.events
        ]


@pytest.mark.parametrize("restarts", ["never", "often"])
def test_a_dwell_is_told_when_it_is_due_though_nothing_comes(restarts: str) -> None:
    log = Log(DWELL)
    log.drive((0, OUT), (2, IN))
    for minute, told in ((10.9, []), (30, [("dwelt", 11.0)]), (60, [])):
        if restarts == "often":
            log.restart()
        assert log.engine.next_wakeup_us() == (None if minute == 60 else at(11))
        assert log.tick(minute) == told
    dwelt = log.told[-1]
    assert (dwelt.confirmed_at_us, dwelt.cause, dwelt.assumed) == (at(11), Cause.TIMER, True)
    assert dwelt.details == FenceDwell("Yard", at(1))
    assert (dwelt.subject_id, dwelt.subject_version) == ("yard", 1)
    assert (dwelt.latitude_deg, dwelt.longitude_deg) == (0.005, IN)
    assert log.drive((70, IN), (80, IN)) == []


def test_a_fix_tells_it_too_once() -> None:
    log = Log(DWELL)
    assert log.drive((0, OUT), (2, IN), (9, IN), (14, IN), (30, IN)) == [("entered", 1.0), ("dwelt", 11.0)]
    assert not log.told[-1].assumed
    # And again on the next visit.
    assert log.drive((40, OUT), (42, OUT), (44, IN), (60, IN)) == [("exited", 35.0), ("entered", 43.0), ("dwelt", 53.0)]


def test_the_first_fix_counts_as_an_entry() -> None:
    log = Log(DWELL)
    assert log.drive((0, IN), (9, IN)) == []
    assert log.drive((10, IN)) == [("dwelt", 10.0)]


def test_who_left_before_has_not_dwelt() -> None:
    # In at 1, out at 10.5, confirmed long after it would have been due.
    log = Log(DWELL)
    assert log.drive((0, OUT), (2, IN), (10, IN), (11, OUT)) == [("entered", 1.0)]
    # The exit is pending: it is held until that is decided.
    assert log.tick(30) == []
    assert log.engine.next_wakeup_us() is None
    assert log.drive((31, OUT)) == [("exited", 10.5)]
    assert log.tick(90) == []


def test_an_exit_that_is_not_confirmed_releases_what_it_held() -> None:
    log = Log(DWELL)
    log.drive((0, OUT), (2, IN), (10, IN), (11, OUT))
    log.restart()
    assert log.drive((15, IN)) == [("dwelt", 11.0)]


def test_who_left_when_it_was_due_has_dwelt() -> None:
    log = Log(DWELL)
    assert log.drive((0, OUT), (2, IN), (20, OUT)) == [("entered", 1.0), ("dwelt", 11.0)]
    assert log.drive((22, OUT)) == [("exited", 11.0)]
    # On one fix what was due before comes first.
    swift = Log(DWELL, exit_fixes=1)
    assert swift.drive((0, OUT), (2, IN), (30, OUT)) == [("entered", 1.0), ("dwelt", 11.0), ("exited", 16.0)]


def test_a_leg_out_takes_back_what_was_assumed() -> None:
    log = Log(DWELL)
    log.drive((0, OUT), (2, IN), (8, IN))
    assert log.tick(11) == [("dwelt", 11.0)]
    # The border was passed at ten: it cannot have been there at eleven. But is it really out?
    assert log.drive((12, OUT)) == [("dwelt", 11.0, "withdrawn")]
    log.restart()
    assert log.tick(30) == []
    # No: the same dwell after all, and the next revision of its event.
    assert log.drive((31, IN)) == [("dwelt", 11.0, "amended")]
    first, gone, again = (event for event in log.told if event.kind == EventKind.GEOFENCE_DWELT)
    assert gone.amends_event_id == again.amends_event_id == first.event_id
    assert (gone.revision, again.revision) == (1, 2)


def test_a_late_fix_that_shows_another_entry_amends_the_dwell() -> None:
    log = Log(DWELL)
    log.drive((0, OUT), (8, IN))
    assert log.tick(14) == [("dwelt", 14.0)]
    assert log.drive((6, OUT), now=15) == [("dwelt", 14.0, "withdrawn"), ("entered", 7.0, "amended")]
    assert log.tick(16.9) == []
    assert log.tick(18) == [("dwelt", 17.0)]


def test_a_late_exit_withdraws_the_dwell() -> None:
    log = Log(DWELL)
    assert log.drive((0, IN), (12, IN), (20, IN)) == [("dwelt", 10.0)]
    # One fix outside is not enough; but the dwell was at another place.
    assert log.drive((4, OUT), now=20) == [("dwelt", 10.0, "amended")]
    assert log.drive((5, OUT), now=20) == [("exited", 2.0), ("entered", 8.5), ("dwelt", 18.5, "amended")]


def test_edits_of_the_dwell_apply_to_the_visit() -> None:
    log = Log(VisitRule())
    assert log.drive((0, IN), (8, IN)) == []
    assert log.engine.next_wakeup_us() is None
    log.put(visit=DWELL)
    assert log.engine.next_wakeup_us() == at(10)
    log.put(visit=VisitRule(dwell_us=20 * MINUTE_US))
    assert log.tick(12) == []
    log.put(visit=VisitRule(dwell_us=5 * MINUTE_US))
    assert log.tick(13) == [("dwelt", 5.0)]
    # Once a visit, also when the dwell is longer now.
    log.put(visit=VisitRule(dwell_us=30 * MINUTE_US))
    assert log.tick(60) == []
    # What was assumed before an edit stays told.
    assert log.drive((9, OUT), now=61) == []


def test_an_edit_of_the_shape_begins_and_ends_visits() -> None:
    away = MultiPolygonShape(((np.array([(1.0, 0.0), (1.01, 0.0), (1.01, 0.01), (1.0, 0.01)]),),))
    log = Log(DWELL, shape=away)
    log.drive((0, IN), (3, IN))
    assert log.put(shape=SQUARE) == [("entered", 3.0)]
    assert log.engine.next_wakeup_us() == at(13)
    assert log.put(shape=away) == [("exited", 3.0)]
    assert log.engine.next_wakeup_us() is None
    assert log.put(shape=SQUARE) == [("entered", 3.0)]
    log.engine.define(DeleteFence("acme", "yard", 9), at(4))
    assert log.tick(30) == []
    assert log.engine.next_wakeup_us() is None


def test_speeding_once_until_it_is_slow_or_out() -> None:
    log = Log(VisitRule(speed_limit_mps=10.0, speed_tolerance_mps=1.0))
    assert log.drive((0, OUT), (2, IN), speed=11.0) == [("entered", 1.0)]
    assert log.drive((3, IN), speed=11.5) == [("speeding", 3.0)]
    event = log.told[-1]
    assert event.details == FenceSpeeding("Yard", 11.5, 10.0)
    assert (event.confirmed_at_us, event.cause, event.assumed) == (at(3), Cause.MOVEMENT, False)
    assert log.drive((4, IN), (5, IN), speed=30.0) == []
    # Between limit and tolerance it is still speeding, and so it is where nothing is known.
    assert log.drive((6, IN), speed=10.5) == []
    log.restart()
    assert log.drive((6.1, IN), (6.2, IN), speed=12.0) == []
    assert log.drive((7, IN), speed=10.0) == []
    assert log.drive((8, IN), speed=12.0) == [("speeding", 8.0)]
    assert log.drive((10, OUT), (11, OUT), (13, IN), speed=30.0) == [
        ("exited", 9.0), ("entered", 12.0), ("speeding", 13.0),
    ]  # fmt: skip


def test_speed_is_derived_where_none_is_sent_and_told_of_a_first_fix() -> None:
    log = Log(VisitRule(speed_limit_mps=10.0))
    assert log.drive((0, IN), speed=20.0) == [("speeding", 0.0)]
    slow = Log(VisitRule(speed_limit_mps=1.0))
    # 278 metres in a minute.
    assert slow.drive((0, 0.0025), (1, 0.005)) == [("speeding", 1.0)]
    assert slow.told[-1].details.speed_mps == pytest.approx(278.3 / 60, rel=1e-3)  # type: ignore[union-attr]


def test_a_late_fix_moves_the_beginning_of_speeding() -> None:
    log = Log(VisitRule(speed_limit_mps=10.0))
    log.drive((0, IN), (1, IN), speed=5.0)
    assert log.drive((5, IN), speed=20.0) == [("speeding", 5.0)]
    assert log.drive((3, IN), now=5, speed=21.0) == [("speeding", 3.0, "amended")]
    assert log.drive((2, IN), now=5, speed=9.0) == []
    assert log.drive((4, IN), now=5, speed=9.0) == [("speeding", 5.0)]


def test_a_watched_corridor_is_left_and_returned_to() -> None:
    log = Log(VisitRule(watched=True), shape=ROAD)
    on, off = {"latitude_deg": 0.005}, {"latitude_deg": 0.05}
    rows = [(0, on), (2, off), (4, off), (6, on)]
    fixes = [Position(0, at(minute), longitude_deg=0.05, **where) for minute, where in rows]
    kinds = [event.kind for event in log.engine.step(columns_of(fixes), at(6)).events]
    assert kinds == [EventKind.CORRIDOR_LEFT, EventKind.CORRIDOR_RETURNED]
    log.fence = dataclasses.replace(log.fence, shape=CorridorShape(ROAD.line + 1.0, 100.0))
    assert [kind for kind, *_ in log.put()] == ["left"]
    log.fence = dataclasses.replace(log.fence, shape=ROAD)
    assert [kind for kind, *_ in log.put()] == ["returned"]
    assert [e.kind for e in log.engine.define(DeleteFence("acme", "yard", 9), at(7)).events] == [
        EventKind.CORRIDOR_LEFT
    ]


THROUGH = VisitRule(cross=True)


def test_a_passage_between_two_fixes_outside() -> None:
    log = Log(THROUGH)
    assert log.drive((0, -0.01), (3, 0.02)) == [("crossed", 1.0)]
    (event,) = log.told
    assert event.details == FencePassage("Yard", at(2), Direction.UNSPECIFIED)
    assert (event.confirmed_at_us, event.cause, event.assumed) == (at(3), Cause.MOVEMENT, False)
    assert (event.latitude_deg, event.longitude_deg) == (0.005, pytest.approx(0.0, abs=1e-12))
    # A fix inside makes it a visit, also when it comes late.
    told = log.drive((1.5, IN), now=3)
    assert told == [("crossed", 1.0, "withdrawn"), ("entered", 1.0)]
    assert log.drive((4, 0.02)) == [("exited", 2.0)]


def test_an_entry_that_was_not_confirmed_is_no_passage() -> None:
    assert Log(THROUGH, enter_fixes=2).drive((0, -0.01), (1.5, IN), (3, 0.02)) == []
    assert Log(THROUGH).drive((0, -0.01), (1.5, IN), (3, 0.02), (4, -0.01)) == [("entered", 1.0), ("exited", 2.0)]


@pytest.mark.parametrize(
    ("visit", "fixes", "told"),
    [
        (VisitRule(), [(0, -0.01), (3, 0.02)], 0),
        (THROUGH, [(0, -0.01), (10, 0.02)], 1),
        # Too long a time, and too long a way, to know what lies between.
        (THROUGH, [(0, -0.01), (10.1, 0.02)], 0),
        (THROUGH, [(0, -0.08), (3, 0.09)], 1),
        (THROUGH, [(0, -0.1), (3, 0.1)], 0),
        # Past a corner is not through.
        (THROUGH, [(0, -0.01), (3, -0.001)], 0),
    ],
)
def test_what_is_a_passage(visit: VisitRule, fixes: list[tuple[float, float]], told: int) -> None:
    assert len(Log(visit).drive(*fixes)) == told


@pytest.mark.parametrize(
    ("direction", "where"), [(Direction.FORWARD, (-0.01, 0.02)), (Direction.BACKWARD, (0.02, -0.01))]
)
def test_across_a_line_it_has_a_direction(direction: Direction, where: tuple[float, float]) -> None:
    gate = CorridorShape(np.array([(0.005, 0.0), (0.005, 0.01)]), 20.0)
    log = Log(THROUGH, shape=gate)
    assert len(log.drive((0, where[0]), (3, where[1]))) == 1
    assert log.told[0].details.direction == direction  # type: ignore[union-attr]
    log.restart()
    assert log.drive((2, 0.0051), now=3)[0][-1] == "withdrawn"


def test_passages_of_more_fences_than_there_is_room_for() -> None:
    log = Log(THROUGH)
    for number in range(700):
        fence = dataclasses.replace(log.fence, fence_id=str(number), version=1)
        log.engine.define(PutFence(fence), START_US)
    assert len(log.drive((0, -0.01), (3, 0.02))) == 701
    assert {event.subject_id for event in log.told} == {"yard", *map(str, range(700))}
