"""A fence as a person defines it: a shape on the ground, and the rule by which evidence becomes an event.

Coordinates are WGS 84 degrees, x is longitude. Edges are straight in longitude and latitude (RFC 7946, section 3.1.1).
The boundary belongs to the fence.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import NewType

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
FenceId = NewType("FenceId", str)

# A float64 array (n, 2) of longitude and latitude. A ring's last vertex may repeat the first or be left out.
Ring = F64


@dataclasses.dataclass(frozen=True, eq=False)
class MultiPolygonShape:
    """The union of polygons; each is an outer ring, then its holes. Rings may run either way round."""

    polygons: tuple[tuple[Ring, ...], ...]


@dataclasses.dataclass(frozen=True)
class CircleShape:
    """All points within `radius_m` of the centre, measured on the ellipsoid."""

    longitude_deg: float
    latitude_deg: float
    radius_m: float


@dataclasses.dataclass(frozen=True, eq=False)
class CorridorShape:
    """All points within `half_width_m` of the line (float64 (n, 2)), measured on the ellipsoid."""

    line: F64
    half_width_m: float


Shape = MultiPolygonShape | CircleShape | CorridorShape


@dataclasses.dataclass(frozen=True)
class CrossingRule:
    """When evidence becomes an event (docs/geofences.md).

    `enter_fixes` and `exit_fixes` consecutive fixes confirm; so does a further fix once the pending state has lasted
    `confirm_after_us`. A fix speaks for an exit when it lies more than `exit_margin_m` plus its accuracy, the latter at
    most `accuracy_cap_m`, outside.
    """

    enter_fixes: int = 1
    exit_fixes: int = 2
    confirm_after_us: int | None = None
    exit_margin_m: float = 0.0
    accuracy_cap_m: float = 50.0


@dataclasses.dataclass(frozen=True)
class VisitRule:
    """What is told of a visit beside its entry and its exit (docs/geofences.md).

    `dwell_us` after the entry it is told that the device dwells; None: never. Faster than `speed_limit_mps` by more
    than `speed_tolerance_mps` is speeding; None: no limit. A `watched` corridor is left and returned to, rather than
    exited and entered. `cross` tells of whoever passed through between two fixes outside.
    """

    dwell_us: int | None = None
    speed_limit_mps: float | None = None
    speed_tolerance_mps: float = 0.0
    watched: bool = False
    cross: bool = False


@dataclasses.dataclass(frozen=True)
class WeeklyWindow:
    """A time of the day on some days of the week: `days` as ISO has them, Monday 1 to Sunday 7; minutes after midnight
    on the clock of the place. Up to or before `from_minute` it ends on the day after the one on which it begins.
    """

    days: tuple[int, ...]
    from_minute: int
    to_minute: int


@dataclasses.dataclass(frozen=True)
class ActiveTimes:
    """When a fence tells of anything (docs/geofences.md): in any of the windows, all the time without one, from the
    first day to the last, both whole; all by the clock on the walls of `time_zone`, a name that IANA has.
    """

    time_zone: str = ""
    windows: tuple[WeeklyWindow, ...] = ()
    first_day: dt.date | None = None
    last_day: dt.date | None = None

    @property
    def are_limited(self) -> bool:
        """Whether there may be a time outside them."""
        return bool(self.windows) or self.first_day is not None or self.last_day is not None


ALWAYS = ActiveTimes()


@dataclasses.dataclass(frozen=True, eq=False)
class FenceDefinition:
    """One fence of one tenant. `version` counts its edits from 1."""

    tenant: str
    fence_id: str
    name: str
    shape: Shape
    crossing: CrossingRule = CrossingRule()
    version: int = 1
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    visit: VisitRule = VisitRule()
    active: ActiveTimes = ALWAYS


def same_shape(first: Shape, second: Shape) -> bool:
    """Whether two shapes have the same vertices and measures, bit for bit."""
    if isinstance(first, CircleShape) or isinstance(second, CircleShape):
        return first == second
    if isinstance(first, CorridorShape):
        return (
            isinstance(second, CorridorShape)
            and first.half_width_m == second.half_width_m
            and np.array_equal(first.line, second.line)
        )
    return (
        isinstance(second, MultiPolygonShape)
        and len(first.polygons) == len(second.polygons)
        and all(
            len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
            for ours, theirs in zip(first.polygons, second.polygons, strict=True)
        )
    )
