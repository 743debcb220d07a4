"""What was told of a device and a fence, with all its revisions, beside what its stored fixes say."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from drover.tracking.v1.event_pb2 import Standing, TrackingEvent
from tracking_core.events import ArrivalMissed, FenceDwell, FenceSpeeding
from tracking_core.explaining.steps import EXITS, FOLLOWED, RouteEdit, Step, TracedEvent
from tracking_core.settings import MINUTE_US

PAIRED_WITHIN_US: Final = 60 * MINUTE_US
"""A told event and one of the fixes, of one kind, are taken for the same if they are not farther apart."""


class Accord(enum.IntEnum):
    """How told and found go together, with the numbers of `drover.tracking.v1.Accord`."""

    UNSPECIFIED = 0
    AGREES = 1
    DIFFERS = 2
    NOT_TOLD = 3
    NOT_FOUND = 4
    WITHDRAWN = 5
    NOT_FOLLOWED = 6


class ExplainedEvent(NamedTuple):
    """`revisions`: what was told, oldest first; `found`: what the fixes say, and the step that brought it."""

    kind: str
    accord: Accord
    revisions: list[TrackingEvent]
    found: TracedEvent | None
    step: Step | None

    @property
    def observed_at_us(self) -> int:
        """As told last, else as found."""
        if self.revisions:
            return self.revisions[-1].observed_at_us
        assert self.found is not None
        return self.found.observed_at_us

    @property
    def confirmed_at_us(self) -> int:
        """As told last, else as found."""
        if self.revisions:
            return self.revisions[-1].confirmed_at_us
        assert self.found is not None
        return self.found.confirmed_at_us

    @property
    def is_restated(self) -> bool:
        """Whether it is an entry that an opening time window restates."""
        if self.revisions:
            return is_restated(self.revisions[-1])
        return self.found is not None and self.found.is_restated

    @property
    def entered_at_us(self) -> int:
        """Of a dwell, since when."""
        if self.revisions:
            return self.revisions[-1].geofence_dwelt.entered_at_us
        assert self.found is not None
        assert isinstance(self.found.details, FenceDwell)
        return self.found.details.entered_at_us

    @property
    def arrival(self) -> tuple[str, str, int]:
        """Of a missed arrival, the route, the stop, and when it was planned."""
        if self.revisions:
            told = self.revisions[-1].missed_arrival
            return told.route_id, told.stop_id, told.planned_arrival_us
        assert self.found is not None
        assert isinstance(self.found.details, ArrivalMissed)
        return self.found.subject_id, self.found.details.stop_id, self.found.details.planned_arrival_us

    @property
    def speeds_mps(self) -> tuple[float, float]:
        """Of speeding, the speed and the limit."""
        if self.revisions:
            told = self.revisions[-1].geofence_speeding
            return told.speed_mps, told.limit_mps
        assert self.found is not None
        assert isinstance(self.found.details, FenceSpeeding)
        return self.found.details.speed_mps, self.found.details.limit_mps


def chains(revisions: Iterable[TrackingEvent]) -> list[list[TrackingEvent]]:
    """Events with all their revisions, oldest first."""
    found: dict[str, list[TrackingEvent]] = {}
    for event in revisions:
        found.setdefault(event.amends_event_id or event.event_id, []).append(event)
    return [sorted(chain, key=lambda event: event.revision) for chain in found.values()]


def is_withdrawn(chain: Sequence[TrackingEvent]) -> bool:
    """Whether it did not happen after all."""
    return chain[-1].standing == Standing.STANDING_WITHDRAWN


def is_restated(event: TrackingEvent) -> bool:
    """Whether an opening time window brought it about, rather than a crossing."""
    return event.geofence_entered.restated or event.corridor_returned.restated


def is_exit(kind: str | None) -> bool:
    """Whether an event of this kind leaves a device outside."""
    return kind in EXITS


def _arrival_of(event: TrackingEvent | TracedEvent) -> tuple[str, str]:
    """The route and the stop of a missed arrival; nothing of another event."""
    if isinstance(event, TracedEvent):
        return event.subject_id, event.details.stop_id if isinstance(event.details, ArrivalMissed) else ""
    return event.missed_arrival.route_id, event.missed_arrival.stop_id


def beside(
    told: Sequence[list[TrackingEvent]], steps: Sequence[Step], routes: Sequence[RouteEdit] = ()
) -> list[ExplainedEvent]:
    """Told events and found ones in pairs, in the order of time: the same first, then the nearest of a kind."""
    waited_for = {("", ""), *((each.route.route_id, stop.stop_id) for each in routes for stop in each.route.stops)}
    found = [(event, step) for step in steps for event in step.events]
    result: list[ExplainedEvent] = []
    standing: list[list[TrackingEvent]] = []
    for chain in told:
        kind = chain[-1].WhichOneof("kind") or ""
        if _arrival_of(chain[-1]) not in waited_for:
            # Of a route that is gone, or a stop that it had.
            result.append(ExplainedEvent(kind, Accord.NOT_FOLLOWED, chain, None, None))
        elif is_withdrawn(chain) and kind in FOLLOWED:
            result.append(ExplainedEvent(kind, Accord.WITHDRAWN, chain, None, None))
        elif kind in FOLLOWED:
            standing.append(chain)
        else:
            result.append(ExplainedEvent(kind, Accord.NOT_FOLLOWED, chain, None, None))
    pairs = sorted(
        (abs(chain[-1].observed_at_us - event.observed_at_us) + abs(chain[-1].confirmed_at_us - event.confirmed_at_us),
         left, right)
        for left, chain in enumerate(standing)
        for right, (event, _) in enumerate(found)
        if chain[-1].WhichOneof("kind") == event.kind.value
        and is_restated(chain[-1]) == event.is_restated
        and _arrival_of(chain[-1]) == _arrival_of(event)
        and abs(chain[-1].observed_at_us - event.observed_at_us) <= PAIRED_WITHIN_US
    )  # fmt: skip
    done_told: set[int] = set()
    done_found: set[int] = set()
    for apart_us, left, right in pairs:
        if left in done_told or right in done_found:
            continue
        done_told.add(left)
        done_found.add(right)
        event, step = found[right]
        accord = Accord.AGREES if apart_us == 0 else Accord.DIFFERS
        result.append(ExplainedEvent(event.kind.value, accord, standing[left], event, step))
    for left, chain in enumerate(standing):
        if left not in done_told:
            result.append(ExplainedEvent(chain[-1].WhichOneof("kind") or "", Accord.NOT_FOUND, chain, None, None))
    for right, (event, step) in enumerate(found):
        if right not in done_found:
            result.append(ExplainedEvent(event.kind.value, Accord.NOT_TOLD, [], event, step))
    return sorted(result, key=lambda each: (each.observed_at_us, each.confirmed_at_us, not is_exit(each.kind)))
