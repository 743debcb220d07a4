"""What REST answers when all is well; every answer is held against the model that OpenAPI shows."""

from __future__ import annotations

from typing import Any

import pydantic

from drover.api.ingest.v1.ingest_service_pb2 import DeadLetter
from drover.api.tracking.v1.tracking_service_pb2 import TrackPoint
from drover.geofence.v1.fence_pb2 import Fence
from drover.tracking.v1.definition_pb2 import Proximity
from drover.tracking.v1.event_pb2 import (
    Cause,
    ExcursionClosed,
    GeofenceEntered,
    Severity,
    Standing,
    StopBegan,
    StopEnded,
    TagArrived,
    TagDeparted,
    TrackingEvent,
    TripEnded,
    TripStarted,
)
from gateway.rest.commands import CommandView
from gateway.rest.dead_letters import DeadLetterView, ReplayView
from gateway.rest.devices import CredentialsView, DeviceView, NewDeviceView
from gateway.rest.documentation import Page
from gateway.rest.events import AccountsView, EventView
from gateway.rest.explanations import ExplanationView
from gateway.rest.geofences import FenceCollection, FenceFeature
from gateway.rest.journeys import StopView, TripView
from gateway.rest.positions import PositionCollection, PositionFeature, TrackFeature
from gateway.rest.proximities import ProximityView
from gateway.rest.shipments import EtaView, ShipmentView
from runtime.tokens import Role
from tests.gateway.conftest import Gateway
from tracking_core import definitions

T0 = 1_641_168_000_000_000  # 2022-01-03T00:00:00Z


async def get(gateway: Gateway, path: str, model: Any, *, media_type: str = "application/json") -> dict[str, Any]:
    async with gateway.http(Role.VIEWER) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type), answer.text
    body: dict[str, Any] = answer.json()
    pydantic.TypeAdapter(model).validate_python(body)
    return body


async def geo(gateway: Gateway, path: str, model: Any) -> dict[str, Any]:
    return await get(gateway, path, model, media_type="application/geo+json")


async def test_devices(gateway: Gateway) -> None:
    async with gateway.http(Role.ADMIN) as http:
        made = await http.post("/v1/devices", json={"device_id": "truck-1", "display_name": "Truck 1"})
        unnamed = await http.post("/v1/devices", json={"device_id": "truck-2"})
    assert made.status_code == 201
    assert unnamed.json()["display_name"] == "truck-2"
    assert made.json() == {
        "device_id": "truck-1",
        "tenant": "acme",
        "display_name": "Truck 1",
        "device_number": 1,
        "provisioned_at": "2022-01-03T00:00:00.000000Z",
        "credential_state": "none",
        "credentials": None,
    }
    shown = [{name: value for name, value in each.json().items() if name != "credentials"} for each in (made, unnamed)]
    assert await get(gateway, "/v1/devices/truck-1", DeviceView) == shown[0]
    assert (await get(gateway, "/v1/devices", Page[DeviceView]))["items"] == shown


async def test_credentials(gateway: Gateway) -> None:
    new = {"device_id": "truck-1", "with_credentials": True}
    path = "/v1/devices/truck-1/credentials"
    async with gateway.http(Role.ADMIN) as http:
        made = await http.post("/v1/devices", json=new)
        again = await http.post("/v1/devices", json=new)
        rotated = await http.post(path, json={"token_lifetime_s": 3600})
        too_long = await http.post(path, json={"token_lifetime_s": 10**9})
        revoked = await http.delete(path)
        of_nobody = await http.delete("/v1/devices/truck-9/credentials")
    NewDeviceView.model_validate_json(made.text)
    assert made.json()["credential_state"] == "active"
    assert made.headers["cache-control"] == rotated.headers["cache-control"] == "no-store"
    assert (again.status_code, again.json()["code"]) == (409, "credentials_exist")
    assert rotated.status_code == 201
    assert rotated.json() == {
        "device_id": "truck-1",
        "credential_number": 1,
        "mqtt_username": "acme/truck-1",
        "mqtt_password": "secret",
        "grpc_token": "token",
        "token_expires_at": "2022-01-03T01:00:00.000000Z",
    }
    CredentialsView.model_validate_json(rotated.text)
    assert too_long.status_code == 422
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert of_nobody.status_code == 404
    assert (await get(gateway, "/v1/devices/truck-1", DeviceView))["credential_state"] == "revoked"
    async with gateway.http(Role.DISPATCHER) as http:
        assert (await http.post(path, json={})).status_code == 403
        assert (await http.delete(path)).status_code == 403


