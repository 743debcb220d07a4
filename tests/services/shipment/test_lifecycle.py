"""What events make of a shipment: told as stories, and as laws that hold for any order, repetition and split."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.shipment import lifecycle
from services.shipment.events import Event, FenceCrossed
from services.shipment.lifecycle import MAX_CROSSINGS, MAX_EXCEPTIONS, MAX_SIGHTINGS
from services.shipment.model import CORRECTION_GRACE_US, Shipment, ShipmentEnded, Sighting, Status, Stop
from tests.services.shipment.examples import (
    EPC,
    OTHER_EPC,
    READER,
    arrived,
    closed,
    departed,
    entered,
    exited,
    missed,
    opened,
    shipment,
    stop,
)

DEPOT, CUSTOMER = (5.0, 52.0), (6.0, 52.0)
ROUND_TRIP = (stop("out", *DEPOT), stop("customer", *CUSTOMER), stop("back", *DEPOT))


def after(events: Iterable[Event], before: Shipment | None = None) -> Shipment:
    now = shipment() if before is None else before
    for event in events:
        now = lifecycle.apply(now, event).shipment
    return now


def stop_of(shipment: Shipment, stop_id: str) -> Stop:
    return next(each for each in shipment.stops if each.stop_id == stop_id)


def test_the_usual_way() -> None:
    story: list[tuple[Event, Status, tuple[str, ...]]] = [
        (entered("utrecht", 10), Status.PLANNED, ("arrived utrecht",)),
        (exited("utrecht", 20), Status.IN_TRANSIT, ("status in_transit", "departed utrecht")),
        (entered("arnhem", 30), Status.AT_STOP, ("status at_stop", "arrived arnhem")),
        (exited("arnhem", 40), Status.IN_TRANSIT, ("status in_transit", "departed arnhem")),
        (entered("zwolle", 50), Status.DELIVERED, ("status delivered", "arrived zwolle")),
        (exited("zwolle", 60), Status.DELIVERED, ("crossing noted",)),
        (entered("arnhem", 51 + CORRECTION_GRACE_US), Status.DELIVERED, ()),
    ]
    now = shipment()
    for event, status, changes in story:
        now, found = lifecycle.apply(now, event)
        assert (now.status, found) == (status, changes)
    assert now.ended_at_us == 50
    assert [(each.arrived_at_us, each.departed_at_us) for each in now.stops] == [(10, 20), (30, 40), (50, None)]


def test_a_device_that_was_inside_from_the_first_fix_departs_without_having_arrived() -> None:
    now = after([exited("utrecht", 20)])
    assert now.status is Status.IN_TRANSIT
    assert (stop_of(now, "utrecht").arrived_at_us, stop_of(now, "utrecht").departed_at_us) == (None, 20)


def test_entering_a_later_stop_starts_the_journey() -> None:
    assert after([entered("arnhem", 5)]).status is Status.AT_STOP
    assert after([entered("arnhem", 5), exited("arnhem", 6)]).status is Status.IN_TRANSIT


def test_a_skipped_stop_does_not_hold_up_delivery() -> None:
    now = after([exited("utrecht", 1), entered("zwolle", 2)])
    assert now.status is Status.DELIVERED
    assert stop_of(now, "arnhem").arrived_at_us is None


def test_coming_back_to_a_stop_keeps_the_first_arrival_and_the_last_departure() -> None:
    now = after([exited("utrecht", 1), entered("arnhem", 2), exited("arnhem", 3), entered("arnhem", 4)])
    assert now.status is Status.AT_STOP
    assert (stop_of(now, "arnhem").arrived_at_us, stop_of(now, "arnhem").departed_at_us) == (2, None)
    now = after([exited("arnhem", 5)], now)
    assert (stop_of(now, "arnhem").arrived_at_us, stop_of(now, "arnhem").departed_at_us) == (2, 5)


def test_leaving_the_last_stop_before_the_journey_means_nothing() -> None:
    assert after([exited("zwolle", 1)]).status is Status.PLANNED


def test_one_stop_is_a_delivery() -> None:
    assert after([entered("zwolle", 1)], shipment(stops=(stop("zwolle"),))).status is Status.DELIVERED


def test_a_round_trip_is_not_over_when_the_vehicle_turns_back() -> None:
    begun = shipment(stops=ROUND_TRIP)
    # Both circles at the depot are crossed at once.
    turned = [exited("out", 1), exited("back", 1), entered("out", 2), entered("back", 2), exited("out", 3)]
    turned.append(exited("back", 3))
    now = after(turned, begun)
    assert now.status is Status.IN_TRANSIT
    now = after([entered("customer", 4)], now)
    assert now.status is Status.AT_STOP
    now = after([exited("customer", 5), entered("out", 6), entered("back", 6)], now)
    assert now.status is Status.DELIVERED
    assert [(each.arrived_at_us, each.departed_at_us) for each in now.stops] == [(2, 3), (4, 5), (6, None)]


def test_a_round_trip_with_one_fence_of_the_tenant() -> None:
    depot = {"fence_id": "depot"}
    begun = shipment(stops=(stop("out", *DEPOT, **depot), stop("customer", *CUSTOMER), stop("back", *DEPOT, **depot)))
    events = [
        entered("", 1, **depot),
        exited("", 2, **depot),
        entered("customer", 3),
        exited("customer", 4),
        entered("", 5, **depot),
    ]
    statuses = [after(events[:count], begun).status for count in range(1, 6)]
    assert statuses == ["planned", "in_transit", "at_stop", "in_transit", "delivered"]
    # The visit of the customer comes late: then it is known that the round was made.
    late = after([*events[:2], events[4], events[3], events[2]], begun)
    assert late == after(events, begun)


def test_two_stops_in_one_building_are_reached_at_once() -> None:
    begun = shipment(stops=(stop("out", *DEPOT), stop("ground-floor", *CUSTOMER), stop("first-floor", *CUSTOMER)))
    now = after([exited("out", 1), entered("ground-floor", 2), entered("first-floor", 2)], begun)
    assert now.status is Status.DELIVERED


def test_delivery_that_becomes_known_late_ends_the_journey_there() -> None:
    now = after([exited("utrecht", 1), entered("arnhem", 9), entered("zwolle", 5)])
    assert now.status is Status.DELIVERED
    assert stop_of(now, "arnhem").arrived_at_us is None, "that was after the journey"


@pytest.mark.parametrize(
    "event",
    [
        entered("utrecht", 1, device_id="another"),
        entered("", 1, fence_id="elsewhere"),
        arrived(1, epc=b"unknown"),
        opened(1, limit_id="other"),
        closed(1, 2, limit_id="other"),
        missed("arnhem", 1, route_id="s-2"),
        missed("arnhem", 1, device_id="another"),
        missed("elsewhere", 1),
    ],
)
def test_what_does_not_concern_it_changes_nothing(event: Event) -> None:
    now, changes = lifecycle.apply(shipment(), event)
    assert (now, changes) == (shipment(), ())


def last_seen(events: Sequence[Event], epc: bytes = EPC) -> Sighting | None:
    return next(unit for unit in after(events).handling_units if unit.epc == epc).last_sighting


def test_an_arrival_that_is_withdrawn_was_none() -> None:
    now = after([exited("utrecht", 1), entered("zwolle", 5), entered("arnhem", 7)])
    assert (now.status, now.ended_at_us) == (Status.DELIVERED, 5)
    now, changes = lifecycle.apply(now, entered("zwolle", 5, revision=1, withdrawn=True, told_at_us=5))
    # What was noted after the end counts now.
    assert (now.status, now.ended_at_us) == (Status.AT_STOP, None)
    assert changes == ("status at_stop", "arrived arnhem", "arrived zwolle")
    assert stop_of(now, "zwolle").arrived_at_us is None
    again = after([entered("zwolle", 5, revision=2, told_at_us=5)], now)
    assert (again.status, again.ended_at_us) == (Status.DELIVERED, 5)


def test_an_arrival_that_is_amended_is_at_another_time() -> None:
    told, amended = entered("zwolle", 5), entered("zwolle", 8, revision=1, told_at_us=5)
    for order in ([told, amended], [amended, told], [told, amended, told, amended]):
        now = after([exited("utrecht", 1), *order])
        assert (now.status, now.ended_at_us) == (Status.DELIVERED, 8)


def test_tags_come_and_go() -> None:
    assert last_seen([]) is None
    assert last_seen([arrived(1)]) == Sighting(1, False, READER)
    assert last_seen([arrived(1)], OTHER_EPC) is None
    # Read once only, a tag departs at the time it arrived.
    assert last_seen([arrived(1), departed(1)]) == Sighting(1, True, READER)
    assert last_seen([arrived(1), departed(1), arrived(3)]) == Sighting(3, False, READER)


def test_a_reader_that_still_has_the_tag_knows_best() -> None:
    handed_over = [arrived(5, "a"), arrived(8, "b"), departed(10, "a")]
    assert last_seen(handed_over) == Sighting(8, False, "b")
    assert last_seen([*handed_over, departed(9, "b")]) == Sighting(10, True, "a")


def test_excursions_open_and_close() -> None:
    now, changes = lifecycle.apply(shipment(), opened(10))
    assert changes == ("exception opened shipment:s-1:1",)
    [exception] = now.exceptions
    assert exception.detail == "temperature_celsius, 9.5 is above 8"
    assert exception.closed_at_us is None
    now, changes = lifecycle.apply(now, closed(10, 20))
    assert changes == ("exception closed shipment:s-1:1",)
    [exception] = now.exceptions
    assert exception.detail == "temperature_celsius, 9.5 is above 8, at worst 11"
    assert exception.closed_at_us == 20
    assert now.status is Status.PLANNED


def test_an_arrival_that_was_missed_stays_so_when_it_comes_late() -> None:
    now, changes = lifecycle.apply(after([exited("utrecht", 1)]), missed("arnhem", 10))
    assert changes == ("missed arnhem",)
    assert now.status is Status.IN_TRANSIT
    assert [each.missed_at_us for each in now.stops] == [None, 10, None]
    now = after([entered("arnhem", 12)], now)
    assert (stop_of(now, "arnhem").arrived_at_us, stop_of(now, "arnhem").missed_at_us) == (12, 10)


def test_an_arrival_that_was_not_missed_after_all() -> None:
    told, withdrawn = missed("arnhem", 10), missed("arnhem", 10, 1, withdrawn=True)
    assert lifecycle.apply(after([told]), withdrawn).changes == ("not missed arnhem",)
    for order in ([told, withdrawn], [withdrawn, told], [told, withdrawn, told]):
        assert stop_of(after(order), "arnhem").missed_at_us is None
    assert stop_of(after([withdrawn, missed("arnhem", 11, 2)]), "arnhem").missed_at_us == 11


def test_a_revision_replaces_what_it_corrects() -> None:
    first, second = opened(10, value=9.0), opened(10, value=9.9, revision=1)
    for order in ([first, second], [second, first]):
        [exception] = after(order).exceptions
        assert (exception.value, exception.event_id) == (9.9, second.event_id)


def test_cancelling_freezes() -> None:
    now = lifecycle.cancel(after([exited("utrecht", 1)]), "customer called", 99)
    assert (now.status, now.ended_at_us, now.cancel_reason) == (Status.CANCELLED, 99, "customer called")
    assert lifecycle.cancel(now, "again", 100) is now
    assert after([entered("arnhem", 2), entered("zwolle", 3), arrived(4), opened(5)], now) == now
    with pytest.raises(ShipmentEnded):
        lifecycle.cancel(after([entered("zwolle", 1)]), "too late", 99)


def test_what_is_remembered_is_bounded() -> None:
    shuttling = [event for at in range(0, 400, 2) for event in (entered("arnhem", at), exited("arnhem", at + 1))]
    now = after([exited("utrecht", 0), *shuttling])
    assert len(now.crossings) <= 1 + 2 * MAX_CROSSINGS
    assert (stop_of(now, "arnhem").arrived_at_us, stop_of(now, "arnhem").departed_at_us) == (0, 399)
    everywhere = [event for at in range(100) for event in (arrived(at, f"r{at}"), departed(at, f"r{at}"))]
    now = after([arrived(0, "stays"), *everywhere])
    unit = now.handling_units[0]
    assert len(unit.sightings) == MAX_SIGHTINGS
    assert unit.last_sighting == Sighting(0, False, "stays")
    flapping = [event for at in range(2 * MAX_EXCEPTIONS) for event in (opened(at), closed(at, at))]
    now = after([opened(-1), *flapping])
    assert len(now.exceptions) == MAX_EXCEPTIONS
    assert now.exceptions[0].closed_at_us is None, "one that is open is kept"


TIMES = st.integers(0, 12)
# Told, withdrawn, told again.
CROSSINGS = st.builds(
    lambda stop_id, at_us, into, revision: (entered if into else exited)(
        stop_id, at_us, revision=revision, withdrawn=revision == 1, told_at_us=at_us if revision else None
    ),
    st.sampled_from(["utrecht", "arnhem", "zwolle", "out", "customer", "back"]),
    TIMES,
    st.booleans(),
    st.sampled_from([0, 0, 0, 1, 2]),
)
TAGS = st.builds(
    lambda at_us, reader, come: arrived(at_us, reader) if come else departed(at_us, reader),
    TIMES,
    st.sampled_from(["a", "b"]),
    st.booleans(),
)
# Content follows from the key and the revision, as it does in the core: equal events are equal.
OPENINGS = st.builds(
    lambda at_us, revision: opened(at_us, value=9.0 + revision, revision=revision), TIMES, st.integers(0, 1)
)
CLOSINGS = st.builds(
    lambda at_us, revision: closed(at_us, at_us + 1 + revision, worst=20.0 + revision, revision=revision),
    TIMES,
    st.integers(0, 1),
)
MISSED = st.builds(
    lambda stop_id, revision: missed(stop_id, 5 + revision, revision, withdrawn=revision == 1),
    st.sampled_from(["arnhem", "zwolle", "customer"]),
    st.integers(0, 2),
)
EVENTS = st.lists(st.one_of(CROSSINGS, TAGS, OPENINGS, CLOSINGS, MISSED), max_size=10)
PLANS = st.sampled_from([shipment(), shipment(stops=ROUND_TRIP)])


def comparable(shipment: Shipment) -> Shipment:
    """Without the ids of events, which the examples count up."""
    exceptions = tuple(dataclasses.replace(each, event_id="") for each in shipment.exceptions)
    return dataclasses.replace(shipment, exceptions=exceptions)


@settings(max_examples=300)
@given(begun=PLANS, events=EVENTS, seed=st.integers(0, 2**32))
@example(begun=shipment(), events=[entered("zwolle", 5), entered("zwolle", 3), exited("utrecht", 4)], seed=0)
def test_any_order_and_any_repetition_make_the_same_shipment(begun: Shipment, events: list[Event], seed: int) -> None:
    dice = random.Random(seed)
    repeated = [*events, *dice.choices(events, k=3)] if events else []
    shuffled = dice.sample(repeated, len(repeated))
    assert comparable(after(shuffled, begun)) == comparable(after(events, begun))


RANK = {Status.PLANNED: 0, Status.IN_TRANSIT: 1, Status.AT_STOP: 1, Status.DELIVERED: 2}


@settings(max_examples=300)
@given(begun=PLANS, events=EVENTS)
def test_no_event_but_a_correction_moves_a_shipment_back(begun: Shipment, events: list[Event]) -> None:
    now = begun
    for event in events:
        if isinstance(event, FenceCrossed) and event.revision:
            continue
        following, changes = lifecycle.apply(now, event)
        assert RANK[following.status] >= RANK[now.status]
        assert bool(changes) == (following != now)
        if now.ended_at_us is not None:
            assert following.ended_at_us is not None
            assert following.ended_at_us <= now.ended_at_us
        now = following


def naive_status(events: Sequence[FenceCrossed], stop_ids: Sequence[str]) -> Status:
    """The status of a shipment whose stops lie far apart, straight from docs/shipments.md."""
    fences = {f"shipment:s-1:{stop_id}": position for position, stop_id in enumerate(stop_ids)}
    under_way = False
    at: set[int] = set()
    seen: set[int] = set()
    last = {}
    for event in sorted(events, key=lambda each: each.revision):
        last[event.observed_at_us, event.entered, event.fence_id] = event
    for _, event in sorted(last.items()):
        if event.withdrawn:
            continue
        position = fences.get(event.fence_id)
        if position is None:
            continue
        if position == len(stop_ids) - 1:
            if event.entered:
                return Status.DELIVERED
        elif event.entered:
            at.add(position)
            seen.add(position)
            under_way = under_way or position > 0
        elif position in at or position not in seen:
            at.discard(position)
            under_way = True
    if not under_way:
        return Status.PLANNED
    return Status.AT_STOP if at else Status.IN_TRANSIT


@settings(max_examples=300)
@given(events=st.lists(CROSSINGS, max_size=10))
def test_the_status_is_that_of_the_naive_reading(events: list[FenceCrossed]) -> None:
    assert after(events).status is naive_status(events, ["utrecht", "arnhem", "zwolle"])
