"""All fences of all tenants: edited one at a time, compiled for kernels as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from geofence.compiled import CIRCLE, CORRIDOR, NO_TIME, NOTHING, POLYGON, CompiledFences
from geofence.definition import F64, CircleShape, CorridorShape, FenceDefinition
from geofence.geodesy import cartesian_m
from geofence.planar import shape_rings, unwrapped_line
from geofence.pool import Pool

# Neighbouring edges that share a box: few enough to look at each, many enough that boxes are cheap.
CHUNK_EDGES = 16


@dataclasses.dataclass
class _Blocks:
    """What one fence holds in the pools."""

    vertex_start: int = 0
    vertex_count: int = 0
    chunk_start: int = 0
    chunk_count: int = 0


class FenceSet:
    """Fences by (tenant, fence id), each in a slot. Not safe for use from several threads during an edit."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], int] = {}
        self._definitions: list[FenceDefinition | None] = []
        self._blocks: list[_Blocks] = []
        self._free_slots: list[int] = []
        self._tenants: dict[str, int] = {}
        self._vertex = Pool(np.float64, 2)
        self._chunk_edges = Pool(np.int32, 2)
        self._chunk_box = Pool(np.float64, 4)
        self._border_list = Pool(np.int32)
        self._compiled = _empty(16)

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[FenceDefinition]:
        return (self.definition(slot) for slot in sorted(self._slots.values()))

    @property
    def compiled(self) -> CompiledFences:
        """The arrays as they stand now; take them anew after an edit."""
        return self._compiled

    def tenant_number(self, tenant: str) -> int:
        """The number of a tenant in this set, given at its first mention and never changed."""
        number = self._tenants.setdefault(tenant, len(self._tenants))
        if number >= len(self._compiled.tenant_root):
            grown = np.full((2 * number + 1, 4), -1, np.int32)
            grown[: len(self._compiled.tenant_root)] = self._compiled.tenant_root
            self._compiled = self._compiled._replace(tenant_root=grown)
        return number

    def slot_of(self, tenant: str, fence_id: str) -> int | None:
        """The slot of a fence, or None."""
        return self._slots.get((tenant, fence_id))

    def definition(self, slot: int) -> FenceDefinition:
        """The fence in a slot. KeyError if the slot is free."""
        definition = self._definitions[slot] if 0 <= slot < len(self._definitions) else None
        if definition is None:
            raise KeyError(slot)
        return definition

    def put(self, definition: FenceDefinition) -> int:
        """Adds a valid fence or puts it in the place of the one with its id; returns its slot."""
        key = (definition.tenant, definition.fence_id)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._take_slot()
            self._slots[key] = slot
        else:
            self._clear(slot)
        self._definitions[slot] = definition
        self._write(slot, definition)
        return slot

    def delete(self, tenant: str, fence_id: str) -> int | None:
        """Removes a fence; returns the slot it had, or None if there was none."""
        slot = self._slots.pop((tenant, fence_id), None)
        if slot is not None:
            self._clear(slot)
            self._definitions[slot] = None
            self._free_slots.append(slot)
        return slot

    def _take_slot(self) -> int:
        if self._free_slots:
            return self._free_slots.pop()
        slot = len(self._definitions)
        self._definitions.append(None)
        self._blocks.append(_Blocks())
        if slot >= len(self._compiled.tenant):
            self._compiled = _grown(self._compiled, 2 * slot)
        return slot

    def _write(self, slot: int, definition: FenceDefinition) -> None:
        fences = self._compiled
        rule = definition.crossing
        fences.tenant[slot] = self.tenant_number(definition.tenant)
        fences.version[slot] = definition.version
        fences.enter_fixes[slot] = rule.enter_fixes
        fences.exit_fixes[slot] = rule.exit_fixes
        fences.confirm_after_us[slot] = NO_TIME if rule.confirm_after_us is None else rule.confirm_after_us
        fences.exit_margin_m[slot] = rule.exit_margin_m
        fences.accuracy_cap_m[slot] = rule.accuracy_cap_m
        shape = definition.shape
        if isinstance(shape, CircleShape):
            fences.kind[slot] = CIRCLE
            fences.circle[slot, :3] = (shape.latitude_deg, shape.longitude_deg, shape.radius_m)
            fences.circle[slot, 3:6] = cartesian_m(shape.latitude_deg, shape.longitude_deg)
        elif isinstance(shape, CorridorShape):
            fences.kind[slot] = CORRIDOR
            fences.half_width_m[slot] = shape.half_width_m
            self._write_lines(slot, [unwrapped_line(shape.line)])
        else:
            fences.kind[slot] = POLYGON
            self._write_lines(slot, shape_rings(shape))

    def _write_lines(self, slot: int, lines: list[F64]) -> None:
        edges, boxes = chunked(lines)
        vertex_start = self._vertex.put(np.concatenate(lines))
        edges[:, 0] += vertex_start
        chunk_start = self._chunk_edges.put(edges)
        if self._chunk_box.put(boxes) != chunk_start:
            raise AssertionError("chunk pools out of step")
        blocks = self._blocks[slot]
        blocks.vertex_start = vertex_start
        blocks.vertex_count = sum(map(len, lines))
        blocks.chunk_start = chunk_start
        blocks.chunk_count = len(edges)
        self._compiled.chunks[slot] = (chunk_start, len(edges))
        self._compiled = self._compiled._replace(
            vertex=self._vertex.rows,
            chunk_edges=self._chunk_edges.rows,
            chunk_box=self._chunk_box.rows,
            border_list=self._border_list.rows,
        )

    def _clear(self, slot: int) -> None:
        blocks = self._blocks[slot]
        if blocks.vertex_count:
            self._vertex.give_back(blocks.vertex_start, blocks.vertex_count)
            self._chunk_edges.give_back(blocks.chunk_start, blocks.chunk_count)
            self._chunk_box.give_back(blocks.chunk_start, blocks.chunk_count)
        self._blocks[slot] = _Blocks()
        self._compiled.kind[slot] = NOTHING
        self._compiled.tenant[slot] = -1
        self._compiled.chunks[slot] = 0


