"""The arrays of the index of all tenants, with room made as it is needed."""

from __future__ import annotations

import numpy as np

from geofence.cell_tree import ACCOUNT_WORDS, MOST_NEW_NODES, NODE_CELLS, insert_cells, remove_cells
from geofence.compiled import I32, I64


class CellIndex:
    """A tree of cells for each tenant. `cell`, `entry` and `root` are replaced when they grow; take them anew."""

    def __init__(self) -> None:
        self.cell: I32 = np.full((4 * MOST_NEW_NODES * NODE_CELLS, 4), -1, np.int32)
        self.entry: I32 = np.zeros((64, 4), np.int32)
        self.root: I32 = np.full((4, 4), -1, np.int32)
        self._account: I64 = np.zeros(ACCOUNT_WORDS, np.int64)
        self._account[[1, 4]] = -1

    def insert(self, tenant: int, keys: I64, refs: I32, slot: int) -> None:
        """Hangs the cells of a slot in a tenant's tree."""
        if tenant >= len(self.root):
            self.root = _longer(self.root, 2 * tenant + 1, -1)
        done = 0
        while True:
            done = insert_cells(self.cell, self.entry, self._account, self.root[tenant], keys, refs, slot, done)
            if done == len(keys):
                return
            used_nodes, _, free_nodes, used_entries, _, free_entries = self._account.tolist()
            if len(self.cell) // NODE_CELLS - used_nodes + free_nodes < MOST_NEW_NODES:
                self.cell = _longer(self.cell, 2 * len(self.cell), -1)
            if len(self.entry) - used_entries + free_entries < len(keys) - done:
                self.entry = _longer(self.entry, 2 * len(self.entry), 0)

    def remove(self, tenant: int, keys: I64, slot: int) -> None:
        """Takes the cells of a slot, all of which it has, out of a tenant's tree."""
        remove_cells(self.cell, self.entry, self._account, self.root[tenant], keys, slot)

    def used(self) -> tuple[int, int]:
        """How many nodes and entries are in use."""
        used_nodes, _, free_nodes, used_entries, _, free_entries = self._account.tolist()
        return used_nodes - free_nodes, used_entries - free_entries


def _longer(array: I32, rows: int, fill: int) -> I32:
    grown = np.full((rows, *array.shape[1:]), fill, np.int32)
    grown[: len(array)] = array
    return grown
