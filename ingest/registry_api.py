"""`DeviceRegistry`: proto to register, and back."""

from __future__ import annotations

from typing import Final

import grpc

from drover.api.ingest.v1 import ingest_service_pb2 as messages
from drover.api.ingest.v1 import ingest_service_pb2_grpc as services
from ingest.device_name import DeviceName
from ingest.registry import Device, Registry
from runtime.grpc_server import caller, require
from runtime.tokens import Role

_PAGE_SIZE: Final = 1_000
_MAX_PAGE_SIZE: Final = 10_000


class DeviceRegistryService(services.DeviceRegistryServicer):
    """Everybody reads the devices of the own tenant; dispatchers and admins provision."""

    def __init__(self, registry: Registry) -> None:
        self._registry: Final = registry

    def add(self, server: grpc.aio.Server) -> None:
        """Puts the service on a server."""
        services.add_DeviceRegistryServicer_to_server(self, server)  # type: ignore[no-untyped-call,unused-ignore]

    async def ProvisionDevice(  # noqa: N802
        self, request: messages.ProvisionDeviceRequest, _context: object
    ) -> messages.ProvisionDeviceResponse:
        """Idempotent. Raises BadDeviceNameError."""
        name = DeviceName(require(Role.DISPATCHER, Role.ADMIN).tenant, request.device_id)
        return messages.ProvisionDeviceResponse(
            device=_message(await self._registry.provision(name, request.display_name))
        )

    async def GetDevice(  # noqa: N802
        self, request: messages.GetDeviceRequest, _context: object
    ) -> messages.GetDeviceResponse:
        """Raises UnknownDeviceError."""
        device = await self._registry.get(DeviceName(caller().tenant, request.device_id))
        return messages.GetDeviceResponse(device=_message(device))

    async def ListDevices(  # noqa: N802
        self, request: messages.ListDevicesRequest, _context: object
    ) -> messages.ListDevicesResponse:
        """In order of the id; the token of a page is the last id before it."""
        size = min(request.page_size or _PAGE_SIZE, _MAX_PAGE_SIZE)
        found = await self._registry.page(caller().tenant, request.page_token, size + 1)
        return messages.ListDevicesResponse(
            devices=[_message(device) for device in found[:size]],
            next_page_token=found[size - 1].name.device_id if len(found) > size else "",
        )


def _message(device: Device) -> messages.Device:
    return messages.Device(
        device_id=device.name.device_id,
        tenant=device.name.tenant,
        display_name=device.display_name,
        device_number=device.number,
        provisioned_at_us=device.provisioned_at_us,
    )
