from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofence.compiled import NO_TIME
from geofence.containment import contains_one
from geofence.crossing import crossing_fraction
from geofence.definition import CrossingRule
from geofence.distance import signed_distance_m
from geofence.fence_set import FenceSet
from geofence.transitions import (
    ENTERED,
    EXITED,
    IN,
    INSIDE,
    NEVER_SEEN,
    NO_EVENT,
    OUT,
    OUTSIDE,
    PENDING_IN,
    PENDING_OUT,
    SAYS_NOTHING,
    SPEAKS_IN,
    SPEAKS_OUT,
    UNKNOWN,
    Crossing,
    Fix,
    evidence,
    observe,
    passes_boundary,
    update,
)
from tests.geofence.naive import Machine, polygon

NO_FIX = Fix(NO_TIME, math.nan, math.nan, math.nan)
STATES = {"unknown": UNKNOWN, "in": IN, "out": OUT}


@pytest.mark.parametrize(
    ("distance_m", "accuracy_m", "margin_m", "cap_m", "expected"),
    [
        (-5, 10, 0, 50, SPEAKS_IN),
        (0, 1000, 0, 50, SPEAKS_IN),
        (5, 10, 0, 50, SAYS_NOTHING),
        (10, 10, 0, 50, SAYS_NOTHING),
        (10.1, 10, 0, 50, SPEAKS_OUT),
        (51, 1000, 0, 50, SPEAKS_OUT),
        (51, 1000, 1, 50, SAYS_NOTHING),
        (5, math.nan, 0, 50, SPEAKS_OUT),
        (5, 0, 5, 50, SAYS_NOTHING),
        (5.1, math.nan, 5, 50, SPEAKS_OUT),
        (math.inf, 10, 0, 50, SPEAKS_OUT),
        (math.nan, 10, 0, 50, SAYS_NOTHING),
    ],
)
def test_evidence(distance_m, accuracy_m, margin_m, cap_m, expected):
    assert evidence(float(distance_m), float(accuracy_m), float(margin_m), float(cap_m)) == expected


def run(says, rule=None, start=NEVER_SEEN, step_us=10):
    """Feeds evidence a step apart; `says` is a word of i, o, or n (nothing, outside). Returns states and events."""
    rule = rule or CrossingRule()
    presence = start
    states, events = "", []
    letters = {UNKNOWN: "?", OUT: "o", PENDING_IN: "+", IN: "i", PENDING_OUT: "-"}
    for place, letter in enumerate(says):
        at_us = place * step_us
        speaks = {"i": SPEAKS_IN, "o": SPEAKS_OUT, "n": SAYS_NOTHING}[letter]
        presence, event, dated = update(
            presence,
            speaks,
            letter == "i",
            at_us,
            Crossing(at_us - 5, float(place), 0.0),
            rule.enter_fixes,
            rule.exit_fixes,
            NO_TIME if rule.confirm_after_us is None else rule.confirm_after_us,
        )
        states += letters[presence.state]
        if event != NO_EVENT:
            events.append(({ENTERED: "enter", EXITED: "exit"}[event], dated.at_us, at_us))
    return states, events


