"""`drover explain`: why a device has the events it has at a fence, or has none."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from drover.api.tracking.v1.tracking_service_pb2 import ExplainRequest
from drover.api.tracking.v1.tracking_service_pb2_grpc import TrackingStub
from drover.tracking.v1 import explanation_pb2 as pb
from gateway.json_view import explanation
from runtime import grpc_client
from runtime.tokens import Role, load_or_create_keys
from stack import running
from stack.options import DEFAULT_DATA_DIR, AsJson, DataDir, Tenant

_MINUTE_US = 60_000_000
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_STATES = {
    pb.PRESENCE_STATE_UNKNOWN: "?",
    pb.PRESENCE_STATE_OUT: "out",
    pb.PRESENCE_STATE_PENDING_IN: "in?",
    pb.PRESENCE_STATE_IN: "in",
    pb.PRESENCE_STATE_PENDING_OUT: "out?",
}
_QUIET_RUN = 4
"""So many fixes in a row of which nothing is to be said are one line."""


def time_of(text: str, now: dt.datetime) -> dt.datetime:
    """`now`, `10:02` or `10:02:30` (the last time that it was so late, UTC), or a date with a time, UTC unless it says
    otherwise. Raises typer.BadParameter.
    """
    if text == "now":
        return now
    clock = _CLOCK.fullmatch(text)
    try:
        if clock is not None:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            today = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
            return today if today <= now else today - dt.timedelta(days=1)
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time: {error}") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def command(
    device_id: Annotated[str, typer.Argument(metavar="DEVICE", help="Its id.")],
    fence_id: Annotated[str, typer.Option("--fence", help="The id of the fence.")],
    at: Annotated[
        str, typer.Option("--at", help="2026-01-02T10:02:00Z, or 10:02 for the last time it was so late (UTC), or now.")
    ] = "now",
    minutes: Annotated[int, typer.Option(min=1, max=1_440, help="How far round it to look, to each side.")] = 30,
    every: Annotated[bool, typer.Option("--all", help="Every fix, also those of which nothing is to be said.")] = False,
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Explain why a device entered or left a fence, or did not."""
    moment = time_of(at, dt.datetime.fromtimestamp(time.time(), dt.UTC))
    addresses, its_tenant = running.read(data_dir)
    token = load_or_create_keys(data_dir).issuer.issue("operator", tenant or its_tenant, Role.VIEWER, 600)
    request = ExplainRequest(
        device_id=device_id,
        fence_id=fence_id,
        at_us=round(moment.timestamp() * 1_000_000),
        window_us=minutes * _MINUTE_US,
    )
    found = asyncio.run(_ask(f"127.0.0.1:{addresses.tracking}", token, request))
    if as_json:
        print(json.dumps(explanation(found)))
        return
    show(found, Console(highlight=False), every=every)


async def _ask(address: str, token: str, request: ExplainRequest) -> pb.Explanation:
    """Raises Problem."""
    async with grpc_client.channel(address) as link:
        try:
            answer = await TrackingStub(link).Explain(request, metadata=grpc_client.metadata(token), timeout=30)
        except grpc.aio.AioRpcError as error:
            raise grpc_client.problem_of(error) from error
    return answer.explanation


def show(found: pb.Explanation, console: Console, *, every: bool) -> None:
    """The answer, then the fixes under it."""
    for number, said in enumerate(found.answer):
        console.print(Text(said, "bold" if number == 0 else ""))
    if not found.fixes:
        return
    console.print()
    table = Table(box=None, pad_edge=False)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("metres", justify="right", no_wrap=True)
    table.add_column("±", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("what it says", overflow="fold")
    for fix, quiet in rows(found.fixes, every=every):
        if quiet:
            table.add_row(
                "...", "", "", _STATES[fix.state_after], Text(f"{quiet} more, of which nothing is to be said")
            )
            continue
        pending = f" {fix.pending_fixes}/{fix.needed_fixes}" if fix.pending_fixes else ""
        table.add_row(
            _clock(fix.observed_at_us, found.at_us),
            f"{fix.distance_m:.1f}" if fix.HasField("distance_m") else "",
            f"{fix.accuracy_m:.0f}" if fix.HasField("accuracy_m") else "",
            _STATES[fix.state_after] + pending,
            Text(fix.text, "bold" if fix.event_kind else ""),
        )
    console.print(table)
    console.print(Text("metres: to the border, negative inside; ±: the accuracy the device claims", "dim"))


def rows(fixes: Sequence[pb.ExplainedFix], *, every: bool) -> Iterator[tuple[pb.ExplainedFix, int]]:
    """Fixes to show, with 0; and in place of a longer run of which nothing is to be said its last fix, with their
    number.
    """
    run: list[pb.ExplainedFix] = []
    for number, fix in enumerate(fixes):
        if not every and _is_quiet(fix) and 0 < number < len(fixes) - 1 and _is_quiet(fixes[number + 1]):
            run.append(fix)
            continue
        yield from _summed(run)
        run = []
        yield fix, 0
    yield from _summed(run)


def _summed(run: Sequence[pb.ExplainedFix]) -> Iterator[tuple[pb.ExplainedFix, int]]:
    if len(run) >= _QUIET_RUN:
        yield run[-1], len(run)
    else:
        yield from ((fix, 0) for fix in run)


def _is_quiet(fix: pb.ExplainedFix) -> bool:
    """Whether it confirms what is known anyway."""
    settled = (
        (pb.PRESENCE_STATE_IN, pb.EVIDENCE_REASON_INSIDE),
        (pb.PRESENCE_STATE_OUT, pb.EVIDENCE_REASON_BEYOND_DOUBT),
    )
    return (
        fix.state_before == fix.state_after
        and (fix.state_after, fix.reason) in settled
        and not fix.arrived_late
        and not fix.passed_through
        and not fix.event_kind
    )


def _clock(time_us: int, at_us: int) -> str:
    moment, asked = (dt.datetime.fromtimestamp(each // 1_000_000, dt.UTC) for each in (time_us, at_us))
    return moment.strftime("%H:%M:%S" if moment.date() == asked.date() else "%Y-%m-%d %H:%M:%S")
