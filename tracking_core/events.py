"""What the engine concludes, one object an event. Readings are columns; events are rare, so they may be objects."""

from __future__ import annotations

import enum
from typing import NamedTuple, TypeAlias

from tracking_core.telling.event_id import event_id


class EventKind(enum.StrEnum):
    """Named as the fields of the oneof in `drover.tracking.v1.TrackingEvent`."""

    GEOFENCE_ENTERED = "geofence_entered"
    GEOFENCE_EXITED = "geofence_exited"
    EXCURSION_OPENED = "excursion_opened"
    EXCURSION_CLOSED = "excursion_closed"
    TAG_ARRIVED = "tag_arrived"
    TAG_DEPARTED = "tag_departed"
    SIGNAL_LOST = "signal_lost"
    SIGNAL_RESTORED = "signal_restored"
    GEOFENCE_DWELT = "geofence_dwelt"
    GEOFENCE_SPEEDING = "geofence_speeding"
    CORRIDOR_LEFT = "corridor_left"
    CORRIDOR_RETURNED = "corridor_returned"
    GEOFENCE_CROSSED = "geofence_crossed"
    MISSED_ARRIVAL = "missed_arrival"
    STOP_BEGAN = "stop_began"
    STOP_ENDED = "stop_ended"
    TRIP_STARTED = "trip_started"
    TRIP_ENDED = "trip_ended"
    DEVICES_MET = "devices_met"
    DEVICES_PARTED = "devices_parted"


class Cause(enum.IntEnum):
    """Why an event exists, with the numbers of `drover.tracking.v1.Cause`."""

    UNSPECIFIED = 0
    MOVEMENT = 1
    DEFINITION = 2
    TIMER = 3
    LATE_DATA = 4


class Standing(enum.IntEnum):
    """What became of an event, with the numbers of `drover.tracking.v1.Standing`."""

    UNSPECIFIED = 0
    TOLD = 1
    """As it was told the first time."""
    AMENDED = 2
    """Another time, place or confirmation than told before; or told, withdrawn, and true after all."""
    WITHDRAWN = 3
    """It did not happen. The rest is as it was last told."""


class Direction(enum.IntEnum):
    """Which way the line of a corridor was crossed, with the numbers of `drover.tracking.v1.CrossingDirection`."""

    UNSPECIFIED = 0
    FORWARD = 1
    """From its left to its right, looking along it."""
    BACKWARD = 2


class FenceCrossing(NamedTuple):
    """Details of geofence_entered and geofence_exited, corridor_left and corridor_returned."""

    fence_name: str
    restated: bool = False
    """It was inside already, untold, when a time window of the fence opened."""


class FenceDwell(NamedTuple):
    """Details of geofence_dwelt."""

    fence_name: str
    entered_at_us: int


class FenceSpeeding(NamedTuple):
    """Details of geofence_speeding."""

    fence_name: str
    speed_mps: float
    limit_mps: float


class FencePassage(NamedTuple):
    """Details of geofence_crossed."""

    fence_name: str
    left_at_us: int
    direction: Direction


class ExcursionOpening(NamedTuple):
    """Details of excursion_opened: `value` is the sample that confirmed it, `bound` the limit it broke."""

    quantity: int
    probe: int
    value: float
    bound: float


class ExcursionClosing(NamedTuple):
    """Details of excursion_closed: `value` is the sample that ended it, `worst_value` the most extreme one."""

    quantity: int
    probe: int
    value: float
    worst_value: float
    opened_at_us: int


class TagPresence(NamedTuple):
    """Details of tag_arrived and tag_departed."""

    epc: bytes
    antenna: int


class SignalChange(NamedTuple):
    """Details of signal_lost and signal_restored: the newest fix that counted before the silence."""

    last_fix_at_us: int


class ArrivalMissed(NamedTuple):
    """Details of missed_arrival, which is dated when the arrival was due: planned and grace together."""

    stop_id: str
    fence_id: str
    planned_arrival_us: int


