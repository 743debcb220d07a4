"""`drover up --secure`: devices are created, rotated and revoked by CLI and REST, and the broker heeds it."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from tests.end_to_end.conftest import MakeStack
from tests.end_to_end.stack_process import StackProcess, drover

pytestmark = [pytest.mark.end_to_end, pytest.mark.server, pytest.mark.timeout(600)]


def publish(stack: StackProcess, device_id: str, *who: str) -> bool:
    """Whether the broker takes a position for a device of the tenant."""
    port = str(stack.described()["addresses"]["mqtt"])
    fix = {"observed_at_us": time.time_ns() // 1000, "latitude_deg": 41.0, "longitude_deg": -8.0}
    command = [
        "mosquitto_pub",
        "-V",
        "mqttv5",
        "-p",
        port,
        "-q",
        "1",
        "-t",
        f"drover/v1/demo/{device_id}/position/json",
    ]
    done = subprocess.run([*command, "-m", json.dumps(fix), *who], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "ot authorized" not in done.stderr


def signed_in(given: dict[str, Any]) -> list[str]:
    return ["-u", given["mqtt_username"], "-P", given["mqtt_password"]]


def cli(stack: StackProcess, *arguments: str) -> Any:
    done = drover("device", *arguments, "--json", data_dir=stack.data_dir)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def a_command_and_a_receipt(stack: StackProcess, van: dict[str, Any]) -> None:
    """Down and up again, both as a device hears them that may hear nothing else."""
    port = str(stack.described()["addresses"]["mqtt"])
    own = "drover/v1/demo/van"
    topics = ["-t", f"{own}/cmd/json", "-t", f"{own}/ack/json"]
    command = ["mosquitto_sub", "-p", port, "-q", "1", "-C", "2", "-W", "60", "-F", "%t %p", *topics, *signed_in(van)]
    listener = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    sent = stack.http.post("/v1/devices/van/commands", json={"name": "reboot", "parameters": {"hard": True}}).json()
    path = f"/v1/devices/van/commands/{sent['command_id']}"
    stack.wait_until("the command is sent", lambda: stack.get(path)["state"] == "sent", 60)
    fix = {"observed_at_us": time.time_ns() // 1000, "latitude_deg": 41.0, "longitude_deg": -8.0}
    batch = json.dumps({"batch_id": 9, "positions": [fix]})
    up = ["mosquitto_pub", "-p", port, "-q", "1", *signed_in(van)]
    subprocess.run([*up, "-t", f"{own}/batch/json", "-m", batch], check=True)
    heard = dict(line.split(" ", 1) for line in listener.communicate(timeout=60)[0].splitlines())
    assert json.loads(heard[f"{own}/ack/json"]) == {"batch_id": 9, "accepted": 1, "rejections": []}
    told = json.loads(heard[f"{own}/cmd/json"])
    assert (told["command_id"], told["parameters"]) == (sent["command_id"], {"hard": True})
    answer = json.dumps({"command_id": sent["command_id"], "result": "done"})
    subprocess.run([*up, "-t", f"{own}/cmd/ack/json", "-m", answer], check=True)
    waited = drover("device", "command", "van", "raw", "--parameters", "{", data_dir=stack.data_dir)
    assert waited.returncode == 1
    assert "not JSON" in waited.stderr
    unheard = drover("device", "command", "van", "x", "--wait", "0.1", "--json", data_dir=stack.data_dir)
    assert (unheard.returncode, json.loads(unheard.stdout)["state"]) == (1, "queued")
    assert cli(stack, "command", "van", "x")["state"] == "queued"
    stack.wait_until("it is acknowledged", lambda: stack.get(path)["state"] == "acknowledged", 30)


def test_only_devices_with_credentials_are_let_in(make_stack: MakeStack) -> None:
    stack = make_stack("--secure")
    assert not publish(stack, "truck")
    truck, van = cli(stack, "create", "truck", "--name", "Truck 7"), cli(stack, "create", "van")
    assert truck["mqtt_username"] == "demo/truck"
    stack.wait_until("the broker lets the truck in", lambda: publish(stack, "truck", *signed_in(truck)), 30)
    stack.wait_until("it is seen", lambda: stack.get("/v1/devices/truck/position"), 30)
    assert not publish(stack, "van", *signed_in(truck))
    assert not publish(stack, "truck", "-u", "demo/truck", "-P", "guess")
    again = drover("device", "create", "truck", data_dir=stack.data_dir)
    assert (again.returncode, again.stdout) == (1, "")
    assert "rotate" in again.stderr
    rotated = stack.http.post("/v1/devices/truck/credentials", json={}).json()
    stack.wait_until("the new one is good", lambda: publish(stack, "truck", *signed_in(rotated)), 30)
    assert not publish(stack, "truck", *signed_in(truck))
    assert cli(stack, "revoke", "truck") == {"device_id": "truck", "credential_state": "revoked"}
    stack.wait_until("no longer", lambda: not publish(stack, "truck", *signed_in(rotated)), 30)
    assert publish(stack, "van", *signed_in(van))
    a_command_and_a_receipt(stack, van)
    listed = {row["device_id"]: row["credential_state"] for row in cli(stack, "list")["items"]}
    assert listed == {"truck": "revoked", "van": "active"}
    assert "Truck 7" in drover("device", "list", data_dir=stack.data_dir).stdout
    examined = json.loads(drover("doctor", "--json", data_dir=stack.data_dir).stdout)
    assert "nobody without a name" in str(examined)
    assert "kept 1,500 messages" in str(examined)  # as who ingest is: it may try
    # All of it outlives the stack, and no secret stands in what it wrote.
    assert stack.stop() == 0
    stack.start()
    assert publish(stack, "van", *signed_in(van))
    assert not publish(stack, "truck", *signed_in(rotated))
    for secret in (given["mqtt_password"] for given in (truck, van, rotated)):
        assert secret not in stack.logs() + stack.said()
