"""How long a connection may be idle, and silent."""

from __future__ import annotations

import pytest

from runtime.grpc_streams.liveness import Limits, Liveness, Verdict

LIMITS = Limits(idle_s=100.0, ping_after_s=300.0, ping_timeout_s=20.0)


@pytest.fixture
def connection() -> Liveness:
    return Liveness(LIMITS, 0.0)


def test_idle_counts_from_the_last_call(connection: Liveness) -> None:
    assert connection.judge(99.9, has_calls=False) is Verdict.KEEP
    assert connection.judge(100.0, has_calls=False) is Verdict.IDLE
    connection.hear(150.0, is_use=True)  # a call that came and went between two looks
    assert connection.judge(249.9, has_calls=False) is Verdict.KEEP
    assert connection.judge(260.0, has_calls=True) is Verdict.KEEP
    assert connection.judge(359.9, has_calls=False) is Verdict.KEEP
    assert connection.judge(360.0, has_calls=False) is Verdict.IDLE


def test_noise_is_no_use(connection: Liveness) -> None:
    connection.hear(99.0, is_use=False)
    assert connection.judge(100.0, has_calls=False) is Verdict.IDLE


def test_a_silent_peer_is_pinged_once_and_has_its_time_to_answer(connection: Liveness) -> None:
    assert connection.judge(299.9, has_calls=True) is Verdict.KEEP
    assert connection.judge(300.0, has_calls=True) is Verdict.PING
    assert connection.judge(319.9, has_calls=True) is Verdict.KEEP
    assert connection.judge(320.0, has_calls=True) is Verdict.DEAD


def test_any_byte_is_an_answer(connection: Liveness) -> None:
    assert connection.judge(300.0, has_calls=True) is Verdict.PING
    connection.hear(319.0, is_use=False)
    assert connection.judge(618.9, has_calls=True) is Verdict.KEEP
    assert connection.judge(619.0, has_calls=True) is Verdict.PING
