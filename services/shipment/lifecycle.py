"""What events, and people, make of a shipment: `apply(shipment, event)`. Pure: no I/O, no clock.

Events commute: applied in any order, and any number of times, they make the same shipment. Only a correction moves a
status back: an arrival that is withdrawn was none.
"""

from __future__ import annotations

import dataclasses
from typing import Final, NamedTuple

from services.shipment.events import ArrivalMissed, Event, ExcursionClosed, ExcursionOpened, FenceCrossed, TagMoved
from services.shipment.model import (
    CORRECTION_GRACE_US,
    Crossing,
    HandlingUnit,
    Shipment,
    ShipmentEnded,
    ShipmentException,
    Sighting,
    Status,
)
from services.shipment.progress import progress_of

MAX_CROSSINGS: Final = 8
"""Crossings kept of one fence and direction: the first and the last count, a vehicle that shuttles makes many."""

MAX_SIGHTINGS: Final = 32
"""Readers remembered for one handling unit."""

MAX_EXCEPTIONS: Final = 256
"""Exceptions remembered of one shipment; past that the oldest that are over are let go."""


class Applied(NamedTuple):
    """A shipment after an event, and what changed, as words for logs and counters; the same shipment if nothing did."""

    shipment: Shipment
    changes: tuple[str, ...]


def apply(shipment: Shipment, event: Event) -> Applied:
    """What an event makes of a shipment. Events commute and may repeat; a cancelled shipment stays as it is."""
    if shipment.status is Status.CANCELLED:
        return Applied(shipment, ())
    match event:
        case FenceCrossed():
            after = _crossed(shipment, event)
        case TagMoved():
            after = _moved(shipment, event)
        case ExcursionOpened() | ExcursionClosed():
            after = _excursion(shipment, event)
        case ArrivalMissed():
            after = _missed(shipment, event)
    return Applied(after, _changes(shipment, after))


def cancel(shipment: Shipment, reason: str, now_us: int) -> Shipment:
    """Ends a shipment before delivery; the same shipment when it is cancelled already. Raises ShipmentEnded."""
    if shipment.status is Status.CANCELLED:
        return shipment
    if shipment.status is Status.DELIVERED:
        raise ShipmentEnded(shipment.shipment_id)
    return dataclasses.replace(shipment, status=Status.CANCELLED, ended_at_us=now_us, cancel_reason=reason)


def _crossed(shipment: Shipment, event: FenceCrossed) -> Shipment:
    ours = event.device_id == shipment.device_id and any(stop.fence_id == event.fence_id for stop in shipment.stops)
    over = shipment.ended_at_us is not None and event.since_us > shipment.ended_at_us + CORRECTION_GRACE_US
    if not ours or over:
        return shipment
    known = {each.key: each for each in shipment.crossings}
    for fact in _facts(event):
        before = known.get(fact.key)
        if before is None or fact.revision > before.revision:
            known[fact.key] = fact
    crossings = tuple(sorted(known.values()))
    if crossings == shipment.crossings:
        return shipment
    crossings = _thinned(crossings, event)
    progress = progress_of(shipment.stops, (each for each in crossings if not each.withdrawn))
    return dataclasses.replace(
        shipment,
        crossings=crossings,
        stops=progress.stops,
        status=progress.status,
        ended_at_us=progress.delivered_at_us,
    )


def _facts(event: FenceCrossed) -> list[Crossing]:
    """What an event says: of a time told before that it was not so, and of its own that it is (or is not)."""
    said = Crossing(event.observed_at_us, event.entered, event.fence_id, event.revision, event.withdrawn)
    if event.told_at_us in {None, event.observed_at_us}:
        return [said]
    return [said._replace(observed_at_us=event.told_at_us, withdrawn=True), said]


