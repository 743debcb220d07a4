"""Prometheus metrics, named `drover_<room>_<what>_<unit>`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily

__all__ = ["LATENCY_BUCKETS_S", "LATENESS_BUCKETS_S", "BulkHistogram", "Counter", "Gauge", "Histogram"]

LATENCY_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""For what should take milliseconds."""

LATENESS_BUCKETS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0)
"""For how old data are when they come."""


class BulkHistogram:
    """A histogram of many values at a time: the client library's own takes them one by one.

    `buckets` are the upper bounds, ascending, without infinity; a value equal to a bound is below it. NaN is passed
    over. Not for several threads.
    """

    def __init__(
        self, name: str, documentation: str, buckets: Sequence[float], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._name: Final = name
        self._documentation: Final = documentation
        self._bounds: Final = np.array(buckets, np.float64)
        self._counts: Final = np.zeros(len(buckets) + 1, np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: npt.NDArray[np.floating[Any]]) -> None:
        """Counts every value."""
        known = values[~np.isnan(values)]
        self._counts[:] += np.bincount(np.searchsorted(self._bounds, known), minlength=len(self._counts))
        self._sum += float(known.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What Prometheus asks for: cumulative counts."""
        totals = np.cumsum(self._counts).tolist()
        bounds = [*(str(bound) for bound in self._bounds.tolist()), "+Inf"]
        yield HistogramMetricFamily(
            self._name, self._documentation, buckets=list(zip(bounds, totals, strict=True)), sum_value=self._sum
        )
