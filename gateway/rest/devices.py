"""/v1/devices: who may send."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.ingest.v1.ingest_service_pb2 import GetDeviceRequest, ListDevicesRequest, ProvisionDeviceRequest
from gateway.auth import Administrator, Reader
from gateway.json_view import json_response, view
from gateway.paging import cursor, page_token
from gateway.rest.context import Services
from gateway.rest.documentation import DeviceId, Given, Page, PageQuery, Shown, TimeText, problems

router = APIRouter(prefix="/v1/devices", tags=["devices"])


class DeviceView(Shown):
    """A device of the tenant."""

    device_id: str = Field(examples=["truck-7"])
    tenant: str
    display_name: str = Field(examples=["Truck 7"])
    device_number: int = Field(description="Names the device in live frames.")
    provisioned_at: TimeText


class NewDevice(Given):
    """A device to provision."""

    device_id: DeviceId = Field(examples=["truck-7"], description="As in the device's topics and tokens.")
    display_name: str = Field("", max_length=256, examples=["Truck 7"], description="The id, if left out.")


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


@router.post("", response_model=DeviceView, status_code=201, responses=problems(409, body=True))
async def provision_device(session: Administrator, services: Services, device: NewDevice) -> Response:
    """Lets a device send. The same id again changes nothing but its name."""
    answer = await services.call(
        services.registry.ProvisionDevice,
        ProvisionDeviceRequest(device_id=device.device_id, display_name=device.display_name or device.device_id),
        session.token,
    )
    return json_response(view(answer.device), 201)


@router.get("/{device_id}", response_model=DeviceView, responses=problems(404))
async def get_device(session: Reader, services: Services, device_id: DeviceId) -> Response:
    """One device."""
    answer = await services.call(services.registry.GetDevice, GetDeviceRequest(device_id=device_id), session.token)
    return json_response(view(answer.device))