class StopBeginning(NamedTuple):
    """Details of stop_began: there are none."""


class StopEnding(NamedTuple):
    """Details of stop_ended."""

    began_at_us: int


class TripStart(NamedTuple):
    """Details of trip_started: there are none."""


class TripEnd(NamedTuple):
    """Details of trip_ended: the trip. `fastest_mps` is the highest speed, measured or else smoothed."""

    started_at_us: int
    started_latitude_deg: float
    started_longitude_deg: float
    distance_m: float
    fastest_mps: float
    by_silence: bool


class Meeting(NamedTuple):
    """Details of devices_met: `distance_m` lay between them when it was confirmed."""

    proximity_name: str
    other_device_number: int
    other_device_id: str
    distance_m: float


class Parting(NamedTuple):
    """Details of devices_parted; `met_at_us` is None of two that were together from the first that is known of them."""

    proximity_name: str
    other_device_number: int
    other_device_id: str
    distance_m: float
    met_at_us: int | None


EventDetails: TypeAlias = (
    FenceCrossing
    | FenceDwell
    | FenceSpeeding
    | FencePassage
    | ExcursionOpening
    | ExcursionClosing
    | TagPresence
    | SignalChange
    | ArrivalMissed
    | StopBeginning
    | StopEnding
    | TripStart
    | TripEnd
    | Meeting
    | Parting
)


class CoreEvent(NamedTuple):
    """One conclusion about one device."""

    kind: EventKind
    device: int
    tenant: str
    device_id: str
    subject_id: str
    """The fence_id, the limit_id, the proximity_id, the route_id, or the EPC as lower-case hexadecimal digits; empty
    for the device itself."""
    subject_version: int
    """The version of the fence, limit, proximity or route; 0 for a tag and the device itself."""
    observed_at_us: int
    """When it happened, by the device's clock; a crossing is interpolated between two fixes."""
    confirmed_at_us: int
    """The observation that confirmed it; for a silence and all else that time alone brings about, when it was due."""
    cause: Cause
    revision: int
    assumed: bool
    """No reading from then on shows it: time went on, and a silence was concluded."""
    latitude_deg: float
    """Where the device was when it was confirmed; NaN when that is unknown."""
    longitude_deg: float
    details: EventDetails
    standing: Standing = Standing.TOLD
    first_observed_at_us: int | None = None
    """What `observed_at_us` was when the event was first told; None: it is the same. It is a part of the name, so in
    the rare case that another such event was told under that time it is a microsecond later, or two."""
    told_at_us: int | None = None
    """What `observed_at_us` was in the revision before; None in the first."""

    @property
    def subject(self) -> str:
        """What the event is about, precisely enough to tell two such events at one time apart."""
        if isinstance(self.details, TagPresence | SignalChange | StopBeginning | StopEnding | TripStart | TripEnd):
            return self.subject_id
        subject = f"{self.subject_id}@{self.subject_version}"
        if isinstance(self.details, FenceCrossing | FenceDwell | FenceSpeeding | FencePassage | Meeting | Parting):
            return subject
        if isinstance(self.details, ArrivalMissed):
            return f"{subject}/{self.details.stop_id}"
        return f"{subject}/{self.details.quantity}/{self.details.probe}"

    @property
    def event_id(self) -> str:
        """See `tracking_core/telling/event_id.py`. The time in it is the one under which the event was first told."""
        return self._id(self.revision)

    @property
    def amends_event_id(self) -> str:
        """The id under which the event was first told, the same through all its revisions; empty at the first."""
        return self._id(0) if self.revision else ""

    def _id(self, revision: int) -> str:
        named_at_us = self.observed_at_us if self.first_observed_at_us is None else self.first_observed_at_us
        return event_id(self.tenant, self.device_id, self.kind.value, self.subject, named_at_us, revision)
