"""Readings a second through everything, from a device's socket to a committed row: `python -m benchmarks.end_to_end`.

`drover up` with its broker, Redis, ingest, tracking, history in SQLite, shipment service and gateway; 2,000 devices
send batches of ten positions over MQTT at QoS 1, at an even pace, 50,000 positions a second in all, on the same two
cores. Each drives through a geofence of its own hundredth of the map, so that there are events as well.

Ours is the rate at which rows were committed, from the first batch sent to the last row; the peer is the rate offered,
so the ratio says whether the path kept up. Checked: every position is in history once, with the verdict ok, and every
device entered and left its geofence once.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from benchmarks.latency import DROVER, running_stack
from benchmarks.mqtt_load import connect
from benchmarks.report import Options, Result, main, progress
from tracking_core.verdicts import Verdict

DEVICES: Final = 2_000
BATCH: Final = 10
RATE: Final = 50_000
BURSTS_PER_S: Final = 100
FENCES: Final = 100
_FIRST_SEQUENCE: Final = 16_384  # from here to 2,097,151 a varint has three bytes
_PATIENCE_S: Final = 60.0
_SPACING_DEG: Final = 0.02
_SOUTH_DEG: Final = 10.0
_WEST_DEG: Final = 20.0
_SPEED_DEG: Final = 0.0001  # a second, some 11 m/s
_POSITION: Final = np.dtype(
    [
        ("in_batch", "u1", 2),
        ("time_tag", "u1"), ("observed_at_us", "<i8"),
        ("latitude_tag", "u1"), ("latitude_deg", "<f8"),
        ("longitude_tag", "u1"), ("longitude_deg", "<f8"),
        ("accuracy_tag", "u1"), ("accuracy_m", "<f4"),
        ("sequence_tag", "u1"), ("sequence", "u1", 3),
    ]
)  # fmt: skip


class Load(NamedTuple):
    """What is sent: every device sends `batches` batches."""

    batches: int
    starts_at_us: int

    @property
    def positions(self) -> int:
        return self.batches * BATCH * DEVICES

    @property
    def seconds(self) -> float:
        return self.positions / RATE


def encode(load: Load) -> bytes:
    """All PUBLISH packets, of one length, in the order in which they are sent: each device in turn."""
    count = load.batches * DEVICES
    index = np.arange(count)[:, None]
    device, number = index % DEVICES, index // DEVICES * BATCH + np.arange(BATCH)
    positions = np.zeros((count, BATCH), _POSITION)
    positions["in_batch"] = (0x0A, _POSITION.itemsize - 2)
    for field, tag in (("time", 0x09), ("latitude", 0x11), ("longitude", 0x19), ("accuracy", 0x3D), ("sequence", 0x48)):
        positions[f"{field}_tag"] = tag
    # Ten positions are as old as the time since the batch before.
    seconds = number * (DEVICES / RATE)
    positions["observed_at_us"] = load.starts_at_us + np.round(seconds * 1e6).astype(np.int64)
    positions["latitude_deg"] = _SOUTH_DEG + device // FENCES * _SPACING_DEG / (DEVICES // FENCES) / 2
    positions["longitude_deg"] = _WEST_DEG + device % FENCES * _SPACING_DEG + seconds * _SPEED_DEG
    positions["accuracy_m"] = 4.0
    sequence = _FIRST_SEQUENCE + number
    for byte in range(3):
        positions["sequence"][..., byte] = (sequence >> 7 * byte & 0x7F) | (0x80 if byte < 2 else 0)
    topic = b"drover/v1/bench/vehicle-0000/batch"
    body = 2 + len(topic) + 2 + BATCH * _POSITION.itemsize
    packet = np.dtype(
        [("head", "u1", 5), ("topic", "u1", len(topic)), ("id", ">u2"), ("payload", _POSITION, BATCH)]
    )  # fmt: skip
    packets = np.zeros(count, packet)
    packets["head"] = (0x32, body & 0x7F | 0x80, body >> 7, 0, len(topic))
    packets["topic"] = np.frombuffer(topic, np.uint8)
    digits = topic.index(b"0000")
    for place, power in enumerate((1000, 100, 10, 1)):
        packets["topic"][:, digits + place] = 48 + device[:, 0] // power % 10
    packets["id"] = index[:, 0] % 65_535 + 1
    packets["payload"] = positions
    return packets.tobytes()


def send(port: int, load: Load) -> None:
    """Sends at an even pace, in a process of its own; ends when the broker has acknowledged everything."""
    packets = memoryview(encode(load))
    count = load.batches * DEVICES
    size = len(packets) // count
    a_burst = RATE // BATCH // BURSTS_PER_S
    connection = connect(port, "end-to-end-load", version=4)
    connection.setblocking(False)
    starts_s = load.starts_at_us / 1e6
    sent = acknowledged = 0
    while acknowledged < 4 * count:
        wanted = min(count, int((time.time() - starts_s) * BURSTS_PER_S) * a_burst) * size
        with contextlib.suppress(BlockingIOError):
            while sent < wanted:
                sent += connection.send(packets[sent:wanted])
        with contextlib.suppress(BlockingIOError):
            acknowledged += len(connection.recv(1 << 20))
        time.sleep(0.005)
    connection.close()


def draw_fences(port: int, token: str, load: Load) -> None:
    """A box in the way of each hundredth of the devices, entered and left while they drive."""
    drive_deg = load.seconds * _SPEED_DEG
    for number in range(FENCES):
        west = _WEST_DEG + number * _SPACING_DEG + 0.3 * drive_deg
        east, south, north = west + 0.3 * drive_deg, _SOUTH_DEG - 1.0, _SOUTH_DEG + 1.0
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        feature = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"name": f"box {number}"},
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/geofences",
            json.dumps(feature).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/geo+json"},
        )
        urllib.request.urlopen(request, timeout=30).close()


def rows(database: pathlib.Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM positions").fetchone()[0])


def is_right(database: pathlib.Path, load: Load) -> bool:
    """Every position once, with the verdict ok; every device in and out of its fence once."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT count(*), sum(verdict != ?), count(DISTINCT device_number), min(sequence), max(sequence)"
            " FROM positions",
            (int(Verdict.OK),),
        ).fetchone()
        distinct = connection.execute("SELECT count(*) FROM (SELECT DISTINCT device_number, sequence FROM positions)")
        kinds = connection.execute("SELECT kind, count(*) FROM events WHERE kind LIKE 'geofence%' GROUP BY kind")
        events = dict(kinds.fetchall())
        last = _FIRST_SEQUENCE + load.batches * BATCH - 1
        progress(f"rows {found}, events {events}")
        return (
            found == (load.positions, 0, DEVICES, _FIRST_SEQUENCE, last)
            and distinct.fetchone() == (load.positions,)
            and sorted(events.values()) == [DEVICES, DEVICES]
        )


