"""What is told of two devices, literally."""

from __future__ import annotations

import dataclasses

import pytest

from tests.tracking_core.pairs import PAIR, QUIET, TENANT, TRAILER, TRUCK, Herd, at
from tests.tracking_core.readings import NAN, START_US
from tracking_core.definitions import DeleteProximity, InvalidDefinitionError, Proximity, PutProximity
from tracking_core.events import Cause, EventKind, Meeting, Parting, Standing

MET, PARTED = EventKind.DEVICES_MET, EventKind.DEVICES_PARTED


def test_a_truck_meets_its_trailer_and_leaves_it():
    herd = Herd().put(PAIR)
    for second in range(0, 100, 10):
        # From 1000 m off to the trailer at 200 m, and away again.
        east_m = 1000 - 20 * second if second <= 40 else 200 + 20 * (second - 40)
        herd.drive(at(TRAILER, second, 200), at(TRUCK, second, east_m))
    met, parted = herd.events
    assert (met.kind, met.device_id, met.details) == (
        MET, "truck", Meeting("Coupled", TRAILER, "trailer", pytest.approx(0, abs=1e-6))
    )  # fmt: skip
    # At 300 m, between the fixes at 400 and 200.
    assert (met.observed_at_us - START_US) / 1e6 == pytest.approx(35.0, abs=1e-3)
    assert met.longitude_deg == pytest.approx(at(TRUCK, 0, 300).longitude_deg, abs=1e-9)
    assert (met.confirmed_at_us, met.cause, met.assumed) == (START_US + 40_000_000, Cause.MOVEMENT, False)
    assert parted.kind == PARTED
    assert (parted.observed_at_us - START_US) / 1e6 == pytest.approx(45.0, abs=1e-3)
    assert parted.confirmed_at_us == START_US + 60_000_000
    assert isinstance(parted.details, Parting)
    assert parted.details.met_at_us == met.observed_at_us
    assert len({met.event_id, parted.event_id}) == 2


def test_places_between_fixes_are_compared():
    # Side by side at 25 m/s, seen by turns, half a minute apart: never farther than 20 m.
    herd = Herd().put(PAIR)
    for second in range(0, 600, 30):
        herd.drive(at(TRUCK, second, 25 * second), at(TRAILER, second + 15, 25 * (second + 15), 20))
    assert herd.events == []


def test_one_who_follows_at_a_distance_does_not_meet_where_the_first_was():
    herd = Herd().put(PAIR)
    for second in range(0, 600, 30):
        herd.drive(at(TRUCK, second, 25 * second), at(TRAILER, second + 20, 25 * (second + 20) - 500))
    assert herd.events == []


def test_one_that_stands_is_met_before_it_is_heard_of_again():
    herd = Herd().put(PAIR)
    herd.drive(at(TRAILER, -60, 0), at(TRAILER, 0, 0), at(TRUCK, 0, 1000), at(TRUCK, 60, 500), at(TRUCK, 120, 0))
    (met,) = herd.events
    assert (met.kind, met.assumed, met.confirmed_at_us) == (MET, True, START_US + 120_000_000)
    # It stood there: nothing to correct.
    assert herd.drive(at(TRAILER, 180, 0)).events == [met]


def test_a_meeting_with_one_that_was_not_there_is_withdrawn():
    herd = Herd().put(PAIR)
    herd.drive(at(TRAILER, -60, 0), at(TRAILER, 0, 0), at(TRUCK, 0, 1000), at(TRUCK, 60, 500), at(TRUCK, 100, 0))
    herd.drive(at(TRAILER, 120, 2400))
    met, gone = herd.events
    assert (gone.standing, gone.revision, gone.amends_event_id) == (Standing.WITHDRAWN, 1, met.event_id)
    assert herd.standing == []


def test_the_silence_of_one_never_parts():
    herd = Herd().put(PAIR)
    herd.drive(*(at(device, second, 0) for second in (0, 10, 20) for device in (TRAILER, TRUCK)))
    herd.drive(*(at(TRUCK, second, 20 * (second - 20)) for second in range(30, 1000, 10)))
    assert herd.events == []
    # The trailer is heard of, and was left behind.
    herd.drive(at(TRAILER, 1000, 0), at(TRUCK, 1010, 20_000), at(TRAILER, 1005, 0))
    (parted,) = herd.events
    assert parted.kind == PARTED


def test_within_the_margin_nothing_is_said():
    herd = Herd().put(PAIR)
    for second, east_m in enumerate((0, 50, 105, 95, 108, 109, 99, 109)):
        herd.drive(at(TRAILER, second, 0), at(TRUCK, second, east_m))
    assert herd.events == []
    # The distance was passed between 99 and 109, long before the margin was.
    herd.drive(*(at(device, second, 60 * device if device else 500) for second in (20, 21) for device in (1, 0)))
    (parted,) = herd.events
    assert (parted.observed_at_us - START_US) / 1e6 == pytest.approx(6.1, abs=0.01)


def test_a_nearness_must_last_if_it_is_to():
    herd = Herd().put(dataclasses.replace(PAIR, minimum_duration_us=30_000_000))
    for second in range(0, 100, 10):
        near = second == 20 or second >= 50
        herd.drive(at(TRAILER, second, 0), at(TRUCK, second, 0 if near else 300))
    (met,) = herd.events
    assert met.confirmed_at_us == START_US + 80_000_000
    assert 40 < (met.observed_at_us - START_US) / 1e6 < 50


