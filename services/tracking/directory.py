"""Who the device numbers are: in memory for everyone in the process, filled from the table and from announcements."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence

import numpy as np

from services.tracking.model import Device
from tracking_core.columns import I32, U32

UNKNOWN_TENANT = ""


class Directory:
    """Devices by number, and by tenant and id.

    Changed on the event loop only; `tenant_codes` may be called from any thread meanwhile, for devices added before.
    """

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self._by_number: dict[int, Device] = {}
        self._numbers: dict[str, dict[str, int]] = {}
        self._sorted: dict[str, list[int]] = {}
        self._codes: dict[str, int] = {UNKNOWN_TENANT: 0}
        self.tenants: list[str] = [UNKNOWN_TENANT]
        """Tenants by code."""
        self._code_of: I32 = np.zeros(1024, np.int32)
        self.add(devices)

    def add(self, devices: Iterable[Device]) -> list[Device]:
        """Takes devices in; returns those that were unknown or are known differently now."""
        changed = [device for device in devices if self._by_number.get(device.number) != device]
        for device in changed:
            self._forget(device.number)
            self._by_number[device.number] = device
            self._numbers.setdefault(device.tenant, {})[device.device_id] = device.number
            bisect.insort(self._sorted.setdefault(device.tenant, []), device.number)
            code = self._codes.get(device.tenant)
            if code is None:
                code = self._codes[device.tenant] = len(self.tenants)
                self.tenants.append(device.tenant)
            if device.number >= len(self._code_of):
                # A new array, not a resized one: another thread may be reading the old.
                grown = np.zeros(max(device.number + 1, 2 * len(self._code_of)), np.int32)
                grown[: len(self._code_of)] = self._code_of
                self._code_of = grown
            self._code_of[device.number] = code
        return changed

    def _forget(self, number: int) -> None:
        old = self._by_number.pop(number, None)
        if old is None:
            return
        self._sorted[old.tenant].remove(number)
        if self._numbers[old.tenant].get(old.device_id) == number:
            del self._numbers[old.tenant][old.device_id]

    def device(self, number: int) -> Device | None:
        """Who a number is."""
        return self._by_number.get(number)

    def find(self, tenant: str, device_id: str) -> Device | None:
        """The device of that id."""
        number = self._numbers.get(tenant, {}).get(device_id)
        return None if number is None else self._by_number[number]

    def numbers(self, tenant: str, *, after: int, limit: int) -> Sequence[int]:
        """The tenant's next device numbers, ascending. `after` -1 begins."""
        every = self._sorted.get(tenant, [])
        begin = bisect.bisect_right(every, after)
        return every[begin : begin + limit]

    def tenant_codes(self, numbers: U32) -> I32:
        """The code of each device's tenant (an index into `tenants`); 0 where nobody announced the number."""
        code_of = self._code_of
        known = numbers < len(code_of)
        return np.where(known, code_of[np.where(known, numbers, 0)], 0).astype(np.int32)

    def __len__(self) -> int:
        return len(self._by_number)
