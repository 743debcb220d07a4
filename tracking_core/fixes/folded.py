"""What the fold of positions gives: a row a position, and the verdicts of earlier ones that it changed."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.columns import F32, F64, I64, U8, U64
from tracking_core.fixes.timeline import Timeline
from tracking_core.growth import longer_columns, next_size


class FoldedFixes(NamedTuple):
    """One row a position."""

    verdict: U8
    speed_mps: F32
    """As measured, or derived where the device sent none and the fix counts; else NaN. So is `heading_deg`."""
    heading_deg: F32
    in_order: U8
    """1 where the fix counts and is the newest of its device."""
    moved: U8
    """1 where the newest counted fix of the device may be another now."""


class VerdictChanges(NamedTuple):
    """Verdicts of stored fixes that another fix changed, in the order in which that happened; `filled[0]` rows."""

    filled: I64
    row: I64
    observed_at_us: I64
    content: U64
    latitude_deg: F64
    longitude_deg: F64
    before: U8
    after: U8


_CHANGE_DTYPES: Final = ("i8", "i8", "u8", "f8", "f8", "u1", "u1")


class ChangeBuffer:
    """Rows of `VerdictChanges` that grow between calls of a kernel."""

    def __init__(self) -> None:
        self.rows = VerdictChanges(np.zeros(1, np.int64), *(np.empty(64, dtype) for dtype in _CHANGE_DTYPES))

    def clear(self) -> None:
        """Forgets all rows."""
        self.rows.filled[0] = 0

    def make_room(self, wanted: int) -> None:
        """At least `wanted` free rows."""
        needed, held = int(self.rows.filled[0]) + wanted, len(self.rows.row)
        if needed > held:
            columns = longer_columns(self.rows[1:], next_size(held, needed), [0] * len(_CHANGE_DTYPES))
            self.rows = VerdictChanges(self.rows.filled, *columns)


def empty_folded(count: int) -> FoldedFixes:
    """Room for `count` positions."""
    return FoldedFixes(
        np.empty(count, np.uint8),
        np.empty(count, np.float32),
        np.empty(count, np.float32),
        np.empty(count, np.uint8),
        np.empty(count, np.uint8),
    )


@scalar_kernel
def note_verdict(changes: VerdictChanges, row: int, timeline: Timeline, place: int, before: int, after: int) -> None:
    """Adds a row for the fix at a place of the timeline; there must be room."""
    at = changes.filled[0]
    changes.filled[0] = at + 1
    changes.row[at] = row
    changes.observed_at_us[at] = timeline.ring.times_us[place]
    changes.content[at] = timeline.ring.contents[place]
    changes.latitude_deg[at] = timeline.kept[place]["latitude_deg"]
    changes.longitude_deg[at] = timeline.kept[place]["longitude_deg"]
    changes.before[at] = before
    changes.after[at] = after
