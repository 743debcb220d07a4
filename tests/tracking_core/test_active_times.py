"""Fences that are active at some times: what is told of them, and when a window opens."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import pytest

from geofence.definition import (
    ALWAYS,
    ActiveTimes,
    CorridorShape,
    CrossingRule,
    FenceDefinition,
    VisitRule,
    WeeklyWindow,
)
from tests.tracking_core import naive
from tests.tracking_core.readings import MINUTE_US, NAN, Position, columns_of
from tests.tracking_core.test_visits import IN, OUT, ROAD, SETTINGS, SQUARE
from tracking_core.definitions import DeleteFence, DeviceIdentity, PutFence
from tracking_core.engine import Engine
from tracking_core.events import Cause, CoreEvent, EventKind, FenceCrossing, FenceDwell, Standing

EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
OFFICE = ActiveTimes("Europe/Berlin", (WeeklyWindow((1, 2, 3, 4, 5), 8 * 60, 17 * 60),))
MONDAY = dt.datetime.fromisoformat("2026-06-01T00:00+02:00")


def at(text: str) -> int:
    """`08:00` on a Monday in Berlin, `2 08:00` the day after, and so on."""
    *day, clock = text.split()
    hours, minutes = clock.split(":")
    since = dt.timedelta(days=int(day[0]) - 1 if day else 0, hours=int(hours), minutes=int(minutes))
    return round((MONDAY + since).timestamp() * 1e6)


def clock(at_us: int) -> str:
    since = dt.datetime.fromtimestamp(at_us / 1e6, MONDAY.tzinfo) - MONDAY
    text = f"{since.seconds // 3600:02}:{since.seconds // 60 % 60:02}"
    return f"{since.days + 1} {text}" if since.days else text


class Log:
    """An engine with one fence, and what it told, briefly."""

    def __init__(self, active: ActiveTimes = OFFICE, shape: Any = SQUARE, **visit: Any) -> None:
        self.engine = Engine(SETTINGS)
        self.engine.announce([DeviceIdentity(0, "acme", "truck")])
        rule, visit_rule = CrossingRule(exit_fixes=1), VisitRule(**visit)
        self.fence = FenceDefinition("acme", "yard", "Yard", shape, rule, visit=visit_rule, active=active)
        self.engine.define(PutFence(self.fence), at("00:00"))
        self.told: list[CoreEvent] = []

    def drive(self, *fixes: tuple[str, float], now: str = "", speed: float = NAN) -> list[Any]:
        """Fixes of (time, longitude), in one batch."""
        rows = [Position(0, at(time), 0.005, x, speed_mps=speed) for time, x in fixes]
        return self._tell(self.engine.step(columns_of(rows), at(now or fixes[-1][0])))

    def tick(self, time: str) -> list[Any]:
        return self._tell(self.engine.tick(at(time)))

    def put(self, **changes: Any) -> list[Any]:
        self.fence = dataclasses.replace(self.fence, version=self.fence.version + 1, **changes)
        return self._tell(self.engine.define(PutFence(self.fence), 0))

    def restart(self) -> None:
        state = self.engine.snapshot()
        self.engine = Engine.restore(state, SETTINGS)
        assert self.engine.snapshot() == state

    def _tell(self, result: Any) -> list[Any]:
        self.told += result.events
        return [
            (event.kind.value.split("_")[1], clock(event.observed_at_us))
            + (("restated",) if getattr(event.details, "restated", False) else ())
            + (() if event.standing == Standing.TOLD else (event.standing.name.lower(),))
            for event in result.events
        ]


def test_a_day() -> None:
    log = Log()
    # In and out at night: nothing. The leg of two hours crosses the border half-way.
    assert log.drive(("00:30", OUT), ("01:30", IN), ("02:30", OUT), ("05:00", IN)) == []
    assert log.engine.next_wakeup_us() == at("08:00")
    assert log.tick("07:59") == []
    assert log.tick("08:30") == [("entered", "08:00", "restated")]
    event = log.told[-1]
    assert (event.confirmed_at_us, event.cause, event.assumed) == (at("08:00"), Cause.TIMER, True)
    assert (event.latitude_deg, event.longitude_deg, event.details) == (0.005, IN, FenceCrossing("Yard", restated=True))
    assert log.drive(("09:00", IN), ("10:00", OUT), ("12:00", IN)) == [("exited", "09:30"), ("entered", "11:00")]
    # It closes with the device inside; that is not told, nor is what it does then.
    assert log.tick("18:00") == []
    assert log.drive(("19:00", IN), ("21:00", OUT)) == []
    assert log.engine.inside(0) == []
    assert log.drive(("22:00", IN)) == []
    assert log.drive(("2 09:00", IN)) == [("entered", "2 08:00", "restated")]
    assert log.drive(("2 16:00", OUT)) == [("exited", "2 12:30")]


def test_every_opening_restates_and_not_at_the_weekend() -> None:
    log = Log()
    log.drive(("00:30", IN), ("12:00", IN))
    assert [time for _, time, _ in log.tick("3 12:00")] == ["2 08:00", "3 08:00"]
    log.restart()
    assert [time for _, time, _ in log.drive(("8 08:00", IN))] == ["4 08:00", "5 08:00", "8 08:00"]
    # A fix takes the place of what was assumed, with the same events.
    assert len({event.event_id for event in log.told}) == len(log.told) == 6


def test_a_device_that_is_silent_for_long_is_not_restated_for_ever() -> None:
    log = Log()
    log.drive(("12:00", IN))
    assert [time for _, time, _ in log.tick("40 12:00")] == [f"{day} 08:00" for day in (2, 3, 4, 5, 8, 9)]
    assert log.engine.next_wakeup_us() is None
    log.restart()
    # Taken up again silently, and restated from then on.
    assert log.drive(("40 13:00", IN)) == []
    assert log.engine.next_wakeup_us() == at("43 08:00")
    assert log.tick("43 08:00") == [("entered", "43 08:00", "restated")]


def test_the_first_day_may_be_far_away() -> None:
    log = Log(ActiveTimes("Europe/Berlin", (), dt.date(2026, 7, 1), dt.date(2026, 7, 2)))
    log.drive(("12:00", OUT), ("13:00", IN))
    assert log.engine.next_wakeup_us() is None
    log.drive(("25 12:00", IN))
    assert log.engine.next_wakeup_us() == at("31 00:00")
    assert log.drive(("32 12:00", IN), ("33 12:00", OUT)) == [("entered", "31 00:00", "restated")]


def test_an_exit_that_is_pending_holds_an_opening() -> None:
    log = Log()
    log.put(crossing=CrossingRule(exit_fixes=2))
    log.drive(("06:00", IN), ("07:00", OUT))
    assert log.tick("09:00") == []
    log.restart()
    assert log.drive(("09:30", IN)) == [("entered", "08:00", "restated")]
    log.drive(("16:30", OUT))
    assert log.drive(("2 07:00", OUT), ("2 09:00", OUT)) == [("exited", "13:00")]


def test_an_entry_that_is_confirmed_after_the_opening() -> None:
    log = Log()
    log.put(crossing=CrossingRule(enter_fixes=2))
    log.drive(("06:00", OUT), ("07:00", IN))
    assert log.tick("08:30") == []
    assert log.drive(("09:00", IN)) == [("entered", "08:00", "restated")]


def test_late_fixes_correct_what_an_opening_told() -> None:
    log = Log()
    log.drive(("06:00", IN))
    log.tick("08:30")
    first = log.told[-1]
    # It had left before.
    assert log.drive(("07:00", OUT), now="08:40") == [("entered", "08:00", "restated", "withdrawn")]
    # It was back in time. Its clock is 65 minutes behind now, so far as is known.
    assert log.drive(("07:40", IN), now="08:45") == []
    log.restart()
    assert log.tick("09:05") == [("entered", "08:00", "restated", "amended")]
    assert [event.revision for event in log.told] == [0, 1, 2]
    assert log.told[-1].amends_event_id == first.event_id
    # It was, as a fix behind the opening says too.
    assert log.drive(("09:00", IN), now="09:10") == []
    # Then it was not: it came later, by itself.
    assert log.drive(("07:50", OUT), now="09:10") == [("entered", "08:25", "amended")]
    (moved,) = log.told[3:]
    assert (moved.details, moved.cause, moved.told_at_us) == (FenceCrossing("Yard"), Cause.LATE_DATA, at("08:00"))
    # And at last it was in at eight after all.
    assert log.drive(("07:56", IN), now="09:10") == [("entered", "08:00", "restated", "amended")]


def test_a_crossing_at_the_opening_is_no_restatement() -> None:
    log = Log()
    assert log.drive(("07:00", OUT), ("09:00", IN)) == [("entered", "08:00")]
    assert log.drive(("16:00", IN), ("18:00", OUT)) == []
    # The end of a window is outside it.
    assert log.engine.inside(0) == []


def test_a_dwell_counts_within_a_window() -> None:
    log = Log(dwell_us=120 * MINUTE_US)
    log.drive(("05:00", OUT), ("07:00", IN))
    assert log.tick("09:59") == [("entered", "08:00", "restated")]
    assert log.tick("10:00") == [("dwelt", "10:00")]
    assert log.told[-1].details == FenceDwell("Yard", at("08:00"))
    assert log.drive(("13:00", OUT), ("18:00", IN)) == [("exited", "10:00"), ("entered", "15:30")]
    # The window closes half an hour before it is over.
    assert log.drive(("2 07:00", IN)) == []
    log.restart()
    assert log.drive(("2 12:00", IN)) == [("entered", "2 08:00", "restated"), ("dwelt", "2 10:00")]
    assert log.drive(("3 12:00", IN)) == [("entered", "3 08:00", "restated"), ("dwelt", "3 10:00")]


def test_speeding_is_told_within_a_window_and_again_in_the_next() -> None:
    log = Log(speed_limit_mps=10.0)
    assert log.drive(("07:00", IN), ("07:59", IN), speed=20.0) == []
    assert log.drive(("08:10", IN), ("08:20", IN), speed=20.0) == [
        ("entered", "08:00", "restated"),
        ("speeding", "08:10"),
    ]
    assert log.drive(("17:00", IN), speed=20.0) == []
    assert log.drive(("2 08:10", IN), speed=20.0)[1:] == [("speeding", "2 08:10")]


def test_a_passage_is_told_within_a_window() -> None:
    log = Log(cross=True)
    assert log.drive(("07:50", -0.01), ("07:53", 0.02)) == []
    assert log.drive(("08:50", -0.01), ("08:53", 0.02)) == [("crossed", "08:51")]


def test_a_watched_corridor() -> None:
    log = Log(shape=ROAD, watched=True)
    assert log.drive(("06:00", 0.05), ("07:00", -0.05), ("07:30", 0.05)) == []
    assert log.tick("08:00") == [("returned", "08:00", "restated")]
    assert log.told[-1].kind == EventKind.CORRIDOR_RETURNED
    log.fence = dataclasses.replace(log.fence, shape=CorridorShape(np.array([(0.0, 1.0), (0.1, 1.0)]), 100.0))
    # By its newest fix, which was before the window.
    assert log.put() == []
    assert log.engine.inside(0) == []


def test_edits_of_the_active_times() -> None:
    log = Log(ALWAYS, dwell_us=60 * MINUTE_US)
    assert log.drive(("05:30", OUT), ("06:30", IN)) == [("entered", "06:00")]
    assert log.engine.next_wakeup_us() == at("07:00")
    # Not active by its newest fix any more: what was told stays told.
    assert log.put(active=OFFICE) == []
    assert log.engine.next_wakeup_us() == at("08:00")
    early = dataclasses.replace(OFFICE, windows=(WeeklyWindow(EVERY_DAY, 6 * 60, 17 * 60),))
    assert log.put(active=early) == [("entered", "06:30")]
    assert log.told[-1].cause == Cause.DEFINITION
    # The dwell counts from there.
    assert log.engine.next_wakeup_us() == at("07:30")
    assert log.put(name="Court") == []
    assert log.tick("07:30") == [("dwelt", "07:30")]
    assert log.put(active=OFFICE) == []
    # A dwell that was told is not told again before the next visit; it counts anew with the next opening.
    assert log.tick("09:30") == [("entered", "08:00", "restated"), ("dwelt", "09:00")]
    assert log.put(active=ALWAYS) == [("entered", "06:30")]
    assert log.engine.next_wakeup_us() is None


def test_edits_of_the_shape_and_the_end_of_a_fence_outside_its_windows() -> None:
    away = CorridorShape(np.array([(1.0, 0.0), (1.1, 0.0)]), 100.0)
    log = Log(shape=away)
    log.drive(("06:30", IN))
    assert log.put(shape=SQUARE) == []
    assert log.engine.inside(0) == ["yard"]
    assert log.engine.next_wakeup_us() == at("08:00")
    assert log.tick("08:00") == [("entered", "08:00", "restated")]
    assert log.put(shape=away) == []
    assert log.drive(("09:30", IN)) == []
    assert log.put(shape=SQUARE) == [("entered", "09:30")]
    assert log.put(shape=away) == [("exited", "09:30")]
    log.put(shape=SQUARE)
    assert len(log.engine.define(DeleteFence("acme", "yard", 99), at("10:00")).events) == 1


@pytest.mark.parametrize(
    ("first", "opens"), [("2026-03-27T12:00+01:00", "+02:00"), ("2026-10-23T12:00+02:00", "+01:00")]
)
def test_it_opens_by_the_clock_on_the_wall(first: str, opens: str) -> None:
    """Friday; the clocks change on Sunday; Monday, eight o'clock."""
    friday = dt.datetime.fromisoformat(first)
    log = Log()
    log.engine.step(columns_of([Position(0, round(friday.timestamp() * 1e6), 0.005, IN)]), 0)
    monday = dt.datetime.fromisoformat(f"{friday.date() + dt.timedelta(days=3)}T08:00{opens}")
    (event,) = log.engine.tick(round(monday.timestamp() * 1e6) + friday.second).events or (None,)
    assert event is None or event.observed_at_us == round(monday.timestamp() * 1e6)


def test_many_openings_on_one_fix() -> None:
    """More than there is room for at first, at several fences, and again after late fixes."""
    often = tuple(WeeklyWindow(EVERY_DAY, minute, minute + 60) for minute in range(60, 24 * 60, 120))
    log = Log(ActiveTimes("Europe/Berlin", often), dwell_us=30 * MINUTE_US)
    for number in range(11):
        log.engine.define(PutFence(dataclasses.replace(log.fence, fence_id=str(number))), at("00:00"))
    log.drive(("00:01", IN))
    assert len(log.drive(("23:59", IN))) == 12 * 12 * 2
    assert log.drive(("12:00", IN), now="23:59") == []
    # Until six in the evening it was away: three openings and dwells did not happen, three were of another place.
    told = log.drive(("12:01", OUT), now="23:59")
    assert [each[-1] for each in told] == ["withdrawn"] * (12 * 3 * 2) + ["amended"] * (12 * 3 * 2)
    log.restart()
    assert log.drive(("12:02", IN), now="23:59") != []
    standing = naive.standing(log.told)
    assert sum(event.details.restated for event in standing if event.kind == EventKind.GEOFENCE_ENTERED) == 12 * 12