@pytest.mark.parametrize(
    ("says", "rule", "states", "events"),
    [
        ("i", {}, "i", []),
        ("o", {}, "o", []),
        ("nni", {}, "??i", []),
        ("oi", {}, "oi", [("enter", 5, 10)]),
        ("ioo", {}, "i-o", [("exit", 5, 20)]),
        ("ioi", {}, "i-i", []),
        ("ioioo", {}, "i-i-o", [("exit", 25, 40)]),
        ("ionno", {}, "i---o", [("exit", 5, 40)]),
        ("innoo", {}, "iii-o", [("exit", 5, 40)]),
        ("inioo", {}, "iii-o", [("exit", 25, 40)]),
        ("oiioi", {"enter_fixes": 2}, "o+i-i", [("enter", 5, 20)]),
        ("oioii", {"enter_fixes": 2}, "o+o+i", [("enter", 25, 40)]),
        ("onni", {}, "oooi", [("enter", 25, 30)]),
        ("ioooo", {"exit_fixes": 5, "confirm_after_us": 20}, "i--oo", [("exit", 5, 30)]),
        ("ionoo", {"exit_fixes": 9, "confirm_after_us": 30}, "i---o", [("exit", 5, 40)]),
        ("io", {"exit_fixes": 1}, "io", [("exit", 5, 10)]),
        ("oi", {"enter_fixes": 2, "confirm_after_us": 1}, "o+", []),
        ("ioioioioi", {}, "i-i-i-i-i", []),
    ],
)
def test_machine(says, rule, states, events):
    assert run(says, CrossingRule(**rule)) == (states, events)


def test_nothing_is_left_behind_after_an_event():
    presence, event, _ = update(OUTSIDE, SPEAKS_IN, True, 5, Crossing(3, 0.0, 0.0), 1, 2, NO_TIME)
    assert event == ENTERED
    assert presence.state == INSIDE.state
    assert presence.crossed_at_us == INSIDE.crossed_at_us == NO_TIME
    assert passes_boundary(presence, False)
    assert not passes_boundary(presence, True)
    assert passes_boundary(OUTSIDE, True)
    assert not passes_boundary(NEVER_SEEN, True)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 40),
            st.sampled_from([-30.0, -1.0, 0.0, 1.0, 9.0, 30.0, 90.0]),
            st.sampled_from([0.0, 5.0, 80.0]),
        ),
        max_size=30,
    ),
    st.integers(1, 3),
    st.integers(1, 3),
    st.none() | st.integers(1, 60),
    st.sampled_from([0.0, 10.0]),
    st.sampled_from([0.0, 20.0, 50.0]),
)
@example([(1, -1.0, 0.0), (1, 9.0, 80.0), (1, 90.0, 5.0), (1, 90.0, 5.0)], 1, 2, None, 0.0, 50.0)
@example([(1, 9.0, 80.0), (1, 9.0, 80.0), (1, -1.0, 0.0)], 1, 1, None, 0.0, 50.0)
def test_machine_is_the_naive_one(steps, enter_fixes, exit_fixes, confirm_after_us, exit_margin_m, accuracy_cap_m):
    machine = Machine(enter_fixes, exit_fixes, confirm_after_us, exit_margin_m, accuracy_cap_m)
    presence = NEVER_SEEN
    at_us = 0
    for place, (step_us, distance_m, accuracy_m) in enumerate(steps):
        at_us += step_us
        presence, event, dated = update(
            presence,
            evidence(distance_m, accuracy_m, exit_margin_m, accuracy_cap_m),
            distance_m <= 0.0,
            at_us,
            # Where a leg crosses is told by its later fix.
            Crossing(place, 0.0, 0.0),
            enter_fixes,
            exit_fixes,
            NO_TIME if confirm_after_us is None else confirm_after_us,
        )
        seen = machine.see(at_us, distance_m, accuracy_m)
        assert (seen is None) == (event == NO_EVENT)
        if seen is not None:
            name, first, confirming = seen
            assert {ENTERED: "entered", EXITED: "exited"}[event] == name
            assert dated.at_us == first
            assert confirming == place
        settled = {PENDING_IN: OUT, PENDING_OUT: IN}.get(presence.state, presence.state)
        assert settled == STATES[machine.state]


