"""A fix out of a batch, into its place of the timeline, and out of that again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geofence.kernel import inlined_kernel, scalar_kernel
from tracking_core.columns import PositionColumns
from tracking_core.fixes.quality import MeasuredFix
from tracking_core.fixes.timeline import HEADING, MARK_BITS, SPEED, Timeline
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)


@inlined_kernel
def measured_at(fixes: PositionColumns, i: int) -> MeasuredFix:
    """The fix at `i`."""
    return MeasuredFix(
        fixes.observed_at_us[i],
        fixes.received_at_us[i],
        fixes.latitude_deg[i],
        fixes.longitude_deg[i],
        fixes.altitude_m[i],
        fixes.accuracy_m[i],
        fixes.speed_mps[i],
        fixes.heading_deg[i],
    )


@scalar_kernel
def if_measured(value: float, measured: int) -> float:
    """A value in half the digits if it was measured, else NaN in as many."""
    unknown: Any = np.float32(math.nan)
    return value if measured else unknown


@scalar_kernel
def kept_at(timeline: Timeline, place: int) -> MeasuredFix:
    """The fix at a place of the timeline, as measured."""
    kept = timeline.kept[place]
    return MeasuredFix(
        timeline.ring.times_us[place],
        kept["received_at_us"],
        kept["latitude_deg"],
        kept["longitude_deg"],
        kept["altitude_m"],
        kept["accuracy_m"],
        if_measured(kept["speed_mps"], kept["measured"] & SPEED),
        if_measured(kept["heading_deg"], kept["measured"] & HEADING),
    )


@inlined_kernel
def keep_fix(timeline: Timeline, place: int, fixes: PositionColumns, i: int, verdict: int, mark: int) -> None:
    """Writes the fix at `i` beside its place, with the mark of its sequence (repeats.py)."""
    kept = timeline.kept[place]
    kept["received_at_us"] = fixes.received_at_us[i]
    kept["latitude_deg"] = fixes.latitude_deg[i]
    kept["longitude_deg"] = fixes.longitude_deg[i]
    kept["altitude_m"] = fixes.altitude_m[i]
    kept["accuracy_m"] = fixes.accuracy_m[i]
    kept["speed_mps"] = fixes.speed_mps[i]
    kept["heading_deg"] = fixes.heading_deg[i]
    measured = 0 if math.isnan(fixes.speed_mps[i]) else SPEED
    if not math.isnan(fixes.heading_deg[i]):
        measured |= HEADING
    kept["measured"] = measured | mark >> 8 << MARK_BITS
    kept["sequence"] = mark & 0xFF
    kept["verdict"] = verdict


@inlined_kernel
def kept_mark(timeline: Timeline, place: int) -> int:
    """The mark of the sequence of the fix at a place of the timeline."""
    kept = timeline.kept[place]
    return int(kept["sequence"]) | int(kept["measured"]) >> MARK_BITS << 8


@inlined_kernel
def keep_derived(timeline: Timeline, place: int, verdict: int, speed_mps: float, heading_deg: float) -> None:
    """Writes the verdict on a kept fix beside it, and speed and heading that were derived where it measured none: NaN
    where it does not count.
    """
    kept = timeline.kept[place]
    kept["verdict"] = verdict
    if not kept["measured"] & SPEED:
        kept["speed_mps"] = speed_mps if verdict == _OK else np.float32(math.nan)
    if not kept["measured"] & HEADING:
        kept["heading_deg"] = heading_deg if verdict == _OK else np.float32(math.nan)
