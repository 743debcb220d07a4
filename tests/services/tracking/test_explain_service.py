"""Explain as callers meet it: a real service on a real database tells, and says why."""

from __future__ import annotations

import pathlib

import grpc
import pytest

from drover.api.tracking.v1 import tracking_service_pb2 as pb
from drover.tracking.v1 import explanation_pb2
from runtime.tokens import Role
from services.tracking.explanations.wording import utc
from tests.services.tracking.build import SECOND, positions, readings
from tests.services.tracking.running import Running, announcement, block, running, settings
from tests.services.tracking.test_service import OTHER, TRUCK, fence, now_us, problem, read_positions
from tracking_core.settings import HOUR_US

pytestmark = pytest.mark.server

LONGITUDES = (11.02, 11.01, 11.005, 11.001, 11.009, 11.02)
"""In steps of a minute: out, out, in, in, out, out of 500 m round 11.0."""


async def explain(service: Running, at_us: int, **more: object) -> explanation_pb2.Explanation:
    asked = pb.ExplainRequest(**{"device_id": "truck", "fence_id": "yard", "at_us": at_us, **more})  # type: ignore[arg-type]
    found = (await service.tracking.Explain(asked, metadata=service.as_(Role.VIEWER))).explanation
    # The signal is lost a quarter of an hour after the last fix, at a tick that may have come or not.
    followed = [each for each in found.events if each.accord != explanation_pb2.ACCORD_NOT_FOLLOWED]
    del found.events[:]
    found.events.extend(followed)
    return found


async def test_it_says_why(tmp_path: pathlib.Path, redis_url: str, database_url: str) -> None:
    common, tracking = settings(tmp_path, redis_url, database_url)
    async with running(common, tracking) as service:
        begin_us = await now_us(service) - HOUR_US
        await service.definitions.PutFence(pb.PutFenceRequest(fence=fence()), metadata=service.as_())
        await service.log.append([announcement(0, [TRUCK, OTHER])])
        received_us = await now_us(service)
        fixes = [
            {
                "observed_at_us": begin_us + minute * 60 * SECOND,
                "received_at_us": received_us,
                "latitude_deg": 48.0,
                "longitude_deg": longitude,
            }
            for minute, longitude in enumerate(LONGITUDES)
        ]
        late = fixes.pop(2)
        await service.log.append([block(0, readings(positions(*fixes)))])
        late["received_at_us"] = received_us + SECOND
        await service.log.append([block(0, readings(positions(late)))])
        await read_positions(service, 6)

        found = await explain(service, fixes[1]["observed_at_us"])
        assert [each.kind for each in found.events] == ["geofence_entered", "geofence_exited"]
        assert {each.accord for each in found.events} == {explanation_pb2.ACCORD_AGREES}
        assert [len(each.revisions) for each in found.events] == [2, 1]
        assert found.events[0].confirmed_at_us == late["observed_at_us"]
        assert [fix.arrived_late for fix in found.fixes] == [False, False, True, False, False, False]
        assert [fix.event_kind for fix in found.fixes] == ["", "", "geofence_entered", "", "geofence_exited", ""]
        assert found.answer[0].endswith("truck counted as outside “Yard”.")
        assert "It was told first as" in found.answer[1]
        assert found.start_basis == explanation_pb2.START_BASIS_FIRST_FIX

        # Where a minute is asked about, what was before settles how it begins.
        minute = await explain(service, fixes[2]["observed_at_us"], window_us=30 * SECOND)
        assert [fix.state_after for fix in minute.fixes] == [explanation_pb2.PRESENCE_STATE_IN]
        assert not minute.events
        assert minute.answer == [
            f"At {utc(fixes[2]['observed_at_us']):%Y-%m-%d %H:%M:%S} UTC truck counted as inside “Yard”.",
            "It stayed inside: the one fix that counts speaks for in.",
            "No dwell and no speeding is told: the fence asks for neither.",
        ]

        edited = await service.definitions.PutFence(
            pb.PutFenceRequest(fence=fence(radius_m=5_000.0)), metadata=service.as_()
        )
        assert edited.fence.version == 2
        fix = {**fixes[-1], "observed_at_us": await now_us(service), "received_at_us": await now_us(service)}
        await service.log.append([block(0, readings(positions(fix)))])
        await read_positions(service, 7)
        found = await explain(service, fixes[-1]["observed_at_us"], window_us=2 * HOUR_US)
        assert [each.kind for each in found.events][2:] == ["geofence_entered"]
        assert found.events[2].accord == explanation_pb2.ACCORD_AGREES
        assert "the fence got another shape" in found.events[2].text
        assert [(each.version, each.made_meanwhile) for each in found.versions] == [(1, False), (2, True)]
        assert [fix.fence_version for fix in found.fixes] == [1] * 6 + [2]

        await service.definitions.DeleteFence(pb.DeleteFenceRequest(fence_id="yard"), metadata=service.as_())
        gone = await explain(service, fixes[1]["observed_at_us"])
        assert {each.accord for each in gone.events[:2]} == {explanation_pb2.ACCORD_AGREES}


async def test_what_cannot_be_explained(tmp_path: pathlib.Path, redis_url: str) -> None:
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        at_us = await now_us(service)
        await service.definitions.PutFence(pb.PutFenceRequest(fence=fence()), metadata=service.as_())
        await service.log.append([announcement(0, [TRUCK, OTHER])])
        await service.log.append([block(0, readings(positions({"observed_at_us": at_us})))])
        await read_positions(service, 1)
        viewer = service.as_(Role.VIEWER)
        for asked, status, code in (
            ({"device_id": "van"}, grpc.StatusCode.NOT_FOUND, "unknown_device"),
            ({"fence_id": "dock"}, grpc.StatusCode.NOT_FOUND, "unknown_fence"),
            ({"at_us": 0}, grpc.StatusCode.INVALID_ARGUMENT, "bad_time"),
            ({"at_us": 253_402_300_799_000_000}, grpc.StatusCode.INVALID_ARGUMENT, "bad_time"),
            ({"at_us": 10**18}, grpc.StatusCode.INVALID_ARGUMENT, "bad_time"),
            ({"window_us": -1}, grpc.StatusCode.INVALID_ARGUMENT, "bad_time"),
            ({"window_us": 25 * HOUR_US}, grpc.StatusCode.INVALID_ARGUMENT, "bad_time"),
        ):
            request = pb.ExplainRequest(**{"device_id": "truck", "fence_id": "yard", "at_us": at_us, **asked})  # type: ignore[arg-type]
            assert await problem(service.tracking.Explain(request, metadata=viewer)) == (status, code), asked
        request = pb.ExplainRequest(device_id="truck", fence_id="yard", at_us=at_us)
        # The truck of another tenant has the same id; the fence is not its own.
        other = service.tracking.Explain(request, metadata=service.as_(tenant="bolt"))
        assert await problem(other) == (grpc.StatusCode.NOT_FOUND, "unknown_fence")
        refused = service.tracking.Explain(request, metadata=service.as_(Role.DEVICE))
        assert await problem(refused) == (grpc.StatusCode.PERMISSION_DENIED, "role_not_allowed")
