"""Order of arrival does not matter inside the horizon: shuffled, repeated, cut anywhere, stopped anywhere."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofence.definition import CircleShape, FenceDefinition
from tests.tracking_core import naive
from tests.tracking_core.fleets import IDENTITIES, STEP_DEG, fences, routes
from tests.tracking_core.readings import HOUR_US, NAN, SECOND_US, START_US, Position, columns_of
from tracking_core.definitions import PutFence, PutRoute, Route
from tracking_core.engine import Engine
from tracking_core.events import CoreEvent, EventKind, Standing
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

NOW_US = START_US + HOUR_US
KEPT = 64
WIDE = EngineSettings(
    jump_slack_m=50.0,
    imprecise_m=100.0,
    repeated_within_us=30 * SECOND_US,
    kept_fixes=KEPT,
    signal_lost_after_us=25 * SECOND_US,
    stop_clear_m=1500.0,
    stop_after_us=15 * SECOND_US,
    trip_departs_m=1200.0,
    trip_closes_after_us=20 * SECOND_US,
    trip_silence_us=28 * SECOND_US,
)
NARROW = dataclasses.replace(WIDE, kept_fixes=4)

Key = tuple[int, int, int]
"""Device, time and content."""

places = st.tuples(st.integers(0, 4), st.integers(0, 4))
drawn_fences = st.tuples(st.lists(fences, min_size=1, max_size=5), st.lists(routes, max_size=3)).map(
    lambda drawn: [*drawn[0], *drawn[1]]
)
"""And routes past them, whose arrivals are waited for."""


@st.composite
def drives(draw: st.DrawFn, longest: int, *, has_history: bool = True) -> list[Position]:
    """Fixes of two devices in the order of time: a walk over a grid of places, with what receivers do to it. Some are
    sent again under another time; then the newest is no history, because what one brought to count that turned out to
    be a repetition goes on counting, where in order it would wait.
    """
    fixes: list[Position] = []
    is_numbered = draw(st.booleans())
    for device in (0, 2):
        at_s = 0
        for x, y in draw(st.lists(places, max_size=longest)):
            at_s += draw(st.sampled_from([0, 5, 10, 10, 10, 30]))
            at_us = START_US + at_s * SECOND_US
            if is_numbered and fixes and fixes[-1].device == device and draw(st.sampled_from([False, False, True])):
                fixes.append(_numbered(dataclasses.replace(fixes[-1], observed_at_us=at_us)))
                continue
            is_historical = has_history and draw(st.sampled_from([False] * 3 + [True]))
            far_deg = draw(st.sampled_from([0.0] * 12 + [3.0]))
            fix = Position(
                device,
                at_us,
                y * STEP_DEG + 1e-3,
                x * STEP_DEG + 1e-3 + far_deg,
                accuracy_m=draw(st.sampled_from([NAN, NAN, 30.0, 90.0, 150.0])),
                satellites=draw(st.sampled_from([-1] * 9 + [0])),
                is_historical=is_historical,
            )
            fixes.append(_numbered(fix) if is_numbered else fix)
        if is_numbered and has_history:
            fixes.append(Position(device, START_US + (at_s + 10) * SECOND_US, 2e-3, 2e-3))
    return sorted(fixes, key=lambda fix: fix.observed_at_us)


def _numbered(fix: Position) -> Position:
    """With a sequence, or none, that a fix of this time and content always has: of a repetition the first is kept."""
    elapsed_s = (fix.observed_at_us - START_US) // SECOND_US
    return dataclasses.replace(fix, sequence=(naive.content_number(fix) + elapsed_s // 70) % 4 - 1)


class Told:
    """An engine, and everything that it has told."""

    def __init__(self, rules: EngineSettings, drawn: Iterable = ()) -> None:
        self.rules = rules
        self.engine = Engine(rules)
        self.engine.announce(IDENTITIES)
        self.events: list[CoreEvent] = []
        for version, each in enumerate(drawn, 1):
            self.events += self.engine.define(put(each, version), START_US).events
        self.now_us = NOW_US
        self.verdicts: dict[Key, int] = {}

    def take(self, fixes: Sequence[Position]) -> Told:
        result = self.engine.step(columns_of(fixes), self.now_us)
        self.events += result.events
        for fix, verdict in zip(fixes, result.position_verdicts.tolist(), strict=True):
            if verdict != Verdict.DUPLICATE:
                self.verdicts[key_of(fix)] = verdict
        changes = result.verdict_changes
        for device, at_us, content, _, _, before, after in zip(*(c.tolist() for c in changes), strict=True):
            assert self.verdicts[device, at_us, content] == before
            self.verdicts[device, at_us, content] = after
        return self

    def wait(self, seconds: int) -> Told:
        """Until then nothing is heard."""
        self.now_us += seconds * SECOND_US
        self.events += self.engine.tick(self.now_us).events
        return self

    def restart(self) -> None:
        self.engine = Engine.restore(self.engine.snapshot(), self.rules)

    @property
    def standing(self) -> list[CoreEvent]:
        """What stands, whatever brought it about."""
        return [naive.meaning(event) for event in naive.standing(self.events)]

    def inside(self) -> list[list[str]]:
        return [self.engine.inside(identity.number) for identity in IDENTITIES]

    def newest(self) -> list[list[float]]:
        latest = self.engine.latest()
        return [getattr(latest, name).tolist() for name in ("device", "observed_at_us", "latitude_deg", "accuracy_m")]


def put(drawn: FenceDefinition | Route, version: int) -> PutFence | PutRoute:
    """The edit that puts it, as this version."""
    versioned = dataclasses.replace(drawn, version=version)
    return PutFence(versioned) if isinstance(versioned, FenceDefinition) else PutRoute(versioned)


def key_of(fix: Position) -> Key:
    """A fix by what it says."""
    return fix.device, fix.observed_at_us, naive.content_number(fix)


def in_order(fix: Position) -> tuple[int, int]:
    """The order in which fixes are folded."""
    return fix.observed_at_us, naive.content_number(fix)


def deliver(told: Told, arriving: Sequence[Position], choose: random.Random) -> Told:
    """In batches cut anywhere, with repetitions of what came before, and restarts."""
    batch: list[Position] = []
    for number, fix in enumerate(arriving):
        batch.append(fix)
        if choose.random() < 0.1:
            batch.append(arriving[choose.randint(0, number)])
        if choose.random() < 0.3:
            told.take(batch)
            batch = []
        if choose.random() < 0.05:
            told.restart()
        if choose.random() < 0.1:
            told.wait(choose.choice([5, 20, 60]))
    return told.take(batch)


def assert_alike(shuffled: Told, ordered: Told) -> None:
    for told in (shuffled, ordered):
        told.wait(HOUR_US // SECOND_US)
    assert str(shuffled.standing) == str(ordered.standing)
    assert shuffled.verdicts == ordered.verdicts
    assert shuffled.inside() == ordered.inside()
    assert str(shuffled.newest()) == str(ordered.newest())
    ids = [event.event_id for event in shuffled.events]
    assert len(set(ids)) == len(ids)


@pytest.mark.compiled
@settings(max_examples=150, deadline=None)
@given(drives(KEPT // 2), drawn_fences, st.randoms(use_true_random=False))
def test_any_order_of_arrival_ends_alike(fixes: list[Position], drawn: list, choose: random.Random) -> None:
    ordered = Told(WIDE, drawn).take(fixes)
    arriving = fixes.copy()
    choose.shuffle(arriving)
    assert_alike(deliver(Told(WIDE, drawn), arriving, choose), ordered)


def test_a_trip_that_began_elsewhere_after_all_is_amended_where_it_ended_too() -> None:
    """Of two fixes of one time the first by content comes last, after the end of the trip was told."""
    places = [(10, 0.011, 0.021), (10, 0.011, 0.001), (20, 0.001, 0.011), (30, 0.001, 0.001)]
    fixes = sorted((Position(0, START_US + at * SECOND_US, y, x, accuracy_m=30.0) for at, y, x in places), key=in_order)
    shuffled = Told(WIDE).take(fixes[1:]).wait(60)
    assert EventKind.TRIP_ENDED in {event.kind for event in shuffled.standing}
    assert_alike(shuffled.take(fixes[:1]), Told(WIDE).take(fixes))


def test_a_silence_that_turns_out_to_be_a_stop_is_amended() -> None:
    """At the same place and moment: only why the trip ended is another reason."""
    way = [(0, 0.0), (10, 0.01), (20, 0.02), (22, 0.1), (24, 0.1)]
    fixes = [Position(0, START_US + at * SECOND_US, 0.001, x) for at, x in (*way, (38, 0.1), (52, 0.1))]
    told = Told(WIDE).take([*fixes[:-2], fixes[-1]])
    assert [event.details.by_silence for event in told.standing if event.kind == EventKind.TRIP_ENDED] == [True]
    told.take(fixes[-2:-1])
    assert [event.details.by_silence for event in told.standing if event.kind == EventKind.TRIP_ENDED] == [False]
    assert_alike(told, Told(WIDE).take(fixes))


def test_a_late_fix_on_the_straight_way_amends_nothing() -> None:
    """The same crossing, reckoned from another fix: the digits in which it differs are nobody's."""
    fence = FenceDefinition("west", "yard", "Yard", CircleShape(0.05, 0.02, 1000.0))
    for part in (1, 23, 55):
        way = [Position(0, START_US + at * SECOND_US, 0.02 + 1e-5 * at, 0.03 + 2e-4 * at) for at in (0, part, 59)]
        told = Told(WIDE, [fence]).take([way[0], way[2]])
        assert [event.kind for event in told.events].count(EventKind.GEOFENCE_ENTERED) == 1
        told.take(way[1:2])
        assert not [event for event in told.events if event.revision and event.subject_id]
        assert_alike(told, Told(WIDE, [fence]).take(way))


