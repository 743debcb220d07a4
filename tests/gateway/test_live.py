"""From pub/sub to a WebSocket, with a real Redis, a real server and a real client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import numpy as np
import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import ClientConnection

from drover.shipment.v1.shipment_pb2 import Shipment
from drover.tracking.v1.definition_pb2 import DefinitionChange, Key, Route
from drover.tracking.v1.event_pb2 import GeofenceEntered, Severity, TrackingEvent
from gateway.live.frames import Kind, UnpackedFrame, unpack
from gateway.metrics import EVENTS_QUEUED, PUBSUB_DAMAGED
from runtime.problems import Unavailable
from runtime.tokens import Issuer, Role
from tests.gateway.conftest import Gateway, Start, next_frame, next_text
from tests.servers.redis import RedisServer
from tracking_core.live_frame import LiveColumns, pack

pytestmark = pytest.mark.server

EVERYTHING = {"type": "subscribe", "everything": True}
T0 = 1_641_168_000_000_000


def columns(fixes: list[tuple[int, int, float, float]]) -> bytes:
    """A live frame of (device number, seconds after T0, longitude, latitude)."""
    numbers, seconds, longitudes, latitudes = zip(*fixes, strict=True)
    unknown = np.full(len(fixes), np.nan, np.float32)
    observed = np.array(seconds, np.int64) * 1_000_000 + T0
    received = np.full(len(fixes), time.time_ns() // 1000, np.int64)
    return pack(
        LiveColumns(
            np.array(numbers, np.uint32), observed, received, np.array(latitudes), np.array(longitudes),
            unknown + 1, unknown, unknown,
        )
    )  # fmt: skip


async def publish(gateway: Gateway, channel: str, data: bytes) -> None:
    """Publishes once the gateway listens."""
    async with asyncio.timeout(10):
        while not await gateway.publisher.publish(channel, data):  # noqa: ASYNC110 - nothing tells but Redis
            await asyncio.sleep(0.01)


async def move(gateway: Gateway, *fixes: tuple[int, int, float, float]) -> None:
    await publish(gateway, "drover.live.0", columns(list(fixes)))


def places(frame: UnpackedFrame) -> dict[int, float]:
    """Longitude by device number."""
    return dict(zip(frame.device_number.tolist(), frame.longitude_deg.tolist(), strict=True))


async def say(socket: ClientConnection, message: dict[str, Any]) -> None:
    await socket.send(json.dumps(message))


async def hear(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next text of a type."""
    async with asyncio.timeout(10):
        while True:
            message: dict[str, Any] = json.loads(await next_text(socket))
            if message["type"] == kind:
                return message


async def see(socket: ClientConnection) -> UnpackedFrame:
    async with asyncio.timeout(10):
        return unpack(await next_frame(socket))


async def silent(socket: ClientConnection, seconds: float = 0.3) -> bool:
    """Whether nothing comes for a while."""
    try:
        async with asyncio.timeout(seconds):
            await socket.recv()
    except TimeoutError:
        return True
    return False


def fleet(gateway: Gateway, count: int = 3, tenant: str = "acme", first: int = 1) -> None:
    for number in range(first, first + count):
        gateway.world.device(tenant, f"truck-{number}", number)
        gateway.world.position(tenant, f"truck-{number}", float(number), 53.0, at_us=T0)


async def test_snapshot_names_then_differences(live: Gateway) -> None:
    fleet(live)
    async with live.socket() as socket:
        assert socket.subprotocol == "drover.live.v1"
        await say(socket, EVERYTHING)
        assert (await hear(socket, "subscribed"))["resume"]
        names = await hear(socket, "names")
        assert names["devices"][0] == {"device_number": 1, "device_id": "truck-1", "display_name": "Truck-1"}
        first = await see(socket)
        assert (first.kind, places(first)) == (Kind.SNAPSHOT, {1: 1.0, 2: 2.0, 3: 3.0})
        await move(live, (2, 5, 20.0, 53.0))
        second = await see(socket)
        assert (second.kind, places(second)) == (Kind.DIFFERENCE, {2: 20.0})
        assert second.sequence > first.sequence
        assert abs(second.sent_at_us / 1e6 - time.time()) < 10
        await move(live, (1, 6, 10.0, 53.0))
        assert places(await see(socket)) == {1: 10.0}
        await move(live, (2, 4, 99.0, 53.0))  # older than what is shown, and received later: it was put right
        assert places(await see(socket)) == {2: 99.0}
        assert await silent(socket)


