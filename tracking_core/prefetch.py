"""Memory that the next fixes will need, asked for at once."""

from __future__ import annotations

from typing import Final

from geofence.compiled import CompiledFences
from geofence.containment import touch_cells
from geofence.kernel import scalar_kernel
from tracking_core.columns import I64, PositionColumns
from tracking_core.device_table import DeviceColumns
from tracking_core.fixes.timeline import Timeline, place_of
from tracking_core.journey_records import JourneyColumns
from tracking_core.visits.geofencing import is_in_clear_cell

AHEAD: Final = 64
"""For so many fixes what they need is fetched at once: as much as stays in a core's own cache until they are folded."""


@scalar_kernel
def touch(
    fixes: PositionColumns,
    rows: I64,
    start: int,
    end: int,
    devices: DeviceColumns,
    timeline: Timeline,
    journeys: JourneyColumns,
    fences: CompiledFences,
) -> float:
    """Reads of every line of memory that the fold of these fixes will need, and returns a number that means nothing.

    A fold waits for some eight lines one after the other, of another device than the one before; here the waits
    overlap, as nothing hangs on what is read.
    """
    nothing = 0.0
    for i in range(start, end):
        row = rows[i]
        nothing += float(devices.counted_at_us[row]) + float(timeline.newest_us[row])
        nothing += float(journeys.trip[row]["state"]) + float(journeys.now[row]["since_us"])
    for i in range(start, end):
        row = rows[i]
        length = timeline.ring.length[row]
        place = place_of(timeline.ring, row, timeline.places, length)
        nothing += float(timeline.ring.times_us[place])
        if timeline.repairs:
            nothing += float(timeline.journeys[place]["since_us"])
            if length + 1 == timeline.places:
                nothing += float(timeline.kept[place_of(timeline.ring, row, timeline.places, 0)]["verdict"])
        longitude_deg, latitude_deg = fixes.longitude_deg[i], fixes.latitude_deg[i]
        # NaN is in no cell, and must not be made a column.
        on_globe = abs(longitude_deg) <= 180.0 and abs(latitude_deg) <= 90.0
        if on_globe and not is_in_clear_cell(row, longitude_deg, latitude_deg, devices):
            nothing += float(touch_cells(fences, devices.tenant[row], longitude_deg, latitude_deg))
    return nothing
