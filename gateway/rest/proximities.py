"""/v1/proximities: pairs of devices whose meetings are told of. The version of one is its ETag."""

from __future__ import annotations

import functools
from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.tracking.v1.tracking_service_pb2 import (
    DeleteProximityRequest,
    GetProximityRequest,
    ListProximitiesRequest,
    PutProximityRequest,
)
from drover.tracking.v1.definition_pb2 import Proximity
from gateway.auth import Editor, Reader, Session
from gateway.json_view import Json, json_response
from gateway.paging import cursor, page_token
from gateway.problems import PreconditionFailed
from gateway.rest.context import Services
from gateway.rest.documentation import DeviceId, Given, Page, PageQuery, Shown, problems
from gateway.rest.preconditions import expected_version, matched_version
from gateway.upstream import Upstream
from runtime.problems import Conflict, NotFound

router = APIRouter(prefix="/v1/proximities", tags=["proximities"])

ProximityId = Annotated[str, Field(min_length=1, max_length=128)]
IfMatch = Annotated[str | None, Header(description="Only if this is the stored version.")]
_MOST_S = 30 * 86_400


class NewProximity(Given):
    """Two devices, and when they are together (docs/proximity.md)."""

    device_id: DeviceId = Field(examples=["truck-7"], description="Events are about this one.")
    other_device_id: DeviceId = Field(examples=["trailer-3"])
    distance_m: float = Field(gt=0, le=1_000_000, examples=[50.0], description="Together at most this far apart.")
    name: str = Field("", max_length=256)
    margin_m: float = Field(10.0, ge=0, le=1_000_000, description="Apart when farther apart by more than this.")
    max_age_s: float = Field(
        300.0, gt=0, le=_MOST_S, description="How long one that sends nothing is taken to be where it was."
    )
    minimum_duration_s: float = Field(0.0, ge=0, le=_MOST_S, description="Told once they were together for so long.")
    near_fixes: int = Field(1, ge=1, le=100, description="So many fixes in a row confirm a meeting.")
    apart_fixes: int = Field(2, ge=1, le=100, description="So many fixes in a row confirm a parting.")

    def proto(self, proximity_id: str) -> Proximity:
        """The message."""
        return Proximity(
            proximity_id=proximity_id,
            name=self.name,
            device_id=self.device_id,
            other_device_id=self.other_device_id,
            distance_m=self.distance_m,
            margin_m=self.margin_m,
            max_age_us=max(1, round(self.max_age_s * 1e6)),
            minimum_duration_us=round(self.minimum_duration_s * 1e6),
            near_fixes=self.near_fixes,
            apart_fixes=self.apart_fixes,
        )


class ProximityView(Shown):
    """A proximity that holds."""

    proximity_id: str
    version: int
    name: str
    device_id: str
    other_device_id: str
    distance_m: float
    margin_m: float
    max_age_s: float
    minimum_duration_s: float
    near_fixes: int
    apart_fixes: int


def _view(proximity: Proximity) -> Json:
    """Left out by another client is what the tracking service takes then."""
    given = NewProximity.model_fields
    return {
        "proximity_id": proximity.proximity_id,
        "version": proximity.version,
        "name": proximity.name,
        "device_id": proximity.device_id,
        "other_device_id": proximity.other_device_id,
        "distance_m": proximity.distance_m,
        "margin_m": proximity.margin_m if proximity.HasField("margin_m") else given["margin_m"].default,
        "max_age_s": proximity.max_age_us / 1e6 if proximity.HasField("max_age_us") else given["max_age_s"].default,
        "minimum_duration_s": proximity.minimum_duration_us / 1e6,
        "near_fixes": proximity.near_fixes if proximity.HasField("near_fixes") else given["near_fixes"].default,
        "apart_fixes": proximity.apart_fixes if proximity.HasField("apart_fixes") else given["apart_fixes"].default,
    }


def _answer(proximity: Proximity) -> Response:
    headers = {"ETag": f'"{proximity.version}"'}
    if proximity.version == 1:
        headers["Location"] = f"/v1/proximities/{proximity.proximity_id}"
    return json_response(_view(proximity), 201 if proximity.version == 1 else 200, headers=headers)


async def _stored(services: Upstream, session: Session, proximity_id: str) -> Proximity:
    request = GetProximityRequest(proximity_id=proximity_id)
    return (await services.call(services.definitions.GetProximity, request, session.token)).proximity


async def _stored_version(services: Upstream, session: Session, proximity_id: str) -> int:
    return (await _stored(services, session, proximity_id)).version


@router.get("", response_model=Page[ProximityView], responses=problems())
async def list_proximities(session: Reader, services: Services, page: Annotated[PageQuery, Query()]) -> Response:
    """All proximities of the tenant, by id."""
    answer = await services.call(
        services.definitions.ListProximities,
        ListProximitiesRequest(page_size=page.limit, page_token=page_token(page.cursor, "proximities")),
        session.token,
    )
    items = [_view(each) for each in answer.proximities]
    return json_response({"items": items, "next_cursor": cursor(answer.next_page_token, "proximities")})


@router.get("/{proximity_id}", response_model=ProximityView, responses=problems(404))
async def get_proximity(session: Reader, services: Services, proximity_id: ProximityId) -> Response:
    """One proximity. Its `ETag` is its version."""
    proximity = await _stored(services, session, proximity_id)
    return json_response(_view(proximity), headers={"ETag": f'"{proximity.version}"'})


@router.put(
    "/{proximity_id}",
    response_model=ProximityView,
    responses={**problems(412, body=True), 201: {"model": ProximityView, "description": "It did not exist."}},
)
async def put_proximity(
    session: Editor,
    services: Services,
    proximity_id: ProximityId,
    proximity: NewProximity,
    if_match: IfMatch = None,
    if_none_match: Annotated[str | None, Header(description="`*`: only if there is none yet.")] = None,
) -> Response:
    """Makes or edits a proximity; in force within a second, once both devices are known. Without a precondition the
    last writer wins.
    """
    stored = functools.partial(_stored_version, services, session, proximity_id)
    expected = await expected_version(if_match, if_none_match, stored, "proximity")
    request = PutProximityRequest(proximity=proximity.proto(proximity_id), expected_version=expected)
    try:
        answer = await services.call(services.definitions.PutProximity, request, session.token)
    except (Conflict, NotFound) as error:
        if expected is None:
            raise
        raise PreconditionFailed(str(error)) from error
    return _answer(answer.proximity)


@router.delete("/{proximity_id}", status_code=204, responses=problems(404, 412))
async def delete_proximity(
    session: Editor, services: Services, proximity_id: ProximityId, if_match: IfMatch = None
) -> Response:
    """Removes a proximity: devices that are together part, with cause `definition`. If-Match is compared just before,
    not in one step with the removal.
    """
    if if_match is not None:
        stored = functools.partial(_stored_version, services, session, proximity_id)
        expected = await matched_version(if_match, stored, "proximity")
        version = await stored()
        if version != expected:
            raise PreconditionFailed(f"the stored version is {version}, not {expected}")
    request = DeleteProximityRequest(proximity_id=proximity_id)
    await services.call(services.definitions.DeleteProximity, request, session.token)
    return Response(status_code=204)
