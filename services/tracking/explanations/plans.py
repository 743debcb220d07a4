"""The routes of a device that stop at a fence, and which of their arrivals were decided before the fixes looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from drover.tracking.v1.event_pb2 import TrackingEvent
from services.tracking.explanations.surroundings import Surroundings
from tracking_core.events import EventKind
from tracking_core.explaining.steps import RouteEdit
from tracking_core.settings import HOUR_US

_MISSED: Final = EventKind.MISSED_ARRIVAL.value
_ENTRIES: Final = (EventKind.GEOFENCE_ENTERED.value, EventKind.CORRIDOR_RETURNED.value)
_WAITED_BEFORE_US: Final = 24 * HOUR_US
"""For so long a version that is no longer kept is taken to have waited for the same."""


def plans(looked: Surroundings, fence_id: str, before: Sequence[TrackingEvent]) -> list[RouteEdit]:
    """The routes, as they held; `before` is what stands of what was told before the fixes. Only the present version of
    a route is kept: it stands in for those before it.
    """
    heard_us = min((fix.received_at_us for fix in (*looked.lead, *looked.shown, *looked.tail)), default=None)
    made = []
    for edit in looked.routes:
        since_us = edit.made_at_us
        if edit.route.version > 1:
            since_us -= _WAITED_BEFORE_US
        begun_us = since_us if heard_us is None else min(edit.made_at_us, heard_us)
        at_us = begun_us if edit.route.version > 1 else edit.made_at_us
        made.append(edit._replace(made_at_us=at_us, settled=_settled(edit, fence_id, since_us, before)))
    return made


def _settled(edit: RouteEdit, fence_id: str, since_us: int, before: Sequence[TrackingEvent]) -> tuple[str, ...]:
    """The stops at which it came, or was told to have missed to come: each entry is the arrival of one."""
    route = edit.route
    missed = {
        event.missed_arrival.stop_id
        for event in before
        if event.WhichOneof("kind") == _MISSED and event.missed_arrival.route_id == route.route_id
    }
    entries = sorted(
        event.observed_at_us
        for event in before
        if event.WhichOneof("kind") in _ENTRIES and event.observed_at_us > since_us
    )
    settled = []
    stops = [stop for stop in route.stops if stop.fence_id == fence_id]
    for stop in stops:
        if stop.stop_id in missed:
            settled.append(stop.stop_id)
            continue
        planned_us = stop.planned_arrival_us
        if entries and (planned_us is None or entries[0] <= planned_us + stop.arrival_grace_us):
            entries.pop(0)
            settled.append(stop.stop_id)
    return tuple(settled)
