"""Arrivals at stops whose fence it is: which are waited for, why one counts as missed, and why none does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from drover.tracking.v1.event_pb2 import TrackingEvent
from geofence.transitions import IN, PENDING_OUT
from services.tracking.explanations.explanation import Explanation
from services.tracking.explanations.told_events import ExplainedEvent, is_exit
from services.tracking.explanations.wording import metres, minutes
from tracking_core.definitions import RouteStop
from tracking_core.events import EventKind
from tracking_core.explaining.steps import FixStep
from tracking_core.verdicts import Verdict

Time = Callable[[int], str]
_MISSED: Final = EventKind.MISSED_ARRIVAL.value


def arrivals_in_time(explained: Explanation, time: Time) -> list[str]:
    """Stops that were due in the time shown and not missed."""
    said = []
    spoken_of = {name_of(each.revisions[-1]) for each in explained.events if each.kind == _MISSED and each.revisions}
    heard_us = max((step.fix.observed_at_us for step in explained.steps if isinstance(step, FixStep)), default=0)
    for edit in explained.routes:
        for stop in edit.route.stops:
            name = edit.route.route_id, stop.stop_id
            if stop.fence_id != explained.fence_id or stop.planned_arrival_us is None or name in spoken_of:
                continue
            due_us = stop.planned_arrival_us + stop.arrival_grace_us
            if not explained.from_us <= due_us <= explained.until_us or _was_found(explained, name):
                continue
            inside_us = _inside_from_us(explained, due_us)
            what = f"stop “{stop.stop_id}” of route “{edit.route.route_id}”, {_plan(stop, time)}"
            if stop.stop_id in edit.settled:
                said.append(f"No arrival missed at {what}: it had come before.")
            elif inside_us is not None:
                said.append(f"No arrival missed at {what}: it was inside by {time(inside_us)}.")
            elif due_us > heard_us:
                said.append(f"It is waited for at {what}.")
    return said


def _plan(stop: RouteStop, time: Time) -> str:
    assert stop.planned_arrival_us is not None
    due_us = stop.planned_arrival_us + stop.arrival_grace_us
    return f"planned for {time(stop.planned_arrival_us)} and due by {time(due_us)}"


def _was_found(explained: Explanation, name: tuple[str, str]) -> bool:
    return any(
        (event.subject_id, getattr(event.details, "stop_id", "")) == name
        for step in explained.steps
        for event in step.events
    )


def _inside_from_us(explained: Explanation, due_us: int) -> int | None:
    """When it was first inside, of the time shown up to a time."""
    for step in explained.steps:
        if not isinstance(step, FixStep) or step.after.state not in (IN, PENDING_OUT):
            continue
        crossing = step.event or step.untold
        at_us = step.fix.observed_at_us if crossing is None else crossing.observed_at_us
        return at_us if at_us <= due_us else None
    return None


def name_of(event: TrackingEvent) -> tuple[str, str]:
    """The route and the stop of a missed arrival."""
    return event.missed_arrival.route_id, event.missed_arrival.stop_id


def whereabouts(each: ExplainedEvent, explained: Explanation, time: Time) -> str:
    """Where the device was when an arrival was due, and when it came."""
    due_us = each.observed_at_us
    counted = [step for step in explained.steps if isinstance(step, FixStep) and step.fix.verdict == Verdict.OK]
    said = "it had not been inside by then"
    before = [step for step in counted if step.fix.observed_at_us <= due_us]
    if before and before[-1].distance_m > 0.0:
        last = before[-1]
        said += f"; the last fix before, of {time(last.fix.observed_at_us)}, was {metres(last.distance_m)} outside"
    if each.found is not None and each.found.assumed:
        said += ", and no later fix had come"
    came = _entry_after(explained.events, due_us)
    if came is not None:
        said += f"; it came at {time(came)}, {minutes(came - due_us)} after that"
    return said


def _entry_after(events: Sequence[ExplainedEvent], due_us: int) -> int | None:
    entries = (EventKind.GEOFENCE_ENTERED.value, EventKind.CORRIDOR_RETURNED.value)
    return next(
        (
            each.observed_at_us
            for each in events
            if each.kind in entries and not is_exit(each.kind) and not each.is_restated and each.observed_at_us > due_us
        ),
        None,
    )
