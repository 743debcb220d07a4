"""Tag stage: which reads count, when a tag has arrived at a reader, and when it has departed.

A tag is present after so many reads within so long. It departs when it was not read for the silence: as shown by the
reader's own clock (a read of any tag that long after), or by the log's (that long after the log entry with its last
read). Either way the event is the same: it happened at the last read, and is confirmed when the silence was complete by
the reader's clock. So a replay of old readings at any speed gives what live readings gave, as far as the reader's clock
shows it.
"""

from __future__ import annotations

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.columns import I64, NO_TIME, U8
from tracking_core.columns import TagColumns as TagReads
from tracking_core.content_hash import SEED, mix_integer, mix_number
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.fixes.quality import CLOCK_UNSET_BEFORE_US
from tracking_core.memory import SAME, Memory, recall, remember
from tracking_core.sensors.quality import SampleRules
from tracking_core.tags.table import ABSENT, PENDING, PRESENT, TagColumns, add_tag, find_tag, link_tag, unlink_tag
from tracking_core.telling.event_rows import TAG_ARRIVED, TAG_DEPARTED, EventRows
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_DUPLICATE = int(Verdict.DUPLICATE)
_FUTURE_CLOCK = int(Verdict.FUTURE_CLOCK)
_STALE = int(Verdict.STALE)
_LATE = int(Verdict.LATE)


@scalar_kernel
def write_tag(
    events: EventRows,
    reading: int,
    kind: int,
    slot: int,
    observed_at_us: int,
    confirmed_at_us: int,
    tags: TagColumns,
    devices: DeviceColumns,
) -> None:
    """One row more; there must be room."""
    at = events.filled[0]
    events.filled[0] = at + 1
    row = tags.row[slot]
    events.reading[at] = reading
    events.kind[at] = kind
    events.row[at] = row
    events.subject[at] = slot
    events.observed_at_us[at] = observed_at_us
    events.confirmed_at_us[at] = confirmed_at_us
    events.latitude_deg[at] = devices.latitude_deg[row]
    events.longitude_deg[at] = devices.longitude_deg[row]
    events.antenna[at] = tags.antenna[slot]


@scalar_kernel
def depart(
    events: EventRows, reading: int, slot: int, silence_us: int, tags: TagColumns, devices: DeviceColumns
) -> None:
    """Ends the presence of a tag that is in no chain any more."""
    last_us = tags.last_at_us[slot]
    write_tag(events, reading, TAG_DEPARTED, slot, last_us, last_us + silence_us, tags, devices)
    tags.state[slot] = ABSENT


@scalar_kernel
def depart_at_reader(
    reading: int,
    row: int,
    reader_us: int,
    silence_us: int,
    tags: TagColumns,
    devices: DeviceColumns,
    events: EventRows,
) -> bool:
    """Ends the presence of every tag of a reader that was silent by the reader's clock; False, and nothing done, if
    there is no room for so many events.
    """
    present = 0
    slot = devices.first_tag[row]
    while slot != NOTHING:
        present += 1
        slot = tags.following[slot]
    if len(events.kind) - events.filled[0] < present:
        return False
    due_us = NEVER
    before = NOTHING
    slot = devices.first_tag[row]
    while slot != NOTHING:
        following = tags.following[slot]
        if tags.last_at_us[slot] + silence_us <= reader_us:
            if before == NOTHING:
                devices.first_tag[row] = following
            else:
                tags.following[before] = following
            depart(events, reading, slot, silence_us, tags, devices)
        else:
            due_us = min(due_us, tags.last_at_us[slot] + silence_us)
            before = slot
        slot = following
    devices.tags_due_us[row] = due_us
    return True


@scalar_kernel
def expire_tags(now_us: int, silence_us: int, tags: TagColumns, devices: DeviceColumns, events: EventRows) -> int:
    """Ends the presence of every tag that was silent by the log's clock. Returns 0, or, having done nothing, how many
    rows of events it needs room for. Costs nothing while none is due.
    """
    if now_us < tags.due_now_us[0]:
        return 0
    count = tags.filled[0]
    due = 0
    for slot in range(count):
        if tags.state[slot] == PRESENT and tags.last_now_us[slot] + silence_us <= now_us:
            due += 1
    if len(events.kind) - events.filled[0] < due:
        return due
    tags.due_now_us[0] = NEVER
    for slot in range(count):
        if tags.state[slot] != PRESENT:
            continue
        due_us = tags.last_now_us[slot] + silence_us
        if due_us > now_us:
            tags.due_now_us[0] = min(tags.due_now_us[0], due_us)
            continue
        unlink_tag(tags, slot, tags.row[slot], devices)
        depart(events, 0, slot, silence_us, tags, devices)
    return 0


