"""Which tenant's which row a device number is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

UNKNOWN: Final = 0
FOREIGN: Final = -1
# Numbers are dense, so the arrays are as long as the largest one; a number beyond this is damage, not a device.
_MAX_NUMBER: Final = 1 << 26


class DeviceIndex:
    """Arrays over device numbers: the number of the tenant (from 1; UNKNOWN; FOREIGN for one of a tenant without
    clients), and the row in that tenant's table.
    """

    def __init__(self) -> None:
        self._tenant = np.zeros(1024, np.int32)
        self._row = np.zeros(1024, np.int32)

    def _reach(self, number: int) -> None:
        if number >= len(self._tenant):
            more = max(number + 1, 2 * len(self._tenant)) - len(self._tenant)
            self._tenant = np.concatenate([self._tenant, np.zeros(more, np.int32)])
            self._row = np.concatenate([self._row, np.zeros(more, np.int32)])

    def put(self, tenant: int, pairs: Sequence[tuple[int, int]]) -> None:
        """Device numbers and their rows."""
        if not pairs:
            return
        numbers, rows = np.array(pairs, np.int64).T
        self._reach(int(numbers.max()))
        self._tenant[numbers] = tenant
        self._row[numbers] = rows

    def forget(self, numbers: npt.NDArray[np.uint32]) -> None:
        """Makes devices foreign, when their tenant has no clients any more, or none of ours knows them."""
        numbers = numbers[numbers < _MAX_NUMBER]
        if len(numbers):
            self._reach(int(numbers.max()))
            self._tenant[numbers] = FOREIGN

    def find(self, numbers: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Tenant and row of each number."""
        if not len(numbers):
            return np.empty(0, np.int32), np.empty(0, np.int32)
        if int(numbers.max()) < len(self._tenant):
            return self._tenant[numbers], self._row[numbers]
        known = numbers < len(self._tenant)
        tenant, row = np.zeros(len(numbers), np.int32), np.zeros(len(numbers), np.int32)
        tenant[known] = self._tenant[numbers[known]]
        row[known] = self._row[numbers[known]]
        tenant[numbers >= _MAX_NUMBER] = FOREIGN
        return tenant, row
