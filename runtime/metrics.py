"""Prometheus metrics, named `drover_<room>_<what>_<unit>`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

__all__ = ["LATENCY_BUCKETS_S", "LATENESS_BUCKETS_S", "Counter", "Gauge", "Histogram"]

LATENCY_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""For what should take milliseconds."""

LATENESS_BUCKETS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0)
"""For how old data are when they come."""
