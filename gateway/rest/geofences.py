"""/v1/geofences: areas as GeoJSON, edited live. The version of a fence is its ETag."""

from __future__ import annotations

import asyncio
import functools
import secrets
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.tracking.v1.tracking_service_pb2 import (
    DeleteFenceRequest,
    GetFenceRequest,
    ListFencesRequest,
    PutFenceRequest,
)
from drover.geofence.v1.fence_pb2 import Fence
from gateway.auth import Editor, Reader, Session
from gateway.json_view import Json, geojson_response
from gateway.paging import cursor, page_token
from gateway.problems import PreconditionFailed
from gateway.rest.context import Services
from gateway.rest.documentation import GeoJsonResponse, PageQuery, Shown, problems
from gateway.rest.json_body import JsonObject
from gateway.rest.preconditions import expected_version, matched_version
from gateway.upstream import Upstream
from geofence.geojson import from_feature, to_feature
from geofence.wire import from_proto, to_proto
from runtime.problems import Conflict, Invalid, NotFound

router = APIRouter(prefix="/v1/geofences", tags=["geofences"])

FenceIdPath = Annotated[str, Field(min_length=1, max_length=128)]
_EXAMPLE: Final = {
    "type": "Feature",
    "id": "yard",
    "geometry": {"type": "Polygon", "coordinates": [[[9.9, 53.5], [10.0, 53.5], [10.0, 53.6], [9.9, 53.5]]]},
    "properties": {"name": "Yard", "labels": {"kind": "depot"}},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {
                "schema": {"$ref": "#/components/schemas/FenceFeature"},
                "examples": {
                    "polygon": {"value": _EXAMPLE},
                    "circle": {
                        "value": {
                            "type": "Feature",
                            "geometry": {"type": "Point", "coordinates": [9.98, 53.54]},
                            "properties": {"name": "Gate", "radius_m": 150.0},
                        }
                    },
                    "corridor": {
                        "value": {
                            "type": "Feature",
                            "geometry": {"type": "LineString", "coordinates": [[9.9, 53.5], [10.1, 53.6]]},
                            "properties": {"name": "Road", "half_width_m": 40.0},
                        }
                    },
                },
            }
            for media_type in ("application/geo+json", "application/json")
        },
    }
}


class IdTaken(Conflict):
    """A fence that is to be made exists."""

    code = "id_taken"


class FenceGeometry(Shown):
    """Polygon or MultiPolygon; a Point with `radius_m` is a circle, a LineString with `half_width_m` a corridor."""

    type: Literal["Polygon", "MultiPolygon", "Point", "LineString"]
    coordinates: list[Any]


class FenceFeature(Shown):
    """A geofence as a GeoJSON Feature; members not named here are passed over."""

    type: Literal["Feature"]
    id: str | None = Field(None, description="Letters, digits and `_-.:`, at most 128. Made by `POST` if left out.")
    geometry: FenceGeometry
    properties: dict[str, Any] = Field(
        description="name, radius_m, half_width_m, labels, version, and the parameters of docs/geofences.md"
    )


class FenceCollection(Shown):
    """Geofences as a GeoJSON FeatureCollection."""

    type: Literal["FeatureCollection"]
    features: list[FenceFeature]
    next_cursor: str | None


class FencesQuery(PageQuery):
    """Which page of the fences."""

    limit: int = Field(1_000, ge=1, le=1_000, description="At most so many.")


def _feature(fence: Fence) -> Json:
    return to_feature(from_proto(fence))


def _answer(fence: Fence, status_code: int = 200) -> Response:
    headers = {"ETag": f'"{fence.version}"'}
    if status_code == 201:
        headers["Location"] = f"/v1/geofences/{fence.fence_id}"
    return geojson_response(_feature(fence), status_code, headers=headers)


async def _stored(services: Upstream, session: Session, fence_id: str) -> Fence:
    found = await services.call(services.definitions.GetFence, GetFenceRequest(fence_id=fence_id), session.token)
    return found.fence


