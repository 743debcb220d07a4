"""/v1/devices/{device_id}/commands: what devices are asked to do, and what became of it."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, Path, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.ingest.v1.device_commands_pb2 import (
    DeviceCommand,
    GetCommandRequest,
    ListCommandsRequest,
    SendCommandRequest,
)
from gateway.auth import Editor, Reader
from gateway.json_view import Json, json_response, view
from gateway.paging import cursor, page_token
from gateway.rest.context import Services
from gateway.rest.documentation import DeviceId, Given, Page, PageQuery, Shown, TimeText, problems
from runtime.problems import Invalid

router = APIRouter(prefix="/v1/devices/{device_id}/commands", tags=["commands"])

CommandId = Annotated[int, Path(ge=0, lt=2**63)]
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=128,
        description="The same key again gives the same command again, with 200 instead of 201.",
    ),
]


class CommandView(Shown):
    """A command to a device."""

    command_id: int
    device_id: str
    name: str = Field(examples=["set_interval"])
    parameters: dict[str, Any] | None
    payload_base64: str
    state: Literal["queued", "sent", "acknowledged", "failed", "expired"]
    detail: str = Field(description="The device's own words.")
    created_at: TimeText
    expires_at: TimeText
    sent_at: TimeText | None = Field(description="When a broker had it for the device.")
    answered_at: TimeText | None


class NewCommand(Given):
    """What a device is to do."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$", examples=["set_interval"])
    parameters: dict[str, Any] | None = Field(None, examples=[{"seconds": 30}], description="At most 16 KiB as JSON.")
    payload_base64: str = Field("", max_length=88_000, description="Bytes for the device, at most 64 KiB.")
    expires_in_s: int = Field(3_600, ge=1, le=30 * 86_400, description="Not to be done after that.")


def _view(command: DeviceCommand) -> Json:
    shown = view(command)
    text = shown.pop("parameters_json")
    shown["parameters"] = msgspec.json.decode(text) if text else None
    return shown


@router.post("", response_model=CommandView, status_code=201, responses=problems(404, 409, 429, body=True))
async def send_command(
    session: Editor, services: Services, device_id: DeviceId, command: NewCommand, key: IdempotencyKey = ""
) -> Response:
    """Sends a command. It goes out at once if the device is there, else when it comes, until it expires."""
    try:
        payload = base64.b64decode(command.payload_base64, validate=True)
    except ValueError as error:
        raise Invalid("payload_base64 is not base64", code="bad_payload") from error
    parameters = "" if command.parameters is None else msgspec.json.encode(command.parameters, order="sorted").decode()
    answer = await services.call(
        services.commands.SendCommand,
        SendCommandRequest(
            device_id=device_id,
            name=command.name,
            parameters_json=parameters,
            payload=payload,
            expires_in_s=command.expires_in_s,
            idempotency_key=key,
        ),
        session.token,
    )
    return json_response(_view(answer.command), 201 if answer.is_new else 200)


@router.get("", response_model=Page[CommandView], responses=problems(404))
async def list_commands(
    session: Reader, services: Services, device_id: DeviceId, page: Annotated[PageQuery, Query()]
) -> Response:
    """The commands to a device, the newest first."""
    query = f"commands {device_id}"
    answer = await services.call(
        services.commands.ListCommands,
        ListCommandsRequest(device_id=device_id, page_size=page.limit, page_token=page_token(page.cursor, query)),
        session.token,
    )
    items = [_view(command) for command in answer.commands]
    return json_response({"items": items, "next_cursor": cursor(answer.next_page_token, query)})


@router.get("/{command_id}", response_model=CommandView, responses=problems(404))
async def get_command(session: Reader, services: Services, device_id: DeviceId, command_id: CommandId) -> Response:
    """One command."""
    answer = await services.call(
        services.commands.GetCommand, GetCommandRequest(device_id=device_id, command_id=command_id), session.token
    )
    return json_response(_view(answer.command))
