"""What is stored of a device and a fence round a time: all that an explanation may rest on."""

from __future__ import annotations

from typing import Final, NamedTuple

from drover.tracking.v1.event_pb2 import TrackingEvent
from services.tracking.model import FenceVersion
from tracking_core.events import EventKind
from tracking_core.explaining.steps import RouteEdit, StoredFix

OF_THE_SIGNAL: Final = (EventKind.SIGNAL_LOST.value, EventKind.SIGNAL_RESTORED.value)
"""Kinds that say whether anything is heard of a device."""
NOT_OF_FENCES: Final = tuple(
    kind.value
    for kind in (
        EventKind.EXCURSION_OPENED,
        EventKind.EXCURSION_CLOSED,
        EventKind.TAG_ARRIVED,
        EventKind.TAG_DEPARTED,
    )
)
"""A limit may have the id of a fence."""


class Surroundings(NamedTuple):
    """What is stored. Fixes are in the order of time; of an event there are all revisions, in no order."""

    versions: list[FenceVersion]
    from_us: int
    until_us: int
    cut: bool
    """Whether there are more fixes in the window than `shown` has."""
    counted_before: StoredFix | None
    """The last that counts before all of these."""
    first_counted: StoredFix | None
    """The first of the device that counts."""
    lead: list[StoredFix]
    shown: list[StoredFix]
    tail: list[StoredFix]
    ends: bool
    """Whether no fix is newer than these."""
    events: list[TrackingEvent]
    """Of the fence, observed or confirmed in the time of these fixes."""
    events_before: list[TrackingEvent]
    """The last before it: entries and exits, and what was told of visits and of arrivals there."""
    routes: list[RouteEdit]
    """Those of the device that stop there, in their present versions."""
