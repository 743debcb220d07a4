"""Timers of devices: fired as of when they were due, whoever noticed, and taken back when a fix shows otherwise."""

from __future__ import annotations

import dataclasses

import pytest

from tests.tracking_core.readings import HOUR_US, MINUTE_US, SECOND_US, START_US, Position, columns_of
from tracking_core.definitions import DeviceIdentity
from tracking_core.engine import Engine
from tracking_core.events import Cause, CoreEvent, EventKind, SignalChange, Standing
from tracking_core.settings import EngineSettings

AFTER_US = 10 * MINUTE_US
SETTINGS = EngineSettings(signal_lost_after_us=AFTER_US, follows_journeys=False)


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE_US)


class Log:
    """An engine, its clock, and what it told."""

    def __init__(self, settings: EngineSettings = SETTINGS) -> None:
        self.engine = Engine(settings)
        self.engine.announce([DeviceIdentity(0, "acme", "truck")])

    def fixes(self, *minutes: float, now: float | None = None) -> list[CoreEvent]:
        """Fixes of these minutes, in one batch, at the last of them by the log's clock or at another minute."""
        rows = [Position(0, at(minute), 50.0 + 0.001 * minute, 8.0) for minute in minutes]
        return list(self.engine.step(columns_of(rows), at(minutes[-1] if now is None else now)).events)

    def tick(self, minute: float) -> list[CoreEvent]:
        return list(self.engine.tick(at(minute)).events)


def briefly(events: list[CoreEvent]) -> list[tuple[str, float, Standing]]:
    return [(event.kind.value, (event.observed_at_us - START_US) / MINUTE_US, event.standing) for event in events]


LOST = ("signal_lost", 10.0, Standing.TOLD)


def test_a_silence_is_told_when_it_is_complete() -> None:
    log = Log()
    assert log.engine.next_wakeup_us() is None
    assert log.fixes(0) == []
    assert log.engine.next_wakeup_us() == at(10)
    assert log.tick(9.99) == []
    (lost,) = log.tick(25)
    assert briefly([lost]) == [LOST]
    assert (lost.confirmed_at_us, lost.cause, lost.assumed) == (at(10), Cause.TIMER, True)
    assert (lost.latitude_deg, lost.longitude_deg, lost.details) == (50.0, 8.0, SignalChange(at(0)))
    assert (lost.subject_id, lost.subject_version) == ("", 0)
    assert log.engine.next_wakeup_us() is None
    assert log.tick(60) == []
    (back,) = log.fixes(70)
    assert briefly([back]) == [("signal_restored", 70.0, Standing.TOLD)]
    assert (back.cause, back.assumed, back.details) == (Cause.MOVEMENT, False, SignalChange(at(0)))
    assert (back.latitude_deg, back.longitude_deg) == (50.07, 8.0)


def test_a_gap_tells_the_same_without_a_tick() -> None:
    lost, back = Log().fixes(0, 30)
    assert briefly([lost, back]) == [LOST, ("signal_restored", 30.0, Standing.TOLD)]
    assert (lost.confirmed_at_us, lost.cause, lost.assumed) == (at(10), Cause.TIMER, False)
    ticked = Log()
    ticked.fixes(0)
    assert [event.event_id for event in ticked.tick(20) + ticked.fixes(30)] == [lost.event_id, back.event_id]


def test_a_fix_that_was_only_slow_to_come_takes_it_back() -> None:
    log = Log()
    log.fixes(0)
    (lost,) = log.tick(12)
    (gone,) = log.fixes(5, now=13)
    assert briefly([gone]) == [("signal_lost", 10.0, Standing.WITHDRAWN)]
    assert (gone.amends_event_id, gone.revision) == (lost.event_id, 1)
    # It runs anew, by the clock of a device that is eight minutes late.
    assert log.tick(22.9) == []
    assert briefly(log.tick(23)) == [("signal_lost", 15.0, Standing.TOLD)]


