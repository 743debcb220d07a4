"""Fixes marked as history that are newer than all that count: they wait until one comes that is not."""

from __future__ import annotations

import numpy as np

from geofence.kernel import scalar_kernel
from tracking_core.device_table import NOTHING
from tracking_core.fixes.folded import VerdictChanges, note_verdict
from tracking_core.fixes.timeline import Timeline, place_of
from tracking_core.verdicts import Verdict

_CONFLICTING = int(Verdict.CONFLICTING)
_HISTORICAL = int(Verdict.HISTORICAL)


@scalar_kernel
def first_waiting(timeline: Timeline, row: int, age: int, last_us: int) -> int:
    """The age of the first fix after `last_us`, of those before the one of this age: all that wait there are history,
    or count for nothing. Most often it is this age itself.
    """
    while age > 0 and timeline.ring.times_us[place_of(timeline.ring, row, timeline.places, age - 1)] > last_us:
        age -= 1
    return age


@scalar_kernel
def after_time(timeline: Timeline, row: int, age: int) -> int:
    """The age of the first fix that is newer than the one of this age."""
    ring = timeline.ring
    at_us = ring.times_us[place_of(ring, row, timeline.places, age)]
    while age < ring.length[row] and ring.times_us[place_of(ring, row, timeline.places, age)] == at_us:
        age += 1
    return age


@scalar_kernel
def waiting_alike(timeline: Timeline, row: int, at_us: int, content: np.uint64, last_us: int) -> int:
    """The age of a fix of this time and content that waits, after `last_us`; NOTHING if none does."""
    ring = timeline.ring
    for age in range(ring.length[row] - 1, -1, -1):
        place = place_of(ring, row, timeline.places, age)
        if ring.times_us[place] <= max(last_us, at_us - 1):
            break
        if ring.times_us[place] == at_us and ring.contents[place] == content:
            return age if timeline.kept[place]["verdict"] in (_HISTORICAL, _CONFLICTING) else NOTHING
    return NOTHING


@scalar_kernel
def let_wait(timeline: Timeline, row: int, age: int, at_us: int, changes: VerdictChanges) -> int:
    """The verdict on history, at its place already, that is to wait: of one time only the first in order does, the
    others contradict it. Tells what else has another verdict now, for which there must be room.
    """
    ring = timeline.ring
    for earlier in range(age - 1, -1, -1):
        place = place_of(ring, row, timeline.places, earlier)
        if ring.times_us[place] != at_us:
            break
        if timeline.kept[place]["verdict"] == _HISTORICAL:
            return _CONFLICTING
    for later in range(age + 1, ring.length[row]):
        place = place_of(ring, row, timeline.places, later)
        if ring.times_us[place] != at_us:
            break
        if timeline.kept[place]["verdict"] == _HISTORICAL:
            timeline.kept[place]["verdict"] = _CONFLICTING
            note_verdict(changes, row, timeline, place, _HISTORICAL, _CONFLICTING)
    return _HISTORICAL