async def test_commands(gateway: Gateway) -> None:
    path = "/v1/devices/truck-1/commands"
    order = {"name": "set_interval", "parameters": {"seconds": 30, "mode": "eco"}, "expires_in_s": 60}
    gateway.world.device("acme", "truck-1", 1)
    async with gateway.http(Role.DISPATCHER) as http:
        made = await http.post(path, json=order, headers={"Idempotency-Key": "k-1"})
        again = await http.post(path, json=order, headers={"Idempotency-Key": "k-1"})
        raw = await http.post(path, json={"name": "raw", "payload_base64": "AAEC"})
        assert (made.status_code, again.status_code, raw.status_code) == (201, 200, 201)
        assert again.json() == made.json()
        assert made.json() == {
            "command_id": 1,
            "device_id": "truck-1",
            "name": "set_interval",
            "parameters": {"mode": "eco", "seconds": 30},
            "payload_base64": "",
            "state": "queued",
            "detail": "",
            "created_at": "2022-01-03T00:00:00.000000Z",
            "expires_at": "2022-01-03T00:01:00.000000Z",
            "sent_at": None,
            "answered_at": None,
        }
        assert (raw.json()["parameters"], raw.json()["payload_base64"]) == (None, "AAEC")
        for wrong in (
            {"name": ""},
            {"name": "a b"},
            {"name": "x", "payload_base64": "?"},
            {"name": "x", "parameters": [1]},
            {"name": "x", "expires_in_s": 0},
            {"name": "x", "expires_in": 5},
        ):
            assert (await http.post(path, json=wrong)).status_code == 422, wrong
        assert (await http.post(path, json=order, headers={"Idempotency-Key": "k" * 129})).status_code == 422
        for _ in range(3):
            await http.post(path, json=order)
        full = await http.post(path, json=order)
        assert (full.status_code, full.json()["code"]) == (429, "too_many_open_commands")
    assert await get(gateway, f"{path}/1", CommandView) == made.json()
    first = await get(gateway, f"{path}?limit=3", Page[CommandView])
    second = await get(gateway, f"{path}?limit=3&cursor={first['next_cursor']}", Page[CommandView])
    assert [each["command_id"] for each in first["items"] + second["items"]] == [5, 4, 3, 2, 1]
    assert second["next_cursor"] is None
    async with gateway.http(Role.VIEWER) as http:
        assert (await http.post(path, json=order)).status_code == 403
        assert (await http.get(f"{path}/9")).json()["code"] == "unknown_command"


async def test_pages_follow_one_another_and_end(gateway: Gateway) -> None:
    for number in range(1, 8):
        gateway.world.device("acme", f"truck-{number}", number)
    seen: list[str] = []
    path = "/v1/devices?limit=3"
    pages = 0
    while path:
        page = await get(gateway, path, Page[DeviceView])
        seen += [item["device_id"] for item in page["items"]]
        path = f"/v1/devices?limit=3&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        pages += 1
    assert (pages, seen) == (3, [f"truck-{number}" for number in range(1, 8)])


async def test_a_cursor_of_another_query_is_refused(gateway: Gateway) -> None:
    for number in range(1, 4):
        gateway.world.events["acme"].append(TrackingEvent(event_id=str(number), observed_at_us=T0, confirmed_at_us=T0))
    cursor = (await get(gateway, "/v1/events?limit=2", Page[EventView]))["next_cursor"]
    assert len((await get(gateway, f"/v1/events?limit=2&cursor={cursor}", Page[EventView]))["items"]) == 1
    async with gateway.http() as http:
        for wrong in (f"alerts=true&cursor={cursor}", "cursor=nonsense", "cursor=", f"cursor={cursor}x", "cursor=%F0"):
            answer = await http.get(f"/v1/events?{wrong}")
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor"), wrong