async def test_a_viewport_loses_what_leaves_it(live: Gateway) -> None:
    fleet(live)
    async with live.socket() as socket:
        await say(socket, {"type": "subscribe", "viewport": [1.5, 50, 5, 55]})
        assert places(await see(socket)) == {2: 2.0, 3: 3.0}
        await move(live, (2, 1, 6.0, 53.0), (1, 1, 1.6, 53.0))
        frame = await see(socket)
        assert (places(frame), frame.removed.tolist()) == ({1: 1.6}, [2])
        await say(socket, {"type": "subscribe", "viewport": [5, 50, 7, 55]})
        frame = await see(socket)
        assert (frame.kind, places(frame)) == (Kind.SNAPSHOT, {2: 6.0})


async def test_named_devices_and_json(live: Gateway) -> None:
    fleet(live)
    live.world.device("acme", "new", 9)  # provisioned, never seen
    async with live.socket() as socket:
        await say(socket, {"type": "subscribe", "devices": ["truck-3", "new"], "format": "json"})
        first = await hear(socket, "positions")
        assert (first["kind"], [each["device_id"] for each in first["positions"]]) == ("snapshot", ["truck-3"])
        await move(live, (9, 1, 9.0, 53.0), (1, 1, 1.1, 53.0))
        second = await hear(socket, "positions")
        assert second["kind"] == "difference"
        assert second["positions"] == [
            {
                "device_number": 9, "device_id": "new", "display_name": "New",
                "observed_at": "2022-01-03T00:00:01.000000Z", "longitude_deg": 9.0, "latitude_deg": 53.0,
                "speed_mps": None, "heading_deg": None, "accuracy_m": None,
            }
        ]  # fmt: skip


async def test_other_tenants_are_never_seen(live: Gateway) -> None:
    fleet(live)
    fleet(live, 2, "evil", first=11)
    async with live.socket(live.token(Role.ADMIN, "evil")) as socket:
        await say(socket, EVERYTHING)
        assert places(await see(socket)) == {11: 11.0, 12: 12.0}
        await say(socket, {"type": "subscribe", "devices": ["truck-1"]})
        problem = (await hear(socket, "error"))["problem"]
        assert (problem["status"], problem["code"]) == (404, "unknown_device")
        await move(live, (1, 9, 5.0, 53.0), (11, 9, 5.5, 53.0))
        assert places(await see(socket)) == {11: 5.5}
        await publish(live, "drover.alerts.acme.geofence_entered", event(1, tenant="acme"))
        # On a channel that lies about the tenant, nothing is believed.
        await publish(live, "drover.alerts.evil.geofence_entered", event(2, tenant="acme"))
        await publish(live, "drover.alerts.evil.geofence_entered", event(3, tenant="evil", device=11))
        assert (await hear(socket, "event"))["event"]["event_id"] == "e3"


async def test_a_device_that_appears_is_found(live: Gateway) -> None:
    fleet(live, 1)
    async with live.socket() as socket:
        await say(socket, EVERYTHING)
        await see(socket)
        fleet(live, 1, first=2)
        await move(live, (2, 0, 2.0, 53.0))
        assert (await hear(socket, "names"))["devices"][0]["device_id"] == "truck-2"
        assert places(await see(socket)) == {2: 2.0}


def event(number: int, *, tenant: str = "acme", device: int = 1, alert: bool = True) -> bytes:
    return TrackingEvent(
        event_id=f"e{number}",
        tenant=tenant,
        device_id=f"truck-{device}",
        device_number=device,
        observed_at_us=T0,
        confirmed_at_us=T0,
        severity=Severity.SEVERITY_WARNING if alert else Severity.SEVERITY_NONE,
        geofence_entered=GeofenceEntered(fence_id="yard"),
    ).SerializeToString()


async def test_events_come_at_once_and_in_order(live: Gateway) -> None:
    fleet(live)
    async with live.socket() as all_of_them, live.socket() as alerts, live.socket() as of_one, live.socket() as none:
        await say(all_of_them, EVERYTHING)
        await say(alerts, {**EVERYTHING, "events": "alerts"})
        await say(of_one, {"type": "subscribe", "devices": ["truck-2"]})
        await say(none, {**EVERYTHING, "events": "none"})
        for socket in (all_of_them, alerts, of_one, none):
            await see(socket)
        channel = "drover.alerts.acme.geofence_entered"
        for number in range(6):
            await publish(live, channel, event(number, device=1 + number % 2, alert=number % 3 == 0))
        for socket, expected in ((all_of_them, [0, 1, 2, 3, 4, 5]), (alerts, [0, 3]), (of_one, [1, 3, 5])):
            heard = [await hear(socket, "event") for _ in expected]
            assert [each["event"]["event_id"] for each in heard] == [f"e{number}" for number in expected]
            assert [each["alert"] for each in heard] == [number % 3 == 0 for number in expected]
            assert await silent(socket, 0.1)
        assert await silent(none, 0.1)


