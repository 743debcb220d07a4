"""What happens because time goes on and no fix comes: the timers of devices, fired as of when they were due.

A timer runs by the device's clock, of which the log's clock tells while the device is silent: it has gone on as much as
the log's since the newest fix came (`lag_us`). So hours that are delivered in a minute fire nothing before its time,
and a clock that is slow silences nobody.

What was due before a fix, that fix decides itself (signal.py). What a timer concludes after the newest fix is an
assumption: it stands in the journal behind that fix, with the time at which it was due, and the next fix takes it back
and decides again. If that ends alike, nothing is told. So the events that stand in the end do not depend on when
anybody looked at the clock.
"""

from __future__ import annotations

from typing import NamedTuple

from geofence.compiled import CompiledFences
from geofence.kernel import scalar_kernel
from tracking_core.columns import I64
from tracking_core.corrections import tell_news
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.edits import EditColumns, settle_edits
from tracking_core.fixes.quality import counted_fix, last_judged_us
from tracking_core.fixes.timeline import Timeline
from tracking_core.journey_records import JourneyColumns
from tracking_core.journeys.folding import fall_silent, trip_due_us
from tracking_core.node_pool import room_left
from tracking_core.presence_pool import PresenceColumns, load_presence, load_visit, reckon_due, store_presence
from tracking_core.routes.arrivals import arrival_due_us, assume_arrivals, count_expected, expects
from tracking_core.routes.expectations import ExpectedColumns
from tracking_core.settings import EngineSettings
from tracking_core.signal import lose_signal, signal_due_us
from tracking_core.telling.event_rows import EventRows
from tracking_core.telling.journal import JournalColumns
from tracking_core.visits.geofencing import count_presences
from tracking_core.visits.visits import conclude_due, openings_inside

_MOST_OF_DEVICE = 2
"""Timers that a device has besides those of its visits: of its signal, and of its trip."""


class TimerRules(NamedTuple):
    """The settings of the timers, as numbers for the kernel."""

    signal_lost_after_us: int
    trip_silence_us: int


def timer_rules(settings: EngineSettings) -> TimerRules:
    """The rules of an engine."""
    return TimerRules(settings.signal_lost_after_us, settings.trip_silence_us)


@scalar_kernel
def due_now_us(
    row: int, devices: DeviceColumns, journeys: JourneyColumns, expected: ExpectedColumns, rules: TimerRules
) -> int:
    """When the first timer of a device is due, by the log's clock; NEVER if none runs."""
    due_us = min(
        int(devices.due_us[row]),
        signal_due_us(row, devices, rules.signal_lost_after_us),
        trip_due_us(row, devices, journeys, rules.trip_silence_us),
        arrival_due_us(row, expected),
    )
    return due_us if due_us == NEVER else due_us + int(devices.lag_us[row])


@scalar_kernel
def most_timers(
    row: int,
    now_us: int,
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    expected: ExpectedColumns,
) -> int:
    """At most so many timers of a device fire by now; of a window that opens two, as a dwell may be over behind it."""
    openings = openings_inside(
        row, devices.counted_at_us[row], now_us - devices.lag_us[row], presences, devices, fences
    )
    visits = count_presences(presences, row, devices) + 2 * openings
    return int(visits + count_expected(row, expected) + _MOST_OF_DEVICE)


@scalar_kernel
def assume(
    row: int,
    now_us: int,
    devices: DeviceColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    journeys: JourneyColumns,
    expected: ExpectedColumns,
    journal: JournalColumns,
    rules: TimerRules,
) -> bool:
    """Fires what is due by the log's clock and was decided by no fix: notes it in the journal, for others to tell.
    False if there is no room in the journal, before anything changed.
    """
    if due_now_us(row, devices, journeys, expected, rules) > now_us:
        return True
    if room_left(journal.following, journal.free) < most_timers(row, now_us, devices, fences, presences, expected):
        return False
    until_us = now_us - devices.lag_us[row]
    # Right behind all that fixes decided, whenever it was due: the next fix takes back what stands behind the newest.
    behind_us = last_judged_us(devices, row) + 1
    last = counted_fix(row, devices)
    node = devices.first_presence[row]
    while node != NOTHING:
        if presences.due_us[node] <= until_us:
            known, visit = load_presence(presences, node), load_visit(presences, node)
            fence, left_us = presences.fence[node], known.crossed_at_us
            visit = conclude_due(
                row, behind_us, until_us, left_us, fence, known, visit, visit, last, 1, devices, fences, journal
            )
            store_presence(presences, node, known, visit)
        node = presences.following[node]
    reckon_due(presences, row, devices)
    if expects(row, expected):
        assume_arrivals(row, behind_us, until_us, last, presences, devices, expected, journal)
    due_us = signal_due_us(row, devices, rules.signal_lost_after_us)
    if due_us <= until_us:
        journal.assumed[lose_signal(row, last, due_us, behind_us, devices, journal)] = 1
    due_us = trip_due_us(row, devices, journeys, rules.trip_silence_us)
    if due_us <= until_us:
        journal.assumed[fall_silent(row, last, due_us, behind_us, devices, journeys, journal)] = 1
    return True


@scalar_kernel
def fire_timers(
    start: int,
    rows: int,
    now_us: int,
    devices: DeviceColumns,
    timeline: Timeline,
    fences: CompiledFences,
    presences: PresenceColumns,
    journeys: JourneyColumns,
    expected: ExpectedColumns,
    journal: JournalColumns,
    edits: EditColumns,
    rules: TimerRules,
    first_due_us: I64,
    events: EventRows,
) -> int:
    """Fires and tells what is due by the log's clock, of the first `rows` devices from `start` on; returns where it
    stopped for lack of room (in the journal, or for events), or `rows`. Costs nothing while none is due.

    `first_due_us[0]`: none is due before, by the log's clock; exact afterwards.
    """
    if now_us < first_due_us[0]:
        return rows
    for row in range(start, rows):
        if due_now_us(row, devices, journeys, expected, rules) > now_us:
            continue
        most = most_timers(row, now_us, devices, fences, presences, expected)
        if len(events.kind) - events.filled[0] < most or room_left(journal.following, journal.free) < most:
            return row
        settle_edits(row, devices, timeline, journal, edits)
        assume(row, now_us, devices, fences, presences, journeys, expected, journal, rules)
        tell_news(journal, row, 0, last_judged_us(devices, row) + 1, False, devices, events)
    find_first_due(rows, devices, journeys, expected, rules, first_due_us)
    return rows


@scalar_kernel
def find_first_due(
    rows: int,
    devices: DeviceColumns,
    journeys: JourneyColumns,
    expected: ExpectedColumns,
    rules: TimerRules,
    first_due_us: I64,
) -> None:
    """Writes when the first timer of the first rows is due, by the log's clock; NEVER for none."""
    first_us = NEVER
    for row in range(rows):
        first_us = min(first_us, due_now_us(row, devices, journeys, expected, rules))
    first_due_us[0] = first_us


@scalar_kernel
def expect_timers(
    row: int,
    devices: DeviceColumns,
    journeys: JourneyColumns,
    expected: ExpectedColumns,
    rules: TimerRules,
    first_due_us: I64,
) -> None:
    """Minds the timers of a device that changed."""
    first_due_us[0] = min(first_due_us[0], due_now_us(row, devices, journeys, expected, rules))
