"""Numbered readings: what a device sends under (device, sequence), and how to know it again in history."""

from __future__ import annotations

from typing import Final, NamedTuple

from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch

STEP_US: Final = 100_000
FIRST_US: Final = 1_700_000_000_000_000


class Key(NamedTuple):
    """Which reading."""

    device_id: str
    sequence: int


class Content(NamedTuple):
    """What it says, as far as it is compared."""

    observed_at_us: int
    latitude_deg: float
    longitude_deg: float


class Message(NamedTuple):
    """Some readings of one device, sent together."""

    device_id: str
    first: int
    size: int

    @property
    def keys(self) -> list[Key]:
        """Its readings."""
        return [Key(self.device_id, number) for number in range(self.first, self.first + self.size)]

    def encode(self) -> ReadingBatch:
        """On the wire."""
        return ReadingBatch(
            positions=[
                Position(sequence=key.sequence, satellites=9, **content(key)._asdict())
                for key in self.keys
            ]
        )  # fmt: skip


def content(key: Key) -> Content:
    """What a reading says: the device moves north, a metre every tenth of a second."""
    return Content(FIRST_US + key.sequence * STEP_US, 53.0 + key.sequence * 1e-5, 10.0 + len(key.device_id) * 1e-3)


def messages(prefix: str, devices: int, count: int, size: int) -> list[Message]:
    """`count` messages of `size` readings each, of the devices in turn."""
    return [Message(f"{prefix}-{n % devices}", n // devices * size + 1, size) for n in range(count)]
