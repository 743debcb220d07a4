"""The SQL behind `explain`: what is stored of a device and a fence round a time, in one consistent look."""

from __future__ import annotations

import math
from typing import Any, Final

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from drover.tracking.v1.event_pb2 import TrackingEvent
from runtime.database import ReadConnection, read
from services.tracking.change import change_of, core_definition
from services.tracking.definition_repository import routes_of, versions_of
from services.tracking.explanations.surroundings import NOT_OF_FENCES, OF_THE_SIGNAL, Surroundings
from services.tracking.model import Device
from services.tracking.tables import events, positions
from tracking_core.definitions import PutRoute
from tracking_core.events import EventKind
from tracking_core.explaining.steps import CROSSINGS, FOLLOWED, RouteEdit, StoredFix
from tracking_core.settings import HOUR_US
from tracking_core.verdicts import Verdict

SHOWN: Final = 500
"""Fixes of an answer at most, half of them to each side of the time asked about."""
LEAD: Final = 64
"""Fixes before those, through which the state settles."""
TAIL: Final = 16
"""Fixes behind those, which may confirm what they began."""
_OF_VISITS: Final = tuple(kind for kind in FOLLOWED if kind not in (*CROSSINGS, EventKind.MISSED_ARRIVAL))
_EVENT_ROWS: Final = 500
_ROWS_BEFORE: Final = 50
_LONGEST_PENDING_US: Final = 24 * HOUR_US


class ExplanationRepository:
    """Looks; changes nothing."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def look(self, device: Device, fence_id: str, at_us: int, window_us: int) -> Surroundings:
        """Everything that an explanation needs."""
        column = positions.c
        number = device.number
        async with read(self._engine) as connection:
            half = SHOWN // 2 + 1
            earlier = await _fixes(
                connection,
                _latest(number).where(column.observed_at_us <= at_us, column.observed_at_us >= at_us - window_us),
                half,
            )
            later = await _fixes(
                connection,
                _earliest(number).where(column.observed_at_us > at_us, column.observed_at_us <= at_us + window_us),
                half,
            )
            cut = len(earlier) == half or len(later) == half
            from_us = earlier[-2].observed_at_us if len(earlier) == half else at_us - window_us
            until_us = later[-2].observed_at_us if len(later) == half else at_us + window_us
            lead = await _fixes(connection, _latest(number).where(column.observed_at_us < from_us), LEAD)
            tail = await _fixes(connection, _earliest(number).where(column.observed_at_us > until_us), TAIL)
            shown = [fix for fix in (*earlier[::-1], *later) if from_us <= fix.observed_at_us <= until_us]
            begin_us = lead[-1].observed_at_us if lead else from_us
            end_us = tail[-1].observed_at_us if tail else until_us
            counts = column.verdict == Verdict.OK
            before = await _fixes(connection, _latest(number).where(column.observed_at_us < begin_us, counts), 1)
            first = await _fixes(connection, _earliest(number).where(counts), 1)
            happened = events.c
            at_the_fence = happened.subject_id == fence_id
            of_its_signal = and_(happened.subject_id == "", happened.kind.in_(OF_THE_SIGNAL))
            of_an_arrival = happened.kind == EventKind.MISSED_ARRIVAL.value
            told = _events_of(device)
            return Surroundings(
                await versions_of(connection, device.tenant, fence_id),
                from_us,
                until_us,
                cut,
                before[0] if before else None,
                first[0] if first else None,
                lead[::-1],
                shown,
                tail,
                len(tail) < TAIL,
                _there(
                    await _whole_events(
                        connection,
                        told.where(
                            or_(and_(at_the_fence, happened.kind.not_in(NOT_OF_FENCES)), of_its_signal, of_an_arrival),
                            happened.observed_at_us <= end_us,
                            happened.observed_at_us >= begin_us - _LONGEST_PENDING_US,
                            happened.confirmed_at_us >= begin_us,
                        ).limit(_EVENT_ROWS),
                    ),
                    fence_id,
                ),
                [
                    event
                    for kinds in (
                        and_(at_the_fence, happened.kind.in_(CROSSINGS)),
                        and_(at_the_fence, happened.kind.in_(_OF_VISITS)),
                        of_an_arrival,
                    )
                    for event in _there(
                        await _whole_events(
                            connection, told.where(kinds, happened.observed_at_us < begin_us).limit(_ROWS_BEFORE)
                        ),
                        fence_id,
                    )
                ],
                await _routes(connection, device, fence_id),
            )


def _there(events: list[TrackingEvent], fence_id: str) -> list[TrackingEvent]:
    """Without arrivals that were missed elsewhere: they are events of a route, which may have any id."""
    return [
        event
        for event in events
        if event.WhichOneof("kind") != EventKind.MISSED_ARRIVAL.value or event.missed_arrival.fence_id == fence_id
    ]


async def _routes(connection: ReadConnection, device: Device, fence_id: str) -> list[RouteEdit]:
    found = []
    for made_at_us, stored in await routes_of(connection, device.tenant, device.device_id):
        change = core_definition(change_of(stored))
        if isinstance(change, PutRoute) and any(stop.fence_id == fence_id for stop in change.route.stops):
            found.append(RouteEdit(made_at_us, change.route))
    return found


def _earliest(device_number: int) -> Select[Any]:
    column = positions.c
    return (
        select(*(column[name] for name in StoredFix._fields))
        .where(column.device_number == device_number)
        .order_by(column.observed_at_us, column.content_hash)
    )


def _latest(device_number: int) -> Select[Any]:
    column = positions.c
    return _earliest(device_number).order_by(None).order_by(column.observed_at_us.desc(), column.content_hash.desc())


async def _fixes(connection: ReadConnection, query: Select[Any], limit: int) -> list[StoredFix]:
    return [
        StoredFix._make(math.nan if value is None else value for value in row)
        for row in await connection.execute(query.limit(limit))
    ]


def _events_of(device: Device) -> Select[Any]:
    column = events.c
    return (
        select(column.event_id, column.amends_event_id)
        .where(column.tenant == device.tenant, column.device_id == device.device_id)
        .order_by(column.observed_at_us.desc())
    )


async def _whole_events(connection: ReadConnection, found: Select[Any]) -> list[TrackingEvent]:
    """All revisions of the events of which a query finds one."""
    column = events.c
    names = {row.amends_event_id or row.event_id for row in await connection.execute(found)}
    if not names:
        return []
    query = select(column.body).where(or_(column.event_id.in_(names), column.amends_event_id.in_(names)))
    return [TrackingEvent.FromString(bytes(row.body)) for row in await connection.execute(query)]
