"""Numbers as people write them. Times are UTC."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Final

from tracking_core.settings import MINUTE_US, SECOND_US

NAMED: Final = 3
"""Of what may be many, so many are named."""


def utc(time_us: int) -> dt.datetime:
    """To the second."""
    return dt.datetime.fromtimestamp(time_us // SECOND_US, dt.UTC)


def metres(length_m: float) -> str:
    """`3.2 m`, `45 m`, `12.3 km`."""
    if length_m >= 10_000.0:
        return f"{length_m / 1000.0:.1f} km"
    return f"{length_m:.1f} m" if length_m < 9.95 else f"{length_m:.0f} m"


def speed(speed_mps: float) -> str:
    """`13.9 m/s`."""
    return f"{speed_mps:.1f} m/s"


def place(distance_m: float) -> str:
    """A signed distance: `45 m inside`, `3.2 m outside`, `on the border`."""
    if math.isnan(distance_m):
        return "nowhere"
    if abs(distance_m) < 0.05:
        return "on the border, which is inside" if distance_m <= 0.0 else "a few centimetres outside"
    return f"{metres(abs(distance_m))} {'inside' if distance_m < 0.0 else 'outside'}"


def minutes(duration_us: int) -> str:
    """`45 seconds`, `12 minutes`, `3 hours`."""
    if duration_us < 2 * MINUTE_US:
        return f"{duration_us // SECOND_US} seconds"
    whole = round(duration_us / MINUTE_US)
    return f"{whole} minutes" if whole < 120 else f"{whole // 60} hours"


def ordinal(number: int) -> str:
    """`1st`, `2nd`."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def listed(said: Sequence[str], more: int = 0) -> str:
    """The first few, and how many more there are, `more` beside these."""
    more += max(0, len(said) - NAMED)
    return ", ".join(said[:NAMED]) + (f" and {more} more" if more > 0 else "")
