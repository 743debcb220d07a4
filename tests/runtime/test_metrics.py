"""Histograms of many values at a time, against the client library's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from runtime.metrics import BulkHistogram

_BOUNDS = (0.5, 1.0, 10.0)


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 0.75, 1.0, 9.0, 10.0, 11.0, -1.0]))))
def test_it_says_what_the_one_by_one_histogram_says(batches: list[list[float]]) -> None:
    mine, theirs = CollectorRegistry(), CollectorRegistry()
    bulk = BulkHistogram("age_seconds", "Age.", _BOUNDS, mine)
    single = Histogram("age_seconds", "Age.", buckets=_BOUNDS, registry=theirs)
    for batch in batches:
        bulk.observe(np.array(batch, np.float64))
        for value in batch:
            single.observe(value)
    expected = [line for line in generate_latest(theirs).splitlines() if b"_created" not in line]
    assert generate_latest(mine).splitlines() == expected


def test_nan_is_passed_over() -> None:
    registry = CollectorRegistry()
    bulk = BulkHistogram("age_seconds", "Age.", _BOUNDS, registry)
    bulk.observe(np.array([np.nan, 0.1]))
    assert registry.get_sample_value("age_seconds_count") == 1
    assert registry.get_sample_value("age_seconds_sum") == 0.1
