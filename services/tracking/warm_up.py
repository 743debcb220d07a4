"""Compiles what the engine is made of before the first reading comes, which would otherwise wait for numba."""

from __future__ import annotations

from geofence.definition import CircleShape, FenceDefinition
from tracking_core.columns import (
    NO_SEQUENCE,
    NO_TIME,
    PositionColumns,
    Readings,
    SensorColumns,
    TagColumns,
    empty_positions,
    empty_sensors,
    empty_tags,
)
from tracking_core.definitions import DeviceIdentity, PutFence, PutLimit, SensorLimit
from tracking_core.engine import Engine
from tracking_core.settings import EngineSettings

_NOW_US = 1_700_000_000_000_000


def warm_up() -> None:
    """Runs every stage once on an engine that is thrown away."""
    engine = Engine(EngineSettings())
    engine.announce([DeviceIdentity(0, "warm", "up")])
    engine.define(PutFence(FenceDefinition("warm", "up", "up", CircleShape(0.0, 0.0, 100.0))), _NOW_US)
    engine.define(PutLimit(SensorLimit("warm", "up", 0, 1, None, 8.0)), _NOW_US)
    for second in range(3):
        engine.step(_readings(_NOW_US + second * 1_000_000), _NOW_US + second * 1_000_000)
    engine.tick(_NOW_US + 600_000_000)
    engine.latest()


def _readings(now_us: int) -> Readings:
    positions = empty_positions(1)
    sensors = empty_sensors(1)
    tags = empty_tags(1)
    for columns in (positions, sensors, tags):
        for column in columns:
            column[:] = 1
        columns.device[:] = 0
        columns.received_at_us[:] = now_us
        columns.observed_at_us[:] = now_us
        columns.sequence[:] = NO_SEQUENCE
        columns.sent_at_us[:] = NO_TIME
    positions.satellites[:] = 9
    return Readings(PositionColumns(*positions), SensorColumns(*sensors), TagColumns(*tags))
