"""One process of `engine_step`'s memory cases: prints megabytes, how many devices have a fix, megabytes of a snapshot.

python -m benchmarks.engine_step_memory DEVICES KEPT_FIXES FIXES_EACH
"""

from __future__ import annotations

import gc
import sys

import numpy as np
import psutil

from geofence.definition import CircleShape, FenceDefinition
from tracking_core.columns import NO_SATELLITES, NO_SEQUENCE, NO_TIME, PositionColumns, empty_positions, no_readings
from tracking_core.definitions import DeviceIdentity, PutFence
from tracking_core.engine import Engine
from tracking_core.settings import EngineSettings

START_US = 1_700_000_000_000_000
BATCH = 100_000


def fixes(first: int, count: int, turn: int) -> PositionColumns:
    columns = empty_positions(count)
    columns.device[:] = np.arange(first, first + count)
    columns.observed_at_us[:] = START_US + turn * 10_000_000
    columns.received_at_us[:] = START_US
    columns.latitude_deg[:] = 50.0 + turn * 1e-4
    columns.longitude_deg[:] = 8.0 + columns.device % 1000 * 1e-3
    for column in (columns.altitude_m, columns.speed_mps, columns.heading_deg, columns.accuracy_m):
        column[:] = np.nan
    columns.satellites[:] = NO_SATELLITES
    columns.sequence[:] = NO_SEQUENCE
    columns.sent_at_us[:] = NO_TIME
    columns.is_historical[:] = 0
    return columns


def main(devices: int, kept_fixes: int, turns: int) -> None:
    process = psutil.Process()
    # Compiled, and with what numpy and numba take, before the clean measure.
    warm = Engine(EngineSettings())
    warm.step(no_readings()._replace(positions=fixes(0, 10, 0)), START_US)
    warm.snapshot()
    gc.collect()
    before = process.memory_info().rss
    engine = Engine(EngineSettings(kept_fixes=kept_fixes, repairs_late=kept_fixes > 1))
    for first in range(0, devices, BATCH):
        engine.announce([DeviceIdentity(n, "fleet", f"device-{n}") for n in range(first, min(first + BATCH, devices))])
    # Every tenth device is inside a fence.
    engine.define(PutFence(FenceDefinition("fleet", "depot", "Depot", CircleShape(8.05, 50.0, 3600.0))), START_US)
    for turn in range(turns):
        for first in range(0, devices, BATCH):
            batch = fixes(first, min(BATCH, devices - first), turn)
            engine.step(no_readings()._replace(positions=batch), START_US + turn * 10_000_000)
    gc.collect()
    taken = process.memory_info().rss - before
    print(taken / 1e6, len(engine.latest().device), len(engine.snapshot()) / 1e6)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
