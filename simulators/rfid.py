"""Readers at the gates of sites, and the tags on what vehicles carry."""

from __future__ import annotations

import random
from typing import Final

from drover.telemetry.v1 import reading_pb2

SGTIN_96_HEADER: Final = 0x30


def sgtin_96(company: int, item: int, serial: int) -> bytes:
    """The EPC of an item, company prefix of seven digits, filter 2 (case): GS1 Tag Data Standard, 14.5.1."""
    bits = SGTIN_96_HEADER << 88 | 2 << 85 | 5 << 82 | company << 58 | item << 38 | serial
    return bits.to_bytes(12, "big")


class Portal:
    """A reader with two antennas: reads what passes or stands in front of it, and misses some."""

    def __init__(self, device_id: str, rng: random.Random) -> None:
        self.device_id = device_id
        self._rng = rng

    def reads(self, tags: list[bytes], observed_at_us: int) -> list[reading_pb2.TagRead]:
        """Reads of the tags in front of it at this moment."""
        return [
            reading_pb2.TagRead(
                observed_at_us=observed_at_us + number,
                epc=epc,
                antenna=self._rng.choice((1, 2)),
                rssi_dbm=round(self._rng.gauss(-52, 5), 1),
            )
            for number, epc in enumerate(tags)
            if self._rng.random() < 0.9
        ]
