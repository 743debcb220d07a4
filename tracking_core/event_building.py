"""Events as objects, from the rows that kernels wrote: names for numbers, and one order whatever the slots were."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import NamedTuple

from geofence.fence_set import FenceSet
from tracking_core.device_table import DeviceTable
from tracking_core.events import (
    ArrivalMissed,
    Cause,
    CoreEvent,
    Direction,
    EventDetails,
    EventKind,
    ExcursionClosing,
    ExcursionOpening,
    FenceCrossing,
    FenceDwell,
    FencePassage,
    FenceSpeeding,
    SignalChange,
    Standing,
    StopBeginning,
    StopEnding,
    TagPresence,
    TripEnd,
    TripStart,
)
from tracking_core.routes.expectations import ExpectationTable
from tracking_core.sensors.table import SensorTable
from tracking_core.tags.table import TagTable
from tracking_core.telling.event_rows import (
    AMENDED,
    ARRIVAL_MISSED,
    CORRIDOR_LEFT,
    CORRIDOR_RETURNED,
    CROSSED,
    DWELT,
    ENTERED,
    EXCURSION_CLOSED,
    EXCURSION_OPENED,
    EXITED,
    FIRST_TOLD,
    SIGNAL_LOST,
    SIGNAL_RESTORED,
    SPEEDING,
    STOP_BEGAN,
    STOP_ENDED,
    TAG_ARRIVED,
    TAG_DEPARTED,
    TOLD_AGAIN,
    TOLD_LATE,
    TRIP_ENDED,
    TRIP_STARTED,
    WITHDRAWN,
    EventRows,
)

_KINDS = {
    EXITED: EventKind.GEOFENCE_EXITED,
    ENTERED: EventKind.GEOFENCE_ENTERED,
    EXCURSION_CLOSED: EventKind.EXCURSION_CLOSED,
    EXCURSION_OPENED: EventKind.EXCURSION_OPENED,
    TAG_DEPARTED: EventKind.TAG_DEPARTED,
    TAG_ARRIVED: EventKind.TAG_ARRIVED,
    SIGNAL_LOST: EventKind.SIGNAL_LOST,
    SIGNAL_RESTORED: EventKind.SIGNAL_RESTORED,
    DWELT: EventKind.GEOFENCE_DWELT,
    SPEEDING: EventKind.GEOFENCE_SPEEDING,
    CORRIDOR_LEFT: EventKind.CORRIDOR_LEFT,
    CORRIDOR_RETURNED: EventKind.CORRIDOR_RETURNED,
    CROSSED: EventKind.GEOFENCE_CROSSED,
    ARRIVAL_MISSED: EventKind.MISSED_ARRIVAL,
    STOP_BEGAN: EventKind.STOP_BEGAN,
    STOP_ENDED: EventKind.STOP_ENDED,
    TRIP_STARTED: EventKind.TRIP_STARTED,
    TRIP_ENDED: EventKind.TRIP_ENDED,
}

_TURN = {
    kind: turn
    for turn, kind in enumerate(
        (
            SIGNAL_LOST,
            DWELT,
            ARRIVAL_MISSED,
            SIGNAL_RESTORED,
            STOP_BEGAN,
            TRIP_ENDED,
            STOP_ENDED,
            TRIP_STARTED,
            EXITED,
            CORRIDOR_LEFT,
            CROSSED,
            ENTERED,
            CORRIDOR_RETURNED,
            SPEEDING,
            EXCURSION_CLOSED,
            EXCURSION_OPENED,
            TAG_DEPARTED,
            TAG_ARRIVED,
        )
    )
}
"""In which order events of one reading are told: what was due before it first, exits before enters."""

_TIMED = frozenset({SIGNAL_LOST, DWELT, ARRIVAL_MISSED})
"""Brought about by time, whatever shows it."""
_JOURNEYS = frozenset({STOP_BEGAN, STOP_ENDED, TRIP_STARTED, TRIP_ENDED})
_ENTRIES = frozenset({ENTERED, CORRIDOR_RETURNED})
_MAY_BE_TIMED = _JOURNEYS | _ENTRIES
"""Brought about by time where the row says so."""
_CORRECTABLE = _JOURNEYS | frozenset(
    {
        SIGNAL_LOST,
        SIGNAL_RESTORED,
        EXITED,
        ENTERED,
        DWELT,
        SPEEDING,
        CORRIDOR_LEFT,
        CORRIDOR_RETURNED,
        CROSSED,
        ARRIVAL_MISSED,
    }
)
"""Kinds that rest on fixes, and so are corrected when one arrives late."""

_STANDINGS = {
    FIRST_TOLD: Standing.TOLD,
    TOLD_LATE: Standing.TOLD,
    TOLD_AGAIN: Standing.AMENDED,
    AMENDED: Standing.AMENDED,
    WITHDRAWN: Standing.WITHDRAWN,
}


class _Row(NamedTuple):
    """A row of `EventRows`, without its count."""

    reading: int
    kind: int
    row: int
    subject: int
    series: int
    observed_at_us: int
    confirmed_at_us: int
    latitude_deg: float
    longitude_deg: float
    value: float
    reference: float
    opened_at_us: int
    antenna: int
    correction: int
    named_at_us: int
    revision: int
    told_at_us: int
    assumed: int
    timed: int
    began_latitude_deg: float
    began_longitude_deg: float


class _Subject(NamedTuple):
    subject_id: str
    version: int
    probe: int
    details: EventDetails


_KEY = operator.itemgetter(0)


class EventBuilding:
    """Makes objects of rows, with the tables that know what the numbers mean."""

    def __init__(
        self,
        devices: DeviceTable,
        fences: FenceSet,
        sensors: SensorTable,
        tags: TagTable,
        expectations: ExpectationTable,
    ) -> None:
        self._devices = devices
        self._fences = fences
        self._sensors = sensors
        self._tags = tags
        self._expectations = expectations

    def build(self, rows: EventRows, cause: Cause) -> list[CoreEvent]:
        """Events of one stage, by reading; on one reading in the order of _TURN, then by when they were confirmed, then
        by subject; of corrections the withdrawals first, then all by when they were confirmed. Departures of tags have
        the cause TIMER and are assumed, however they were noticed. A device that was never announced has no events, nor
        has a route that is no longer in force.
        """
        count = int(rows.filled[0])
        if count == 0:
            return []
        built: list[tuple[tuple[int, int, int, int, int, str, int], CoreEvent]] = []
        # Whole columns as lists first: an element of an array costs ten times an element of a list.
        for row in map(_Row._make, zip(*(column[:count].tolist() for column in rows[1:]), strict=True)):
            tenant, device_id = self._devices.identity(row.row)
            if not device_id:
                continue
            subject = _SUBJECTS[row.kind](self, row)
            if subject is None:
                continue
            silence = row.kind == TAG_DEPARTED
            device = self._devices.number_of(row.row)
            event = CoreEvent(
                _KINDS[row.kind],
                device,
                tenant,
                device_id,
                subject.subject_id,
                subject.version,
                row.observed_at_us,
                row.confirmed_at_us,
                Cause.TIMER if silence or row.kind in _TIMED or (row.kind in _MAY_BE_TIMED and row.timed) else cause,
                0,
                silence or (row.kind in _CORRECTABLE and row.assumed == 1),
                _known(row.latitude_deg),
                _known(row.longitude_deg),
                subject.details,
            )
            # Of what a late fix brought about, the withdrawn first, then all in the order of time.
            turn = 0
            if row.kind in _CORRECTABLE:
                event = _named(event, row)
                if row.correction not in (FIRST_TOLD, TOLD_AGAIN):
                    turn = -1 if row.correction == WITHDRAWN else row.confirmed_at_us
            order = _TURN[DWELT if row.kind in _ENTRIES and row.timed else row.kind]
            key = (row.reading, turn, order, row.confirmed_at_us, device, subject.subject_id, subject.probe)
            built.append((key, event))
        built.sort(key=_KEY)
        return [event for _, event in built]

    def _crossing(self, row: _Row) -> _Subject:
        fence = self._fences.definition(row.subject)
        return _Subject(fence.fence_id, fence.version, 0, FenceCrossing(fence.name, row.timed == 1))

    def _dwell(self, row: _Row) -> _Subject:
        fence = self._fences.definition(row.subject)
        return _Subject(fence.fence_id, fence.version, 0, FenceDwell(fence.name, row.opened_at_us))

    def _speeding(self, row: _Row) -> _Subject:
        fence = self._fences.definition(row.subject)
        limit_mps = float(self._fences.compiled.speed_limit_mps[row.subject])
        return _Subject(fence.fence_id, fence.version, 0, FenceSpeeding(fence.name, row.value, limit_mps))

    def _passage(self, row: _Row) -> _Subject:
        fence = self._fences.definition(row.subject)
        details = FencePassage(fence.name, row.opened_at_us, Direction(int(row.value)))
        return _Subject(fence.fence_id, fence.version, 0, details)

    def _signal(self, row: _Row) -> _Subject:
        return _Subject("", 0, 0, SignalChange(row.opened_at_us))

    def _stop(self, _row: _Row) -> _Subject:
        return _Subject("", 0, 0, StopBeginning())

    def _stop_end(self, row: _Row) -> _Subject:
        return _Subject("", 0, 0, StopEnding(row.opened_at_us))

    def _departure(self, _row: _Row) -> _Subject:
        return _Subject("", 0, 0, TripStart())

    def _arrival(self, row: _Row) -> _Subject:
        began = row.opened_at_us, round(row.began_latitude_deg, 7), round(row.began_longitude_deg, 7)
        return _Subject("", 0, 0, TripEnd(*began, row.value, row.reference, row.timed == 1))

    def _missed(self, row: _Row) -> _Subject | None:
        known = self._expectations.stop_of(row.antenna)
        if known is None:
            return None
        route, stop = known.route, known.stop
        details = ArrivalMissed(stop.stop_id, stop.fence_id, row.opened_at_us)
        return _Subject(route.route_id, route.version, route.stops.index(stop), details)

    def _opening(self, row: _Row) -> _Subject:
        limit = self._sensors.definitions[row.subject]
        probe = int(self._sensors.series.probe[row.series])
        details = ExcursionOpening(limit.quantity, probe, row.value, row.reference)
        return _Subject(limit.limit_id, limit.version, probe, details)

    def _closing(self, row: _Row) -> _Subject:
        limit = self._sensors.definitions[row.subject]
        probe = int(self._sensors.series.probe[row.series])
        details = ExcursionClosing(limit.quantity, probe, row.value, row.reference, row.opened_at_us)
        return _Subject(limit.limit_id, limit.version, probe, details)

    def _tag(self, row: _Row) -> _Subject:
        epc = self._tags.epc(row.subject)
        return _Subject(epc.hex(), 0, 0, TagPresence(epc, row.antenna))


_SUBJECTS: dict[int, Callable[[EventBuilding, _Row], _Subject | None]] = {
    EXITED: EventBuilding._crossing,  # noqa: SLF001 - its own table
    ENTERED: EventBuilding._crossing,  # noqa: SLF001
    EXCURSION_CLOSED: EventBuilding._closing,  # noqa: SLF001
    EXCURSION_OPENED: EventBuilding._opening,  # noqa: SLF001
    TAG_DEPARTED: EventBuilding._tag,  # noqa: SLF001
    TAG_ARRIVED: EventBuilding._tag,  # noqa: SLF001
    SIGNAL_LOST: EventBuilding._signal,  # noqa: SLF001
    SIGNAL_RESTORED: EventBuilding._signal,  # noqa: SLF001
    DWELT: EventBuilding._dwell,  # noqa: SLF001
    SPEEDING: EventBuilding._speeding,  # noqa: SLF001
    CORRIDOR_LEFT: EventBuilding._crossing,  # noqa: SLF001
    CORRIDOR_RETURNED: EventBuilding._crossing,  # noqa: SLF001
    CROSSED: EventBuilding._passage,  # noqa: SLF001
    ARRIVAL_MISSED: EventBuilding._missed,  # noqa: SLF001
    STOP_BEGAN: EventBuilding._stop,  # noqa: SLF001
    STOP_ENDED: EventBuilding._stop_end,  # noqa: SLF001
    TRIP_STARTED: EventBuilding._departure,  # noqa: SLF001
    TRIP_ENDED: EventBuilding._arrival,  # noqa: SLF001
}


def _named(event: CoreEvent, row: _Row) -> CoreEvent:
    if row.correction == FIRST_TOLD and row.named_at_us == row.observed_at_us:
        return event
    return event._replace(
        cause=event.cause if row.correction in (FIRST_TOLD, TOLD_AGAIN) else Cause.LATE_DATA,
        revision=row.revision,
        standing=_STANDINGS[row.correction],
        first_observed_at_us=None if row.named_at_us == row.observed_at_us else row.named_at_us,
        told_at_us=row.told_at_us if row.revision else None,
    )


def _known(coordinate_deg: float) -> float:
    """The one NaN for an unknown coordinate, so that equal events compare equal."""
    return math.nan if math.isnan(coordinate_deg) else coordinate_deg
