"""From a snapshot to the tables."""

from __future__ import annotations

import numpy as np

from drover.geofence.v1 import fence_pb2
from geofence.wire import from_proto
from tracking_core import presence_pool
from tracking_core.columns import I32
from tracking_core.definitions import DeviceIdentity, Route, RouteStop
from tracking_core.device_table import NOTHING
from tracking_core.engine_state import EngineState
from tracking_core.journey_records import JOURNEY, TRIP
from tracking_core.node_pool import EVER_TAKEN, hang_chains
from tracking_core.pairs.pair import Pair
from tracking_core.rewinding import begin_here
from tracking_core.routes.arrivals import reckon_arrivals
from tracking_core.routes.table import STATE_FIELDS
from tracking_core.sensors.table import index_series
from tracking_core.settings import EngineSettings
from tracking_core.snapshots.format import (
    DEVICE_FIELDS,
    PackedPair,
    PackedRoute,
    PackedState,
    unpack_column,
    unpack_rings,
    unpack_timeline,
)
from tracking_core.telling.journal import SAID
from tracking_core.timers import find_first_due, timer_rules


def unpacked_state(packed: PackedState, settings: EngineSettings) -> EngineState:
    """The state of a snapshot that was checked."""
    state = EngineState(settings)
    state.clock_us = packed.clock_us
    state.versions = {(kind, tenant, name): version for kind, tenant, name, version in packed.versions}
    _fill_devices(state, packed, settings)
    _fill_fences(state, packed)
    _fill_sensors(state, packed, settings)
    for route in packed.routes:
        _put_route(state, route)
    _fill_tags(state, packed, settings)
    for definition in packed.proximities:
        state.pairs.put(definition)
    for pair in packed.pairs:
        _fill_pair(state.pairs.pairs[pair.tenant, pair.proximity_id], pair)
    devices = state.devices
    expected = state.expectations.columns
    for row in np.flatnonzero(expected.first != NOTHING).tolist():
        reckon_arrivals(row, expected, state.presences.columns, devices.columns)
    find_first_due(devices.rows, devices.columns, devices.journeys, expected, timer_rules(settings), state.first_due_us)
    return state


def _fill_devices(state: EngineState, packed: PackedState, settings: EngineSettings) -> None:
    devices = state.devices
    devices.cover(packed.rows)
    for name, column in zip(DEVICE_FIELDS, packed.devices, strict=True):
        getattr(devices.columns, name)[: packed.rows] = unpack_column(column)
    unpack_timeline(packed.timeline, devices.timeline, journeys=settings.follows_journeys)
    now, trip = np.frombuffer(packed.journeys.now, JOURNEY), np.frombuffer(packed.journeys.trip, TRIP)
    if devices.journeys.follows:
        devices.journeys.now[: len(now)] = now
        devices.journeys.trip[: len(trip)] = trip
    unpack_rings(packed.quarantine, devices.quarantine, settings.kept_quarantined)
    identities = [
        DeviceIdentity(devices.number_of(row), tenant, device_id)
        for row, (tenant, device_id) in enumerate(zip(packed.tenants, packed.device_ids, strict=True))
        if device_id
    ]
    devices.announce(identities, state.fences.tenant_number)
    # Whatever had been edited was looked at before the snapshot was taken.
    devices.columns.edit_seen[: packed.rows] = 0
    if settings.repairs_late and not packed.timeline.base:
        # Taken without repairs: they begin with the next fix.
        begin_here(packed.rows, devices.columns, devices.timeline, devices.journeys)


def _fill_fences(state: EngineState, packed: PackedState) -> None:
    slots = np.array(
        [state.fences.put(from_proto(fence_pb2.Fence.FromString(fence))) for fence in packed.fences], np.int32
    )
    rows, fence, *fields = (unpack_column(column) for column in packed.presences)
    state.presences.make_room(len(rows))
    columns = state.presences.columns
    hang_chains(rows.copy(), state.devices.columns.first_presence, columns.following, columns.free)
    columns.fence[: len(rows)] = slots[fence]
    for name, values in zip(presence_pool.SAID, fields, strict=True):
        getattr(columns, name)[: len(rows)] = values
    _fill_journal(state, slots, packed)


