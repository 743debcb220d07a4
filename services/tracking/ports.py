"""What the handlers need of the world. Real ones are wired in `__main__.py`; tests bring fakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from services.tracking.directory import Directory
from services.tracking.explanations.surroundings import Surroundings
from services.tracking.model import (
    Accounts,
    Definition,
    DefinitionKind,
    Device,
    EventFilter,
    StoredEvent,
    TrackPoint,
)
from tracking_core.routes.eta import RouteEta
from tracking_core.settings import EngineSettings
from tracking_core.step_result import LatestColumns


class DefinitionEditor(Protocol):
    """Stores and publishes edits: `definitions.DefinitionBook`."""

    async def edit(
        self,
        kind: DefinitionKind,
        tenant: str,
        definition_id: str,
        change: Callable[[Definition], Definition | None],
        now_us: int,
    ) -> Definition:
        """Replaces the present version by what `change` makes of it."""


class DefinitionReader(Protocol):
    """Looks definitions up: `definition_repository.DefinitionRepository`."""

    async def get(self, kind: DefinitionKind, tenant: str, definition_id: str) -> Definition | None:
        """The present version."""

    async def list(self, kind: DefinitionKind, tenant: str, *, after: str, limit: int) -> list[Definition]:
        """By id."""


class HistoryReader(Protocol):
    """Looks history up: `repository.HistoryRepository`."""

    async def track(
        self,
        device_number: int,
        from_us: int,
        until_us: int,
        *,
        all_verdicts: bool,
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[TrackPoint]:
        """Positions by time."""

    async def events(self, wanted: EventFilter, *, before: tuple[int, str] | None, limit: int) -> list[StoredEvent]:
        """Events, newest first."""

    async def accounts(self, tenant: str) -> Accounts:
        """The accounts."""


class ExplanationReader(Protocol):
    """Looks up what explains: `explanations.repository.ExplanationRepository`."""

    async def look(self, device: Device, fence_id: str, at_us: int, window_us: int) -> Surroundings:
        """All that is stored round a time."""


class LiveState(Protocol):
    """Asks the engines: `fold.Fold`."""

    async def latest(self, numbers: Sequence[int]) -> list[tuple[LatestColumns, list[list[str]]]]:
        """For each partition concerned, the newest counted fixes and the fences each is inside of."""

    async def eta(self, tenant: str, route_id: str, device_number: int, now_us: int) -> RouteEta | None:
        """Arrival times, from the engine of the device's partition."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How large definitions may be."""

    fence_vertices: int
    route_vertices: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ports:
    """All of them. `engine` is what the engines are told; `now_us` is the clock of the process."""

    editor: DefinitionEditor
    definitions: DefinitionReader
    history: HistoryReader
    explanations: ExplanationReader
    engine: EngineSettings
    live: LiveState
    directory: Directory
    limits: Limits
    now_us: Callable[[], int]
