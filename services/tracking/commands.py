"""What callers ask of the tracking service: edits of definitions, and questions. The tenant is always the token's.

Definitions are carried as their wire messages; there is no second class for what the log and the tables keep as bytes.
"""

from __future__ import annotations

import dataclasses

from drover.geofence.v1.fence_pb2 import Fence
from drover.tracking.v1.definition_pb2 import Proximity, Route, SensorLimit
from services.tracking.model import DefinitionKind, EventFilter


@dataclasses.dataclass(frozen=True, slots=True)
class PutFence:
    """Makes or replaces a fence. `expected_version` None: whatever is stored; 0: nothing may be."""

    tenant: str
    fence: Fence
    expected_version: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class PutLimit:
    """Makes or replaces a sensor limit. Its device may be announced later: the limit holds from then on."""

    tenant: str
    limit: SensorLimit


@dataclasses.dataclass(frozen=True, slots=True)
class PutRoute:
    """Makes or replaces a route. Its device may be announced later."""

    tenant: str
    route: Route


@dataclasses.dataclass(frozen=True, slots=True)
class PutProximity:
    """Makes or replaces a proximity. Its devices may be announced later. `expected_version` is as for fences."""

    tenant: str
    proximity: Proximity
    expected_version: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteDefinition:
    """Takes a fence, limit, route or proximity away."""

    kind: DefinitionKind
    tenant: str
    definition_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class GetFence:
    """One fence."""

    tenant: str
    fence_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class ListFences:
    """The tenant's fences by id, after the one named."""

    tenant: str
    after: str
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class GetProximity:
    """One proximity."""

    tenant: str
    proximity_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class ListProximities:
    """The tenant's proximities by id, after the one named."""

    tenant: str
    after: str
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class GetLatest:
    """Where devices are, by number, after the one numbered; all of the tenant, or those named."""

    tenant: str
    device_ids: tuple[str, ...]
    after: int
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class GetTrack:
    """Stored positions from `from_us` until before `until_us` (0: no end), after the key of a page before."""

    tenant: str
    device_id: str
    from_us: int
    until_us: int
    all_verdicts: bool
    after: tuple[int, int] | None
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class ListEvents:
    """Events, newest first, before the key of a page before."""

    filter: EventFilter
    before: tuple[int, str] | None
    limit: int


@dataclasses.dataclass(frozen=True, slots=True)
class Explain:
    """What is known of a device at a fence, and why, from `window_us` before a time until as long behind it."""

    tenant: str
    device_id: str
    fence_id: str
    at_us: int
    window_us: int


@dataclasses.dataclass(frozen=True, slots=True)
class GetEta:
    """Arrival times along a route."""

    tenant: str
    route_id: str
