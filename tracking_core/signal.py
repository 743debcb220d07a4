"""When a device has lost its signal: no fix that counts for so long. Silence is never an exit.

Lost when the silence was complete, restored by the next fix that counts, however it was noticed: by the gap that this
fix shows, or by the log's clock before it comes (timers.py).
"""

from __future__ import annotations

from geofence.kernel import inlined_kernel, scalar_kernel
from geofence.transitions import OUTSIDE, Crossing
from tracking_core.columns import NO_TIME
from tracking_core.device_table import NEVER, DeviceColumns
from tracking_core.fixes.quality import MeasuredFix, Neighbour
from tracking_core.presence_pool import NO_VISIT
from tracking_core.telling.event_rows import SIGNAL_LOST, SIGNAL_RESTORED
from tracking_core.telling.journal import SIGNAL, JournalColumns, note_change, note_event

MOST_CHANGES = 2
"""How many changes one fix can note."""


@scalar_kernel
def signal_due_us(row: int, devices: DeviceColumns, signal_lost_after_us: int) -> int:
    """When the silence of a device will be complete, by its own clock; NEVER if it is lost already, never had a fix
    that counts, was never announced, or if nobody wants to know.
    """
    counted_us = devices.counted_at_us[row]
    if (
        signal_lost_after_us == 0
        or counted_us == NO_TIME
        or devices.lost_at_us[row] != NO_TIME
        or devices.tenant[row] < 0
    ):
        return NEVER
    return int(counted_us + signal_lost_after_us)


@scalar_kernel
def note_signal(
    row: int, kind: int, at_us: int, crossing: Crossing, since_us: int, devices: DeviceColumns, journal: JournalColumns
) -> int:
    """Hangs a change of the signal on a device, with its event; returns the node. There must be room."""
    node = note_change(journal, row, at_us, SIGNAL, 0, OUTSIDE, NO_VISIT, devices)
    journal.pending_since_us[node] = devices.lost_at_us[row]
    note_event(journal, node, kind, crossing)
    journal.since_us[node] = since_us
    return node


@scalar_kernel
def lose_signal(
    row: int, last: Neighbour, due_us: int, at_us: int, devices: DeviceColumns, journal: JournalColumns
) -> int:
    """The signal of a device was lost where it was last; noted at `at_us`. Returns the node of the journal."""
    there = Crossing(due_us, last.latitude_deg, last.longitude_deg)
    node = note_signal(row, SIGNAL_LOST, at_us, there, last.at_us, devices, journal)
    devices.lost_at_us[row] = due_us
    return node


@inlined_kernel
def end_silence(
    row: int,
    before: Neighbour,
    fix: MeasuredFix,
    signal_lost_after_us: int,
    devices: DeviceColumns,
    journal: JournalColumns,
) -> None:
    """What the gap between a fix that counts and the counted one before it (its time is NO_TIME if there is none) says
    of the signal. There must be room for MOST_CHANGES in the journal.
    """
    at_us = fix.observed_at_us
    if (
        devices.lost_at_us[row] == NO_TIME
        and signal_lost_after_us > 0
        and before.at_us != NO_TIME
        and at_us - before.at_us >= signal_lost_after_us
        and devices.tenant[row] >= 0
    ):
        lose_signal(row, before, before.at_us + signal_lost_after_us, at_us, devices, journal)
    if devices.lost_at_us[row] != NO_TIME:
        here = Crossing(at_us, fix.latitude_deg, fix.longitude_deg)
        note_signal(row, SIGNAL_RESTORED, at_us, here, before.at_us, devices, journal)
        devices.lost_at_us[row] = NO_TIME
