"""What an explanation says: a real engine tells, the stored fixes are folded again, and people read the result."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from drover.tracking.v1 import explanation_pb2
from drover.tracking.v1.event_pb2 import Standing, TrackingEvent
from geofence import wire
from geofence.definition import (
    ALWAYS,
    ActiveTimes,
    CircleShape,
    CorridorShape,
    CrossingRule,
    FenceDefinition,
    VisitRule,
    WeeklyWindow,
)
from services.tracking.events import to_proto
from services.tracking.explanations import explanation, wording
from services.tracking.explanations import wire as explanation_wire
from services.tracking.explanations.answer import answer
from services.tracking.explanations.explanation import Explanation
from services.tracking.explanations.start import StartBasis
from services.tracking.explanations.surroundings import Surroundings
from services.tracking.explanations.told_events import Accord
from services.tracking.model import FenceVersion
from tests.services.tracking.build import SECOND, positions, readings
from tracking_core.definitions import DeleteFence, DeviceIdentity, PutFence, PutRoute, Route, RouteStop
from tracking_core.engine import Engine
from tracking_core.explaining.steps import FixStep, Reason, RouteEdit, StoredFix, Unseen
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

TEN = 1_767_348_000 * SECOND
"""2026-01-02 10:00:00 UTC."""
M_PER_DEG = 74_630.0
RULES = EngineSettings(horizon_us=3 * 3600 * SECOND, follows_journeys=False)


def clock(text: str) -> int:
    """`10:05:20` of that day."""
    hours, minutes, seconds = (int(part) for part in (*text.split(":"), "0")[:3])
    return TEN + ((hours - 10) * 3600 + minutes * 60 + seconds) * SECOND


@dataclasses.dataclass
class Story:
    """What arrived and was edited, in that order, and what the engine made of it. The fence is round: its border is
    100 m from the middle, and fixes lie east of it.
    """

    rule: dict[str, Any] = dataclasses.field(default_factory=dict)
    fence: dict[str, Any] = dataclasses.field(default_factory=dict)
    fixes: list[StoredFix] = dataclasses.field(default_factory=list)
    versions: list[FenceVersion] = dataclasses.field(default_factory=list)
    events: list[TrackingEvent] = dataclasses.field(default_factory=list)
    routes: list[RouteEdit] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.now_us = clock("09:00")
        self.engine = Engine(RULES)
        self.engine.announce([DeviceIdentity(0, "acme", "truck-7")])
        self.edit("09:00", 100.0)

    def edit(self, at: str, radius_m: float | None, **rule: Any) -> Story:
        self.now_us = max(self.now_us, clock(at))
        version = len(self.versions) + 1
        change: Any = DeleteFence("acme", "port", version)
        body = b""
        if radius_m is not None:
            more = {"shape": CircleShape(11.0, 48.0, radius_m), **self.fence}
            crossing = CrossingRule(**{**self.rule, **rule})
            fence = FenceDefinition("acme", "port", "Port", crossing=crossing, version=version, **more)
            change, body = PutFence(fence), wire.to_proto(fence).SerializeToString()
        self.versions.append(FenceVersion(version, clock(at), radius_m is None, body))
        self.events += map(to_proto, self.engine.define(change, clock(at)).events)
        return self

    def plan(self, at: str, planned: str, version: int = 1, fence_id: str = "port") -> Story:
        """A route with one stop, a quarter of an hour of grace."""
        route = Route("acme", "tour", 0, (RouteStop("dock", 11.0, 48.0, clock(planned), 0, fence_id),), version=version)
        self.now_us = max(self.now_us, clock(at))
        self.events += map(to_proto, self.engine.define(PutRoute(route), self.now_us).events)
        self.routes = [RouteEdit(clock(at), route)]
        return self

    def fix(
        self,
        at: str,
        middle_m: float,
        accuracy_m: float = math.nan,
        *,
        came: str = "",
        north_m: float = 0.0,
        **more: Any,
    ) -> Story:
        """A fix so far from the middle of the fence."""
        received_us = clock(came) if came else clock(at) + SECOND
        row = {
            "observed_at_us": clock(at), "received_at_us": received_us, "accuracy_m": accuracy_m,
            "latitude_deg": 48.0, "longitude_deg": 11.0 + middle_m / M_PER_DEG, **more,
        }  # fmt: skip
        self.now_us = max(self.now_us, received_us)
        result = self.engine.step(readings(positions(row)), self.now_us)
        self.events += map(to_proto, result.events)
        changes = result.verdict_changes
        for at_us, longitude, after in zip(
            changes.observed_at_us.tolist(), changes.longitude_deg.tolist(), changes.after.tolist(), strict=True
        ):
            self.fixes = [
                fix._replace(verdict=after) if (fix.observed_at_us, fix.longitude_deg) == (at_us, longitude) else fix
                for fix in self.fixes
            ]
        self.fixes.append(
            StoredFix(
                clock(at),
                received_us,
                row["latitude_deg"],
                row["longitude_deg"],
                float(np.float32(accuracy_m)),
                int(result.position_verdicts[0]),
                float(np.float32(more.get("speed_mps", math.nan))),
            )
        )
        return self

    def wait(self, until: str) -> Story:
        """Until then nothing comes."""
        self.now_us = clock(until)
        self.events += map(to_proto, self.engine.tick(self.now_us).events)
        return self

    def fixes_at(self, middle_m: Sequence[float]) -> Story:
        """One a minute from ten on."""
        for minute, metres in enumerate(middle_m):
            self.fix(f"10:{minute:02}", metres)
        return self

    def looked(self, **changes: Any) -> Surroundings:
        fixes = sorted(self.fixes)
        counted = [fix for fix in fixes if fix.verdict == Verdict.OK]
        return Surroundings(
            self.versions, clock("09:30"), clock("10:30"), False, None, counted[0] if counted else None, [], fixes, [],
            True, self.events, [], self.routes,
        )._replace(**changes)  # fmt: skip

    def explain(self, at: str = "10:00", **changes: Any) -> Explanation:
        return explanation.explain("truck-7", "port", clock(at), self.looked(**changes), RULES, self.now_us)

    def said(self, at: str = "10:00", **changes: Any) -> list[str]:
        return answer(self.explain(at, **changes))


CASES: dict[str, tuple[Callable[[], Story], str, str]] = {
    "a visit": (
        lambda: Story().fixes_at([500, 200, 50, 20, 180, 300, 400]),
        "10:02",
        """
        * At 2026-01-02 10:02:00 UTC truck-7 counted as inside “Port”.
        * 10:01:39 entered: the way from the fix of 10:01:00 (100 m outside) to that of 10:02:00 (50 m inside)
          crossed the border then; confirmed by the fix of 10:02:00, which speaks for in (1 needed).
        * 10:03:30 exited: the way from the fix of 10:03:00 (80 m inside) to that of 10:04:00 (80 m outside)
          crossed the border then; confirmed by the fix of 10:05:00, the 2nd in a row that speaks for out (2
          needed).
        * No dwell and no speeding is told: the fence asks for neither.
        """,
    ),
    "why it did not come in": (
        lambda: Story().fixes_at([500, 142, 300]),
        "10:01",
        """
        * At 2026-01-02 10:01:00 UTC truck-7 counted as outside “Port”.
        * It never came in: the nearest of 3 fixes that count was 42 m outside, at 10:01:00.
        """,
    ),
    "parked at the border": (
        lambda: Story().fix("10:00", 150).fix("10:01", 80).fix("10:10", 104, 10).fix("10:11", 98, 10),
        "10:10",
        """
        * At 2026-01-02 10:10:00 UTC truck-7 counted as inside “Port”.
        * 10:00:42 entered: the way from the fix of 10:00:00 (50 m outside) to that of 10:01:00 (20 m inside)
          crossed the border then; confirmed by the fix of 10:01:00, which speaks for in (1 needed).
        * Outside, but too near to the border to say so: 10:10:00 (4.0 m outside: says nothing, as only more
          than 10 m would speak for out).
        * No dwell and no speeding is told: the fence asks for neither.
        """,
    ),
    "within the exit margin": (
        lambda: Story({"exit_margin_m": 30.0}).fixes_at([50, 125]),
        "10:01",
        """
        * At 2026-01-02 10:01:00 UTC truck-7 counted as inside “Port”.
        * The first fix of the device (10:00:00) was inside already: that settles silently, without an event.
        * Outside, but too near to the border to say so: 10:01:00 (25 m outside: says nothing, as only more than
          30 m would speak for out).
        * No dwell and no speeding is told: the fence asks for neither.
        """,
    ),
    "one fix outside": (
        lambda: Story().fixes_at([50, 50, 150, 60, 50]),
        "10:02",
        """
        * At 2026-01-02 10:02:00 UTC truck-7 counted as inside “Port” (an exit was pending).
        * The first fix of the device (10:00:00) was inside already: that settles silently, without an event.
        * No exit: one fix spoke for out from 10:02:00, but 2 in a row are needed, and that of 10:03:00 (40 m
          inside) spoke for in again.
        * No dwell and no speeding is told: the fence asks for neither.
        """,
    ),
    "one fix inside, two asked for": (
        lambda: Story({"enter_fixes": 2}).fixes_at([500, 50, 500]),
        "10:01",
        """
        * At 2026-01-02 10:01:00 UTC truck-7 counted as outside “Port” (an entry was pending).
        * No entry: one fix spoke for in from 10:01:00, but 2 in a row are needed, and that of 10:02:00 (400 m
          outside) spoke for out again.
        """,
    ),
    "an imprecise fix": (
        lambda: Story().fixes_at([160, 50]).fix("10:10", 400, 2000).fix("10:11", 50),
        "10:10",
        """
        * At 2026-01-02 10:10:00 UTC truck-7 counted as inside “Port”.
        * 10:00:32 entered: the way from the fix of 10:00:00 (60 m outside) to that of 10:01:00 (50 m inside)
          crossed the border then; confirmed by the fix of 10:01:00, which speaks for in (1 needed).
        * Reported outside, but not counted: 10:10:00 (300 m outside, but does not count: its accuracy is too
          poor to say where (2000 m)).
        * No dwell and no speeding is told: the fence asks for neither.
        """,
    ),
    "a jump into the fence": (
        lambda: Story().fixes_at([60_000, 60_000]).fix("10:01:30", 0).fix("10:02:10", 60_000),
        "10:01:30",
        """
        * At 2026-01-02 10:01:30 UTC truck-7 counted as outside “Port”.
        * It never came in: the nearest of 3 fixes that count was 59.9 km outside, at 10:00:00.
        * Reported inside, but not counted: 10:01:30 (100 m inside, but does not count: it is an implausible
          jump: too far from the fixes beside it for the time between them).
        """,
    ),
    "straight through": (
        lambda: Story().fix("10:00", -500).fix("10:01", 500),
        "10:01",
        """
        * At 2026-01-02 10:01:00 UTC truck-7 counted as outside “Port”.
        * It never came in: the nearest of 2 fixes that count was 400 m outside, at 10:00:00.
        * The straight way to the fix of 10:01:00 led through the fence, but no fix lay inside, and an entry
          needs one; it is not told as crossed, as the fence does not ask for that (`cross`).
        """,
    ),
    "amended by a late fix": (
        lambda: Story().fixes_at([500, 400]).fix("10:10", 0).fix("10:03", 130, came="10:20"),
        "10:04",
        """
        * At 2026-01-02 10:04:00 UTC truck-7 counted as outside “Port”.
        * 10:04:36 entered: the way from the fix of 10:03:00 (30 m outside) to that of 10:10:00 (100 m inside)
          crossed the border then; confirmed by the fix of 10:10:00, which speaks for in (1 needed). It was told
          first as 10:07:44 (confirmed 10:10:00), and amended to this (revision 1). Late fix near it: 10:03:00
          (arrived 10:20:00).
        """,
    ),
    "withdrawn by a late fix": (
        lambda: (
            Story({"enter_fixes": 2})
            .fixes_at([500, 400])
            .fix("10:10", 0)
            .fix("10:12", 0)
            .fix("10:11", 300, came="10:20")
        ),
        "10:10",
        """
        * At 2026-01-02 10:10:00 UTC truck-7 counted as outside “Port” (an entry was pending).
        * 10:07:44 entered was told, and withdrawn: by the fixes that arrived late it did not happen. Revision 1
          withdrew it. Late fix near it: 10:11:00 (arrived 10:20:00).
        * No entry: one fix spoke for in from 10:10:00, but 2 in a row are needed, and that of 10:11:00 (200 m
          outside) spoke for out again.
        * An entry is pending since 10:12:00: 1 of 2 fixes in a row spoke for in, and no later one does.
        """,
    ),
    "a fence edited round a parked truck": (
        lambda: Story().fixes_at([150, 150]).edit("10:05", 300).fix("10:06", 150).edit("10:08", 100).fix("10:10", 150),
        "10:03",
        """
        * At 2026-01-02 10:03:00 UTC truck-7 counted as outside “Port”.
        * 10:01:00 entered: the fence got another shape at 10:05:00 (version 2), and the newest fix then was 150
          m inside it; nothing moved.
        * 10:06:00 exited: the fence got another shape at 10:08:00 (version 3), and the newest fix then was 50 m
          outside it; nothing moved.
        """,
    ),
    "another rule": (
        lambda: Story().fixes_at([150]).edit("10:05", 100, enter_fixes=3).fix("10:06", 50).fix("10:07", 50),
        "10:07",
        """
        * At 2026-01-02 10:07:00 UTC truck-7 counted as outside “Port” (an entry was pending).
        * An entry is pending since 10:06:00: 2 of 3 fixes in a row spoke for in, and no later one does.
        * Version 2 of the fence was stored at 10:05:00: only name or rule changed, so nothing was stated anew.
        """,
    ),
    "a fence that was deleted": (
        lambda: Story().fixes_at([160, 50]).edit("10:05", None).fix("10:06", 50),
        "10:06",
        """
        * At 2026-01-02 10:06:00 UTC truck-7 counted as outside “Port”.
        * 10:00:32 entered: the way from the fix of 10:00:00 (60 m outside) to that of 10:01:00 (50 m inside)
          crossed the border then; confirmed by the fix of 10:01:00, which speaks for in (1 needed).
        * 10:01:00 exited: the fence was deleted at 10:05:00; nothing moved.
        """,
    ),
    "confirmed by time": (
        lambda: Story({"exit_fixes": 9, "confirm_after_us": 90 * SECOND}).fixes_at([160, 50, 500, 600, 600]),
        "10:03",
        """
        * At 2026-01-02 10:03:00 UTC truck-7 counted as inside “Port” (an exit was pending).
        * 10:00:32 entered: the way from the fix of 10:00:00 (60 m outside) to that of 10:01:00 (50 m inside)
          crossed the border then; confirmed by the fix of 10:01:00, which speaks for in (1 needed).
        * 10:01:06 exited: the way from the fix of 10:01:00 (50 m inside) to that of 10:02:00 (400 m outside)
          crossed the border then; confirmed at 10:04:00, when it had been pending for 120 s.
        * No dwell and no speeding is told: the fence asks for neither.
        """,
    ),
    "silence": (
        lambda: Story().fixes_at([50, 60]).fix("10:25", 50),
        "10:12",
        """
        * At 2026-01-02 10:12:00 UTC truck-7 counted as inside “Port”.
        * 10:16:00 signal lost, the last fix that counts being of 10:01:00.
        * 10:25:00 signal restored.
        * The first fix of the device (10:00:00) was inside already: that settles silently, without an event.
        * Nothing was heard between 10:01:00 and 10:25:00 (24 minutes): what happened meanwhile is not known.
        * No dwell and no speeding is told: the fence asks for neither.
        """,
    ),
    "silence to this day": (
        lambda: Story().fixes_at([50]),
        "10:20",
        """
        * At 2026-01-02 10:20:00 UTC truck-7 counted as inside “Port”.
        * The first fix of the device (10:00:00) was inside already: that settles silently, without an event.
        * Nothing newer than the fix of 10:00:00 is stored.
        * No dwell and no speeding is told: the fence asks for neither.
        """,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_people_read(case: str) -> None:
    story, at, expected = CASES[case]
    assert story().said(at) == [" ".join(each.split()) for each in expected.split(" * ")[1:]]


VISIT = [500, 200, 50, 20, 180, 300, 400]


def accords(explained: Explanation) -> list[tuple[str, Accord]]:
    return [(each.kind, each.accord) for each in explained.events]


def test_what_was_told_and_what_is_found_are_set_side_by_side() -> None:
    story = Story().fixes_at(VISIT)
    entered, exited = story.events
    agreed = [("geofence_entered", Accord.AGREES), ("geofence_exited", Accord.AGREES)]
    assert accords(story.explain()) == agreed
    assert accords(story.explain(events=[exited])) == [("geofence_entered", Accord.NOT_TOLD), agreed[1]]
    moved = TrackingEvent()
    moved.CopyFrom(entered)
    moved.observed_at_us += 20 * SECOND
    assert accords(story.explain(events=[moved, exited])) == [("geofence_entered", Accord.DIFFERS), agreed[1]]
    far = TrackingEvent()
    far.CopyFrom(entered)
    far.observed_at_us = far.confirmed_at_us = clock("10:20")
    far.event_id = "another"
    found = story.explain(events=[entered, exited, far])
    assert accords(found) == [*agreed, ("geofence_entered", Accord.NOT_FOUND)]
    assert any(said.startswith("10:20:00 entered, as it was told; the stored fixes do not show it. It was confirmed")
               for said in answer(found))  # fmt: skip


def test_a_kind_that_is_not_followed_is_shown_as_it_was_told() -> None:
    story = Story().fixes_at([500, 500]).fix("10:40", 500)
    lost, restored = story.events
    found = story.explain("10:20", events=story.events, until_us=clock("11:00"))
    assert accords(found) == [("signal_lost", Accord.NOT_FOLLOWED), ("signal_restored", Accord.NOT_FOLLOWED)]
    said = answer(found)
    assert "10:16:00 signal lost, the last fix that counts being of 10:01:00." in said
    assert "10:40:00 signal restored." in said
    withdrawn = TrackingEvent()
    withdrawn.CopyFrom(lost)
    withdrawn.standing, withdrawn.revision = Standing.STANDING_WITHDRAWN, 1
    assert (
        "10:16:00 signal lost, the last fix that counts being of 10:01:00, told and withdrawn. Revision 1 withdrew it."
        in (story.said("10:20", events=[withdrawn, restored], until_us=clock("11:00")))
    )


DWELLS = {"visit": VisitRule(dwell_us=5 * 60 * SECOND)}
LIMITED = {"visit": VisitRule(speed_limit_mps=13.9, speed_tolerance_mps=2.0)}
CROSSED = {"visit": VisitRule(cross=True)}
LINE = CorridorShape(np.array([[11.0, 47.99], [11.0, 48.01]]), 100.0)
OFFICE = {"active": ActiveTimes("UTC", (WeeklyWindow((1, 2, 3, 4, 5), 10 * 60 + 3, 10 * 60 + 6),))}

VISITS: dict[str, tuple[Callable[[], Story], str, str]] = {
    "a dwell": (
        lambda: Story(fence=DWELLS).fixes_at([200, 0, 0, 0, 0, 0, 0]),
        "10:05",
        """
        * 10:05:29 dwelt, being inside since 10:00:29: 5 minutes are asked for, and the fix of 10:06:00 shows no
          exit before.
        * No speeding is told: the fence has no limit.
        """,
    ),
    "a dwell that is assumed": (
        lambda: Story(fence=DWELLS).fixes_at([200, 0]).wait("10:07"),
        "10:05",
        """
        * 10:05:29 dwelt, being inside since 10:00:29: 5 minutes are asked for, and it is assumed, as no later fix had
          come.
        """,
    ),
    "a dwell that is yet to come": (
        lambda: Story(fence=DWELLS).fixes_at([200, 0]),
        "10:01",
        """
        * It has not dwelt yet: it will have at 10:05:29, if it does not leave before.
        """,
    ),
    "too short for a dwell": (
        lambda: Story(fence=DWELLS).fixes_at([200, 0, 0, 300, 300]),
        "10:02",
        """
        * No dwell: from 10:00:29 to 10:02:20 it was inside for 110 seconds, 3 minutes too short: 5 minutes are
          asked for.
        """,
    ),
    "a dwell that a pending exit holds": (
        lambda: Story(fence=DWELLS).fixes_at([200, 0, 0, 300]).wait("10:17"),
        "10:03",
        """
        * It has not dwelt: an exit is noted for 10:02:20, before the dwell would be over at 10:05:29; if the next
          fix speaks for in again, it has.
        """,
    ),
    "a dwell that was assumed before the fence was deleted": (
        lambda: Story(fence=DWELLS).fixes_at([200, 0]).wait("10:07").edit("10:08", None).fix("10:04", 0, came="10:09"),
        "10:05",
        """
        * 10:01:00 exited: the fence was deleted at 10:08:00; nothing moved.
        * 10:05:29 dwelt, being inside since 10:00:29: 5 minutes are asked for, and it is assumed, as no later fix had
          come.
        """,
    ),
    "a fence that was deleted before the dwell": (
        lambda: Story(fence=DWELLS).fixes_at([200, 0]).edit("10:04", None).fix("10:06", 0),
        "10:05",
        """
        * 10:01:00 exited: the fence was deleted at 10:04:00; nothing moved.
        * No dwell: from 10:00:29 to 10:01:00 it was inside for 30 seconds, 4 minutes too short: 5 minutes are
          asked for.
        """,
    ),
    "a dwell that the window is too short for": (
        lambda: Story(fence={**DWELLS, **OFFICE}).fixes_at([200, 0, 0, 0, 0, 0, 0, 0, 0, 300, 300]),
        "10:04",
        """
        * No dwell, though it was inside from 10:03:00 to 10:08:20: it would have dwelt at 10:08:00, outside the
          time window in which it came in.
        """,
    ),
    "a visit that goes on behind its window": (
        lambda: Story(fence={**DWELLS, **OFFICE}).fixes_at([200, 0, 0, 0, 0]),
        "10:04",
        """
        * No dwell of the visit since 10:03:00: it would have dwelt at 10:08:00, outside the time window in which it
          came in.
        """,
    ),
    "too fast, as measured": (
        lambda: Story(fence=LIMITED).fix("10:00", 200).fix("10:01", 0, speed_mps=15.0).fix("10:02", 0, speed_mps=22.25),
        "10:02",
        """
        * 10:02:00 speeding, at 22.2 m/s where 13.9 are allowed: the fix, 100 m inside, is the first that is so
          fast, as the device measured (2.0 m/s are tolerated).
        * No dwell is told: the fence asks for none.
        """,
    ),
    "too fast, as derived": (
        lambda: Story(fence={"visit": VisitRule(speed_limit_mps=2.0)}).fixes_at([200, -50, 80]),
        "10:01",
        """
        * 10:01:00 speeding, at 4.2 m/s where 2.0 are allowed: the fix, 50 m inside, is the first that is so fast,
          by the way from the counted fix before, as none was measured.
        """,
    ),
    "fast, but not to be relied on": (
        lambda: (
            Story(fence=LIMITED)
            .fix("10:00", 200)
            .fix("10:01", 0, speed_mps=12.0)
            .fix("10:02", 90, 2000.0, speed_mps=30.0)
            .fix("10:03", 0, speed_mps=9.0)
        ),
        "10:02",
        """
        * No speeding: the fastest fix inside, of 10:01:00, was at 12.0 m/s, 1.9 m/s below the limit of 13.9 m/s.
        * Faster, but either not counted or not inside: 10:02:00 (30.0 m/s, 10 m inside).
        """,
    ),
    "no faster than is tolerated": (
        lambda: Story(fence=LIMITED).fix("10:00", 200).fix("10:01", 0, speed_mps=15.0),
        "10:01",
        """
        * No speeding: the fastest fix inside, of 10:01:00, was at 15.0 m/s: above the limit of 13.9 m/s, but no
          more than the 2.0 m/s tolerated.
        """,
    ),
    "of no known speed": (
        lambda: Story(fence=LIMITED).fix("10:00", 0).fix("10:20", 0),
        "10:10",
        """
        * No speeding: of no fix inside a speed is known, as none was sent and none could be derived.
        """,
    ),
    "too fast while the fence is not active": (
        lambda: (
            Story(fence={**LIMITED, **OFFICE})
            .fix("10:00", 200)
            .fix("10:01", 0, speed_mps=22.0)
            .fix("10:02", 300)
            .fix("10:02:30", 300)
        ),
        "10:01",
        """
        * Not told, as the fence was not active then: entered at 10:00:29, exited at 10:01:20.
        * No speeding: the fastest fix inside, of 10:01:00, was at 22.0 m/s, above the limit of 13.9 m/s, but the
          fence was not active then.
        """,
    ),
    "through it, unseen": (
        lambda: Story(fence=CROSSED).fix("10:00", -500).fix("10:01", 500),
        "10:01",
        """
        * 10:00:23 crossed: the straight way from the fix of 10:00:00 (400 m outside) to that of 10:01:00 (400 m
          outside) led through the fence until 10:00:36; no fix lay inside.
        """,
    ),
    "over a line": (
        lambda: Story(fence={**CROSSED, "shape": LINE}).fix("10:00", -500).fix("10:01", 500),
        "10:01",
        """
        * 10:00:23 crossed: the straight way from the fix of 10:00:00 (400 m outside) to that of 10:01:00 (400 m
          outside) led through the fence until 10:00:36, from the left of its line to the right; no fix lay inside.
        """,
    ),
    "through it, but too long ago": (
        lambda: Story(fence=CROSSED).fix("10:00", -500).fix("10:11", 500),
        "10:11",
        """
        * The straight way to the fix of 10:11:00 led through the fence, but no fix lay inside, and an entry needs
          one; it is not told as crossed, as the fix before is over 10 minutes older.
        """,
    ),
    "through it, but from too far": (
        lambda: Story(fence=CROSSED).fix("10:00", -500).fix("10:09", 24_000),
        "10:09",
        """
        * The straight way to the fix of 10:09:00 led through the fence, but no fix lay inside, and an entry needs
          one; it is not told as crossed, as the fix before is over 20.0 km away.
        """,
    ),
    "through it while it is not active": (
        lambda: Story(fence={**CROSSED, **OFFICE}).fix("10:00", -500).fix("10:01", 500),
        "10:01",
        """
        * The straight way to the fix of 10:01:00 led through the fence, but no fix lay inside, and an entry needs
          one; it is not told as crossed, as the fence was not active then.
        """,
    ),
    "an arrival that was missed": (
        lambda: Story().plan("09:50", "10:00").fix("10:00", 500).fix("10:10", 400).fix("10:20", 0),
        "10:15",
        """
        * 10:15:00 missed its arrival at stop “dock” of route “tour”, planned for 10:00:00, with 15 minutes of grace:
          it had not been inside by then; the last fix before, of 10:10:00, was 300 m outside; it came at 10:17:29, 2
          minutes after that.
        """,
    ),
    "an arrival that is assumed to be missed": (
        lambda: Story().plan("09:50", "10:00").fix("10:00", 500).fix("10:10", 400).wait("10:19"),
        "10:15",
        """
        * 10:15:00 missed its arrival at stop “dock” of route “tour”, planned for 10:00:00, with 15 minutes of grace:
          it had not been inside by then; the last fix before, of 10:10:00, was 300 m outside, and no later fix had
          come.
        """,
    ),
    "an arrival in time": (
        lambda: Story().plan("09:50", "10:10").fix("10:00", 500).fix("10:10", 0).fix("10:12", 300).fix("10:13", 300),
        "10:10",
        """
        * No arrival missed at stop “dock” of route “tour”, planned for 10:10:00 and due by 10:25:00: it was inside by
          10:07:59.
        """,
    ),
    "an arrival that is waited for": (
        lambda: Story().plan("09:50", "10:10").fix("10:00", 500),
        "10:00",
        """
        * It is waited for at stop “dock” of route “tour”, planned for 10:10:00 and due by 10:25:00.
        """,
    ),
    "a route that was put again": (
        lambda: Story().plan("09:50", "10:00").fix("10:00", 500).plan("10:01", "10:00", 2).fix("10:20", 400),
        "10:10",
        """
        * 10:15:00 missed its arrival at stop “dock” of route “tour”, planned for 10:00:00, with 15 minutes of grace:
          it had not been inside by then; the last fix before, of 10:00:00, was 400 m outside.
        * Version 2 of route “tour” was stored at 10:01:00; what it was before is not kept: this version is used for the
          time before as well.
        """,
    ),
    "a window that opens": (
        lambda: Story(fence=OFFICE).fixes_at([200, 20, 20, 20, 20]),
        "10:03",
        """
        * 10:03:00 a time window of the fence opened, and the device counted as inside: the fix of 10:03:00 shows no
          exit before.
        * Not told, as the fence was not active then: entered at 10:00:33.
        """,
    ),
    "a window that opens while nothing comes": (
        lambda: Story(fence=OFFICE).fixes_at([200, 20]).wait("10:05"),
        "10:03",
        """
        * 10:03:00 a time window of the fence opened, and the device counted as inside: it is assumed, as no later
          fix had come.
        """,
    ),
}


@pytest.mark.parametrize("case", VISITS)
def test_what_people_read_of_visits(case: str) -> None:
    story, at, expected = VISITS[case]
    explained = story().explain(at)
    assert {accord for kind, accord in accords(explained) if not kind.startswith("signal")} <= {Accord.AGREES}
    said = answer(explained)
    assert [each for each in said if each in expected_lines(expected)] == expected_lines(expected)


def expected_lines(text: str) -> list[str]:
    return [" ".join(each.split()) for each in text.split(" * ")[1:]]


def test_an_arrival_of_a_route_that_is_gone_is_shown_as_it_was_told() -> None:
    story = Story().plan("09:50", "10:00").fix("10:00", 500).fix("10:20", 400)
    assert ("missed_arrival", Accord.AGREES) in accords(story.explain("10:15"))
    story.routes = []
    assert ("missed_arrival", Accord.NOT_FOLLOWED) in accords(story.explain("10:15"))
    assert any("The version of the route that asked for it is no longer kept" in said for said in story.said("10:15"))
    elsewhere = Story().plan("09:50", "10:00", fence_id="yard").fix("10:00", 500).fix("10:20", 400)
    elsewhere.routes = []
    assert not any("arrival" in said for said in elsewhere.said("10:15"))


def test_an_arrival_before_the_fixes_that_are_looked_at() -> None:
    """It came, and left again, or was late; neither is told again."""
    story = Story().plan("09:50", "10:00").fixes_at([500, 0, 300, 300]).fix("10:20", 500).fix("10:21", 500)
    fixes = sorted(story.fixes)
    later = {"shown": fixes[4:], "counted_before": fixes[3], "from_us": clock("10:14"), "events": []}
    assert accords(story.explain("10:20", **later, events_before=story.events)) == []
    assert any("it had come before" in said for said in story.said("10:20", **later, events_before=story.events))
    found = story.explain("10:20", **later)
    assert accords(found) == [("missed_arrival", Accord.NOT_TOLD)]
    missed = Story().plan("09:50", "10:00").fix("10:00", 500).fix("10:20", 500).fix("10:21", 500)
    fixes = sorted(missed.fixes)
    later = {"shown": fixes[2:], "counted_before": fixes[0], "from_us": clock("10:14"), "events": []}
    assert accords(missed.explain("10:20", **later, events_before=missed.events)) == []


def test_what_is_told_of_a_visit_without_the_fixes_for_it() -> None:
    dwelt = TrackingEvent(event_id="d", observed_at_us=clock("10:05"), confirmed_at_us=clock("10:05"))
    dwelt.geofence_dwelt.entered_at_us = clock("10:01:39")
    fast = TrackingEvent(event_id="f", observed_at_us=clock("10:00:50"), confirmed_at_us=clock("10:00:50"))
    fast.geofence_speeding.speed_mps, fast.geofence_speeding.limit_mps = 22.25, 13.9
    said = Story().fixes_at([500, 500]).said("10:05", events=[dwelt, fast])
    assert (
        "10:00:50 speeding, at 22.2 m/s where 13.9 are allowed, as it was told; the stored fixes do not show it."
        in (said[1])
    )
    assert said[2].startswith("10:05:00 dwelt, being inside since 10:01:39, as it was told; the stored fixes do not")


def test_what_was_due_just_now_need_not_be_told_yet() -> None:
    story = Story(fence=DWELLS).fixes_at([200, 0])
    story.now_us = clock("10:05:40")
    assert accords(story.explain()) == [("geofence_entered", Accord.AGREES)]
    story.now_us = clock("10:07")
    assert accords(story.explain())[1:] == [("geofence_dwelt", Accord.NOT_TOLD)]
    assert "10:05:29 dwelt, being inside since 10:00:29 by the stored fixes, but it was not told" in story.said()[2]
    fast = Story(fence=LIMITED).fix("10:00", 200).fix("10:01", 0, speed_mps=22.0)
    assert "10:01:00 speeding, at 22.0 m/s where 13.9 are allowed by the stored fixes" in fast.said(events=[])[2]


def test_a_visit_that_began_before_goes_on() -> None:
    """It dwelt, and is too fast, before the fixes that are looked at: neither is told again."""
    both = {"visit": VisitRule(dwell_us=60 * SECOND, speed_limit_mps=13.9)}
    story = Story(fence=both).fixes_at([200, 0, 0]).fix("10:03", 0, speed_mps=22.0).fix("10:04", 0, speed_mps=23.0)
    fixes = sorted(story.fixes)
    later = {"shown": fixes[4:], "counted_before": fixes[3], "from_us": clock("10:04")}
    found = story.explain("10:04", **later, events=[], events_before=story.events)
    assert accords(found) == []
    assert any("at 23.0 m/s, which was told before, and no fix since was down to the" in said for said in answer(found))
    # Before it was told, it is told there.
    found = story.explain("10:04", **later, events=[], events_before=story.events[:1])
    assert [kind for kind, _ in accords(found)] == ["geofence_dwelt", "geofence_speeding"][1:]


def test_why_told_and_found_differ() -> None:
    story = Story().fixes_at([150, 150]).edit("10:05", 300).fix("10:06", 150)
    assert accords(story.explain()) == [("geofence_entered", Accord.AGREES)]
    said = story.said(events=[])
    assert said[1].startswith("10:01:00 entered by the stored fixes, but it was not told: the fence got another shape")
    assert said[1].endswith("which fixes came before the edit is known by clocks only.")
    # The first version is gone, and the second stands in for it.
    said = story.said(versions=story.versions[1:])
    assert said[0] == "At 2026-01-02 10:00:00 UTC truck-7 counted as inside “Port”."
    assert said[1].endswith(
        "The version of the fence that held then is no longer kept; another may have had another border."
    )
    assert said[-1] == (
        "What the fence was before version 2, stored 10:05:00, is no longer kept: that version is used for the time "
        "before as well."
    )


def test_where_it_begins() -> None:
    story = Story().fixes_at(VISIT)
    fixes = sorted(story.fixes)
    # The visit was told before the fixes that are looked at: it begins outside, or inside.
    later = {"shown": fixes[6:], "counted_before": fixes[5], "events": [], "from_us": clock("10:06")}
    out = story.explain("10:06", **later, events_before=story.events)
    assert (out.start_basis, out.steps[0].before.state, out.last_before) == (StartBasis.EVENT, 1, fixes[5])
    inside = {"shown": fixes[3:4], "counted_before": fixes[2], "events": [], "from_us": clock("10:03")}
    assert story.explain("10:03", **inside, events_before=story.events[:1]).steps[0].before.state == 3
    # No event at all: as the first stored fix says, silently.
    for metres, state in ((50, 3), (500, 1)):
        quiet = Story().fixes_at([metres, metres, metres])
        found = quiet.explain("10:02", shown=quiet.fixes[2:], counted_before=quiet.fixes[1])
        assert (found.start_basis, found.steps[0].before.state) == (StartBasis.FIRST_STORED_FIX, state)
    # The version that held then is gone: the oldest that is kept stands in for it.
    quiet = Story().fixes_at([50, 50, 50])
    versions = [quiet.versions[0]._replace(version=7, made_at_us=clock("12:00"))]
    found = quiet.explain("10:02", shown=quiet.fixes[2:], counted_before=quiet.fixes[1], versions=versions)
    assert (found.versions_missing, found.steps[0].before.state) == (True, 3)
    # An event withdrawn is none.
    withdrawn = TrackingEvent()
    withdrawn.CopyFrom(story.events[0])
    withdrawn.amends_event_id, withdrawn.event_id = withdrawn.event_id, "again"
    withdrawn.revision, withdrawn.standing = 1, Standing.STANDING_WITHDRAWN
    found = story.explain("10:03", **inside, events_before=[withdrawn, story.events[0]])
    assert found.start_basis is StartBasis.FIRST_STORED_FIX


def test_a_version_that_is_gone_is_missed_by_what_was_heard_first() -> None:
    """The oldest fix came last: it is not by its receipt that the time before the edit is known."""
    story = Story().fix("10:01", 50).edit("10:05", 120).fix("10:00", 50, came="10:06")
    found = story.explain(versions=story.versions[1:])
    assert found.versions_missing
    assert [step.version for step in found.steps if isinstance(step, FixStep)] == [2, 2]
    # Where only what settled the beginning was heard before it, nothing need be said.
    lead = {"lead": story.fixes[:1], "shown": story.fix("10:07", 50).fixes[-1:], "from_us": clock("10:07")}
    assert not story.explain(versions=story.versions[1:], **lead).versions_missing


def test_a_lead_settles_what_is_pending() -> None:
    story = Story({"exit_fixes": 3}).fixes_at([500, 50, 300, 300, 300])
    fixes = sorted(story.fixes)
    found = story.explain(
        "10:04", lead=fixes[2:4], shown=fixes[4:], counted_before=fixes[1], from_us=clock("10:04"),
        events=story.events[1:], events_before=story.events[:1],
    )  # fmt: skip
    assert [step.fix.observed_at_us for step in found.steps] == [clock("10:04")]
    assert accords(found) == [("geofence_exited", Accord.AGREES)]


def test_many_of_a_kind_are_summed_up() -> None:
    said = Story().fixes_at([50, *([150, 60] * 8)]).said("10:05")
    assert sum(each.startswith("No exit") for each in said) == 3
    assert "The same happened 5 times more." in said


def test_the_message_says_all_of_it() -> None:
    story = Story({"exit_margin_m": 5.0}).fixes_at(VISIT).fix("10:10", 0.0, 2000.0).edit("10:20", None)
    message = explanation_wire.to_proto(story.explain())
    assert (message.device_id, message.fence_id, message.fence_name) == ("truck-7", "port", "Port")
    assert list(message.answer) == story.said()
    assert len(message.fixes) == 8
    third = message.fixes[2]
    assert round(third.distance_m) == -50
    assert third.doubt_m == 5.0
    assert third.evidence == explanation_pb2.EVIDENCE_IN
    assert third.reason == explanation_pb2.EVIDENCE_REASON_INSIDE
    assert (third.state_before, third.state_after) == (
        explanation_pb2.PRESENCE_STATE_OUT,
        explanation_pb2.PRESENCE_STATE_IN,
    )
    assert third.event_kind == "geofence_entered"
    fifth = message.fixes[4]
    assert (fifth.pending_fixes, fifth.needed_fixes) == (1, 2)
    assert fifth.crossed_at_us == story.events[1].observed_at_us
    assert message.fixes[7].verdict == Verdict.IMPRECISE
    assert not message.fixes[7].HasField("crossed_at_us")
    assert [(each.version, each.deleted, each.made_meanwhile) for each in message.versions] == [
        (1, False, False),
        (2, True, True),
    ]
    assert (message.versions[0].crossing.exit_fixes, message.versions[0].crossing.exit_margin_m) == (2, 5.0)
    assert not message.versions[1].HasField("crossing")
    assert [list(each.revisions) for each in message.events] == [[each] for each in story.events]
    assert round(message.nearest.distance_m) == -80


def test_numbers_are_those_of_the_protos() -> None:
    for ours, theirs, prefix in (
        (Accord, explanation_pb2.Accord, "ACCORD"),
        (StartBasis, explanation_pb2.StartBasis, "START_BASIS"),
        (Reason, explanation_pb2.EvidenceReason, "EVIDENCE_REASON"),
        (Unseen, explanation_pb2.UnseenReason, "UNSEEN_REASON"),
    ):
        assert {f"{prefix}_{each.name}": each.value for each in ours} == dict(theirs.items())


def test_numbers_as_people_write_them() -> None:
    assert [wording.metres(value) for value in (0.04, 9.94, 9.96, 45.4, 9_999.0, 12_345.0)] == [
        "0.0 m", "9.9 m", "10 m", "45 m", "9999 m", "12.3 km",
    ]  # fmt: skip
    assert [wording.place(value) for value in (-45.0, 3.21, 0.0, 0.01)] == [
        "45 m inside", "3.2 m outside", "on the border, which is inside", "a few centimetres outside",
    ]  # fmt: skip
    assert [wording.ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 22, 103)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "103rd",
    ]  # fmt: skip
    assert wording.minutes(24 * 60 * SECOND) == "24 minutes"
    assert wording.minutes(3 * 3600 * SECOND) == "3 hours"
    assert wording.listed(list("abcde"), more=2) == "a, b, c and 4 more"


def test_what_happened_outside_the_windows_of_a_fence() -> None:
    office = ActiveTimes("UTC", (WeeklyWindow((1, 2, 3, 4, 5), 10 * 60 + 3, 10 * 60 + 6),))
    story = Story(fence={"active": office}).fixes_at([500, 200, 50, 20, 20, 20, 20, 300, 400])
    said = story.said("10:03")
    assert "Not told, as the fence was not active then: entered at 10:01:39, exited at 10:06:17." in said
    explained = story.explain()
    assert [each.accord for each in explained.events] == [Accord.AGREES]
    texts = [fix.text for fix in explanation_wire.to_proto(explained).fixes]
    assert texts[2].endswith("confirms the entry of 10:01:39, which is not told, as the fence was not active then")
    # By other windows it would have been, and the fence says so.
    story = Story(fence={"active": office}).fixes_at([50])
    story.fence["active"] = ALWAYS
    story.edit("10:01", 100.0).fix("10:02", 50)
    (event,) = story.explain().events
    assert event.accord == Accord.AGREES
    assert any("the active times of the fence were changed at 10:01:00 (version 2)" in each for each in story.said())
    story.fence["active"] = office
    story.edit("10:10", 20.0)
    assert any("is not told, as the fence was not active then" in each for each in story.said())