def test_a_late_fix_fills_a_gap() -> None:
    log = Log()
    assert len(log.fixes(0, 15)) == 2
    assert [kind for kind, _, standing in briefly(log.fixes(7, now=15)) if standing == Standing.WITHDRAWN] == [
        "signal_lost",
        "signal_restored",
    ]


def test_a_late_fix_tells_of_a_gap_that_is_not_filled() -> None:
    log = Log()
    log.fixes(0, 30)
    told = log.fixes(12, now=30)
    # Twice ten minutes and more: from 0 to 12, and from 12 to 30.
    assert [(event.cause, *briefly([event])[0]) for event in told] == [
        (Cause.LATE_DATA, "signal_restored", 12.0, Standing.TOLD),
        (Cause.LATE_DATA, "signal_lost", 22.0, Standing.TOLD),
        (Cause.LATE_DATA, "signal_restored", 30.0, Standing.AMENDED),
    ]


def test_what_is_due_after_a_late_fix_is_assumed_with_it() -> None:
    log = Log()
    log.fixes(0)
    log.tick(30)
    told = log.fixes(3, now=40)
    assert briefly(told) == [("signal_lost", 10.0, Standing.WITHDRAWN)]
    assert briefly(log.tick(50)) == [("signal_lost", 13.0, Standing.TOLD)]
    # It is late by the order, and the device is as silent as before.
    assert log.fixes(1, now=51) == []


def test_a_day_replayed_in_a_minute_loses_no_signal() -> None:
    log = Log()
    for minute in range(0, 24 * 60, 5):
        assert log.fixes(minute, now=24 * 60 + minute / 1440) == []
    assert log.tick(24 * 60 + 10) == []
    assert briefly(log.tick(24 * 60 + 11)) == [("signal_lost", 1435.0 + 10.0, Standing.TOLD)]


def test_a_clock_that_is_slow_silences_nobody() -> None:
    log = Log()
    for minute in range(0, 60, 5):
        assert log.fixes(minute, now=minute + 120) == []
        assert log.tick(minute + 124.9) == []


@pytest.mark.parametrize("settings", [SETTINGS, dataclasses.replace(SETTINGS, repairs_late=False)])
def test_it_survives_a_restart(settings: EngineSettings) -> None:
    log = Log(settings)
    log.fixes(0)
    log.engine = Engine.restore(log.engine.snapshot(), settings)
    assert log.engine.next_wakeup_us() == at(10)
    (lost,) = log.tick(12)
    log.engine = Engine.restore(log.engine.snapshot(), settings)
    (gone,) = log.fixes(8, now=13)
    assert (gone.amends_event_id, gone.standing) == (lost.event_id, Standing.WITHDRAWN)


def test_nobody_wants_to_know() -> None:
    log = Log(dataclasses.replace(SETTINGS, signal_lost_after_us=0))
    assert log.fixes(0, 100) == []
    assert log.engine.next_wakeup_us() is None
    assert log.tick(HOUR_US / MINUTE_US) == []
    with pytest.raises(ValueError, match="signal_lost_after_us"):
        EngineSettings(signal_lost_after_us=-1)


def test_a_device_that_is_nobody_s_has_a_signal_once_it_is_announced() -> None:
    engine = Engine(SETTINGS)
    engine.step(columns_of([Position(0, at(0), 50.0, 8.0)]), at(0))
    assert engine.tick(at(20)).events == ()
    engine.announce([DeviceIdentity(0, "acme", "truck")])
    assert briefly(list(engine.tick(at(21)).events)) == [LOST]


def test_many_at_once() -> None:
    engine = Engine(SETTINGS)
    engine.announce([DeviceIdentity(number, "acme", f"truck-{number}") for number in range(1000)])
    rows = [Position(number, at(0) + number * SECOND_US, 50.0, 8.0) for number in range(1000)]
    engine.step(columns_of(rows), at(1000 / 60))
    told = engine.tick(at(100)).events
    assert [event.device for event in told] == list(range(1000))
    assert {event.kind for event in told} == {EventKind.SIGNAL_LOST}
    assert engine.next_wakeup_us() is None
