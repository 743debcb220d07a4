"""What people define and the engine obeys; the pure twins of `drover.tracking.v1.DefinitionChange`.

Versions of one id only grow, also past a deletion: a put whose version is not above the last one seen for that id
(deletions count) changes nothing, so that a log may repeat a definition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from geofence.definition import FenceDefinition
from tracking_core.columns import F64

DEFAULT_GRACE_US: Final = 15 * 60_000_000
"""So much later than planned is still in time, unless a stop says otherwise: a plan to the minute is not meant so."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who a device number is."""

    number: int
    tenant: str
    device_id: str


class InvalidDefinitionError(ValueError):
    """A limit, route or proximity that means nothing; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class SensorLimit:
    """Bounds for one quantity of one device, on every probe of it. A bound that is None does not exist."""

    tenant: str
    limit_id: str
    device: int
    quantity: int
    """A number of `drover.telemetry.v1.Quantity`."""
    minimum: float | None
    maximum: float | None
    hysteresis: float = 0.0
    """How far back inside a sample must lie to end an excursion."""
    minimum_duration_us: int = 0
    """How long samples must stay outside before an excursion opens."""
    version: int = 1

    def __post_init__(self) -> None:
        """Raises InvalidDefinitionError."""
        bounds = [bound for bound in (self.minimum, self.maximum) if bound is not None]
        if not bounds or not all(math.isfinite(bound) for bound in bounds):
            raise InvalidDefinitionError(f"limit {self.limit_id} needs a finite minimum or maximum")
        if bounds[0] > bounds[-1]:
            raise InvalidDefinitionError(f"limit {self.limit_id} has a minimum above its maximum")
        if not 0.0 <= self.hysteresis < math.inf:
            raise InvalidDefinitionError(f"limit {self.limit_id} has the hysteresis {self.hysteresis}")
        if self.minimum_duration_us < 0:
            raise InvalidDefinitionError(f"limit {self.limit_id} has a negative minimum duration")


@dataclass(frozen=True, slots=True)
class RouteStop:
    """A planned stop. With a planned arrival and a fence that is waited for: an entry of the fence until the planned
    time and the grace.
    """

    stop_id: str
    longitude_deg: float
    latitude_deg: float
    planned_arrival_us: int | None = None
    service_time_us: int = 0
    fence_id: str = ""
    arrival_grace_us: int = DEFAULT_GRACE_US


def _no_line() -> F64:
    return np.empty((0, 2), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """The way a device is expected to take, with its stops in order. Compared by identity."""

    tenant: str
    route_id: str
    device: int
    stops: tuple[RouteStop, ...]
    line: F64 = field(default_factory=_no_line)
    """float64 (n, 2), longitude and latitude; empty: straight legs between the stops."""
    expected_speed_mps: float = 13.9
    version: int = 1

    def __post_init__(self) -> None:
        """Raises InvalidDefinitionError."""
        if not self.stops:
            raise InvalidDefinitionError(f"route {self.route_id} has no stop")
        places = np.array([(stop.longitude_deg, stop.latitude_deg) for stop in self.stops], np.float64)
        if self.line.ndim != 2 or self.line.shape[1] != 2 or len(self.line) == 1:
            raise InvalidDefinitionError(f"the line of route {self.route_id} has the shape {self.line.shape}")
        for points in (places, self.line):
            if not ((np.abs(points[:, 0]) <= 180.0).all() and (np.abs(points[:, 1]) <= 90.0).all()):
                raise InvalidDefinitionError(f"route {self.route_id} has a coordinate out of range")
        if not 0.0 < self.expected_speed_mps < math.inf:
            raise InvalidDefinitionError(f"route {self.route_id} expects the speed {self.expected_speed_mps}")
        if any(stop.service_time_us < 0 for stop in self.stops):
            raise InvalidDefinitionError(f"route {self.route_id} has a negative service time")
        if any(stop.arrival_grace_us < 0 for stop in self.stops):
            raise InvalidDefinitionError(f"route {self.route_id} has a negative grace")


@dataclass(frozen=True, slots=True)
class Proximity:
    """Two devices whose meetings are told of (docs/proximity.md). Events are about the first, and name the other."""

    tenant: str
    proximity_id: str
    device: int
    device_id: str
    other_device: int
    other_device_id: str
    distance_m: float
    """They are together at most this far apart ..."""
    margin_m: float = 10.0
    """... and apart when they are farther apart by more than this."""
    max_age_us: int = 300_000_000
    """How long after a fix a device that has sent no other is taken to be where it was."""
    minimum_duration_us: int = 0
    """How long they must be together before it is told."""
    near_fixes: int = 1
    """So many fixes in a row, of either, confirm a meeting."""
    apart_fixes: int = 2
    """So many confirm a parting."""
    name: str = ""
    version: int = 1

    def __post_init__(self) -> None:
        """Raises InvalidDefinitionError."""
        if self.device == self.other_device:
            raise InvalidDefinitionError(f"proximity {self.proximity_id} is of one device")
        if not 0.0 < self.distance_m < math.inf or not 0.0 <= self.margin_m < math.inf:
            raise InvalidDefinitionError(
                f"proximity {self.proximity_id} has the distance {self.distance_m} and the margin {self.margin_m}"
            )
        if self.max_age_us <= 0 or self.minimum_duration_us < 0:
            raise InvalidDefinitionError(f"proximity {self.proximity_id} has a duration that is none")
        if self.near_fixes < 1 or self.apart_fixes < 1:
            raise InvalidDefinitionError(f"proximity {self.proximity_id} is confirmed by no fix")


@dataclass(frozen=True, slots=True)
class PutFence:
    """A fence made or changed; its version stands in the definition."""

    fence: FenceDefinition


@dataclass(frozen=True, slots=True)
class DeleteFence:
    """A fence ended. Whoever is inside leaves it, with cause definition."""

    tenant: str
    fence_id: str
    version: int


@dataclass(frozen=True, slots=True)
class PutLimit:
    """A sensor limit made or changed."""

    limit: SensorLimit


@dataclass(frozen=True, slots=True)
class DeleteLimit:
    """A sensor limit ended. Open excursions close, with cause definition."""

    tenant: str
    limit_id: str
    version: int


@dataclass(frozen=True, slots=True)
class PutRoute:
    """A route made or changed."""

    route: Route


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """A route ended."""

    tenant: str
    route_id: str
    version: int


@dataclass(frozen=True, slots=True)
class PutProximity:
    """A proximity made or changed; an engine with neither of its devices passes over it."""

    proximity: Proximity


@dataclass(frozen=True, slots=True)
class DeleteProximity:
    """A proximity ended. Devices that are together part, with cause definition."""

    tenant: str
    proximity_id: str
    version: int


Definition: TypeAlias = (
    PutFence | DeleteFence | PutLimit | DeleteLimit | PutRoute | DeleteRoute | PutProximity | DeleteProximity
)
