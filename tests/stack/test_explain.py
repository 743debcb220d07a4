"""`drover explain`: times as people write them, the fixes that are shown, and the whole against a running service."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import pathlib
import sys

import pytest
import typer
from rich.console import Console

from drover.api.tracking.v1 import tracking_service_pb2 as pb
from drover.tracking.v1.explanation_pb2 import (
    EVIDENCE_REASON_BEYOND_DOUBT,
    EVIDENCE_REASON_INSIDE,
    PRESENCE_STATE_IN,
    PRESENCE_STATE_OUT,
    ExplainedFix,
    Explanation,
)
from gateway.rest.explanations import ExplanationView
from stack import running as stack_file
from stack.explain import rows, show, time_of
from stack.processes import Addresses
from tests.services.tracking.build import SECOND, positions, readings
from tests.services.tracking.running import announcement, block, running, settings
from tests.services.tracking.test_service import OTHER, TRUCK, fence, now_us, read_positions

NOW = dt.datetime(2026, 1, 2, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-01-02T12:00:00+00:00"),
        ("10:02", "2026-01-02T10:02:00+00:00"),
        ("10:02:30", "2026-01-02T10:02:30+00:00"),
        ("13:00", "2026-01-01T13:00:00+00:00"),
        ("2026-01-01T10:02:00Z", "2026-01-01T10:02:00+00:00"),
        ("2026-01-01 10:02", "2026-01-01T10:02:00+00:00"),
        ("2026-01-01T10:02:00+01:00", "2026-01-01T10:02:00+01:00"),
    ],
)
def test_times_as_people_write_them(text: str, expected: str) -> None:
    assert time_of(text, NOW).isoformat() == expected


@pytest.mark.parametrize("text", ["yesterday", "25:00", "10:99", "", "2026-13-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        time_of(text, NOW)


def fix(minute: int, state: int = PRESENCE_STATE_OUT, *, before: int | None = None, **more: object) -> ExplainedFix:
    reason = EVIDENCE_REASON_INSIDE if state == PRESENCE_STATE_IN else EVIDENCE_REASON_BEYOND_DOUBT
    return ExplainedFix(
        observed_at_us=minute * 60 * SECOND,
        state_before=state if before is None else before,  # type: ignore[arg-type]
        state_after=state,  # type: ignore[arg-type]
        reason=reason,
        text=f"fix {minute}",
        **more,  # type: ignore[arg-type]
    )


def shown(fixes: list[ExplainedFix], *, every: bool = False) -> list[str | int]:
    return [count or each.text for each, count in rows(fixes, every=every)]


def test_runs_of_fixes_that_say_the_same_are_one_line() -> None:
    fixes = [fix(minute) for minute in range(20)]
    assert shown(fixes) == ["fix 0", 18, "fix 19"]
    assert shown(fixes, every=True) == [f"fix {minute}" for minute in range(20)]
    fixes[9] = fix(9, PRESENCE_STATE_IN, before=PRESENCE_STATE_OUT, event_kind="geofence_entered")
    assert shown(fixes) == ["fix 0", 7, "fix 8", "fix 9", 9, "fix 19"]
    assert shown([fix(0), fix(1), fix(2), fix(3), fix(4)]) == [f"fix {minute}" for minute in range(5)]
    for oddity in ({"arrived_late": True}, {"passed_through": True}):
        fixes[9] = fix(9, **oddity)
        assert "fix 9" in shown(fixes)


def printed(found: Explanation) -> str:
    text = io.StringIO()
    show(found, Console(file=text, width=100), every=False)
    return text.getvalue()


def test_what_is_printed() -> None:
    found = Explanation(answer=["It was inside."], at_us=60 * SECOND)
    assert printed(found) == "It was inside.\n"
    found.fixes.append(
        fix(
            1,
            PRESENCE_STATE_IN,
            before=PRESENCE_STATE_OUT,
            distance_m=-45.25,
            accuracy_m=8.4,
            pending_fixes=1,
            needed_fixes=2,
        )
    )
    lines = [" ".join(line.split()) for line in printed(found).splitlines()]
    assert lines[2:4] == ["time (UTC) metres ± state what it says", "00:01:00 -45.2 8 in 1/2 fix 1"]


@pytest.mark.server
async def test_it_asks_the_running_service(tmp_path: pathlib.Path, redis_url: str) -> None:
    common, tracking = settings(tmp_path, redis_url)

    async def drover(*arguments: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stack.cli", "explain", *arguments, "--data-dir", str(common.data_dir),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, complained = await process.communicate()
        return process.returncode, said.decode(), complained.decode()

    async with running(common, tracking) as service:
        port = int(tracking.grpc_address.rpartition(":")[2])
        addresses = Addresses(redis=0, mqtt=0, http=0, ingest=0, tracking=port, shipment=0)
        stack_file.write(common.data_dir, addresses, "acme", {})
        begin_us = await now_us(service) - 600 * SECOND
        await service.definitions.PutFence(pb.PutFenceRequest(fence=fence()), metadata=service.as_())
        await service.log.append([announcement(0, [TRUCK, OTHER])])
        fixes = [
            {"observed_at_us": begin_us + minute * 60 * SECOND, "received_at_us": await now_us(service),
             "latitude_deg": 48.0, "longitude_deg": longitude}
            for minute, longitude in enumerate((11.02, 11.01, 11.001, 11.0))
        ]  # fmt: skip
        await service.log.append([block(0, readings(positions(*fixes)))])
        await read_positions(service, 4)
        code, said, complained = await drover("truck", "--fence", "yard")
        assert (code, complained) == (0, "")
        assert "truck counted as inside “Yard”." in said
        assert "confirms the entry of" in " ".join(said.split())
        code, said, complained = await drover("truck", "--fence", "yard", "--json")
        assert (code, complained) == (0, "")
        found = ExplanationView.model_validate(json.loads(said))
        assert [each.accord for each in found.events] == ["agrees"]
        assert len(found.fixes) == 4
        code, said, complained = await drover("ship", "--fence", "yard")
        assert (code, said, complained) == (1, "", "drover: no device 'ship' is known\n")
