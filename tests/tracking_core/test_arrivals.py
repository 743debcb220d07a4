"""Arrivals that are planned: missed when they are due, in time after all, and late."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from geofence.definition import ActiveTimes, CrossingRule, FenceDefinition, MultiPolygonShape, WeeklyWindow
from tests.tracking_core.readings import MINUTE_US, START_US, Position, columns_of
from tests.tracking_core.test_visits import IN, OUT, SETTINGS, SQUARE
from tracking_core.definitions import (
    DeleteFence,
    DeleteRoute,
    DeviceIdentity,
    InvalidDefinitionError,
    PutFence,
    PutRoute,
    Route,
    RouteStop,
)
from tracking_core.engine import Engine
from tracking_core.events import ArrivalMissed, Cause, CoreEvent, EventKind, Standing

AWAY = MultiPolygonShape(((np.array([(1.0, 0.0), (1.01, 0.0), (1.01, 0.01), (1.0, 0.01)]),),))


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE_US)


def stop(due: float, stop_id: str = "s", fence_id: str = "yard", grace: float = 5.0) -> RouteStop:
    """One whose arrival is due then."""
    return RouteStop(stop_id, IN, 0.005, at(due - grace), 0, fence_id, round(grace * MINUTE_US))


class Log:
    """An engine with a route and a fence, and what it told, briefly."""

    def __init__(self, *stops: RouteStop, **rule: Any) -> None:
        self.engine = Engine(SETTINGS)
        self.engine.announce([DeviceIdentity(0, "acme", "truck")])
        self.fence = FenceDefinition("acme", "yard", "Yard", SQUARE, CrossingRule(**rule))
        self.engine.define(PutFence(self.fence), at(0))
        self.version = 0
        self.told: list[CoreEvent] = []
        if stops:
            self.route(*stops)

    def route(self, *stops: RouteStop, now: float = 0) -> list[Any]:
        self.version += 1
        return self._tell(self.engine.define(PutRoute(Route("acme", "r", 0, stops, version=self.version)), at(now)))

    def drive(self, *fixes: tuple[float, float], now: float | None = None) -> list[Any]:
        """Fixes of (minute, longitude), in one batch."""
        rows = [Position(0, at(minute), 0.005, x) for minute, x in fixes]
        return self._tell(self.engine.step(columns_of(rows), at(fixes[-1][0] if now is None else now)))

    def tick(self, minute: float) -> list[Any]:
        return self._tell(self.engine.tick(at(minute)))

    def define(self, change: Any, now: float = 0) -> list[Any]:
        return self._tell(self.engine.define(change, at(now)))

    def restart(self) -> None:
        state = self.engine.snapshot()
        wakeup = self.engine.next_wakeup_us()
        self.engine = Engine.restore(state, SETTINGS)
        assert self.engine.snapshot() == state
        assert self.engine.next_wakeup_us() == wakeup

    def _tell(self, result: Any) -> list[Any]:
        self.told += result.events
        return [
            (event.kind.value.removeprefix("geofence_"), (event.observed_at_us - START_US) / MINUTE_US)
            + (() if event.standing == Standing.TOLD else (event.standing.name.lower(),))
            for event in result.events
        ]


MISSED = ("missed_arrival", 30.0)


def test_it_is_told_when_it_is_due_though_nothing_comes() -> None:
    log = Log(stop(30))
    assert log.drive((0, OUT), (20, OUT)) == []
    log.restart()
    assert log.engine.next_wakeup_us() == at(30)
    assert log.tick(29.9) == []
    assert log.tick(45) == [MISSED]
    (event,) = log.told
    assert (event.confirmed_at_us, event.cause, event.assumed) == (at(30), Cause.TIMER, True)
    assert (event.subject_id, event.subject_version, event.subject) == ("r", 1, "r@1/s")
    assert event.details == ArrivalMissed("s", "yard", at(25))
    assert (event.latitude_deg, event.longitude_deg) == (0.005, OUT)
    log.restart()
    # Once; a late arrival is an entry like any other.
    assert log.drive((50, IN)) == [("entered", 35.0)]
    assert log.engine.next_wakeup_us() is None


def test_who_arrives_in_time_has_not_missed_it() -> None:
    log = Log(stop(30))
    assert log.drive((0, OUT), (20, IN)) == [("entered", 10.0)]
    assert log.tick(31) == []
    assert log.engine.next_wakeup_us() is None
    assert log.drive((28, OUT), (29, OUT)) == [("exited", 24.0)]
    assert log.tick(60) == []


def test_a_fix_behind_it_decides_by_the_crossing() -> None:
    log = Log(stop(30))
    log.drive((0, OUT), (20, OUT))
    assert log.tick(35) == [MISSED]
    # It crossed the border at 29; the fix is of 38.
    assert log.drive((38, IN)) == [("missed_arrival", 30.0, "withdrawn"), ("entered", 29.0)]
    assert log.tick(60) == []
    late = Log(stop(30))
    assert late.drive((0, OUT), (20, OUT)) == []
    assert late.drive((44, IN)) == [MISSED, ("entered", 32.0)]
    assert late.drive((24, IN), now=44) == [("missed_arrival", 30.0, "withdrawn"), ("entered", 22.0, "amended")]
    assert late.drive((23, OUT), now=44) == [("entered", 23.5, "amended")]


def test_late_data_takes_an_arrival_back_and_gives_it_again() -> None:
    log = Log(stop(30))
    log.drive((0, OUT))
    # In one batch with what came before: by the straight way at 20; but at 36 it was still outside.
    assert log.drive((28, OUT), (60, IN), now=29) == []
    assert log.drive((40, IN), (60, IN), now=60)[0] == MISSED
    log.restart()
    assert log.drive((29, IN), now=60)[:1] == [("missed_arrival", 30.0, "withdrawn")]
    # What it did then changes nothing of that.
    assert [kind for kind, *_ in log.drive((29.5, OUT), (35, OUT), now=60)] == ["exited", "entered"]
    told = [event for event in log.told if event.kind == EventKind.MISSED_ARRIVAL]
    assert [event.revision for event in told] == [0, 1]
    assert told[1].amends_event_id == told[0].event_id


def test_what_was_missed_stays_so_when_the_fence_is_deleted() -> None:
    log = Log(stop(10))
    log.drive((0, 0.9), (5, 0.9))
    assert log.tick(12) == [("missed_arrival", 10.0)]
    log.define(DeleteFence("acme", "yard", 2), 12)
    assert [event for event in log.drive((13, 0.9), (4, 0.9), now=13) if event[0] == "missed_arrival"] == []


def test_an_entry_that_is_pending_holds_it() -> None:
    log = Log(stop(30), enter_fixes=2)
    log.drive((0, OUT), (20, IN))
    assert log.tick(40) == []
    assert log.engine.next_wakeup_us() is None
    log.restart()
    assert log.drive((41, IN)) == [("entered", 10.0)]
    assert log.tick(60) == []
    other = Log(stop(30), enter_fixes=2)
    other.drive((0, OUT), (20, IN))
    assert other.drive((41, OUT)) == [MISSED]


def test_who_is_there_has_arrived_and_who_comes_back_has_to() -> None:
    log = Log()
    log.drive((0, IN))
    log.route(stop(30), stop(60, "back"), now=1)
    log.restart()
    assert log.engine.next_wakeup_us() == at(60)
    assert log.drive((10, IN), (20, OUT), (30, OUT)) == [("exited", 15.0)]
    assert log.drive((50, IN)) == [("entered", 40.0)]
    assert log.tick(70) == []
    assert log.engine.next_wakeup_us() is None
    stays = Log()
    stays.drive((0, IN))
    stays.route(stop(30), stop(60, "back"), now=1)
    assert stays.drive((50, IN)) == []
    assert stays.drive((70, IN)) == [("missed_arrival", 60.0)]


def test_an_entry_is_the_arrival_of_one_stop() -> None:
    """Depot, customer, depot: the first stop has no plan, or it was missed."""
    for first in (RouteStop("out", IN, 0.005, None, 0, "yard"), stop(10, "out")):
        log = Log(first, stop(60, "back"))
        log.drive((0, OUT))
        # By the log's clock the first was due already.
        assert log.drive((20, IN))[-1] == ("entered", 10.0)
        assert log.drive((30, OUT), (34, OUT)) == [("exited", 25.0)]
        log.restart()
        assert log.tick(65) == [("missed_arrival", 60.0)]
        assert log.drive((50, IN), now=66)[0] == ("missed_arrival", 60.0, "withdrawn")
    late = Log(stop(10, "out"), stop(60, "back"))
    late.drive((0, OUT), (12, OUT))
    assert late.drive((20, IN)) == [("entered", 16.0)]
    assert late.drive((30, OUT), (34, OUT), (50, OUT)) == [("exited", 25.0)]
    assert late.tick(65) == [("missed_arrival", 60.0)]


def test_a_route_that_is_put_again_goes_on_where_it_is_the_same() -> None:
    log = Log(stop(50, "a"), stop(60, "b", "port"))
    log.define(PutFence(dataclasses.replace(log.fence, fence_id="port", shape=AWAY)))
    log.drive((0, OUT), (10, IN), (20, OUT), (22, OUT))
    log.route(stop(50, "a"), stop(70, "b", "port"), now=22)
    log.restart()
    # It was at the first, and the second has another plan.
    assert log.tick(65) == []
    assert log.tick(75) == [("missed_arrival", 70.0)]
    log.route(stop(50, "a"), stop(70, "b", "port"), now=76)
    assert log.tick(90) == []
    log.route(stop(80, "a"), now=91)
    assert log.tick(92) == [("missed_arrival", 80.0)]


def test_several_stops_and_routes() -> None:
    log = Log(stop(30, "a"), stop(30, "b", "port"), RouteStop("c", 0.0, 0.0), stop(40, "d", "dock"))
    for name in ("port", "dock"):
        log.define(PutFence(dataclasses.replace(log.fence, fence_id=name, shape=AWAY)))
    log.drive((0, OUT), (10, IN))
    assert log.tick(50) == [MISSED, ("missed_arrival", 40.0)]
    assert [event.details.stop_id for event in log.told if event.kind == EventKind.MISSED_ARRIVAL] == ["b", "d"]
    log.restart()
    # By the device's clock, as far as is known, neither is due yet.
    assert [each[2] for each in log.drive((20, IN), now=50)] == ["withdrawn"] * 2
    assert [each[2] for each in log.tick(70)] == ["amended"] * 2
    ids = [event.event_id for event in log.told]
    assert len(set(ids)) == len(ids)


def test_a_device_that_was_never_heard_of_misses_it_too() -> None:
    log = Log(stop(30))
    log.restart()
    assert log.tick(31) == [MISSED]
    assert np.isnan(log.told[0].latitude_deg)
    assert log.drive((10, IN), now=32) == [("missed_arrival", 30.0, "withdrawn")]


def test_what_is_not_waited_for() -> None:
    log = Log(stop(30, fence_id=""), RouteStop("p", IN, 0.005, None, 0, "yard"))
    log.drive((0, OUT))
    assert log.engine.next_wakeup_us() is None
    # Due before the route was put; at a fence that is not there.
    log.drive((40, OUT))
    log.route(stop(30), stop(60, "x", "nowhere"), now=40)
    assert log.tick(100) == []
    assert log.engine.next_wakeup_us() is None


def test_routes_and_fences_may_come_in_any_order_and_go() -> None:
    log = Log()
    log.define(DeleteFence("acme", "yard", 2))
    log.route(stop(30))
    log.drive((0, IN))
    assert log.engine.next_wakeup_us() is None
    log.define(PutFence(dataclasses.replace(log.fence, version=3, shape=AWAY)), 1)
    assert log.engine.next_wakeup_us() == at(30)
    # It is there by an edit.
    log.define(PutFence(dataclasses.replace(log.fence, version=4)), 2)
    assert log.engine.next_wakeup_us() is None
    # Another plan: it waits anew, until the route or the fence goes.
    log.drive((3, OUT), (4, OUT))
    log.route(stop(40), now=4)
    assert log.engine.next_wakeup_us() == at(40)
    log.define(DeleteFence("acme", "yard", 5), 5)
    assert log.tick(50) == []
    log.define(PutFence(dataclasses.replace(log.fence, version=6)), 50)
    assert log.tick(51) == [("missed_arrival", 40.0)]
    log.route(stop(90), now=52)
    log.define(DeleteRoute("acme", "r", 9), 53)
    log.restart()
    assert log.tick(100) == []
    # What is withdrawn of a route that is gone is nobody's.
    assert log.drive((55, IN), now=100) == [("entered", 29.5)]


def test_an_arrival_outside_the_windows_of_the_fence_counts() -> None:
    log = Log()
    never = ActiveTimes("UTC", (WeeklyWindow((6,), 0, 1),))
    log.define(PutFence(dataclasses.replace(log.fence, version=2, active=never)))
    log.route(stop(30))
    assert log.drive((0, OUT), (28, IN)) == []
    assert log.tick(60) == []
    assert log.drive((70, OUT), (72, OUT)) == []
    log.route(stop(90), now=73)
    assert log.drive((120, IN)) == [("missed_arrival", 90.0)]


def test_a_plan_that_means_nothing() -> None:
    with pytest.raises(InvalidDefinitionError, match="grace"):
        Route("acme", "r", 0, (stop(30, grace=-1.0),))


def test_an_unknown_place_is_no_correction() -> None:
    log = Log(stop(30))
    assert log.tick(31) == [MISSED]
    assert log.drive((40, OUT)) == []
    assert log.drive((38, OUT), now=40) == []
