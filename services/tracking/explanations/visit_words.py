"""How the events of a visit, and of passing through, came about, in words."""

from __future__ import annotations

import math
from collections.abc import Callable

from services.tracking.explanations.explanation import Explanation
from services.tracking.explanations.told_events import ExplainedEvent
from services.tracking.explanations.wording import minutes, place, speed
from tracking_core.events import Direction, FenceDwell, FencePassage, FenceSpeeding
from tracking_core.explaining.steps import FixStep, TracedEvent

Time = Callable[[int], str]

_DIRECTIONS = {
    Direction.FORWARD: ", from the left of its line to the right",
    Direction.BACKWARD: ", from the right of its line to the left",
}


def how(each: ExplainedEvent, explained: Explanation, time: Time, fix_at: Time) -> str | None:
    """The reason for an event, a part of a sentence; None of an entry or an exit. `time` writes a time, and `fix_at`
    the time of a fix with its place.
    """
    event = each.found
    assert event is not None
    if event.is_restated:
        return _shown(each, time)
    match event.details:
        case FenceDwell(_, entered_at_us):
            return f"{minutes(event.observed_at_us - entered_at_us)} are asked for, and {_shown(each, time)}"
        case FenceSpeeding():
            return _speeding(each, event, explained)
        case FencePassage(_, left_at_us, direction):
            assert event.leg is not None
            before, after = (fix_at(time_us) for time_us in event.leg)
            return (
                f"the straight way from the fix of {before} to that of {after} led through the fence until "
                f"{time(left_at_us)}{_DIRECTIONS.get(direction, '')}; no fix lay inside"
            )
    return None


def _shown(each: ExplainedEvent, time: Time) -> str:
    if isinstance(each.step, FixStep):
        return f"the fix of {time(each.step.fix.observed_at_us)} shows no exit before"
    return "it is assumed, as no later fix had come"


def _speeding(each: ExplainedEvent, event: TracedEvent, explained: Explanation) -> str:
    step = each.step
    assert isinstance(step, FixStep)
    derived = math.isnan(step.fix.speed_mps)
    whence = "by the way from the counted fix before, as none was measured" if derived else "as the device measured"
    tolerance_mps = explained.visit_rule(event.version).speed_tolerance_mps
    tolerated = f" ({speed(tolerance_mps)} are tolerated)" if tolerance_mps else ""
    return f"the fix, {place(step.distance_m)}, is the first that is so fast, {whence}{tolerated}"
