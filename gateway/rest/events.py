"""/v1/events: what happened; /v1/accounts: what was read and stored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.tracking.v1.tracking_service_pb2 import GetAccountsRequest, ListEventsRequest
from gateway.auth import Reader
from gateway.json_view import event, json_response, view
from gateway.paging import cursor, page_token
from gateway.rest.context import Services
from gateway.rest.documentation import Page, PageQuery, Shown, TimeText, TimeUs, problems

router = APIRouter(prefix="/v1", tags=["events"])

Kind = Literal[
    "geofence_entered",
    "geofence_exited",
    "excursion_opened",
    "excursion_closed",
    "tag_arrived",
    "tag_departed",
    "signal_lost",
    "signal_restored",
    "geofence_dwelt",
    "geofence_speeding",
    "corridor_left",
    "corridor_returned",
    "geofence_crossed",
    "missed_arrival",
    "stop_began",
    "stop_ended",
    "trip_started",
    "trip_ended",
    "devices_met",
    "devices_parted",
]


class EventView(Shown):
    """A conclusion of the tracking core."""

    event_id: str = Field(description="The same for the same event, however often it is sent.")
    tenant: str
    device_id: str
    device_number: int
    observed_at: TimeText = Field(description="When it happened, by the device's clock.")
    confirmed_at: TimeText
    cause: str = Field(examples=["movement"])
    revision: int = Field(description="Counts corrections from 0. Of one event the highest revision holds.")
    standing: str = Field(
        examples=["told"], description="told the first time, amended, or withdrawn: then it did not happen."
    )
    amends_event_id: str = Field(description="The event_id of revision 0; empty in revision 0.")
    told_at: TimeText | None = Field(description="What observed_at was in the revision before; null in revision 0.")
    assumed: bool
    severity: str = Field(examples=["info"])
    alert: bool = Field(description="Whether it is marked for people.")
    latitude_deg: float | None
    longitude_deg: float | None
    kind: Kind | None = Field(description="null for a kind that this gateway does not know yet.")
    details: dict[str, Any] = Field(
        examples=[{"fence_id": "port", "fence_version": 3, "fence_name": "Port of Hamburg"}]
    )


class VerdictCountView(Shown):
    """How many positions have a verdict."""

    verdict: str = Field(examples=["ok"])
    count: int


class AccountsView(Shown):
    """What was read, stored and repeated: `read` is `stored` and `repeated` together."""

    positions_read: int
    sensors_read: int
    tags_read: int
    positions_stored: int
    sensors_stored: int
    tags_stored: int
    positions_repeated: int
    sensors_repeated: int
    tags_repeated: int
    verdicts: list[VerdictCountView]
    events: int


class EventsQuery(PageQuery):
    """Which events."""

    device_id: str = Field("", max_length=256, description="Only of this device.")
    kind: Kind | None = Field(None, description="Only of this kind.")
    alerts: bool = Field(False, description="Only those marked for people.")
    since_us: TimeUs | None = Field(None, alias="from", description="Observed from here, inclusive.")
    until_us: TimeUs | None = Field(None, alias="until", description="Observed before here.")
    standing: bool = Field(False, description="Only the last revision of each, and none that was withdrawn.")


@router.get("/events", response_model=Page[EventView], responses=problems())
async def list_events(session: Reader, services: Services, events: Annotated[EventsQuery, Query()]) -> Response:
    """Events, newest first."""
    request = ListEventsRequest(
        device_id=events.device_id,
        kind=events.kind or "",
        alerts_only=events.alerts,
        from_us=events.since_us or 0,
        until_us=events.until_us or 0,
        standing_only=events.standing,
        page_size=events.limit,
    )
    query = f"{request.device_id} {request.kind} {request.alerts_only} {request.from_us} {request.until_us}"
    query += " standing" if request.standing_only else ""
    request.page_token = page_token(events.cursor, query)
    answer = await services.call(services.tracking.ListEvents, request, session.token)
    items = [event(each) for each in answer.events]
    return json_response({"items": items, "next_cursor": cursor(answer.next_page_token, query)})


@router.get("/accounts", response_model=AccountsView, responses=problems())
async def get_accounts(session: Reader, services: Services) -> Response:
    """Counts that must add up."""
    answer = await services.call(services.tracking.GetAccounts, GetAccountsRequest(), session.token)
    return json_response(view(answer))
