"""/v1/devices/{id}/trips and /stops: what a device has travelled, from the events that stand; first what lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal, NamedTuple

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.ingest.v1.ingest_service_pb2 import GetDeviceRequest
from drover.api.tracking.v1.tracking_service_pb2 import ListEventsRequest
from drover.tracking.v1.event_pb2 import TrackingEvent
from gateway.auth import Reader
from gateway.json_view import Json, json_response, time_text
from gateway.paging import cursor, page_token
from gateway.rest.context import Services
from gateway.rest.documentation import DeviceId, Page, PageQuery, Shown, TimeText, TimeUs, problems
from gateway.rest.positions import BadPeriod

router = APIRouter(prefix="/v1/devices", tags=["journeys"])


class TripView(Shown):
    """A trip. Of one under way all but where it started is null."""

    event_id: str = Field(description="Of the trip_ended that says so; while it is under way, of the trip_started.")
    started_at: TimeText
    started_latitude_deg: float | None
    started_longitude_deg: float | None
    ended_at: TimeText | None
    ended_latitude_deg: float | None
    ended_longitude_deg: float | None
    distance_m: float | None
    duration_us: int | None
    fastest_mps: float | None
    ended_by: Literal["stop", "silence"] | None


class StopView(Shown):
    """A stop. One that lasts has no end yet."""

    event_id: str = Field(description="Of the stop_ended that says so; while it lasts, of the stop_began.")
    began_at: TimeText
    ended_at: TimeText | None = Field(description="When the device was last seen there; null while it stands.")
    latitude_deg: float | None
    longitude_deg: float | None
    duration_us: int | None


class JourneysQuery(PageQuery):
    """Which trips or stops."""

    since_us: TimeUs | None = Field(None, alias="from", description="Ended from here, inclusive, or not yet.")
    until_us: TimeUs | None = Field(None, alias="until", description="Ended before here, or began before and lasts.")


class _Journeys(NamedTuple):
    """What is listed: the kinds of its events, when one ended began, and the views of both."""

    began: str
    ended: str
    began_at_us: Callable[[TrackingEvent], int]
    lasting: Callable[[TrackingEvent], Json]
    show: Callable[[TrackingEvent], Json]


def _place(event: TrackingEvent) -> tuple[float | None, float | None]:
    return (
        event.latitude_deg if event.HasField("latitude_deg") else None,
        event.longitude_deg if event.HasField("longitude_deg") else None,
    )


def open_trip_view(event: TrackingEvent) -> Json:
    """A trip_started as the trip that is under way."""
    latitude_deg, longitude_deg = _place(event)
    return dict.fromkeys(TripView.model_fields) | {
        "event_id": event.event_id,
        "started_at": time_text(event.observed_at_us),
        "started_latitude_deg": latitude_deg,
        "started_longitude_deg": longitude_deg,
    }


def open_stop_view(event: TrackingEvent) -> Json:
    """A stop_began as the stop that lasts."""
    latitude_deg, longitude_deg = _place(event)
    return dict.fromkeys(StopView.model_fields) | {
        "event_id": event.event_id,
        "began_at": time_text(event.observed_at_us),
        "latitude_deg": latitude_deg,
        "longitude_deg": longitude_deg,
    }


def trip_view(event: TrackingEvent) -> Json:
    """A trip_ended as the trip."""
    trip = event.trip_ended
    latitude_deg, longitude_deg = _place(event)
    return {
        "event_id": event.event_id,
        "started_at": time_text(trip.started_at_us),
        "started_latitude_deg": trip.started_latitude_deg,
        "started_longitude_deg": trip.started_longitude_deg,
        "ended_at": time_text(event.observed_at_us),
        "ended_latitude_deg": latitude_deg,
        "ended_longitude_deg": longitude_deg,
        "distance_m": trip.distance_m,
        "duration_us": trip.duration_us,
        "fastest_mps": trip.fastest_mps,
        "ended_by": "silence" if trip.by_silence else "stop",
    }


def stop_view(event: TrackingEvent) -> Json:
    """A stop_ended as the stop."""
    began_at_us = event.stop_ended.began_at_us
    latitude_deg, longitude_deg = _place(event)
    return {
        "event_id": event.event_id,
        "began_at": time_text(began_at_us),
        "ended_at": time_text(event.observed_at_us),
        "latitude_deg": latitude_deg,
        "longitude_deg": longitude_deg,
        "duration_us": event.observed_at_us - began_at_us,
    }


_TRIPS: Final = _Journeys(
    "trip_started", "trip_ended", lambda event: event.trip_ended.started_at_us, open_trip_view, trip_view
)
_STOPS: Final = _Journeys(
    "stop_began", "stop_ended", lambda event: event.stop_ended.began_at_us, open_stop_view, stop_view
)


@router.get("/{device_id}/trips", response_model=Page[TripView], responses=problems(404))
async def list_trips(
    session: Reader, services: Services, device_id: DeviceId, wanted: Annotated[JourneysQuery, Query()]
) -> Response:
    """Trips of a device, the last one first; before all the one that is under way, if it began before `until`."""
    return await _list(session, services, device_id, _TRIPS, wanted)


@router.get("/{device_id}/stops", response_model=Page[StopView], responses=problems(404))
async def list_stops(
    session: Reader, services: Services, device_id: DeviceId, wanted: Annotated[JourneysQuery, Query()]
) -> Response:
    """Stops of a device, the last one first; before all the one that lasts, if it began before `until`."""
    return await _list(session, services, device_id, _STOPS, wanted)


async def _list(
    session: Reader, services: Services, device_id: str, journeys: _Journeys, wanted: JourneysQuery
) -> Response:
    if wanted.until_us is not None and wanted.until_us <= (wanted.since_us or 0):
        raise BadPeriod("`until` must be after `from`")
    # An unknown device has no list, not an empty one.
    await services.call(services.registry.GetDevice, GetDeviceRequest(device_id=device_id), session.token)
    request = ListEventsRequest(
        device_id=device_id,
        kind=journeys.ended,
        from_us=wanted.since_us or 0,
        until_us=wanted.until_us or 0,
        page_size=wanted.limit,
        standing_only=True,
    )
    query = f"{journeys.ended} {device_id} {request.from_us} {request.until_us}"
    request.page_token = page_token(wanted.cursor, query)
    answer = await services.call(services.tracking.ListEvents, request, session.token)
    items = [journeys.show(each) for each in answer.events]
    if wanted.cursor is None:
        lasting = await _lasting(session, services, device_id, journeys)
        if lasting is not None and (wanted.until_us is None or lasting.observed_at_us < wanted.until_us):
            items.insert(0, journeys.lasting(lasting))
    return json_response({"items": items, "next_cursor": cursor(answer.next_page_token, query)})


async def _lasting(session: Reader, services: Services, device_id: str, journeys: _Journeys) -> TrackingEvent | None:
    """The event with which what lasts began: the last of its kind, if no end says that it began then."""

    async def last(kind: str) -> TrackingEvent | None:
        request = ListEventsRequest(device_id=device_id, kind=kind, page_size=1, standing_only=True)
        answer = await services.call(services.tracking.ListEvents, request, session.token)
        return answer.events[0] if answer.events else None

    # The end first: what ends in between is then still listed as lasting, rather than not at all.
    ended = await last(journeys.ended)
    began = await last(journeys.began)
    if began is None or (ended is not None and journeys.began_at_us(ended) >= began.observed_at_us):
        return None
    return began
