"""`DeviceCommands`: proto to table, and back."""

from __future__ import annotations

from typing import Any, Final

import grpc
import msgspec

from drover.api.ingest.v1 import device_commands_pb2 as messages
from drover.api.ingest.v1 import device_commands_pb2_grpc as services
from ingest.dead_letters.api import BadPageTokenError
from ingest.devices.commands import Command, Commands, Order, UnknownCommandError
from ingest.devices.device_name import DeviceName
from ingest.devices.registry import Device, Registry
from runtime.grpc_server import require
from runtime.problems import Invalid
from runtime.tokens import Role

_PAGE_SIZE: Final = 100
_MAX_PAGE_SIZE: Final = 1_000
_PAST_ALL: Final = 2**63 - 1
_STATES: Final = {
    "queued": messages.COMMAND_STATE_QUEUED,
    "sent": messages.COMMAND_STATE_SENT,
    "acknowledged": messages.COMMAND_STATE_ACKNOWLEDGED,
    "failed": messages.COMMAND_STATE_FAILED,
    "expired": messages.COMMAND_STATE_EXPIRED,
}


class DeviceCommandsService(services.DeviceCommandsServicer):
    """Viewers read the commands of their tenant; dispatchers and admins send them."""

    def __init__(self, registry: Registry, commands: Commands) -> None:
        self._registry: Final = registry
        self._commands: Final = commands

    def add(self, server: grpc.aio.Server) -> None:
        """Puts the service on a server."""
        services.add_DeviceCommandsServicer_to_server(self, server)  # type: ignore[no-untyped-call,unused-ignore]

    async def SendCommand(  # noqa: N802
        self, request: messages.SendCommandRequest, _context: object
    ) -> messages.SendCommandResponse:
        """Raises UnknownDeviceError, and what `Commands.accept` raises."""
        device = await self._device(request.device_id, Role.DISPATCHER, Role.ADMIN)
        _check_object(request.parameters_json)
        order = Order(request.name, request.parameters_json, request.payload, request.expires_in_s)
        command, is_new = await self._commands.accept(device, order, request.idempotency_key)
        return messages.SendCommandResponse(command=_message(device, command), is_new=is_new)

    async def GetCommand(  # noqa: N802
        self, request: messages.GetCommandRequest, _context: object
    ) -> messages.GetCommandResponse:
        """Raises UnknownDeviceError and UnknownCommandError."""
        device = await self._device(request.device_id, Role.VIEWER, Role.DISPATCHER, Role.ADMIN)
        if request.command_id > _PAST_ALL:
            raise UnknownCommandError(f"there is no command {request.command_id} to {request.device_id}")
        return messages.GetCommandResponse(
            command=_message(device, await self._commands.get(device, request.command_id))
        )

    async def ListCommands(  # noqa: N802
        self, request: messages.ListCommandsRequest, _context: object
    ) -> messages.ListCommandsResponse:
        """The newest first; the token of a page is the last id before it. Raises BadPageTokenError."""
        device = await self._device(request.device_id, Role.VIEWER, Role.DISPATCHER, Role.ADMIN)
        token = request.page_token
        if token and not (token.isascii() and token.isdigit() and len(token) < 19):
            raise BadPageTokenError("the page token was not given by a page before")
        size = min(request.page_size or _PAGE_SIZE, _MAX_PAGE_SIZE)
        found = await self._commands.page(device, int(token or _PAST_ALL), size + 1)
        return messages.ListCommandsResponse(
            commands=[_message(device, command) for command in found[:size]],
            next_page_token=str(found[size - 1].command_id) if len(found) > size else "",
        )

    async def _device(self, device_id: str, *roles: Role) -> Device:
        return await self._registry.get(DeviceName(require(*roles).tenant, device_id))


def _check_object(text: str) -> None:
    try:
        value: Any = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"the parameters are not JSON: {error}", code="bad_parameters") from error
    if not isinstance(value, dict):
        raise Invalid("the parameters are not a JSON object", code="bad_parameters")


def _message(device: Device, command: Command) -> messages.DeviceCommand:
    return messages.DeviceCommand(
        command_id=command.command_id,
        device_id=device.name.device_id,
        name=command.name,
        parameters_json=command.parameters_json,
        payload=command.payload,
        state=_STATES[command.state],
        detail=command.detail,
        created_at_us=command.created_at_us,
        expires_at_us=command.expires_at_us,
        sent_at_us=command.sent_at_us,
        answered_at_us=command.answered_at_us,
    )
