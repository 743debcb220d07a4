"""Two devices of two partitions, over a real log: they meet and part, whoever is heard first and whatever is killed."""

from __future__ import annotations

import pathlib
from typing import Any

import grpc
import pytest

from drover.api.tracking.v1 import tracking_service_pb2 as pb
from drover.tracking.v1.definition_pb2 import Proximity
from drover.tracking.v1.event_pb2 import Cause, TrackingEvent
from runtime.tokens import Role
from services.tracking.model import Device
from tests.services.tracking.build import SECOND, T0, positions, readings
from tests.services.tracking.running import Running, announcement, block, running, settings
from tests.services.tracking.test_service import events, eventually, problem
from tracking_core.block import EntryKind

pytestmark = pytest.mark.server

TRUCK, TRAILER = Device(2, "acme", "truck", "Truck"), Device(1, "acme", "trailer", "")
COUPLED = Proximity(
    proximity_id="coupled", name="Coupled", device_id="truck", other_device_id="trailer", distance_m=100.0
)
METRE_DEG = 1 / 111_319.49079327358


def fix(device: Device, second: int, east_m: float) -> dict[str, Any]:
    return {
        "device": device.number,
        "observed_at_us": T0 + second * SECOND,
        "latitude_deg": 0.01,
        "longitude_deg": 10.0 + east_m * METRE_DEG,
        "satellites": 9,
    }


async def send(service: Running, *fixes: dict[str, Any]) -> None:
    """Each in an entry of its own."""
    await service.log.append([block(each["device"] % 2, readings(positions(each))) for each in fixes])


async def known(service: Running) -> None:
    """Both devices are announced, and the definition is in both logs."""
    await service.log.append([announcement(0, [TRUCK]), announcement(1, [TRAILER])])
    await service.definitions.PutProximity(pb.PutProximityRequest(proximity=COUPLED), metadata=service.as_())

    async def published() -> bool:
        kinds = [
            [int(fields[b"k"]) for _, fields in await service.redis.xrange(f"drover:log:{number}")] for number in (0, 1)
        ]
        return all(EntryKind.DEFINITION in each for each in kinds)

    await eventually(published)


async def told(service: Running, amount: int) -> list[TrackingEvent]:
    """What was told of pairs; tests may last long enough to lose signals."""

    async def found() -> list[TrackingEvent]:
        return [event for event in await events(service) if (event.WhichOneof("kind") or "").startswith("devices_")]

    async def enough() -> bool:
        return len(await found()) >= amount

    await eventually(enough, 60.0)
    return await found()


