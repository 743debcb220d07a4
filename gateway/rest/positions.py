"""Where devices are and were, as GeoJSON."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.ingest.v1.ingest_service_pb2 import GetDeviceRequest
from drover.api.tracking.v1.tracking_service_pb2 import GetLatestRequest, GetTrackRequest
from gateway.auth import Reader
from gateway.json_view import geojson_response, position_feature, track_feature
from gateway.paging import cursor, page_token
from gateway.rest.context import Services
from gateway.rest.documentation import DeviceId, GeoJsonResponse, PageQuery, Shown, TimeText, TimeUs, problems
from runtime.problems import Invalid, NotFound

router = APIRouter(prefix="/v1", tags=["positions"])

Coordinates = Annotated[list[float], Field(min_length=2, max_length=2, examples=[[9.98, 53.54]])]


class NoPosition(NotFound):
    """A device that has not been seen yet."""

    code = "no_position"


class BadPeriod(Invalid):
    """An end that is not after its beginning."""

    code = "bad_period"


class PointView(Shown):
    """A GeoJSON Point: longitude, latitude."""

    type: Literal["Point"]
    coordinates: Coordinates


class LineView(Shown):
    """A GeoJSON LineString."""

    type: Literal["LineString"]
    coordinates: list[Coordinates]


class PositionProperties(Shown):
    """What is known of a device's newest counted fix."""

    device_id: str
    device_number: int
    display_name: str
    observed_at: TimeText
    received_at: TimeText
    altitude_m: float | None
    speed_mps: float | None = Field(description="Measured, or derived from the fix before.")
    heading_deg: float | None
    accuracy_m: float | None
    inside_fence_ids: list[str]
    travelled_m: float | None = Field(description="Metres since the first fix, without the drift of stops.")
    smoothed_latitude_deg: float | None = Field(
        description="Where it most likely is; at a stop the mean of what was seen."
    )
    smoothed_longitude_deg: float | None
    stop_began_at: TimeText | None = Field(description="When the stop began at which it is; null while it is at none.")


class PositionFeature(Shown):
    """A latest position as a GeoJSON Feature."""

    type: Literal["Feature"]
    id: str = Field(description="The device's.")
    geometry: PointView
    properties: PositionProperties


class PositionCollection(Shown):
    """Latest positions as a GeoJSON FeatureCollection."""

    type: Literal["FeatureCollection"]
    features: list[PositionFeature]
    next_cursor: str | None


class TrackProperties(Shown):
    """Lists that go along with a track's coordinates."""

    device_id: str
    times: list[TimeText]
    received_times: list[TimeText]
    speeds_mps: list[float | None]
    headings_deg: list[float | None]
    accuracies_m: list[float | None]
    verdicts: list[str] = Field(examples=[["ok", "implausible_jump"]])
    next_cursor: str | None


class TrackFeature(Shown):
    """A piece of a track as a GeoJSON Feature: a Point if it has only one position, null if none."""

    type: Literal["Feature"]
    id: str
    geometry: LineView | PointView | None
    properties: TrackProperties


class PositionsQuery(PageQuery):
    """Which page of the latest positions."""

    limit: int = Field(1_000, ge=1, le=5_000, description="At most so many.")


class TrackQuery(PageQuery):
    """Which piece of a track."""

    since_us: TimeUs | None = Field(None, alias="from", description="Inclusive; from the beginning, if left out.")
    until_us: TimeUs | None = Field(None, alias="until", description="Exclusive; to the end, if left out.")
    all_verdicts: bool = Field(False, description="Every stored position, not only those that count.")
    limit: int = Field(1_000, ge=1, le=5_000, description="At most so many.")


@router.get("/positions", response_model=PositionCollection, response_class=GeoJsonResponse, responses=problems())
async def list_positions(session: Reader, services: Services, page: Annotated[PositionsQuery, Query()]) -> Response:
    """Where every device of the tenant was last seen."""
    answer = await services.call(
        services.tracking.GetLatest,
        GetLatestRequest(page_size=page.limit, page_token=page_token(page.cursor, "positions")),
        session.token,
    )
    return geojson_response(
        {
            "type": "FeatureCollection",
            "features": [position_feature(position) for position in answer.positions],
            "next_cursor": cursor(answer.next_page_token, "positions"),
        }
    )


@router.get(
    "/devices/{device_id}/position",
    response_model=PositionFeature,
    response_class=GeoJsonResponse,
    responses=problems(404),
)
async def get_position(session: Reader, services: Services, device_id: DeviceId) -> Response:
    """Where a device was last seen. `no_position` when it is known but was never seen."""
    answer = await services.call(services.tracking.GetLatest, GetLatestRequest(device_ids=[device_id]), session.token)
    if not answer.positions:
        await services.call(services.registry.GetDevice, GetDeviceRequest(device_id=device_id), session.token)
        raise NoPosition(f"the device {device_id} has not been seen yet")
    return geojson_response(position_feature(answer.positions[0]))


@router.get(
    "/devices/{device_id}/track",
    response_model=TrackFeature,
    response_class=GeoJsonResponse,
    responses=problems(404),
)
async def get_track(
    session: Reader, services: Services, device_id: DeviceId, track: Annotated[TrackQuery, Query()]
) -> Response:
    """Where a device was, oldest first."""
    since_us, until_us = track.since_us or 0, track.until_us or 0
    if track.until_us is not None and until_us <= since_us:
        raise BadPeriod("`until` must be after `from`")
    query = f"track {device_id} {since_us} {until_us} {track.all_verdicts}"
    answer = await services.call(
        services.tracking.GetTrack,
        GetTrackRequest(
            device_id=device_id,
            from_us=since_us,
            until_us=until_us,
            all_verdicts=track.all_verdicts,
            page_size=track.limit,
            page_token=page_token(track.cursor, query),
        ),
        session.token,
    )
    return geojson_response(track_feature(device_id, answer.points, cursor(answer.next_page_token, query)))
