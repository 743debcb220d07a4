"""How a device notices that fences of its tenant were edited, or its name: when it is next looked at."""

from __future__ import annotations

from geofence.kernel import inlined_kernel
from tracking_core.columns import I64
from tracking_core.device_table import NEVER, DeviceColumns
from tracking_core.fix_quality import last_judged_us
from tracking_core.journal import JournalColumns, forget_changes


@inlined_kernel
def settle_edits(row: int, devices: DeviceColumns, journal: JournalColumns, edits: I64) -> None:
    """After an edit of its tenant's fences a device goes on from where it is: what was told before stays told, what was
    assumed too.
    """
    tenant = devices.tenant[row]
    edit = edits[tenant] if 0 <= tenant < len(edits) else 0
    if devices.edit_seen[row] != edit:
        devices.edit_seen[row] = edit
        devices.settled_us[row] = last_judged_us(devices, row)
        forget_changes(journal, row, NEVER, devices)
