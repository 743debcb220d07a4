"""What one step of the engine gives back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracking_core.columns import F32, F64, I64, U8, U32, U64
from tracking_core.events import CoreEvent
from tracking_core.live_frame import LiveColumns
from tracking_core.pairs.companions import Companions


class LatestColumns(NamedTuple):
    """The newest counted fix of devices that have one, in ascending device number."""

    device: U32
    observed_at_us: I64
    received_at_us: I64
    latitude_deg: F64
    longitude_deg: F64
    altitude_m: F32
    speed_mps: F32
    """Measured, or derived from the fix before; NaN when unknown. So is `heading_deg`."""
    heading_deg: F32
    accuracy_m: F32
    travelled_m: F64
    """What the odometer shows; NaN where journeys are not followed, and so are the next two."""
    smoothed_latitude_deg: F64
    smoothed_longitude_deg: F64
    stop_began_at_us: I64
    """NO_TIME for a device that is at no stop."""


class VerdictChangeColumns(NamedTuple):
    """Stored fixes whose verdict is another now that an earlier one has come, in the order in which that happened: a
    fix may stand here more than once. It is told from others of its time by its content (content_hash.py).
    """

    device: U32
    observed_at_us: I64
    content: U64
    latitude_deg: F64
    longitude_deg: F64
    before: U8
    after: U8


def no_verdict_changes() -> VerdictChangeColumns:
    """None."""
    return VerdictChangeColumns(*(np.empty(0, dtype) for dtype in ("u4", "i8", "u8", "f8", "f8", "u1", "u1")))


class StepResult(NamedTuple):
    """One row a reading, in the order of the readings; then the events, in order for each device."""

    position_verdicts: U8
    """Numbers of `Verdict`, one a position."""
    sensor_verdicts: U8
    """The same for sensor samples: OK, DUPLICATE, OUT_OF_RANGE (not finite), FUTURE_CLOCK, STALE, LATE, CONFLICTING."""
    tag_verdicts: U8
    """The same for tag reads: OK, DUPLICATE, FUTURE_CLOCK, STALE, LATE."""
    speed_mps: F32
    """One a position: as measured, or derived where the device sent none and the fix counts; else NaN."""
    heading_deg: F32
    verdict_changes: VerdictChangeColumns
    """Of positions stored before, in this step or an earlier one."""
    live: LiveColumns
    """The newest counted fix of each device that moved on (or back) in this step."""
    events: tuple[CoreEvent, ...]
    companions: tuple[Companions, ...] = ()
    """What the partitions where proximities are folded are to be told, by partition."""
