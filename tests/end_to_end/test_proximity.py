"""A truck fetches a trailer: MQTT in, two partitions, REST out; across a stop, and with a fix that comes late."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.end_to_end.conftest import MakeStack
from tests.end_to_end.stack_process import StackProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.server, pytest.mark.timeout(600)]

METRE_DEG = 1 / 111_319.49079327358
TRUCK, TRAILER = "truck-7", "trailer-3"


def send(stack: StackProcess, device_id: str, *fixes: tuple[int, float]) -> None:
    """Fixes on the equator: when, in microseconds, and how many metres to the east."""
    command = ["mosquitto_pub", "-p", str(stack.described()["addresses"]["mqtt"]), "-q", "1", "-l"]
    lines = [
        json.dumps({"observed_at_us": at_us, "latitude_deg": 0.01, "longitude_deg": 10.0 + east_m * METRE_DEG})
        for at_us, east_m in fixes
    ]
    topic = ["-t", f"drover/v1/demo/{device_id}/position/json"]
    subprocess.run([*command, *topic], input="\n".join(lines) + "\n", text=True, check=True)


def test_a_truck_meets_its_trailer(make_stack: MakeStack) -> None:
    stack = make_stack()
    start_us = time.time_ns() // 1000 - 600_000_000
    for device_id, east_m in ((TRUCK, 1000.0), (TRAILER, 200.0)):
        send(stack, device_id, (start_us, east_m))
        stack.wait_until(f"{device_id} is known", lambda name=device_id: stack.get(f"/v1/devices/{name}/position"))
    numbers = {
        each["device_id"]: each["device_number"] for each in stack.get_all("/v1/devices") if "device_number" in each
    }
    assert numbers[TRUCK] % 2 != numbers[TRAILER] % 2
    made = stack.http.put(
        "/v1/proximities/coupled",
        json={"device_id": TRUCK, "other_device_id": TRAILER, "distance_m": 100, "name": "Coupled"},
    )
    assert made.status_code == 201, made.text
    assert stack.get("/v1/proximities")["items"] == [made.json()]

    send(stack, TRAILER, *((start_us + second * 1_000_000, 200.0) for second in range(10, 70, 10)))
    send(stack, TRUCK, *((start_us + second * 1_000_000, 1000.0 - 16 * second) for second in (10, 20, 40, 50)))

    def told(kind: str) -> list[dict]:
        return stack.get_all("/v1/events", kind=kind, standing=True)

    (met,) = stack.wait_until("they met", lambda: told("devices_met"))
    assert (met["device_id"], met["details"]["other_device_id"]) == (TRUCK, TRAILER)
    assert met["details"]["proximity_name"] == "Coupled"
    # What is late is put where it belongs: at 43 s and a half they were 100 m apart already.
    send(stack, TRUCK, (start_us + 43_500_000, 290.0))
    (amended,) = stack.wait_until("it is amended", lambda: [each for each in told("devices_met") if each["revision"]])
    assert (amended["standing"], amended["cause"]) == ("amended", "late_data")
    assert amended["amends_event_id"] == met["event_id"]
    assert amended["observed_at"] < met["observed_at"]

    stack.stop()
    stack.start()
    send(stack, TRUCK, *((start_us + second * 1_000_000, 2000.0) for second in (80, 90, 100)))
    send(stack, TRAILER, *((start_us + second * 1_000_000, 200.0) for second in (85, 95)))
    (parted,) = stack.wait_until("they parted", lambda: told("devices_parted"))
    assert parted["details"]["met_at"] == amended["observed_at"]
    assert stack.http.delete("/v1/proximities/coupled").status_code == 204
    assert stack.get("/v1/proximities")["items"] == []
