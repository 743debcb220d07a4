"""/v1/devices: who may send, and what they sign in with."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.ingest.v1.ingest_service_pb2 import (
    CREDENTIAL_STATE_ACTIVE,
    CreateCredentialsRequest,
    GetDeviceRequest,
    ListDevicesRequest,
    ProvisionDeviceRequest,
    RevokeCredentialsRequest,
    RotateCredentialsRequest,
)
from gateway.auth import Administrator, Reader
from gateway.json_view import json_response, view
from gateway.paging import cursor, page_token
from gateway.rest.context import Services
from gateway.rest.documentation import DeviceId, Given, Page, PageQuery, Shown, TimeText, problems

router = APIRouter(prefix="/v1/devices", tags=["devices"])

_NOT_KEPT: Final = {"Cache-Control": "no-store"}


class DeviceView(Shown):
    """A device of the tenant."""

    device_id: str = Field(examples=["truck-7"])
    tenant: str
    display_name: str = Field(examples=["Truck 7"])
    device_number: int = Field(description="Names the device in live frames.")
    provisioned_at: TimeText
    credential_state: Literal["none", "active", "revoked"]


class CredentialsView(Shown):
    """What a device signs in with. Password and token are in this answer and nowhere else."""

    device_id: str
    credential_number: int = Field(description="Counts the device's credentials from 1.")
    mqtt_username: str = Field(examples=["acme/truck-7"])
    mqtt_password: str
    grpc_token: str
    token_expires_at: TimeText


class NewDeviceView(DeviceView):
    """A device that was provisioned."""

    credentials: CredentialsView | None = Field(description="Null unless they were asked for.")


class NewDevice(Given):
    """A device to provision."""

    device_id: DeviceId = Field(examples=["truck-7"], description="As in the device's topics and tokens.")
    display_name: str = Field("", max_length=256, examples=["Truck 7"], description="The id, if left out.")
    with_credentials: bool = Field(
        False, description="Also make its first credentials; 409 when it has had some. The device stays provisioned."
    )


@router.get("", response_model=Page[DeviceView], responses=problems())
async def list_devices(session: Reader, services: Services, page: Annotated[PageQuery, Query()]) -> Response:
    """All devices of the tenant."""
    answer = await services.call(
        services.registry.ListDevices,
        ListDevicesRequest(page_size=page.limit, page_token=page_token(page.cursor, "devices")),
        session.token,
    )
    items = [view(device) for device in answer.devices]
    return json_response({"items": items, "next_cursor": cursor(answer.next_page_token, "devices")})


@router.post("", response_model=NewDeviceView, status_code=201, responses=problems(409, body=True))
async def provision_device(session: Administrator, services: Services, device: NewDevice) -> Response:
    """Lets a device send. The same id again changes nothing but its name."""
    answer = await services.call(
        services.registry.ProvisionDevice,
        ProvisionDeviceRequest(device_id=device.device_id, display_name=device.display_name or device.device_id),
        session.token,
    )
    credentials = None
    if device.with_credentials:
        created = await services.call(
            services.registry.CreateCredentials, CreateCredentialsRequest(device_id=device.device_id), session.token
        )
        credentials = view(created.credentials)
        answer.device.credential_state = CREDENTIAL_STATE_ACTIVE
    return json_response({**view(answer.device), "credentials": credentials}, 201, headers=_NOT_KEPT)


@router.get("/{device_id}", response_model=DeviceView, responses=problems(404))
async def get_device(session: Reader, services: Services, device_id: DeviceId) -> Response:
    """One device."""
    answer = await services.call(services.registry.GetDevice, GetDeviceRequest(device_id=device_id), session.token)
    return json_response(view(answer.device))


class NewCredentials(Given):
    """How long they are to hold."""

    token_lifetime_s: int = Field(365 * 86_400, gt=0, le=10 * 365 * 86_400, description="Of the gRPC token.")


@router.post(
    "/{device_id}/credentials", response_model=CredentialsView, status_code=201, responses=problems(404, body=True)
)
async def rotate_credentials(
    session: Administrator, services: Services, device_id: DeviceId, wanted: NewCredentials
) -> Response:
    """Makes new credentials. Those before, if any, end at once; the broker hears of it within seconds."""
    answer = await services.call(
        services.registry.RotateCredentials,
        RotateCredentialsRequest(device_id=device_id, token_lifetime_s=wanted.token_lifetime_s),
        session.token,
    )
    return json_response(view(answer.credentials), 201, headers=_NOT_KEPT)


@router.delete("/{device_id}/credentials", status_code=204, response_class=Response, responses=problems(404))
async def revoke_credentials(session: Administrator, services: Services, device_id: DeviceId) -> Response:
    """Ends the device's credentials, and keeps it from signing in by certificate, until it is given new ones."""
    await services.call(
        services.registry.RevokeCredentials, RevokeCredentialsRequest(device_id=device_id), session.token
    )
    return Response(status_code=204)
