"""All fences of all tenants: edited one at a time, compiled for kernels as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from geofence.active_times import TimesPool
from geofence.cell_index import CellIndex
from geofence.compiled import (
    CORRIDOR_WATCHED,
    CROSS,
    DWELL,
    I64,
    LIST_HEADER,
    NEVER,
    NO_TIME,
    NOTHING,
    SPEED,
    WINDOWED,
    CompiledFences,
    empty_fences,
    grown_fences,
)
from geofence.compiler import compile_shape, offset_edges
from geofence.definition import FenceDefinition, VisitRule
from geofence.pool import Pool


class _Row(NamedTuple):
    """A fence, and what it holds in the pools and in the index."""

    definition: FenceDefinition
    vertex: tuple[int, int]
    chunks: tuple[int, int]
    lists: tuple[int, int]
    times: tuple[int, int] | None
    keys: I64


class FenceSet:
    """Fences by (tenant, fence id), each in a slot.

    An edit costs what its own shape costs, whatever else there is. Not to be used by several threads during an edit.
    """

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], int] = {}
        self._rows: list[_Row | None] = []
        self._free_slots: list[int] = []
        self._tenants: dict[str, int] = {}
        self._vertex = Pool(np.float64, 2)
        self._chunk_edges = Pool(np.int32, 2)
        self._chunk_box = Pool(np.float64, 4)
        self._lists = Pool(np.int32)
        self._times = TimesPool()
        self._index = CellIndex()
        self._crosses = np.zeros(4, np.int32)
        self._compiled = empty_fences(16)
        self._publish()

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[FenceDefinition]:
        return (row.definition for row in self._rows if row is not None)

    @property
    def compiled(self) -> CompiledFences:
        """The arrays as they stand now; take them anew after an edit."""
        return self._compiled

    def tenant_number(self, tenant: str) -> int:
        """The number of a tenant in this set, given at its first mention and never changed."""
        return self._tenants.setdefault(tenant, len(self._tenants))

    def slot_of(self, tenant: str, fence_id: str) -> int | None:
        """The slot of a fence, or None."""
        return self._slots.get((tenant, fence_id))

    def definition(self, slot: int) -> FenceDefinition:
        """The fence in a slot. KeyError if the slot is free."""
        row = self._rows[slot] if 0 <= slot < len(self._rows) else None
        if row is None:
            raise KeyError(slot)
        return row.definition

    def put(self, definition: FenceDefinition) -> int:
        """Adds a valid fence, or puts it in the place of the one with its id; returns its slot."""
        key = (definition.tenant, definition.fence_id)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._take_slot()
            self._slots[key] = slot
        else:
            self._clear(slot)
        self._write(slot, definition)
        return slot

    def delete(self, tenant: str, fence_id: str) -> int | None:
        """Removes a fence; returns the slot it had, or None if there was none."""
        slot = self._slots.pop((tenant, fence_id), None)
        if slot is not None:
            self._clear(slot)
            self._free_slots.append(slot)
        return slot

    def _take_slot(self) -> int:
        if self._free_slots:
            return self._free_slots.pop()
        slot = len(self._rows)
        self._rows.append(None)
        if slot >= len(self._compiled.tenant):
            self._compiled = grown_fences(self._compiled, 2 * slot)
        return slot

    def _write(self, slot: int, definition: FenceDefinition) -> None:
        shape = compile_shape(definition.shape)
        tenant = self.tenant_number(definition.tenant)
        vertex_start = self._vertex.put(shape.vertex)
        chunk_start = self._chunk_edges.put(shape.chunk_edges + np.array((vertex_start, 0), np.int32))
        if self._chunk_box.put(shape.chunk_box) != chunk_start:
            raise AssertionError("runs of edges and their boxes are out of step")
        offset_edges(shape.lists, shape.refs, LIST_HEADER, vertex_start)
        list_start = self._lists.put(shape.lists)
        shape.refs[shape.refs >= 0] += list_start
        self._index.insert(tenant, shape.keys, shape.refs, slot)
        self._rows[slot] = _Row(
            definition,
            (vertex_start, len(shape.vertex)),
            (chunk_start, len(shape.chunk_edges)),
            (list_start, len(shape.lists)),
            self._times.put(definition.active) if definition.active.are_limited else None,
            shape.keys,
        )

        fences = self._compiled
        rule = definition.crossing
        fences.tenant[slot] = tenant
        fences.version[slot] = definition.version
        fences.kind[slot] = shape.kind
        fences.enter_fixes[slot] = rule.enter_fixes
        fences.exit_fixes[slot] = rule.exit_fixes
        fences.confirm_after_us[slot] = NO_TIME if rule.confirm_after_us is None else rule.confirm_after_us
        fences.exit_margin_m[slot] = rule.exit_margin_m
        fences.accuracy_cap_m[slot] = rule.accuracy_cap_m
        self._write_visit_rule(slot, definition.visit)
        self._write_times(slot)
        fences.half_width_m[slot] = shape.half_width_m
        fences.circle[slot] = shape.circle
        fences.chunks[slot] = (chunk_start, len(shape.chunk_edges))
        self._publish()

    def _write_visit_rule(self, slot: int, visit: VisitRule) -> None:
        fences = self._compiled
        watches = CORRIDOR_WATCHED if visit.watched else 0
        if visit.cross:
            watches |= CROSS
            self._count_crosses(slot, 1)
        if visit.dwell_us is not None:
            watches |= DWELL
        if visit.speed_limit_mps is not None:
            watches |= SPEED
        fences.watches[slot] = watches
        fences.dwell_us[slot] = NEVER if visit.dwell_us is None else visit.dwell_us
        fences.speed_limit_mps[slot] = np.inf if visit.speed_limit_mps is None else visit.speed_limit_mps
        fences.speed_tolerance_mps[slot] = visit.speed_tolerance_mps

    def _write_times(self, slot: int) -> None:
        row = self._rows[slot]
        assert row is not None
        if row.times is not None:
            self._compiled.watches[slot] |= WINDOWED
            self._compiled.times[slot] = row.times[0]

    def _count_crosses(self, slot: int, more: int) -> None:
        tenant = int(self._compiled.tenant[slot])
        if tenant >= len(self._crosses):
            self._crosses = np.append(self._crosses, np.zeros(tenant + 1, np.int32))
        self._crosses[tenant] += more

    def _clear(self, slot: int) -> None:
        row = self._rows[slot]
        assert row is not None
        self._index.remove(int(self._compiled.tenant[slot]), row.keys, slot)
        for pool, (start, count) in (
            (self._vertex, row.vertex),
            (self._chunk_edges, row.chunks),
            (self._chunk_box, row.chunks),
            (self._lists, row.lists),
        ):
            pool.give_back(start, count)
        if row.times is not None:
            self._times.give_back(*row.times)
        if row.definition.visit.cross:
            self._count_crosses(slot, -1)
        self._rows[slot] = None
        self._compiled.kind[slot] = NOTHING
        self._compiled.tenant[slot] = -1
        self._compiled.chunks[slot] = 0

    def _publish(self) -> None:
        self._compiled = self._compiled._replace(
            vertex=self._vertex.rows,
            chunk_edges=self._chunk_edges.rows,
            chunk_box=self._chunk_box.rows,
            border_list=self._lists.rows,
            tenant_root=self._index.root,
            cell=self._index.cell,
            entry=self._index.entry,
            tenant_crosses=self._crosses,
            schedule=self._times.words,
        )
