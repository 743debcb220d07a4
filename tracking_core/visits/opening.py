"""An edit of the active times of a fence: whoever is inside is told, where the old ones kept it untold."""

from __future__ import annotations

from geofence.compiled import CompiledFences
from geofence.containment import contains_one
from geofence.kernel import scalar_kernel
from geofence.transitions import ENTERED as BECAME_IN
from geofence.transitions import PENDING_IN, Crossing
from geofence.windows import is_active, windows_around
from tracking_core.columns import I64
from tracking_core.device_table import NOTHING, DeviceColumns
from tracking_core.presence_pool import PresenceColumns, find_presence
from tracking_core.telling.event_rows import EventRows
from tracking_core.visits.geofencing import crossing_kind, write_crossing


@scalar_kernel
def open_fence(
    fence: int,
    start: int,
    before: I64,
    place: int,
    moved: bool,  # noqa: FBT001 - kernels know no keywords
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    events: EventRows,
) -> int:
    """Tells of every device inside, from the row `start` on, whose newest counted fix is within the active times now
    and was not within those at `place` of `before`; if the fence `moved` too, only of those that are inside still.
    Returns where it stopped for lack of room, or the number of rows.
    """
    for row in range(start, len(devices.tenant)):
        node = find_presence(presences, row, fence, devices)
        if node == NOTHING or presences.state[node] == PENDING_IN:
            continue
        if len(events.kind) == events.filled[0]:
            return row
        at_us = int(devices.counted_at_us[row])
        if (
            is_active(fences, fence, at_us)
            and not windows_around(before, place, at_us)[0]
            and (not moved or contains_one(fences, fence, devices.longitude_deg[row], devices.latitude_deg[row]))
        ):
            here = Crossing(at_us, devices.latitude_deg[row], devices.longitude_deg[row])
            write_crossing(events, 0, crossing_kind(fences, fence, BECAME_IN), row, fence, here, at_us)
    return len(devices.tenant)
