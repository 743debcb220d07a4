"""Events as objects, from the rows that kernels wrote: names for numbers, and one order whatever the slots were."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from geofence.fence_set import FenceSet
from tracking_core.device_table import DeviceTable
from tracking_core.event_rows import (
    ENTERED,
    EXCURSION_CLOSED,
    EXCURSION_OPENED,
    EXITED,
    TAG_ARRIVED,
    TAG_DEPARTED,
    EventRows,
)
from tracking_core.events import (
    Cause,
    CoreEvent,
    EventDetails,
    EventKind,
    ExcursionClosing,
    ExcursionOpening,
    FenceCrossing,
    TagPresence,
)
from tracking_core.sensor_table import SensorTable
from tracking_core.tag_table import TagTable

_KINDS = {
    EXITED: EventKind.GEOFENCE_EXITED,
    ENTERED: EventKind.GEOFENCE_ENTERED,
    EXCURSION_CLOSED: EventKind.EXCURSION_CLOSED,
    EXCURSION_OPENED: EventKind.EXCURSION_OPENED,
    TAG_DEPARTED: EventKind.TAG_DEPARTED,
    TAG_ARRIVED: EventKind.TAG_ARRIVED,
}


class _Subject(NamedTuple):
    subject_id: str
    version: int
    details: EventDetails


class EventBuilding:
    """Makes objects of rows, with the tables that know what the numbers mean."""

    def __init__(self, devices: DeviceTable, fences: FenceSet, sensors: SensorTable, tags: TagTable) -> None:
        self._devices = devices
        self._fences = fences
        self._sensors = sensors
        self._tags = tags

    def build(self, rows: EventRows, cause: Cause) -> list[CoreEvent]:
        """Events of one stage, by reading; on one reading exits before enters, closings before openings, departures
        before arrivals, then by when they were confirmed, then by subject. Departures of tags have the cause TIMER and
        are assumed, however they were noticed. A device that was never announced has no events.
        """
        count = int(rows.filled[0])
        if count == 0:
            return []
        built: list[tuple[tuple[int, int, int, int, str, int], CoreEvent]] = []
        reading = rows.reading[:count].tolist()
        for at, kind, row in zip(range(count), rows.kind[:count].tolist(), rows.row[:count].tolist(), strict=True):
            tenant, device_id = self._devices.identity(row)
            if not device_id:
                continue
            subject = _SUBJECTS[kind](self, rows, at)
            silence = kind == TAG_DEPARTED
            device = self._devices.number_of(row)
            confirmed_at_us = int(rows.confirmed_at_us[at])
            event = CoreEvent(
                _KINDS[kind],
                device,
                tenant,
                device_id,
                subject.subject_id,
                subject.version,
                int(rows.observed_at_us[at]),
                confirmed_at_us,
                Cause.TIMER if silence else cause,
                0,
                silence,
                _known(rows.latitude_deg[at]),
                _known(rows.longitude_deg[at]),
                subject.details,
            )
            probe = subject.details.probe if isinstance(subject.details, ExcursionOpening | ExcursionClosing) else 0
            built.append(((reading[at], kind, confirmed_at_us, device, subject.subject_id, probe), event))
        built.sort(key=lambda keyed: keyed[0])
        return [event for _, event in built]

    def _crossing(self, rows: EventRows, at: int) -> _Subject:
        fence = self._fences.definition(int(rows.subject[at]))
        return _Subject(fence.fence_id, fence.version, FenceCrossing(fence.name))

    def _opening(self, rows: EventRows, at: int) -> _Subject:
        limit = self._sensors.definitions[int(rows.subject[at])]
        probe = int(self._sensors.series.probe[rows.series[at]])
        details = ExcursionOpening(limit.quantity, probe, float(rows.value[at]), float(rows.reference[at]))
        return _Subject(limit.limit_id, limit.version, details)

    def _closing(self, rows: EventRows, at: int) -> _Subject:
        limit = self._sensors.definitions[int(rows.subject[at])]
        probe = int(self._sensors.series.probe[rows.series[at]])
        details = ExcursionClosing(
            limit.quantity, probe, float(rows.value[at]), float(rows.reference[at]), int(rows.opened_at_us[at])
        )
        return _Subject(limit.limit_id, limit.version, details)

    def _tag(self, rows: EventRows, at: int) -> _Subject:
        epc = self._tags.epc(int(rows.subject[at]))
        return _Subject(epc.hex(), 0, TagPresence(epc, int(rows.antenna[at])))


_SUBJECTS: dict[int, Callable[[EventBuilding, EventRows, int], _Subject]] = {
    EXITED: EventBuilding._crossing,  # noqa: SLF001 - its own table
    ENTERED: EventBuilding._crossing,  # noqa: SLF001
    EXCURSION_CLOSED: EventBuilding._closing,  # noqa: SLF001
    EXCURSION_OPENED: EventBuilding._opening,  # noqa: SLF001
    TAG_DEPARTED: EventBuilding._tag,  # noqa: SLF001
    TAG_ARRIVED: EventBuilding._tag,  # noqa: SLF001
}


def _known(coordinate_deg: float) -> float:
    """The one NaN for an unknown coordinate, so that equal events compare equal."""
    return math.nan if math.isnan(coordinate_deg) else float(coordinate_deg)
