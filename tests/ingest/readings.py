"""Readings on the wire, for tests."""

from __future__ import annotations

from typing import Any

from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch, SensorSample, TagRead
from tests.ingest.rig import NOW_US

EPC = bytes.fromhex("3074257BF7194E4000001A85")


def position(observed_at_us: int = NOW_US, **fields: Any) -> Position:
    return Position(**({"observed_at_us": observed_at_us, "latitude_deg": 53.5, "longitude_deg": 10.0} | fields))


def sensor(observed_at_us: int = NOW_US, **fields: Any) -> SensorSample:
    return SensorSample(**({"observed_at_us": observed_at_us, "quantity": 1, "value": 4.5} | fields))


def tag(observed_at_us: int = NOW_US, **fields: Any) -> TagRead:
    return TagRead(**({"observed_at_us": observed_at_us, "epc": EPC} | fields))


def batch(*readings: Position | SensorSample | TagRead) -> ReadingBatch:
    return ReadingBatch(
        positions=[each for each in readings if isinstance(each, Position)],
        sensors=[each for each in readings if isinstance(each, SensorSample)],
        tags=[each for each in readings if isinstance(each, TagRead)],
    )
