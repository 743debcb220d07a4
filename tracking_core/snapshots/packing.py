"""From the tables to a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from geofence.definition import FenceDefinition
from geofence.wire import to_proto
from tracking_core import presence_pool
from tracking_core.columns import I32, I64
from tracking_core.definitions import SensorLimit
from tracking_core.device_table import DeviceTable
from tracking_core.engine_state import EngineState
from tracking_core.node_pool import walk_chains
from tracking_core.pairs.pair import Pair
from tracking_core.routes.table import STATE_FIELDS
from tracking_core.settings import EngineSettings
from tracking_core.snapshots.format import (
    DEVICE_FIELDS,
    PackedColumn,
    PackedJourneys,
    PackedPair,
    PackedRoute,
    PackedState,
    pack_column,
    pack_rings,
    pack_timeline,
)
from tracking_core.telling import journal
from tracking_core.telling.journal import JournalColumns


def packed_state(state: EngineState, settings: EngineSettings) -> PackedState:
    """A state in the order of the snapshot."""
    devices = state.devices
    rows = np.arange(devices.rows)
    fences = sorted(state.fences, key=lambda fence: (fence.tenant, fence.fence_id))
    limits = sorted(state.sensors.definitions.values(), key=lambda limit: (limit.tenant, limit.limit_id))
    series = state.sensors.series
    count = int(series.filled[0])
    series_slots = np.lexsort((series.probe[:count], series.quantity[:count], series.row[:count]))
    tags = state.tags.columns
    kept = state.tags.kept(state.clock_us)
    tag_slots = kept[np.lexsort((tags.epc_length[kept], tags.epc_low[kept], tags.epc_high[kept], tags.row[kept]))]
    return PackedState(
        partitions=settings.partitions,
        partition=settings.partition,
        clock_us=state.clock_us,
        versions=sorted((*key, version) for key, version in state.versions.items()),
        rows=devices.rows,
        tenants=devices.tenants,
        device_ids=devices.device_ids,
        devices=[pack_column(getattr(devices.columns, name)[: devices.rows]) for name in DEVICE_FIELDS],
        timeline=pack_timeline(devices.timeline, devices.rows, journeys=settings.follows_journeys),
        journeys=_packed_journeys(devices),
        quarantine=pack_rings(devices.quarantine, rows, settings.kept_quarantined),
        fences=[to_proto(fence).SerializeToString(deterministic=True) for fence in fences],
        presences=_packed_presences(state, fences),
        journal=_packed_journal(state, fences),
        withdrawn=_packed_withdrawn(state, fences),
        limits=limits,
        series=[pack_column(column[series_slots]) for column in series[2:7]],
        samples=pack_rings(state.sensors.memory, series_slots, settings.kept_samples),
        excursions=_packed_excursions(state, limits, series_slots),
        routes=_packed_routes(state),
        tags=[pack_column(column[tag_slots]) for column in tags[3:13]],
        reads=pack_rings(state.tags.memory, tag_slots, settings.kept_samples),
        proximities=[state.pairs.definitions[key] for key in sorted(state.pairs.definitions)],
        pairs=[_packed_pair(pair) for pair in state.pairs],
    )


def _packed_pair(pair: Pair) -> PackedPair:
    return PackedPair(
        tenant=pair.definition.tenant,
        proximity_id=pair.definition.proximity_id,
        tracks=[[column.tobytes() for column in track.columns] for track in pair.tracks],
        settled_us=pair.settled_us,
        stance=pair.stance,
        changes=pair.changes,
        told=pair.memory.told,
        withdrawn=sorted(pair.memory.withdrawn, key=lambda event: (event.kind, event.named_at_us)),
    )


def _packed_journeys(devices: DeviceTable) -> PackedJourneys:
    journeys = devices.journeys
    if not journeys.follows:
        return PackedJourneys(b"", b"")
    return PackedJourneys(journeys.now[: devices.rows].tobytes(), journeys.trip[: devices.rows].tobytes())


def _packed_presences(state: EngineState, fences: Sequence[FenceDefinition]) -> list[PackedColumn]:
    index_of = _fence_index(state, fences)
    columns = state.presences.columns
    rows, nodes = _chained(state.devices.columns.first_presence, columns.following)
    fence = index_of[columns.fence[nodes]]
    order = np.lexsort((fence, rows))
    packed = [rows[order], fence[order], *(getattr(columns, name)[nodes[order]] for name in presence_pool.SAID)]
    return [pack_column(column) for column in packed]


def _packed_journal(state: EngineState, fences: Sequence[FenceDefinition]) -> list[PackedColumn]:
    columns = state.journal.columns
    rows, nodes = _chained(state.devices.columns.first_change, columns.following)
    fence = _change_fences(state, fences, nodes)
    # From the oldest on: a fix may have changed one thing twice.
    rows, nodes, fence = rows[::-1], nodes[::-1], fence[::-1]
    # Of several arrivals at once, by their numbers; else what has one fence has one version.
    order = np.lexsort((columns.version[nodes], fence, columns.at_us[nodes], rows))
    return _packed_changes(columns, rows[order], fence[order], nodes[order])


def _packed_withdrawn(state: EngineState, fences: Sequence[FenceDefinition]) -> list[PackedColumn]:
    columns = state.journal.columns
    rows, nodes = _chained(state.devices.columns.first_withdrawn, columns.following)
    fence = _change_fences(state, fences, nodes)
    order = np.lexsort((columns.named_at_us[nodes], columns.version[nodes], fence, columns.kind[nodes], rows))
    return _packed_changes(columns, rows[order], fence[order], nodes[order])


def _packed_changes(columns: JournalColumns, rows: I64, fence: I64, nodes: I64) -> list[PackedColumn]:
    packed = [rows, columns.at_us[nodes], fence, *(getattr(columns, name)[nodes] for name in journal.SAID)]
    return [pack_column(column) for column in packed]


def _change_fences(state: EngineState, fences: Sequence[FenceDefinition], nodes: I64) -> I64:
    """Where the fences of changes stand in `fences`; SIGNAL and JOURNEY_CHANGE stay."""
    fence = state.journal.columns.fence[nodes].astype(np.int64)
    crossed = fence >= 0
    fence[crossed] = _fence_index(state, fences)[fence[crossed]]
    return fence


def _fence_index(state: EngineState, fences: Sequence[FenceDefinition]) -> I64:
    """Where the fence of each slot stands in `fences`."""
    return _inverse(state.fences.slot_of(fence.tenant, fence.fence_id) for fence in fences)


def _packed_excursions(
    state: EngineState, limits: Sequence[SensorLimit], series_slots: npt.NDArray[np.intp]
) -> list[PackedColumn]:
    sensors = state.sensors
    limit_index = _inverse(sensors.slot_of(limit.tenant, limit.limit_id) for limit in limits)
    series_index = _inverse(series_slots.tolist())
    slots, nodes = _chained(sensors.series.first_excursion[: len(series_slots)], sensors.excursions.following)
    series, limit = series_index[slots], limit_index[sensors.excursions.limit[nodes]]
    order = np.lexsort((limit, series))
    packed = [series[order], limit[order], *(column[nodes[order]] for column in sensors.excursions[3:])]
    return [pack_column(column) for column in packed]


def _packed_routes(state: EngineState) -> list[PackedRoute]:
    packed: list[PackedRoute] = []
    for slot, route in state.routes.definitions.items():
        stops = [
            (
                stop.stop_id,
                stop.longitude_deg,
                stop.latitude_deg,
                stop.planned_arrival_us,
                stop.service_time_us,
                stop.fence_id,
                stop.arrival_grace_us,
            )
            for stop in route.stops
        ]
        packed.append(
            PackedRoute(
                tenant=route.tenant,
                route_id=route.route_id,
                device=route.device,
                stops=stops,
                line=np.ascontiguousarray(route.line, "<f8").tobytes(),
                expected_speed_mps=route.expected_speed_mps,
                version=route.version,
                state=[getattr(state.routes.columns, name)[slot].item() for name in STATE_FIELDS],
                expected=state.expectations.packed(route),
            )
        )
    return sorted(packed, key=lambda route: (route.tenant, route.route_id))


def _inverse(slots: Iterable[int | None]) -> I64:
    """Where each slot stands in `slots`."""
    order = np.array([slot for slot in slots if slot is not None], np.int64)
    index_of = np.zeros(order.max(initial=-1) + 1, np.int64)
    index_of[order] = np.arange(len(order))
    return index_of


def _chained(first: I32, following: I32) -> tuple[I64, I64]:
    """Owner and node of all that hangs on the owners."""
    owners, nodes = np.empty(len(following), np.int64), np.empty(len(following), np.int64)
    count = walk_chains(first, following, owners, nodes)
    return owners[:count], nodes[:count]
