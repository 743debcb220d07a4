"""`drover deadletters`: what ingest could not take, and trying it again."""

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
from stack import running
from stack.options import DEFAULT_DATA_DIR, AsJson, DataDir, Tenant

app = typer.Typer(help="What could not be taken: list, show, replay.", no_args_is_help=True)

Answer = TypeVar("Answer")
Call = Callable[["ingest_service_pb2_grpc.DeadLettersAsyncStub", tuple[tuple[str, str], ...]], Awaitable[Answer]]


def _ask(data_dir: DataDir, tenant: str | None, call: Call[Answer]) -> Answer:
    """One call to ingest's DeadLetters, as an admin of the tenant. Raises Problem."""
    addresses, its_tenant = running.read(data_dir)
    issuer = load_or_create_keys(data_dir).issuer
    token = issuer.issue("operator", tenant or its_tenant, Role.ADMIN, 600)

    async def ask() -> Answer:
        async with grpc_client.channel(f"127.0.0.1:{addresses.ingest}") as link:
            try:
                return await call(ingest_service_pb2_grpc.DeadLettersStub(link), grpc_client.metadata(token))
            except grpc.aio.AioRpcError as error:
                raise grpc_client.problem_of(error) from error

    return asyncio.run(ask())


def _when(time_us: int) -> str:
    return dt.datetime.fromtimestamp(time_us / 1e6, dt.UTC).isoformat(timespec="milliseconds")


def _plain(letter: pb.DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.dead_letter_id,
        "received_at": _when(letter.received_at_us),
        "source": letter.source,
        "topic": letter.topic,
        "reason": letter.reason,
        "detail": letter.detail,
        "payload_bytes": letter.payload_bytes,
        "replayed_at": _when(letter.replayed_at_us) if letter.HasField("replayed_at_us") else None,
    }


@app.command("list")
def list_letters(
    reason: Annotated[str, typer.Option(help="Only this reason.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the newest dead letters."""
    request = pb.ListDeadLettersRequest(page_size=limit, reason=reason)
    answer: pb.ListDeadLettersResponse = _ask(
        data_dir, tenant, lambda stub, metadata: stub.ListDeadLetters(request, metadata=metadata, timeout=10)
    )
    rows = [_plain(letter) for letter in answer.dead_letters]
    if as_json:
        print(json.dumps({"items": rows, "more": bool(answer.next_page_token)}))
        return
    if not rows:
        print("no dead letters")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "received", "reason", "topic", "bytes", "replayed"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            str(row["id"]), row["received_at"], row["reason"], row["topic"], str(row["payload_bytes"]),
            row["replayed_at"] or "",
        )  # fmt: skip
    Console().print(table)


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(metavar="ID")],
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show one with its bytes."""
    request = pb.GetDeadLetterRequest(dead_letter_id=number)
    answer: pb.GetDeadLetterResponse = _ask(
        data_dir, tenant, lambda stub, metadata: stub.GetDeadLetter(request, metadata=metadata, timeout=10)
    )
    row = _plain(answer.dead_letter)
    if as_json:
        print(json.dumps({**row, "payload_hex": answer.dead_letter.payload.hex()}))
        return
    for name, value in row.items():
        print(f"{name:14} {value}")
    payload = answer.dead_letter.payload
    for start in range(0, min(len(payload), 4096), 16):
        part = payload[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        print(f"{start:08x}  {part.hex(' '):47}  {text}")
    if len(payload) > 4096:
        print(f"... {len(payload) - 4096:,} more bytes; --json has them all")


@app.command("replay")
def replay(
    number: Annotated[int, typer.Argument(metavar="ID")],
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Send one through the decoders again, for instance after its device was provisioned."""
    request = pb.ReplayDeadLetterRequest(dead_letter_id=number)
    answer: pb.ReplayDeadLetterResponse = _ask(
        data_dir, tenant, lambda stub, metadata: stub.ReplayDeadLetter(request, metadata=metadata, timeout=30)
    )
    if as_json:
        print(json.dumps({"accepted": answer.accepted, "reason": answer.reason or None}))
    elif answer.accepted:
        print(f"{answer.accepted} readings taken")
    else:
        print(f"refused again: {answer.reason}")
    if not answer.accepted:
        raise typer.Exit(1)