async def test_devices_of_two_partitions_meet_and_part(tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        await known(service)
        east_m = (1000, 800, 600, 400, 200, 400, 600, 800)
        await send(service, *(fix(TRAILER, 10 * turn, 200) for turn in range(8)))
        await send(service, *(fix(TRUCK, 10 * turn, place) for turn, place in enumerate(east_m)))
        met, parted = await told(service, 2)
        assert (met.device_id, met.devices_met.other_device_id, met.devices_met.other_device_number) == (
            "truck", "trailer", 1
        )  # fmt: skip
        assert (met.devices_met.proximity_name, met.devices_met.proximity_version) == ("Coupled", 1)
        assert abs(met.observed_at_us - (T0 + 35 * SECOND)) < 1_000
        assert parted.devices_parted.met_at_us == met.observed_at_us
        wanted = pb.ListEventsRequest(kind="devices_met", device_id="truck", alerts_only=True)

        async def listed() -> bool:
            answer = await service.tracking.ListEvents(wanted, metadata=service.as_())
            return [event.event_id for event in answer.events] == [met.event_id]

        await eventually(listed, 60.0)
        # Only those two were forwarded, each fix once.
        companions = [
            fields
            for _, fields in await service.redis.xrange("drover:log:0")
            if int(fields[b"k"]) == EntryKind.COMPANION
        ]
        assert len(companions) == 16
        gone = pb.DeleteProximityRequest(proximity_id="coupled")
        await service.definitions.DeleteProximity(gone, metadata=service.as_())
        assert await problem(service.definitions.DeleteProximity(gone, metadata=service.as_())) == (
            grpc.StatusCode.NOT_FOUND, "unknown_proximity"
        )  # fmt: skip


async def test_an_edit_and_a_deletion_tell_what_they_change(tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        await known(service)
        await send(service, fix(TRAILER, 0, 0), fix(TRUCK, 0, 500), fix(TRAILER, 10, 0), fix(TRUCK, 10, 500))
        wider = Proximity()
        wider.CopyFrom(COUPLED)
        wider.distance_m = 1000.0

        async def heard() -> bool:
            return await service.redis.xlen("drover:log:0") >= 8

        await eventually(heard, 60.0)
        await service.definitions.PutProximity(pb.PutProximityRequest(proximity=wider), metadata=service.as_())
        (met,) = await told(service, 1)
        assert (met.cause, met.devices_met.proximity_version) == (Cause.CAUSE_DEFINITION, 2)
        await service.definitions.DeleteProximity(
            pb.DeleteProximityRequest(proximity_id="coupled"), metadata=service.as_()
        )
        _, parted = await told(service, 2)
        assert (parted.cause, parted.devices_parted.met_at_us) == (Cause.CAUSE_DEFINITION, met.observed_at_us)


async def test_proximities_are_kept_listed_and_guarded(tmp_path: pathlib.Path, redis_url: str, database_url: str):
    common, tracking = settings(tmp_path, redis_url, database_url)
    async with running(common, tracking) as service:
        put, admin = service.definitions.PutProximity, service.as_()
        stored = await put(pb.PutProximityRequest(proximity=COUPLED, expected_version=0), metadata=admin)
        assert (stored.proximity.version, stored.proximity.tenant) == (1, "acme")
        conflict = put(pb.PutProximityRequest(proximity=COUPLED, expected_version=0), metadata=admin)
        assert await problem(conflict) == (grpc.StatusCode.FAILED_PRECONDITION, "version_conflict")
        again = await put(pb.PutProximityRequest(proximity=COUPLED), metadata=admin)
        assert again.proximity.version == 1
        for number in range(3):
            more = Proximity()
            more.CopyFrom(COUPLED)
            more.proximity_id = f"more-{number}"
            await put(pb.PutProximityRequest(proximity=more), metadata=admin)
        first = await service.definitions.ListProximities(pb.ListProximitiesRequest(page_size=3), metadata=admin)
        rest = await service.definitions.ListProximities(
            pb.ListProximitiesRequest(page_size=3, page_token=first.next_page_token), metadata=admin
        )
        ids = [each.proximity_id for each in (*first.proximities, *rest.proximities)]
        assert ids == ["coupled", "more-0", "more-1", "more-2"]
        other = service.as_(tenant="bolt")
        get = pb.GetProximityRequest(proximity_id="coupled")
        assert (await service.definitions.GetProximity(get, metadata=admin)).proximity == stored.proximity
        assert (await problem(service.definitions.GetProximity(get, metadata=other)))[1] == "unknown_proximity"
        viewer = service.as_(Role.VIEWER)
        refused = await problem(put(pb.PutProximityRequest(proximity=COUPLED), metadata=viewer))
        assert refused[0] == grpc.StatusCode.PERMISSION_DENIED
        for code, wrong in (
            ("one_device", {"other_device_id": "truck"}),
            ("bad_distance", {"distance_m": 0.0}),
            ("bad_distance", {"distance_m": float("nan")}),
            ("bad_distance", {"margin_m": -1.0}),
            ("bad_age", {"max_age_us": 0}),
            ("negative", {"minimum_duration_us": -1}),
            ("no_fixes", {"near_fixes": 0}),
            ("bad_device_id", {"other_device_id": ""}),
            ("bad_id", {"proximity_id": "a b"}),
        ):
            asked = Proximity()
            asked.CopyFrom(COUPLED)
            for name, value in wrong.items():
                setattr(asked, name, value)
            answer = await problem(put(pb.PutProximityRequest(proximity=asked), metadata=admin))
            assert answer == (grpc.StatusCode.INVALID_ARGUMENT, code)
