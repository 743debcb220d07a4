"""What was told of a device and a fence, beside what its stored fixes say: an answer that a person can check.

Nothing here does I/O. `answer.py` puts it into words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from drover.geofence.v1.fence_pb2 import Fence
from geofence import wire
from geofence.definition import VisitRule
from geofence.transitions import Presence
from services.tracking.explanations.plans import plans
from services.tracking.explanations.start import StartBasis, start_of
from services.tracking.explanations.surroundings import Surroundings
from services.tracking.explanations.told_events import Accord, ExplainedEvent, beside, chains, is_withdrawn
from services.tracking.model import FenceVersion
from tracking_core.explaining.steps import (
    EditStep,
    FenceEdit,
    FixStep,
    RouteEdit,
    Step,
    StoredFix,
)
from tracking_core.explaining.trace import trace
from tracking_core.settings import MINUTE_US, EngineSettings
from tracking_core.verdicts import Verdict

TOLD_WITHIN_US: Final = MINUTE_US
"""What time alone brings about is told and stored so soon after it was due."""


class Explanation(NamedTuple):
    """The answer, without words."""

    device_id: str
    fence_id: str
    fence_name: str
    at_us: int
    from_us: int
    until_us: int
    cut: bool
    start_basis: StartBasis
    versions: list[FenceVersion]
    """That held at the first fix shown or later."""
    versions_missing: bool
    """Whether the version that held then is no longer kept, so that a later one stands in for it."""
    steps: list[Step]
    """Of the fixes shown, and of the edits between them."""
    steps_after: list[FixStep]
    """Of the fixes behind them that were looked at."""
    last_before: StoredFix | None
    """The last fix that counts before those shown."""
    events: list[ExplainedEvent]
    state_at: int
    nearest: FixStep | None
    engine: EngineSettings
    """The present settings."""
    routes: list[RouteEdit]
    """Those that stop at the fence, from when on they are followed."""
    routes_stood_in: list[RouteEdit]
    """Those of them that were put again in the time shown, as they are stored: what they were before is not kept."""

    def visit_rule(self, version: int) -> VisitRule:
        """What a version of the fence that held asks of visits."""
        for each in self.versions:
            if each.version == version and not each.deleted:
                return wire.from_proto(Fence.FromString(each.body)).visit
        return VisitRule()


def explain(
    device_id: str, fence_id: str, at_us: int, looked: Surroundings, engine: EngineSettings, now_us: int
) -> Explanation:
    """Folds the stored fixes again, and puts the told events beside the result."""
    edits, missing = _edits(looked)
    start, basis = start_of(looked, edits[:1] if missing else [], edits, engine)
    fixes = [*looked.lead, *looked.shown, *looked.tail]
    settled = [chain[-1] for chain in chains(looked.events_before) if not is_withdrawn(chain)]
    routes = plans(looked, fence_id, settled)
    steps = trace(fixes, edits, start, engine, now_us if looked.ends else None, routes)
    shown = _between(steps, looked.from_us, looked.until_us)
    after = [step for step in steps if isinstance(step, FixStep) and step.fix.observed_at_us > looked.until_us]
    events = [
        event
        for event in beside(chains(looked.events), steps, routes)
        if (
            looked.from_us <= event.observed_at_us <= looked.until_us
            or looked.from_us <= event.confirmed_at_us <= looked.until_us
        )
        and not _may_be_told_yet(event, now_us)
    ]
    counted = [step for step in shown if isinstance(step, FixStep) and step.fix.verdict == Verdict.OK]
    measured = [step for step in counted if not math.isnan(step.distance_m)]
    before = [fix for fix in (looked.counted_before, *looked.lead) if fix is not None and fix.verdict == Verdict.OK]
    return Explanation(
        device_id,
        fence_id,
        next((Fence.FromString(each.body).name for each in reversed(looked.versions) if not each.deleted), ""),
        at_us,
        looked.from_us,
        looked.until_us,
        looked.cut,
        basis,
        _versions_in_force(looked, shown),
        missing and any(_is_stood_in_for(step, looked.versions[0]) for step in shown),
        shown,
        after,
        before[-1] if before else None,
        events,
        _state_at(steps, at_us, start.presence),
        min(measured, key=lambda step: step.distance_m) if measured else None,
        engine,
        routes,
        [edit for edit in looked.routes if edit.route.version > 1 and edit.made_at_us > looked.from_us],
    )


def _may_be_told_yet(event: ExplainedEvent, now_us: int) -> bool:
    """Whether it was due just now, so that it need not be stored."""
    return (
        event.accord is Accord.NOT_TOLD
        and event.found is not None
        and event.found.assumed
        and event.confirmed_at_us >= now_us - TOLD_WITHIN_US
    )


def _edits(looked: Surroundings) -> tuple[list[FenceEdit], bool]:
    """The edits; and whether the oldest of them has to stand in for what was before."""
    edits = [
        FenceEdit(each.made_at_us, each.version, None if each.deleted else wire.from_proto(Fence.FromString(each.body)))
        for each in looked.versions
    ]
    heard_us = min((fix.received_at_us for fix in (*looked.lead, *looked.shown, *looked.tail)), default=None)
    if not edits or edits[0].version == 1 or heard_us is None or heard_us >= edits[0].made_at_us:
        return edits, False
    return [edits[0]._replace(made_at_us=heard_us), *edits[1:]], True


def _between(steps: Sequence[Step], from_us: int, until_us: int) -> list[Step]:
    """The steps of the fixes of a time, with the edits among them and beside them."""
    inside = [
        at
        for at, step in enumerate(steps)
        if isinstance(step, FixStep) and from_us <= step.fix.observed_at_us <= until_us
    ]
    if not inside:
        return []
    first, last = inside[0], inside[-1]
    while first > 0 and not isinstance(steps[first - 1], FixStep):
        first -= 1
    while last + 1 < len(steps) and not isinstance(steps[last + 1], FixStep):
        last += 1
    return list(steps[first : last + 1])


def _versions_in_force(looked: Surroundings, shown: Sequence[Step]) -> list[FenceVersion]:
    used = {step.version for step in shown if isinstance(step, FixStep)}
    used |= {step.edit.version for step in shown if isinstance(step, EditStep)}
    return [each for each in looked.versions if each.version in used] or looked.versions[-1:]


def _is_stood_in_for(step: Step, oldest: FenceVersion) -> bool:
    """Whether a fix is judged here by a version that was made later."""
    return isinstance(step, FixStep) and step.version == oldest.version and step.fix.received_at_us < oldest.made_at_us


def _state_at(steps: Sequence[Step], at_us: int, state: Presence) -> int:
    presence = state
    for step in steps:
        if isinstance(step, FixStep) and step.fix.observed_at_us > at_us:
            break
        if isinstance(step, EditStep) and step.edit.made_at_us > at_us:
            break
        presence = step.after
    return presence.state
