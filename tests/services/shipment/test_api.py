"""The gRPC service over a real channel, with fakes behind the handlers."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import grpc
import pytest

from drover.api.shipment.v1 import shipment_service_pb2 as api
from drover.api.shipment.v1.shipment_service_pb2_grpc import ShipmentsStub
from drover.shipment.v1 import shipment_pb2 as pb
from drover.telemetry.v1.reading_pb2 import Quantity
from runtime.grpc_client import channel, metadata, problem_of
from runtime.grpc_server import GrpcServer
from runtime.problems import Problem
from runtime.tokens import KeyPair, Role, load_or_create_keys
from services.shipment.api import ShipmentsApi
from services.shipment.handlers import handle_events
from tests.services.shipment.examples import EPC, NOW_US, TENANT, arrived, closed, entered, exited, opened
from tests.services.shipment.fakes import World

Answer = TypeVar("Answer")


class Client:
    """Calls in a role; problems come out as such."""

    def __init__(self, stub: Any, keys: KeyPair) -> None:
        self._stub = stub
        self._keys = keys

    async def __call__(
        self, method: str, request: Any, role: Role = Role.DISPATCHER, tenant: str = TENANT, acts_for: str | None = None
    ) -> Any:
        token = self._keys.issuer.issue("ada", tenant, role, 60)
        return await answer(getattr(self._stub, method)(request, metadata=metadata(token, acts_for)))


async def answer(call: Awaitable[Answer]) -> Answer:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise problem_of(error) from error


@pytest.fixture
def world() -> World:
    return World(NOW_US)


@pytest.fixture
async def call(world: World, tmp_path: pathlib.Path) -> AsyncIterator[Client]:
    keys = load_or_create_keys(tmp_path)
    async with (
        GrpcServer("127.0.0.1:0", keys.verifier, [ShipmentsApi(world.ports).add_to], grace_s=0.1) as server,
        channel(f"127.0.0.1:{server.port}") as link,
    ):
        yield Client(ShipmentsStub(link), keys)


def shipment(**fields: Any) -> pb.Shipment:
    return pb.Shipment(
        **{
            "shipment_id": "s-1",
            "reference": "PO 4711",
            "device_id": "truck-7",
            "stops": [
                pb.ShipmentStop(stop_id="utrecht", longitude_deg=5.12, latitude_deg=52.09, planned_arrival_us=NOW_US),
                pb.ShipmentStop(stop_id="zwolle", longitude_deg=6.09, latitude_deg=52.51, radius_m=300),
            ],
            "limits": [pb.ShipmentLimit(quantity=Quantity.QUANTITY_TEMPERATURE_CELSIUS, maximum=8.0)],
            "handling_units": [pb.HandlingUnit(epc=EPC, name="pallet")],
            "route_longitude_deg": [5.12, 6.09],
            "route_latitude_deg": [52.09, 52.51],
            **fields,
        }
    )


async def create(call: Client, **fields: Any) -> pb.Shipment:
    made: api.CreateShipmentResponse = await call(
        "CreateShipment", api.CreateShipmentRequest(shipment=shipment(**fields))
    )
    return made.shipment


async def test_a_shipment_as_callers_see_it(call: Client, world: World) -> None:
    made = await create(call)
    assert made.tenant == TENANT
    assert made.status == pb.SHIPMENT_STATUS_PLANNED
    assert [stop.fence_id for stop in made.stops] == ["shipment:s-1:utrecht", "shipment:s-1:zwolle"]
    assert [stop.radius_m for stop in made.stops] == [200.0, 300.0]
    assert made.stops[0].planned_arrival_us == NOW_US
    assert not made.stops[1].HasField("planned_arrival_us")
    assert not made.stops[0].HasField("arrived_at_us")
    assert made.limits[0].maximum == 8.0
    assert not made.limits[0].HasField("minimum")
    assert not made.handling_units[0].HasField("last_seen_at_us")

    for event in (exited("utrecht", 5), arrived(6), opened(7), closed(7, 8), entered("zwolle", 9)):
        await handle_events([event], world.ports)
    found = (await call("GetShipment", api.GetShipmentRequest(shipment_id="s-1"), Role.VIEWER)).shipment
    assert found.status == pb.SHIPMENT_STATUS_DELIVERED
    assert (found.stops[0].departed_at_us, found.stops[1].arrived_at_us) == (5, 9)
    [unit] = found.handling_units
    assert (unit.last_reader_id, unit.last_seen_at_us, unit.present) == ("portal-1", 6, True)
    [exception] = found.exceptions
    assert (exception.kind, exception.opened_at_us, exception.closed_at_us) == ("excursion", 7, 8)
    assert exception.detail == "temperature_celsius, 9.5 is above 8, at worst 11"
    assert found.version == 6

    again = await call("CreateShipment", api.CreateShipmentRequest(shipment=found))
    assert again.shipment == found, "what was read can be sent back"


async def problem(call: Client, method: str, request: Any, **who: Any) -> tuple[str, str]:
    with pytest.raises(Problem) as caught:
        await call(method, request, **who)
    return caught.value.kind, caught.value.code


async def test_problems_reach_the_caller(call: Client) -> None:
    await create(call)
    get, cancel = api.GetShipmentRequest(shipment_id="s-9"), api.CancelShipmentRequest(shipment_id="s-9")
    other = api.CreateShipmentRequest(shipment=shipment(reference="other"))
    foreign = api.CreateShipmentRequest(shipment=shipment(tenant="other"))
    empty = api.CreateShipmentRequest()
    token, status = api.ListShipmentsRequest(page_token="!"), api.ListShipmentsRequest(statuses=[99])  # type: ignore[list-item]
    assert await problem(call, "GetShipment", get) == ("not_found", "unknown_shipment")
    assert await problem(call, "CancelShipment", cancel) == ("not_found", "unknown_shipment")
    assert await problem(call, "CreateShipment", other) == ("conflict", "shipment_exists")
    assert await problem(call, "CreateShipment", foreign) == ("invalid", "tenant_mismatch")
    assert await problem(call, "CreateShipment", empty) == ("invalid", "device_missing")
    assert await problem(call, "ListShipments", token) == ("invalid", "invalid_page_token")
    assert await problem(call, "ListShipments", status) == ("invalid", "bad_status")


async def test_who_may_do_what(call: Client) -> None:
    await create(call)
    reads = [("GetShipment", api.GetShipmentRequest(shipment_id="s-1")), ("ListShipments", api.ListShipmentsRequest())]
    writes = [
        ("CreateShipment", api.CreateShipmentRequest(shipment=shipment())),
        ("CancelShipment", api.CancelShipmentRequest(shipment_id="s-1")),
    ]
    for method, request in reads:
        for role in (Role.VIEWER, Role.DISPATCHER, Role.ADMIN):
            await call(method, request, role)
        for role in (Role.DEVICE, Role.FORWARDER):
            assert await problem(call, method, request, role=role) == ("forbidden", "role_not_allowed")
    for method, request in writes:
        for role in (Role.DISPATCHER, Role.ADMIN):
            await call(method, request, role)
        for role in (Role.VIEWER, Role.DEVICE, Role.FORWARDER):
            assert await problem(call, method, request, role=role) == ("forbidden", "role_not_allowed")


async def test_tenants_do_not_see_each_other(call: Client) -> None:
    await create(call)
    get = api.GetShipmentRequest(shipment_id="s-1")
    assert await problem(call, "GetShipment", get, tenant="other") == ("not_found", "unknown_shipment")
    assert not (await call("ListShipments", api.ListShipmentsRequest(), tenant="other")).shipments
    service: dict[str, Any] = {"role": Role.SERVICE, "tenant": ""}
    assert (await call("GetShipment", get, **service, acts_for=TENANT)).shipment.shipment_id == "s-1"
    assert await problem(call, "GetShipment", get, **service) == ("forbidden", "tenant_missing")


async def test_pages(call: Client, world: World) -> None:
    for number in range(5):
        world.time_us += 1
        await create(call, shipment_id=f"s-{number}")
    found: list[str] = []
    token = ""
    while True:
        page = await call("ListShipments", api.ListShipmentsRequest(page_size=2, page_token=token), Role.VIEWER)
        found += [each.shipment_id for each in page.shipments]
        token = page.next_page_token
        if not token:
            break
    assert found == ["s-4", "s-3", "s-2", "s-1", "s-0"]
    planned = api.ListShipmentsRequest(statuses=[pb.SHIPMENT_STATUS_DELIVERED])
    assert not (await call("ListShipments", planned)).shipments


async def test_cancelling(call: Client) -> None:
    await create(call)
    cancelled = await call("CancelShipment", api.CancelShipmentRequest(shipment_id="s-1", reason="lost"))
    assert cancelled.shipment.status == pb.SHIPMENT_STATUS_CANCELLED