async def test_latest_positions(gateway: Gateway) -> None:
    gateway.world.device("acme", "truck-1", 1)
    gateway.world.device("acme", "truck-2", 2)
    gateway.world.position("acme", "truck-1", 9.98, 53.54, at_us=T0 + 250_000)
    feature = await geo(gateway, "/v1/devices/truck-1/position", PositionFeature)
    assert feature == {
        "type": "Feature",
        "id": "truck-1",
        "geometry": {"type": "Point", "coordinates": [9.98, 53.54]},
        "properties": {
            "device_id": "truck-1",
            "device_number": 1,
            "display_name": "Truck-1",
            "observed_at": "2022-01-03T00:00:00.250000Z",
            "received_at": "2022-01-03T00:00:01.250000Z",
            "altitude_m": None,
            "speed_mps": 12.5,
            "heading_deg": None,
            "accuracy_m": None,
            "inside_fence_ids": [],
            "travelled_m": None,
            "smoothed_latitude_deg": None,
            "smoothed_longitude_deg": None,
            "stop_began_at": None,
        },
    }
    collection = await geo(gateway, "/v1/positions", PositionCollection)
    assert (collection["features"], collection["next_cursor"]) == ([feature], None)
    async with gateway.http() as http:
        never = await http.get("/v1/devices/truck-2/position")
        unknown = await http.get("/v1/devices/truck-3/position")
    assert (never.status_code, never.json()["code"]) == (404, "no_position")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_device")


async def test_tracks(gateway: Gateway) -> None:
    gateway.world.device("acme", "truck-1", 1)
    gateway.world.tracks["acme"]["truck-1"] = [
        TrackPoint(
            observed_at_us=T0 + second * 1_000_000,
            received_at_us=T0 + second * 1_000_000,
            longitude_deg=9.0 + second,
            latitude_deg=53.0,
            speed_mps=1.5,
            verdict=5 if second == 2 else 1,
        )
        for second in range(5)
    ]
    path = "/v1/devices/truck-1/track"
    whole = await geo(gateway, path, TrackFeature)
    assert whole["geometry"] == {
        "type": "LineString",
        "coordinates": [[9.0, 53.0], [10.0, 53.0], [12.0, 53.0], [13.0, 53.0]],
    }
    properties = whole["properties"]
    assert properties["times"][1] == "2022-01-03T00:00:01.000000Z"
    assert (properties["speeds_mps"], properties["headings_deg"]) == ([1.5] * 4, [None] * 4)
    every = await geo(gateway, path + "?all_verdicts=true", TrackFeature)
    assert every["properties"]["verdicts"] == ["ok", "ok", "implausible_jump", "ok", "ok"]
    period = "?from=2022-01-03T01:00:01%2B01:00&until=2022-01-03T00:00:03Z"
    piece = await geo(gateway, path + period, TrackFeature)
    assert piece["geometry"] == {"type": "Point", "coordinates": [10.0, 53.0]}
    empty = await geo(gateway, path + "?from=2023-01-01T00:00:00Z", TrackFeature)
    assert (empty["geometry"], empty["properties"]["times"]) == (None, [])
    first = await geo(gateway, path + "?limit=3", TrackFeature)
    cursor = first["properties"]["next_cursor"]
    rest = await geo(gateway, f"{path}?limit=3&cursor={cursor}", TrackFeature)
    assert len(first["properties"]["times"]) + len(rest["properties"]["times"]) == 4
    assert rest["properties"]["next_cursor"] is None


POLYGON = {"type": "Polygon", "coordinates": [[[9.0, 53.0], [10.0, 53.0], [10.0, 54.0], [9.0, 53.0]]]}


