"""What each sensor sample is worth."""

from __future__ import annotations

import math
from typing import NamedTuple

from geofence.kernel import inlined_kernel
from tracking_core.columns import NO_TIME
from tracking_core.content_hash import SEED, mix_number
from tracking_core.fixes.quality import CLOCK_UNSET_BEFORE_US
from tracking_core.memory import NEW, SAME, Memory, is_before_all, recall, remember
from tracking_core.sensors.table import SeriesColumns
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

_OK = int(Verdict.OK)
_DUPLICATE = int(Verdict.DUPLICATE)
_OUT_OF_RANGE = int(Verdict.OUT_OF_RANGE)
_FUTURE_CLOCK = int(Verdict.FUTURE_CLOCK)
_STALE = int(Verdict.STALE)
_LATE = int(Verdict.LATE)
_CONFLICTING = int(Verdict.CONFLICTING)


class SampleRules(NamedTuple):
    """The settings of the sensor and tag stages, as numbers for the kernels."""

    kept_samples: int
    horizon_us: int
    future_tolerance_us: int
    tag_reads: int
    tag_reads_within_us: int
    tag_silence_us: int


def sample_rules(settings: EngineSettings) -> SampleRules:
    """The rules of an engine."""
    return SampleRules(
        settings.kept_samples,
        settings.horizon_us,
        settings.future_tolerance_us,
        settings.tag_reads,
        settings.tag_reads_within_us,
        settings.tag_silence_us,
    )


@inlined_kernel
def judge_sample(
    at_us: int, value: float, slot: int, now_us: int, series: SeriesColumns, memory: Memory, rules: SampleRules
) -> int:
    """The verdict on a sample of a series; it is remembered unless it is a duplicate or its clock is in the future.

    A sample from the future is not remembered, as it would be the newest for long: its repetitions are stored again.
    """
    if at_us > now_us + rules.future_tolerance_us:
        return _FUTURE_CLOCK
    counted_us = series.counted_at_us[slot]
    if (
        at_us < CLOCK_UNSET_BEFORE_US
        or is_before_all(memory, slot, rules.kept_samples, at_us)
        or (counted_us != NO_TIME and at_us < counted_us - rules.horizon_us)
    ):
        return _STALE
    content = mix_number(SEED, value)
    seen = recall(memory, slot, rules.kept_samples, at_us, content)
    if seen == SAME:
        return _DUPLICATE
    remember(memory, slot, rules.kept_samples, at_us, content)
    if seen != NEW:
        return _CONFLICTING
    if not math.isfinite(value):
        return _OUT_OF_RANGE
    if counted_us != NO_TIME and at_us < counted_us:
        return _LATE
    return _OK
