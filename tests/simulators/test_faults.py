from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from drover.telemetry.v1 import reading_pb2
from runtime.problems import FatalError
from simulators.faults import FaultRates, Faults


def passed(rates: FaultRates, seed: int = 1, count: int = 4_000) -> list[tuple[int, float]]:
    """Sequence and latitude of what arrives of one device's messages."""
    faults = Faults(rates, random.Random(seed))
    out = []
    for number in range(count):
        batch = reading_pb2.ReadingBatch(positions=[reading_pb2.Position(sequence=number, latitude_deg=10.0)])
        out += [(one.positions[0].sequence, one.positions[0].latitude_deg) for one in faults.pass_on("a", batch)]
    return out


def test_without_faults_nothing_changes() -> None:
    assert passed(FaultRates()) == [(number, 10.0) for number in range(4_000)]


def test_the_same_seed_gives_the_same_faults() -> None:
    rates = FaultRates(duplicate=0.1, reorder=0.1, late=0.01, jump=0.05, silence=0.001)
    assert passed(rates) == passed(rates)
    assert passed(rates) != passed(rates, seed=2)


def test_duplicates_repeat_and_lose_nothing() -> None:
    seen = Counter(number for number, _ in passed(FaultRates(duplicate=0.1)))
    assert set(seen) == set(range(4_000))
    assert 200 < sum(seen.values()) - 4_000 < 700


def test_reordering_and_late_bursts_keep_all_but_what_is_still_held() -> None:
    for rates in (FaultRates(reorder=0.1), FaultRates(late=0.02)):
        order = [number for number, _ in passed(rates)]
        assert len(set(order)) == len(order)
        assert len(order) > 3_970
        if rates.reorder:
            assert order != sorted(order)


def test_jumps_are_far() -> None:
    jumps = [latitude for _, latitude in passed(FaultRates(jump=0.05)) if latitude != 10.0]
    assert 100 < len(jumps) < 300
    assert all(0.5 <= abs(latitude - 10.0) <= 2.0 for latitude in jumps)


def test_silence_is_a_gap() -> None:
    order = [number for number, _ in passed(FaultRates(silence=0.002))]
    gaps = [b - a for a, b in itertools.pairwise(order) if b - a > 1]
    assert gaps
    assert all(gap >= 20 for gap in gaps)


@pytest.mark.parametrize("text", ["duplicates=0.1", "late", "jump=2", "jump=-1", "jump=x"])
def test_a_wrong_fault_is_one_clear_line(text: str) -> None:
    with pytest.raises(FatalError, match="names are duplicate"):
        FaultRates.parse(text)


def test_faults_are_read_from_text() -> None:
    assert FaultRates.parse("duplicate=0.01, late=0.5") == FaultRates(duplicate=0.01, late=0.5)
    assert FaultRates.parse("") == FaultRates()