async def test_a_fence_lives_and_is_edited(gateway: Gateway) -> None:
    feature = {"type": "Feature", "geometry": POLYGON, "properties": {"name": "Yard", "labels": {"kind": "depot"}}}
    async with gateway.http(Role.DISPATCHER) as http:
        made = await http.put("/v1/geofences/yard", json=feature)
        assert (made.status_code, made.headers["etag"], made.headers["location"]) == (
            201, '"1"', "/v1/geofences/yard",
        )  # fmt: skip
        assert made.json()["geometry"] == POLYGON
        assert made.json()["properties"]["version"] == 1
        # What was got can be put back: with its version in the properties and If-Match.
        edited = {**made.json(), "properties": {**made.json()["properties"], "name": "New yard"}}
        again = await http.put("/v1/geofences/yard", json=edited, headers={"If-Match": made.headers["etag"]})
        assert (again.status_code, again.headers["etag"]) == (200, '"2"')
        late = await http.put("/v1/geofences/yard", json=edited, headers={"If-Match": '"1"'})
        assert (late.status_code, late.json()["code"]) == (412, "version_conflict")
        unconditional = await http.put("/v1/geofences/yard", json=edited)
        assert unconditional.headers["etag"] == '"3"'
        stored = await geo(gateway, "/v1/geofences/yard", FenceFeature)
        assert stored == unconditional.json()
        assert stored["properties"]["labels"] == {"kind": "depot"}
        collection = await geo(gateway, "/v1/geofences", FenceCollection)
        assert collection["features"] == [stored]
        assert (await http.delete("/v1/geofences/yard", headers={"If-Match": '"2"'})).status_code == 412
        assert (await http.delete("/v1/geofences/yard", headers={"If-Match": '"3"'})).status_code == 204
        assert (await http.get("/v1/geofences/yard")).status_code == 404
        assert (await http.delete("/v1/geofences/yard")).status_code == 404


async def test_a_proximity_lives_and_is_edited(gateway: Gateway) -> None:
    given = {"device_id": "truck", "other_device_id": "trailer", "distance_m": 50.0, "max_age_s": 90.5}
    async with gateway.http(Role.DISPATCHER) as http:
        made = await http.put("/v1/proximities/coupled", json=given, headers={"If-None-Match": "*"})
        assert (made.status_code, made.headers["etag"], made.headers["location"]) == (
            201, '"1"', "/v1/proximities/coupled",
        )  # fmt: skip
        assert made.json() == {
            **given, "proximity_id": "coupled", "version": 1, "name": "", "margin_m": 10.0, "minimum_duration_s": 0.0,
            "near_fixes": 1, "apart_fixes": 2,
        }  # fmt: skip
        assert gateway.world.proximities["acme"]["coupled"].max_age_us == 90_500_000
        edited = {**given, "name": "Coupled"}
        again = await http.put("/v1/proximities/coupled", json=edited, headers={"If-Match": made.headers["etag"]})
        assert (again.status_code, again.headers["etag"]) == (200, '"2"')
        late = await http.put("/v1/proximities/coupled", json=edited, headers={"If-Match": '"1"'})
        assert (late.status_code, late.json()["code"]) == (412, "version_conflict")
        wrong = await http.put("/v1/proximities/coupled", json={**given, "distance_m": 0})
        assert wrong.status_code == 422
        stored = await http.get("/v1/proximities/coupled")
        assert stored.json() == ProximityView.model_validate(stored.json()).model_dump() == again.json()
        listed = await http.get("/v1/proximities")
        assert listed.json() == {"items": [stored.json()], "next_cursor": None}
        assert (await http.delete("/v1/proximities/coupled", headers={"If-Match": '"1"'})).status_code == 412
        assert (await http.delete("/v1/proximities/coupled", headers={"If-Match": '"2"'})).status_code == 204
        assert (await http.get("/v1/proximities/coupled")).status_code == 404
    async with gateway.http(Role.VIEWER) as http:
        assert (await http.put("/v1/proximities/coupled", json=given)).status_code == 403


async def test_a_proximity_that_leaves_things_out_is_shown_as_it_is_obeyed(gateway: Gateway) -> None:
    bare = Proximity(proximity_id="bare", device_id="truck", other_device_id="trailer", distance_m=50.0, version=1)
    gateway.world.proximities["acme"]["bare"] = bare
    async with gateway.http(Role.VIEWER) as http:
        shown = (await http.get("/v1/proximities/bare")).json()
    obeyed = definitions.Proximity("acme", "bare", 0, "truck", 1, "trailer", 50.0)
    assert (shown["margin_m"], shown["max_age_s"], shown["near_fixes"], shown["apart_fixes"]) == (
        obeyed.margin_m, obeyed.max_age_us / 1e6, obeyed.near_fixes, obeyed.apart_fixes,
    )  # fmt: skip