def _fill_journal(state: EngineState, slots: I32, packed: PackedState) -> None:
    devices, journal = state.devices.columns, state.journal
    for chains, first in ((packed.journal, devices.first_change), (packed.withdrawn, devices.first_withdrawn)):
        rows, at_us, fence, *fields = (unpack_column(column) for column in chains)
        journal.make_room(len(rows))
        columns = journal.columns
        start = int(columns.free[EVER_TAKEN])
        nodes = slice(start, start + len(rows))
        hang_chains(rows.copy(), first, columns.following, columns.free)
        columns.at_us[nodes] = at_us
        known = fence.astype(np.int32)
        crossed = fence >= 0
        known[crossed] = slots[fence[crossed]]
        columns.fence[nodes] = known
        for name, values in zip(SAID, fields, strict=True):
            getattr(columns, name)[nodes] = values
    changed = np.flatnonzero(devices.first_change != NOTHING)
    devices.newest_change_us[changed] = journal.columns.at_us[devices.first_change[changed]]


def _fill_sensors(state: EngineState, packed: PackedState, settings: EngineSettings) -> None:
    sensors, devices = state.sensors, state.devices.columns
    limits = np.array(
        [sensors.put(limit, state.devices.row_of(limit.device), devices) for limit in packed.limits], np.int32
    )
    values = [unpack_column(column) for column in packed.series]
    count = len(values[0])
    sensors.make_series_room(count)
    for column, filled in zip(sensors.series[2:7], values, strict=True):
        column[:count] = filled
    sensors.series.filled[0] = count
    index_series(sensors.series)
    unpack_rings(packed.samples, sensors.memory, settings.kept_samples)
    series, limit, *fields = (unpack_column(column) for column in packed.excursions)
    sensors.make_excursion_room(len(series))
    columns = sensors.excursions
    hang_chains(series.copy(), sensors.series.first_excursion, columns.following, columns.free)
    columns.limit[: len(series)] = limits[limit]
    for column, filled in zip(columns[3:], fields, strict=True):
        column[: len(series)] = filled


def _put_route(state: EngineState, packed: PackedRoute) -> None:
    route = Route(
        tenant=packed.tenant,
        route_id=packed.route_id,
        device=packed.device,
        stops=tuple(RouteStop(*stop) for stop in packed.stops),
        line=np.frombuffer(packed.line, np.float64).reshape(-1, 2),
        expected_speed_mps=packed.expected_speed_mps,
        version=packed.version,
    )
    row = state.devices.row_of(route.device)
    slot = state.routes.put(route, row, state.devices.columns)
    stops = {stop.stop_id: stop for stop in route.stops}
    for stop_id, since_us, arrival in packed.expected:
        fence = state.fences.slot_of(route.tenant, stops[stop_id].fence_id)
        place = NOTHING if fence is None else fence
        state.expectations.put(row, len(state.devices.columns.tenant), route, stops[stop_id], place, since_us, arrival)
    for name, value in zip(STATE_FIELDS, packed.state, strict=True):
        getattr(state.routes.columns, name)[slot] = value


def _fill_pair(pair: Pair, packed: PackedPair) -> None:
    for track, columns in zip(pair.tracks, packed.tracks, strict=True):
        for column, data in zip(track.columns, columns, strict=True):
            column.frombytes(data)
    pair.settled_us = packed.settled_us
    pair.stance = packed.stance
    pair.changes = packed.changes
    pair.memory.told = packed.told
    pair.memory.withdrawn = packed.withdrawn


def _fill_tags(state: EngineState, packed: PackedState, settings: EngineSettings) -> None:
    values = [unpack_column(column) for column in packed.tags]
    count = len(values[0])
    tags = state.tags
    tags.make_room(count, state.clock_us, state.devices.columns)
    for column, filled in zip(tags.columns[3:13], values, strict=True):
        column[:count] = filled
    tags.columns.filled[0] = count
    unpack_rings(packed.reads, tags.memory, settings.kept_samples)
    # Builds the index, hangs the present tags on their readers, and finds when the first is due.
    tags.rebuild(np.arange(count), len(tags.columns.row), state.devices.columns)
