"""Sensor stage: which limits each sample breaks or returns to."""

from __future__ import annotations

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.columns import I64, NO_TIME, U8, SensorColumns
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.memory import Memory
from tracking_core.node_pool import give_back, room_left, take_node
from tracking_core.sensors.excursion import ABOVE, INSIDE, OPEN, update
from tracking_core.sensors.quality import SampleRules, judge_sample
from tracking_core.sensors.table import (
    ExcursionColumns,
    LimitColumns,
    SeriesColumns,
    add_series,
    find_series,
)
from tracking_core.telling.event_rows import EXCURSION_CLOSED, EXCURSION_OPENED, EventRows
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)


@scalar_kernel
def find_excursion(excursions: ExcursionColumns, first: int, limit: int) -> int:
    """The node of this limit in a chain, or NOTHING."""
    node = first
    while node != NOTHING and excursions.limit[node] != limit:
        node = excursions.following[node]
    return node


@scalar_kernel
def unlink_excursion(slot: int, node: int, series: SeriesColumns, excursions: ExcursionColumns) -> None:
    """Takes a node out of the chain of its series, and gives it back."""
    if series.first_excursion[slot] == node:
        series.first_excursion[slot] = excursions.following[node]
    else:
        before = series.first_excursion[slot]
        while excursions.following[before] != node:
            before = excursions.following[before]
        excursions.following[before] = excursions.following[node]
    give_back(excursions.following, excursions.free, node)


@scalar_kernel
def write_excursion(
    events: EventRows,
    reading: int,
    kind: int,
    row: int,
    limit: int,
    slot: int,
    observed_at_us: int,
    confirmed_at_us: int,
    value: float,
    reference: float,
    opened_at_us: int,
    devices: DeviceColumns,
) -> None:
    """One row more; there must be room."""
    at = events.filled[0]
    events.filled[0] = at + 1
    events.reading[at] = reading
    events.kind[at] = kind
    events.row[at] = row
    events.subject[at] = limit
    events.series[at] = slot
    events.observed_at_us[at] = observed_at_us
    events.confirmed_at_us[at] = confirmed_at_us
    events.latitude_deg[at] = devices.latitude_deg[row]
    events.longitude_deg[at] = devices.longitude_deg[row]
    events.value[at] = value
    events.reference[at] = reference
    events.opened_at_us[at] = opened_at_us


@scalar_kernel
def apply_limit(
    reading: int,
    row: int,
    slot: int,
    limit: int,
    at_us: int,
    value: float,
    devices: DeviceColumns,
    series: SeriesColumns,
    limits: LimitColumns,
    excursions: ExcursionColumns,
    events: EventRows,
) -> None:
    """Moves the machine of one limit and one series by one sample. There must be room for one node and two events."""
    node = find_excursion(excursions, series.first_excursion[slot], limit)
    phase, side, since_us, worst = INSIDE, 0, 0, 0.0
    if node != NOTHING:
        phase = excursions.phase[node]
        side = excursions.side[node]
        since_us = excursions.since_us[node]
        worst = excursions.worst[node]
    opened_us, worst_before = since_us, worst
    phase, side, since_us, worst, closed, opened = update(
        phase,
        side,
        since_us,
        worst,
        at_us,
        value,
        limits.minimum[limit],
        limits.maximum[limit],
        limits.hysteresis[limit],
        limits.minimum_duration_us[limit],
    )
    if closed:
        write_excursion(
            events, reading, EXCURSION_CLOSED, row, limit, slot, at_us, at_us, value, worst_before, opened_us, devices
        )
    if opened:
        bound = limits.maximum[limit] if side == ABOVE else limits.minimum[limit]
        write_excursion(
            events, reading, EXCURSION_OPENED, row, limit, slot, since_us, at_us, value, bound, since_us, devices
        )
    if phase == INSIDE:
        if node != NOTHING:
            unlink_excursion(slot, node, series, excursions)
        return
    if node == NOTHING:
        node = take_node(excursions.following, excursions.free)
        excursions.following[node] = series.first_excursion[slot]
        excursions.limit[node] = limit
        series.first_excursion[slot] = node
    excursions.phase[node] = phase
    excursions.side[node] = side
    excursions.since_us[node] = since_us
    excursions.worst[node] = worst


