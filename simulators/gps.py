"""What a receiver makes of the truth: noise that wanders, and the accuracy it believes in."""

from __future__ import annotations

import math
import random
from typing import Final

from drover.telemetry.v1 import reading_pb2
from simulators.roads import EARTH_RADIUS_M
from simulators.vehicle import Truth

# First-order Gauss-Markov: the error of a receiver is correlated over about a minute.
CORRELATION_S: Final = 60.0


class Receiver:
    """One GPS receiver with its own wandering error of `sigma_m` metres in each direction."""

    def __init__(self, rng: random.Random, sigma_m: float = 2.5) -> None:
        self._rng = rng
        self._sigma_m = sigma_m
        self._east_m = rng.gauss(0, sigma_m)
        self._north_m = rng.gauss(0, sigma_m)
        self._sequence = 0

    def fix(self, truth: Truth, observed_at_us: int, seconds: float) -> reading_pb2.Position:
        """The fix at this moment, `seconds` after the last."""
        keep = math.exp(-seconds / CORRELATION_S)
        fresh = self._sigma_m * math.sqrt(1 - keep * keep)
        self._east_m = keep * self._east_m + self._rng.gauss(0, fresh)
        self._north_m = keep * self._north_m + self._rng.gauss(0, fresh)
        metres = math.radians(1) * EARTH_RADIUS_M
        self._sequence += 1
        return reading_pb2.Position(
            observed_at_us=observed_at_us,
            latitude_deg=truth.latitude_deg + self._north_m / metres,
            longitude_deg=truth.longitude_deg + self._east_m / (metres * math.cos(math.radians(truth.latitude_deg))),
            speed_mps=max(0.0, truth.speed_mps + self._rng.gauss(0, 0.15)),
            heading_deg=(truth.heading_deg + self._rng.gauss(0, 2.0)) % 360,
            accuracy_m=max(1.0, self._rng.gauss(1.5 * self._sigma_m, 0.5)),
            satellites=self._rng.randint(7, 14),
            sequence=self._sequence,
        )
