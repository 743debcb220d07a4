"""Random fleets: few places, few times, few values, so that borders, repetitions and late readings are common."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from geofence.definition import (
    ALWAYS,
    ActiveTimes,
    CircleShape,
    CrossingRule,
    FenceDefinition,
    MultiPolygonShape,
    VisitRule,
    WeeklyWindow,
)
from tests.tracking_core.readings import NAN, SECOND_US, START_US, Position, Reading, Sample, TagRead
from tracking_core.definitions import (
    Definition,
    DeleteFence,
    DeleteLimit,
    DeleteRoute,
    DeviceIdentity,
    PutFence,
    PutLimit,
    PutRoute,
    Route,
    RouteStop,
    SensorLimit,
)
from tracking_core.settings import EngineSettings

DEVICES = 4
IDENTITIES = [DeviceIdentity(number, "east" if number % 2 else "west", f"truck-{number}") for number in range(DEVICES)]
# Small, so that rings overflow, horizons pass and silences end within a short list of readings.
SETTINGS = EngineSettings(
    horizon_us=200 * SECOND_US,
    kept_fixes=4,
    kept_quarantined=2,
    kept_samples=3,
    future_tolerance_us=60 * SECOND_US,
    jump_slack_m=50.0,
    imprecise_m=100.0,
    repeated_within_us=40 * SECOND_US,
    tag_reads=2,
    tag_reads_within_us=15 * SECOND_US,
    tag_silence_us=25 * SECOND_US,
    signal_lost_after_us=45 * SECOND_US,
    stop_clear_m=1500.0,
    stop_after_us=20 * SECOND_US,
    trip_departs_m=1200.0,
    trip_closes_after_us=30 * SECOND_US,
    trip_silence_us=60 * SECOND_US,
)
STEP_DEG = 0.01
"""About a kilometre: seven seconds at the highest speed."""

grid = st.integers(0, 4).map(lambda n: n * STEP_DEG)
times = st.integers(-50, 12).map(lambda n: START_US + n * 5 * SECOND_US)
devices = st.integers(0, DEVICES - 1)
positions = st.builds(
    Position,
    device=devices,
    observed_at_us=times,
    latitude_deg=st.one_of(grid, grid, grid, st.sampled_from([3.0, NAN, 91.0, -90.0])),
    longitude_deg=st.one_of(grid, grid, grid, st.sampled_from([-3.0, NAN, 180.5])),
    speed_mps=st.sampled_from([NAN, NAN, 10.0, -1.0, 500.0]),
    heading_deg=st.sampled_from([NAN, NAN, 90.0, 360.0, 361.0]),
    accuracy_m=st.sampled_from([NAN, NAN, 30.0, 150.0]),
    satellites=st.sampled_from([-1, -1, 7, 0]),
    sequence=st.sampled_from([-1, 0, 0, 1]),
    is_historical=st.sampled_from([False, False, False, False, True]),
)
samples = st.builds(
    Sample,
    device=devices,
    observed_at_us=times,
    quantity=st.integers(1, 2),
    value=st.sampled_from([0.0, 4.0, 5.0, 5.5, 6.0, 8.0, 9.0, NAN, np.inf]),
    probe=st.integers(0, 1),
)
tag_reads = st.builds(
    TagRead,
    device=devices,
    observed_at_us=times,
    epc=st.sampled_from([b"\x01", b"\x00\x01", bytes(range(16))]),
    antenna=st.integers(1, 2),
)


def _boxes(corners: list[tuple[float, float, float, float]]) -> MultiPolygonShape:
    polygons = []
    for left, bottom, width, height in corners:
        west, south = left * STEP_DEG, bottom * STEP_DEG
        east, north = west + width * STEP_DEG, south + height * STEP_DEG
        polygons.append((np.array([(west, south), (east, south), (east, north), (west, north)]),))
    return MultiPolygonShape(tuple(polygons))


boxes = st.tuples(st.integers(-1, 3), st.integers(-1, 3), st.integers(1, 3), st.integers(1, 3)).map(
    lambda box: _boxes([box])
)
# Between two columns of the grid: who goes from one to the other passes through.
gates = st.tuples(st.integers(-1, 3), st.integers(-1, 3)).map(lambda at: _boxes([(at[0] + 0.3, at[1] - 0.2, 0.4, 2.4)]))
circles = st.builds(CircleShape, grid, grid, st.sampled_from([400.0, 1500.0]))
rules = st.builds(
    CrossingRule,
    enter_fixes=st.integers(1, 2),
    exit_fixes=st.integers(1, 3),
    confirm_after_us=st.sampled_from([None, 10 * SECOND_US]),
    exit_margin_m=st.sampled_from([0.0, 0.0, 600.0]),
    accuracy_cap_m=st.sampled_from([0.0, 50.0]),
)
# Dwells that never end exactly when a fix comes: an interpolated entry may be a microsecond off the oracle's.
visit_rules = st.builds(
    VisitRule,
    dwell_us=st.sampled_from([None, 17_370_000, 63_370_000]),
    speed_limit_mps=st.sampled_from([None, 9.7, 61.3]),
    speed_tolerance_mps=st.sampled_from([0.0, 25.1]),
    cross=st.booleans(),
)
# A few minutes each, around the time at which it all happens; two of the days are none of its.
windows = st.builds(
    lambda minute, length, days: WeeklyWindow(days, minute, minute + length),
    st.integers(22 * 60 + 9, 22 * 60 + 24),
    st.integers(1, 4),
    st.sampled_from([(2,), (1, 2, 3), (1, 2, 3), (5, 6)]),
)
active_times = st.one_of(
    st.just(ALWAYS),
    st.builds(ActiveTimes, st.sampled_from(["UTC", "Europe/Lisbon"]), st.lists(windows, max_size=4).map(tuple)),
)
fences = st.builds(
    FenceDefinition,
    tenant=st.sampled_from(["east", "west"]),
    fence_id=st.sampled_from(["a", "b", "c"]),
    name=st.sampled_from(["Yard", "Dock"]),
    shape=st.one_of(boxes, boxes, circles, gates),
    crossing=rules,
    visit=visit_rules,
    active=active_times,
    version=st.integers(1, 4),
)
limits = st.builds(
    lambda device, **rest: SensorLimit(tenant=IDENTITIES[device].tenant, device=device, **rest),
    device=devices,
    limit_id=st.sampled_from(["cold", "warm"]),
    quantity=st.integers(1, 2),
    minimum=st.sampled_from([None, 4.0]),
    maximum=st.sampled_from([5.0, 6.0]),
    hysteresis=st.sampled_from([0.0, 1.0]),
    minimum_duration_us=st.sampled_from([0, 10 * SECOND_US]),
    version=st.integers(1, 4),
)
# Arrivals that are due at no time at which a fix is, or a border is passed.
plans = st.integers(-60, 30).map(lambda n: START_US + n * 5 * SECOND_US + 1_213_457)
stops = st.builds(
    lambda plan, fence_id, grace_us: (plan, fence_id, grace_us),
    st.one_of(st.none(), plans, plans, plans),
    st.sampled_from(["a", "b", "c", "a", "b", "c", ""]),
    st.sampled_from([0, 20 * SECOND_US]),
)
routes = st.builds(
    lambda **drawn: _route(**drawn),  # noqa: PLW0108 - defined below
    device=devices,
    route_id=st.sampled_from(["tour", "trip"]),
    drawn=st.lists(stops, min_size=1, max_size=3),
    version=st.integers(1, 4),
)


def _route(device: int, route_id: str, drawn: list[tuple[int | None, str, int]], version: int) -> Route:
    planned = [
        RouteStop(f"stop-{number}", 0.01, 0.01, plan, 0, fence_id, grace_us)
        for number, (plan, fence_id, grace_us) in enumerate(drawn)
    ]
    return Route(IDENTITIES[device].tenant, f"{route_id}-{device}", device, tuple(planned), version=version)


definitions: st.SearchStrategy[Definition] = st.one_of(
    st.builds(PutFence, fences),
    st.builds(PutFence, fences),
    st.builds(DeleteFence, st.sampled_from(["east", "west"]), st.sampled_from(["a", "b", "c"]), st.integers(1, 5)),
    st.builds(PutRoute, routes),
    st.builds(PutRoute, routes),
    st.builds(
        DeleteRoute,
        st.sampled_from(["east", "west"]),
        st.sampled_from(["tour-0", "tour-1", "trip-2"]),
        st.integers(1, 5),
    ),
    st.builds(PutLimit, limits),
    st.builds(DeleteLimit, st.sampled_from(["east", "west"]), st.sampled_from(["cold", "warm"]), st.integers(1, 5)),
)
readings: st.SearchStrategy[Reading] = st.one_of(positions, positions, samples, tag_reads)

# Entries of a log: how long after the one before, and what. None is a tick.
entries: st.SearchStrategy[list[tuple[int, Any]]] = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 10, 40]).map(lambda n: n * SECOND_US),
        st.one_of(
            st.lists(readings, min_size=1, max_size=12),
            st.lists(readings, min_size=1, max_size=12),
            definitions,
            st.none(),
        ),
    ),
    max_size=12,
)


def wander(seed: int, steps: int = 250) -> list[tuple[int, Any]]:
    """A log in which devices wander over the grid for a while: dense in events, where `entries` is dense in oddities.

    Entries with their append times. Most readings come in order; some are repeated (also under another time), late,
    contradicted, far away, from the future or without a fix.
    """
    random = np.random.default_rng(seed)
    log: list[tuple[int, Any]] = []
    now_us = START_US
    clock_s = np.zeros(DEVICES, np.int64)
    place = random.integers(0, 5, (DEVICES, 2))
    warmth = np.full(DEVICES, 4.5)
    sent: list[Reading] = []
    version = 0
    for _ in range(int(random.integers(4, 12))):
        version += 1
        log.append((now_us, _edit(random, version)))
    while len(sent) < steps:
        batch: list[Reading] = []
        for _ in range(int(random.integers(1, 20))):
            number = int(random.integers(DEVICES))
            clock_s[number] += int(random.choice([2, 5, 10, 10, 10, 30]))
            batch.append(_reading(random, number, clock_s, place, warmth))
            last = batch[-1]
            if isinstance(last, Position) and random.random() < 0.08:
                later_us = int(random.choice([-45, -20, 5, 10, 20, 40, 45])) * SECOND_US
                again = dataclasses.replace(last, observed_at_us=last.observed_at_us + later_us)
                batch.append(dataclasses.replace(again, is_historical=bool(random.random() < 0.15)))
            if random.random() < 0.05:
                batch.append(sent[int(random.integers(len(sent)))] if sent else batch[-1])
        sent += batch
        log.append((now_us + int(clock_s.max()) * SECOND_US, batch))
        if random.random() < 0.15:
            version += 1
            log.append((log[-1][0], _edit(random, version)))
        if random.random() < 0.1:
            now_us += int(random.integers(1, 40)) * SECOND_US
            log.append((now_us + int(clock_s.max()) * SECOND_US, None))
    return log


def _reading(random: np.random.Generator, number: int, clock_s: Any, place: Any, warmth: Any) -> Reading:
    at_us = START_US + int(clock_s[number]) * SECOND_US
    if random.random() < 0.08:
        at_us += int(random.choice([-3, -2, -1, 1, 100])) * 10 * SECOND_US
    kind = random.random()
    if kind < 0.6:
        place[number] = np.clip(place[number] + random.integers(-1, 2, 2), 0, 4)
        x, y = place[number] * STEP_DEG
        if random.random() < 0.05:
            x, y = float(random.choice([0.0, 3.0, NAN, 200.0])), 0.0
        return Position(
            number,
            at_us,
            float(y),
            float(x),
            speed_mps=float(random.choice([NAN, 8.0])),
            accuracy_m=float(random.choice([NAN, NAN, 30.0, 30.0, 90.0, 150.0])),
            sequence=int(random.choice([-1, clock_s[number]])),
            is_historical=int(clock_s[number]) % 11 == 3,
        )
    if kind < 0.8:
        warmth[number] = np.clip(warmth[number] + random.normal(0, 1.0), 2.0, 9.0)
        return Sample(number, at_us, int(random.choice([1, 1, 1, 2])), round(float(warmth[number]) * 2) / 2)
    return TagRead(number, at_us, bytes([int(random.integers(3))]), antenna=int(random.integers(1, 3)))


def _edit(random: np.random.Generator, version: int) -> Definition:
    tenant = str(random.choice(["east", "west"]))
    which = random.random()
    if which < 0.5:
        left, bottom = (int(n) for n in random.integers(-1, 4, 2))
        shape: Any = _boxes([(left, bottom, int(random.integers(1, 4)), int(random.integers(1, 4)))])
        if random.random() < 0.3:
            shape = CircleShape(left * STEP_DEG, bottom * STEP_DEG, float(random.choice([400.0, 1500.0])))
        elif random.random() < 0.3:
            shape = _boxes([(left + 0.3, bottom - 0.2, 0.4, 2.4)])
        rule = CrossingRule(
            enter_fixes=int(random.choice([1, 1, 2])),
            exit_fixes=int(random.choice([1, 2, 3])),
            confirm_after_us=random.choice([None, 10 * SECOND_US]),
            exit_margin_m=float(random.choice([0.0, 0.0, 600.0])),
        )
        visit = VisitRule(
            random.choice([None, 17_370_000, 63_370_000]),
            random.choice([None, 9.7, 61.3]),
            float(random.choice([0.0, 25.1])),
            cross=bool(random.random() < 0.5),
        )
        active = ALWAYS
        if random.random() < 0.35:
            minutes = 22 * 60 + 13 + random.integers(0, 16, 4)
            active = ActiveTimes("UTC", tuple(WeeklyWindow((2,), int(at), int(at) + 2) for at in minutes))
        fence_id = str(random.choice(["a", "b", "c"]))
        return PutFence(FenceDefinition(tenant, fence_id, "Yard", shape, rule, version, visit=visit, active=active))
    if which < 0.6:
        return DeleteFence(tenant, str(random.choice(["a", "b", "c"])), version)
    number = int(random.integers(DEVICES))
    if which < 0.66:
        drawn = [
            (
                START_US + int(random.integers(0, 180)) * 5 * SECOND_US + 1_213_457,
                str(random.choice(["a", "b", "c"])),
                int(random.choice([0, 20 * SECOND_US])),
            )
            for _ in range(3)
        ]
        return PutRoute(_route(number, "tour", drawn, version))
    if which < 0.95:
        return PutLimit(
            SensorLimit(
                IDENTITIES[number].tenant,
                str(random.choice(["cold", "warm"])),
                number,
                int(random.choice([1, 1, 1, 2])),
                random.choice([None, 4.0]),
                float(random.choice([5.0, 6.0])),
                float(random.choice([0.0, 1.0])),
                int(random.choice([0, 10 * SECOND_US])),
                version,
            )
        )
    return DeleteLimit(tenant, str(random.choice(["cold", "warm"])), version)
