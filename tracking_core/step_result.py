"""What one step of the engine gives back."""

from __future__ import annotations

from typing import NamedTuple

from tracking_core.columns import F32, F64, I64, U8, U32
from tracking_core.events import CoreEvent
from tracking_core.live_frame import LiveColumns


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
    live: LiveColumns
    """The newest counted fix of each device that has one in this step."""
    events: tuple[CoreEvent, ...]
