"""Core events to the wire: `TrackingEvent`, and what an event means to people.

Severity, the first rules: crossing a fence, in, out and through, is INFO, and so is a dwell; a sensor that leaves its
limits, a signal that is lost, and a corridor that is left are a WARNING, their return INFO; so are speeding and a
missed arrival; a tag
that comes or goes is NONE, for a busy portal sees thousands, and what matters of them is the shipment service's to
say; so are stops and trips, the day's work; the meeting and the parting of two devices that somebody watches is INFO.
An event above NONE is an alert.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from drover.tracking.v1.event_pb2 import (
    CorridorLeft,
    CorridorReturned,
    DevicesMet,
    DevicesParted,
    ExcursionClosed,
    ExcursionOpened,
    GeofenceCrossed,
    GeofenceDwelt,
    GeofenceEntered,
    GeofenceExited,
    GeofenceSpeeding,
    MissedArrival,
    Severity,
    SignalLost,
    SignalRestored,
    StopBegan,
    StopEnded,
    TagArrived,
    TagDeparted,
    TrackingEvent,
    TripEnded,
    TripStarted,
)
from tracking_core.events import (
    ArrivalMissed,
    CoreEvent,
    EventKind,
    ExcursionClosing,
    ExcursionOpening,
    FenceCrossing,
    FenceDwell,
    FencePassage,
    FenceSpeeding,
    Meeting,
    Parting,
    SignalChange,
    StopBeginning,
    StopEnding,
    TagPresence,
    TripEnd,
    TripStart,
)

SEVERITY_OF: Final[dict[EventKind, Severity.ValueType]] = {
    EventKind.GEOFENCE_ENTERED: Severity.SEVERITY_INFO,
    EventKind.GEOFENCE_EXITED: Severity.SEVERITY_INFO,
    EventKind.EXCURSION_OPENED: Severity.SEVERITY_WARNING,
    EventKind.EXCURSION_CLOSED: Severity.SEVERITY_INFO,
    EventKind.TAG_ARRIVED: Severity.SEVERITY_NONE,
    EventKind.TAG_DEPARTED: Severity.SEVERITY_NONE,
    EventKind.SIGNAL_LOST: Severity.SEVERITY_WARNING,
    EventKind.SIGNAL_RESTORED: Severity.SEVERITY_INFO,
    EventKind.GEOFENCE_DWELT: Severity.SEVERITY_INFO,
    EventKind.GEOFENCE_SPEEDING: Severity.SEVERITY_WARNING,
    EventKind.CORRIDOR_LEFT: Severity.SEVERITY_WARNING,
    EventKind.CORRIDOR_RETURNED: Severity.SEVERITY_INFO,
    EventKind.GEOFENCE_CROSSED: Severity.SEVERITY_INFO,
    EventKind.MISSED_ARRIVAL: Severity.SEVERITY_WARNING,
    EventKind.STOP_BEGAN: Severity.SEVERITY_NONE,
    EventKind.STOP_ENDED: Severity.SEVERITY_NONE,
    EventKind.TRIP_STARTED: Severity.SEVERITY_NONE,
    EventKind.TRIP_ENDED: Severity.SEVERITY_NONE,
    EventKind.DEVICES_MET: Severity.SEVERITY_INFO,
    EventKind.DEVICES_PARTED: Severity.SEVERITY_INFO,
}


_CROSSINGS: Final = {
    EventKind.GEOFENCE_ENTERED: GeofenceEntered,
    EventKind.GEOFENCE_EXITED: GeofenceExited,
    EventKind.CORRIDOR_LEFT: CorridorLeft,
    EventKind.CORRIDOR_RETURNED: CorridorReturned,
}


class PublishedEvent(NamedTuple):
    """An event ready for its sinks."""

    core: CoreEvent
    event_id: str
    body: bytes
    """A serialized TrackingEvent."""


EVENT_COLUMNS: Final = (
    "event_id", "tenant", "device_id", "device_number", "kind", "subject_id", "severity", "cause", "revision",
    "amends_event_id", "standing", "assumed", "observed_at_us", "confirmed_at_us", "latitude_deg", "longitude_deg",
    "body",
)  # fmt: skip


def published(core: CoreEvent) -> PublishedEvent:
    """The event with its name and bytes."""
    event = to_proto(core)
    # Deterministic: equal logs give equal bytes, in the stream and in SQL.
    return PublishedEvent(core, event.event_id, event.SerializeToString(deterministic=True))


def to_proto(core: CoreEvent) -> TrackingEvent:
    """The wire message of an event."""
    located = not (math.isnan(core.latitude_deg) or math.isnan(core.longitude_deg))
    event = TrackingEvent(
        event_id=core.event_id,
        tenant=core.tenant,
        device_id=core.device_id,
        device_number=core.device,
        observed_at_us=core.observed_at_us,
        confirmed_at_us=core.confirmed_at_us,
        cause=core.cause.value,  # type: ignore[arg-type]  # the same numbers, held together by a test
        revision=core.revision,
        assumed=core.assumed,
        severity=SEVERITY_OF[core.kind],
        latitude_deg=core.latitude_deg if located else None,
        longitude_deg=core.longitude_deg if located else None,
        standing=core.standing.value,  # type: ignore[arg-type]
        amends_event_id=core.amends_event_id,
        told_at_us=core.told_at_us,
    )
    getattr(event, core.kind.value).CopyFrom(_details(core))
    return event


def _details(core: CoreEvent) -> Any:
    details = core.details
    match details:
        case FenceCrossing():
            message = _CROSSINGS[core.kind](
                fence_id=core.subject_id, fence_version=core.subject_version, fence_name=details.fence_name
            )
            if details.restated:
                message.restated = True
            return message
        case FenceDwell():
            return GeofenceDwelt(
                fence_id=core.subject_id,
                fence_version=core.subject_version,
                fence_name=details.fence_name,
                entered_at_us=details.entered_at_us,
            )
        case FencePassage():
            return GeofenceCrossed(
                fence_id=core.subject_id,
                fence_version=core.subject_version,
                fence_name=details.fence_name,
                left_at_us=details.left_at_us,
                direction=details.direction.value,  # type: ignore[arg-type]
            )
        case FenceSpeeding():
            return GeofenceSpeeding(
                fence_id=core.subject_id,
                fence_version=core.subject_version,
                fence_name=details.fence_name,
                speed_mps=details.speed_mps,
                limit_mps=details.limit_mps,
            )
        case ExcursionOpening():
            return ExcursionOpened(
                limit_id=core.subject_id,
                quantity=details.quantity,  # type: ignore[arg-type]
                probe=details.probe,
                value=details.value,
                bound=details.bound,
            )
        case ExcursionClosing():
            return ExcursionClosed(
                limit_id=core.subject_id,
                quantity=details.quantity,  # type: ignore[arg-type]
                probe=details.probe,
                value=details.value,
                worst_value=details.worst_value,
                opened_at_us=details.opened_at_us,
            )
        case TagPresence():
            tag = TagArrived if core.kind is EventKind.TAG_ARRIVED else TagDeparted
            return tag(epc=details.epc, antenna=details.antenna)
        case SignalChange():
            signal = SignalLost if core.kind is EventKind.SIGNAL_LOST else SignalRestored
            return signal(last_fix_at_us=details.last_fix_at_us)
        case ArrivalMissed():
            return MissedArrival(
                route_id=core.subject_id,
                route_version=core.subject_version,
                stop_id=details.stop_id,
                fence_id=details.fence_id,
                planned_arrival_us=details.planned_arrival_us,
                due_at_us=core.observed_at_us,
            )
        case StopBeginning():
            return StopBegan()
        case StopEnding():
            return StopEnded(began_at_us=details.began_at_us)
        case TripStart():
            return TripStarted()
        case TripEnd():
            return TripEnded(
                started_at_us=details.started_at_us,
                started_latitude_deg=details.started_latitude_deg,
                started_longitude_deg=details.started_longitude_deg,
                distance_m=details.distance_m,
                fastest_mps=details.fastest_mps,
                by_silence=details.by_silence,
                duration_us=core.observed_at_us - details.started_at_us,
            )
        case Meeting():
            return DevicesMet(**_both(core, details))
        case Parting():
            return DevicesParted(**_both(core, details), met_at_us=details.met_at_us)


def _both(core: CoreEvent, details: Meeting | Parting) -> dict[str, Any]:
    return {
        "proximity_id": core.subject_id,
        "proximity_version": core.subject_version,
        "proximity_name": details.proximity_name,
        "other_device_id": details.other_device_id,
        "other_device_number": details.other_device_number,
        "distance_m": details.distance_m,
    }


def event_rows(events: Sequence[PublishedEvent]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the table `events`, in the order of EVENT_COLUMNS, by tenant."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for core, event_id, body in events:
        located = not (math.isnan(core.latitude_deg) or math.isnan(core.longitude_deg))
        rows.setdefault(core.tenant, []).append((
            event_id, core.tenant, core.device_id, core.device, core.kind.value, core.subject_id,
            SEVERITY_OF[core.kind], int(core.cause), core.revision, core.amends_event_id or None, int(core.standing),
            int(core.assumed), core.observed_at_us, core.confirmed_at_us, core.latitude_deg if located else None,
            core.longitude_deg if located else None, body,
        ))  # fmt: skip
    return rows
