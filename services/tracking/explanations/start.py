"""What is known of a device at a fence before the fixes that are folded again, and how."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from drover.tracking.v1.event_pb2 import TrackingEvent
from geofence.transitions import IN, INSIDE, OUTSIDE
from services.tracking.explanations.surroundings import Surroundings
from services.tracking.explanations.told_events import chains, is_exit, is_withdrawn
from tracking_core.events import EventKind
from tracking_core.explaining.steps import CROSSINGS, NOTHING_BEFORE, FenceEdit, Start, StoredFix
from tracking_core.explaining.trace import trace
from tracking_core.explaining.version import visit_since
from tracking_core.presence_pool import NO_VISIT, Visit
from tracking_core.settings import EngineSettings


class StartBasis(enum.IntEnum):
    """How the first state was found, with the numbers of `drover.tracking.v1.StartBasis`."""

    UNSPECIFIED = 0
    FIRST_FIX = 1
    EVENT = 2
    FIRST_STORED_FIX = 3


def _version_of(event: TrackingEvent) -> int:
    details = getattr(event, event.WhichOneof("kind") or "", None)
    return int(getattr(details, "fence_version", 0))


def start_of(
    looked: Surroundings, stand_in: list[FenceEdit], edits: Sequence[FenceEdit], engine: EngineSettings
) -> tuple[Start, StartBasis]:
    """The state before the fixes of `looked`. `edits` are those of the fence; `stand_in` is the oldest of them, where
    it has to stand in for what was before it.
    """
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
