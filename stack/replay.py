"""`drover replay FILE`: sends a recorded file to a running stack, as its devices would have."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ingest import replay_formats
from ingest.devices.device_name import is_device_id
from ingest.reasons import Reason
from ingest.replay_formats import NAMELESS, Row, Skipped
from runtime import logs
from runtime.problems import FatalError
from runtime.tokens import Role, load_or_create_keys
from simulators import grpc_sender, mqtt_sender
from simulators.sender import Sender
from stack import running
from stack.options import DEFAULT_DATA_DIR, AsJson, DataDir, Tenant

MAX_WAIT_S = 120.0
"""How long the end of a replay waits for receipts that do not come."""


def _pace(text: str) -> float | None:
    """Seconds of the recording a second; None is as fast as it goes. Raises FatalError."""
    if text == "max":
        return None
    try:
        pace = float(text.removesuffix("x"))
    except ValueError:
        pace = 0.0
    if not 0 < pace < 1e9:
        raise FatalError(f"--speed {text}: say max, or a factor such as 1 or 60x")
    return pace


def command(
    file: Annotated[pathlib.Path, typer.Argument(help="The recording; .gz is unpacked on the way.")],
    file_format: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(sorted(replay_formats.READERS))}.")
    ] = "drover-jsonl",
    device: Annotated[
        str | None, typer.Option(help=f"Whose it is, for {', '.join(sorted(replay_formats.WITHOUT_DEVICE))}.")
    ] = None,
    via: Annotated[str, typer.Option(help="mqtt or grpc.", metavar="mqtt|grpc")] = "mqtt",
    speed: Annotated[str, typer.Option(help="max, or a factor of real time: 1, 60x.")] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Readings a gRPC batch.")] = 500,
    mqtt_url: Annotated[str | None, typer.Option(help="Broker; the running stack's by default.")] = None,
    grpc_address: Annotated[
        str | None, typer.Option(help="host:port of ingest; the running stack's by default.")
    ] = None,
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Send a recorded file to a running stack; ends when every row is acknowledged."""
    if via not in {"mqtt", "grpc"}:
        raise typer.BadParameter("say mqtt or grpc", param_hint="--via")
    reader = replay_formats.READERS.get(file_format)
    if reader is None:
        raise FatalError(f"unknown format {file_format}; known are {', '.join(sorted(replay_formats.READERS))}")
    if (file_format in replay_formats.WITHOUT_DEVICE) != (device is not None):
        how = "does not say whose it is: name it by --device" if device is None else "says itself whose it is"
        raise FatalError(f"a recording of --format {file_format} {how}")
    if device is not None and not is_device_id(device):
        raise FatalError(f"--device {device}: {Reason.BAD_DEVICE_ID.text}")
    if not file.is_file():
        raise FatalError(f"there is no file {file}")
    pace = _pace(speed)
    if tenant is None or (mqtt_url if via == "mqtt" else grpc_address) is None:
        addresses, its_tenant = running.read(data_dir)
        tenant = tenant or its_tenant
        mqtt_url = mqtt_url or addresses.mqtt_url
        grpc_address = grpc_address or f"127.0.0.1:{addresses.ingest}"
    logs.configure("warning", json=False, process="replay")
    token = load_or_create_keys(data_dir).issuer.issue("replay", tenant, Role.FORWARDER, 86_400)

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Sender]:
        if via == "mqtt":
            assert mqtt_url is not None
            async with mqtt_sender.connected(mqtt_url, tenant, f"drover-replay-{os.getpid()}") as sender:
                yield sender
        else:
            assert grpc_address is not None
            async with grpc_sender.connected(grpc_address, lambda: token, batch=batch) as link:
                yield link

    result = asyncio.run(_replay(replay_formats.rows(file, file_format, device or NAMELESS), connect, pace, limit))
    if as_json:
        print(json.dumps(result))
    else:
        unreadable = f", {result['unreadable']:,} could not be read" if result["unreadable"] else ""
        print(
            f"{result['rows']:,} rows: {result['acknowledged']:,} acknowledged{unreadable}, "
            f"in {result['seconds']} s ({result['rows_per_s']:,} rows/s)"
        )
        for kind in ("rejected", "unreadable_reasons"):
            for reason, number in result[kind].items():
                print(f"  {kind.removesuffix('_reasons')}: {number:,} {reason}")
    sys.stdout.flush()


Connect = Callable[[], contextlib.AbstractAsyncContextManager[Sender]]


async def _replay(
    rows: Iterable[Row | Skipped], connect: Connect, pace: float | None, limit: int | None
) -> dict[str, Any]:
    """Sends all rows and waits for their receipts."""
    unreadable: Counter[str] = Counter()
    started_s = time.monotonic()
    first_us: int | None = None
    count = 0
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TextColumn("acknowledged"), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    with progress:
        bar = progress.add_task("replay", total=None)
        async with connect() as sender:
            for row in itertools.islice(rows, limit):
                count += 1
                if isinstance(row, Skipped):
                    unreadable[row.detail] += 1
                    continue
                if pace is not None:
                    first_us = row.observed_at_us if first_us is None else first_us
                    due_s = (row.observed_at_us - first_us) / 1e6 / pace
                    if due_s > (elapsed_s := time.monotonic() - started_s):
                        await sender.flush()
                        await asyncio.sleep(due_s - elapsed_s)
                await sender.send(row.device_id, row.readings)
                if count % 500 == 0:
                    progress.update(bar, completed=sender.receipts.acknowledged, total=count)
            await _all_acknowledged(
                sender, lambda: progress.update(bar, completed=sender.receipts.acknowledged, total=count)
            )
            seconds = time.monotonic() - started_s
            receipts = sender.receipts
    return {
        "rows": count,
        "sent": receipts.sent,
        "acknowledged": receipts.acknowledged,
        "resent": receipts.resent,
        "rejected": dict(receipts.rejected),
        "unreadable": unreadable.total(),
        "unreadable_reasons": dict(unreadable),
        "seconds": round(seconds, 3),
        "rows_per_s": round(count / seconds),
    }


async def _all_acknowledged(sender: Sender, show: Callable[[], object]) -> None:
    """Waits for the last receipts, for as long as any come. Raises FatalError when none has come for MAX_WAIT_S."""
    drained = asyncio.ensure_future(sender.drain())
    last, since_s = -1, time.monotonic()
    while not drained.done():
        await asyncio.wait({drained}, timeout=0.2)
        show()
        if sender.receipts.acknowledged != last:
            last, since_s = sender.receipts.acknowledged, time.monotonic()
        elif time.monotonic() - since_s > MAX_WAIT_S:
            drained.cancel()
            raise FatalError(
                f"{sender.receipts.sent - last:,} of {sender.receipts.sent:,} readings were not acknowledged "
                f"for {MAX_WAIT_S:g} s"
            )
    await drained
