"""The service as a whole: blocks into the log; rows, events, frames and answers out."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Awaitable, Callable

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from prometheus_client import REGISTRY

from drover.api.tracking.v1 import tracking_service_pb2 as pb
from drover.geofence.v1.fence_pb2 import Circle, CrossingRule, Fence, Geometry, MultiPolygon, Polygon, Ring
from drover.telemetry.v1.reading_pb2 import Quantity
from drover.tracking.v1.definition_pb2 import DefinitionChange, Route, RouteStop, SensorLimit
from drover.tracking.v1.event_pb2 import Severity, TrackingEvent, Verdict
from runtime.partitioned_log import Append, stream_key
from runtime.redis_client import AWAY
from runtime.tokens import Role
from services.tracking.event_sink import STREAM
from services.tracking.model import Device
from stack.ports import any_free
from tests.services.tracking.build import SECOND, positions, readings, sensors, tags
from tests.services.tracking.running import Running, announcement, block, running, settings
from tracking_core import live_frame
from tracking_core.block import EntryKind

pytestmark = pytest.mark.server

TRUCK, VAN, OTHER = Device(0, "acme", "truck", "Truck"), Device(1, "acme", "van", ""), Device(2, "bolt", "truck", "")
NEAR, FAR = {"latitude_deg": 48.0, "longitude_deg": 11.0}, {"latitude_deg": 48.1, "longitude_deg": 11.0}


def fence(fence_id: str = "yard", radius_m: float = 500.0, name: str = "Yard") -> Fence:
    return Fence(
        fence_id=fence_id,
        name=name,
        geometry=Geometry(circle=Circle(longitude_deg=11.0, latitude_deg=48.0, radius_m=radius_m)),
        crossing=CrossingRule(enter_fixes=1, exit_fixes=1),
    )


async def eventually(ask: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await ask():  # noqa: ASYNC110 - what is waited for knows nothing of tests
            await asyncio.sleep(0.01)


async def now_us(service: Running) -> int:
    seconds, microseconds = await service.redis.time()
    return int(seconds) * SECOND + int(microseconds)


async def accounts(service: Running, tenant: str = "acme") -> pb.GetAccountsResponse:
    return await service.tracking.GetAccounts(pb.GetAccountsRequest(), metadata=service.as_(tenant=tenant))


async def read_positions(service: Running, amount: int) -> pb.GetAccountsResponse:
    async def enough() -> bool:
        return (await accounts(service)).positions_read >= amount

    await eventually(enough)
    return await accounts(service)


async def events(service: Running) -> list[TrackingEvent]:
    return [TrackingEvent.FromString(fields[b"e"]) for _, fields in await service.redis.xrange(STREAM)]


async def problem(call: Awaitable[Message]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    codes = [value for key, value in raised.value.trailing_metadata() if key == "drover-problem"]
    return raised.value.code(), codes[0]


async def test_from_log_to_rows_events_frames_and_answers(tmp_path: pathlib.Path, redis_url: str, database_url: str):
    common, tracking = settings(tmp_path, redis_url, database_url)
    async with running(common, tracking) as service:
        start = await now_us(service) - 60 * SECOND
        await service.definitions.PutFence(pb.PutFenceRequest(fence=fence()), metadata=service.as_())
        await service.log.append([announcement(0, [TRUCK, OTHER]), announcement(1, [VAN])])
        async with service.redis.pubsub() as heard:
            await heard.psubscribe("drover.live.*", "drover.alerts.*")
            for _ in range(2):
                await heard.get_message(timeout=1)
            fixes = [
                {"observed_at_us": start + second * SECOND, "received_at_us": start, **place}
                for second, place in enumerate((FAR, NEAR, NEAR, FAR))
            ]
            fixes[1]["latitude_deg"] = 48.001
            for number, fix in enumerate(fixes):
                fix["observed_at_us"] = start + number * 600 * SECOND - 1800 * SECOND
            once = readings(positions(*fixes), sensors({"observed_at_us": start}), tags({"observed_at_us": start}))
            await service.log.append([block(0, once), block(1, readings(positions({**fixes[0], "device": 1})))])
            await service.log.append([block(0, once)])
            counted = await read_positions(service, 9)
            assert (counted.positions_read, counted.positions_stored, counted.positions_repeated) == (9, 5, 4)
            assert (counted.sensors_stored, counted.sensors_repeated) == (1, 1)
            assert (counted.tags_stored, counted.tags_repeated) == (1, 1)
            assert {each.verdict: each.count for each in counted.verdicts} == {
                Verdict.VERDICT_OK: 5,
                Verdict.VERDICT_DUPLICATE: 4,
            }
            published = await events(service)
            kinds = [event.WhichOneof("kind") for event in published]
            assert [kind for kind in kinds if kind.startswith("geofence")] == ["geofence_entered", "geofence_exited"]
            assert published[0].device_id == "truck"
            hints, frames = [], []
            while message := await heard.get_message(timeout=0.3):
                (frames if message["channel"].startswith(b"drover.live") else hints).append(message)
            assert [hint["data"] for hint in hints] == [
                event.SerializeToString(deterministic=True) for event in published
            ]
            newest = live_frame.unpack(frames[0]["data"])
            assert newest.device.tolist() in ([0], [1])
        listed = await service.tracking.ListEvents(pb.ListEventsRequest(alerts_only=True), metadata=service.as_())
        assert [event.severity for event in listed.events] == [Severity.SEVERITY_INFO] * 2
        latest = await service.tracking.GetLatest(pb.GetLatestRequest(), metadata=service.as_())
        assert [position.device_id for position in latest.positions] == ["truck", "van"]
        assert latest.positions[0].display_name == "Truck"
        assert latest.positions[0].latitude_deg == 48.1
        track = await service.tracking.GetTrack(
            pb.GetTrackRequest(device_id="truck", page_size=3), metadata=service.as_()
        )
        assert len(track.points) == 3
        rest = await service.tracking.GetTrack(
            pb.GetTrackRequest(device_id="truck", page_size=3, page_token=track.next_page_token),
            metadata=service.as_(),
        )
        assert [point.observed_at_us for point in (*track.points, *rest.points)] == [
            fix["observed_at_us"] for fix in fixes
        ]
        assert rest.next_page_token == ""


async def test_a_log_that_is_dated_ahead_is_folded_and_said(tmp_path: pathlib.Path, redis_url: str) -> None:
    """The clock of Redis was an hour ahead for a moment: all that comes within the next hour has that time."""
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        start = await now_us(service)
        ahead = f"{start // 1000 + 3_600_000}-0"
        for partition in range(common.partitions):
            await service.redis.xadd(stream_key(partition), {"k": str(int(EntryKind.TICK)), "b": ""}, id=ahead)
        await service.log.append([announcement(0, [TRUCK])])
        await service.log.append([block(0, readings(positions({"observed_at_us": start, "received_at_us": start})))])
        counted = await read_positions(service, 1)
        assert {each.verdict: each.count for each in counted.verdicts} == {Verdict.VERDICT_OK: 1}
        assert (REGISTRY.get_sample_value("drover_tracking_log_ahead_seconds") or 0.0) > 3000.0


async def test_a_tenant_sees_only_its_own(tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        start = await now_us(service)
        await service.definitions.PutFence(pb.PutFenceRequest(fence=fence()), metadata=service.as_())
        await service.log.append([announcement(0, [TRUCK, OTHER])])
        fixes = positions({"observed_at_us": start, **NEAR}, {"observed_at_us": start, "device": 2, **FAR})
        await service.log.append([block(0, readings(fixes))])
        await read_positions(service, 1)
        bolt = service.as_(tenant="bolt")
        assert (await accounts(service, "bolt")).positions_read == 1
        latest = await service.tracking.GetLatest(pb.GetLatestRequest(), metadata=bolt)
        assert [position.device_number for position in latest.positions] == [2]
        latest = await service.tracking.GetLatest(pb.GetLatestRequest(device_ids=["truck", "van"]), metadata=bolt)
        assert [position.device_number for position in latest.positions] == [2]
        assert not (await service.definitions.ListFences(pb.ListFencesRequest(), metadata=bolt)).fences
        get = service.definitions.GetFence(pb.GetFenceRequest(fence_id="yard"), metadata=bolt)
        assert await problem(get) == (grpc.StatusCode.NOT_FOUND, "unknown_fence")
        delete = service.definitions.DeleteFence(pb.DeleteFenceRequest(fence_id="yard"), metadata=bolt)
        assert await problem(delete) == (grpc.StatusCode.NOT_FOUND, "unknown_fence")
        track = service.tracking.GetTrack(pb.GetTrackRequest(device_id="van"), metadata=bolt)
        assert await problem(track) == (grpc.StatusCode.NOT_FOUND, "unknown_device")


async def test_who_may_do_what(tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        put = pb.PutFenceRequest(fence=fence())
        for role in (Role.VIEWER, Role.DEVICE, Role.FORWARDER):
            refused = service.definitions.PutFence(put, metadata=service.as_(role))
            assert await problem(refused) == (grpc.StatusCode.PERMISSION_DENIED, "role_not_allowed")
        for role in (Role.DEVICE, Role.FORWARDER):
            refused = service.tracking.GetLatest(pb.GetLatestRequest(), metadata=service.as_(role))
            assert await problem(refused) == (grpc.StatusCode.PERMISSION_DENIED, "role_not_allowed")
        refused = service.definitions.PutFence(put)
        assert await problem(refused) == (grpc.StatusCode.UNAUTHENTICATED, "token_missing")
        refused = service.tracking.GetLatest(pb.GetLatestRequest(), metadata=service.as_(Role.SERVICE))
        assert await problem(refused) == (grpc.StatusCode.INVALID_ARGUMENT, "no_tenant")
        await service.definitions.PutFence(put, metadata=service.as_(Role.DISPATCHER))
        await service.definitions.GetFence(pb.GetFenceRequest(fence_id="yard"), metadata=service.as_(Role.VIEWER))


async def test_fences_are_versioned_edited_and_listed(tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url, max_fence_vertices=100)
    async with running(common, tracking) as service:
        admin = service.as_()

        async def put(a_fence: Fence, **expected: int) -> Fence:
            request = pb.PutFenceRequest(fence=a_fence, **expected)
            return (await service.definitions.PutFence(request, metadata=admin)).fence

        async with service.redis.pubsub() as heard:
            await heard.subscribe("drover.definitions.acme")
            await heard.get_message(timeout=1)
            first = await put(fence(), expected_version=0)
            assert (first.version, first.tenant, first.name) == (1, "acme", "Yard")
            assert (await put(fence())).version == 1, "the same again is no edit"
            assert (await put(fence(radius_m=400.0), expected_version=1)).version == 2
            conflict = service.definitions.PutFence(
                pb.PutFenceRequest(fence=fence(), expected_version=1), metadata=admin
            )
            assert await problem(conflict) == (grpc.StatusCode.FAILED_PRECONDITION, "version_conflict")
            await service.definitions.DeleteFence(pb.DeleteFenceRequest(fence_id="yard"), metadata=admin)
            gone = service.definitions.GetFence(pb.GetFenceRequest(fence_id="yard"), metadata=admin)
            assert await problem(gone) == (grpc.StatusCode.NOT_FOUND, "unknown_fence")
            assert (await put(fence(), expected_version=0)).version == 4, "versions go on past a deletion"
            changes = [
                DefinitionChange.FromString((await heard.get_message(timeout=1))["data"]).WhichOneof("change")
                for _ in range(4)
            ]
            assert changes == ["fence_put", "fence_put", "fence_deleted", "fence_put"]
        for name in ("a", "b", "c"):
            await put(fence(name))
        page = await service.definitions.ListFences(pb.ListFencesRequest(page_size=3), metadata=admin)
        assert [each.fence_id for each in page.fences] == ["a", "b", "c"]
        last = await service.definitions.ListFences(
            pb.ListFencesRequest(page_size=3, page_token=page.next_page_token), metadata=admin
        )
        assert [each.fence_id for each in last.fences] == ["yard"]
        assert last.next_page_token == ""
        for bad, code in (
            (fence("bad id!"), "bad_id"),
            (fence(radius_m=-1.0), "bad_radius"),
            (fence(radius_m=float("nan")), "bad_radius"),
            (bow_tie(), "self_crossing"),
            (many_vertices(101), "too_many_points"),
            (Fence(fence_id="empty"), "missing"),
        ):
            refused = service.definitions.PutFence(pb.PutFenceRequest(fence=bad), metadata=admin)
            assert await problem(refused) == (grpc.StatusCode.INVALID_ARGUMENT, code)
        for token in ("nonsense", "bm9uc2Vuc2U", page.next_page_token):
            refused = service.tracking.ListEvents(pb.ListEventsRequest(page_token=token), metadata=admin)
            assert await problem(refused) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_page_token")


def bow_tie() -> Fence:
    ring = Ring(longitude_deg=[0.0, 1.0, 0.0, 1.0], latitude_deg=[0.0, 1.0, 1.0, 0.0])
    return Fence(fence_id="bow", geometry=Geometry(multi_polygon=MultiPolygon(polygons=[Polygon(rings=[ring])])))


def many_vertices(count: int) -> Fence:
    ring = Ring(longitude_deg=[0.0] * count, latitude_deg=[0.0] * count)
    return Fence(fence_id="many", geometry=Geometry(multi_polygon=MultiPolygon(polygons=[Polygon(rings=[ring])])))


async def test_limits_and_routes_wait_for_their_device(tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        admin = service.as_()
        limit = SensorLimit(
            limit_id="cold", device_id="van", quantity=Quantity.QUANTITY_TEMPERATURE_CELSIUS, maximum=8.0
        )
        stored = await service.definitions.PutSensorLimit(pb.PutSensorLimitRequest(limit=limit), metadata=admin)
        assert (stored.limit.version, stored.limit.tenant) == (1, "acme")
        route = Route(
            route_id="r1", device_id="van", stops=[RouteStop(stop_id="s", longitude_deg=11.0, latitude_deg=48.1)]
        )
        await service.definitions.PutRoute(pb.PutRouteRequest(route=route), metadata=admin)
        eta = service.tracking.GetEta(pb.GetEtaRequest(route_id="r1"), metadata=admin)
        assert await problem(eta) == (grpc.StatusCode.NOT_FOUND, "unknown_device")
        await service.log.append([announcement(1, [VAN])])

        async def known() -> bool:
            try:
                await service.tracking.GetEta(pb.GetEtaRequest(route_id="r1"), metadata=admin)
            except grpc.aio.AioRpcError as error:
                return error.code() is not grpc.StatusCode.NOT_FOUND
            return True

        await eventually(known)
        start = await now_us(service)
        hot = [{"device": 1, "observed_at_us": start + number, "value": 9.5} for number in range(2)]
        fix = positions({"device": 1, "observed_at_us": start, **NEAR})
        await service.log.append([block(1, readings(fix, sensors(*hot)))])
        await read_positions(service, 1)
        (opened,) = await events(service)
        assert opened.excursion_opened.limit_id == "cold"
        assert opened.severity == Severity.SEVERITY_WARNING
        answer = await service.tracking.GetEta(pb.GetEtaRequest(route_id="r1"), metadata=admin)
        assert answer.device_id == "van"
        assert answer.based_on_us == start
        assert answer.stops[0].p50_us > start
        assert 11_000 < answer.stops[0].remaining_m < 20_000, "11 km as the crow flies"
        await service.definitions.DeleteRoute(pb.DeleteRouteRequest(route_id="r1"), metadata=admin)
        eta = service.tracking.GetEta(pb.GetEtaRequest(route_id="r1"), metadata=admin)
        assert await problem(eta) == (grpc.StatusCode.NOT_FOUND, "unknown_route")
        await service.definitions.DeleteSensorLimit(pb.DeleteSensorLimitRequest(limit_id="cold"), metadata=admin)

        async def closed() -> bool:
            return len(await events(service)) == 2

        await eventually(closed)
        assert (await events(service))[1].WhichOneof("kind") == "excursion_closed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"limit_id": "no spaces"}, "bad_id"),
        ({"device_id": ""}, "bad_device_id"),
        ({"quantity": 0}, "unknown_quantity"),
        ({"quantity": 99}, "unknown_quantity"),
        ({"maximum": None}, "no_bound"),
        ({"minimum": 9.0}, "bounds_crossed"),
        ({"maximum": float("nan")}, "not_finite"),
        ({"hysteresis": -1.0}, "negative"),
    ],
)
async def test_limits_that_cannot_be_obeyed_are_refused(change: dict[str, object], code: str):
    from services.tracking.definition_rules import checked_limit
    from services.tracking.model import InvalidDefinition

    fields = {"limit_id": "l", "device_id": "d", "quantity": 1, "maximum": 8.0, **change}
    with pytest.raises(InvalidDefinition) as raised:
        checked_limit(SensorLimit(**fields), "acme")  # type: ignore[arg-type]
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"fence_id": "no spaces"}, "bad_id"),
        ({"planned_arrival_us": -1}, "bad_planned_arrival"),
        ({"planned_arrival_us": 2**62}, "bad_planned_arrival"),
        ({"arrival_grace_us": -1}, "bad_grace"),
        ({"arrival_grace_us": 2**62}, "bad_grace"),
    ],
)
async def test_arrivals_that_cannot_be_waited_for_are_refused(change: dict[str, object], code: str):
    from services.tracking.definition_rules import checked_route
    from services.tracking.model import InvalidDefinition
    from services.tracking.ports import Limits

    stop = RouteStop(stop_id="s", longitude_deg=11.0, latitude_deg=48.1, **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidDefinition) as raised:
        checked_route(Route(route_id="r", device_id="d", stops=[stop]), "acme", Limits(9, 9))
    assert raised.value.code == code


async def test_a_timer_of_an_idle_partition_fires_by_a_tick(tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url, tag_silence_s=0.5)
    async with running(common, tracking) as service:
        await service.log.append([announcement(0, [TRUCK])])
        await service.log.append([block(0, readings(reads=tags({"observed_at_us": await now_us(service)})))])

        async def departed() -> bool:
            kinds = [event.WhichOneof("kind") for event in await events(service)]
            assert kinds in ([], ["tag_arrived"], ["tag_arrived", "tag_departed"])
            return len(kinds) == 2

        await eventually(departed)
        kinds = [int(fields[b"k"]) for _, fields in await service.redis.xrange("drover:log:0")]
        assert EntryKind.TICK in kinds
        assert kinds.count(EntryKind.TICK) <= 3, "not before one is due"
        assert [int(fields[b"k"]) for _, fields in await service.redis.xrange("drover:log:1")] == []


async def test_entries_that_cannot_be_read_stop_nothing(tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        whole = block(0, readings(positions({"observed_at_us": await now_us(service), **NEAR})))
        await service.log.append(
            [
                announcement(0, [TRUCK]),
                Append(0, EntryKind.READINGS, b"garbage"),
                Append(0, EntryKind.READINGS, whole.payload[:-1]),
                Append(0, EntryKind.DEFINITION, b"\xff\xff"),
                Append(0, EntryKind.DEFINITION, DefinitionChange().SerializeToString()),
                Append(0, EntryKind.DEFINITION, DefinitionChange(fence_put=Fence(fence_id="x")).SerializeToString()),
                Append(0, EntryKind.ANNOUNCEMENT, b"\xff"),
                Append(0, 99, b""),
                whole,
            ]
        )
        assert (await read_positions(service, 1)).positions_stored == 1


async def test_an_edit_reaches_the_log_once_it_is_back(redis_server, tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url)
    async with running(common, tracking) as service:
        await service.log.append([announcement(0, [TRUCK])])
        redis_server.kill()
        try:
            put = await service.definitions.PutFence(pb.PutFenceRequest(fence=fence()), metadata=service.as_())
            assert put.fence.version == 1
        finally:
            redis_server.start()

        async def there() -> bool:
            try:
                return await service.log.length(1) == 1
            except AWAY:  # our own connections broke too
                return False

        await eventually(there)
        await service.log.append([block(0, readings(positions({"observed_at_us": await now_us(service), **NEAR})))])
        await read_positions(service, 1)
        latest = await service.tracking.GetLatest(pb.GetLatestRequest(), metadata=service.as_())
        assert latest.positions[0].inside_fence_ids == ["yard"]


async def test_the_probe_says_what_is_away(redis_server, tmp_path: pathlib.Path, redis_url: str):
    common, tracking = settings(tmp_path, redis_url, probe_port=any_free())
    async with running(common, tracking), httpx.AsyncClient(base_url=f"http://127.0.0.1:{tracking.probe_port}") as web:
        assert (await web.get("/readyz")).json() == {"ready": True, "wrong": {}}
        assert "drover_tracking_history_queue_rows" in (await web.get("/metrics")).text
        redis_server.kill()
        try:

            async def unready() -> bool:
                answer = await web.get("/readyz")
                return answer.status_code == 503 and list(answer.json()["wrong"]) == ["log"]

            await eventually(unready)
            assert (await web.get("/healthz")).status_code == 200
        finally:
            redis_server.start()

        async def ready() -> bool:
            return (await web.get("/readyz")).status_code == 200

        await eventually(ready)