def test_two_that_are_together_when_it_is_defined_are_so_silently():
    herd = Herd().drive(at(TRAILER, 0, 0), at(TRUCK, 5, 0)).put(PAIR)
    herd.drive(at(TRAILER, 10, 0), at(TRUCK, 15, 0))
    assert herd.events == []
    herd.drive(*(at(device, second, 2000 * device) for second in (60, 70) for device in (TRAILER, TRUCK)))
    (parted,) = herd.events
    assert isinstance(parted.details, Parting)
    assert parted.details.met_at_us is None


def test_what_was_before_the_definition_is_not_gone_into():
    herd = Herd().drive(at(TRAILER, 100, 0), at(TRUCK, 100, 0)).put(PAIR)
    herd.drive(at(TRUCK, 50, 2000), at(TRAILER, 50, 0), at(TRUCK, 110, 0), at(TRAILER, 110, 0))
    assert herd.events == []


def test_a_beginning_that_turns_out_to_be_a_jump_begins_nothing():
    # 300 km off, counted as nothing else was known; with an earlier fix it is a jump.
    herd = Herd().drive(at(TRUCK, 100, 300_000), at(TRAILER, 100, 0)).put(PAIR).drive(at(TRUCK, 50, 0))
    for second in (110, 120, 130):
        herd.drive(at(TRUCK, second, 0), at(TRAILER, second, 0))
    assert herd.events == []
    (pair,) = herd.engines[TRUCK]._state.pairs
    assert pair.stance.near


def test_an_edit_states_with_cause_definition_and_a_deletion_parts():
    herd = Herd().put(PAIR).drive(at(TRAILER, 0, 0), at(TRUCK, 0, 500), at(TRAILER, 10, 0), at(TRUCK, 10, 500))
    herd.put(dataclasses.replace(PAIR, distance_m=1000.0, version=2))
    (met,) = herd.events
    assert (met.kind, met.cause, met.subject_version) == (MET, Cause.DEFINITION, 2)
    herd.put(dataclasses.replace(PAIR, distance_m=10.0, version=2))
    assert len(herd.events) == 1
    herd.define(DeleteProximity(TENANT, "coupled", 3)).hear()
    parted = herd.events[1]
    assert (parted.kind, parted.cause) == (PARTED, Cause.DEFINITION)
    herd.drive(at(TRAILER, 20, 0), at(TRUCK, 20, 0))
    assert len(herd.events) == 2
    assert all(not engine.define(PutProximity(PAIR), herd.now_us).events for engine in herd.engines)


def test_other_devices_in_an_edit_are_another_pair():
    herd = Herd().put(PAIR).drive(at(TRUCK, 0, 0), at(TRAILER, 0, 0), at(3, 0, 5000))
    herd.put(Proximity(TENANT, "coupled", 3, "cart", TRUCK, "truck", 100.0, version=2))
    (parted,) = herd.events
    assert (parted.kind, parted.device_id, parted.subject_version) == (PARTED, "truck", 1)
    herd.drive(at(TRUCK, 10, 5000), at(3, 10, 5000), at(TRUCK, 20, 5000), at(3, 20, 5000))
    assert [(event.device_id, event.kind) for event in herd.events[1:]] == [("cart", MET)]


def test_a_fix_that_turns_out_to_be_a_jump_is_taken_back():
    herd = Herd().put(PAIR)
    herd.drive(at(TRAILER, 0, 0), at(TRAILER, 10, 0), at(TRAILER, 20, 0), at(TRAILER, 30, 0))
    # A fix 100 km off counts as the first; the next two show that it does not.
    herd.drive(at(TRUCK, 0, 50), at(TRUCK, 10, 50), at(TRUCK, 20, 100_000), at(TRUCK, 30, 50))
    assert herd.standing == []


def test_a_late_fix_amends_when_they_met():
    herd = Herd().put(PAIR)
    herd.drive(*(at(TRAILER, second, 0) for second in range(0, 70, 10)))
    herd.drive(at(TRUCK, 0, 1000), at(TRUCK, 60, 0))
    herd.drive(at(TRUCK, 20, 0))
    met, amended = herd.events
    assert (amended.standing, amended.revision, amended.cause) == (Standing.AMENDED, 1, Cause.LATE_DATA)
    assert amended.amends_event_id == met.event_id
    assert amended.told_at_us == met.observed_at_us > amended.observed_at_us


def test_across_the_antimeridian():
    herd = Herd().put(PAIR)
    for second in range(0, 50, 10):
        west = dataclasses.replace(at(TRAILER, second, 0), longitude_deg=-179.9999)
        east = dataclasses.replace(at(TRUCK, second, 0), longitude_deg=179.9999 - 0.002 * (40 - second) / 10)
        herd.drive(west, east)
    (met,) = herd.events
    assert isinstance(met.details, Meeting)
    assert met.details.distance_m == pytest.approx(22.26, abs=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"other_device": TRUCK},
        {"distance_m": 0.0},
        {"distance_m": NAN},
        {"margin_m": -1.0},
        {"max_age_us": 0},
        {"minimum_duration_us": -1},
        {"near_fixes": 0},
        {"apart_fixes": 0},
    ],
)
def test_a_proximity_that_means_nothing_is_refused(wrong):
    with pytest.raises(InvalidDefinitionError, match="coupled"):
        dataclasses.replace(PAIR, **wrong)


def test_what_comes_after_all_that_is_remembered_is_counted():
    herd = Herd(dataclasses.replace(QUIET, kept_places=4)).put(PAIR)
    herd.drive(*(at(TRUCK, 10 * turn, 0) for turn in range(10)))
    assert herd.engines[TRUCK].companions_too_late == 0
    herd.drive(at(TRAILER, 20, 0), at(TRAILER, 25, 0), at(TRAILER, 75, 0))
    assert herd.engines[TRUCK].companions_too_late == 2
