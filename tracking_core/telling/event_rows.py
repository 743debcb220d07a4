"""Events as the kernels write them: rows of numbers, to be made into objects afterwards, since events are rare."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from tracking_core.columns import F64, I32, I64, U8
from tracking_core.growth import longer_columns, next_size

ENTERED: Final = 1
EXITED: Final = 0
EXCURSION_CLOSED: Final = 2
EXCURSION_OPENED: Final = 3
TAG_DEPARTED: Final = 4
TAG_ARRIVED: Final = 5
SIGNAL_LOST: Final = 6
SIGNAL_RESTORED: Final = 7
DWELT: Final = 8
SPEEDING: Final = 9
CORRIDOR_LEFT: Final = 10
CORRIDOR_RETURNED: Final = 11
CROSSED: Final = 12
ARRIVAL_MISSED: Final = 13
STOP_BEGAN: Final = 20
STOP_ENDED: Final = 21
TRIP_STARTED: Final = 22
TRIP_ENDED: Final = 23

FIRST_TOLD: Final = 0
TOLD_LATE: Final = 1
"""First told because a fix arrived late."""
TOLD_AGAIN: Final = 2
"""Withdrawn before and true again, or put right, by a fix that came in order."""
AMENDED: Final = 3
WITHDRAWN: Final = 4


class EventRows(NamedTuple):
    """`filled[0]` rows are filled. Fields that a kind does not use hold anything."""

    filled: I64
    reading: I64
    """Index of the reading in its columns that brought the event about; for timers, 0."""
    kind: U8
    row: I64
    """The device's row."""
    subject: I32
    """Slot of the fence, limit or tag; of an event about the device itself anything."""
    series: I32
    """Slot of the sensor series."""
    observed_at_us: I64
    confirmed_at_us: I64
    latitude_deg: F64
    longitude_deg: F64
    value: F64
    reference: F64
    """The bound of an opened excursion, the worst value of a closed one. Of a trip `value` is its length, and this the
    highest speed on it."""
    opened_at_us: I64
    antenna: I64
    """Of a missed arrival the number of the expectation (routes/expectations.py)."""
    correction: U8
    """FIRST_TOLD to WITHDRAWN; this and what follows only of what fixes and the silence between them bring about."""
    named_at_us: I64
    """The time under which the event was first told."""
    revision: I32
    told_at_us: I64
    """What `observed_at_us` was in the revision before."""
    assumed: U8
    """1 where a timer was due and no fix from then on had been seen."""
    timed: U8
    """1 where silence ended a trip, or an opening window restated an entry, whatever showed it."""
    began_latitude_deg: F64
    """Where a trip that ended began."""
    began_longitude_deg: F64


_DTYPES: Final = (
    "i8",
    "i8",
    "u1",
    "i8",
    "i4",
    "i4",
    "i8",
    "i8",
    "f8",
    "f8",
    "f8",
    "f8",
    "i8",
    "i8",
    "u1",
    "i8",
    "i4",
    "i8",
    "u1",
    "u1",
    "f8",
    "f8",
)


class EventBuffer:
    """Rows that grow between calls of a kernel: a kernel that finds too little room says at which reading it stopped,
    and is called again from there.
    """

    def __init__(self) -> None:
        self.rows = EventRows(np.zeros(1, np.int64), *(np.empty(256, dtype) for dtype in _DTYPES[1:]))

    def clear(self) -> None:
        """Forgets all rows."""
        self.rows.filled[0] = 0

    def make_room(self, wanted: int) -> None:
        """At least `wanted` free rows."""
        needed = int(self.rows.filled[0]) + wanted
        held = len(self.rows.kind)
        if needed > held:
            columns = longer_columns(self.rows[1:], next_size(held, needed), [0] * (len(_DTYPES) - 1))
            self.rows = EventRows(self.rows.filled, *columns)
