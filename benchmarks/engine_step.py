"""How many readings a second one core folds: all stages, 10,000 fences, 100,000 devices; and how much memory it takes.

`full`: batches of 4,096 readings (8 in 10 positions, 15 in 100 sensor samples, 5 in 100 tag reads) of a fleet in which
each device reports every ten seconds and three in ten move; every second device has a sensor limit, every tenth a
route. Ours is `Engine.step`, events made into objects and all; the peer is the tests' oracle, one reading at a time in
plain Python with shapely behind an STRtree, given the same fences and definitions, and fewer devices and readings (it
is slower by orders of magnitude; its cost does not depend on how many devices there are). Checked: engine and peer give
the same events on the peer's readings. Both have been warmed up until what stood from the beginning is at its stops,
and in the whole run until every timeline is full; the notes have the rate and the events of the first minute, in which
all that moves departs at once. They also name the rate by processor time, which says more on a busy machine, and the
nanoseconds a reading that each stage took, in a run of its own.

`late_5_percent`: the same fleet, of whose positions one in twenty arrives one to five rounds late, behind newer ones of
its device: the engine puts it where it belongs and folds the device again from there. Ours is the rate of that, the
peer is the rate of the same readings in order, in turns. Checked: after all corrections both have told the same events,
and those of a smaller fleet that was late in the same way are those that the oracle tells of it in order.

`memory_1m`: a million devices that keep one fix each and repair nothing; `memory_100k`: 100,000 with full timelines of
the default 64, and what it takes to repair them; resident memory of a process that holds such an engine, less that of
one with an empty engine.
"""

from __future__ import annotations

import copy
import functools
import pathlib
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import numpy as np
import psutil

from benchmarks.report import Options, Pair, Result, main, measure_s, progress, rate_result
from geofence.definition import CircleShape, FenceDefinition, MultiPolygonShape
from tests.tracking_core import naive
from tests.tracking_core.readings import rows_of
from tracking_core.columns import (
    NO_SATELLITES,
    NO_SEQUENCE,
    NO_TIME,
    PositionColumns,
    Readings,
    concatenate,
    empty_positions,
    empty_sensors,
    empty_tags,
    take,
)
from tracking_core.definitions import DeviceIdentity, PutFence, PutLimit, PutRoute, Route, RouteStop, SensorLimit
from tracking_core.engine import Engine
from tracking_core.events import Cause, CoreEvent, FenceCrossing
from tracking_core.settings import EngineSettings

FENCES: Final = 10_000
DEVICES: Final = 100_000
PEER_DEVICES: Final = 500
STARTING_ROUNDS: Final = 3
WARM_ROUNDS: Final = 85
QUICK_WARM_ROUNDS: Final = 22
"""After four minutes what stood from the beginning is at its stops; after 88 rounds all timelines are full."""
LATE_SHARE: Final = 0.05
BATCH: Final = 4_096
READER_EVERY: Final = 50
START_US: Final = 1_700_000_000_000_000
SECOND_US: Final = 1_000_000
TENANT: Final = "fleet"
WEST_DEG, SOUTH_DEG, SIZE_DEG = 6.0, 48.0, 4.0
STAGES: Final = (
    "_expire_tags",
    "_fold_fixes",
    "_follow_routes",
    "_check_samples",
    "_read_tags",
    "_newest_fixes",
)
Returned = TypeVar("Returned")


def fences(count: int) -> Iterator[FenceDefinition]:
    """Sites of 200 to 1,500 m: four in five polygons of 5 to 40 corners, the others circles."""
    random = np.random.default_rng(1)
    for number in range(count):
        longitude, latitude = WEST_DEG + random.random() * SIZE_DEG, SOUTH_DEG + random.random() * SIZE_DEG
        radius_m = float(random.uniform(200.0, 1500.0))
        if number % 5 == 0:
            yield FenceDefinition(TENANT, f"site-{number}", "Site", CircleShape(longitude, latitude, radius_m))
            continue
        turns = np.linspace(0.0, 2.0 * np.pi, int(random.integers(5, 41)), endpoint=False)
        reach_deg = radius_m / 111_000.0 * random.uniform(0.7, 1.0, len(turns))
        ring = np.column_stack(
            (
                longitude + reach_deg * np.cos(turns) / np.cos(np.radians(latitude)),
                latitude + reach_deg * np.sin(turns),
            )
        )
        yield FenceDefinition(TENANT, f"site-{number}", "Site", MultiPolygonShape(((ring,),)))


