"""Limits on samples, and the coming and going of tags."""

from __future__ import annotations

import math

import pytest

from tests.tracking_core.readings import (
    HOUR_US,
    MINUTE_US,
    NAN,
    SECOND_US,
    START_US,
    Position,
    Sample,
    TagRead,
    columns_of,
)
from tracking_core.definitions import (
    DeleteLimit,
    DeviceIdentity,
    InvalidDefinitionError,
    PutLimit,
    SensorLimit,
)
from tracking_core.engine import Engine
from tracking_core.events import Cause, CoreEvent, EventKind
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

OPENED, CLOSED = EventKind.EXCURSION_OPENED, EventKind.EXCURSION_CLOSED
ARRIVED, DEPARTED = EventKind.TAG_ARRIVED, EventKind.TAG_DEPARTED
WARMTH, HUMIDITY = 1, 2
NOW_US = START_US + HOUR_US
OK = Verdict.OK


def fresh(settings: EngineSettings | None = None) -> Engine:
    engine = Engine(settings or EngineSettings())
    engine.announce([DeviceIdentity(n, "t", f"d{n}") for n in range(3)])
    return engine


def cold(version: int = 1, **changes) -> PutLimit:
    limit = {"minimum": 2.0, "maximum": 8.0, "hysteresis": 1.0, "minimum_duration_us": 0, **changes}
    return PutLimit(SensorLimit("t", "cold", 0, WARMTH, version=version, **limit))


def samples(engine: Engine, *values: float, start: int = 0, **rest) -> list[CoreEvent]:
    """A sample a minute."""
    rows = [Sample(0, START_US + (start + n) * MINUTE_US, WARMTH, value, **rest) for n, value in enumerate(values)]
    return list(engine.step(columns_of(rows), NOW_US).events)


def minute(event: CoreEvent) -> float:
    return (event.observed_at_us - START_US) / MINUTE_US


def test_an_excursion_opens_worsens_and_closes() -> None:
    engine = fresh()
    engine.define(cold(), 0)
    opened, closed = samples(engine, 5, 8, 8.5, 12, 9, 7.5, 7, 6)
    assert (opened.kind, minute(opened), opened.subject_id, opened.cause) == (OPENED, 2, "cold", Cause.MOVEMENT)
    assert opened.details == (WARMTH, 0, 8.5, 8.0)
    # 7.5 is back inside, but not by the hysteresis.
    assert (closed.kind, minute(closed)) == (CLOSED, 6)
    assert closed.details == (WARMTH, 0, 7.0, 12.0, START_US + 2 * MINUTE_US)


def test_a_short_one_does_not_open_and_a_long_one_is_dated_when_it_began() -> None:
    engine = fresh()
    engine.define(cold(minimum_duration_us=2 * MINUTE_US), 0)
    assert samples(engine, 9, 9, 5, 9, 9) == []
    (opened,) = samples(engine, 10, start=5)
    assert (minute(opened), opened.confirmed_at_us) == (3, START_US + 5 * MINUTE_US)
    assert opened.details.value == 10.0


def test_from_one_bound_to_the_other_on_one_sample() -> None:
    engine = fresh()
    engine.define(cold(), 0)
    events = samples(engine, 9, 1, 0.5, 5)
    assert [(event.kind, minute(event)) for event in events] == [(OPENED, 0), (CLOSED, 1), (OPENED, 1), (CLOSED, 3)]
    assert events[2].details.bound == 2.0
    assert events[3].details.worst_value == 0.5


def test_what_a_sample_closes_and_what_an_edit_does_then_have_different_names() -> None:
    engine = fresh()
    engine.define(cold(), 0)
    events = samples(engine, 1, 9) + list(engine.define(DeleteLimit("t", "cold", 2), NOW_US).events)
    assert [(event.kind, minute(event)) for event in events] == [(OPENED, 0), (CLOSED, 1), (OPENED, 1), (CLOSED, 1)]
    assert len({event.event_id for event in events}) == 4


def test_probes_and_quantities_are_apart() -> None:
    engine = fresh()
    engine.define(cold(), 0)
    rows = [Sample(0, START_US, WARMTH, 9, probe=1), Sample(0, START_US, WARMTH, 9), Sample(0, START_US, HUMIDITY, 9)]
    events = engine.step(columns_of(rows), NOW_US).events
    assert [event.details.probe for event in events] == [1, 0]
    assert len({event.event_id for event in events}) == 2
    assert engine.step(columns_of([Sample(1, START_US, WARMTH, 9)]), NOW_US).events == ()