ROUND_TRIP = [(-3.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (3.0, 1.0), (5.0, 1.0), (7.0, 1.0), (3.0, 1.0)]


def drive(fences: FenceSet, path, accuracy_m=5.0, start=NEVER_SEEN, step_us=1000):
    presence, before, events = start, NO_FIX, []
    for place, (x, y) in enumerate(path):
        fix = Fix(place * step_us, y, x, accuracy_m)
        presence, event, crossing = observe(fences.compiled, 0, presence, before, fix)
        if event != NO_EVENT:
            events.append((event, crossing.at_us, round(crossing.longitude_deg, 9), fix.observed_at_us))
        before = fix
    return presence, events


def square(**rule):
    fences = FenceSet()
    fences.put(polygon("only", [(0, 0), (4, 0), (4, 4), (0, 4)], crossing=CrossingRule(**rule)))
    return fences


def test_a_drive_through_a_square_is_dated_at_the_border():
    presence, events = drive(square(), ROUND_TRIP)
    assert events == [(ENTERED, 1500, 0.0, 2000), (EXITED, 3500, 4.0, 5000), (ENTERED, 5750, 4.0, 6000)]
    assert presence == pytest.approx(INSIDE, nan_ok=True)


def test_an_exit_margin_asks_for_distance():
    # Half a degree outside is some 55 km.
    _, events = drive(
        square(exit_margin_m=60_000.0), [(3.0, 1.0), (4.5, 1.0), (4.5, 1.0), (4.5, 1.0), (5.0, 1.0), (5.0, 1.0)]
    )
    assert events == [(EXITED, 667, 4.0, 5000)]


def test_poor_accuracy_does_not_speak_for_an_exit():
    near = [(3.9999, 1.0), (4.0001, 1.0), (4.0002, 1.0), (4.0003, 1.0)]
    assert drive(square(), near, accuracy_m=45.0)[1] == []
    assert drive(square(), near, accuracy_m=math.nan)[1] == [(EXITED, 500, 4.0, 2000)]
    assert drive(square(accuracy_cap_m=5.0), near, accuracy_m=45.0)[1] == [(EXITED, 500, 4.0, 2000)]


def test_without_a_fix_before_the_crossing_is_the_fix():
    fences = square()
    _, event, crossing = observe(fences.compiled, 0, OUTSIDE, NO_FIX, Fix(7, 1.0, 1.0, 5.0))
    assert event == ENTERED
    assert crossing == Crossing(7, 1.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1, 5), st.floats(-1, 5), st.sampled_from([math.nan, 10.0, 1e5])), min_size=1, max_size=20
    ),
    st.integers(1, 2),
    st.integers(1, 3),
    st.sampled_from([0.0, 20_000.0]),
)
def test_observe_is_the_naive_machine_on_true_distances(fixes, enter_fixes, exit_fixes, exit_margin_m):
    fences = square(
        enter_fixes=enter_fixes, exit_fixes=exit_fixes, exit_margin_m=exit_margin_m, accuracy_cap_m=30_000.0
    )
    machine = Machine(enter_fixes, exit_fixes, None, exit_margin_m, 30_000.0)
    presence, before = NEVER_SEEN, NO_FIX
    positions = []
    for place, (x, y, accuracy_m) in enumerate(fixes):
        positions.append((x, y))
        distance_m = signed_distance_m(fences.compiled, 0, x, y)
        assert (distance_m <= 0) == contains_one(fences.compiled, 0, x, y)
        seen = machine.see(place * 1000, distance_m, 0.0 if math.isnan(accuracy_m) else accuracy_m)
        presence, event, crossing = observe(fences.compiled, 0, presence, before, Fix(place * 1000, y, x, accuracy_m))
        assert (seen is None) == (event == NO_EVENT)
        if seen is not None:
            _, first, _ = seen
            fraction = crossing_fraction(fences.compiled, 0, *positions[first - 1], *positions[first])
            assert crossing.at_us == round((first - 1 + fraction) * 1000)
            where = np.array(positions[first - 1]) * (1 - fraction) + np.array(positions[first]) * fraction
            assert (crossing.longitude_deg, crossing.latitude_deg) == pytest.approx(tuple(where), abs=1e-9)
        before = Fix(place * 1000, y, x, accuracy_m)
