"""/v1/devices/{id}/trips and /stops: what a device has travelled, from the events that stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

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
    """A trip that has ended."""

    event_id: str = Field(description="Of the trip_ended that says so.")
    started_at: TimeText
    started_latitude_deg: float
    started_longitude_deg: float
    ended_at: TimeText
    ended_latitude_deg: float | None
    ended_longitude_deg: float | None
    distance_m: float
    duration_us: int
    fastest_mps: float
    ended_by: Literal["stop", "silence"]


class StopView(Shown):
    """A stop that has ended."""

    event_id: str = Field(description="Of the stop_ended that says so.")
    began_at: TimeText
    ended_at: TimeText = Field(description="When the device was last seen there.")
    latitude_deg: float | None
    longitude_deg: float | None
    duration_us: int


class JourneysQuery(PageQuery):
    """Which trips or stops."""

    since_us: TimeUs | None = Field(None, alias="from", description="Ended from here, inclusive.")
    until_us: TimeUs | None = Field(None, alias="until", description="Ended before here.")


def trip_view(event: TrackingEvent) -> Json:
    """A trip_ended as the trip."""
    trip = event.trip_ended
    return {
        "event_id": event.event_id,
        "started_at": time_text(trip.started_at_us),
        "started_latitude_deg": trip.started_latitude_deg,
        "started_longitude_deg": trip.started_longitude_deg,
        "ended_at": time_text(event.observed_at_us),
        "ended_latitude_deg": event.latitude_deg if event.HasField("latitude_deg") else None,
        "ended_longitude_deg": event.longitude_deg if event.HasField("longitude_deg") else None,
        "distance_m": trip.distance_m,
        "duration_us": trip.duration_us,
        "fastest_mps": trip.fastest_mps,
        "ended_by": "silence" if trip.by_silence else "stop",
    }


def stop_view(event: TrackingEvent) -> Json:
    """A stop_ended as the stop."""
    began_at_us = event.stop_ended.began_at_us
    return {
        "event_id": event.event_id,
        "began_at": time_text(began_at_us),
        "ended_at": time_text(event.observed_at_us),
        "latitude_deg": event.latitude_deg if event.HasField("latitude_deg") else None,
        "longitude_deg": event.longitude_deg if event.HasField("longitude_deg") else None,
        "duration_us": event.observed_at_us - began_at_us,
    }


@router.get("/{device_id}/trips", response_model=Page[TripView], responses=problems(404))
async def list_trips(
    session: Reader, services: Services, device_id: DeviceId, wanted: Annotated[JourneysQuery, Query()]
) -> Response:
    """Trips of a device, the last one first. One that is under way is a `trip_started` of /v1/events."""
    return await _standing(session, services, device_id, "trip_ended", wanted, trip_view)


@router.get("/{device_id}/stops", response_model=Page[StopView], responses=problems(404))
async def list_stops(
    session: Reader, services: Services, device_id: DeviceId, wanted: Annotated[JourneysQuery, Query()]
) -> Response:
    """Stops of a device, the last one first. One that lasts is a `stop_began` of /v1/events."""
    return await _standing(session, services, device_id, "stop_ended", wanted, stop_view)


async def _standing(
    session: Reader,
    services: Services,
    device_id: str,
    kind: str,
    wanted: JourneysQuery,
    show: Callable[[TrackingEvent], Json],
) -> Response:
    if wanted.until_us is not None and wanted.until_us <= (wanted.since_us or 0):
        raise BadPeriod("`until` must be after `from`")
    # An unknown device has no list, not an empty one.
    await services.call(services.registry.GetDevice, GetDeviceRequest(device_id=device_id), session.token)
    request = ListEventsRequest(
        device_id=device_id,
        kind=kind,
        from_us=wanted.since_us or 0,
        until_us=wanted.until_us or 0,
        page_size=wanted.limit,
        standing_only=True,
    )
    query = f"{kind} {device_id} {request.from_us} {request.until_us}"
    request.page_token = page_token(wanted.cursor, query)
    answer = await services.call(services.tracking.ListEvents, request, session.token)
    items = [show(each) for each in answer.events]
    return json_response({"items": items, "next_cursor": cursor(answer.next_page_token, query)})
