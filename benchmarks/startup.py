"""How long until Drover can be used: `python -m benchmarks.startup`.

`compile`: `drover warmup` with an empty cache of kernels, as after an installation; not with --quick. `ready_ingest`,
`ready_tracking`, `ready_shipment`, `ready_gateway`: from the start of a process, its kernels compiled before, until it
says that it is ready, with a real Redis and Mosquitto and an empty data folder, in the order in which `drover up`
starts them. No peer. Checked: a process that is started after `compile` compiles nothing more; each process answers 200
at /readyz, and stops when it is asked.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator

from benchmarks import servers
from benchmarks.report import Options, Result, main, progress, spread_of
from runtime.tokens import load_or_create_keys
from stack.child import RunningChild
from stack.ports import any_free
from stack.processes import Addresses, all_processes

PROCESSES = ("tracking", "ingest", "shipment", "gateway")
DROVER = str(pathlib.Path(sys.executable).with_name("drover"))
READY_WITHIN_S = 60.0


def kernels(folder: pathlib.Path) -> int:
    """How many compiled kernels a cache holds."""
    return sum(1 for _ in folder.rglob("*.nbc"))


def compiling() -> Result:
    with tempfile.TemporaryDirectory(prefix="drover-kernels-") as name:
        environment = {**os.environ, "NUMBA_CACHE_DIR": name}
        started = time.perf_counter()
        subprocess.run([DROVER, "warmup"], env=environment, check=True, stdout=subprocess.DEVNULL)
        took_s = time.perf_counter() - started
        compiled = kernels(pathlib.Path(name))
        code = "from services.tracking.warm_up import warm_up; warm_up()"
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        nothing_more = kernels(pathlib.Path(name)) == compiled > 0
    return Result("compile", took_s, None, "s", None, None, checked=nothing_more, notes={"kernels": compiled})


async def start_all(folder: pathlib.Path, redis_port: int, mqtt_port: int) -> dict[str, tuple[float, bool]]:
    """Seconds until each process was ready, and whether it was and stopped when it was asked."""
    http, ingest, tracking, shipment = (any_free() for _ in range(4))
    addresses = Addresses(redis_port, mqtt_port, http, ingest, tracking, shipment)
    load_or_create_keys(folder)
    found: dict[str, tuple[float, bool]] = {}
    running: list[RunningChild] = []
    try:
        for child in all_processes(addresses, folder, folder / "logs", {}):
            started = time.perf_counter()
            running.append(RunningChild(child))
            is_ready = await running[-1].wait_ready(READY_WITHIN_S)
            found[child.name] = time.perf_counter() - started, is_ready
    finally:
        for process in reversed(running):
            await process.stop()
            took_s, was_ready = found[process.child.name]
            found[process.child.name] = took_s, was_ready and process.exit_code() == 0
    return found


def run(options: Options) -> Iterator[Result]:
    if not options.quick and options.wants("compile"):
        yield compiling()
    wanted = [name for name in PROCESSES if options.wants(f"ready_{name}")]
    if not wanted:
        return
    subprocess.run([DROVER, "warmup"], check=True, stdout=subprocess.DEVNULL)
    took_s: dict[str, list[float]] = defaultdict(list)
    were_right: dict[str, bool] = dict.fromkeys(wanted, True)
    for turn in range(2 if options.quick else 7):
        progress(f"start {turn + 1}")
        with (
            servers.folder() as folder,
            servers.redis(folder) as redis_url,
            servers.mosquitto(folder) as mqtt_port,
        ):
            redis_port = int(redis_url.rsplit(":", 1)[1].partition("/")[0])
            for name, (seconds, is_right) in asyncio.run(start_all(folder, redis_port, mqtt_port)).items():
                if name in wanted:
                    took_s[name].append(seconds)
                    were_right[name] &= is_right
    for name in wanted:
        seconds_of = took_s[name]
        notes = {"longest_s": max(seconds_of), "spread": spread_of(seconds_of)}
        yield Result(
            f"ready_{name}", statistics.median(seconds_of), None, "s", None, None, checked=were_right[name], notes=notes
        )


if __name__ == "__main__":
    main("startup", run)
