"""What a simulated or replayed device speaks through."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Protocol

from drover.telemetry.v1 import reading_pb2


@dataclasses.dataclass(slots=True)
class Receipts:
    """What became of what was sent."""

    sent: int = 0
    """Readings handed over, repetitions after a broken connection not counted."""
    acknowledged: int = 0
    """Readings that the other side has taken responsibility for: the broker over MQTT, the durable log over gRPC."""
    resent: int = 0
    rejected: Counter[str] = dataclasses.field(default_factory=Counter)
    """Readings refused, by reason; only gRPC says so."""


class Sender(Protocol):
    """Sends readings in order, keeps a bounded window of unacknowledged ones, and repeats those after a break."""

    receipts: Receipts

    async def send(self, device_id: str, readings: reading_pb2.ReadingBatch) -> None:
        """Hands over the readings of one device; waits while the window is full."""

    async def flush(self) -> None:
        """Sends what was held back to fill a batch."""

    async def drain(self) -> None:
        """Returns when everything sent is acknowledged."""


def count(readings: reading_pb2.ReadingBatch) -> int:
    """How many readings there are."""
    return len(readings.positions) + len(readings.sensors) + len(readings.tags)
