"""A server's clock that steps: ahead, and back, when the log's time stands still until the clock has caught up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking_core.readings import HOUR_US, MINUTE_US, SECOND_US, START_US, Position
from tests.tracking_core.test_late_data import WIDE, Told, assert_alike, drawn_fences, drives, in_order

STEPS_US = (SECOND_US, MINUTE_US, 20 * MINUTE_US, 3 * HOUR_US)


def fold(told: Told, fixes: list[Position], steps_us: list[int]) -> Told:
    """Each fix as it is measured, with ticks between, by a clock that is ahead by so much with each."""
    told.now_us = START_US
    for fix, ahead_us in zip(fixes, steps_us, strict=True):
        # The log's time never runs back: it waits.
        told.now_us = max(told.now_us, fix.observed_at_us + SECOND_US + ahead_us)
        told.wait(0).take([fix])
    return told


@pytest.mark.compiled
@settings(max_examples=100, deadline=None)
@given(drives(20), drawn_fences, st.randoms(use_true_random=False))
def test_the_same_events_stand_in_the_end(fixes: list[Position], drawn: list, choose: random.Random) -> None:
    arriving = sorted(fixes, key=in_order)
    ahead_us = 0
    steps_us = []
    for _ in arriving:
        if choose.random() < 0.2:
            ahead_us = choose.choice((0, *STEPS_US))
        steps_us.append(ahead_us)
    stepped = fold(Told(WIDE, drawn), arriving, steps_us)
    steady = fold(Told(WIDE, drawn), arriving, [0] * len(arriving))
    # By its lag the one knows only of three hours before: at neither time, nor between, may a window open.
    stepped.now_us = steady.now_us = START_US + 12 * HOUR_US
    assert_alike(stepped, steady)
