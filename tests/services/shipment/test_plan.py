"""What may be asked for: each mistake is one Problem with its code, and what is right becomes a shipment."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from services.shipment import plan
from services.shipment.commands import PlannedLimit, PlannedUnit
from services.shipment.model import Status
from services.shipment.plan import DEFAULT_RADIUS_M, InvalidShipment
from tests.services.shipment.examples import COMMAND, EPC, HOUR_US, NOW_US, STOPS, shipment, stop

LIMIT = COMMAND.limits[0]


def limit(**fields: Any) -> tuple[PlannedLimit, ...]:
    return (dataclasses.replace(LIMIT, **fields),)


def first_stop(**fields: Any) -> Any:
    return (dataclasses.replace(STOPS[0], **fields), *STOPS[1:])


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("bad_shipment_id", {"shipment_id": "a b"}),
        ("bad_shipment_id", {"shipment_id": "x" * 65}),
        ("device_missing", {"device_id": ""}),
        ("bad_device_id", {"device_id": "a/b"}),
        ("too_long", {"reference": "x" * 257}),
        ("no_stops", {"stops": ()}),
        ("too_many_stops", {"stops": tuple(stop(f"s{number}") for number in range(101))}),
        ("bad_stop_id", {"stops": first_stop(stop_id="")}),
        ("bad_stop_id", {"stops": first_stop(stop_id="é")}),
        ("duplicate_stop_id", {"stops": (STOPS[0], STOPS[0])}),
        ("too_long", {"stops": first_stop(name="x" * 257)}),
        ("coordinate_out_of_range", {"stops": first_stop(longitude_deg=180.1)}),
        ("coordinate_out_of_range", {"stops": first_stop(latitude_deg=-90.1)}),
        ("coordinate_out_of_range", {"stops": first_stop(latitude_deg=math.nan)}),
        ("coordinate_out_of_range", {"stops": first_stop(longitude_deg=math.inf)}),
        ("bad_fence_id", {"stops": first_stop(fence_id="a b")}),
        ("bad_radius", {"stops": first_stop(radius_m=-1.0)}),
        ("bad_radius", {"stops": first_stop(radius_m=math.nan)}),
        ("bad_radius", {"stops": first_stop(radius_m=1e9)}),
        ("bad_service_time", {"stops": first_stop(service_time_us=-1)}),
        ("bad_planned_arrival", {"stops": first_stop(planned_arrival_us=-1)}),
        ("bad_planned_arrival", {"stops": first_stop(planned_arrival_us=2**62)}),
        (
            "planned_arrivals_out_of_order",
            {"stops": (stop("a", planned_arrival_us=2 * HOUR_US), stop("b"), stop("c", planned_arrival_us=HOUR_US))},
        ),
        ("too_many_limits", {"limits": limit() * 33}),
        ("quantity_missing", {"limits": limit(quantity=0)}),
        ("limit_without_bound", {"limits": limit(minimum=None, maximum=None)}),
        ("bounds_reversed", {"limits": limit(minimum=9.0)}),
        ("not_finite", {"limits": limit(minimum=math.nan)}),
        ("not_finite", {"limits": limit(hysteresis=math.inf)}),
        ("bad_hysteresis", {"limits": limit(hysteresis=-0.1)}),
        ("bad_duration", {"limits": limit(minimum_duration_us=-1)}),
        ("too_many_handling_units", {"handling_units": (PlannedUnit(EPC, ""),) * 2_001}),
        ("bad_epc", {"handling_units": (PlannedUnit(b"", ""),)}),
        ("bad_epc", {"handling_units": (PlannedUnit(b"x" * 17, ""),)}),
        ("duplicate_epc", {"handling_units": (PlannedUnit(EPC, "a"), PlannedUnit(EPC, "b"))}),
        ("too_long", {"handling_units": (PlannedUnit(EPC, "x" * 257),)}),
        ("route_lengths_differ", {"route_longitude_deg": (5.0,)}),
        ("route_too_short", {"route_longitude_deg": (5.0,), "route_latitude_deg": (52.0,)}),
        ("too_many_route_points", {"route_longitude_deg": (5.0,) * 50_001, "route_latitude_deg": (52.0,) * 50_001}),
        ("coordinate_out_of_range", {"route_longitude_deg": (5.0, 500.0), "route_latitude_deg": (52.0, 52.0)}),
    ],
)
def test_each_mistake_has_its_code(code: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidShipment) as caught:
        shipment(**fields)
    assert caught.value.code == code
    assert caught.value.kind == "invalid"
    assert "\n" not in str(caught.value)


def test_a_stop_without_a_fence_gets_a_circle_and_one_with_a_fence_none() -> None:
    made = shipment(stops=(stop("a"), stop("b", radius_m=50.0), stop("c", fence_id="port", radius_m=50.0)))
    assert [(each.fence_id, each.radius_m) for each in made.stops] == [
        ("shipment:s-1:a", DEFAULT_RADIUS_M),
        ("shipment:s-1:b", 50.0),
        ("port", None),
    ]
    assert (made.status, made.version, made.created_at_us) == (Status.PLANNED, 1, NOW_US)
    assert [each.limit_id for each in shipment().limits] == ["shipment:s-1:1"]


def test_the_longest_ids_make_fence_ids_that_fit() -> None:
    made = shipment(shipment_id="x" * 64, stops=(stop("y" * 48),))
    assert len(made.stops[0].fence_id) <= 128


def test_the_digest_does_not_stand_for_what_became_of_it() -> None:
    made = shipment()
    moved = dataclasses.replace(
        made, stops=tuple(dataclasses.replace(each, arrived_at_us=1, missed_at_us=2) for each in made.stops), version=9
    )
    assert plan._digest(moved) == made.content_digest


def test_the_digest_stands_for_what_was_asked_defaults_filled_in() -> None:
    same = (dataclasses.replace(STOPS[0], radius_m=DEFAULT_RADIUS_M), *STOPS[1:])
    assert shipment(stops=same).content_digest == shipment().content_digest
    others = [
        shipment(reference="other"),
        shipment(device_id="other"),
        shipment(stops=STOPS[::-1]),
        shipment(limits=limit(maximum=8.5)),
        shipment(handling_units=()),
        shipment(route_longitude_deg=(), route_latitude_deg=()),
    ]
    assert len({each.content_digest for each in [shipment(), *others]}) == 7