async def _put(
    services: Upstream, session: Session, feature: Json, fence_id: str, expected_version: int | None
) -> Fence:
    if str(feature.get("id", fence_id)) != fence_id:
        raise Invalid("the Feature's id is not the one in the path", code="id_mismatch")
    # A fence of a hundred thousand points takes half a second: not on the event loop.
    definition = await asyncio.to_thread(from_feature, feature, session.caller.tenant, fence_id=fence_id)
    answer = await services.call(
        services.definitions.PutFence,
        PutFenceRequest(fence=to_proto(definition), expected_version=expected_version),
        session.token,
    )
    return answer.fence


async def _stored_version(services: Upstream, session: Session, fence_id: str) -> int:
    return (await _stored(services, session, fence_id)).version


@router.get("", response_model=FenceCollection, response_class=GeoJsonResponse, responses=problems())
async def list_fences(session: Reader, services: Services, page: Annotated[FencesQuery, Query()]) -> Response:
    """All fences of the tenant."""
    answer = await services.call(
        services.definitions.ListFences,
        ListFencesRequest(page_size=page.limit, page_token=page_token(page.cursor, "fences")),
        session.token,
    )
    return geojson_response(
        {
            "type": "FeatureCollection",
            "features": [_feature(fence) for fence in answer.fences],
            "next_cursor": cursor(answer.next_page_token, "fences"),
        }
    )


@router.post(
    "",
    response_model=FenceFeature,
    response_class=GeoJsonResponse,
    status_code=201,
    responses=problems(409, body=True),
    openapi_extra=_BODY,
)
async def create_fence(session: Editor, services: Services, feature: JsonObject) -> Response:
    """Makes a fence. Without an id it gets one."""
    if feature.get("id") is None:
        feature["id"] = f"fence-{secrets.token_hex(6)}"
    fence_id = feature["id"]
    if isinstance(fence_id, bool) or not isinstance(fence_id, str | int):
        raise Invalid("the Feature's id is not a string", code="bad_id")
    try:
        return _answer(await _put(services, session, feature, str(fence_id), 0), 201)
    except Conflict as error:
        raise IdTaken(f"there is a fence {fence_id}") from error


@router.get("/{fence_id}", response_model=FenceFeature, response_class=GeoJsonResponse, responses=problems(404))
async def get_fence(session: Reader, services: Services, fence_id: FenceIdPath) -> Response:
    """One fence. Its `ETag` is its version."""
    return _answer(await _stored(services, session, fence_id))


@router.put(
    "/{fence_id}",
    response_model=FenceFeature,
    response_class=GeoJsonResponse,
    responses={**problems(412, body=True), 201: {"model": FenceFeature, "description": "It did not exist."}},
    openapi_extra=_BODY,
)
async def put_fence(
    session: Editor,
    services: Services,
    fence_id: FenceIdPath,
    feature: JsonObject,
    if_match: Annotated[str | None, Header(description="Only if this is the stored version.")] = None,
    if_none_match: Annotated[str | None, Header(description="`*`: only if there is none yet.")] = None,
) -> Response:
    """Makes or edits a fence; in force within a second. Without a precondition the last writer wins."""
    stored = functools.partial(_stored_version, services, session, fence_id)
    expected = await expected_version(if_match, if_none_match, stored, "fence")
    try:
        fence = await _put(services, session, feature, fence_id, expected)
    except (Conflict, NotFound) as error:
        if expected is None:
            raise
        raise PreconditionFailed(str(error)) from error
    return _answer(fence, 201 if fence.version == 1 else 200)


@router.delete("/{fence_id}", status_code=204, responses=problems(404, 412))
async def delete_fence(
    session: Editor,
    services: Services,
    fence_id: FenceIdPath,
    if_match: Annotated[str | None, Header(description="Only if this is the stored version.")] = None,
) -> Response:
    """Removes a fence. If-Match is compared just before, not in one step with the removal."""
    if if_match is not None:
        stored = functools.partial(_stored_version, services, session, fence_id)
        expected = await matched_version(if_match, stored, "fence")
        version = await stored()
        if version != expected:
            raise PreconditionFailed(f"the stored version is {version}, not {expected}")
    await services.call(services.definitions.DeleteFence, DeleteFenceRequest(fence_id=fence_id), session.token)
    return Response(status_code=204)
