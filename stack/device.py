"""`drover device`: who may send, and what they sign in with; `device_command.py` has what they are asked to do."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import grpc
import typer
from rich.console import Console
from rich.table import Table

from drover.api.ingest.v1 import ingest_service_pb2 as pb
from drover.api.ingest.v1 import ingest_service_pb2_grpc
from runtime import grpc_client
from runtime.tokens import Role, load_or_create_keys
from stack import device_command, running
from stack.options import DEFAULT_DATA_DIR, AsJson, DataDir, Tenant

app = typer.Typer(help="Devices: create, rotate, revoke, list, command.", no_args_is_help=True)
app.command("command")(device_command.command)

Answer = TypeVar("Answer")
Call = Callable[["ingest_service_pb2_grpc.DeviceRegistryAsyncStub", Any], Awaitable[Answer]]
DeviceId = Annotated[str, typer.Argument(metavar="ID", help="As in the device's topics.")]
Days = Annotated[float, typer.Option("--days", min=0.01, max=3650, help="How long the gRPC token holds.")]

_STATES = {
    pb.CREDENTIAL_STATE_NONE: "none",
    pb.CREDENTIAL_STATE_ACTIVE: "active",
    pb.CREDENTIAL_STATE_REVOKED: "revoked",
}


def _ask(data_dir: DataDir, tenant: str | None, call: Call[Answer]) -> Answer:
    """Calls of ingest's DeviceRegistry, as an admin of the tenant. Raises Problem."""
    addresses, its_tenant = running.read(data_dir)
    token = load_or_create_keys(data_dir).issuer.issue("operator", tenant or its_tenant, Role.ADMIN, 600)

    async def ask() -> Answer:
        async with grpc_client.channel(f"127.0.0.1:{addresses.ingest}") as link:
            try:
                return await call(ingest_service_pb2_grpc.DeviceRegistryStub(link), grpc_client.metadata(token))
            except grpc.aio.AioRpcError as error:
                raise grpc_client.problem_of(error) from error

    return asyncio.run(ask())


async def _is_known(stub: ingest_service_pb2_grpc.DeviceRegistryAsyncStub, metadata: Any, device_id: str) -> bool:
    try:
        await stub.GetDevice(pb.GetDeviceRequest(device_id=device_id), metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return False
        raise
    return True


def _when(time_us: int) -> str:
    return dt.datetime.fromtimestamp(time_us / 1e6, dt.UTC).isoformat(timespec="seconds")


def _show(given: pb.DeviceCredentials, *, as_json: bool) -> None:
    row = {
        "device_id": given.device_id,
        "credential_number": given.credential_number,
        "mqtt_username": given.mqtt_username,
        "mqtt_password": given.mqtt_password,
        "grpc_token": given.grpc_token,
        "token_expires_at": _when(given.token_expires_at_us),
    }
    if as_json:
        print(json.dumps(row))
        return
    for name, value in row.items():
        print(f"{name:18} {value}")
    print("\nPassword and token are shown this once: Drover keeps only a hash.")


@app.command("create")
def create(
    device_id: DeviceId,
    name: Annotated[str, typer.Option(help="What people call it; the id, if left out.")] = "",
    days: Days = 365.0,
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Provision a device and give it its first credentials."""

    async def call(stub: ingest_service_pb2_grpc.DeviceRegistryAsyncStub, metadata: Any) -> pb.DeviceCredentials:
        if name or not await _is_known(stub, metadata, device_id):
            new = pb.ProvisionDeviceRequest(device_id=device_id, display_name=name or device_id)
            await stub.ProvisionDevice(new, metadata=metadata, timeout=10)
        request = pb.CreateCredentialsRequest(device_id=device_id, token_lifetime_s=round(days * 86_400))
        return (await stub.CreateCredentials(request, metadata=metadata, timeout=10)).credentials

    _show(_ask(data_dir, tenant, call), as_json=as_json)


@app.command("rotate")
def rotate(
    device_id: DeviceId,
    days: Days = 365.0,
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Give a device new credentials; those before end."""

    async def call(stub: ingest_service_pb2_grpc.DeviceRegistryAsyncStub, metadata: Any) -> pb.DeviceCredentials:
        request = pb.RotateCredentialsRequest(device_id=device_id, token_lifetime_s=round(days * 86_400))
        return (await stub.RotateCredentials(request, metadata=metadata, timeout=10)).credentials

    _show(_ask(data_dir, tenant, call), as_json=as_json)


@app.command("revoke")
def revoke(
    device_id: DeviceId, tenant: Tenant = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """End a device's credentials; its certificate opens nothing any more either."""
    request = pb.RevokeCredentialsRequest(device_id=device_id)
    _ask(data_dir, tenant, lambda stub, metadata: stub.RevokeCredentials(request, metadata=metadata, timeout=10))
    print(json.dumps({"device_id": device_id, "credential_state": "revoked"}) if as_json else "revoked")


@app.command("list")
def list_devices(
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many, in order of the id.")] = 1_000,
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the devices of the tenant."""

    async def call(stub: ingest_service_pb2_grpc.DeviceRegistryAsyncStub, metadata: Any) -> list[pb.Device]:
        found: list[pb.Device] = []
        token = ""
        while len(found) < limit:
            request = pb.ListDevicesRequest(page_size=min(10_000, limit - len(found)), page_token=token)
            answer = await stub.ListDevices(request, metadata=metadata, timeout=10)
            found += answer.devices
            token = answer.next_page_token
            if not token:
                break
        return found

    rows = [
        {
            "device_id": device.device_id,
            "display_name": device.display_name,
            "device_number": device.device_number,
            "provisioned_at": _when(device.provisioned_at_us),
            "credential_state": _STATES.get(device.credential_state, "unknown"),
        }
        for device in _ask(data_dir, tenant, call)
    ]
    if as_json:
        print(json.dumps({"items": rows}))
        return
    if not rows:
        print("no devices")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "number", "provisioned", "credentials"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
