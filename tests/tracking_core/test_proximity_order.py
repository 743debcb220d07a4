"""Fixes of two devices in two partitions: whatever the order in which they come, the same meetings stand."""

from __future__ import annotations

import dataclasses
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking_core.naive_pairs import NaiveEvent, alike, meetings
from tests.tracking_core.pairs import PAIR, QUIET, TRAILER, TRUCK, Herd, at
from tests.tracking_core.readings import Position
from tracking_core.definitions import Proximity, PutProximity
from tracking_core.events import EventKind, Meeting, Parting

MANY = settings(max_examples=120, deadline=None)

# Rather not exactly at the distance, where the last digit decides.
east_m = st.sampled_from([0.0, 40.0, 99.0, 104.0, 107.0, 130.0, 400.0, 1200.0])


@st.composite
def walks(draw: st.DrawFn, longest: int = 14) -> list[Position]:
    """Fixes of both in the order of time, now and then one that no vehicle reaches."""
    fixes = []
    for device in (TRUCK, TRAILER):
        second = draw(st.integers(0, 20))
        for place_m in draw(st.lists(east_m, max_size=longest)):
            second += draw(st.sampled_from([0, 1, 5, 10, 10, 13, 30, 70, 200]))
            far_m = draw(st.sampled_from([0.0] * 15 + [300_000.0]))
            fixes.append(at(device, second, place_m + far_m, 7.0 * device))
    return sorted(fixes, key=lambda fix: (fix.observed_at_us, fix.device))


@st.composite
def rules(draw: st.DrawFn) -> Proximity:
    return dataclasses.replace(
        PAIR,
        margin_m=draw(st.sampled_from([0.0, 10.0])),
        max_age_us=draw(st.sampled_from([20, 60, 300])) * 1_000_000,
        minimum_duration_us=draw(st.sampled_from([0, 0, 25])) * 1_000_000,
        near_fixes=draw(st.integers(1, 2)),
        apart_fixes=draw(st.integers(1, 3)),
    )


def told(herd: Herd) -> list[NaiveEvent]:
    return [
        NaiveEvent(
            event.kind == EventKind.DEVICES_MET,
            event.observed_at_us,
            event.confirmed_at_us,
            event.details.distance_m if isinstance(event.details, Meeting | Parting) else 0.0,
            event.details.met_at_us if isinstance(event.details, Parting) else None,
        )
        for event in herd.standing
    ]


def counted(herd: Herd) -> list[list[tuple[int, float, float]]]:
    """What the tracks have in the end."""
    (pair,) = herd.engines[TRUCK]._state.pairs
    return [list(zip(*(column.tolist() for column in track.columns), strict=True)) for track in pair.tracks]


@MANY
@given(walks(), rules())
def test_the_engine_tells_what_the_oracle_tells(fixes, rule):
    herd = Herd().put(rule).drive(*fixes)
    first, second = counted(herd)
    # A microsecond for rounding, and what a plane makes of a hundred metres.
    assert alike(told(herd), meetings(first, second, rule, QUIET.cross_within_us), 2_000)


@MANY
@given(walks(), rules(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(fixes, rule, rng: random.Random):
    ordered = Herd().put(rule).drive(*fixes)
    shuffled = Herd().put(rule)
    rest = fixes + rng.sample(fixes, len(fixes) // 4)
    rng.shuffle(rest)
    while rest:
        size = rng.randint(1, 5)
        batch, rest = rest[:size], rest[size:]
        shuffled.send(batch)
        if rng.random() < 0.6:
            shuffled.hear(rng.randint(1, 3))
        if rng.random() < 0.2:
            shuffled.restart(rng.randint(0, 1))
    shuffled.hear()
    assert counted(shuffled) == counted(ordered)
    assert shuffled.standing == ordered.standing


@MANY
@given(walks(), st.integers(0, 20), rules(), st.randoms(use_true_random=False))
def test_nor_does_it_after_a_definition_among_them(fixes, known, rule, rng: random.Random):
    before, after = fixes[:known], fixes[known:]
    ordered = Herd().drive(*before).put(rule).drive(*after)
    shuffled = Herd().drive(*before).define(PutProximity(rule))
    rng.shuffle(after)
    for fix in after:
        shuffled.send([fix])
        if rng.random() < 0.3:
            shuffled.hear(rng.randint(1, 3))
    shuffled.hear()
    assert shuffled.standing == ordered.standing
    if before:
        assert all(event.confirmed_at_us >= before[-1].observed_at_us for event in ordered.standing)


@MANY
@given(walks(), rules(), st.randoms(use_true_random=False))
def test_every_name_is_given_once_and_every_correction_is_of_something_told(fixes, rule, rng: random.Random):
    herd = Herd().put(rule)
    rng.shuffle(fixes)
    herd.drive(*fixes)
    assert len({event.event_id for event in herd.events}) == len(herd.events)
    revisions: dict[str, int] = {}
    for event in herd.events:
        name = event.amends_event_id or event.event_id
        assert event.revision == revisions.get(name, -1) + 1
        revisions[name] = event.revision


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(east_m, east_m), max_size=30))
def test_a_short_memory_forgets_nothing_that_counts_in_order(places):
    short, long = Herd(dataclasses.replace(QUIET, kept_places=3)).put(PAIR), Herd().put(PAIR)
    for turn, both in enumerate(places):
        for device, place_m in enumerate(both):
            # No faster than a vehicle: a verdict that changes may reach back farther than three fixes.
            for herd in (short, long):
                herd.drive(at(device, 20 * turn + 7 * device, place_m))
    assert short.events == long.events
    (pair,) = short.engines[TRUCK]._state.pairs
    assert max(map(len, pair.tracks)) <= 3