class Fleet:
    """Devices on straight ways that turn now and then; `batches` goes on where it stopped."""

    def __init__(self, devices: int, seed: int = 2) -> None:
        self.devices = devices
        self._random = np.random.default_rng(seed)
        self._longitude = WEST_DEG + self._random.random(devices) * SIZE_DEG
        self._latitude = SOUTH_DEG + self._random.random(devices) * SIZE_DEG
        self._heading = self._random.random(devices) * 2.0 * np.pi
        self._speed_mps = np.where(self._random.random(devices) < 0.3, self._random.uniform(5.0, 30.0, devices), 0.0)
        self._seconds = 0

    def identities(self) -> list[DeviceIdentity]:
        return [DeviceIdentity(number, TENANT, f"device-{number}") for number in range(self.devices)]

    def limits(self) -> Iterator[SensorLimit]:
        for number in range(0, self.devices, 2):
            yield SensorLimit(TENANT, f"cold-{number}", number, 1, 2.0, 8.0, 0.5)

    def routes(self) -> Iterator[Route]:
        for number in range(0, self.devices, 10):
            x, y = self._longitude[number] + np.arange(20) * 0.01, np.full(20, self._latitude[number])
            stop = RouteStop("end", float(x[-1]), float(y[-1]))
            yield Route(TENANT, f"route-{number}", number, (stop,), np.column_stack((x, y)))

    def round(self) -> list[Readings]:
        """One report of every device, in random order, as batches of BATCH readings (the last shorter)."""
        random, devices = self._random, self.devices
        self._seconds += 10
        self._heading += random.normal(0.0, 0.1, devices)
        step_m = self._speed_mps * 10.0
        noise_deg = 3.0 / 111_000.0
        self._latitude += step_m * np.cos(self._heading) / 111_000.0
        self._longitude += step_m * np.sin(self._heading) / 70_000.0
        order = random.permutation(devices).astype(np.uint32)
        kind = random.random(devices)
        at_us = START_US + (self._seconds + random.integers(0, 5, devices)) * SECOND_US
        parts = []
        for start in range(0, devices, BATCH):
            chosen = order[start : start + BATCH]
            which = kind[start : start + BATCH]
            fix, sample, read = chosen[which < 0.8], chosen[(which >= 0.8) & (which < 0.95)], chosen[which >= 0.95]
            positions = empty_positions(len(fix))
            positions.device[:] = fix
            positions.observed_at_us[:] = at_us[fix]
            positions.received_at_us[:] = at_us[fix]
            positions.latitude_deg[:] = self._latitude[fix] + random.normal(0.0, noise_deg, len(fix))
            positions.longitude_deg[:] = self._longitude[fix] + random.normal(0.0, noise_deg, len(fix))
            positions.altitude_m[:] = 300.0
            positions.speed_mps[:] = np.where(random.random(len(fix)) < 0.5, self._speed_mps[fix], np.nan)
            positions.heading_deg[:] = np.nan
            positions.accuracy_m[:] = 5.0
            positions.satellites[:] = NO_SATELLITES
            # A number for each report, whichever kind it is of.
            positions.sequence[:] = self._seconds // 10
            positions.sent_at_us[:] = NO_TIME
            positions.is_historical[:] = 0
            sensors = empty_sensors(len(sample))
            sensors.device[:] = sample
            sensors.observed_at_us[:] = at_us[sample]
            sensors.received_at_us[:] = at_us[sample]
            sensors.quantity[:] = 1
            sensors.value[:] = np.round(random.normal(5.0, 1.0, len(sample)), 1)
            sensors.probe[:] = 0
            sensors.sequence[:] = NO_SEQUENCE
            sensors.sent_at_us[:] = NO_TIME
            tags = empty_tags(len(read))
            # One device in fifty is a reader, with three tags before it; it reads for those that would.
            tags.device[:] = read - read % READER_EVERY
            read = tags.device
            tags.observed_at_us[:] = at_us[read]
            tags.received_at_us[:] = at_us[read]
            tags.epc_high[:] = 0x30740000
            tags.epc_low[:] = random.integers(0, 3, len(read))
            tags.epc_length[:] = 12
            tags.antenna[:] = random.integers(1, 5, len(read))
            tags.rssi_dbm[:] = -60.0
            tags.sequence[:] = NO_SEQUENCE
            tags.sent_at_us[:] = NO_TIME
            parts.append(Readings(positions, sensors, tags))
        return parts

    @property
    def now_us(self) -> int:
        """When the last round was appended."""
        return START_US + (self._seconds + 5) * SECOND_US


