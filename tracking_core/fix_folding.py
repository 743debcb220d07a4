"""Positions, one by one in the order in which they arrive: judged, put into the timeline, folded in the order of time.

A fix newer than all that were judged before it is folded on what is known of the device; what timers assumed since the
last one is taken back first, and decided again with it. If it is marked as history it waits, until one comes that is
not: then it is folded before that one. A late one is put where it belongs; the device is brought back to what it
was there, and all fixes from there on are folded again, by the same kernel. What that changes in verdicts and events is
told. What cannot be put there any more (past the horizon, or before an edit) is stored as `late` and changes nothing.

A fix that was sent again under another time (repeats.py) is stored as `repeated`. If it came before the one that it
repeats, it counted until then: the device is folded again from there, without it.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from geofence.compiled import CompiledFences
from geofence.kernel import scalar_kernel
from geofence.transitions import Fix
from tracking_core.columns import I32, I64, NO_SEQUENCE, NO_TIME, PositionColumns
from tracking_core.corrections import tell_corrections, tell_news
from tracking_core.device_table import NEVER, NOTHING, DeviceColumns
from tracking_core.edits import EditColumns, settle_edits
from tracking_core.fixes.folded import FoldedFixes, VerdictChanges, note_verdict
from tracking_core.fixes.kept_fix import keep_derived, keep_fix, kept_at, measured_at
from tracking_core.fixes.motion import MotionRules, derive_motion
from tracking_core.fixes.quality import (
    QualityRules,
    count_fix,
    counted_fix,
    fix_content,
    judge_fix,
    last_judged_us,
)
from tracking_core.fixes.repeats import NO_MARK, judged_before_us, mark_repetitions, repeats_earlier, sequence_mark
from tracking_core.fixes.timeline import Timeline, insert_fix, place_of
from tracking_core.fixes.waiting import after_time, first_waiting, let_wait, waiting_alike
from tracking_core.horizon import forget_old_withdrawn, judge_late, repairable_after_us
from tracking_core.journey_records import JourneyColumns
from tracking_core.journeys.folding import MOST_CHANGES as JOURNEY_CHANGES
from tracking_core.journeys.folding import follow_journey, keep_journey
from tracking_core.journeys.journeys import JourneyRules
from tracking_core.memory import Memory
from tracking_core.node_pool import room_left
from tracking_core.prefetch import AHEAD, touch
from tracking_core.presence_pool import PresenceColumns
from tracking_core.rewinding import rewind_fix, take_back_changes
from tracking_core.routes.arrivals import arrival_due_us, count_expected, expects, follow_arrivals
from tracking_core.routes.expectations import ExpectedColumns
from tracking_core.signal import MOST_CHANGES as SIGNAL_CHANGES
from tracking_core.signal import end_silence
from tracking_core.telling.event_rows import EventRows
from tracking_core.telling.journal import JournalColumns, count_events, forget_changes
from tracking_core.timers import TimerRules, assume, expect_timers
from tracking_core.verdicts import Verdict
from tracking_core.visits.geofencing import MOST_CHANGES, count_presences, cross_fences, find_fences
from tracking_core.visits.passages import PassageRules, find_passages, pass_fences
from tracking_core.visits.visits import openings_entered, openings_inside

_OK = int(Verdict.OK)
_DUPLICATE = int(Verdict.DUPLICATE)
_IMPLAUSIBLE_JUMP = int(Verdict.IMPLAUSIBLE_JUMP)
_FUTURE_CLOCK = int(Verdict.FUTURE_CLOCK)
_STALE = int(Verdict.STALE)
_LATE = int(Verdict.LATE)
_CONFLICTING = int(Verdict.CONFLICTING)
_HISTORICAL = int(Verdict.HISTORICAL)
_REPEATED = int(Verdict.REPEATED)

# Where a kernel that stopped for lack of room goes on: columns of `progress`.
_READING: Final = 0
_PHASE: Final = 1
_AGE: Final = 2
_NEW_AGE: Final = 3
_TAKEN_BACK: Final = 4
_TOUCHED: Final = 5
_LATE_FIX: Final = 6
_FROM_US: Final = 7
_RECONSIDERED: Final = 8
_END: Final = 9
# Phases.
_JUDGE: Final = 0
_REWIND: Final = 1
_FOLD: Final = 2
_ASSUME: Final = 3
_TELL: Final = 4


class FoldingRules(NamedTuple):
    """The settings of this stage, as numbers for the kernel."""

    quality: QualityRules
    motion: MotionRules
    journeys: JourneyRules
    timers: TimerRules
    passages: PassageRules
    repeated_within_us: int


def no_progress() -> I64:
    """What the first call of `fold_fixes` for a batch is given."""
    return np.zeros(10, np.int64)


@scalar_kernel
def fold_fixes(
    fixes: PositionColumns,
    rows: I64,
    now_us: int,
    devices: DeviceColumns,
    timeline: Timeline,
    quarantine: Memory,
    journeys: JourneyColumns,
    expected: ExpectedColumns,
    fences: CompiledFences,
    presences: PresenceColumns,
    journal: JournalColumns,
    edits: EditColumns,
    holding: I32,
    passing: I32,
    walk: I64,
    first_due_us: I64,
    rules: FoldingRules,
    progress: I64,
    folded: FoldedFixes,
    changes: VerdictChanges,
    events: EventRows,
) -> int:
    """Folds the fixes from where `progress` says; fills `folded`, and adds to `changes` and `events`. Returns the
    number of fixes when all are done, else less: then it lacks room (for presences, changes of the journal, changed
    verdicts, events, or in `holding` and `passing`, which are scratch for slots of fences), and is to be called again
    with more; `walk` is scratch of geofence.passing.WALK_WORDS. `first_due_us[0]` is lowered to when the first timer is
    due now (timers.py).

    Each fix goes through the phases: judged by itself and put into the timeline; if it is late, all from there on taken
    back, else what was assumed; folded, with all that come after it; what is due is assumed again; what there is to
    tell is told. It stops only between two of them, or between two fixes that are folded.
    """
    repairs = timeline.repairs
    follows = journeys.follows
    within_us = rules.repeated_within_us if repairs else 0
    journey_changes = JOURNEY_CHANGES if follows else 0
    touched = 0
    lost_after_us = rules.timers.signal_lost_after_us
    if lost_after_us > 0:
        # When the first fix of this batch that counts will have been the last for too long.
        first_due_us[0] = min(first_due_us[0], now_us + lost_after_us)
    if follows:
        first_due_us[0] = min(first_due_us[0], now_us + rules.timers.trip_silence_us)
    while progress[_READING] < len(rows):
        i = progress[_READING]
        if i >= touched:
            touched = min(i + AHEAD, len(rows))
            if math.isinf(touch(fixes, rows, i, touched, devices, timeline, journeys, fences)):
                progress[_TOUCHED] = touched
        row = rows[i]
        at_us = fixes.observed_at_us[i]
        if progress[_PHASE] == _JUDGE:
            is_numbered = within_us > 0 and fixes.sequence[i] != NO_SEQUENCE
            if len(changes.row) - changes.filled[0] < timeline.places and (is_numbered or fixes.is_historical[i]):
                return int(i)
            content = fix_content(fixes, i)
            verdict = judge_fix(fixes, i, row, now_us, content, devices, timeline, quarantine, rules.quality)
            folded.verdict[i] = verdict
            folded.speed_mps[i] = fixes.speed_mps[i]
            folded.heading_deg[i] = fixes.heading_deg[i]
            folded.in_order[i] = 0
            folded.moved[i] = 0
            last_us = last_judged_us(devices, row)
            others_wait = repairs and timeline.newest_us[row] > last_us
            age = NOTHING
            # What was sent live and again as history is one fix, whichever came first.
            if verdict == _DUPLICATE and others_wait and not fixes.is_historical[i]:
                age = waiting_alike(timeline, row, at_us, content, last_us)
            if verdict in (_FUTURE_CLOCK, _STALE) or (verdict == _DUPLICATE and age == NOTHING):
                progress[_READING] = i + 1
                continue
            # By what was known when they were made.
            settle_edits(row, devices, timeline, journal, edits)
            in_order = at_us > last_us
            from_us = min(at_us, last_us + 1)
            progress[_NEW_AGE] = NOTHING
            if verdict != _DUPLICATE:
                age = insert_fix(timeline, row, at_us, content)
                progress[_NEW_AGE] = age
                if verdict == _OK and not in_order:
                    verdict = judge_late(at_us, row, age, devices, timeline)
                mark = NO_MARK
                if is_numbered and verdict in (_OK, _CONFLICTING):
                    mark = sequence_mark(fixes.sequence[i])
                    if repeats_earlier(timeline, row, age, mark, within_us, devices):
                        verdict = _REPEATED
                if verdict == _OK and in_order and fixes.is_historical[i]:
                    verdict = let_wait(timeline, row, age, at_us, changes) if repairs else _HISTORICAL
                folded.verdict[i] = verdict
                if repairs:
                    place = place_of(timeline.ring, row, timeline.places, age)
                    keep_fix(timeline, place, fixes, i, verdict, mark)
                    if age + 1 == timeline.ring.length[row]:
                        devices.mark[row] = mark
                    if verdict != _OK:
                        keep_journey(timeline, place, row, False, journeys)
                repeated = NOTHING
                if mark != NO_MARK and at_us < timeline.newest_us[row]:
                    repeated = mark_repetitions(
                        timeline, row, age, mark, within_us, last_us, devices, journeys, changes
                    )
                if verdict != _OK:
                    if repeated == NOTHING:
                        progress[_READING] = i + 1
                        continue
                    # Repetitions go, and none comes: what is assumed then stands right behind what was judged before.
                    age = repeated
                    from_us = judged_before_us(timeline, row, age) + 1
            progress[_FROM_US] = from_us
            progress[_LATE_FIX] = not in_order
            progress[_AGE] = age
            progress[_END] = age + 1 if in_order else timeline.ring.length[row]
            if others_wait:
                # What waits is newer than all that is folded; of it, what is not newer than this fix need wait no more.
                # Looked for only here: the place before a new one is a line of memory that nobody else needs.
                if in_order:
                    progress[_AGE] = first_waiting(timeline, row, age, last_us)
                    progress[_END] = after_time(timeline, row, age)
                else:
                    progress[_END] = first_waiting(timeline, row, timeline.ring.length[row], last_us)
            progress[_RECONSIDERED] = (
                devices.newest_change_us[row] >= progress[_FROM_US]
                or not in_order
                or progress[_END] > progress[_AGE] + 1
            )
            progress[_PHASE] = _REWIND if progress[_RECONSIDERED] else _FOLD
            progress[_TAKEN_BACK] = NOTHING
        late = progress[_LATE_FIX] != 0
        reconsidered = progress[_RECONSIDERED] != 0
        from_us = progress[_FROM_US]

        if progress[_PHASE] == _REWIND:
            if len(changes.row) - changes.filled[0] < timeline.ring.length[row]:
                return int(i)
            taken_back = take_back_changes(journal, row, from_us, presences, devices, journeys, expected)
            if taken_back < NOTHING:
                return int(i)
            if late:
                rewind_fix(timeline, row, progress[_AGE], devices, journeys)
            progress[_TAKEN_BACK] = taken_back
            progress[_PHASE] = _FOLD

        if progress[_PHASE] == _FOLD:
            end = progress[_END]
            tenant = devices.tenant[row]
            while progress[_AGE] < end:
                age = progress[_AGE]
                place = place_of(timeline.ring, row, timeline.places, age)
                is_new = age == progress[_NEW_AGE]
                fix = measured_at(fixes, i)
                judged = _OK
                if not is_new:
                    judged = int(timeline.kept[place]["verdict"])
                    if judged not in (_OK, _IMPLAUSIBLE_JUMP, _CONFLICTING, _HISTORICAL):
                        progress[_AGE] = age + 1
                        continue
                    fix = kept_at(timeline, place)
                    if len(changes.row) == changes.filled[0]:
                        return int(i)
                held = 0
                if tenant >= 0:
                    held = find_fences(row, tenant, fix, devices, fences, holding)
                last = counted_fix(row, devices)
                passed = find_passages(tenant, last, fix, fences, rules.passages, walk, passing)
                known = count_presences(presences, row, devices)
                timed = count_expected(row, expected) if expects(row, expected) else 0
                if len(fences.schedule) > 0:
                    timed += 2 * openings_inside(row, last.at_us, fix.observed_at_us, presences, devices, fences)
                    timed += 2 * openings_entered(last.at_us, fix.observed_at_us, holding, held, fences)
                if (
                    held < 0
                    or passed < 0
                    or room_left(presences.following, presences.free) < held
                    or room_left(journal.following, journal.free)
                    < MOST_CHANGES * (held + known) + passed + SIGNAL_CHANGES + journey_changes + timed
                ):
                    return int(i)
                verdict, before = count_fix(fix, row, devices, rules.quality)
                if verdict == _OK:
                    if not late:
                        devices.lag_us[row] = now_us - at_us
                    end_silence(row, last, fix, lost_after_us, devices, journal)
                    speed_mps, heading_deg = derive_motion(fix, before, devices.heading_deg[row], rules.motion)
                    devices.speed_mps[row] = speed_mps
                    devices.heading_deg[row] = heading_deg
                    if follows:
                        follow_journey(row, fix, before, last, devices, journeys, journal, rules.journeys)
                    if held + known + passed > 0:
                        there = Fix(fix.observed_at_us, fix.latitude_deg, fix.longitude_deg, fix.accuracy_m)
                        came = Fix(before.at_us, before.latitude_deg, before.longitude_deg, math.nan)
                        if passed > 0 and before.at_us != NO_TIME:
                            pass_fences(
                                row, there, came, passing, passed, holding, held, devices, fences, presences, journal
                            )
                        cross_fences(
                            row, there, came, last, speed_mps, holding, held, devices, fences, presences, journal
                        )
                    if expects(row, expected):
                        follow_arrivals(row, fix.observed_at_us, last, presences, devices, expected, journal)
                    if devices.due_us[row] != NEVER or arrival_due_us(row, expected) != NEVER:
                        expect_timers(row, devices, journeys, expected, rules.timers, first_due_us)
                if repairs:
                    keep_derived(timeline, place, verdict, devices.speed_mps[row], devices.heading_deg[row])
                    keep_journey(timeline, place, row, verdict == _OK, journeys)
                if is_new:
                    folded.verdict[i] = verdict
                    if verdict == _OK:
                        folded.speed_mps[i] = devices.speed_mps[row]
                        folded.heading_deg[i] = devices.heading_deg[row]
                        folded.in_order[i] = not late
                elif verdict != judged:
                    note_verdict(changes, row, timeline, place, judged, verdict)
                progress[_AGE] = age + 1
            folded.moved[i] = (late or devices.counted_at_us[row] >= from_us) and devices.counted_at_us[row] != NO_TIME
            progress[_PHASE] = _ASSUME

        if progress[_PHASE] == _ASSUME:
            if reconsidered:
                if not assume(row, now_us, devices, fences, presences, journeys, expected, journal, rules.timers):
                    return int(i)
                expect_timers(row, devices, journeys, expected, rules.timers, first_due_us)
            progress[_PHASE] = _TELL

        if reconsidered or devices.newest_change_us[row] >= from_us:
            news = count_events(journal, devices.first_change[row], from_us)
            told = count_events(journal, progress[_TAKEN_BACK], NO_TIME)
            if len(events.kind) - events.filled[0] < news + told:
                return int(i)
            until_us = repairable_after_us(row, devices, timeline)
            if repairs:
                # Before anything is told: names are given with regard to what is remembered.
                forget_changes(journal, row, until_us, devices)
            if reconsidered:
                tell_corrections(journal, row, i, from_us, progress[_TAKEN_BACK], late, devices, events)
            elif news > 0:
                tell_news(journal, row, i, from_us, False, devices, events)
            forget_changes(journal, row, until_us, devices)
            forget_old_withdrawn(journal, row, timeline, journeys, presences, devices)
        progress[_PHASE] = _JUDGE
        progress[_READING] = i + 1
    return len(rows)
