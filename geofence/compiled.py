"""Fences as arrays that kernels read: what a slot is, its border, and the index over all of them.

A *slot* is the row of one fence, for as long as it exists; edits keep it, and a slot freed by a deletion may be
given to another fence later, so whoever remembers a slot remembers the version beside it. A row that holds no fence
has the kind `NOTHING` and the tenant -1. All arrays have room to spare and grow by being replaced: take
`FenceSet.compiled` anew after every edit. Edits write in place; nobody may read meanwhile.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

NO_TIME: Final = -(2**63)

# Of a rule without a dwell: a visit that is never long enough.
NEVER: Final = 2**63 - 1

NOTHING: Final = 0
POLYGON: Final = 1
CIRCLE: Final = 2
CORRIDOR: Final = 3

# What is watched of visits, as bits.
DWELL: Final = 1
SPEED: Final = 2
CORRIDOR_WATCHED: Final = 4
CROSS: Final = 8
# Only at some times: a fence with windows.
WINDOWED: Final = 16

# An index entry without a list of edges: the cell is wholly inside, or a circle must be measured.
WHOLLY_INSIDE: Final = -1
MEASURE_CIRCLE: Final = -2
# How the list of a border cell is read: along which ray edges are counted, or as segments of a corridor.
RAY_EAST: Final = 0
RAY_WEST: Final = 1
RAY_NORTH: Final = 2
RAY_SOUTH: Final = 3
SEGMENTS: Final = 4
# Words of a row of `cell` and of `entry`.
CHILD: Final = 0
SLOT: Final = 1
REF: Final = 2
NEXT: Final = 3
# Words of a list before its edges: count * 8 + how it is read; the winding number where the ray ends.
LIST_HEADER: Final = 2


class CompiledFences(NamedTuple):
    """Everything the kernels of this room read. Columns of a slot first, then pools, then the index."""

    tenant: I32
    version: I64
    kind: U8
    enter_fixes: I32
    exit_fixes: I32
    # NO_TIME where a rule names none.
    confirm_after_us: I64
    exit_margin_m: F64
    accuracy_cap_m: F64
    # Bits of what is watched of visits; most fences have none.
    watches: U8
    # NEVER where none is watched for.
    dwell_us: I64
    speed_limit_mps: F64
    speed_tolerance_mps: F64
    # Where the active times of a windowed fence stand in `schedule`.
    times: I32
    half_width_m: F64
    # (n, 8): latitude_deg, longitude_deg, radius_m, earth-centred x, y, z, squared chords that are surely in,
    # surely out.
    circle: F64
    # (n, 2): first row and number of rows in `chunk_edges` and `chunk_box`.
    chunks: I32
    # (n, 2) longitude_deg, latitude_deg. Edge i runs from row i to row i + 1; rings are closed.
    vertex: F64
    # (n, 2): first edge and number of edges of a run of neighbours on one ring.
    chunk_edges: I32
    # (n, 4): west, south, east, north of that run, degrees.
    chunk_box: F64
    # Lists of border cells, each LIST_HEADER words and then edges.
    border_list: I32
    # (tenants, 4): root node or -1, its level, its cell x and y on that level (geofence/grid.py).
    tenant_root: I32
    # (nodes * 16, 4): child node or -1, and an entry; slot -1 if there is none.
    cell: I32
    # (n, 4): nothing, and an entry: slot; WHOLLY_INSIDE, MEASURE_CIRCLE or a place in `border_list`; next entry or -1.
    entry: I32
    # (tenants): how many fences of each watch for passages.
    tenant_crosses: I32
    # Active times and time zones (geofence/windows.py); empty until a fence has windows.
    schedule: I64


_SLOT_COLUMNS: Final = CompiledFences._fields.index("vertex")


def empty_fences(slots: int) -> CompiledFences:
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
        watches=np.zeros(slots, np.uint8),
        dwell_us=np.full(slots, NEVER, np.int64),
        speed_limit_mps=np.full(slots, np.inf),
        speed_tolerance_mps=np.zeros(slots),
        times=np.zeros(slots, np.int32),
        half_width_m=np.zeros(slots),
        circle=np.zeros((slots, 8)),
        chunks=np.zeros((slots, 2), np.int32),
        vertex=np.zeros((0, 2)),
        chunk_edges=np.zeros((0, 2), np.int32),
        chunk_box=np.zeros((0, 4)),
        border_list=np.zeros(0, np.int32),
        tenant_root=np.full((4, 4), -1, np.int32),
        cell=np.full((0, 4), -1, np.int32),
        entry=np.zeros((0, 4), np.int32),
        tenant_crosses=np.zeros(4, np.int32),
        schedule=np.zeros(0, np.int64),
    )


def grown_fences(fences: CompiledFences, slots: int) -> CompiledFences:
    """The same with room for `slots` fences."""
    larger = empty_fences(slots)
    held = len(fences.tenant)
    for name in CompiledFences._fields[:_SLOT_COLUMNS]:
        getattr(larger, name)[:held] = getattr(fences, name)
    return larger._replace(**{name: getattr(fences, name) for name in CompiledFences._fields[_SLOT_COLUMNS:]})
