"""MQTT to the durable log, beside stock aiomqtt and beside a subscriber that parses nothing.

All three read the same load from the same Mosquitto, at QoS 1 and at QoS 0, each in a process of its own, on the cores
that broker, publisher and Redis need too. A rate is COUNT messages over the seconds between the first message and the
last. Stock aiomqtt only counts; the null subscriber reads and acknowledges at fixed distances; ours decodes, appends to
the log on Redis (append-only file on) and acknowledges after the append. Afterwards the log is read: every reading that
was sent must be in it exactly once, under the right device.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks import servers
from benchmarks.mqtt_load import DEVICES, FIRST_SEQUENCE
from benchmarks.mqtt_ours import PARTITIONS
from benchmarks.report import Options, Result, main, progress, spread_of
from runtime.partitioned_log import START, RedisStreamLog
from runtime.redis_client import connect
from tracking_core.block import EntryKind, unpack

NAMES = ("ours", "null", "aiomqtt")


class Child:
    """A process that is spoken to by lines."""

    def __init__(self, module: str, *arguments: object) -> None:
        command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
        self._module = module
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def expect(self, wanted: str) -> str:
        """The next line that begins so; others are passed over."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(wanted):
                return line
        raise SystemExit(f"{self._module} ended without saying {wanted}")

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.communicate()


class Run:
    """One subscriber and one load, prepared so far that nothing is imported, compiled or encoded under the clock."""

    def __init__(self, name: str, count: int, qos: int, stack: contextlib.ExitStack) -> None:
        self.name = name
        self.count = count
        self.redis_url = ""
        folder = stack.enter_context(servers.folder())
        self._port = stack.enter_context(servers.mosquitto(folder))
        if name == "ours":
            self.redis_url = stack.enter_context(servers.redis(folder))
            self._subscriber = Child("mqtt_ours", self._port, count, qos, self.redis_url, folder)
        else:
            self._subscriber = Child("mqtt_peers", name, self._port, count, qos)
        stack.callback(self._subscriber.end)
        self._load = Child("mqtt_load", self._port, count, qos)
        stack.callback(self._load.end)

    def prepare(self) -> None:
        self._subscriber.expect("loaded")
        self._load.expect("ready")

    def measure(self) -> Mapping[str, float]:
        self._subscriber.go()
        self._subscriber.expect("ready")
        self._load.go()
        return json.loads(self._subscriber.expect("{"))  # type: ignore[no-any-return]


async def is_complete(redis_url: str, count: int) -> bool:
    """Whether the log holds what the load sent, each reading once, and each device's readings under one number."""
    sequences: list[np.ndarray] = []
    devices: list[np.ndarray] = []
    async with connect(redis_url) as client:
        log = RedisStreamLog(client, PARTITIONS)
        offsets = dict.fromkeys(range(PARTITIONS), START)
        while entries := await log.read_from(offsets, max_entries=256, wait_ms=0):
            for entry in entries:
                offsets[entry.partition] = entry.offset
                if entry.kind == EntryKind.READINGS:
                    positions = unpack(entry.payload).positions
                    sequences.append(positions.sequence - FIRST_SEQUENCE)
                    devices.append(positions.device)
    sequence, device = np.concatenate(sequences), np.concatenate(devices)
    number_of = np.zeros(DEVICES, np.int64)
    number_of[sequence % DEVICES] = device
    return (
        np.array_equal(np.sort(sequence), np.arange(count))
        and np.array_equal(number_of[sequence % DEVICES], device)
        and len(np.unique(number_of)) == DEVICES
    )


def measure(name: str, count: int, qos: int) -> tuple[float, float, bool]:
    """Messages a second, processor microseconds a message, and whether the answer was right."""
    with contextlib.ExitStack() as stack:
        run = Run(name, count, qos, stack)
        run.prepare()
        measured = run.measure()
        checked = name != "ours" or asyncio.run(is_complete(run.redis_url, count))
    rate = count / measured["seconds"]
    progress(
        f"  {name:8} QoS {qos}: {rate:12,.0f} messages/s, {measured['cpu_s'] / count * 1e6:6.1f} us of processor each"
    )
    return rate, measured["cpu_s"] / count * 1e6, checked


def run(options: Options) -> Iterator[Result]:
    """Both peers at QoS 1, which is what DESIGN 7 asks for, and the same at QoS 0."""
    count, rounds = (30_000, 1) if options.quick else (100_000, 5)
    for qos in (1, 0):
        cases = {peer: f"qos{qos}_vs_{peer}" for peer in ("aiomqtt", "null")}
        if not any(options.wants(case) for case in cases.values()):
            continue
        wanted = [name for name in NAMES if name == "ours" or options.wants(cases[name])]
        rates: dict[str, list[float]] = {name: [] for name in wanted}
        processor: dict[str, list[float]] = {name: [] for name in wanted}
        checked = True
        for turn in range(rounds):
            for name in wanted if turn % 2 == 0 else reversed(wanted):
                rate, processor_us, right = measure(name, count, qos)
                rates[name].append(rate)
                processor[name].append(processor_us)
                checked &= right
        for peer, case in cases.items():
            if options.wants(case):
                ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[peer], strict=True)]
                yield Result(
                    case=case,
                    ours=statistics.median(rates["ours"]),
                    peer=statistics.median(rates[peer]),
                    unit="messages/s",
                    ratio=statistics.median(ratios),
                    spread=spread_of(ratios),
                    checked=checked,
                    notes={
                        "messages": count,
                        "runs": rounds,
                        "ours_processor_us": statistics.median(processor["ours"]),
                        "peer_processor_us": statistics.median(processor[peer]),
                    },
                )


if __name__ == "__main__":
    main("mqtt_ingest", run)
