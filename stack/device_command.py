"""`drover device command`: asks a device to do something, and waits for what it says if wanted."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import grpc
import typer

from drover.api.ingest.v1 import device_commands_pb2 as pb
from drover.api.ingest.v1 import device_commands_pb2_grpc
from runtime import grpc_client
from runtime.tokens import Role, load_or_create_keys
from stack import running
from stack.options import DEFAULT_DATA_DIR, AsJson, DataDir, Tenant

_LOOK_EVERY_S = 0.2
_OPEN = frozenset({pb.COMMAND_STATE_QUEUED, pb.COMMAND_STATE_SENT})


def command(
    device_id: Annotated[str, typer.Argument(metavar="ID", help="As in the device's topics.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to do, as the device knows it.")],
    parameters: Annotated[str, typer.Option(help="A JSON object.")] = "",
    expires_in_s: Annotated[
        int, typer.Option("--expires-in", min=1, help="Seconds after which it is not done.")
    ] = 3600,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the device's answer.")] = 0.0,
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Send a device a command. Exit code 1 when it failed, or did not end while waited for."""
    addresses, its_tenant = running.read(data_dir)
    token = load_or_create_keys(data_dir).issuer.issue("operator", tenant or its_tenant, Role.ADMIN, 86_400)
    order = pb.SendCommandRequest(device_id=device_id, name=name, parameters_json=parameters, expires_in_s=expires_in_s)
    found = asyncio.run(_send(f"127.0.0.1:{addresses.ingest}", grpc_client.metadata(token), order, wait_s))
    state = pb.CommandState.Name(found.state).removeprefix("COMMAND_STATE_").lower()
    if as_json:
        print(json.dumps({"command_id": found.command_id, "state": state, "detail": found.detail}))
    else:
        print(f"command {found.command_id} is {state}{': ' if found.detail else ''}{found.detail}")
    if wait_s and found.state != pb.COMMAND_STATE_ACKNOWLEDGED:
        raise typer.Exit(1)


async def _send(address: str, metadata: Any, order: pb.SendCommandRequest, wait_s: float) -> pb.DeviceCommand:
    """The command as it is in the end, or when the waiting is over. Raises Problem."""
    async with grpc_client.channel(address) as link:
        stub = device_commands_pb2_grpc.DeviceCommandsStub(link)
        try:
            found = (await stub.SendCommand(order, metadata=metadata, timeout=10)).command
            asked = pb.GetCommandRequest(device_id=found.device_id, command_id=found.command_id)
            until_s = time.monotonic() + wait_s
            while found.state in _OPEN and time.monotonic() < until_s:
                await asyncio.sleep(_LOOK_EVERY_S)
                found = (await stub.GetCommand(asked, metadata=metadata, timeout=10)).command
        except grpc.aio.AioRpcError as error:
            raise grpc_client.problem_of(error) from error
        return found