def test_verdicts_on_samples() -> None:
    engine = fresh()
    rows = [
        Sample(0, START_US, WARMTH, 5),
        Sample(0, START_US, WARMTH, 5, sequence=9),
        Sample(0, START_US, WARMTH, 6),
        Sample(0, START_US + 1, WARMTH, NAN),
        Sample(0, START_US + 2, WARMTH, math.inf),
        Sample(0, START_US - 1, WARMTH, 5),
        Sample(0, START_US - 25 * HOUR_US, WARMTH, 5),
        Sample(0, NOW_US + 6 * MINUTE_US, WARMTH, 5),
        Sample(0, START_US, WARMTH, 5, probe=1),
    ]
    assert engine.step(columns_of(rows), NOW_US).sensor_verdicts.tolist() == [
        OK,
        Verdict.DUPLICATE,
        Verdict.CONFLICTING,
        Verdict.OUT_OF_RANGE,
        Verdict.OUT_OF_RANGE,
        Verdict.LATE,
        Verdict.STALE,
        Verdict.FUTURE_CLOCK,
        OK,
    ]


def test_a_sample_from_the_future_does_not_make_the_next_late() -> None:
    engine = fresh()
    engine.define(cold(), 0)
    rows = [Sample(0, NOW_US + HOUR_US, WARMTH, 99), Sample(0, NOW_US, WARMTH, 5)]
    result = engine.step(columns_of(rows), NOW_US)
    assert result.sensor_verdicts.tolist() == [Verdict.FUTURE_CLOCK, OK]
    assert result.events == ()


def test_edits_of_limits_look_at_the_last_sample() -> None:
    engine = fresh()
    samples(engine, 9)
    (opened,) = engine.define(cold(), NOW_US).events
    assert (opened.kind, opened.cause, minute(opened)) == (OPENED, Cause.DEFINITION, 0)
    assert engine.define(cold(), NOW_US).events == ()
    (closed,) = engine.define(cold(version=2, maximum=20.0), NOW_US).events
    assert (closed.kind, closed.cause) == (CLOSED, Cause.DEFINITION)
    (opened,) = engine.define(cold(version=3), NOW_US).events
    # A bound that is no more is not broken any more.
    (closed,) = engine.define(cold(version=4, maximum=None), NOW_US).events
    assert (opened.kind, closed.kind) == (OPENED, CLOSED)
    assert engine.define(cold(version=5), NOW_US).events[0].kind == OPENED
    (closed,) = engine.define(DeleteLimit("t", "cold", 6), NOW_US).events
    assert (closed.kind, closed.details.worst_value) == (CLOSED, 9.0)
    assert samples(engine, 30, start=1) == []


def test_a_limit_that_moves_to_another_device_leaves_the_first() -> None:
    engine = fresh()
    engine.define(cold(), 0)
    samples(engine, 9)
    (closed,) = engine.define(PutLimit(SensorLimit("t", "cold", 1, WARMTH, 2.0, 8.0, version=2)), NOW_US).events
    assert (closed.kind, closed.device) == (CLOSED, 0)
    assert samples(engine, 30, start=1) == []
    assert [e.device for e in engine.step(columns_of([Sample(1, START_US, WARMTH, 9)]), NOW_US).events] == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"minimum": None, "maximum": None},
        {"maximum": NAN},
        {"minimum": 9.0},
        {"hysteresis": -1.0},
        {"hysteresis": NAN},
        {"minimum_duration_us": -1},
    ],
)
def test_limits_that_mean_nothing_are_refused(wrong) -> None:
    with pytest.raises(InvalidDefinitionError, match="cold"):
        cold(**wrong)


def read(seconds: float, epc: bytes = b"\x30\x01", device: int = 0, **rest) -> TagRead:
    return TagRead(device, START_US + int(seconds * SECOND_US), epc, **rest)


def reads(engine: Engine, *rows: TagRead, now_us: int = NOW_US) -> list[tuple[EventKind, str, float, float]]:
    return told(engine.step(columns_of(rows), now_us).events)


def told(events: tuple[CoreEvent, ...]) -> list[tuple[EventKind, str, float, float]]:
    return [
        (e.kind, e.subject_id, (e.observed_at_us - START_US) / SECOND_US, (e.confirmed_at_us - START_US) / SECOND_US)
        for e in events
    ]


def test_a_tag_arrives_stays_and_departs_by_the_reader_s_clock() -> None:
    engine = fresh()
    assert reads(engine, read(0), read(30), read(80)) == [(ARRIVED, "3001", 0, 0)]
    # Another tag, seen later by the same reader, shows the silence; 139.9 s do not.
    assert reads(engine, read(139.9, b"\x02")) == [(ARRIVED, "02", 139.9, 139.9)]
    assert reads(engine, read(140, b"\x02")) == [(DEPARTED, "3001", 80, 140)]
    # Its own next read does so as well.
    assert reads(engine, read(300, b"\x02")) == [(DEPARTED, "02", 140, 200), (ARRIVED, "02", 300, 300)]