@scalar_kernel
def judge_read(
    reads: TagReads,
    i: int,
    slot: int,
    row: int,
    known: bool,  # noqa: FBT001 - kernels know no keywords
    now_us: int,
    devices: DeviceColumns,
    tags: TagColumns,
    memory: Memory,
    rules: SampleRules,
) -> int:
    """The verdict on the read at `i`; it is remembered unless it is a duplicate or from the future. Reads of one tag at
    one time by two antennas do not contradict each other.
    """
    at_us = reads.observed_at_us[i]
    if at_us > now_us + rules.future_tolerance_us:
        return _FUTURE_CLOCK
    reader_us = devices.reader_at_us[row]
    if at_us < CLOCK_UNSET_BEFORE_US or (reader_us != NO_TIME and at_us < reader_us - rules.horizon_us):
        return _STALE
    content = mix_integer(mix_number(SEED, reads.rssi_dbm[i]), reads.antenna[i])
    if recall(memory, slot, rules.kept_samples, at_us, content) == SAME:
        return _DUPLICATE
    remember(memory, slot, rules.kept_samples, at_us, content)
    if reader_us != NO_TIME and at_us + rules.tag_silence_us <= reader_us:
        return _LATE
    if known and at_us < tags.last_at_us[slot]:
        return _LATE
    return _OK


@scalar_kernel
def read_tags(
    reads: TagReads,
    rows: I64,
    start: int,
    now_us: int,
    devices: DeviceColumns,
    tags: TagColumns,
    memory: Memory,
    rules: SampleRules,
    verdicts: U8,
    events: EventRows,
) -> int:
    """Fills `verdicts` and writes events, from the read at `start` on; returns where it stopped for lack of room (for a
    tag or events), or the number of reads; called again from there it goes on as if it had not stopped.
    """
    for i in range(start, len(rows)):
        row = rows[i]
        if tags.filled[0] >= len(tags.row) or len(events.kind) == events.filled[0]:
            return i
        epc_high = reads.epc_high[i]
        epc_low = reads.epc_low[i]
        epc_length = int(np.int64(reads.epc_length[i]))
        at_us = reads.observed_at_us[i]
        believed = CLOCK_UNSET_BEFORE_US <= at_us <= now_us + rules.future_tolerance_us
        if (
            believed
            and at_us >= devices.tags_due_us[row]
            and not depart_at_reader(i, row, at_us, rules.tag_silence_us, tags, devices, events)
        ):
            return i
        if len(events.kind) == events.filled[0]:
            return i
        found = find_tag(tags, row, epc_high, epc_low, epc_length)
        slot = found
        known = found >= 0
        if not known:
            slot = add_tag(tags, -1 - found, row, epc_high, epc_low, epc_length)
        elif tags.state[slot] == ABSENT and tags.last_now_us[slot] <= now_us - rules.horizon_us:
            known = False
        if not known:
            memory.head[slot] = 0
            memory.length[slot] = 0
            tags.reads[slot] = 0
            tags.first_at_us[slot] = NO_TIME
            tags.last_at_us[slot] = NO_TIME
            tags.last_now_us[slot] = now_us
            tags.antenna[slot] = 0
        verdict = judge_read(reads, i, slot, row, known, now_us, devices, tags, memory, rules)
        verdicts[i] = verdict
        if verdict != _OK:
            continue
        devices.reader_at_us[row] = max(devices.reader_at_us[row], at_us)
        if at_us == tags.last_at_us[slot]:
            continue
        tags.last_at_us[slot] = at_us
        tags.last_now_us[slot] = now_us
        tags.antenna[slot] = reads.antenna[i]
        if tags.state[slot] == PRESENT:
            continue
        if tags.state[slot] == ABSENT or at_us - tags.first_at_us[slot] > rules.tag_reads_within_us:
            tags.state[slot] = PENDING
            tags.reads[slot] = 0
            tags.first_at_us[slot] = at_us
        tags.reads[slot] += 1
        if tags.reads[slot] >= rules.tag_reads:
            tags.state[slot] = PRESENT
            link_tag(tags, slot, row, rules.tag_silence_us, devices)
            write_tag(events, i, TAG_ARRIVED, slot, tags.first_at_us[slot], at_us, tags, devices)
    return len(rows)