async def test_edits_are_told(live: Gateway) -> None:
    async with live.socket() as socket:
        await say(socket, EVERYTHING)
        await see(socket)
        changes = [
            (DefinitionChange(fence_deleted=Key(tenant="acme", id="yard", version=4)), "fence", "yard"),
            (DefinitionChange(route_put=Route(route_id="s-1")), "route", "s-1"),
        ]
        for change, kind, name in changes:
            await publish(live, "drover.definitions.acme", change.SerializeToString())
            assert await hear(socket, "definition_changed") == {
                "type": "definition_changed", "kind": kind, "id": name,
            }  # fmt: skip
        await publish(live, "drover.definitions.evil", changes[0][0].SerializeToString())
        await publish(live, "drover.shipments.acme", Shipment(shipment_id="s-1").SerializeToString())
        assert json.loads(await next_text(socket)) == {"type": "shipment_changed", "id": "s-1"}


async def test_a_damaged_message_is_counted_and_passed_over(live: Gateway) -> None:
    fleet(live)
    before = PUBSUB_DAMAGED.labels("live")._value.get() + PUBSUB_DAMAGED.labels("alerts")._value.get()
    async with live.socket() as socket:
        await say(socket, EVERYTHING)
        await see(socket)
        await publish(live, "drover.live.0", b"garbage")
        await publish(live, "drover.live.0", columns([(1, 1, 5.0, 53.0)])[:-8])
        await publish(live, "drover.alerts.acme.geofence_entered", b"\xff\xff")
        await move(live, (4_000_000_000, 1, 5.0, 53.0), (1, 2, 6.0, 53.0))
        assert places(await see(socket)) == {1: 6.0}
    after = PUBSUB_DAMAGED.labels("live")._value.get() + PUBSUB_DAMAGED.labels("alerts")._value.get()
    assert after - before == 3


async def test_after_a_break_of_pubsub_nothing_is_missing(live: Gateway, redis_server: RedisServer) -> None:
    fleet(live)
    async with live.socket() as socket:
        await say(socket, EVERYTHING)
        await see(socket)
        await move(live, (1, 1, 1.5, 53.0))
        await see(socket)
        # While the gateway hears nothing, a truck moves.
        live.world.position("acme", "truck-3", 33.0, 53.0, at_us=T0 + 60_000_000)
        redis_server.command_line("CLIENT KILL TYPE pubsub")
        assert places(await see(socket)) == {3: 33.0}
        await move(live, (3, 61, 34.0, 53.0))
        assert places(await see(socket)) == {3: 34.0}


async def test_a_tracking_service_that_is_away_is_told_and_waited_for(live: Gateway) -> None:
    fleet(live)
    live.world.fail = Unavailable("later", code="starting")
    async with live.socket() as socket:
        await say(socket, EVERYTHING)
        assert (await hear(socket, "error"))["problem"]["code"] == "starting"
        live.world.fail = None
        assert len(places(await see(socket))) == 3


async def test_coming_back_goes_on(live: Gateway) -> None:
    fleet(live)
    async with live.socket() as stays, live.socket() as socket:
        for each in (stays, socket):
            await say(each, EVERYTHING)
        token = (await hear(socket, "subscribed"))["resume"]
        sequence = (await see(socket)).sequence
        await see(stays)
        await socket.close()
        await move(live, (2, 1, 2.5, 53.0))
        await see(stays)
        async with live.socket() as again:
            await say(again, {**EVERYTHING, "resume": token, "sequence": sequence})
            frame = await see(again)
            assert (frame.kind, places(frame)) == (Kind.DIFFERENCE, {2: 2.5})
        async with live.socket() as anew:
            await say(anew, {**EVERYTHING, "resume": token})
            assert (await see(anew)).kind is Kind.SNAPSHOT


async def test_no_more_than_so_many_frames_a_second(start: Start, redis_url: str) -> None:
    async with start(redis_url, frame_interval_s=0.25) as gateway:
        fleet(gateway)
        async with gateway.socket() as socket:
            await say(socket, EVERYTHING)
            await see(socket)
            stop = time.monotonic() + 1.5
            frames, at = 0, 0
            while time.monotonic() < stop:
                at += 1
                await move(gateway, (1, at, at / 1000, 53.0))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        unpack(await next_frame(socket))
                        frames += 1
            assert at > 20
            assert 4 <= frames <= 7


async def test_ping_is_answered(live: Gateway) -> None:
    async with live.socket() as socket:
        await say(socket, {"type": "ping"})
        assert json.loads(await next_text(socket)) == {"type": "pong"}
        await (await socket.ping())