@pytest.mark.compiled
@settings(max_examples=60, deadline=None)
@given(drives(60, has_history=False), drawn_fences, st.randoms(use_true_random=False))
def test_a_moving_horizon_is_enough(fixes: list[Position], drawn: list, choose: random.Random) -> None:
    """Shuffled within as many fixes as are kept, over a drive of many more: what is let go of was complete. So is every
    set of fixes with one sequence.
    """
    arriving: list[Position] = []
    numbered: list[Position] = []
    for device in (0, 2):
        own = sorted((fix for fix in fixes if fix.device == device), key=in_order)
        for start in range(0, len(own), NARROW.kept_fixes):
            part = [dataclasses.replace(fix, sequence=start) for fix in own[start : start + NARROW.kept_fixes]]
            numbered += part
            choose.shuffle(part)
            arriving += part
    # Repetitions come at once here: later they would be too old to be known.
    shuffled = Told(NARROW, drawn)
    for fix in arriving:
        shuffled.take([fix, fix] if choose.random() < 0.2 else [fix])
        if choose.random() < 0.1:
            shuffled.restart()
        if choose.random() < 0.1:
            shuffled.wait(choose.choice([5, 20, 60]))
    assert_alike(shuffled, Told(NARROW, drawn).take(sorted(numbered, key=in_order)))


