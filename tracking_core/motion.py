"""Second stage: speed and heading where the device sends none, and what the live map is told."""

from __future__ import annotations

import math
from typing import NamedTuple

from geofence.geodesy import bearing_deg, distance_m
from geofence.kernel import scalar_kernel
from tracking_core.columns import F32, I64, NO_TIME, PositionColumns
from tracking_core.device_table import DeviceColumns
from tracking_core.fix_quality import Judged
from tracking_core.live_frame import LiveColumns
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)


class MotionRules(NamedTuple):
    """The settings of this stage, as numbers for the kernel."""

    derive_within_us: int
    heading_after_m: float


def motion_rules(settings: EngineSettings) -> MotionRules:
    """The rules of an engine."""
    return MotionRules(settings.derive_within_us, float(settings.heading_after_m))


@scalar_kernel
def derive_motion(
    fixes: PositionColumns,
    rows: I64,
    judged: Judged,
    devices: DeviceColumns,
    rules: MotionRules,
    speed_mps: F32,
    heading_deg: F32,
) -> None:
    """Fills `speed_mps` and `heading_deg`, one row a position, and the device's own.

    What the device measured stays as it is. A speed is the distance from the counted fix before, divided by the time; a
    heading is the bearing from there, and the device's last heading where it moved too little to tell (a parked
    receiver's drift would turn it about). NaN where the fix before is missing or too old.
    """
    for i in range(len(rows)):
        speed = float(fixes.speed_mps[i])
        heading = float(fixes.heading_deg[i])
        if judged.verdict[i] == _OK:
            row = rows[i]
            if math.isnan(speed) or math.isnan(heading):
                before_us = judged.before_at_us[i]
                elapsed_us = fixes.observed_at_us[i] - before_us if before_us != NO_TIME else 0
                if 0 < elapsed_us <= rules.derive_within_us:
                    before_latitude_deg = judged.before_latitude_deg[i]
                    before_longitude_deg = judged.before_longitude_deg[i]
                    latitude_deg = fixes.latitude_deg[i]
                    longitude_deg = fixes.longitude_deg[i]
                    moved_m = distance_m(before_latitude_deg, before_longitude_deg, latitude_deg, longitude_deg)
                    if math.isnan(speed):
                        speed = moved_m / (elapsed_us * 1e-6)
                    if math.isnan(heading):
                        if moved_m >= rules.heading_after_m:
                            heading = bearing_deg(
                                before_latitude_deg, before_longitude_deg, latitude_deg, longitude_deg
                            )
                        else:
                            heading = float(devices.heading_deg[row])
            devices.speed_mps[row] = speed
            devices.heading_deg[row] = heading
        speed_mps[i] = speed
        heading_deg[i] = heading


@scalar_kernel
def newest_fixes(
    fixes: PositionColumns,
    rows: I64,
    judged: Judged,
    devices: DeviceColumns,
    step: int,
    live: LiveColumns,
) -> int:
    """Writes the newest counted fix of each device that has one in this batch to `live`, in the order in which they
    came; returns how many. `step` must differ from call to call. Fills from the back, so the rows stand at the end.
    """
    at = len(live.device)
    for i in range(len(rows) - 1, -1, -1):
        row = rows[i]
        if judged.verdict[i] != _OK or devices.live_step[row] == step:
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
