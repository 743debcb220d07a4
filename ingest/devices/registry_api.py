"""`DeviceRegistry`: proto to the registers of devices and credentials, and back."""

from __future__ import annotations

from typing import Final

import grpc

from drover.api.ingest.v1 import ingest_service_pb2 as messages
from drover.api.ingest.v1 import ingest_service_pb2_grpc as services
from ingest.devices.credentials import Credentials, Issued
from ingest.devices.device_name import DeviceName, user_name
from ingest.devices.registry import Device, Registry
from runtime.grpc_server import require
from runtime.tokens import Caller, Role

_PAGE_SIZE: Final = 1_000
_MAX_PAGE_SIZE: Final = 10_000


class DeviceRegistryService(services.DeviceRegistryServicer):
    """All but devices read the devices of their tenant; dispatchers and admins provision; admins give credentials."""

    def __init__(self, registry: Registry, credentials: Credentials) -> None:
        self._registry: Final = registry
        self._credentials: Final = credentials

    def add(self, server: grpc.aio.Server) -> None:
        """Puts the service on a server."""
        services.add_DeviceRegistryServicer_to_server(self, server)  # type: ignore[no-untyped-call,unused-ignore]

    async def ProvisionDevice(  # noqa: N802
        self, request: messages.ProvisionDeviceRequest, _context: object
    ) -> messages.ProvisionDeviceResponse:
        """Idempotent. Raises BadDeviceNameError."""
        name = DeviceName(require(Role.DISPATCHER, Role.ADMIN).tenant, request.device_id)
        return messages.ProvisionDeviceResponse(
            device=self._message(await self._registry.provision(name, request.display_name))
        )

    async def GetDevice(  # noqa: N802
        self, request: messages.GetDeviceRequest, _context: object
    ) -> messages.GetDeviceResponse:
        """Raises UnknownDeviceError."""
        device = await self._registry.get(DeviceName(_reader().tenant, request.device_id))
        return messages.GetDeviceResponse(device=self._message(device))

    async def ListDevices(  # noqa: N802
        self, request: messages.ListDevicesRequest, _context: object
    ) -> messages.ListDevicesResponse:
        """In order of the id; the token of a page is the last id before it."""
        size = min(request.page_size or _PAGE_SIZE, _MAX_PAGE_SIZE)
        found = await self._registry.page(_reader().tenant, request.page_token, size + 1)
        return messages.ListDevicesResponse(
            devices=[self._message(device) for device in found[:size]],
            next_page_token=found[size - 1].name.device_id if len(found) > size else "",
        )

    async def CreateCredentials(  # noqa: N802
        self, request: messages.CreateCredentialsRequest, _context: object
    ) -> messages.CreateCredentialsResponse:
        """Raises UnknownDeviceError and CredentialsExistError."""
        issued = await self._credentials.create(await self._device(request.device_id), request.token_lifetime_s)
        return messages.CreateCredentialsResponse(credentials=_secrets(issued))

    async def RotateCredentials(  # noqa: N802
        self, request: messages.RotateCredentialsRequest, _context: object
    ) -> messages.RotateCredentialsResponse:
        """Raises UnknownDeviceError."""
        issued = await self._credentials.rotate(await self._device(request.device_id), request.token_lifetime_s)
        return messages.RotateCredentialsResponse(credentials=_secrets(issued))

    async def RevokeCredentials(  # noqa: N802
        self, request: messages.RevokeCredentialsRequest, _context: object
    ) -> messages.RevokeCredentialsResponse:
        """Idempotent. Raises UnknownDeviceError."""
        await self._credentials.revoke(await self._device(request.device_id))
        return messages.RevokeCredentialsResponse()

    async def _device(self, device_id: str) -> Device:
        return await self._registry.get(DeviceName(require(Role.ADMIN).tenant, device_id))

    def _message(self, device: Device) -> messages.Device:
        credential = self._credentials.of(device.name)
        state = messages.CREDENTIAL_STATE_NONE
        if credential is not None:
            state = messages.CREDENTIAL_STATE_REVOKED if credential.is_revoked else messages.CREDENTIAL_STATE_ACTIVE
        return messages.Device(
            device_id=device.name.device_id,
            tenant=device.name.tenant,
            display_name=device.display_name,
            device_number=device.number,
            provisioned_at_us=device.provisioned_at_us,
            credential_state=state,
        )


def _reader() -> Caller:
    return require(Role.VIEWER, Role.DISPATCHER, Role.FORWARDER, Role.ADMIN)


def _secrets(issued: Issued) -> messages.DeviceCredentials:
    return messages.DeviceCredentials(
        device_id=issued.name.device_id,
        credential_number=issued.number,
        mqtt_username=user_name(issued.name),
        mqtt_password=issued.password,
        grpc_token=issued.token,
        token_expires_at_us=issued.token_expires_at_us,
    )
