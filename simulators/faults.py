"""What goes wrong between a device and us, by option: duplicates, reordering, late bursts, jumps, silence."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict, deque

from drover.telemetry.v1 import reading_pb2
from runtime.problems import FatalError


@dataclasses.dataclass(frozen=True, slots=True)
class FaultRates:
    """How often, as a share of messages, 0 to 1; for `silence` and `late`, how often such a spell begins."""

    duplicate: float = 0.0
    reorder: float = 0.0
    late: float = 0.0
    jump: float = 0.0
    silence: float = 0.0

    @classmethod
    def parse(cls, text: str) -> FaultRates:
        """From `duplicate=0.01,late=0.001`. Raises FatalError naming what is wrong."""
        rates: dict[str, float] = {}
        known = [field.name for field in dataclasses.fields(cls)]
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            try:
                rate = float(value)
            except ValueError:
                rate = -1.0
            if name not in known or not 0 <= rate <= 1:
                raise FatalError(
                    f"fault {part!r}: say NAME=SHARE with a share from 0 to 1; names are {', '.join(known)}"
                )
            rates[name] = rate
        return cls(**rates)


class Faults:
    """Changes the messages of a fleet on their way. Seeded: the same messages suffer the same faults."""

    def __init__(self, rates: FaultRates, rng: random.Random, *, burst: int = 20) -> None:
        self._rates = rates
        self._rng = rng
        self._burst = burst
        self._held: defaultdict[str, deque[reading_pb2.ReadingBatch]] = defaultdict(deque)
        self._silent: defaultdict[str, int] = defaultdict(int)
        self._swapped: dict[str, reading_pb2.ReadingBatch] = {}

    def pass_on(self, device_id: str, readings: reading_pb2.ReadingBatch) -> list[reading_pb2.ReadingBatch]:
        """What arrives now of a device that says this: nothing, the message, or several."""
        roll = self._rng.random
        if self._silent[device_id] > 0 or roll() < self._rates.silence:
            # The device is off: what it would have said does not exist.
            self._silent[device_id] = (self._silent[device_id] or self._burst) - 1
            return []
        if readings.positions and roll() < self._rates.jump:
            readings.positions[0].latitude_deg += self._rng.choice((-1, 1)) * self._rng.uniform(0.5, 2.0)
        held = self._held[device_id]
        if held or roll() < self._rates.late:
            # Out of coverage: kept on the device, sent as one burst afterwards.
            held.append(readings)
            if len(held) < self._burst:
                return []
            burst = list(held)
            held.clear()
            return burst
        out = [readings]
        if device_id in self._swapped:
            out.append(self._swapped.pop(device_id))
        elif roll() < self._rates.reorder:
            self._swapped[device_id] = readings
            return []
        if roll() < self._rates.duplicate:
            out.append(readings)
        return out