@settings(max_examples=60, deadline=None)
@given(drives(KEPT // 2), drawn_fences, st.integers(1, 30), st.randoms(use_true_random=False))
def test_a_burst_newest_first(fixes: list[Position], drawn: list, silent: int, choose: random.Random) -> None:
    """Coverage is lost; then comes the newest fix, and the backlog behind it, backwards or forwards."""
    lost, rest = fixes[-silent - 1 : -1], fixes[: -silent - 1]
    if choose.random() < 0.5:
        lost = lost[::-1]
    shuffled = deliver(Told(WIDE, drawn), [*rest, *fixes[-1:], *lost], choose)
    assert_alike(shuffled, Told(WIDE, drawn).take(fixes))


@settings(max_examples=30, deadline=None)
@given(drives(20), drawn_fences, st.randoms(use_true_random=False))
def test_it_ends_as_the_oracle_says_of_the_ordered_stream(
    fixes: list[Position], drawn: list, choose: random.Random
) -> None:
    oracle = naive.NaiveEngine(WIDE)
    oracle.announce(IDENTITIES)
    expected = [event for version, each in enumerate(drawn, 1) for event in oracle.define(put(each, version), START_US)]
    expected += [event for fix in fixes for event in oracle.read(fix, NOW_US)[1]] + oracle.tick(NOW_US + HOUR_US)
    arriving = fixes.copy()
    choose.shuffle(arriving)
    shuffled = deliver(Told(WIDE, drawn), arriving, choose)
    ordered = [naive.meaning(event) for event in naive.standing(expected)]
    assert naive.differences(ordered, shuffled.wait(HOUR_US // SECOND_US).standing) == []


@settings(max_examples=60, deadline=None)
@given(drives(KEPT // 2), drawn_fences)
@example([], [])
def test_what_comes_in_order_is_never_corrected(fixes: list[Position], drawn: list) -> None:
    told = Told(WIDE, drawn).take([fix for fix in fixes if fix.device == 0])
    # Two fixes of one time have no order: the second may be the one that counts.
    if len({fix.observed_at_us for fix in fixes if fix.device == 0}) == sum(fix.device == 0 for fix in fixes):
        # Of an hour's backlog of a device that was never heard of, an arrival that was due counted as missed before.
        rest = [event for event in told.events if event.kind != EventKind.MISSED_ARRIVAL]
        assert {event.revision for event in rest} <= {0}
        assert {event.standing for event in rest} <= {Standing.TOLD}
