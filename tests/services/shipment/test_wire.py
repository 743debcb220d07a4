"""Events as they come from the stream: each kind is read, what moves no shipment is passed over, garbage is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import Quantity
from drover.tracking.v1 import event_pb2 as pb
from runtime.problems import Invalid
from services.shipment.events import ArrivalMissed, ExcursionClosed, ExcursionOpened, FenceCrossed, TagMoved
from services.shipment.wire import event_of


def event(**fields: Any) -> bytes:
    given: dict[str, Any] = {
        "event_id": "e",
        "tenant": "t",
        "device_id": "d",
        "observed_at_us": 5,
        "revision": 1,
        **fields,
    }
    return pb.TrackingEvent(**given).SerializeToString()


WHO = ("e", "t", "d", 5)
TEMPERATURE = Quantity.QUANTITY_TEMPERATURE_CELSIUS


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (event(geofence_entered=pb.GeofenceEntered(fence_id="f")), FenceCrossed(*WHO, "f", entered=True, revision=1)),
        (
            event(geofence_exited=pb.GeofenceExited(fence_id="f"), standing=pb.STANDING_AMENDED, told_at_us=4),
            FenceCrossed(*WHO, "f", entered=False, revision=1, told_at_us=4),
        ),
        (
            event(geofence_exited=pb.GeofenceExited(fence_id="f"), standing=pb.STANDING_WITHDRAWN, told_at_us=5),
            FenceCrossed(*WHO, "f", entered=False, revision=1, withdrawn=True, told_at_us=5),
        ),
        (event(geofence_entered=pb.GeofenceEntered(fence_id="f"), cause=pb.CAUSE_DEFINITION), None),
        (event(geofence_exited=pb.GeofenceExited(fence_id="f"), cause=pb.CAUSE_DEFINITION), None),
        (event(tag_arrived=pb.TagArrived(epc=b"x")), TagMoved(*WHO, b"x", arrived=True)),
        (event(tag_departed=pb.TagDeparted(epc=b"x")), TagMoved(*WHO, b"x", arrived=False)),
        (
            event(excursion_opened=pb.ExcursionOpened(limit_id="l", quantity=TEMPERATURE, probe=2, value=9, bound=8)),
            ExcursionOpened(*WHO, 1, "l", 2, "temperature_celsius", 9.0, 8.0),
        ),
        (
            event(
                excursion_closed=pb.ExcursionClosed(
                    limit_id="l", quantity=TEMPERATURE, probe=2, value=7, worst_value=9, opened_at_us=3
                ),
                cause=pb.CAUSE_DEFINITION,
            ),
            ExcursionClosed(*WHO, 1, "l", 2, "temperature_celsius", 3, 9.0),
        ),
        (
            event(missed_arrival=pb.MissedArrival(route_id="s", stop_id="a", fence_id="f"), standing=pb.STANDING_TOLD),
            ArrivalMissed(*WHO, 1, False, "s", "a"),
        ),
        (
            event(missed_arrival=pb.MissedArrival(route_id="s", stop_id="a"), standing=pb.STANDING_WITHDRAWN),
            ArrivalMissed(*WHO, 1, True, "s", "a"),
        ),
        (event(), None),
    ],
)
def test_each_kind_is_read(data: bytes, expected: object) -> None:
    assert event_of(data) == expected


def test_a_quantity_of_a_later_version_is_named_by_its_number() -> None:
    opened = pb.ExcursionOpened.FromString(b"\x10\x63")
    found = event_of(event(excursion_opened=opened))
    assert isinstance(found, ExcursionOpened)
    assert found.quantity == "quantity 99"


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"not an event", event(event_id=""), event(tenant=""), event(device_id="")]
)
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        event_of(data)
    assert caught.value.code == "malformed_event"


@given(st.binary(max_size=60))
def test_no_bytes_crash_it(data: bytes) -> None:
    with contextlib.suppress(Invalid):
        event_of(data)
