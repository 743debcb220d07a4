"""The client of the tracking service over a real channel: what is told, and that telling it again is harmless."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest

from drover.telemetry.v1.reading_pb2 import Quantity
from runtime.grpc_client import ServiceCalls, channel
from runtime.problems import Invalid, Unavailable
from runtime.tokens import KeyPair, ServiceToken, load_or_create_keys
from services.shipment.tracking_client import TrackingClient
from tests.services.shipment.examples import DEVICE, TENANT, fence, shipment, stop
from tests.services.shipment.fake_tracking import FakeTracking, serving


@pytest.fixture
def keys(tmp_path: pathlib.Path) -> KeyPair:
    return load_or_create_keys(tmp_path)


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()


@pytest.fixture
async def client(keys: KeyPair, tracking: FakeTracking) -> AsyncIterator[TrackingClient]:
    async with serving(tracking, keys.verifier) as port, channel(f"127.0.0.1:{port}") as link:
        yield TrackingClient(link, ServiceCalls(ServiceToken(keys.issuer, "shipment")), timeout_s=5.0)


async def test_stops_become_fences_limits_limits_and_the_way_a_route(
    client: TrackingClient, tracking: FakeTracking
) -> None:
    made = shipment(stops=(stop("a", 5.0, 52.0, radius_m=150.0), stop("b", 6.0, 53.0, fence_id="port"), stop("c")))
    await client.put(made)
    assert tracking.calls == [
        ("put fence", fence("a")),
        ("put fence", fence("c")),
        ("put limit", "shipment:s-1:1"),
        ("put route", "s-1"),
    ]
    circle = tracking.defined[TENANT, "fence", fence("a")]
    assert (circle.name, circle.geometry.circle.radius_m, circle.geometry.circle.longitude_deg) == ("A", 150.0, 5.0)
    assert dict(circle.labels) == {"kind": "shipment_stop", "shipment_id": "s-1", "stop_id": "a"}
    limit = tracking.defined[TENANT, "limit", "shipment:s-1:1"]
    assert (limit.device_id, limit.quantity, limit.minimum, limit.maximum, limit.hysteresis) == (
        DEVICE, Quantity.QUANTITY_TEMPERATURE_CELSIUS, 2.0, 8.0, 0.5,
    )  # fmt: skip
    route = tracking.defined[TENANT, "route", "s-1"]
    assert (route.device_id, [each.stop_id for each in route.stops]) == (DEVICE, ["a", "b", "c"])
    assert [each.fence_id for each in route.stops] == [fence("a"), "port", fence("c")]
    assert list(route.longitude_deg) == [5.12, 5.5, 6.09]
    assert not route.HasField("expected_speed_mps")


async def test_telling_again_changes_nothing(client: TrackingClient, tracking: FakeTracking) -> None:
    await client.put(shipment())
    defined = dict(tracking.defined)
    await client.put(shipment())
    assert tracking.defined == defined
    await client.remove(shipment())
    assert tracking.defined == {}
    await client.remove(shipment())
    assert tracking.defined == {}


async def test_removing_leaves_the_tenants_own_fences(client: TrackingClient, tracking: FakeTracking) -> None:
    await client.remove(shipment(stops=(stop("a", fence_id="port"), stop("b"))))
    assert ("delete fence", "port") not in tracking.calls
    assert ("delete fence", fence("b")) in tracking.calls


async def test_problems_come_through(client: TrackingClient, tracking: FakeTracking) -> None:
    tracking.problems = [Invalid("too many", code="too_many_vertices")]
    with pytest.raises(Invalid) as caught:
        await client.put(shipment())
    assert caught.value.code == "too_many_vertices"


async def test_a_service_that_is_away_is_unavailable(keys: KeyPair) -> None:
    async with channel("127.0.0.1:1") as link:
        client = TrackingClient(link, ServiceCalls(ServiceToken(keys.issuer, "shipment")), timeout_s=2.0)
        with pytest.raises(Unavailable):
            await client.put(shipment())