@scalar_kernel
def check_samples(
    samples: SensorColumns,
    rows: I64,
    start: int,
    now_us: int,
    devices: DeviceColumns,
    series: SeriesColumns,
    memory: Memory,
    limits: LimitColumns,
    excursions: ExcursionColumns,
    rules: SampleRules,
    verdicts: U8,
    events: EventRows,
) -> int:
    """Fills `verdicts` and writes events, from the sample at `start` on; returns where it stopped for lack of room (for
    a series, a node or events), or the number of samples. It stops before it changes anything for that sample.
    """
    for i in range(start, len(rows)):
        row = rows[i]
        quantity = int(np.int64(samples.quantity[i]))
        probe = int(np.int64(samples.probe[i]))
        in_force = 0
        limit = devices.first_limit[row]
        while limit != NOTHING:
            in_force += 1
            limit = limits.following[limit]
        if (
            series.filled[0] >= len(series.row)
            or room_left(excursions.following, excursions.free) < in_force
            or len(events.kind) - events.filled[0] < 2 * in_force
        ):
            return i
        slot = find_series(series, row, quantity, probe)
        if slot < 0:
            slot = add_series(series, -1 - slot, row, quantity, probe)
        at_us = samples.observed_at_us[i]
        value = samples.value[i]
        verdict = judge_sample(at_us, value, slot, now_us, series, memory, rules)
        verdicts[i] = verdict
        if verdict != _OK:
            continue
        series.counted_at_us[slot] = at_us
        series.value[slot] = value
        limit = devices.first_limit[row]
        while limit != NOTHING:
            if limits.quantity[limit] == quantity:
                apply_limit(i, row, slot, limit, at_us, value, devices, series, limits, excursions, events)
            limit = limits.following[limit]
    return len(rows)


@scalar_kernel
def restate_limit(
    limit: int,
    row: int,
    start: int,
    devices: DeviceColumns,
    series: SeriesColumns,
    limits: LimitColumns,
    excursions: ExcursionColumns,
    events: EventRows,
) -> int:
    """Applies a limit, new or changed, to the last sample of each series of its device, from the slot `start` on;
    returns where it stopped for lack of room, or the number of series.
    """
    for slot in range(start, series.filled[0]):
        if series.row[slot] != row or series.counted_at_us[slot] == NO_TIME:
            continue
        if room_left(excursions.following, excursions.free) < 1 or len(events.kind) - events.filled[0] < 2:
            return slot
        if series.quantity[slot] == limits.quantity[limit]:
            apply_limit(
                0,
                row,
                slot,
                limit,
                series.counted_at_us[slot],
                series.value[slot],
                devices,
                series,
                limits,
                excursions,
                events,
            )
    return int(series.filled[0])


@scalar_kernel
def close_limit(
    limit: int,
    row: int,
    start: int,
    devices: DeviceColumns,
    series: SeriesColumns,
    excursions: ExcursionColumns,
    events: EventRows,
) -> int:
    """Ends all excursions of a limit, those that are open with an event; as `restate_limit`."""
    for slot in range(start, series.filled[0]):
        if series.row[slot] != row:
            continue
        node = find_excursion(excursions, series.first_excursion[slot], limit)
        if node == NOTHING:
            continue
        if len(events.kind) - events.filled[0] < 1:
            return slot
        if excursions.phase[node] == OPEN:
            at_us = series.counted_at_us[slot]
            write_excursion(
                events,
                0,
                EXCURSION_CLOSED,
                row,
                limit,
                slot,
                at_us,
                at_us,
                series.value[slot],
                excursions.worst[node],
                excursions.since_us[node],
                devices,
            )
        unlink_excursion(slot, node, series, excursions)
    return int(series.filled[0])
