"""Which rows of a table changed in each of the last ticks, and where they were before."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Degrees = npt.NDArray[np.float64]


class Change(NamedTuple):
    """Rows that changed between two ticks, each once, in any order, and their position at the earlier tick.

    A row that had none yet has NaN there, which no viewport contains.
    """

    rows: Rows
    earlier_longitude_deg: Degrees
    earlier_latitude_deg: Degrees


class ChangeHistory:
    """The changes of the last ticks: at most `max_ticks`, and at most `max_rows` rows in all of them together.

    When it is full the oldest give way; whoever needs them gets a snapshot instead.
    """

    def __init__(self, max_ticks: int, max_rows: int) -> None:
        self._changes: deque[Change] = deque()
        self._max_ticks = max_ticks
        self.max_rows = max_rows
        self._rows = 0
        self.newest = 0
        """The tick that the newest change led to; ticks count from 0 without gaps."""

    def append(self, change: Change) -> None:
        """The change from tick `newest` to `newest + 1`."""
        self._changes.append(change)
        self._rows += len(change.rows)
        self.newest += 1
        while len(self._changes) > self._max_ticks or self._rows > self.max_rows:
            self._rows -= len(self._changes.popleft().rows)

    def since(self, tick: int) -> Change | None:
        """All that changed after `tick`, against the positions at `tick`. None when that is no longer known."""
        behind = self.newest - tick
        if not 0 < behind <= len(self._changes):
            return None
        if behind == 1:
            return self._changes[-1]
        parts = [self._changes[-back] for back in range(behind, 0, -1)]
        # A row's position at `tick` is the earlier one of its first change after it.
        rows, first = np.unique(np.concatenate([part.rows for part in parts]), return_index=True)
        return Change(
            rows,
            np.concatenate([part.earlier_longitude_deg for part in parts])[first],
            np.concatenate([part.earlier_latitude_deg for part in parts])[first],
        )
