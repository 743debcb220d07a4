"""Readings as plain rows, for tests: written by hand or by hypothesis, and made into columns here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from tracking_core.columns import (
    NO_SATELLITES,
    NO_SEQUENCE,
    NO_TIME,
    Readings,
    empty_positions,
    empty_sensors,
    empty_tags,
)

NAN = math.nan
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
START_US = 1_700_000_002_370_000
"""Tuesday 2023-11-14, 22:13:22.37 UTC. Of the steps of five seconds that tests take none meets a full minute, at which
time windows open: a crossing interpolated there may be a microsecond off the oracle's.
"""


@dataclasses.dataclass(frozen=True)
class Position:
    device: int
    observed_at_us: int
    latitude_deg: float
    longitude_deg: float
    altitude_m: float = NAN
    speed_mps: float = NAN
    heading_deg: float = NAN
    accuracy_m: float = NAN
    satellites: int = NO_SATELLITES
    sequence: int = NO_SEQUENCE
    sent_at_us: int = NO_TIME
    received_at_us: int = START_US
    is_historical: bool = False


@dataclasses.dataclass(frozen=True)
class Sample:
    device: int
    observed_at_us: int
    quantity: int
    value: float
    probe: int = 0
    sequence: int = NO_SEQUENCE
    sent_at_us: int = NO_TIME
    received_at_us: int = START_US


@dataclasses.dataclass(frozen=True)
class TagRead:
    device: int
    observed_at_us: int
    epc: bytes
    antenna: int = 1
    rssi_dbm: float = NAN
    sequence: int = NO_SEQUENCE
    sent_at_us: int = NO_TIME
    received_at_us: int = START_US

    @property
    def epc_high(self) -> int:
        return int.from_bytes(self.epc, "big") >> 64

    @property
    def epc_low(self) -> int:
        return int.from_bytes(self.epc, "big") & (2**64 - 1)

    @property
    def epc_length(self) -> int:
        return len(self.epc)


Reading = Position | Sample | TagRead


def columns_of(rows: Iterable[Reading]) -> Readings:
    """The rows as a batch; each kind in the order of the rows."""
    rows = list(rows)
    return Readings(
        _filled(empty_positions, [row for row in rows if isinstance(row, Position)]),
        _filled(empty_sensors, [row for row in rows if isinstance(row, Sample)]),
        _filled(empty_tags, [row for row in rows if isinstance(row, TagRead)]),
    )


def _filled(make: Any, rows: Sequence[Reading]) -> Any:
    columns = make(len(rows))
    for name, column in zip(columns._fields, columns, strict=True):
        for at, row in enumerate(rows):
            column[at] = getattr(row, name)
    return columns


def rows_of(readings: Readings) -> list[Reading]:
    """The readings of a batch as rows: positions, then samples, then tag reads."""
    positions = [Position(**_fields(readings.positions, at)) for at in range(len(readings.positions.device))]
    samples = [Sample(**_fields(readings.sensors, at)) for at in range(len(readings.sensors.device))]
    reads: list[TagRead] = []
    for at in range(len(readings.tags.device)):
        fields = _fields(readings.tags, at)
        whole = fields.pop("epc_high") << 64 | fields.pop("epc_low")
        reads.append(TagRead(epc=whole.to_bytes(16, "big")[16 - fields.pop("epc_length") :], **fields))
    return [*positions, *samples, *reads]


def _fields(columns: Any, at: int) -> dict[str, Any]:
    return {name: column[at].item() for name, column in zip(columns._fields, columns, strict=True)}
