"""The answer to `explain` in sentences, the most important first: what held, what happened, and why no more did."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

from geofence.transitions import IN, OUT, PENDING_IN, PENDING_OUT, SAYS_NOTHING, SPEAKS_IN
from services.tracking.explanations.arrivals import arrivals_in_time
from services.tracking.explanations.explanation import Explanation
from services.tracking.explanations.told_events import Accord, is_exit
from services.tracking.explanations.visits import no_dwell, no_speeding, not_asked, passed_through, stays
from services.tracking.explanations.wording import NAMED, listed, minutes, place, utc
from services.tracking.explanations.words import SIDES, Words
from tracking_core.explaining.steps import EditStep, FixStep, Reason, TimeStep
from tracking_core.settings import MINUTE_US
from tracking_core.verdicts import Verdict

SILENT_US: Final = 10 * MINUTE_US
"""A longer time without a fix is spoken of."""
NEAR_US: Final = 2 * MINUTE_US
"""Whoever asks about a time so near to an event asks about that event."""
_HAPPENED: Final = (Accord.AGREES, Accord.DIFFERS, Accord.NOT_TOLD)


def answer(explained: Explanation) -> list[str]:
    """All of it."""
    words = Words(explained)
    fixes = [step for step in explained.steps if isinstance(step, FixStep)]
    visits = stays(explained)
    return [
        _headline(explained),
        *(words.event(each) for each in explained.events),
        *_untold(words, fixes),
        *_why_not(explained, words, fixes),
        *no_dwell(explained, words, visits),
        *no_speeding(words, visits),
        *_pending(explained, words),
        *_silence(explained, words, fixes),
        *(words.edit(step) for step in explained.steps if isinstance(step, EditStep) and step.event is None),
        *arrivals_in_time(explained, words.time),
        *not_asked(explained),
        *_caveats(explained, words),
    ]


def _headline(explained: Explanation) -> str:
    name = f"“{explained.fence_name}”" if explained.fence_name else explained.fence_id
    when = utc(explained.at_us).strftime("%Y-%m-%d %H:%M:%S UTC")
    side = SIDES.get(explained.state_at)
    if side is None:
        return f"At {when} nothing was known yet of {explained.device_id} at {name}."
    pending = {PENDING_IN: " (an entry was pending)", PENDING_OUT: " (an exit was pending)"}
    return f"At {when} {explained.device_id} counted as {side} {name}{pending.get(explained.state_at, '')}."


def _untold(words: Words, fixes: Sequence[FixStep]) -> list[str]:
    """What happened while the fence was not active."""
    said = [
        f"{'exited' if is_exit(step.untold.kind.value) else 'entered'} at {words.time(step.untold.observed_at_us)}"
        for step in fixes
        if step.untold is not None
    ]
    return [f"Not told, as the fence was not active then: {listed(said)}."] if said else []


def _why_not(explained: Explanation, words: Words, fixes: Sequence[FixStep]) -> list[str]:
    """Why nothing happened at the time asked about: of the fixes between the events before and behind it."""
    at_us = explained.at_us
    happened = [each for each in explained.events if each.accord in _HAPPENED]
    if any(each.observed_at_us - NEAR_US <= at_us <= each.confirmed_at_us + NEAR_US for each in happened):
        return []
    after_us = max((each.confirmed_at_us for each in happened if each.confirmed_at_us < at_us), default=None)
    until_us = min((each.observed_at_us for each in happened if each.observed_at_us > at_us), default=None)
    between = [
        step
        for step in fixes
        if (after_us is None or step.fix.observed_at_us > after_us)
        and (until_us is None or step.fix.observed_at_us < until_us)
    ]
    counted = [step for step in between if step.fix.verdict == Verdict.OK]
    if not between:
        return []
    if not counted:
        return [f"None of the {len(between)} fixes of then counts: {_say(between, at_us, words)}."]
    said = _nearest(counted, words)
    if counted[0].first and counted[0].after.state == IN:
        said.append(
            f"The first fix of the device ({words.time(counted[0].fix.observed_at_us)}) was inside already: that "
            "settles silently, without an event."
        )
    said += _cancelled(between, at_us, words)
    doubtful = [step for step in counted if _is_against(step) and step.speaks == SAYS_NOTHING]
    if doubtful:
        said.append(f"Outside, but too near to the border to say so: {_say(doubtful, at_us, words)}.")
    uncounted = [step for step in between if step.reason is Reason.NOT_COUNTED and _is_against(step)]
    if uncounted:
        where = "outside" if uncounted[0].distance_m > 0.0 else "inside"
        said.append(f"Reported {where}, but not counted: {_say(uncounted, at_us, words)}.")
    said += passed_through(explained, words, between)
    if not said and all(step.speaks == SPEAKS_IN and step.before.state == IN for step in counted):
        count = "the one fix that counts" if len(counted) == 1 else f"all {len(counted)} fixes that count"
        said.append(f"It stayed inside: {count} {'speaks' if len(counted) == 1 else 'speak'} for in.")
    return said


def _say(steps: Sequence[FixStep], at_us: int, words: Words) -> str:
    """The fixes nearest to the time asked about, and what they say."""
    near = sorted(steps, key=lambda step: abs(step.fix.observed_at_us - at_us))[:NAMED]
    said = [f"{words.time(step.fix.observed_at_us)} ({words.fix(step)})" for step in steps if step in near]
    return listed(said, more=len(steps) - len(said))


def _nearest(counted: Sequence[FixStep], words: Words) -> list[str]:
    measured = [step for step in counted if not math.isnan(step.distance_m)]
    if not measured or any(step.after.state != OUT or step.before.state not in (OUT, 0) for step in counted):
        return []
    nearest = min(measured, key=lambda step: step.distance_m)
    count = "the one fix that counts" if len(measured) == 1 else f"the nearest of {len(measured)} fixes that count"
    return [f"It never came in: {count} was {place(nearest.distance_m)}, at {words.time(nearest.fix.observed_at_us)}."]


def _cancelled(fixes: Sequence[FixStep], at_us: int, words: Words) -> list[str]:
    """Pending states that came to nothing: those nearest to the time asked about."""
    ends = [
        (step, following)
        for step, following in itertools.pairwise(fixes)
        if step.after.state in (PENDING_IN, PENDING_OUT)
        and following.before.state == step.after.state
        and following.after.state in (IN, OUT)
        and following.event is None
        and following.untold is None
    ]
    near = sorted(ends, key=lambda pair: abs(pair[1].fix.observed_at_us - at_us))[:NAMED]
    said = []
    for step, following in sorted(near, key=lambda pair: pair[0].fix.observed_at_us):
        side, other = ("out", "in") if step.after.state == PENDING_OUT else ("in", "out")
        seen = "one fix" if step.after.fixes == 1 else f"{step.after.fixes} fixes"
        said.append(
            f"{'No exit' if side == 'out' else 'No entry'}: {seen} spoke for {side} from "
            f"{words.time(step.after.pending_since_us)}, but {step.needed} in a row are needed, and that of "
            f"{words.time(following.fix.observed_at_us)} ({place(following.distance_m)}) spoke for {other} again."
        )
    if len(ends) > len(near):
        said.append(f"The same happened {len(ends) - len(near)} times more.")
    return said


def _is_against(step: FixStep) -> bool:
    """Whether it lies on the other side than the state says."""
    if math.isnan(step.distance_m):
        return False
    return (step.distance_m > 0.0) == (step.before.state in (IN, PENDING_OUT))


def _pending(explained: Explanation, words: Words) -> list[str]:
    """What the newest fixes leave open."""
    steps = [step for step in (*explained.steps, *explained.steps_after) if not isinstance(step, TimeStep)]
    if not steps or steps[-1].after.state not in (PENDING_IN, PENDING_OUT):
        return []
    last = steps[-1]
    out = last.after.state == PENDING_OUT
    if isinstance(last, FixStep):
        needed = last.needed
    else:
        assert last.edit.fence is not None
        needed = last.edit.fence.crossing.exit_fixes if out else last.edit.fence.crossing.enter_fixes
    return [
        (
            f"{'An exit' if out else 'An entry'} is pending since {words.time(last.after.pending_since_us)}: "
            f"{last.after.fixes} of {needed} fixes in a row spoke for {'out' if out else 'in'}, and no later one does."
        )
    ]


def _silence(explained: Explanation, words: Words, fixes: Sequence[FixStep]) -> list[str]:
    """Where nothing was heard."""
    last_before = explained.last_before
    first_after = explained.steps_after[0].fix if explained.steps_after else None
    if not fixes:
        before = f"the last before is of {words.time(last_before.observed_at_us)}" if last_before else "none before"
        after = f"the next of {words.time(first_after.observed_at_us)}" if first_after else "none after"
        return [
            (
                f"No fix is stored between {words.time(explained.from_us)} and {words.time(explained.until_us)}: "
                f"{before}, {after}. Silence is never an exit."
            )
        ]
    heard = [step.fix.observed_at_us for step in fixes]
    gaps = [(start, end) for start, end in itertools.pairwise(heard) if end - start >= SILENT_US]
    gaps.sort(key=lambda gap: (not gap[0] <= explained.at_us <= gap[1], gap[0] - gap[1]))
    said = [
        f"Nothing was heard between {words.time(start)} and {words.time(end)} ({minutes(end - start)}): what happened "
        "meanwhile is not known."
        for start, end in gaps[:NAMED]
    ]
    if first_after is None and explained.at_us - heard[-1] >= SILENT_US:
        said.append(f"Nothing newer than the fix of {words.time(heard[-1])} is stored.")
    return said


def _caveats(explained: Explanation, words: Words) -> list[str]:
    said = []
    if explained.versions_missing:
        oldest = explained.versions[0]
        said.append(
            f"What the fence was before version {oldest.version}, stored {words.time(oldest.made_at_us)}, is no longer "
            f"kept: that version is used for the time before as well."
        )
    said += [
        f"Version {each.route.version} of route “{each.route.route_id}” was stored at {words.time(each.made_at_us)}; "
        "what it was before is not kept: this version is used for the time before as well."
        for each in explained.routes_stood_in
    ]
    if explained.cut:
        said.append("There are more fixes in this time: only those nearest to the time asked about are shown.")
    return said