async def test_preconditions_of_a_fence(gateway: Gateway) -> None:
    feature = {"type": "Feature", "geometry": POLYGON, "properties": {}}
    async with gateway.http(Role.DISPATCHER) as http:

        async def put(**headers: str) -> tuple[int, str]:
            answer = await http.put(
                "/v1/geofences/yard", json=feature, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            return answer.status_code, answer.json().get("code", "")

        assert await put(If_Match="*") == (412, "version_conflict")
        assert await put(If_Match='"1"') == (412, "version_conflict")
        assert await put(If_None_Match="*") == (201, "")
        assert await put(If_None_Match="*") == (412, "version_conflict")
        assert await put(If_Match="*") == (200, "")
        for wrong in ("1", '"one"', 'W/"1"', '"1", "2"', '"0"', ""):
            assert await put(If_Match=wrong) == (400, "bad_if_match"), wrong
        assert await put(If_None_Match='"1"') == (400, "bad_if_match")
        assert gateway.world.fences["acme"]["yard"].version == 2


async def test_a_new_fence_gets_an_id_and_takes_none_that_is_taken(gateway: Gateway) -> None:
    circle = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [9.0, 53.0]},
        "properties": {"radius_m": 50},
    }
    async with gateway.http(Role.DISPATCHER) as http:
        made = await http.post("/v1/geofences", json=circle)
        assert made.status_code == 201
        assert made.headers["location"] == f"/v1/geofences/{made.json()['id']}"
        second = await http.post("/v1/geofences", json=circle)
        assert made.json()["id"] != second.json()["id"]
        taken = await http.post("/v1/geofences", json={**circle, "id": made.json()["id"]})
        assert (taken.status_code, taken.json()["code"]) == (409, "id_taken")


async def test_shipments(gateway: Gateway) -> None:
    body = {
        "shipment_id": "s-1",
        "reference": "Order 7",
        "device_id": "truck-1",
        "stops": [
            {
                "name": "Hamburg",
                "longitude_deg": 9.98,
                "latitude_deg": 53.54,
                "planned_arrival_at": "2022-01-03T12:00:00Z",
            },
            {
                "stop_id": "two",
                "longitude_deg": 13.4,
                "latitude_deg": 52.5,
                "fence_id": "depot",
                "service_time_us": 60_000_000,
            },
        ],
        "limits": [{"quantity": "temperature_celsius", "minimum": 2.0, "maximum": 8.0}],
        "handling_units": [{"epc": "3034257bf7194e4000001a85", "name": "Pallet"}],
    }
    async with gateway.http(Role.DISPATCHER) as http:
        made = await http.post("/v1/shipments", json=body)
        assert (made.status_code, made.headers["location"]) == (201, "/v1/shipments/s-1")
        shipment = made.json()
        again = await http.post("/v1/shipments", json=body)
        assert (again.status_code, again.json()["code"]) == (409, "shipment_exists")
    assert shipment["status"] == "planned"
    assert shipment["stops"][0]["planned_arrival_at"] == "2022-01-03T12:00:00.000000Z"
    assert shipment["stops"][1]["planned_arrival_at"] is None
    assert shipment["limits"][0]["quantity"] == "temperature_celsius"
    (unit,) = shipment["handling_units"]
    assert unit["epc"] == "3034257BF7194E4000001A85"
    assert unit["epc_uri"] == "urn:epc:id:sgtin:0614141.812345.6789"
    assert await get(gateway, "/v1/shipments/s-1", ShipmentView) == shipment
    for query, count in (
        ("", 1),
        ("?status=planned&status=delivered", 1),
        ("?status=delivered", 0),
        ("?device_id=x", 0),
    ):
        assert len((await get(gateway, f"/v1/shipments{query}", Page[ShipmentView]))["items"]) == count, query
    eta = await get(gateway, "/v1/shipments/s-1/eta", EtaView)
    assert eta["based_on_at"] is None
    assert eta["stops"][0]["p50_at"] == "1970-01-01T00:00:20.000000Z"
    async with gateway.http(Role.DISPATCHER) as http:
        cancelled = await http.post("/v1/shipments/s-1/cancel", json={"reason": "rain"})
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert (await http.post("/v1/shipments/s-1/cancel")).json()["code"] == "shipment_ended"


