"""The latest position of every device of one tenant, in arrays, at a sequence of ticks.

Frames from pub/sub are taken in as they come and become visible together, at the next tick. Between two ticks nothing
that a client can see changes, so the clients of one tick see the same, whenever the event loop comes to each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.live.change_history import Change, ChangeHistory, Rows

_FIRST_CAPACITY: Final = 256
_NEVER: Final = np.iinfo(np.int64).min


class Fixes(NamedTuple):
    """Columns of one length: what a frame shows of a device."""

    observed_at_us: npt.NDArray[np.int64]
    longitude_deg: npt.NDArray[np.float64]
    latitude_deg: npt.NDArray[np.float64]
    speed_mps: npt.NDArray[np.float32]
    heading_deg: npt.NDArray[np.float32]
    accuracy_m: npt.NDArray[np.float32]


def _empty(capacity: int) -> Fixes:
    nothing = np.full(capacity, np.nan)
    return Fixes(
        np.full(capacity, _NEVER, np.int64),
        nothing.copy(),
        nothing.copy(),
        nothing.astype(np.float32),
        nothing.astype(np.float32),
        nothing.astype(np.float32),
    )


def _columns(fixes: Fixes) -> tuple[npt.NDArray[Any], ...]:
    return fixes


def _joined(first: Fixes, second: Fixes) -> Fixes:
    pairs = zip(_columns(first), _columns(second), strict=True)
    return Fixes(*(np.concatenate(pair) for pair in pairs))


class PositionsTable:
    """One row a device, in the order in which devices became known; a row is never given to another device.

    `visible` and `device_number` have more entries than rows: `length` says how many count. A device never seen has NaN
    coordinates.
    """

    def __init__(self, history_ticks: int) -> None:
        self.length = 0
        self.device_number = np.zeros(_FIRST_CAPACITY, np.uint32)
        self.visible = _empty(_FIRST_CAPACITY)
        self._coming = _empty(_FIRST_CAPACITY)
        self._received_at_us = np.full(_FIRST_CAPACITY, _NEVER, np.int64)
        self._touched = np.zeros(_FIRST_CAPACITY, np.bool_)
        self._any_touched = False
        self.history = ChangeHistory(history_ticks, 4 * _FIRST_CAPACITY)

    @property
    def tick(self) -> int:
        """The present tick; it counts only those in which something changed."""
        return self.history.newest

    def add(self, device_numbers: Sequence[int]) -> int:
        """Makes rows for devices that have none. Returns the first of them; they follow in order."""
        first, needed = self.length, self.length + len(device_numbers)
        if needed > len(self.device_number):
            self._grow(max(needed, 2 * len(self.device_number)))
        self.device_number[first:needed] = device_numbers
        self.length = needed
        return first

    def _grow(self, capacity: int) -> None:
        more = capacity - len(self.device_number)
        self.device_number = np.concatenate([self.device_number, np.zeros(more, np.uint32)])
        self._touched = np.concatenate([self._touched, np.zeros(more, np.bool_)])
        empty = _empty(more)
        self.visible = _joined(self.visible, empty)
        self._coming = _joined(self._coming, empty)
        self._received_at_us = np.concatenate([self._received_at_us, np.full(more, _NEVER, np.int64)])
        # Four changes of every row are remembered, whatever the number of ticks: memory follows the fleet's size.
        self.history.max_rows = 4 * capacity

    def take(self, rows: Rows, fixes: Fixes, received_at_us: npt.NDArray[np.int64] | None = None) -> None:
        """Takes fixes of `rows` in, for the next tick. What is neither newer nor received later than what is there
        changes nothing, in whatever order they come.

        A fix that was received later and is no newer is there because a late one put something right: another of the
        same time counts, or the newest turned out to be a jump. Without `received_at_us` the times observed stand for
        it.
        """
        received_at_us = fixes.observed_at_us if received_at_us is None else received_at_us
        # Oldest first, of equally old ones the last to come first: the last write is that of the fix that shall stay.
        order = len(rows) - 1 - np.argsort(fixes.observed_at_us[::-1], kind="stable")
        rows = rows[order]
        observed, received = fixes.observed_at_us[order], received_at_us[order]
        newer = (observed > self._coming.observed_at_us[rows]) | (received > self._received_at_us[rows])
        if not newer.any():
            return
        rows = rows[newer]
        for column, values in zip(_columns(self._coming), _columns(fixes), strict=True):
            column[rows] = values[order][newer]  # of a row that comes twice the last, which is the newest, stays
        self._received_at_us[rows] = received[newer]
        self._touched[rows] = True
        self._any_touched = True

    def advance(self) -> bool:
        """Makes visible what was taken in. Returns whether that was anything: then it is a new tick."""
        if not self._any_touched:
            return False
        rows = np.flatnonzero(self._touched[: self.length])
        self._touched[rows] = False
        self._any_touched = False
        change = Change(rows, self.visible.longitude_deg[rows], self.visible.latitude_deg[rows])
        for column, coming in zip(_columns(self.visible), _columns(self._coming), strict=True):
            column[rows] = coming[rows]
        self.history.append(change)
        return True
