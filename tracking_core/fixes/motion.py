"""Speed and heading where the device sends none, and what the live map is told."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from geofence.geodesy import bearing_deg, distance_m
from geofence.kernel import scalar_kernel
from tracking_core.columns import I64, NO_TIME, U8, PositionColumns
from tracking_core.device_table import DeviceColumns
from tracking_core.fixes.quality import MeasuredFix, Neighbour
from tracking_core.live_frame import LiveColumns
from tracking_core.settings import EngineSettings


class MotionRules(NamedTuple):
    """The settings of this stage, as numbers for the kernel."""

    derive_within_us: int
    heading_after_m: float


def motion_rules(settings: EngineSettings) -> MotionRules:
    """The rules of an engine."""
    return MotionRules(settings.derive_within_us, float(settings.heading_after_m))


@scalar_kernel
def derive_motion(
    fix: MeasuredFix, before: Neighbour, last_heading_deg: float, rules: MotionRules
) -> tuple[float, float]:
    """Speed and heading of a fix that counts, NaN where unknown; `last_heading_deg` is the device's until then.

    What the device measured stays as it is. A speed is the distance from the counted fix before, divided by the time; a
    heading is the bearing from there, and the device's last heading where it moved too little to tell (a parked
    receiver's drift would turn it about). NaN where the fix before is missing or too old.
    """
    speed = np.float64(fix.speed_mps)
    heading = np.float64(fix.heading_deg)
    if math.isnan(speed) or math.isnan(heading):
        elapsed_us = fix.observed_at_us - before.at_us if before.at_us != NO_TIME else 0
        if 0 < elapsed_us <= rules.derive_within_us:
            moved_m = distance_m(before.latitude_deg, before.longitude_deg, fix.latitude_deg, fix.longitude_deg)
            if math.isnan(speed):
                speed = np.float64(moved_m / (elapsed_us * 1e-6))
            if math.isnan(heading):
                if moved_m >= rules.heading_after_m:
                    heading = np.float64(
                        bearing_deg(before.latitude_deg, before.longitude_deg, fix.latitude_deg, fix.longitude_deg)
                    )
                else:
                    heading = np.float64(last_heading_deg)
    return speed, heading


@scalar_kernel
def newest_fixes(
    fixes: PositionColumns,
    rows: I64,
    moved: U8,
    devices: DeviceColumns,
    step: int,
    live: LiveColumns,
) -> int:
    """Writes the newest counted fix of each device that moved on (or back) in this batch to `live`, in the order in
    which they came; returns how many. `step` must differ from call to call. Fills from the back, so the rows stand at
    the end.
    """
    at = len(live.device)
    for i in range(len(rows) - 1, -1, -1):
        row = rows[i]
        if not moved[i] or devices.live_step[row] == step:
            continue
        devices.live_step[row] = step
        at -= 1
        live.device[at] = fixes.device[i]
        live.observed_at_us[at] = devices.counted_at_us[row]
        live.received_at_us[at] = devices.received_at_us[row]
        live.latitude_deg[at] = devices.latitude_deg[row]
        live.longitude_deg[at] = devices.longitude_deg[row]
        live.speed_mps[at] = devices.speed_mps[row]
        live.heading_deg[at] = devices.heading_deg[row]
        live.accuracy_m[at] = devices.accuracy_m[row]
    return len(live.device) - at
