"""What the tracking service speaks of. Nothing here does I/O."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

from runtime.problems import Conflict, Invalid, NotFound

NEVER_PUT: Final = 0
"""The version of what does not exist yet."""


class Device(NamedTuple):
    """Who a device number is, as ingest announced it."""

    number: int
    tenant: str
    device_id: str
    display_name: str


class DefinitionKind(enum.StrEnum):
    """What people define."""

    FENCE = "fence"
    LIMIT = "limit"
    ROUTE = "route"
    PROXIMITY = "proximity"


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """One definition in its present version; a deleted one keeps counting its versions.

    `body` is the serialized message (`Fence`, `SensorLimit`, `Route` or `Proximity`) with tenant and version set, empty
    when deleted. `device_id` is empty for fences, and the first of the two of a proximity.
    """

    kind: DefinitionKind
    tenant: str
    definition_id: str
    version: int
    deleted: bool
    device_id: str
    body: bytes


class FenceVersion(NamedTuple):
    """A version of a fence as it was stored; `body` is empty for a deletion."""

    version: int
    made_at_us: int
    deleted: bool
    body: bytes


class TrackPoint(NamedTuple):
    """A stored position, as received, with its verdict. None is what the device left out."""

    observed_at_us: int
    content_hash: int
    received_at_us: int
    verdict: int
    latitude_deg: float | None
    longitude_deg: float | None
    speed_mps: float | None
    heading_deg: float | None
    accuracy_m: float | None


class StoredEvent(NamedTuple):
    """A stored event; `body` is a serialized TrackingEvent."""

    observed_at_us: int
    event_id: str
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of a tenant; empty strings and zeros do not filter."""

    tenant: str
    device_id: str = ""
    kind: str = ""
    alerts_only: bool = False
    from_us: int = 0
    until_us: int = 0
    standing_only: bool = False
    """Of each event the last revision, and none that was withdrawn."""


@dataclasses.dataclass(frozen=True, slots=True)
class Accounts:
    """What became of the readings of a tenant: for each kind, read = stored + repeated.

    `counters` has `{positions,sensors,tags}_{read,stored,repeated}` and `events`; `verdicts` counts positions by
    Verdict number.
    """

    counters: Mapping[str, int]
    verdicts: Mapping[int, int]


class UnknownDevice(NotFound):
    """No device of that id was ever announced for the tenant."""

    code = "unknown_device"

    def __init__(self, device_id: str) -> None:
        super().__init__(f"no device {device_id!r} is known")
        self.device_id = device_id


class UnknownDefinition(NotFound):
    """No such fence, limit, route or proximity."""

    def __init__(self, kind: DefinitionKind, definition_id: str) -> None:
        super().__init__(f"there is no {kind.value} {definition_id!r}", code=f"unknown_{kind.value}")
        self.definition_id = definition_id


class VersionConflict(Conflict):
    """The caller edited another version than the stored one."""

    code = "version_conflict"

    def __init__(self, definition_id: str, expected: int, stored: int) -> None:
        have = f"version {stored} is stored" if stored else "it does not exist"
        super().__init__(f"{definition_id!r}: expected version {expected}, but {have}")
        self.expected = expected
        self.stored = stored


class InvalidDefinition(Invalid):
    """A fence, limit, route or proximity that cannot be obeyed; `code` says which rule it breaks."""
