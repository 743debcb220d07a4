"""The judge of the fault tests can find somebody guilty, and a seed always draws the same."""

from __future__ import annotations

from typing import get_args

from tests.chaos.faults import BrokerDeath
from tests.chaos.readings import Key, content, messages
from tests.chaos.schedule import POINTS, Dies, Fault, draw
from tests.chaos.verdict import SAVE_S, Acknowledged, Verdict, judge

FIRST, SECOND, THIRD = (Key("d-0", number) for number in (1, 2, 3))
SENT = {FIRST, SECOND, THIRD}


def _judge(
    *stored: Key, by_log: tuple[Key, ...] = (), by_broker: tuple[Key, ...] = (), death: BrokerDeath | None = None
) -> Verdict:
    acknowledged = [Acknowledged(key, None) for key in by_log] + [Acknowledged(key, 100.0) for key in by_broker]
    rows = [(key, content(key)) for key in stored]
    return judge(rows, SENT, acknowledged, [] if death is None else [death], dead_letters=0)


def test_what_was_acknowledged_must_be_stored() -> None:
    assert _judge(FIRST, by_log=(FIRST,), by_broker=(FIRST,)).is_sound
    assert _judge(FIRST, by_log=(FIRST, SECOND), by_broker=(THIRD,)).lost == (SECOND, THIRD)


def test_a_broker_may_lose_only_what_it_had_not_saved() -> None:
    died = BrokerDeath(saved_at_s=99.5, back_at_s=101.0)
    verdict = _judge(by_broker=(FIRST,), death=died)
    assert verdict.is_sound
    assert verdict.forgiven == 1
    saved_after = BrokerDeath(saved_at_s=100.1 + SAVE_S, back_at_s=102.0)
    assert _judge(by_broker=(FIRST,), death=saved_after).lost == (FIRST,)
    died_before = BrokerDeath(saved_at_s=98.0, back_at_s=99.0)
    assert _judge(by_broker=(FIRST,), death=died_before).lost == (FIRST,)
    assert _judge(by_log=(FIRST,), death=died).lost == (FIRST,), "no broker's death excuses the log"


def test_nothing_is_stored_twice_or_unsent_or_altered() -> None:
    assert _judge(FIRST, FIRST).doubled == (FIRST,)
    assert _judge(Key("d-0", 4)).never_sent == (Key("d-0", 4),)
    altered = judge([(FIRST, content(SECOND))], SENT, [], [], dead_letters=0)
    assert altered.altered == (FIRST,)
    assert not altered.is_sound
    assert "d-0" in str(altered)
    assert not judge([], SENT, [], [], dead_letters=1).is_sound


def test_a_seed_draws_the_same_schedule_every_time() -> None:
    assert [draw(seed) for seed in range(20)] == [draw(seed) for seed in range(20)]
    assert draw(1).faults != draw(2).faults


def test_a_hundred_seeds_draw_every_fault_on_every_victim() -> None:
    drawn = [fault for seed in range(1, 101) for fault in draw(seed).faults]
    assert {type(fault) for fault in drawn} == set(get_args(Fault))
    named = {(type(fault).__name__, getattr(fault, "victim", getattr(fault, "link", ""))) for fault in drawn}
    for victim in ("ingest", "tracking", "redis", "broker", "mariadb"):
        assert {("Killed", victim), ("Stopped", victim)} <= named
    assert {fault.point for fault in drawn if isinstance(fault, Dies)} == set(POINTS)


def test_messages_number_the_readings_of_each_device_from_one() -> None:
    keys = [key for message in messages("d", 2, 5, 3) for key in message.keys]
    assert len(keys) == len(set(keys)) == 15
    assert sorted(key.sequence for key in keys if key.device_id == "d-0") == list(range(1, 10))
