"""What was told of a device and a fence, beside what its stored fixes say: an answer that a person can check.

Nothing here does I/O. `answer.py` puts it into words.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from drover.geofence.v1.fence_pb2 import Fence
from drover.tracking.v1.event_pb2 import Standing, TrackingEvent
from geofence import wire
from geofence.definition import VisitRule
from geofence.transitions import IN, INSIDE, OUTSIDE, Presence
from services.tracking.explanations.plans import plans
from services.tracking.explanations.surroundings import Surroundings
from services.tracking.model import FenceVersion
from tracking_core.events import ArrivalMissed, EventKind, FenceDwell, FenceSpeeding
from tracking_core.explaining.steps import (
    CROSSINGS,
    EXITS,
    FOLLOWED,
    NOTHING_BEFORE,
    EditStep,
    FenceEdit,
    FixStep,
    RouteEdit,
    Start,
    Step,
    StoredFix,
    TracedEvent,
)
from tracking_core.explaining.trace import trace
from tracking_core.explaining.version import visit_since
from tracking_core.presence_pool import NO_VISIT, Visit
from tracking_core.settings import MINUTE_US, EngineSettings
from tracking_core.verdicts import Verdict

PAIRED_WITHIN_US: Final = 60 * MINUTE_US
"""A told event and one of the fixes, of one kind, are taken for the same if they are not farther apart."""
TOLD_WITHIN_US: Final = MINUTE_US
"""What time alone brings about is told and stored so soon after it was due."""


class Accord(enum.IntEnum):
    """How told and found go together, with the numbers of `drover.tracking.v1.Accord`."""

    UNSPECIFIED = 0
    AGREES = 1
    DIFFERS = 2
    NOT_TOLD = 3
    NOT_FOUND = 4
    WITHDRAWN = 5
    NOT_FOLLOWED = 6


class StartBasis(enum.IntEnum):
    """How the first state was found, with the numbers of `drover.tracking.v1.StartBasis`."""

    UNSPECIFIED = 0
    FIRST_FIX = 1
    EVENT = 2
    FIRST_STORED_FIX = 3


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


class Explanation(NamedTuple):
    """The answer, without words."""

    device_id: str
    fence_id: str
    fence_name: str
    at_us: int
    from_us: int
    until_us: int
    cut: bool
    start_basis: StartBasis
    versions: list[FenceVersion]
    """That held at the first fix shown or later."""
    versions_missing: bool
    """Whether the version that held then is no longer kept, so that a later one stands in for it."""
    steps: list[Step]
    """Of the fixes shown, and of the edits between them."""
    steps_after: list[FixStep]
    """Of the fixes behind them that were looked at."""
    last_before: StoredFix | None
    """The last fix that counts before those shown."""
    events: list[ExplainedEvent]
    state_at: int
    nearest: FixStep | None
    engine: EngineSettings
    """The present settings."""
    routes: list[RouteEdit]
    """Those that stop at the fence, from when on they are followed."""
    routes_stood_in: list[RouteEdit]
    """Those of them that were put again in the time shown, as they are stored: what they were before is not kept."""

    def visit_rule(self, version: int) -> VisitRule:
        """What a version of the fence that held asks of visits."""
        for each in self.versions:
            if each.version == version and not each.deleted:
                return wire.from_proto(Fence.FromString(each.body)).visit
        return VisitRule()


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


def _version_of(event: TrackingEvent) -> int:
    details = getattr(event, event.WhichOneof("kind") or "", None)
    return int(getattr(details, "fence_version", 0))


def explain(
    device_id: str, fence_id: str, at_us: int, looked: Surroundings, engine: EngineSettings, now_us: int
) -> Explanation:
    """Folds the stored fixes again, and puts the told events beside the result."""
    edits, missing = _edits(looked)
    start, basis = _start(looked, edits[:1] if missing else [], edits, engine)
    fixes = [*looked.lead, *looked.shown, *looked.tail]
    settled = [chain[-1] for chain in chains(looked.events_before) if not is_withdrawn(chain)]
    routes = plans(looked, fence_id, settled)
    steps = trace(fixes, edits, start, engine, now_us if looked.ends else None, routes)
    shown = _between(steps, looked.from_us, looked.until_us)
    after = [step for step in steps if isinstance(step, FixStep) and step.fix.observed_at_us > looked.until_us]
    events = [
        event
        for event in beside(chains(looked.events), steps, routes)
        if (
            looked.from_us <= event.observed_at_us <= looked.until_us
            or looked.from_us <= event.confirmed_at_us <= looked.until_us
        )
        and not _may_be_told_yet(event, now_us)
    ]
    counted = [step for step in shown if isinstance(step, FixStep) and step.fix.verdict == Verdict.OK]
    measured = [step for step in counted if not math.isnan(step.distance_m)]
    before = [fix for fix in (looked.counted_before, *looked.lead) if fix is not None and fix.verdict == Verdict.OK]
    return Explanation(
        device_id,
        fence_id,
        next((Fence.FromString(each.body).name for each in reversed(looked.versions) if not each.deleted), ""),
        at_us,
        looked.from_us,
        looked.until_us,
        looked.cut,
        basis,
        _versions_in_force(looked, shown),
        missing and any(_is_stood_in_for(step, looked.versions[0]) for step in shown),
        shown,
        after,
        before[-1] if before else None,
        events,
        _state_at(steps, at_us, start.presence),
        min(measured, key=lambda step: step.distance_m) if measured else None,
        engine,
        routes,
        [edit for edit in looked.routes if edit.route.version > 1 and edit.made_at_us > looked.from_us],
    )


def _may_be_told_yet(event: ExplainedEvent, now_us: int) -> bool:
    """Whether it was due just now, so that it need not be stored."""
    return (
        event.accord is Accord.NOT_TOLD
        and event.found is not None
        and event.found.assumed
        and event.confirmed_at_us >= now_us - TOLD_WITHIN_US
    )


def _edits(looked: Surroundings) -> tuple[list[FenceEdit], bool]:
    """The edits; and whether the oldest of them has to stand in for what was before."""
    edits = [
        FenceEdit(each.made_at_us, each.version, None if each.deleted else wire.from_proto(Fence.FromString(each.body)))
        for each in looked.versions
    ]
    heard_us = min((fix.received_at_us for fix in (*looked.lead, *looked.shown, *looked.tail)), default=None)
    if not edits or edits[0].version == 1 or heard_us is None or heard_us >= edits[0].made_at_us:
        return edits, False
    return [edits[0]._replace(made_at_us=heard_us), *edits[1:]], True


def _start(
    looked: Surroundings, stand_in: list[FenceEdit], edits: Sequence[FenceEdit], engine: EngineSettings
) -> tuple[Start, StartBasis]:
    counted = looked.counted_before
    if counted is None:
        return NOTHING_BEFORE, StartBasis.FIRST_FIX
    begin_us = min((fix.observed_at_us for fix in (*looked.lead, *looked.shown)), default=looked.from_us)
    told = [
        chain[-1]
        for chain in chains(looked.events_before)
        if not is_withdrawn(chain) and chain[-1].confirmed_at_us < begin_us
    ]
    crossings = [event for event in told if event.WhichOneof("kind") in CROSSINGS]
    if crossings:
        # Of one moment: of the older version first, and an entry before the exit that an end of the fence brings.
        last = max(
            crossings, key=lambda each: (each.confirmed_at_us, _version_of(each), is_exit(each.WhichOneof("kind")))
        )
        if is_exit(last.WhichOneof("kind")):
            return Start(OUTSIDE, counted), StartBasis.EVENT
        return Start(INSIDE, counted, _visit(last.observed_at_us, told, counted, edits)), StartBasis.EVENT
    first = looked.first_counted
    assert first is not None
    then = [edit for edit in edits if edit.made_at_us <= first.received_at_us][-1:] or [
        edit._replace(made_at_us=first.received_at_us) for edit in stand_in
    ]
    presence = trace([first], then, NOTHING_BEFORE, engine)[-1].after
    visit = NO_VISIT if presence.state != IN else _visit(first.observed_at_us, told, counted, edits)
    return Start(presence, counted, visit), StartBasis.FIRST_STORED_FIX


def _visit(entered_at_us: int, told: Sequence[TrackingEvent], counted: StoredFix, edits: Sequence[FenceEdit]) -> Visit:
    """The visit that goes on with the fix before those that are looked at, by what was told of it."""
    made = [edit.fence for edit in edits if edit.fence and edit.made_at_us <= counted.received_at_us]
    fence = made[-1] if made else next((edit.fence for edit in edits if edit.fence), None)
    if fence is None:
        return NO_VISIT
    since = [event.WhichOneof("kind") for event in told if event.observed_at_us >= entered_at_us]
    limit_mps = fence.visit.speed_limit_mps
    # It is too fast until a fix is down to the limit.
    is_speeding = EventKind.GEOFENCE_SPEEDING in since and limit_mps is not None and not counted.speed_mps <= limit_mps
    return visit_since(fence, entered_at_us, has_dwelt=EventKind.GEOFENCE_DWELT in since, is_speeding=is_speeding)


def is_exit(kind: str | None) -> bool:
    """Whether an event of this kind leaves a device outside."""
    return kind in EXITS


def _between(steps: Sequence[Step], from_us: int, until_us: int) -> list[Step]:
    """The steps of the fixes of a time, with the edits among them and beside them."""
    inside = [
        at
        for at, step in enumerate(steps)
        if isinstance(step, FixStep) and from_us <= step.fix.observed_at_us <= until_us
    ]
    if not inside:
        return []
    first, last = inside[0], inside[-1]
    while first > 0 and not isinstance(steps[first - 1], FixStep):
        first -= 1
    while last + 1 < len(steps) and not isinstance(steps[last + 1], FixStep):
        last += 1
    return list(steps[first : last + 1])


def _versions_in_force(looked: Surroundings, shown: Sequence[Step]) -> list[FenceVersion]:
    used = {step.version for step in shown if isinstance(step, FixStep)}
    used |= {step.edit.version for step in shown if isinstance(step, EditStep)}
    return [each for each in looked.versions if each.version in used] or looked.versions[-1:]


def _is_stood_in_for(step: Step, oldest: FenceVersion) -> bool:
    """Whether a fix is judged here by a version that was made later."""
    return isinstance(step, FixStep) and step.version == oldest.version and step.fix.received_at_us < oldest.made_at_us


def _state_at(steps: Sequence[Step], at_us: int, state: Presence) -> int:
    presence = state
    for step in steps:
        if isinstance(step, FixStep) and step.fix.observed_at_us > at_us:
            break
        if isinstance(step, EditStep) and step.edit.made_at_us > at_us:
            break
        presence = step.after
    return presence.state


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
