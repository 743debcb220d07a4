"""What a trace is made of: the fixes and edits that go in, and what each of them did."""

from __future__ import annotations

import enum
import math
from typing import Final, NamedTuple

from geofence.definition import FenceDefinition
from geofence.transitions import NEVER_SEEN, Presence
from tracking_core.definitions import Route
from tracking_core.events import CoreEvent, EventDetails, EventKind, FenceCrossing
from tracking_core.presence_pool import NO_VISIT, Visit
from tracking_core.verdicts import Verdict

NOWHERE: Final = (Verdict.NO_FIX, Verdict.OUT_OF_RANGE)
"""Verdicts of fixes that do not say where the device was, not even wrongly."""

EXITS: Final = (EventKind.GEOFENCE_EXITED, EventKind.CORRIDOR_LEFT)
"""Kinds of events that leave a device outside."""
CROSSINGS: Final = (EventKind.GEOFENCE_ENTERED, EventKind.CORRIDOR_RETURNED, *EXITS)
"""Kinds of events that say whether a device is inside."""
FOLLOWED: Final = (
    *CROSSINGS,
    EventKind.GEOFENCE_DWELT,
    EventKind.GEOFENCE_SPEEDING,
    EventKind.GEOFENCE_CROSSED,
    EventKind.MISSED_ARRIVAL,
)
"""Kinds of events that a trace finds."""


class Reason(enum.IntEnum):
    """Why a fix speaks, or does not, with the numbers of `drover.tracking.v1.EvidenceReason`."""

    UNSPECIFIED = 0
    INSIDE = 1
    """In the fence, or on its boundary."""
    BEYOND_DOUBT = 2
    """Farther outside than its accuracy and the fence's exit margin."""
    WITHIN_MARGIN = 3
    """Outside, but no farther than the exit margin."""
    WITHIN_ACCURACY = 4
    """Outside by more than the exit margin, but not beyond its own accuracy."""
    NOT_COUNTED = 5
    """Its verdict says that it is not to be relied on."""
    NO_FENCE = 6
    """The fence was not there: not made yet, or deleted."""


class Unseen(enum.IntEnum):
    """Why a way that led through the fence, between two fixes outside, is not told of, with the numbers of
    `drover.tracking.v1.UnseenReason`.
    """

    UNSPECIFIED = 0
    """None led through, or it is told."""
    NOT_ASKED = 1
    """The fence does not tell of passing through."""
    TOO_LONG_AGO = 2
    """The fix before is too old to say what lies between."""
    TOO_FAR = 3
    """The fix before is too far away for that."""
    NOT_ACTIVE = 4
    """The fence was not active then."""


class StoredFix(NamedTuple):
    """A position as history has it. NaN is what the device left out."""

    observed_at_us: int
    received_at_us: int
    latitude_deg: float
    longitude_deg: float
    accuracy_m: float
    verdict: int
    speed_mps: float = math.nan


class FenceEdit(NamedTuple):
    """A version of the fence, and when it was made, by the clock of the tracking service; None for a deletion."""

    made_at_us: int
    version: int
    fence: FenceDefinition | None


class RouteEdit(NamedTuple):
    """A route of the device, and since when it holds, by the clock of the tracking service. The stops of `settled` are
    known to have been decided before the first fix.
    """

    made_at_us: int
    route: Route
    settled: tuple[str, ...] = ()


class TracedEvent(NamedTuple):
    """An event that the fold finds. `leg` has the times of the fixes between which the boundary was passed, or
    the fence passed through, if a way led across it. `assumed`: no fix from then on shows it.
    """

    kind: EventKind
    observed_at_us: int
    confirmed_at_us: int
    latitude_deg: float
    longitude_deg: float
    version: int
    """Of the fence; of a missed arrival that of the route."""
    leg: tuple[int, int] | None
    details: EventDetails
    assumed: bool = False
    subject_id: str = ""
    """The route of a missed arrival."""

    @property
    def is_restated(self) -> bool:
        """Whether it is an entry that an opening time window restates."""
        return isinstance(self.details, FenceCrossing) and self.details.restated


def traced(event: CoreEvent, leg: tuple[int, int] | None = None) -> TracedEvent:
    """An event of the engine."""
    return TracedEvent(
        event.kind,
        event.observed_at_us,
        event.confirmed_at_us,
        event.latitude_deg,
        event.longitude_deg,
        event.subject_version,
        leg,
        event.details,
        event.assumed,
        event.subject_id if event.kind is EventKind.MISSED_ARRIVAL else "",
    )


def crossing_of(events: tuple[TracedEvent, ...]) -> TracedEvent | None:
    """The entry or exit that a fix or an edit brought about."""
    return next((event for event in events if event.kind in CROSSINGS and not event.is_restated), None)


class FixStep(NamedTuple):
    """What one fix did. `distance_m` is to the boundary, negative inside, NaN where there is none to tell."""

    fix: StoredFix
    arrived_late: bool
    """Received after a counted fix that is newer."""
    version: int
    distance_m: float
    doubt_m: float
    """Only from farther outside than this would it speak for out: exit margin and accuracy; NaN without a fence."""
    speaks: int
    reason: Reason
    first: bool
    """The first of the device that counts: it settles silently."""
    before: Presence
    after: Presence
    needed: int
    """How many fixes in a row the rule asks for, in the direction that is pending or was confirmed; 0 for none."""
    passed_through: bool
    """The straight way from the counted fix before led through the fence, though both lie outside."""
    unseen: Unseen
    """Why that is not told."""
    speed_mps: float
    """As measured, or derived from the counted fix before; NaN where it is not known, or the fix does not count."""
    visit: Visit
    """How the visit stands then."""
    events: tuple[TracedEvent, ...]
    """All that is told with it: what was due before first."""
    untold: TracedEvent | None
    """The entry or exit that would have been told, had the fence been active then."""

    @property
    def event(self) -> TracedEvent | None:
        """The entry or exit that it confirmed."""
        return crossing_of(self.events)


class EditStep(NamedTuple):
    """What an edit did: `fix` is the newest counted one, by which the device is stated anew, None without any.
    `distance_m` and `untold` as in `FixStep`, to the new boundary.
    """

    edit: FenceEdit
    made: bool
    """Whether there was no fence before."""
    moved: bool
    """Whether the shape is another than before; if not, nothing is stated anew."""
    fix: StoredFix | None
    distance_m: float
    before: Presence
    after: Presence
    visit: Visit
    events: tuple[TracedEvent, ...]
    untold: TracedEvent | None

    @property
    def event(self) -> TracedEvent | None:
        """The entry or exit that it brought about."""
        return crossing_of(self.events)


class TimeStep(NamedTuple):
    """What nothing but time brought about, while no further fix came: behind the newest fix, and before an edit."""

    before: Presence
    after: Presence
    visit: Visit
    events: tuple[TracedEvent, ...]
    untold: TracedEvent | None = None

    @property
    def event(self) -> TracedEvent | None:
        """It brings no one in or out."""
        return None


Step = FixStep | EditStep | TimeStep


class Start(NamedTuple):
    """What is known of the device before the first fix. `counted` None: no fix counted before."""

    presence: Presence
    counted: StoredFix | None
    visit: Visit = NO_VISIT


NOTHING_BEFORE: Final = Start(NEVER_SEEN, None)