def _event(number: int, **kind: Any) -> TrackingEvent:
    return TrackingEvent(
        event_id=f"e{number}",
        tenant="acme",
        device_id="truck-1",
        device_number=1,
        observed_at_us=T0 + number,
        confirmed_at_us=T0 + number,
        cause=Cause.CAUSE_MOVEMENT,
        severity=Severity.SEVERITY_INFO if number == 1 else Severity.SEVERITY_NONE,
        standing=Standing.STANDING_TOLD,
        latitude_deg=53.5,
        **kind,
    )


async def test_events(gateway: Gateway) -> None:
    gateway.world.events["acme"] = [
        _event(4, tag_departed=TagDeparted(epc=bytes.fromhex("317A7202CC164BA20B000000"), antenna=1)),
        _event(3, tag_arrived=TagArrived(epc=b"\x00\x30", antenna=2)),
        _event(
            2,
            excursion_closed=ExcursionClosed(limit_id="cold", quantity=1, value=7.5, worst_value=9.0, opened_at_us=T0),
        ),
        _event(1, geofence_entered=GeofenceEntered(fence_id="yard", fence_version=3, fence_name="Yard")),
    ]
    items = (await get(gateway, "/v1/events", Page[EventView]))["items"]
    assert [item["kind"] for item in items] == ["tag_departed", "tag_arrived", "excursion_closed", "geofence_entered"]
    assert items[0]["details"] == {
        "epc": "317A7202CC164BA20B000000", "epc_uri": "urn:epc:id:sscc:641035.51913662987", "antenna": 1,
    }  # fmt: skip
    assert items[1]["details"] == {"epc": "0030", "epc_uri": None, "antenna": 2}
    assert items[2]["details"] == {
        "limit_id": "cold", "quantity": "temperature_celsius", "probe": 0, "value": 7.5, "worst_value": 9.0,
        "opened_at": "2022-01-03T00:00:00.000000Z",
    }  # fmt: skip
    assert items[3] == {
        "event_id": "e1", "tenant": "acme", "device_id": "truck-1", "device_number": 1,
        "observed_at": "2022-01-03T00:00:00.000001Z", "confirmed_at": "2022-01-03T00:00:00.000001Z",
        "cause": "movement", "revision": 0, "standing": "told",
            "amends_event_id": "", "told_at": None, "assumed": False, "severity": "info", "alert": True,
        "latitude_deg": 53.5, "longitude_deg": None, "kind": "geofence_entered",
        "details": {"fence_id": "yard", "fence_version": 3, "fence_name": "Yard", "restated": False},
    }  # fmt: skip
    for query, ids in (
        ("alerts=true", ["e1"]),
        ("kind=tag_arrived", ["e3"]),
        ("device_id=truck-2", []),
        ("from=2022-01-03T00:00:00.000002Z", ["e4", "e3", "e2"]),
        ("until=2022-01-03T00:00:00.000002Z", ["e1"]),
    ):
        page = await get(gateway, f"/v1/events?{query}", Page[EventView])
        assert [item["event_id"] for item in page["items"]] == ids, query