def _thinned(crossings: tuple[Crossing, ...], event: FenceCrossed) -> tuple[Crossing, ...]:
    alike = sorted(each for each in crossings if (each.fence_id, each.entered) == (event.fence_id, event.entered))
    surplus = alike[len(alike) // 2] if len(alike) > MAX_CROSSINGS else None
    return tuple(sorted(each for each in crossings if each != surplus))


def _moved(shipment: Shipment, event: TagMoved) -> Shipment:
    said = Sighting(event.observed_at_us, not event.arrived, event.device_id)
    return dataclasses.replace(
        shipment,
        handling_units=tuple(
            _sighted(unit, said) if unit.epc == event.epc else unit for unit in shipment.handling_units
        ),
    )


def _sighted(unit: HandlingUnit, said: Sighting) -> HandlingUnit:
    known = {each.reader_id: each for each in unit.sightings}
    if said.reader_id in known and said <= known[said.reader_id]:
        return unit
    known[said.reader_id] = said
    # Readers that still have it come last, and so are kept.
    ordered = sorted(known.values(), key=lambda each: (not each.gone, each))
    return dataclasses.replace(unit, sightings=tuple(ordered[-MAX_SIGHTINGS:]))


def _excursion(shipment: Shipment, event: ExcursionOpened | ExcursionClosed) -> Shipment:
    if not any(limit.limit_id == event.limit_id for limit in shipment.limits):
        return shipment
    known = {each.key: each for each in shipment.exceptions}
    opened_at_us = event.observed_at_us if isinstance(event, ExcursionOpened) else event.opened_at_us
    blank = ShipmentException(event.limit_id, event.probe, opened_at_us, event.event_id, event.quantity)
    before = known.get(blank.key, blank)
    match event:
        case ExcursionOpened() if event.revision > before.opened_revision:
            known[blank.key] = dataclasses.replace(
                before,
                event_id=event.event_id,
                value=event.value,
                bound=event.bound,
                opened_revision=event.revision,
            )
        case ExcursionClosed() if event.revision > before.closed_revision:
            known[blank.key] = dataclasses.replace(
                before,
                event_id=event.event_id if before.opened_revision < 0 else before.event_id,
                worst_value=event.worst_value,
                closed_at_us=event.observed_at_us,
                closed_revision=event.revision,
            )
        case _:
            return shipment
    # Those that are over come first, and so are let go first.
    ordered = sorted(known.values(), key=lambda each: (each.closed_at_us is None, each.opened_at_us, each.key))
    kept = ordered[-MAX_EXCEPTIONS:]
    return dataclasses.replace(shipment, exceptions=tuple(sorted(kept, key=lambda each: (each.opened_at_us, each.key))))


def _missed(shipment: Shipment, event: ArrivalMissed) -> Shipment:
    if (event.device_id, event.route_id) != (shipment.device_id, shipment.shipment_id):
        return shipment
    missed_at_us = None if event.withdrawn else event.observed_at_us
    stops = tuple(
        dataclasses.replace(stop, missed_at_us=missed_at_us, missed_revision=event.revision)
        if stop.stop_id == event.stop_id and event.revision > stop.missed_revision
        else stop
        for stop in shipment.stops
    )
    return dataclasses.replace(shipment, stops=stops)


def _changes(before: Shipment, after: Shipment) -> tuple[str, ...]:
    changes: list[str] = []
    if after.status is not before.status:
        changes.append(f"status {after.status.value}")
    for old, new in zip(before.stops, after.stops, strict=True):
        if new.arrived_at_us != old.arrived_at_us:
            changes.append(f"arrived {new.stop_id}")
        if new.departed_at_us != old.departed_at_us:
            changes.append(f"departed {new.stop_id}")
        if new.missed_revision != old.missed_revision:
            changes.append(f"{'missed' if new.missed_at_us is not None else 'not missed'} {new.stop_id}")
    changes += [
        f"unit {new.epc.hex()}"
        for old, new in zip(before.handling_units, after.handling_units, strict=True)
        if new != old
    ]
    old_exceptions = {each.key: each for each in before.exceptions}
    for each in after.exceptions:
        if each != old_exceptions.get(each.key):
            changes.append(f"exception {'opened' if each.closed_at_us is None else 'closed'} {each.limit_id}")
    if not changes and after != before:
        changes.append("crossing noted")
    return tuple(changes)
