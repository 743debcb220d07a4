"""How old a position is when a client of the live map has it: `python -m benchmarks.latency`.

The whole stack on this machine, started by `drover up`: 1,000 devices send 5,000 positions a second over MQTT with QoS
1 at an even pace; a WebSocket client subscribed to everything receives binary frames as the page does. The age of a
position is the time its frame is read minus the time it was observed, on the same clock. No peer. Checked: at the end
the client has the last position of every device.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import websockets

from benchmarks.mqtt_load import connect
from benchmarks.report import Options, Result, main, progress

DEVICES = 1000
RATE = 5000
BURSTS_PER_S = 200
FRAME_HEADER = struct.Struct("<IBBHIIddd")
DROVER = str(pathlib.Path(sys.executable).with_name("drover"))


@contextlib.contextmanager
def running_stack(folder: pathlib.Path) -> Iterator[dict[str, int]]:
    """`drover up` on free ports; gives the ports. Raises RuntimeError with what it said when it does not get ready."""
    out = folder / "said"
    command = [DROVER, "up", "--data-dir", str(folder / "data"), "--tenant", "bench"]
    for option in ("--http-port", "--mqtt-port", "--ingest-port", "--redis-port"):
        command += [option, "0"]
    with out.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 180
        while b"\nready" not in out.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(out.read_text())
            time.sleep(0.1)
        yield json.loads((folder / "data" / "stack.json").read_text())["addresses"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def how_many(seconds: float) -> int:
    """Positions sent in so long, as many of each device."""
    return int(RATE * seconds) // DEVICES * DEVICES


def place(index: int, count: int) -> float:
    """Latitude of one of `count` positions: devices drive north, at a speed that trucks do not reach but fixes may."""
    return 10 + index % DEVICES / 1000 + index / count * 0.01


def send(port: int, seconds: float) -> None:
    """Sends at an even pace, in a process of its own."""
    connection = connect(port, "latency-load", version=4)
    connection.setblocking(False)
    topics = [f"drover/v1/bench/vehicle-{number:04d}/position".encode() for number in range(DEVICES)]
    count = how_many(seconds)
    burst = RATE // BURSTS_PER_S
    started_s = time.monotonic()
    pending = b""
    for first in range(0, count, burst):
        while (wait_s := started_s + first / RATE - time.monotonic()) > 0:
            time.sleep(min(wait_s, 0.002))
        packets = [pending]
        for index in range(first, first + burst):
            number = index % DEVICES
            latitude_deg = place(index, count)
            payload = struct.pack("<BqBdBd", 0x09, time.time_ns() // 1000, 0x11, latitude_deg, 0x19, 20.0)
            body = (
                struct.pack("!H", len(topics[number]))
                + topics[number]
                + struct.pack("!H", index % 65_535 + 1)
                + payload
            )
            packets.append(b"\x32" + bytes([len(body)]) + body)
        pending = b"".join(packets)
        with contextlib.suppress(BlockingIOError):
            while pending:
                pending = pending[connection.send(pending) :]
        with contextlib.suppress(BlockingIOError):
            connection.recv(1 << 20)  # the broker's acknowledgements
    connection.setblocking(True)
    connection.sendall(pending)
    connection.sendall(b"\xe0\x00")
    # Closed with acknowledgements unread, the connection would be reset, and the broker drop what it had not read.
    while connection.recv(1 << 20):
        pass


async def watch(url: str, token: str, port: int, seconds: float, warm_up_s: float) -> tuple[np.ndarray, bool]:
    """Ages in milliseconds of the positions received after the warm-up, and whether the last ones were right."""
    ages: list[np.ndarray] = []
    latest: dict[int, float] = {}
    names: dict[int, str] = {}
    protocols = [websockets.Subprotocol("drover.live.v1"), websockets.Subprotocol(f"bearer.{token}")]
    async with websockets.connect(url, subprotocols=protocols, max_size=None) as live:
        await live.send(json.dumps({"type": "subscribe", "everything": True, "events": "none"}))
        load = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.latency", str(port), str(seconds), stdin=subprocess.DEVNULL
        )
        counted_from_s = time.time() + warm_up_s
        finished_s: float | None = None
        while finished_s is None or time.time() < finished_s + 2.0:
            if finished_s is None and load.returncode is not None:
                finished_s = time.time()
            try:
                message = await asyncio.wait_for(live.recv(), 0.5)
            except TimeoutError:
                continue
            now_s = time.time()
            if isinstance(message, str):
                told = json.loads(message)
                for device in told["devices"] if told["type"] == "names" else []:
                    names[device["device_number"]] = device["device_id"]
                continue
            count = FRAME_HEADER.unpack_from(message)[4]
            observed_at_us = np.frombuffer(message, "<f8", count, 40)
            latitude = np.frombuffer(message, "<f8", count, 40 + 16 * count)
            device = np.frombuffer(message, "<u4", count, 40 + 24 * count)
            latest.update(zip(device.tolist(), latitude.tolist(), strict=True))
            if now_s > counted_from_s and finished_s is None:
                ages.append(now_s * 1e3 - observed_at_us / 1e3)
        await load.wait()
    count = how_many(seconds)
    right = len(latest) == DEVICES and all(
        abs(latitude - place(count - DEVICES + int(names[number].rpartition("-")[2]), count)) < 1e-9
        for number, latitude in latest.items()
    )
    return np.concatenate(ages), right


def run(options: Options) -> Iterator[Result]:
    """The one case."""
    seconds, warm_up_s = (10.0, 4.0) if options.quick else (40.0, 10.0)
    with tempfile.TemporaryDirectory(prefix="drover-latency-") as name:
        folder = pathlib.Path(name)
        progress("starting the stack")
        with running_stack(folder) as ports:
            command = [DROVER, "token", "--tenant", "bench", "--data-dir", str(folder / "data")]
            token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            url = f"ws://127.0.0.1:{ports['http']}/v1/live"
            progress(f"{RATE} positions a second for {seconds:g} s")
            ages, right = asyncio.run(watch(url, token, ports["mqtt"], seconds, warm_up_s))
    percentiles = {f"p{part}_ms": float(np.percentile(ages, part)) for part in (50, 90, 99)}
    yield Result(
        "device_to_browser", percentiles["p50_ms"], None, "ms", None, None, right,
        {**percentiles, "worst_ms": float(ages.max()), "positions": len(ages), "reach_p50_ms": 50, "reach_p99_ms": 250},
    )  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].isdigit():
        send(int(sys.argv[1]), float(sys.argv[2]))
    else:
        main("latency", run)