def test_a_tag_departs_by_the_log_s_clock_with_the_same_event() -> None:
    engine = fresh()
    assert engine.next_wakeup_us() is None
    reads(engine, read(0), now_us=NOW_US)
    assert engine.next_wakeup_us() == NOW_US + 60 * SECOND_US
    reads(engine, read(20), now_us=NOW_US + 5 * SECOND_US)
    assert engine.next_wakeup_us() == NOW_US + 65 * SECOND_US
    assert engine.tick(NOW_US + 65 * SECOND_US - 1).events == ()
    (departed,) = engine.tick(NOW_US + 99 * SECOND_US).events
    assert told((departed,)) == [(DEPARTED, "3001", 20, 80)]
    assert (departed.cause, departed.assumed, departed.subject_version) == (Cause.TIMER, True, 0)
    assert engine.next_wakeup_us() is None
    # Without the tick the next entry of any kind does it.
    other = fresh()
    reads(other, read(0), now_us=NOW_US)
    reads(other, read(20), now_us=NOW_US + 5 * SECOND_US)
    by_reading = other.step(columns_of([Sample(1, START_US, WARMTH, 5.0)]), NOW_US + HOUR_US).events
    assert by_reading == (departed,)


def test_a_replay_at_full_speed_departs_nothing_early() -> None:
    engine = fresh()
    events = []
    for n in range(200):
        events += reads(engine, read(n * 10), now_us=NOW_US + n * 1000)
    assert events == [(ARRIVED, "3001", 0, 0)]


def test_k_reads_within_t() -> None:
    engine = fresh(EngineSettings(tag_reads=3, tag_reads_within_us=10 * SECOND_US))
    assert reads(engine, read(0), read(5), read(11), read(12)) == []
    assert reads(engine, read(21)) == [(ARRIVED, "3001", 11, 21)]


def test_readers_and_lengths_of_epcs_are_apart() -> None:
    engine = fresh()
    arrived = reads(engine, read(0, b"\x01"), read(0, b"\x00\x01"), read(0, b"\x01", device=1), read(0, bytes(16)))
    assert [(kind, epc) for kind, epc, *_ in arrived] == [
        (ARRIVED, "01"),
        (ARRIVED, "0001"),
        (ARRIVED, "01"),
        (ARRIVED, "00" * 16),
    ]


def test_verdicts_on_reads() -> None:
    engine = fresh()
    rows = [
        read(0),
        read(0),
        read(0, antenna=2),
        read(100, b"\x02"),
        read(0),
        read(40, b"\x03"),
        read(40.5, b"\x03"),
        read(99, b"\x02"),
        read(-25 * 3600),
        read(3600 + 301),
    ]
    result = engine.step(columns_of(rows), NOW_US)
    assert result.tag_verdicts.tolist() == [
        OK,
        Verdict.DUPLICATE,
        OK,
        OK,
        Verdict.DUPLICATE,
        Verdict.LATE,  # the reader's clock has passed its silence already
        OK,
        Verdict.LATE,
        Verdict.STALE,
        Verdict.FUTURE_CLOCK,
    ]
    assert told(result.events) == [
        (ARRIVED, "3001", 0, 0),
        (DEPARTED, "3001", 0, 60),
        (ARRIVED, "02", 100, 100),
        (ARRIVED, "03", 40.5, 40.5),
    ]


def test_a_read_that_is_delivered_again_after_the_departure_does_not_arrive_again() -> None:
    engine = fresh()
    reads(engine, read(0), now_us=NOW_US)
    assert told(engine.tick(NOW_US + HOUR_US).events) == [(DEPARTED, "3001", 0, 60)]
    assert reads(engine, read(0), now_us=NOW_US + HOUR_US) == []


def test_many_tags_come_go_and_are_forgotten() -> None:
    engine = fresh()
    arrived = 0
    for day in range(4):
        rows = [read(day * 2 * 86_400 + n * 0.001, n.to_bytes(4, "big") + bytes([day])) for n in range(2000)]
        now_us = NOW_US + day * 48 * HOUR_US
        events = reads(engine, *rows, now_us=now_us)
        arrived += sum(kind == ARRIVED for kind, *_ in events)
        departures = [event for event in events if event[0] == DEPARTED]
        assert len(departures) == (2000 if day else 0)
        assert departures == sorted(departures, key=lambda event: (event[3], event[1]))
    assert arrived == 8000
    # Only those of the last two days are remembered: the others are past the horizon.
    assert len(engine.snapshot()) < 2.5 * len(_snapshot_of_one_day())


def _snapshot_of_one_day() -> bytes:
    engine = fresh()
    reads(engine, *(read(n * 0.001, n.to_bytes(4, "big") + b"\0") for n in range(2000)))
    return engine.snapshot()


def test_events_say_where_the_reader_was() -> None:
    engine = fresh()
    (nowhere,) = engine.step(columns_of([read(0)]), NOW_US).events
    assert math.isnan(nowhere.latitude_deg)
    assert nowhere == nowhere._replace()
    engine.step(columns_of([Position(0, START_US, 50.0, 8.0)]), NOW_US)
    (somewhere,) = engine.step(columns_of([read(1, b"\x09")]), NOW_US).events
    assert (somewhere.latitude_deg, somewhere.longitude_deg) == (50.0, 8.0)