def chunked(lines: list[F64]) -> tuple[np.ndarray, np.ndarray]:
    """Runs of at most CHUNK_EDGES edges of each line: (first edge, number of edges) and their boxes."""
    edges: list[tuple[int, int]] = []
    boxes: list[tuple[float, float, float, float]] = []
    start = 0
    for line in lines:
        for first in range(0, len(line) - 1, CHUNK_EDGES):
            part = line[first : first + CHUNK_EDGES + 1]
            edges.append((start + first, len(part) - 1))
            west, south = part.min(axis=0)
            east, north = part.max(axis=0)
            boxes.append((west, south, east, north))
        start += len(line)
    return np.array(edges, np.int32).reshape(-1, 2), np.array(boxes, np.float64).reshape(-1, 4)


def _empty(slots: int) -> CompiledFences:
    """Arrays with room for `slots` fences and none in them."""
    return CompiledFences(
        tenant=np.full(slots, -1, np.int32),
        version=np.zeros(slots, np.int64),
        kind=np.zeros(slots, np.uint8),
        enter_fixes=np.zeros(slots, np.int32),
        exit_fixes=np.zeros(slots, np.int32),
        confirm_after_us=np.full(slots, NO_TIME, np.int64),
        exit_margin_m=np.zeros(slots),
        accuracy_cap_m=np.zeros(slots),
        half_width_m=np.zeros(slots),
        circle=np.zeros((slots, 8)),
        chunks=np.zeros((slots, 2), np.int32),
        vertex=np.zeros((0, 2)),
        chunk_edges=np.zeros((0, 2), np.int32),
        chunk_box=np.zeros((0, 4)),
        border_list=np.zeros(0, np.int32),
        tenant_root=np.full((4, 4), -1, np.int32),
        cell=np.full((0, 2), -1, np.int32),
        entry=np.zeros((0, 3), np.int32),
    )


def _grown(fences: CompiledFences, slots: int) -> CompiledFences:
    """The same with room for `slots` fences."""
    larger = _empty(slots)
    held = len(fences.tenant)
    for name in CompiledFences._fields[: CompiledFences._fields.index("vertex")]:
        getattr(larger, name)[:held] = getattr(fences, name)
    return larger._replace(**{name: getattr(fences, name) for name in CompiledFences._fields[-7:]})
