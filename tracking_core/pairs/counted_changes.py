"""What a step changed in the set of fixes that count."""

from __future__ import annotations

import numpy as np

from tracking_core.columns import U8, U32, PositionColumns
from tracking_core.pairs.companions import COUNTS, GONE, CompanionFix
from tracking_core.step_result import VerdictChangeColumns
from tracking_core.verdicts import Verdict


def counted_changes(
    positions: PositionColumns, verdicts: U8, changes: VerdictChangeColumns, watched: U32
) -> list[CompanionFix]:
    """What a step changed in the fixes that count, of the watched devices: those that are gone first, then the new
    ones in the order of the readings. A fix that counted and was put in doubt by the same step is not said.
    """
    sums: dict[tuple[int, int, float, float], int] = {}
    mine = np.flatnonzero(np.isin(positions.device, watched) & (verdicts == Verdict.OK))
    columns = (positions.device, positions.observed_at_us, positions.latitude_deg, positions.longitude_deg)
    for fix in zip(*(column[mine].tolist() for column in columns), strict=True):
        sums[fix] = sums.get(fix, 0) + 1
    mine = np.flatnonzero(np.isin(changes.device, watched))
    chosen = (column[mine].tolist() for column in changes)
    for device, at_us, _, latitude_deg, longitude_deg, before, after in zip(*chosen, strict=True):
        fix = (device, at_us, latitude_deg, longitude_deg)
        sums[fix] = sums.get(fix, 0) + int(after == Verdict.OK) - int(before == Verdict.OK)
    gone = [CompanionFix(*fix, GONE) for fix, change in sums.items() if change < 0]
    return gone + [CompanionFix(*fix, COUNTS) for fix, change in sums.items() if change > 0]
