"""Fixes sent as history: stored, folded where they belong, and never the newest."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tests.tracking_core.readings import MINUTE_US, NAN, SECOND_US, START_US, Position, columns_of
from tracking_core import block
from tracking_core.definitions import DeviceIdentity
from tracking_core.engine import Engine, StepResult
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

NOW_US = START_US + 10 * MINUTE_US


def at(seconds: int, latitude_deg: float = 1.0, *, history: bool = False, accuracy_m: float = NAN) -> Position:
    at_us = START_US + seconds * SECOND_US
    return Position(0, at_us, latitude_deg, 1.0, accuracy_m=accuracy_m, is_historical=history)


def engine(**changed: object) -> Engine:
    made = Engine(EngineSettings(**changed))  # type: ignore[arg-type]
    made.announce([DeviceIdentity(0, "acme", "truck")])
    return made


def step(to: Engine, *fixes: Position) -> StepResult:
    return to.step(columns_of(fixes), NOW_US)


def newest_us(of: Engine) -> list[int]:
    return of.latest().observed_at_us.tolist()


def test_history_never_becomes_the_live_position() -> None:
    truck = engine()
    first = step(truck, at(0, history=True))
    assert first.position_verdicts.tolist() == [Verdict.HISTORICAL]
    assert len(first.live.device) == 0
    assert newest_us(truck) == []
    assert step(truck, at(10)).position_verdicts.tolist() == [Verdict.OK]
    later = step(truck, at(60, 1.01, history=True))
    assert later.position_verdicts.tolist() == [Verdict.HISTORICAL]
    assert len(later.live.device) == 0
    assert newest_us(truck) == [START_US + 10 * SECOND_US]


def test_it_counts_once_something_newer_that_is_none_has_come() -> None:
    truck = engine()
    step(truck, at(0), at(20, 1.001, history=True), at(40, 1.002, history=True))
    result = step(truck, at(60, 1.003))
    assert result.position_verdicts.tolist() == [Verdict.OK]
    changes = result.verdict_changes
    assert changes.observed_at_us.tolist() == [START_US + 20 * SECOND_US, START_US + 40 * SECOND_US]
    assert set(changes.before.tolist()) == {Verdict.HISTORICAL}
    assert set(changes.after.tolist()) == {Verdict.OK}
    assert newest_us(truck) == [START_US + 60 * SECOND_US]


def test_it_is_late_data_where_it_is_older_than_what_is_known() -> None:
    truck = engine()
    result = step(truck, at(0), at(60, 1.003), at(30, 1.001, history=True))
    assert result.position_verdicts.tolist() == [Verdict.OK] * 3
    assert newest_us(truck) == [START_US + 60 * SECOND_US]


def test_of_one_time_only_one_waits() -> None:
    """The first by content, whichever comes first: so those of one place too are told apart where they are stored."""
    two = [at(20, 1.001, history=True), at(20, 1.001, history=True, accuracy_m=30.0)]
    ends = []
    for order in (two, two[::-1]):
        truck = engine()
        step(truck, at(0))
        first, second = (step(truck, fix) for fix in order)
        assert first.position_verdicts.tolist() == [Verdict.HISTORICAL]
        changed = list(zip(second.verdict_changes.before.tolist(), second.verdict_changes.after.tolist(), strict=True))
        verdicts = [Verdict.HISTORICAL, Verdict(int(second.position_verdicts[0]))]
        if changed:
            assert changed == [(Verdict.HISTORICAL, Verdict.CONFLICTING)]
            verdicts[0] = Verdict.CONFLICTING
        ends.append(dict(zip([fix.accuracy_m == 30.0 for fix in order], verdicts, strict=True)))
        last = step(truck, at(60, 1.003)).verdict_changes
        assert (last.before.tolist(), last.after.tolist()) == ([Verdict.HISTORICAL], [Verdict.OK])
    assert ends[0] == ends[1]
    assert sorted(ends[0].values()) == [Verdict.CONFLICTING, Verdict.HISTORICAL]


def test_what_is_late_does_not_wake_what_waits() -> None:
    truck = engine()
    waiting = [at(60, 1.003, history=True), at(60, 1.003, history=True, accuracy_m=30.0)]
    step(truck, at(0), at(40, 1.002), *waiting)
    assert len(step(truck, at(20, 1.001)).verdict_changes.after) == 0
    assert newest_us(truck) == [START_US + 40 * SECOND_US]


def test_sent_live_too_it_is_a_repetition_that_counts() -> None:
    for fixes in ([at(20, history=True), at(20)], [at(20), at(20, history=True)]):
        truck = engine()
        step(truck, at(0))
        first, second = (step(truck, fix) for fix in fixes)
        assert second.position_verdicts.tolist() == [Verdict.DUPLICATE]
        assert newest_us(truck) == [START_US + 20 * SECOND_US]
        assert sum(len(result.live.device) for result in (first, second)) == 1


def test_what_waits_outlives_a_restart() -> None:
    truck = engine()
    step(truck, at(0), at(20, 1.001, history=True))
    truck = Engine.restore(truck.snapshot(), truck.settings)
    assert step(truck, at(60, 1.003)).verdict_changes.after.tolist() == [Verdict.OK]


def test_an_engine_that_repairs_nothing_stores_it() -> None:
    truck = engine(repairs_late=False)
    step(truck, at(0), at(20, 1.001, history=True))
    assert len(step(truck, at(60, 1.003)).verdict_changes.after) == 0
    assert newest_us(truck) == [START_US + 60 * SECOND_US]


def test_a_block_of_an_older_version_has_no_history() -> None:
    """A log may hold blocks from before an update: without the column, under the older name."""
    readings = columns_of([at(0), at(1)])
    new = block.pack(readings)
    size = 2 * sum(np.dtype(code).itemsize for code in block.POSITION_DTYPES[:-1])
    assert size % 8 == 0
    body = new[24 : 24 + size]
    old = struct.pack("<4sIIII4x", b"DRB1", 2, 0, 0, zlib.crc32(body)) + body
    found = block.unpack(old)
    assert found.positions.is_historical.tolist() == [0, 0]
    assert found.positions.latitude_deg.tolist() == [1.0, 1.0]
    assert found.positions.sent_at_us.tolist() == readings.positions.sent_at_us.tolist()
