"""Nodes of short chains, kept in columns and used again when they are given back.

State that few devices have (a fence they are inside of, a limit they broke) hangs on its owner as a chain of nodes, so
that it costs nothing where there is none. A pool is any columns with a column `following`; `free` holds the first node
given back (NOTHING for none) and how many nodes were ever taken. In a pool of records `free` is a field that means
something in the first two alone, so that all of the pool is one array.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.aligned_records import RecordColumns, Records, empty_records, more_records
from tracking_core.columns import I32, I64
from tracking_core.growth import next_size

FIRST_FREE = 0
EVER_TAKEN = 1


def empty_free() -> I64:
    """Nothing given back, nothing taken."""
    return np.array([-1, 0], np.int64)


Columns = TypeVar("Columns", bound=RecordColumns)


def empty_nodes(dtype: np.dtype[Any]) -> Records:
    """Records of a pool with room for two, of which nothing was taken yet."""
    records = empty_records(dtype, 2)
    records["free"] = empty_free()
    return records


def with_room(pool: Columns, wanted: int) -> Columns:
    """A pool, or a longer copy, into which at least `wanted` more nodes fit."""
    free: I64 = pool["free"]
    taken = int(free[EVER_TAKEN])
    if len(pool) - taken >= wanted:
        return pool
    return pool.of(more_records(pool.view(np.ndarray), next_size(len(pool), taken + wanted)))


@scalar_kernel
def take_node(following: I32, free: I64) -> int:
    """A node, its fields those of whoever had it before. There must be room: see `room_left`."""
    node = int(free[FIRST_FREE])
    if node >= 0:
        free[FIRST_FREE] = following[node]
    else:
        node = int(free[EVER_TAKEN])
        free[EVER_TAKEN] += 1
    return node


@scalar_kernel
def give_back(following: I32, free: I64, node: int) -> None:
    """Makes a node, already out of its chain, available again."""
    following[node] = free[FIRST_FREE]
    free[FIRST_FREE] = node


@scalar_kernel
def room_left(following: I32, free: I64) -> int:
    """How many nodes can be taken for sure: those never taken."""
    return len(following) - int(free[EVER_TAKEN])


@scalar_kernel
def walk_chains(first: I32, following: I32, owners: I64, nodes: I64) -> int:
    """Writes the owner and the number of every node that hangs on an owner; returns how many."""
    count = 0
    for owner in range(len(first)):
        node = first[owner]
        while node >= 0:
            owners[count] = owner
            nodes[count] = node
            count += 1
            node = following[node]
    return count


@scalar_kernel
def hang_chains(owners: I64, first: I32, following: I32, free: I64) -> None:
    """Takes nodes never taken before, in their order, and hangs them on these owners. There must be room."""
    node = int(free[EVER_TAKEN])
    for owner in owners:
        following[node] = first[owner]
        first[owner] = node
        node += 1
    free[EVER_TAKEN] = node
