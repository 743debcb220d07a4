"""Who gets in: every path, every wrong token, every role, and other tenants' things."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drover.api.ingest.v1.ingest_service_pb2 import DeadLetter
from gateway.auth import PUBLIC
from runtime.tokens import Issuer, Role
from tests.gateway.conftest import Gateway

FENCE = {
    "type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": [[[9, 53], [10, 53], [10, 54], [9, 53]]]},
    "properties": {"name": "Yard"},
}
COMMAND = {"name": "set_interval", "parameters": {"seconds": 30}}
PROXIMITY = {"device_id": "truck-1", "other_device_id": "trailer-1", "distance_m": 50.0}
SHIPMENT = {"device_id": "truck-1", "stops": [{"longitude_deg": 9.0, "latitude_deg": 53.0}]}

# Every route: method, path with things of the tenant acme in it, body, the roles that may.
READ = {Role.VIEWER, Role.DISPATCHER, Role.ADMIN}
EDIT = {Role.DISPATCHER, Role.ADMIN}
ROUTES: list[tuple[str, str, Any, set[Role]]] = [
    ("GET", "/v1/devices", None, READ),
    ("POST", "/v1/devices", {"device_id": "new"}, {Role.ADMIN}),
    ("GET", "/v1/devices/truck-1", None, READ),
    ("GET", "/v1/devices/truck-1/position", None, READ),
    ("POST", "/v1/devices/truck-1/credentials", {}, {Role.ADMIN}),
    ("DELETE", "/v1/devices/truck-1/credentials", None, {Role.ADMIN}),
    ("POST", "/v1/devices/truck-1/commands", COMMAND, EDIT),
    ("GET", "/v1/devices/truck-1/commands", None, READ),
    ("GET", "/v1/devices/truck-1/commands/1", None, READ),
    ("GET", "/v1/devices/truck-1/track", None, READ),
    ("GET", "/v1/devices/truck-1/trips", None, READ),
    ("GET", "/v1/devices/truck-1/stops", None, READ),
    ("GET", "/v1/devices/truck-1/explain?fence=yard&at=2026-01-02T10:00:00Z", None, READ),
    ("GET", "/v1/positions", None, READ),
    ("GET", "/v1/geofences", None, READ),
    ("POST", "/v1/geofences", FENCE, EDIT),
    ("GET", "/v1/geofences/yard", None, READ),
    ("PUT", "/v1/geofences/yard", FENCE, EDIT),
    ("DELETE", "/v1/geofences/yard", None, EDIT),
    ("GET", "/v1/proximities", None, READ),
    ("GET", "/v1/proximities/coupled", None, READ),
    ("PUT", "/v1/proximities/coupled", PROXIMITY, EDIT),
    ("DELETE", "/v1/proximities/coupled", None, EDIT),
    ("GET", "/v1/shipments", None, READ),
    ("POST", "/v1/shipments", SHIPMENT, EDIT),
    ("GET", "/v1/shipments/s-1", None, READ),
    ("GET", "/v1/shipments/s-1/eta", None, READ),
    ("POST", "/v1/shipments/s-1/cancel", {}, EDIT),
    ("GET", "/v1/events", None, READ),
    ("GET", "/v1/accounts", None, READ),
    ("GET", "/v1/dead-letters", None, READ),
    ("GET", "/v1/dead-letters/7", None, READ),
    ("POST", "/v1/dead-letters/7/replay", None, {Role.ADMIN}),
]


@pytest.fixture
async def full(gateway: Gateway) -> Gateway:
    gateway.world.device("acme", "truck-1", 1)
    gateway.world.position("acme", "truck-1", 9.5, 53.5)
    async with gateway.http() as http:
        assert (await http.put("/v1/geofences/yard", json=FENCE)).status_code == 201
        assert (await http.put("/v1/proximities/coupled", json=PROXIMITY)).status_code == 201
        assert (await http.post("/v1/shipments", json={**SHIPMENT, "shipment_id": "s-1"})).status_code == 201
        assert (await http.post("/v1/devices/truck-1/commands", json=COMMAND)).status_code == 201
    gateway.world.dead_letters["acme"][7] = DeadLetter(dead_letter_id=7, tenant="acme", reason="truncated")
    gateway.world.calls.clear()
    return gateway


async def test_the_list_of_routes_is_complete(gateway: Gateway) -> None:
    async with gateway.http(None) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    documented = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    placeholders = {"truck-1": "{device_id}", "yard": "{fence_id}", "s-1": "{shipment_id}", "7": "{dead_letter_id}"}
    placeholders |= {"1": "{command_id}", "coupled": "{proximity_id}"}
    listed = {
        (method, "/".join(placeholders.get(part, part) for part in path.split("?")[0].split("/")))
        for method, path, _, _ in ROUTES
    }
    assert documented == listed | {("GET", path) for path in PUBLIC}


def _claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": "drover", "aud": "drover", "sub": "x", "tenant": "acme", "role": "admin", "iat": now, "exp": now + 60,
    }  # fmt: skip
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def _wrong_tokens(gateway: Gateway) -> dict[str, str]:
    own: Any = gateway.keys.issuer._private_key
    stranger = Ed25519PrivateKey.generate()
    good = gateway.token()
    header, payload, signature = good.split(".")
    other_payload = jwt.encode(_claims(tenant="evil"), stranger, "EdDSA").split(".")[1]
    return {
        "nonsense": "abc",
        "empty": "",
        "expired": jwt.encode(_claims(exp=int(time.time()) - 1), own, "EdDSA"),
        "wrong audience": jwt.encode(_claims(aud="other"), own, "EdDSA"),
        "no audience": jwt.encode(_claims(aud=None), own, "EdDSA"),
        "wrong issuer": jwt.encode(_claims(iss="other"), own, "EdDSA"),
        "no expiry": jwt.encode(_claims(exp=None), own, "EdDSA"),
        "no tenant": jwt.encode(_claims(tenant=None), own, "EdDSA"),
        "unknown role": jwt.encode(_claims(role="king"), own, "EdDSA"),
        "algorithm none": jwt.encode(_claims(), None, "none"),
        "another algorithm": jwt.encode(_claims(), "a secret that is long enough for the library", "HS256"),
        "a stranger's key": Issuer(stranger).issue("x", "acme", Role.ADMIN, 60.0),
        "signature cut": f"{header}.{payload}.{signature[:-4]}",
        "payload of another": f"{header}.{other_payload}.{signature}",
    }


@pytest.mark.parametrize(
    ("method", "path", "body"), [route[:3] for route in ROUTES], ids=[" ".join(route[:2]) for route in ROUTES]
)
async def test_no_route_answers_without_a_good_token(full: Gateway, method: str, path: str, body: Any) -> None:
    async with full.http(None) as http:
        for name, token in {**_wrong_tokens(full), "none": None}.items():
            headers = {} if token is None else {"Authorization": f"Bearer {token}".strip()}
            answer = await http.request(method, path, json=body, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), name
            assert answer.headers["www-authenticate"].startswith("Bearer")
            expected = {"none": "token_missing", "empty": "token_missing", "expired": "token_expired"}
            assert answer.json()["code"] == expected.get(name, "invalid_token"), name
    assert full.world.calls == []


async def test_a_token_of_another_scheme_does_not_count(full: Gateway) -> None:
    async with full.http(None) as http:
        answer = await http.get("/v1/devices", headers={"Authorization": f"Basic {full.token()}"})
    assert answer.json()["code"] == "token_missing"


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_may_what_it_may_and_no_more(full: Gateway, role: Role) -> None:
    async with full.http(role) as http:
        for method, path, body, roles in ROUTES:
            full.world.calls.clear()
            answer = await http.request(method, path, json=body)
            if role in roles:
                assert answer.status_code < 300, (method, path, answer.text)
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "role_not_allowed"), (method, path)
                assert full.world.calls == []
            if (method, path) == ("DELETE", "/v1/geofences/yard") and answer.status_code == 204:
                assert (await http.put(path, json=FENCE)).status_code == 201
            if (method, path) == ("DELETE", "/v1/proximities/coupled") and answer.status_code == 204:
                assert (await http.put(path, json=PROXIMITY)).status_code == 201


OWNED = [route for route in ROUTES if any(part in route[1] for part in ("truck-1", "yard", "coupled", "s-1", "/7"))]


@pytest.mark.parametrize(
    ("method", "path", "body"), [route[:3] for route in OWNED], ids=[" ".join(route[:2]) for route in OWNED]
)
async def test_other_tenants_things_do_not_exist(full: Gateway, method: str, path: str, body: Any) -> None:
    async with full.http(Role.ADMIN, "evil") as http:
        answer = await http.request(method, path, json=body)
    if method == "PUT":  # a fence or a proximity of its own, under the same id
        assert answer.status_code == 201
        assert full.world.fences["acme"]["yard"].version == 1
        assert full.world.proximities["acme"]["coupled"].version == 1
    else:
        assert answer.status_code == 404, answer.text


async def test_lists_show_nothing_of_other_tenants(full: Gateway) -> None:
    async with full.http(Role.ADMIN, "evil") as http:
        for path in ("devices", "shipments", "events", "dead-letters", "proximities"):
            assert (await http.get(f"/v1/{path}")).json()["items"] == []
        for path in ("positions", "geofences"):
            assert (await http.get(f"/v1/{path}")).json()["features"] == []


async def test_services_see_the_callers_own_token(full: Gateway) -> None:
    async with full.http(Role.VIEWER) as http:
        await http.get("/v1/devices")
    assert full.world.calls == [("somebody", "ListDevices")]


async def test_problems_never_repeat_the_token(full: Gateway) -> None:
    token = full.token(tenant="evil") + "x"
    async with full.http(None) as http:
        answer = await http.get("/v1/devices", headers={"Authorization": f"Bearer {token}"})
    assert token not in json.dumps(answer.json())
