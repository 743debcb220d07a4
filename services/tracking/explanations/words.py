"""What one fix, edit or event of an explanation says, in words that a dispatcher reads and an engineer can check."""

from __future__ import annotations

import math
from typing import Final

from drover.tracking.v1.event_pb2 import Cause, Standing, TrackingEvent
from geofence.transitions import IN, OUT, PENDING_IN, PENDING_OUT
from services.tracking.explanations.arrivals import whereabouts
from services.tracking.explanations.explanation import Explanation
from services.tracking.explanations.start import StartBasis
from services.tracking.explanations.told_events import Accord, ExplainedEvent, is_exit
from services.tracking.explanations.visit_words import how
from services.tracking.explanations.wording import listed, metres, minutes, ordinal, place, utc
from tracking_core.events import EventKind
from tracking_core.explaining.steps import EditStep, FixStep, Reason, TracedEvent
from tracking_core.settings import MINUTE_US, SECOND_US
from tracking_core.verdicts import Verdict

_VERDICTS: Final = {
    Verdict.NO_FIX: "the receiver had no fix",
    Verdict.OUT_OF_RANGE: "its values are impossible",
    Verdict.IMPLAUSIBLE_JUMP: "it is an implausible jump: too far from the fixes beside it for the time between them",
    Verdict.FUTURE_CLOCK: "its time lay in the future when it came",
    Verdict.IMPRECISE: "its accuracy is too poor to say where",
    Verdict.STALE: "it came too late, or from a clock that was never set",
    Verdict.LATE: "it came too late to be put where it belongs: past what is kept of the device, "
    "or after a fence was edited",
    Verdict.CONFLICTING: "it contradicts another fix of the same time",
    Verdict.HISTORICAL: "it was sent as history, and no newer fix that is none has come yet",
    Verdict.REPEATED: "it is an earlier fix sent again: it has its sequence and its content",
}
SIDES: Final = {OUT: "outside", PENDING_IN: "outside", IN: "inside", PENDING_OUT: "inside"}


