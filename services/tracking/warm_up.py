"""Compiles what the engine is made of before the first reading comes, which would otherwise wait for numba."""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.definition import CircleShape, CorridorShape, FenceDefinition, MultiPolygonShape, Shape, VisitRule
from tracking_core.columns import (
    NO_SEQUENCE,
    NO_TIME,
    Readings,
    empty_positions,
    empty_sensors,
    empty_tags,
)
from tracking_core.definitions import (
    DeleteFence,
    DeleteLimit,
    DeleteRoute,
    DeviceIdentity,
    PutFence,
    PutLimit,
    PutRoute,
    Route,
    RouteStop,
    SensorLimit,
)
from tracking_core.engine import Engine
from tracking_core.explaining import NOTHING_BEFORE, FenceEdit, StoredFix, trace
from tracking_core.fix_quality import quality_rules
from tracking_core.settings import SECOND_US, EngineSettings
from tracking_core.verdicts import Verdict

_NOW_US: Final = 1_700_000_000_000_000
_LARGE: Final = 4_096
"""As many readings as a full block: look-ups take another way for many points than for few."""

_SQUARE: Final = np.array([[0.0, 0.0], [0.01, 0.0], [0.01, 0.01], [0.0, 0.01]])
_SHAPES: Final[dict[str, Shape]] = {
    "circle": CircleShape(0.005, 0.005, 500.0),
    "polygon": MultiPolygonShape(((_SQUARE,),)),
    "corridor": CorridorShape(_SQUARE[:2], 100.0),
}


def warm_up() -> None:
    """Runs every stage on an engine that is thrown away: few readings and many, all shapes, edits, questions."""
    engine = Engine(EngineSettings())
    engine.announce([DeviceIdentity(0, "warm", "up")])
    second = 0
    for size in (1, _LARGE):
        for version in (1, 2):
            for name, shape in _SHAPES.items():
                visit = VisitRule(60 * SECOND_US, 5.0, watched=name == "corridor", cross=True)
                fence = FenceDefinition("warm", f"{name}-{size}", name, shape, version=version, visit=visit)
                engine.define(PutFence(fence), _NOW_US + second * SECOND_US)
            limit = SensorLimit("warm", f"{size}", 0, 1, None, 8.0, version=version)
            engine.define(PutLimit(limit), _NOW_US + second * SECOND_US)
            stops = (RouteStop("first", 0.0, 0.0), RouteStop("last", 0.01, 0.01))
            route = Route("warm", f"{size}", 0, stops, _SQUARE, version=version)
            engine.define(PutRoute(route), _NOW_US + second * SECOND_US)
            for _ in range(4):
                second += 60
                engine.step(_readings(size, second), _NOW_US + second * SECOND_US)
            engine.eta("warm", f"{size}", _NOW_US + second * SECOND_US)
            engine.inside(0)
    engine.latest()
    engine.tick(_NOW_US + (second + 600) * SECOND_US)
    engine = Engine.restore(engine.snapshot(), engine.settings)
    for name in _SHAPES:
        engine.define(DeleteFence("warm", f"{name}-1", 3), _NOW_US + (second + 601) * SECOND_US)
    engine.define(DeleteLimit("warm", "1", 3), _NOW_US + (second + 601) * SECOND_US)
    engine.define(DeleteRoute("warm", "1", 3), _NOW_US + (second + 601) * SECOND_US)
    for name, shape in _SHAPES.items():
        _explain(FenceDefinition("warm", name, name, shape))


def _explain(fence: FenceDefinition) -> None:
    """Out, in, and a jump between."""
    fixes = [
        StoredFix(_NOW_US + at * SECOND_US, _NOW_US + at * SECOND_US, 0.02 * (at % 2), 0.005, 10.0, verdict)
        for at, verdict in enumerate((Verdict.OK, Verdict.OK, Verdict.IMPLAUSIBLE_JUMP, Verdict.OK, Verdict.OK))
    ]
    trace(fixes, [FenceEdit(_NOW_US, 1, fence)], NOTHING_BEFORE, quality_rules(EngineSettings()))


def _readings(size: int, second: int) -> Readings:
    """In and out of everything by turns, the second half late."""
    positions, sensors, tags = empty_positions(size), empty_sensors(size), empty_tags(size)
    out = second // 60 % 2
    for columns in (positions, sensors, tags):
        for column in columns:
            column[:] = 1
        columns.device[:] = 0
        columns.received_at_us[:] = _NOW_US + second * SECOND_US
        columns.observed_at_us[:] = _NOW_US + second * SECOND_US - np.arange(size) * 1000
        columns.sequence[:] = NO_SEQUENCE
        columns.sent_at_us[:] = NO_TIME
    positions.latitude_deg[:] = 0.005 + 0.02 * out
    positions.longitude_deg[:] = 0.005
    positions.satellites[:] = 9
    positions.speed_mps[::2] = np.nan
    positions.heading_deg[::2] = np.nan
    sensors.value[:] = 4.0 + 8.0 * out
    return Readings(positions, sensors, tags)
