"""The demonstration: a fence for every site, shipments for part of the fleet, and the fleet itself."""

from __future__ import annotations

import itertools
import pathlib
import sys
import time

import grpc

from drover.api.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from drover.api.shipment.v1 import shipment_service_pb2, shipment_service_pb2_grpc
from drover.api.tracking.v1 import tracking_service_pb2, tracking_service_pb2_grpc
from drover.geofence.v1 import fence_pb2
from drover.shipment.v1 import shipment_pb2
from drover.telemetry.v1 import reading_pb2
from runtime import grpc_client
from runtime.tokens import KeyPair, Role
from simulators import scenario
from simulators.roads import distance_m
from simulators.scenario import SITE_RADIUS_M, Scenario
from stack.child import Child
from stack.processes import Addresses

SEED = 1
SHIPMENTS = 24


async def prepare(addresses: Addresses, keys: KeyPair, tenant: str, vehicles: int) -> Scenario:
    """Defines what the demonstration needs; what is there already stays. Raises Problem."""
    plan = scenario.build(SEED, vehicles)
    metadata = grpc_client.metadata(keys.issuer.issue("demo", tenant, Role.ADMIN, 3600))
    try:
        async with grpc_client.channel(f"127.0.0.1:{addresses.ingest}") as link:
            registry = ingest_service_pb2_grpc.DeviceRegistryStub(link)
            for member in plan.fleet:
                await registry.ProvisionDevice(
                    ingest_service_pb2.ProvisionDeviceRequest(
                        device_id=member.device_id, display_name=member.display_name
                    ),
                    metadata=metadata,
                )
        async with grpc_client.channel(f"127.0.0.1:{addresses.tracking}") as link:
            definitions = tracking_service_pb2_grpc.DefinitionsStub(link)
            for site in plan.sites:
                fence = fence_pb2.Fence(fence_id=site.site_id, name=site.name, labels={"kind": "site"})
                fence.geometry.circle.longitude_deg = site.place.longitude_deg
                fence.geometry.circle.latitude_deg = site.place.latitude_deg
                fence.geometry.circle.radius_m = SITE_RADIUS_M
                await definitions.PutFence(tracking_service_pb2.PutFenceRequest(fence=fence), metadata=metadata)
        async with grpc_client.channel(f"127.0.0.1:{addresses.shipment}") as link:
            shipments = shipment_service_pb2_grpc.ShipmentsStub(link)
            # A new start is a new day's work: earlier shipments stay as they ended.
            day = time.strftime("%y%m%d-%H%M%S", time.gmtime())
            for number in range(min(SHIPMENTS, len(plan.fleet))):
                shipment = _shipment(plan, number, f"demo-{day}-{number:02d}")
                await shipments.CreateShipment(
                    shipment_service_pb2.CreateShipmentRequest(shipment=shipment), metadata=metadata
                )
    except grpc.aio.AioRpcError as error:
        raise grpc_client.problem_of(error) from error
    return plan


def _shipment(plan: Scenario, number: int, shipment_id: str) -> shipment_pb2.Shipment:
    """The next tour of a vehicle as a shipment: from the site behind it, past its stops."""
    member = plan.fleet[number]
    shipment = shipment_pb2.Shipment(
        shipment_id=shipment_id, reference=f"{member.display_name}'s tour", device_id=member.device_id
    )
    legs = plan.legs(member)
    arrival_us = int(time.time() * 1e6)
    for position, leg in enumerate(legs):
        site = plan.sites[member.tour[(position + 1) % len(member.tour)]]
        length_m = sum(distance_m(a, b) for a, b in itertools.pairwise(leg))
        arrival_us += int(length_m / 8.0 * 1e6) + 60_000_000
        shipment.stops.add(
            stop_id=f"{position + 1}", name=site.name, longitude_deg=site.place.longitude_deg,
            latitude_deg=site.place.latitude_deg, fence_id=site.site_id, planned_arrival_us=arrival_us,
            service_time_us=40_000_000,
        )  # fmt: skip
        points = leg if position == 0 else leg[1:]
        shipment.route_longitude_deg.extend(point.longitude_deg for point in points)
        shipment.route_latitude_deg.extend(point.latitude_deg for point in points)
    if member.refrigerated:
        shipment.limits.add(
            quantity=reading_pb2.QUANTITY_TEMPERATURE_CELSIUS, minimum=0.0, maximum=8.0, hysteresis=0.5,
            minimum_duration_us=10_000_000,
        )  # fmt: skip
    for count, epc in enumerate(member.tags):
        shipment.handling_units.add(epc=epc, name=f"Pallet {count + 1}")
    return shipment


def fleet(
    plan: Scenario, addresses: Addresses, token: str, tenant: str, logs: pathlib.Path, *, over_mqtt: bool
) -> Child:
    """The fleet as a process: half of it over MQTT, half over gRPC; all over gRPC where MQTT asks for credentials."""

    async def ready() -> bool:
        return (logs / "fleet.log").is_file() and "ready" in (logs / "fleet.log").read_text(errors="replace")

    command = [
        sys.executable, "-m", "simulators", "--seed", str(plan.seed), "--vehicles", str(len(plan.fleet)),
        "--tenant", tenant, "--grpc", f"127.0.0.1:{addresses.ingest}",
        *(("--mqtt", addresses.mqtt_url) if over_mqtt else ()),
        "--faults", "duplicate=0.002,reorder=0.002,jump=0.0005",
    ]  # fmt: skip
    return Child("fleet", command, logs / "fleet.log", ready, {"DROVER_TOKEN": token})
