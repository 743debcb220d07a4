"""An explanation as its message, with its words."""

from __future__ import annotations

import math
from typing import Final

from drover.geofence.v1.fence_pb2 import Fence
from drover.tracking.v1 import explanation_pb2 as pb
from geofence import wire
from geofence.compiled import NO_TIME
from geofence.transitions import IN, OUT, PENDING_IN, PENDING_OUT, SAYS_NOTHING, SPEAKS_IN, SPEAKS_OUT, UNKNOWN
from services.tracking.explanations.answer import answer
from services.tracking.explanations.explanation import Explanation
from services.tracking.explanations.told_events import ExplainedEvent
from services.tracking.explanations.words import Words
from services.tracking.model import FenceVersion
from tracking_core.explaining.steps import EditStep, FixStep

STATE_OF: Final = {
    UNKNOWN: pb.PRESENCE_STATE_UNKNOWN,
    OUT: pb.PRESENCE_STATE_OUT,
    PENDING_IN: pb.PRESENCE_STATE_PENDING_IN,
    IN: pb.PRESENCE_STATE_IN,
    PENDING_OUT: pb.PRESENCE_STATE_PENDING_OUT,
}
EVIDENCE_OF: Final = {
    SPEAKS_IN: pb.EVIDENCE_IN,
    SPEAKS_OUT: pb.EVIDENCE_OUT,
    SAYS_NOTHING: pb.EVIDENCE_NOTHING,
}


def to_proto(explained: Explanation) -> pb.Explanation:
    """The message."""
    words = Words(explained)
    edits = {step.edit.version: step for step in explained.steps if isinstance(step, EditStep)}
    message = pb.Explanation(
        device_id=explained.device_id,
        fence_id=explained.fence_id,
        fence_name=explained.fence_name,
        at_us=explained.at_us,
        from_us=explained.from_us,
        until_us=explained.until_us,
        answer=answer(explained),
        state_at=STATE_OF[explained.state_at],
        start_basis=explained.start_basis.value,  # type: ignore[arg-type]  # the same numbers, held together by a test
        versions=[_version(each, edits.get(each.version), words) for each in explained.versions],
        fixes=[_fix(step, words) for step in explained.steps if isinstance(step, FixStep)],
        events=[_event(each, words) for each in explained.events],
        cut=explained.cut,
    )
    if explained.nearest is not None:
        message.nearest.observed_at_us = explained.nearest.fix.observed_at_us
        message.nearest.distance_m = explained.nearest.distance_m
    return message


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _fix(step: FixStep, words: Words) -> pb.ExplainedFix:
    fix, after = step.fix, step.after
    told = [step.event] if step.event is not None else step.events
    return pb.ExplainedFix(
        observed_at_us=fix.observed_at_us,
        received_at_us=fix.received_at_us,
        latitude_deg=_known(fix.latitude_deg),
        longitude_deg=_known(fix.longitude_deg),
        accuracy_m=_known(fix.accuracy_m),
        verdict=fix.verdict,  # type: ignore[arg-type]
        distance_m=_known(step.distance_m),
        doubt_m=_known(step.doubt_m),
        fence_version=step.version,
        evidence=EVIDENCE_OF[step.speaks],
        reason=step.reason.value,  # type: ignore[arg-type]
        state_before=STATE_OF[step.before.state],
        state_after=STATE_OF[after.state],
        pending_fixes=after.fixes,
        needed_fixes=step.needed,
        crossed_at_us=None if after.crossed_at_us == NO_TIME else after.crossed_at_us,
        arrived_late=step.arrived_late,
        passed_through=step.passed_through,
        unseen=step.unseen.value,  # type: ignore[arg-type]
        speed_mps=_known(step.speed_mps),
        text=words.fix(step),
        event_kind=told[0].kind.value if told else "",
    )


def _version(each: FenceVersion, made: EditStep | None, words: Words) -> pb.ExplainedVersion:
    message = pb.ExplainedVersion(
        version=each.version,
        made_at_us=each.made_at_us,
        deleted=each.deleted,
        shape_changed=made is not None and made.moved,
        made_meanwhile=made is not None,
        text=words.edit(made) if made is not None else "",
    )
    if not each.deleted:
        # Read and written again: with the defaults of what it leaves out.
        fence = wire.to_proto(wire.from_proto(Fence.FromString(each.body)))
        message.fence_name = fence.name
        message.crossing.CopyFrom(fence.crossing)
    return message


def _event(each: ExplainedEvent, words: Words) -> pb.ExplainedEvent:
    return pb.ExplainedEvent(
        kind=each.kind,
        observed_at_us=each.observed_at_us,
        confirmed_at_us=each.confirmed_at_us,
        accord=each.accord.value,  # type: ignore[arg-type]
        revisions=each.revisions,
        text=words.event(each),
    )
