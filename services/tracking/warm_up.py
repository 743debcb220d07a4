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
    Proximity,
    PutFence,
    PutLimit,
    PutProximity,
    PutRoute,
    Route,
    RouteStop,
    SensorLimit,
)
from tracking_core.engine import Engine
from tracking_core.explaining.steps import NOTHING_BEFORE, FenceEdit, RouteEdit, StoredFix
from tracking_core.explaining.trace import trace
from tracking_core.pairs.companions import COUNTS, CompanionFix, companion_columns
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
    """Runs every stage on engines that are thrown away: few readings and many, all shapes, edits, questions."""
    fold()
    define()


def fold() -> None:
    """Positions: few and many, in order and late, with a route to follow. By far the longest kernel."""
    engine = _engine()
    stop = RouteStop("last", 0.01, 0.01)
    engine.define(PutRoute(Route("warm", "route", 0, (stop,), _SQUARE)), _NOW_US)
    engine.step(_readings(1, 0)._replace(sensors=empty_sensors(0), tags=empty_tags(0)), _NOW_US)
    for minute in range(1, 5):
        engine.step(_readings(_LARGE, minute)._replace(sensors=empty_sensors(0), tags=empty_tags(0)), _at_us(minute))


def define() -> None:
    """All but the fold of fixes, of which it takes over half: two processes that do one of both compile it sooner."""
    _define()
    _check_samples_and_read_tags()
    _meet()
    _explain()


def _meet() -> None:
    """Two devices that come together between two fixes."""
    engine = _engine()
    engine.define(PutProximity(Proximity("warm", "both", 0, "up", 1, "down", 100.0)), _NOW_US)
    both = [
        CompanionFix(device, _at_us(minute), 0.0, 0.1 * device * (2 - minute), COUNTS)
        for minute in (0, 1, 2)
        for device in (0, 1)
    ]
    engine.accompany(companion_columns(both), _at_us(2))


def _explain() -> None:
    """Out, in, and a jump between; and through it, unseen for too long."""
    fixes = [
        StoredFix(_NOW_US + at * SECOND_US, _NOW_US + at * SECOND_US, 0.02 * (at % 2), 0.005, 10.0, verdict)
        for at, verdict in enumerate((Verdict.OK, Verdict.OK, Verdict.IMPLAUSIBLE_JUMP, Verdict.OK, Verdict.OK))
    ]
    fixes += [
        StoredFix(_at_us(minute), _at_us(minute), latitude_deg, 0.005, 10.0, Verdict.OK)
        for minute, latitude_deg in ((30, -0.02), (31, -0.02), (50, 0.03))
    ]
    stop = RouteStop("warm", 0.0, 0.0, _at_us(40), 0, "circle")
    routes = [RouteEdit(_NOW_US, Route("warm", "route", 0, (stop,)))]
    for name, shape in _SHAPES.items():
        visit = VisitRule(60 * SECOND_US, 5.0, watched=name == "corridor", cross=True)
        fence = FenceDefinition("warm", name, name, shape, visit=visit)
        trace(fixes, [FenceEdit(_NOW_US, 1, fence)], NOTHING_BEFORE, EngineSettings(), _at_us(60), routes)


def _check_samples_and_read_tags() -> None:
    """A limit made, broken and ended; tags that come and go."""
    engine = _engine()
    for version, minute in enumerate(range(1, 9, 2), start=1):
        engine.define(PutLimit(SensorLimit("warm", "limit", 0, 1, None, 8.0, version=version)), _at_us(minute))
        for later in (0, 1):
            readings = _readings(_LARGE, minute + later)
            engine.step(readings._replace(positions=empty_positions(0)), _at_us(minute + later))
    engine.define(DeleteLimit("warm", "limit", 9), _at_us(10))
    engine.tick(_at_us(60))


def _define() -> None:
    """Fences and routes made, changed, asked about and ended; time that goes on; all that a snapshot holds."""
    engine = _engine()
    for size in (1, _LARGE):
        for version in (1, 2):
            for name, shape in _SHAPES.items():
                visit = VisitRule(60 * SECOND_US, 5.0, watched=name == "corridor", cross=True)
                fence = FenceDefinition("warm", f"{name}-{size}", name, shape, version=version, visit=visit)
                engine.define(PutFence(fence), _NOW_US)
            stops = (RouteStop("first", 0.0, 0.0), RouteStop("last", 0.01, 0.01))
            engine.define(PutRoute(Route("warm", f"{size}", 0, stops, _SQUARE, version=version)), _NOW_US)
        engine.eta("warm", f"{size}", _NOW_US)
    engine.inside(0)
    engine.latest()
    engine.tick(_at_us(60))
    engine = Engine.restore(engine.snapshot(), engine.settings)
    for name in _SHAPES:
        engine.define(DeleteFence("warm", f"{name}-1", 3), _at_us(61))
    engine.define(DeleteRoute("warm", "1", 3), _at_us(61))


def _engine() -> Engine:
    engine = Engine(EngineSettings())
    engine.announce([DeviceIdentity(0, "warm", "up")])
    return engine


def _at_us(minute: int) -> int:
    return _NOW_US + minute * 60 * SECOND_US


def _readings(size: int, minute: int) -> Readings:
    """In and out of everything by turns, the second half late."""
    positions, sensors, tags = empty_positions(size), empty_sensors(size), empty_tags(size)
    out = minute % 2
    for columns in (positions, sensors, tags):
        for column in columns:
            column[:] = 1
        columns.device[:] = 0
        columns.received_at_us[:] = _at_us(minute)
        columns.observed_at_us[:] = _at_us(minute) - np.arange(size) * 1000
        columns.sequence[:] = NO_SEQUENCE
        columns.sent_at_us[:] = NO_TIME
    positions.latitude_deg[:] = 0.005 + 0.02 * out
    positions.longitude_deg[:] = 0.005
    positions.satellites[:] = 9
    positions.is_historical[:] = 0
    positions.speed_mps[::2] = np.nan
    positions.heading_deg[::2] = np.nan
    sensors.value[:] = 4.0 + 8.0 * out
    return Readings(positions, sensors, tags)
