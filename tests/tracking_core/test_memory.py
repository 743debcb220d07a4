"""Rings of remembered readings against plain lists; content hashes; event ids."""

from __future__ import annotations

import bisect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking_core import memory
from tracking_core.content_hash import SEED, mix, mix_integer, mix_number
from tracking_core.telling.event_id import event_id

readings = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=60)


@settings(deadline=None)
@given(readings, st.integers(1, 5))
def test_a_ring_in_order_of_time_is_a_sorted_list(pairs, capacity) -> None:
    ring = memory.empty_memory(3, capacity)
    kept: list[tuple[int, int]] = []
    for at_us, content in pairs:
        same_time = [known for time, known in kept if time == at_us]
        expected = memory.SAME if content in same_time else memory.CONTRADICTING if same_time else memory.NEW
        assert memory.recall(ring, 1, capacity, at_us, np.uint64(content)) == expected
        before_all = len(kept) == capacity and at_us < kept[0][0]
        assert memory.is_before_all(ring, 1, capacity, at_us) == before_all
        memory.remember(ring, 1, capacity, at_us, np.uint64(content))
        if not before_all:
            kept.insert(bisect.bisect_right([time for time, _ in kept], at_us), (at_us, content))
            kept = kept[-capacity:]
        assert unrolled(ring, capacity) == kept
        if kept:
            assert memory.newest_us(ring, 1, capacity) == kept[-1][0]
    assert ring.length.tolist() == [0, len(kept), 0]


@settings(deadline=None)
@given(readings, st.integers(1, 5))
def test_a_ring_in_order_of_arrival_is_the_end_of_a_list(pairs, capacity) -> None:
    ring = memory.empty_memory(3, capacity)
    for end, (at_us, content) in enumerate(pairs):
        seen = (at_us, content) in pairs[max(0, end - capacity) : end]
        assert memory.recall_unordered(ring, 1, capacity, at_us, np.uint64(content)) == seen
        memory.remember_last(ring, 1, capacity, at_us, np.uint64(content))
    assert unrolled(ring, capacity) == pairs[-capacity:]


def unrolled(ring: memory.Memory, capacity: int) -> list[tuple[int, int]]:
    times_us, contents = np.zeros(capacity, np.int64), np.zeros(capacity, np.uint64)
    count = memory.unroll(ring, np.array([0, 1]), capacity, times_us, contents)
    return list(zip(times_us[:count].tolist(), contents[:count].tolist(), strict=True))


def test_a_ring_rolled_into_a_smaller_one_keeps_the_newest() -> None:
    ring = memory.empty_memory(1, 2)
    memory.roll(ring, np.array([4], np.int32), 2, np.arange(4), np.arange(4, dtype=np.uint64))
    times_us, contents = np.zeros(4, np.int64), np.zeros(4, np.uint64)
    assert memory.unroll(ring, np.array([0]), 2, times_us, contents) == 2
    assert times_us[:2].tolist() == [2, 3]


def test_more_memory_keeps_what_was_remembered() -> None:
    ring = memory.empty_memory(2, 2)
    memory.remember(ring, 1, 2, 7, np.uint64(9))
    grown = memory.more_memory(ring, 5, 2)
    assert memory.recall(grown, 1, 2, 7, np.uint64(9)) == memory.SAME
    assert memory.recall(grown, 4, 2, 7, np.uint64(9)) == memory.NEW


def test_contents_that_mean_the_same_have_the_same_hash() -> None:
    other_nan = np.array([0x7FF8000000000123], np.uint64).view(np.float64)[0]
    assert math.isnan(other_nan)
    assert mix_number(SEED, other_nan) == mix_number(SEED, math.nan)
    assert mix_number(SEED, -0.0) == mix_number(SEED, 0.0)


@pytest.mark.compiled
def test_hashes_of_near_contents_differ() -> None:
    """A million words that differ in few bits, and the same in another order: no two alike."""
    base = np.arange(1000)
    hashes = {int(mix_integer(np.uint64(mix_integer(SEED, a)), b)) for a in base.tolist() for b in base.tolist()}
    assert len(hashes) == 1_000_000
    single_bits = {int(mix(SEED, np.uint64(1 << bit))) for bit in range(64)}
    assert len(single_bits) == 64


def test_event_ids_depend_on_everything() -> None:
    arguments = ("tenant", "device", "geofence_entered", "fence@1", 1_700_000_000_000_000, 0)
    known = event_id(*arguments)
    # Pinned: an id must never change from one version of Drover to the next.
    assert known == "d8a948d3587c6d8d6da48cc43bfdcf7e"
    others = {
        event_id(*arguments[:at], other, *arguments[at + 1 :])
        for at, other in enumerate(["tenan", "t", "geofence_exited", "fence@2", -1, 1])
    }
    assert len(others | {known}) == 7
    assert event_id("ab", "c", "k", "s", 0, 0) != event_id("a", "bc", "k", "s", 0, 0)
