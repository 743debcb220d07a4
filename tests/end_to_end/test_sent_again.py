"""What a device sends again, under whatever time, is stored each time and counts once."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.end_to_end.conftest import MakeStack
from tests.end_to_end.stack_process import StackProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.server, pytest.mark.timeout(300)]

RULE = {
    "filter": "trackers/+",
    "decoder": "json_fields",
    "tenant": "demo",
    "device_levels": [1],
    "fields": {"latitude_deg": "lat", "longitude_deg": "lon", "sequence": "n"},
}


def send(stack: StackProcess, message: dict[str, Any], stored: int) -> None:
    """Returns when so many positions are stored."""
    port = str(stack.described()["addresses"]["mqtt"])
    command = ["mosquitto_pub", "-p", port, "-q", "1", "-t", "trackers/t-1", "-m", json.dumps(message)]
    subprocess.run(command, check=True)
    stack.wait_until(f"{stored} are stored", lambda: stack.accounts()["positions_stored"] == stored, 60)


def test_a_tracker_without_a_clock_that_sends_a_message_twice_was_there_once(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DROVER_INGEST_TOPICS", json.dumps([RULE]))
    stack = make_stack()
    message = {"lat": 41.15, "lon": -8.61, "n": 7}
    # Each time it is observed when it is received, which is after the one before was stored.
    send(stack, message, 1)
    send(stack, message, 2)
    send(stack, {**message, "n": 8}, 3)
    track = stack.get("/v1/devices/t-1/track", all_verdicts=True)
    assert track["properties"]["verdicts"] == ["ok", "repeated", "ok"]
    times = track["properties"]["times"]
    assert times == sorted(set(times))
    counted = {row["verdict"]: row["count"] for row in stack.accounts()["verdicts"]}
    assert (counted["ok"], counted["repeated"]) == (2, 1)