Round = tuple[list[Readings], int]


def rounds(fleet: Fleet, count: int) -> list[Round]:
    return [(fleet.round(), fleet.now_us) for _ in range(count)]


class StageClock:
    """Adds up how long each stage of an engine takes from now on; `step` itself is untouched."""

    def __init__(self, engine: Engine) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        for name in STAGES:
            setattr(engine, name, self._timed(name, getattr(engine, name)))

    def _timed(self, name: str, stage: Callable[..., Returned]) -> Callable[..., Returned]:
        @functools.wraps(stage)
        def run(*arguments: Any) -> Returned:
            start = time.process_time()
            result = stage(*arguments)
            self.seconds[name] += time.process_time() - start
            return result

        return run


def fold(engine: Engine, work: list[Round]) -> list[CoreEvent]:
    events: list[CoreEvent] = []
    for batches, now_us in work:
        for batch in batches:
            events += engine.step(batch, now_us).events
    return events


def fold_naively(oracle: naive.NaiveEngine, work: list[Round]) -> list[CoreEvent]:
    events: list[CoreEvent] = []
    for batches, now_us in work:
        for batch in batches:
            for row in rows_of(batch):
                events += oracle.read(row, now_us)[1]
    return events


def warmed_up(engine: Engine, fleet: Fleet, count: int) -> Engine:
    """After so many rounds, which are made one by one: all of them would fill the memory."""
    for _ in range(count):
        fold(engine, rounds(fleet, 1))
    return engine


@functools.cache
def fenced() -> Engine:
    """An engine that knows the fences, to be copied."""
    engine = Engine(EngineSettings())
    # Before any device is known: each fence would be held against all of them.
    for fence in fences(FENCES):
        engine.define(PutFence(fence), START_US)
    return engine


def prepared(fleet: Fleet) -> Engine:
    """With identities and definitions."""
    engine = copy.deepcopy(fenced())
    engine.announce(fleet.identities())
    for limit in fleet.limits():
        engine.define(PutLimit(limit), START_US)
    for route in fleet.routes():
        engine.define(PutRoute(route), START_US)
    return engine


def oracle_of(fleet: Fleet) -> naive.NaiveEngine:
    """The peer, with fences, then identities."""
    oracle = naive.NaiveEngine()
    for fence in fences(FENCES):
        oracle.define(PutFence(fence), START_US)
    oracle.announce(fleet.identities())
    return oracle


