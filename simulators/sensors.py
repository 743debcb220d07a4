"""What rides along: temperature of a cold box with a door, and a battery."""

from __future__ import annotations

import math
import random
from typing import Final

from drover.telemetry.v1 import reading_pb2

SETPOINT_CELSIUS: Final = 4.0
AMBIENT_CELSIUS: Final = 22.0


class ColdBox:
    """Cools towards its setpoint; warms while the door is open, as at stops; now and then the cooling fails."""

    def __init__(self, rng: random.Random, failures_per_hour: float = 0.5) -> None:
        self._rng = rng
        self._failures_per_hour = failures_per_hour
        self._celsius = SETPOINT_CELSIUS + rng.gauss(0, 0.3)
        self._broken_s = 0.0
        self._battery = rng.uniform(0.6, 1.0)

    def samples(self, observed_at_us: int, seconds: float, *, door_open: bool) -> list[reading_pb2.SensorSample]:
        """All samples of this moment, `seconds` after the last."""
        if self._broken_s > 0:
            self._broken_s -= seconds
        elif self._rng.random() < self._failures_per_hour * seconds / 3600:
            self._broken_s = self._rng.uniform(60, 300)
        towards, minutes = (AMBIENT_CELSIUS, 4.0) if door_open or self._broken_s > 0 else (SETPOINT_CELSIUS, 2.0)
        self._celsius += (towards - self._celsius) * (1 - math.exp(-seconds / (60 * minutes)))
        self._battery = max(0.05, self._battery - seconds / (3600 * 80))
        values = (
            (reading_pb2.QUANTITY_TEMPERATURE_CELSIUS, round(self._celsius + self._rng.gauss(0, 0.05), 2)),
            (reading_pb2.QUANTITY_DOOR_OPEN, float(door_open)),
            (reading_pb2.QUANTITY_BATTERY_RATIO, round(self._battery, 3)),
        )
        return [
            reading_pb2.SensorSample(observed_at_us=observed_at_us, quantity=quantity, value=value)
            for quantity, value in values
        ]