async def test_bad_messages_are_answered_and_change_nothing(live: Gateway) -> None:
    fleet(live)
    async with live.socket() as socket:
        await say(socket, EVERYTHING)
        await see(socket)
        for message, status, code in (
            ("{", 400, "malformed_json"),
            ('{"type": "fly"}', 422, "invalid_request"),
            ('{"type": "subscribe", "viewport": [0, 9, 1, 8]}', 422, "invalid_request"),
            (b"\x00\x01", 400, "malformed_json"),
        ):
            await socket.send(message)
            problem = (await hear(socket, "error"))["problem"]
            assert (problem["status"], problem["code"]) == (status, code)
        await move(live, (1, 1, 1.5, 53.0))
        assert places(await see(socket)) == {1: 1.5}


async def _closed(socket: ClientConnection) -> int | None:
    """The code that the server closes with."""
    async with asyncio.timeout(10):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for _ in socket:
                pass
        await socket.wait_closed()
    return socket.close_code


async def test_who_talks_too_much_is_closed(live: Gateway) -> None:
    async with live.socket() as socket:
        for _ in range(200):
            await say(socket, {"type": "ping"})
        assert await _closed(socket) == 1008


async def test_a_message_too_long_closes(start: Start, redis_url: str) -> None:
    async with start(redis_url, max_message_bytes=2_000) as gateway, gateway.socket() as socket:
        await say(socket, {"type": "subscribe", "devices": ["x" * 2_000]})
        assert await _closed(socket) == 1009


async def test_too_many_devices(start: Start, redis_url: str) -> None:
    async with start(redis_url, max_devices=2) as gateway, gateway.socket() as socket:
        await say(socket, {"type": "subscribe", "devices": ["a", "b", "c"]})
        assert (await hear(socket, "error"))["problem"]["code"] == "too_many_devices"


async def test_too_many_clients(start: Start, redis_url: str) -> None:
    async with start(redis_url, max_clients=1) as gateway, gateway.socket() as first:
        await say(first, {"type": "ping"})
        await hear(first, "pong")
        async with gateway.socket() as second:
            assert await _closed(second) == 1013
        await say(first, {"type": "ping"})
        await hear(first, "pong")


async def test_an_expired_token_closes(live: Gateway) -> None:
    async with live.socket(live.token(Role.VIEWER, lifetime_s=2.0)) as socket:
        await say(socket, EVERYTHING)
        assert await _closed(socket) == 4401


async def test_going_away(live: Gateway) -> None:
    async with live.socket() as first, live.socket() as second:
        await say(first, EVERYTHING)
        await see(first)
        live.hub.stopping.set()
        assert await _closed(first) == await _closed(second) == 1001
        async with asyncio.timeout(5):
            await live.hub.nobody.wait()


async def _refused(gateway: Gateway, **options: Any) -> tuple[int, str]:
    """Status and code of a refused handshake."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        await gateway.socket(**options)
    response = refused.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, json.loads(response.body or b"")["code"]


async def test_who_may_connect(live: Gateway) -> None:
    bearer = {"Authorization": f"Bearer {live.token(Role.VIEWER)}"}
    async with live.socket(subprotocols=["drover.live.v1"], additional_headers=bearer) as socket:
        assert socket.subprotocol == "drover.live.v1"
    stranger = Issuer(Ed25519PrivateKey.generate()).issue("x", "acme", Role.ADMIN, 60.0)
    assert await _refused(live, subprotocols=["drover.live.v1"]) == (401, "token_missing")
    assert await _refused(live, token="nonsense") == (401, "invalid_token")
    assert await _refused(live, token=stranger) == (401, "invalid_token")
    assert await _refused(live, token=live.token(Role.VIEWER, lifetime_s=-5.0)) == (401, "token_expired")
    for role in (Role.DEVICE, Role.FORWARDER, Role.SERVICE):
        assert await _refused(live, token=live.token(role)) == (403, "role_not_allowed")


async def test_pages_of_other_origins_may_not_connect(start: Start, redis_url: str) -> None:
    async with start(redis_url, allowed_origins=["https://map.example"]) as gateway:
        assert await _refused(gateway, origin="https://evil.example") == (403, "origin_not_allowed")
        assert await _refused(gateway, origin="null") == (403, "origin_not_allowed")
        for origin in ("https://map.example", gateway.url):
            async with gateway.socket(origin=origin):
                pass


async def test_what_is_left_leaves_nothing_behind(live: Gateway) -> None:
    fleet(live)
    queued = EVENTS_QUEUED._value.get()
    for _ in range(3):
        async with live.socket() as socket:
            await say(socket, EVERYTHING)
            await see(socket)
            await publish(live, "drover.alerts.acme.geofence_entered", event(1))
    async with asyncio.timeout(5):
        await live.hub.nobody.wait()
    assert live.hub.client_count == 0
    assert not live.hub._audiences["acme"].clients
    assert not live.hub._audiences["acme"].tenant.selections
    assert EVENTS_QUEUED._value.get() == queued