def full(options: Options) -> Result:
    pairs_count = 3 if options.quick else 7
    per_run = 3 if options.quick else 10
    progress("engine_step: the peer's fleet, defined")
    small = Fleet(PEER_DEVICES // 4 if options.quick else PEER_DEVICES)
    ours_on_small, oracle = prepared(small), oracle_of(small)
    for limit in small.limits():
        oracle.define(PutLimit(limit), START_US)
    expected: list[CoreEvent] = []
    actual: list[CoreEvent] = []
    for _ in range(QUICK_WARM_ROUNDS):
        first = rounds(small, 1)
        expected += fold_naively(oracle, first)
        actual += fold(ours_on_small, first)
    progress("engine_step: the fleet of ours, defined and warmed up")
    large = Fleet(DEVICES)
    engine = prepared(large)
    fold(engine, rounds(large, 1))
    # What it costs while the whole fleet starts at once: all that move depart, and nothing has stopped yet.
    first = rounds(large, STARTING_ROUNDS)
    begun = time.perf_counter()
    starting = len(fold(engine, first))
    starting_s = time.perf_counter() - begun
    warmed_up(engine, large, QUICK_WARM_ROUNDS if options.quick else WARM_ROUNDS)
    pairs: list[Pair] = []
    events = 0
    processor_s = 0.0
    for turn in range(pairs_count):
        work, peer_work = rounds(large, per_run), rounds(small, 2 if options.quick else 5)
        begun, processor_begun = time.perf_counter(), time.process_time()
        events += len(fold(engine, work))
        ours_s = time.perf_counter() - begun
        processor_s += time.process_time() - processor_begun
        peer_s = measure_s(lambda work=peer_work: expected.extend(fold_naively(oracle, work)))  # type: ignore[misc]
        actual += fold(ours_on_small, peer_work)
        pairs.append(Pair(ours_s, peer_s))
        progress(f"engine_step: pair {turn + 1} of {pairs_count}: {DEVICES * per_run / ours_s:,.0f} readings/s")
    wrong = naive.differences(expected, actual)
    for line in wrong[:3]:
        progress(line)
    notes: dict[str, float | int | str] = {
        "devices": DEVICES,
        "fences": FENCES,
        "readings_per_processor_s": pairs_count * per_run * DEVICES / processor_s,
        "events_per_1000_readings": events / (pairs_count * per_run * DEVICES) * 1000,
        "events_compared": len(expected),
        "starting_readings_per_s": STARTING_ROUNDS * DEVICES / starting_s,
        "starting_events_per_1000_readings": starting / (STARTING_ROUNDS * DEVICES) * 1000,
        **stage_times(engine, large, 2 if options.quick else per_run),
    }
    return rate_result(
        "full",
        pairs,
        count=DEVICES * per_run,
        peer_count=small.devices * (2 if options.quick else 5),
        unit="readings/s",
        checked=not wrong and len(expected) > 20,
        notes=notes,
    )


def stage_times(engine: Engine, fleet: Fleet, count: int) -> dict[str, float | int | str]:
    """Nanoseconds a reading of the batch, stage by stage."""
    clock = StageClock(engine)
    work = rounds(fleet, count)
    whole_s = measure_s(lambda: fold(engine, work))
    readings = fleet.devices * count
    times = {f"ns{name}": seconds / readings * 1e9 for name, seconds in clock.seconds.items()}
    return {**times, "ns_whole": whole_s / readings * 1e9}


def held_back(work: list[Round], seed: int) -> list[Round]:
    """The same readings, one position in twenty of each round put into one of the next five, where its device has been
    heard of since.
    """
    random = np.random.default_rng(seed)
    late: list[list[PositionColumns]] = [[] for _ in work]
    held: list[Round] = []
    for number, (batches, now_us) in enumerate(work):
        rest: list[Readings] = []
        for batch in batches:
            rounds_later = random.integers(1, 6, len(batch.positions.device))
            is_late = (random.random(len(rounds_later)) < LATE_SHARE) & (number + rounds_later < len(work))
            for later in range(1, 6):
                chosen = is_late & (rounds_later == later)
                if chosen.any():
                    late[number + later].append(take(batch.positions, chosen))
            rest.append(batch._replace(positions=take(batch.positions, ~is_late)))
        if late[number]:
            arrived = concatenate(late[number])
            # Spread over the round's batches, as they would come.
            turns = random.integers(0, len(rest), len(arrived.device))
            rest = [
                batch._replace(positions=concatenate([batch.positions, take(arrived, turns == turn)]))
                for turn, batch in enumerate(rest)
            ]
        held.append((rest, now_us))
    return held


def standing(events: list[CoreEvent]) -> list[CoreEvent]:
    """What stands, whatever brought it about."""
    return [naive.meaning(event) for event in naive.standing(events) if isinstance(event.details, FenceCrossing)]


def late_5_percent(options: Options) -> Result:
    per_run, runs = (5, 4) if options.quick else (10, 6)
    progress("late_5_percent: the fleets, defined and warmed up")
    small = Fleet(PEER_DEVICES)
    large = Fleet(DEVICES // 5 if options.quick else DEVICES)
    checked, oracle = prepared(small), oracle_of(small)
    little = rounds(small, 12 if options.quick else 30)
    wanted = standing(fold_naively(oracle, little))
    told = standing(fold(checked, held_back(little, 3)))
    wrong = naive.differences(wanted, told)
    for line in wrong[:3]:
        progress(line)
    in_order, behind = (prepared(large) for _ in range(2))
    first = rounds(large, 6)
    ordered_events, late_events = fold(in_order, first), fold(behind, held_back(first, 4))
    pairs: list[Pair] = []
    for turn in range(runs):
        ordered_work = rounds(large, per_run)
        late_work = held_back(ordered_work, 5 + turn)
        turns: list[tuple[Engine, list[Round], list[CoreEvent]]] = [
            (behind, late_work, late_events),
            (in_order, ordered_work, ordered_events),
        ]
        took_s: dict[Engine, float] = {}
        for each, work, events in turns if turn % 2 == 0 else reversed(turns):
            took_s[each] = measure_s(lambda each=each, work=work, events=events: events.extend(fold(each, work)))  # type: ignore[misc]
        late_s, ordered_s = took_s[behind], took_s[in_order]
        pairs.append(Pair(late_s, ordered_s))
        progress(f"late_5_percent: pair {turn + 1} of {runs}: {ordered_s / late_s:.2f} of the ordered rate")
    alike = standing(late_events) == standing(ordered_events)
    corrections = sum(event.cause == Cause.LATE_DATA for event in late_events)
    return rate_result(
        "late_5_percent",
        pairs,
        count=large.devices * per_run,
        peer_count=large.devices * per_run,
        unit="readings/s",
        checked=not wrong and alike and len(wanted) > 20 and corrections > 100,
        notes={
            "devices": large.devices,
            "fences": FENCES,
            "late_share": LATE_SHARE,
            "corrections": corrections,
            "events_compared": len(wanted),
            "standing_events": len(standing(ordered_events)),
        },
    )


def memory(case: str, devices: int, kept_fixes: int, fixes: int) -> Result:
    """In a process of its own, so that nothing else counts."""
    progress(f"engine_step: {case}")
    command = [sys.executable, "-m", "benchmarks.engine_step_memory", str(devices), str(kept_fixes), str(fixes)]
    root = pathlib.Path(__file__).resolve().parent.parent
    output = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split()
    megabytes, counted = float(output[0]), int(output[1])
    notes = {"devices": devices, "kept_fixes": kept_fixes, "fixes_each": fixes, "snapshot_mb": float(output[2])}
    return Result(case, megabytes, None, "MB", None, None, counted == devices, notes)


def resident_mb() -> float:
    return float(psutil.Process().memory_info().rss / 1e6)


def run(options: Options) -> Iterator[Result]:
    if options.wants("full"):
        yield full(options)
    scale = 10 if options.quick else 1
    if options.wants("late_5_percent"):
        yield late_5_percent(options)
    if options.wants("memory_1m"):
        yield memory("memory_1m", 1_000_000 // scale, 1, 3)
    if options.wants("memory_100k"):
        yield memory("memory_100k", 100_000 // scale, 64, 70)


if __name__ == "__main__":
    main("engine_step", run)