class Words:
    """The words for one explanation: times of the day asked about are written without the date."""

    def __init__(self, explained: Explanation) -> None:
        self._explained = explained
        self._day = utc(explained.at_us).date()

    def time(self, time_us: int) -> str:
        """`10:05:20`, or `2026-11-22 10:05:20` on another day."""
        moment = utc(time_us)
        return moment.strftime("%H:%M:%S" if moment.date() == self._day else "%Y-%m-%d %H:%M:%S")

    def fix(self, step: FixStep) -> str:
        """What one fix says, and what it did."""
        between = ", but " if step.reason is Reason.NOT_COUNTED else ": "
        parts = [f"{place(step.distance_m)}{between}" if not math.isnan(step.distance_m) else ""]
        parts.append(self.evidence(step))
        needed = step.needed
        if step.first:
            parts.append(f"; the first fix of the device, so it settles silently: {SIDES[step.after.state]}")
        elif step.event is not None:
            way = "exit" if is_exit(step.event.kind.value) else "entry"
            parts.append(f"; confirms the {way} of {self.time(step.event.observed_at_us)}")
        elif step.untold is not None:
            way = "exit" if is_exit(step.untold.kind.value) else "entry"
            when = self.time(step.untold.observed_at_us)
            parts.append(f"; confirms the {way} of {when}, which is not told, as the fence was not active then")
        elif step.after.state in (PENDING_IN, PENDING_OUT) and step.after.fixes != step.before.fixes:
            way = "exit" if step.after.state == PENDING_OUT else "entry"
            parts.append(f"; {way} pending, {step.after.fixes} of {needed}")
        elif step.before.state in (PENDING_IN, PENDING_OUT) and step.after.state in (IN, OUT):
            parts.append(f"; cancels the pending {'exit' if step.before.state == PENDING_OUT else 'entry'}")
        parts += [f"; {self._beside(event)}" for event in step.events if event is not step.event]
        if step.passed_through:
            parts.append("; the straight way to it led through the fence")
        if step.arrived_late:
            parts.append(f"; arrived late, at {self.time(step.fix.received_at_us)}")
        return "".join(parts)

    def _beside(self, event: TracedEvent) -> str:
        """What else a fix tells."""
        when = self.time(event.observed_at_us)
        match event.kind:
            case EventKind.GEOFENCE_DWELT:
                return f"tells the dwell of {when}"
            case EventKind.GEOFENCE_SPEEDING:
                return "tells that it is too fast"
            case EventKind.GEOFENCE_CROSSED:
                return f"tells that it crossed at {when}"
        return f"tells that it was inside as a time window opened at {when}"

    def evidence(self, step: FixStep) -> str:
        """What a fix speaks for, and why."""
        match step.reason:
            case Reason.INSIDE:
                return "speaks for in"
            case Reason.BEYOND_DOUBT:
                return "speaks for out"
            case Reason.WITHIN_MARGIN | Reason.WITHIN_ACCURACY:
                return f"says nothing, as only more than {metres(step.doubt_m)} would speak for out"
            case Reason.NO_FENCE:
                return "there was no such fence then"
            case _:
                why = _VERDICTS.get(Verdict(step.fix.verdict), "it is not relied on")
                accuracy = f" ({metres(step.fix.accuracy_m)})" if step.fix.verdict == Verdict.IMPRECISE else ""
                return f"does not count: {why}{accuracy}"

    def edit(self, step: EditStep) -> str:
        """What one edit did."""
        when = self.time(step.edit.made_at_us)
        if step.edit.fence is None:
            made = f"The fence was deleted at {when} (version {step.edit.version})"
            return f"{made}, which ended the presence." if step.event is not None else f"{made}."
        made = f"Version {step.edit.version} of the fence was stored at {when}"
        if not step.moved and step.event is not None:
            return f"{made}: by its active times whoever was inside is told; nothing moved."
        if not step.moved:
            return f"{made}: only name or rule changed, so nothing was stated anew."
        if step.fix is None:
            return f"{made}, before any fix counted."
        made += ": there was none before" if step.made else " with another shape"
        looked = f"the newest fix then ({self.time(step.fix.observed_at_us)}, {place(step.distance_m)} it)"
        if step.untold is not None:
            return f"{made}; what {looked} changed is not told, as the fence was not active then."
        if step.event is None:
            return f"{made}; {looked} changed nothing."
        how = "outside" if is_exit(step.event.kind.value) else "inside"
        return f"{made}; by {looked} the device counted as {how}, without having moved."

    def event(self, each: ExplainedEvent) -> str:
        """How an event came about, and what became of it."""
        way, when = self._way(each), self.time(each.observed_at_us)
        match each.accord:
            case Accord.AGREES:
                said = f"{when} {way}: {self._how(each)}"
            case Accord.DIFFERS:
                assert each.found is not None
                said = (
                    f"{when} {way}, as it was told; the stored fixes say {self.time(each.found.observed_at_us)}, "
                    f"confirmed at {self.time(each.found.confirmed_at_us)}: {self._how(each)}{self._doubt(each)}"
                )
            case Accord.NOT_TOLD:
                said = f"{when} {way} by the stored fixes, but it was not told: {self._how(each)}{self._doubt(each)}"
            case Accord.NOT_FOUND:
                said = f"{when} {way}, as it was told; the stored fixes do not show it.{self._doubt(each)}"
            case Accord.WITHDRAWN:
                said = f"{when} {way} was told, and withdrawn: by the fixes that arrived late it did not happen."
            case _:
                withdrawn = each.revisions[-1].standing == Standing.STANDING_WITHDRAWN
                said = f"{when} {way}{', told and withdrawn' if withdrawn else ''}."
                if each.kind == EventKind.MISSED_ARRIVAL:
                    said += " The version of the route that asked for it is no longer kept: this is as it was told."
        return said + self._history(each)

    def _way(self, each: ExplainedEvent) -> str:
        """What happened, without when."""
        match each.kind:
            case EventKind.GEOFENCE_ENTERED | EventKind.CORRIDOR_RETURNED if each.is_restated:
                return "a time window of the fence opened, and the device counted as inside"
            case EventKind.GEOFENCE_ENTERED:
                return "entered"
            case EventKind.GEOFENCE_EXITED:
                return "exited"
            case EventKind.CORRIDOR_LEFT:
                return "left the corridor"
            case EventKind.CORRIDOR_RETURNED:
                return "returned to the corridor"
            case EventKind.GEOFENCE_DWELT:
                return f"dwelt, being inside since {self.time(each.entered_at_us)}"
            case EventKind.GEOFENCE_SPEEDING:
                speed_mps, limit_mps = each.speeds_mps
                return f"speeding, at {speed_mps:.1f} m/s where {limit_mps:.1f} are allowed"
            case EventKind.MISSED_ARRIVAL:
                route_id, stop_id, planned_us = each.arrival
                grace_us = each.observed_at_us - planned_us
                grace = f", with {minutes(grace_us)} of grace" if grace_us else ""
                planned = f"planned for {self.time(planned_us)}{grace}"
                return f"missed its arrival at stop “{stop_id}” of route “{route_id}”, {planned}"
            case EventKind.SIGNAL_LOST:
                heard_us = each.revisions[-1].signal_lost.last_fix_at_us
                return f"signal lost, the last fix that counts being of {self.time(heard_us)}"
        return each.kind.removeprefix("geofence_").replace("_", " ")

    def _how(self, each: ExplainedEvent) -> str:
        event, step = each.found, each.step
        assert event is not None
        if each.kind == EventKind.MISSED_ARRIVAL:
            return f"{whereabouts(each, self._explained, self.time)}."
        if (why := how(each, self._explained, self.time, self._fix_at)) is not None:
            return f"{why}."
        if isinstance(step, EditStep):
            if step.edit.fence is None:
                return f"the fence was deleted at {self.time(step.edit.made_at_us)}; nothing moved."
            what = "the fence was made" if step.made else "the fence got another shape"
            if not step.made and not step.moved:
                what = "the active times of the fence were changed"
            return (
                f"{what} at {self.time(step.edit.made_at_us)} (version {step.edit.version}), and the newest fix then "
                f"was {place(step.distance_m)} it; nothing moved."
            )
        assert isinstance(step, FixStep)
        out = is_exit(event.kind.value)
        if event.leg is None:
            crossed = "the first fix on the other side gives the time, as no way across the border is known"
        else:
            start, end = (self._fix_at(time_us) for time_us in event.leg)
            crossed = f"the way from the fix of {start} to that of {end} crossed the border then"
        against = step.before.fixes + 1 if step.before.state in (PENDING_IN, PENDING_OUT) else 1
        side = "out" if out else "in"
        if against < step.needed:
            lasted_s = (event.confirmed_at_us - step.before.pending_since_us) / SECOND_US
            proof = f"confirmed at {self.time(event.confirmed_at_us)}, when it had been pending for {lasted_s:.0f} s"
        elif step.needed == 1:
            proof = f"confirmed by the fix of {self.time(event.confirmed_at_us)}, which speaks for {side} (1 needed)"
        else:
            proof = (
                f"confirmed by the fix of {self.time(event.confirmed_at_us)}, the {ordinal(against)} in a row that "
                f"speaks for {side} ({step.needed} needed)"
            )
        return f"{crossed}; {proof}."

    def _fix_at(self, time_us: int) -> str:
        for step in self._explained.steps:
            if isinstance(step, FixStep) and step.fix.observed_at_us == time_us and step.fix.verdict == Verdict.OK:
                return f"{self.time(time_us)} ({place(step.distance_m)})"
        return self.time(time_us)

    def _history(self, each: ExplainedEvent) -> str:
        """What was told before it became what it is."""
        if not each.revisions:
            return ""
        said = ""
        last = each.revisions[-1]
        if last.standing == Standing.STANDING_AMENDED:
            told = ", then ".join(self._told(event) for event in each.revisions[:-1])
            said = f" It was told first as {told}, and amended to this (revision {last.revision})."
        elif last.cause == Cause.CAUSE_LATE_DATA and last.standing == Standing.STANDING_TOLD:
            said = " It was told late, when the fixes that show it had arrived."
        elif last.standing == Standing.STANDING_WITHDRAWN:
            said = f" Revision {last.revision} withdrew it."
        if last.cause == Cause.CAUSE_LATE_DATA:
            late = [
                step
                for step in self._explained.steps
                if isinstance(step, FixStep)
                and step.arrived_late
                and step.fix.verdict == Verdict.OK
                and self._concerns(step, each)
            ]
            if late:
                fixes = listed([self._late(step) for step in late])
                said += f" Late {'fix' if len(late) == 1 else 'fixes'} near it: {fixes}."
        return said

    def _concerns(self, step: FixStep, each: ExplainedEvent) -> bool:
        times = [time_us for event in each.revisions for time_us in (event.observed_at_us, event.confirmed_at_us)]
        if each.found is not None and each.found.leg is not None:
            times += each.found.leg
        return min(times) - MINUTE_US <= step.fix.observed_at_us <= max(times) + MINUTE_US

    def _late(self, step: FixStep) -> str:
        return f"{self.time(step.fix.observed_at_us)} (arrived {self.time(step.fix.received_at_us)})"

    def _told(self, event: TrackingEvent) -> str:
        if event.standing == Standing.STANDING_WITHDRAWN:
            return "withdrawn"
        return f"{self.time(event.observed_at_us)} (confirmed {self.time(event.confirmed_at_us)})"

    def _doubt(self, each: ExplainedEvent) -> str:
        """Why told and found may differ."""
        shown = self._explained
        counted = [step for step in shown.steps if isinstance(step, FixStep) and step.fix.verdict == Verdict.OK]
        last_us = max((step.fix.observed_at_us for step in (*counted, *shown.steps_after)), default=shown.from_us)
        if each.found is None and each.confirmed_at_us > last_us:
            return f" It was confirmed at {self.time(each.confirmed_at_us)}, behind the fixes looked at."
        if shown.versions_missing:
            return " The version of the fence that held then is no longer kept; another may have had another border."
        told = next((_fence_version(event) for event in reversed(each.revisions)), 0)
        if told and each.found is not None and told != each.found.version:
            return f" It was told by version {told} of the fence; by the times, version {each.found.version} held."
        if any(isinstance(step, EditStep) for step in shown.steps):
            return " The fence was edited at that time, and which fixes came before the edit is known by clocks only."
        if shown.start_basis is StartBasis.FIRST_STORED_FIX:
            return " No event before it is stored, so what held at first is inferred from the first stored fix."
        return " Perhaps fixes of then are no longer stored, or were judged under other settings."


def _fence_version(event: TrackingEvent) -> int:
    return int(getattr(getattr(event, event.WhichOneof("kind") or "", None), "fence_version", 0))