async def test_trips_and_stops(gateway: Gateway) -> None:
    for number in (1, 2):
        gateway.world.device("acme", f"truck-{number}", number)
    start = {"started_latitude_deg": 53.0, "started_longitude_deg": 9.0}
    hour = 3_600_000_000
    whole = _event(4, trip_ended=TripEnded(started_at_us=T0 - hour, distance_m=812.5, fastest_mps=9.0, duration_us=hour,
                                           by_silence=True, **start))  # fmt: skip
    gone = _event(3, trip_ended=TripEnded(started_at_us=T0))
    gone.standing = Standing.STANDING_WITHDRAWN
    gateway.world.events["acme"] = [whole, gone, _event(2, stop_ended=StopEnded(began_at_us=T0 - hour))]
    (trip,) = (await get(gateway, "/v1/devices/truck-1/trips", Page[TripView]))["items"]
    assert trip == {
        "event_id": "e4", "started_at": "2022-01-02T23:00:00.000000Z", **start,
        "ended_at": "2022-01-03T00:00:00.000004Z", "ended_latitude_deg": 53.5, "ended_longitude_deg": None,
        "distance_m": 812.5, "duration_us": hour, "fastest_mps": 9.0, "ended_by": "silence",
    }  # fmt: skip
    (stop,) = (await get(gateway, "/v1/devices/truck-1/stops", Page[StopView]))["items"]
    assert stop == {
        "event_id": "e2", "began_at": "2022-01-02T23:00:00.000000Z", "ended_at": "2022-01-03T00:00:00.000002Z",
        "latitude_deg": 53.5, "longitude_deg": None, "duration_us": hour + 2,
    }  # fmt: skip
    for path in (
        "truck-2/trips",
        "truck-1/stops?from=2022-01-03T00:00:00.000003Z",
        "truck-1/trips?until=2022-01-03T00:00:00Z",
    ):
        assert (await get(gateway, f"/v1/devices/{path}", Page[TripView if "trips" in path else StopView]))[
            "items"
        ] == []
    async with gateway.http(Role.VIEWER) as http:
        backwards = await http.get("/v1/devices/truck-1/trips?from=2022-01-03T00:00:00Z&until=2022-01-03T00:00:00Z")
        unknown = await http.get("/v1/devices/truck-3/stops")
    assert (backwards.status_code, backwards.json()["code"]) == (422, "bad_period")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_device")


async def test_what_lasts_is_listed_first(gateway: Gateway) -> None:
    gateway.world.device("acme", "truck-1", 1)
    hour, minute = 3_600_000_000, 60_000_000
    start = {"started_latitude_deg": 53.0, "started_longitude_deg": 9.0}
    ended = _event(1, trip_ended=TripEnded(started_at_us=T0 - hour, duration_us=hour, **start))
    under_way = _event(3, trip_started=TripStarted())
    under_way.observed_at_us = T0 + hour
    gone = _event(4, trip_started=TripStarted())
    gone.observed_at_us, gone.standing = T0 + 2 * hour, Standing.STANDING_WITHDRAWN
    lasting = _event(2, stop_began=StopBegan())
    lasting.observed_at_us = T0 + minute
    gateway.world.events["acme"] = [gone, under_way, lasting, ended]
    trips, stops = "/v1/devices/truck-1/trips", "/v1/devices/truck-1/stops"
    assert (await get(gateway, trips, Page[TripView]))["items"][0] == {
        "event_id": "e3", "started_at": "2022-01-03T01:00:00.000000Z", "started_latitude_deg": 53.5,
        "started_longitude_deg": None, "ended_at": None, "ended_latitude_deg": None, "ended_longitude_deg": None,
        "distance_m": None, "duration_us": None, "fastest_mps": None, "ended_by": None,
    }  # fmt: skip
    assert (await get(gateway, stops, Page[StopView]))["items"] == [
        {"event_id": "e2", "began_at": "2022-01-03T00:01:00.000000Z", "ended_at": None, "latitude_deg": 53.5,
         "longitude_deg": None, "duration_us": None},
    ]  # fmt: skip
    for query, ids in (
        ("", ["e3", "e1"]),
        ("?from=2022-01-03T00:30:00Z", ["e3"]),
        ("?until=2022-01-03T01:00:00Z", ["e1"]),
        ("?until=2022-01-03T01:00:01Z", ["e3", "e1"]),
    ):
        page = await get(gateway, trips + query, Page[TripView])
        assert [item["event_id"] for item in page["items"]] == ids, query
    # It ended: only what ended is listed, and a second page begins with no other.
    closed = _event(5, trip_ended=TripEnded(started_at_us=T0 + hour, duration_us=hour, **start))
    closed.observed_at_us = T0 + 2 * hour
    gateway.world.events["acme"] = [closed, under_way, ended]
    first = await get(gateway, trips + "?limit=1", Page[TripView])
    second = await get(gateway, f"{trips}?limit=1&cursor={first['next_cursor']}", Page[TripView])
    assert [item["event_id"] for item in (*first["items"], *second["items"])] == ["e5", "e1"]


