"""Traffic: how much of the free speed is left, by place and time of day."""

from __future__ import annotations

import math
import random
from collections.abc import Callable


class Traffic:
    """Rush hours at 8 and 17 by UTC, and crossings that are always busier than others."""

    def __init__(self, crossings: int, rng: random.Random) -> None:
        self._busy = [rng.uniform(0.0, 1.0) ** 3 for _ in range(crossings)]

    def at(self, seconds_of_day: float) -> Callable[[int], float]:
        """The share of the free speed, 0.25 to 1, as a function of the crossing."""
        hour = seconds_of_day / 3600
        rush = max(math.exp(-((hour - peak) ** 2) / 3.0) for peak in (8.0, 17.0))
        return lambda crossing: max(0.25, 1.0 - (0.25 + 0.5 * rush) * self._busy[crossing])
