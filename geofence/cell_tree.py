"""The index: one tree of cells a tenant, in which every fence hangs at exactly the cells that it has.

A node is 4 by 4 cells of one level; a cell has a child node and an entry for each fence that has this very cell:
the first in its own row, so that a look-up mostly reads nothing else, further ones in a chain. Where a fence hangs
depends on nothing but its own shape, so that adding or taking away one touches its own cells only, and a look-up
goes down one path, past the entries of every fence that may hold the point, at any mixture of sizes. The root of a
tenant is as deep as its fences allow. Freed nodes and entries are chained through their first word and used again.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.compiled import CHILD, I32, I64, NEXT, REF, SLOT
from geofence.grid import DEEPEST, key_parts
from geofence.kernel import kernel, scalar_kernel

NODE_CELLS: Final = 16
# Words of the account of what is used: nodes used, first free node, nodes free; the same for entries.
ACCOUNT_WORDS: Final = 6
# The most nodes that one cell may need: a path down, and a root moved up.
MOST_NEW_NODES: Final = 2 * DEEPEST


@kernel
def _take_node(cell: I32, account: I64) -> int:
    """An empty node; the caller has seen to it that there is room."""
    node = int(account[1])
    if node >= 0:
        account[1] = cell[node * NODE_CELLS, CHILD]
        account[2] -= 1
    else:
        node = int(account[0])
        account[0] += 1
    cell[node * NODE_CELLS : (node + 1) * NODE_CELLS] = -1
    return node


@kernel
def _free_node(cell: I32, account: I64, node: int) -> None:
    """Chains a node to the free ones."""
    cell[node * NODE_CELLS, CHILD] = account[1]
    account[1] = node
    account[2] += 1


@kernel
def _is_empty(cell: I32, node: int) -> bool:
    """Whether no cell of a node has a child or an entry."""
    for place in range(node * NODE_CELLS, (node + 1) * NODE_CELLS):
        if cell[place, CHILD] >= 0 or cell[place, SLOT] >= 0:
            return False
    return True


@scalar_kernel
def _place_in(column: int, row: int, shift: int) -> int:
    """Which of a node's sixteen cells holds a cell whose column and row are `shift` bits finer."""
    return int(((row >> shift) & 3) * 4 + ((column >> shift) & 3))


@kernel
def _raise_root(cell: I32, account: I64, root: I32, level: int, column: int, row: int) -> None:
    """Makes a root (node, level, column, row), or moves it up, until the node at `root` lies above a cell."""
    if root[0] < 0:
        root[0] = _take_node(cell, account)
        root[1] = level - 1
        root[2] = column >> 2
        root[3] = row >> 2
    while root[1] >= level or (
        column >> (2 * (level - root[1])) != root[2] or row >> (2 * (level - root[1])) != root[3]
    ):
        above = _take_node(cell, account)
        cell[above * NODE_CELLS + _place_in(root[2], root[3], 0), CHILD] = root[0]
        root[0] = above
        root[1] -= 1
        root[2] >>= 2
        root[3] >>= 2


@kernel
def insert_cells(cell: I32, entry: I32, account: I64, root: I32, keys: I64, refs: I32, slot: int, start: int) -> int:
    """Hangs keys[start:] of a slot into a tenant's tree; returns the first key for which there was no more room.

    Mutates all but keys and refs. A key is on level 1 or deeper.
    """
    most_nodes = len(cell) // NODE_CELLS
    for index in range(start, len(keys)):
        if most_nodes - account[0] + account[2] < MOST_NEW_NODES or (account[4] < 0 and account[3] == len(entry)):
            return index
        level, column, row = key_parts(keys[index])
        _raise_root(cell, account, root, level, column, row)
        node = root[0]
        for depth in range(root[1] + 1, level):
            place = node * NODE_CELLS + _place_in(column, row, 2 * (level - depth))
            if cell[place, CHILD] < 0:
                cell[place, CHILD] = _take_node(cell, account)
            node = cell[place, CHILD]
        place = node * NODE_CELLS + _place_in(column, row, 0)
        if cell[place, SLOT] < 0:
            cell[place, SLOT] = slot
            cell[place, REF] = refs[index]
            continue
        at = account[4]
        if at >= 0:
            account[4] = entry[at, SLOT]
            account[5] -= 1
        else:
            at = account[3]
            account[3] += 1
        entry[at, SLOT] = slot
        entry[at, REF] = refs[index]
        entry[at, NEXT] = cell[place, NEXT]
        cell[place, NEXT] = at
    return len(keys)


@kernel
def remove_cells(cell: I32, entry: I32, account: I64, root: I32, keys: I64, slot: int) -> None:
    """Takes all keys of a slot out of a tenant's tree, and the nodes that become empty.

    Mutates all but keys. Every key must be in the tree.
    """
    path = np.empty(DEEPEST + 1, np.int64)
    for index in range(len(keys)):
        level, column, row = key_parts(keys[index])
        node = root[0]
        length = 0
        for depth in range(root[1] + 1, level + 1):
            path[length] = node * NODE_CELLS + _place_in(column, row, 2 * (level - depth))
            node = cell[path[length], CHILD]
            length += 1
        place = path[length - 1]
        freed = cell[place, NEXT]
        if cell[place, SLOT] == slot:
            if freed < 0:
                cell[place, SLOT] = -1
            else:
                cell[place, SLOT] = entry[freed, SLOT]
                cell[place, REF] = entry[freed, REF]
                cell[place, NEXT] = entry[freed, NEXT]
        elif entry[freed, SLOT] == slot:
            cell[place, NEXT] = entry[freed, NEXT]
        else:
            before = freed
            freed = entry[before, NEXT]
            while entry[freed, SLOT] != slot:
                before = freed
                freed = entry[before, NEXT]
            entry[before, NEXT] = entry[freed, NEXT]
        if freed >= 0:
            entry[freed, SLOT] = account[4]
            account[4] = freed
            account[5] += 1
        while length > 0 and _is_empty(cell, path[length - 1] // NODE_CELLS):
            _free_node(cell, account, path[length - 1] // NODE_CELLS)
            length -= 1
            if length > 0:
                cell[path[length - 1], CHILD] = -1
            else:
                root[0] = -1