async def test_explanations(gateway: Gateway) -> None:
    gateway.world.device("acme", "truck-1", 1)
    gateway.world.fences["acme"]["yard"] = Fence(fence_id="yard")
    entered = _event(1, geofence_entered=GeofenceEntered(fence_id="yard", fence_version=3, fence_name="Yard"))
    gateway.world.events["acme"] = [entered]
    path = "/v1/devices/truck-1/explain"
    found = await get(gateway, path + "?fence=yard&at=2022-01-03T01:00:00%2B01:00&minutes=10", ExplanationView)
    assert (found["from"], found["at"], found["until"]) == (
        "2022-01-02T23:50:00.000000Z", "2022-01-03T00:00:00.000000Z", "2022-01-03T00:10:00.000000Z",
    )  # fmt: skip
    assert (found["answer"], found["state_at"], found["nearest"]) == (["It counted as inside."], "in", None)
    (fix,) = found["fixes"]
    assert (fix["verdict"], fix["evidence"], fix["reason"], fix["distance_m"]) == ("ok", "in", "inside", -3.5)
    (told,) = found["events"]
    assert (told["accord"], told["revisions"][0]["details"]["fence_version"]) == ("agrees", 3)
    assert found["versions"][0]["crossing"]["exit_fixes"] == 2
    async with gateway.http(Role.VIEWER) as http:
        for query, status, code in (
            ("fence=dock&at=2022-01-03T00:00:00Z", 404, "unknown_fence"),
            ("fence=yard", 422, "invalid_request"),
            ("at=2022-01-03T00:00:00Z", 422, "invalid_request"),
            ("fence=yard&at=yesterday", 422, "invalid_request"),
            ("fence=yard&at=2022-01-03T00:00:00Z&minutes=0", 422, "invalid_request"),
            ("fence=yard&at=2022-01-03T00:00:00Z&more=1", 422, "invalid_request"),
        ):
            answer = await http.get(f"{path}?{query}")
            assert (answer.status_code, answer.json()["code"]) == (status, code), query
        answer = await http.get("/v1/devices/truck-9/explain?fence=yard&at=2022-01-03T00:00:00Z")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_device")


async def test_accounts(gateway: Gateway) -> None:
    accounts = await get(gateway, "/v1/accounts", AccountsView)
    assert accounts["positions_read"] == accounts["positions_stored"] + accounts["positions_repeated"] == 8
    assert accounts["verdicts"] == [{"verdict": "ok", "count": 7}]


async def test_dead_letters(gateway: Gateway) -> None:
    gateway.world.dead_letters["acme"] = {
        number: DeadLetter(
            dead_letter_id=number, tenant="acme", source="mqtt", topic="t", reason=reason, detail="cut off",
            payload=b"\xff\x00", payload_bytes=2, received_at_us=T0,
        )
        for number, reason in ((7, "truncated"), (8, "bad_epc"))
    }  # fmt: skip
    letter = await get(gateway, "/v1/dead-letters/7", DeadLetterView)
    assert (letter["payload_base64"], letter["payload_bytes"], letter["replayed_at"]) == ("/wA=", 2, None)
    assert len((await get(gateway, "/v1/dead-letters", Page[DeadLetterView]))["items"]) == 2
    assert (await get(gateway, "/v1/dead-letters?reason=truncated", Page[DeadLetterView]))["items"] == [letter]
    async with gateway.http(Role.ADMIN) as http:
        replayed = (await http.post("/v1/dead-letters/7/replay")).json()
    ReplayView.model_validate(replayed)
    assert replayed == {"accepted": 3, "reason": ""}


async def test_a_name_may_hold_what_a_path_can(gateway: Gateway) -> None:
    gateway.world.device("acme", "truck 1:Ä", 1)
    assert (await get(gateway, "/v1/devices/truck%201%3A%C3%84", DeviceView))["device_id"] == "truck 1:Ä"
