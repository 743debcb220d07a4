"""What a reading is worth, with the numbers of `drover.tracking.v1.Verdict`."""

from __future__ import annotations

import enum


class Verdict(enum.IntEnum):
    """Every reading is stored with one, save `DUPLICATE`, which is only counted. Only `OK` moves any state."""

    UNSPECIFIED = 0
    OK = 1
    DUPLICATE = 2
    NO_FIX = 3
    OUT_OF_RANGE = 4
    IMPLAUSIBLE_JUMP = 5
    FUTURE_CLOCK = 6
    IMPRECISE = 7
    STALE = 8
    LATE = 9
    CONFLICTING = 10
    HISTORICAL = 11
    REPEATED = 12
