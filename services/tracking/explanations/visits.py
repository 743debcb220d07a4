"""Of each visit: whether it was long enough, and fast enough, to be told of, and why not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from geofence.definition import VisitRule
from geofence.transitions import IN, PENDING_OUT
from services.tracking.explanations.explanation import Explanation
from services.tracking.explanations.wording import NAMED, listed, metres, minutes, place, speed
from services.tracking.explanations.words import Words
from tracking_core.events import EventKind
from tracking_core.explaining.steps import FixStep, Step, TracedEvent, Unseen
from tracking_core.presence_pool import AWAITS_OPENING, HAS_DWELT, IS_SPEEDING
from tracking_core.verdicts import Verdict


class Stay(NamedTuple):
    """A visit, or as much of it as is shown. `exited` is None where it goes on; `entered_at_us` is that of the entry,
    the opening or the first fix from which its dwell counts, as it was at last.
    """

    rule: VisitRule
    entered_at_us: int
    exited: TracedEvent | None
    steps: list[Step]

    def told(self, kind: EventKind) -> bool:
        """Whether anything of a kind was found in it."""
        return any(event.kind is kind for step in self.steps for event in step.events)


def stays(explained: Explanation) -> list[Stay]:
    """The visits, in order; of many those nearest to the time asked about."""
    found: list[Stay] = []
    going: list[Step] = []
    version = explained.versions[0].version if explained.versions else 0
    for step in explained.steps:
        version = step.version if isinstance(step, FixStep) else version
        if step.before.state in (IN, PENDING_OUT) or step.after.state in (IN, PENDING_OUT):
            going.append(step)
        if going and step.after.state not in (IN, PENDING_OUT):
            found.append(_stay(explained, version, going, step.event or step.untold))
            going = []
    if going:
        found.append(_stay(explained, version, going, None))

    def apart_us(stay: Stay) -> int:
        until_us = explained.until_us if stay.exited is None else stay.exited.observed_at_us
        return max(stay.entered_at_us - explained.at_us, explained.at_us - until_us)

    near = sorted(found, key=apart_us)[:NAMED]
    return [stay for stay in found if stay in near]


def _stay(explained: Explanation, version: int, steps: list[Step], exited: TracedEvent | None) -> Stay:
    begun = [step.visit.entered_at_us for step in steps if step.after.state in (IN, PENDING_OUT)]
    return Stay(explained.visit_rule(version), begun[-1] if begun else explained.from_us, exited, steps)


def no_dwell(explained: Explanation, words: Words, visits: Sequence[Stay]) -> list[str]:
    """Visits of a fence that asks for a dwell, which were not long enough, or are not yet."""
    said = []
    for stay in visits:
        dwell_us = stay.rule.dwell_us
        if dwell_us is None or stay.told(EventKind.GEOFENCE_DWELT):
            continue
        if any(step.visit.marks & HAS_DWELT for step in stay.steps):
            continue
        entered, due_us = words.time(stay.entered_at_us), stay.entered_at_us + dwell_us
        asked = f"{minutes(dwell_us)} are asked for"
        if stay.exited is not None:
            lasted_us = stay.exited.observed_at_us - stay.entered_at_us
            until = words.time(stay.exited.observed_at_us)
            if lasted_us < dwell_us:
                said.append(
                    f"No dwell: from {entered} to {until} it was inside for {minutes(lasted_us)}, "
                    f"{minutes(dwell_us - lasted_us)} too short: {asked}."
                )
            else:
                said.append(f"No dwell, though it was inside from {entered} to {until}: {_closed(words, due_us)}.")
            continue
        last = stay.steps[-1]
        if last.visit.marks & AWAITS_OPENING:
            said.append(f"No dwell of the visit since {entered}: {_closed(words, due_us)}.")
        elif last.visit.due_us == due_us and not explained.steps_after:
            crossed_us = last.after.crossed_at_us
            if due_us > crossed_us > stay.entered_at_us:
                said.append(
                    f"It has not dwelt: an exit is noted for {words.time(crossed_us)}, before the dwell would be over "
                    f"at {words.time(due_us)}; if the next fix speaks for in again, it has."
                )
            else:
                said.append(f"It has not dwelt yet: it will have at {words.time(due_us)}, if it does not leave before.")
    return said


def _closed(words: Words, due_us: int) -> str:
    return f"it would have dwelt at {words.time(due_us)}, outside the time window in which it came in"


def no_speeding(words: Words, visits: Sequence[Stay]) -> list[str]:
    """Visits of a fence with a speed limit, in which nobody was too fast."""
    said = []
    for stay in visits:
        limit_mps = stay.rule.speed_limit_mps
        steps = [step for step in stay.steps if isinstance(step, FixStep)]
        if limit_mps is None or not steps or stay.told(EventKind.GEOFENCE_SPEEDING):
            continue
        counted = [
            step
            for step in steps
            if step.fix.verdict == Verdict.OK and step.after.state == IN and step.distance_m <= 0.0
        ]
        known = [step for step in counted if not math.isnan(step.speed_mps)]
        if known:
            said.append(f"No speeding: {_fastest(known, limit_mps, stay.rule.speed_tolerance_mps, words)}.")
        elif counted:
            said.append("No speeding: of no fix inside a speed is known, as none was sent and none could be derived.")
        above_mps = limit_mps + stay.rule.speed_tolerance_mps
        faster = [
            f"{words.time(step.fix.observed_at_us)} ({speed(step.fix.speed_mps)}, {place(step.distance_m)})"
            for step in steps
            if step not in counted and step.fix.speed_mps > above_mps
        ]
        if faster:
            said.append(f"Faster, but either not counted or not inside: {listed(faster)}.")
    return said


def _fastest(known: Sequence[FixStep], limit_mps: float, tolerance_mps: float, words: Words) -> str:
    fastest = max(known, key=lambda step: step.speed_mps)
    was = f"the fastest fix inside, of {words.time(fastest.fix.observed_at_us)}, was at {speed(fastest.speed_mps)}"
    if fastest.speed_mps <= limit_mps:
        return f"{was}, {speed(limit_mps - fastest.speed_mps)} below the limit of {speed(limit_mps)}"
    if fastest.speed_mps <= limit_mps + tolerance_mps:
        return f"{was}: above the limit of {speed(limit_mps)}, but no more than the {speed(tolerance_mps)} tolerated"
    if fastest.visit.marks & IS_SPEEDING:
        return f"{was}, which was told before, and no fix since was down to the limit of {speed(limit_mps)}"
    return f"{was}, above the limit of {speed(limit_mps)}, but the fence was not active then"


def not_asked(explained: Explanation) -> list[str]:
    """What the fence does not ask about whoever is inside at the time asked about."""
    steps = [step for step in explained.steps if isinstance(step, FixStep) and step.fix.verdict == Verdict.OK]
    if not steps or explained.state_at not in (IN, PENDING_OUT):
        return []
    then = [step for step in steps if step.fix.observed_at_us <= explained.at_us] or steps[:1]
    rule = explained.visit_rule(then[-1].version)
    if rule.dwell_us is None and rule.speed_limit_mps is None:
        return ["No dwell and no speeding is told: the fence asks for neither."]
    if rule.dwell_us is None:
        return ["No dwell is told: the fence asks for none."]
    return ["No speeding is told: the fence has no limit."] if rule.speed_limit_mps is None else []


def passed_through(explained: Explanation, words: Words, steps: Sequence[FixStep]) -> list[str]:
    """Ways through the fence that are not told, and why."""
    engine = explained.engine
    reasons = {
        Unseen.NOT_ASKED: "the fence does not ask for that (`cross`)",
        Unseen.TOO_LONG_AGO: f"the fix before is over {minutes(engine.cross_within_us)} older",
        Unseen.TOO_FAR: f"the fix before is over {metres(engine.cross_within_m)} away",
        Unseen.NOT_ACTIVE: "the fence was not active then",
    }
    said = []
    for reason, why in reasons.items():
        through = [words.time(step.fix.observed_at_us) for step in steps if step.unseen is reason]
        if through:
            said.append(
                f"The straight way to the fix of {listed(through)} led through the fence, but no fix lay inside, and "
                f"an entry needs one; it is not told as crossed, as {why}."
            )
    return said