def run(options: Options) -> Iterator[Result]:
    """The case `sustained`."""
    batches = 25 if options.quick else 150  # a batch of every device is 0.4 s
    with tempfile.TemporaryDirectory(prefix="drover-end-to-end-") as name:
        folder = pathlib.Path(name)
        progress("starting the stack")
        with running_stack(folder) as ports:
            data = folder / "data"
            command = [DROVER, "token", "--tenant", "bench", "--data-dir", str(data), "--role", "admin"]
            token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            load = Load(batches, 0)
            draw_fences(ports["http"], token, load)
            load = load._replace(starts_at_us=int((time.time() + 5.0) * 1e6))
            progress(f"{RATE:,} positions a second for {load.seconds:g} s")
            arguments = [str(ports["mqtt"]), str(load.batches), str(load.starts_at_us)]
            sender = subprocess.Popen([sys.executable, "-m", "benchmarks.end_to_end", *arguments], env=os.environ)
            database = data / "tracking.db"
            deadline_s = load.starts_at_us / 1e6 + load.seconds + _PATIENCE_S
            stored = 0
            while stored < load.positions and time.time() < deadline_s:
                time.sleep(0.25)
                stored = rows(database)
            took_s = time.time() - load.starts_at_us / 1e6
            sender.terminate()
            sender.wait()
            time.sleep(1.0)  # the last events
            right = is_right(database, load)
    taken = stored / took_s
    yield Result(
        "sustained", taken, float(RATE), "readings/s", taken / RATE, None, right,
        {"positions": load.positions, "batch": BATCH, "devices": DEVICES, "behind_s": took_s - load.seconds},
    )  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1].isdigit():
        send(int(sys.argv[1]), Load(int(sys.argv[2]), int(sys.argv[3])))
    else:
        main("end_to_end", run)
