"""Every way a request can be wrong has its own clear answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.problems import ProblemDetails
from runtime.problems import Conflict, Exhausted, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from tests.gateway.conftest import Gateway, Start

SQUARE = [[9.0, 53.0], [10.0, 53.0], [10.0, 54.0], [9.0, 54.0], [9.0, 53.0]]
STOP = {"longitude_deg": 9.0, "latitude_deg": 53.0}


def feature(geometry: Any = None, properties: Any = None, **members: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [SQUARE]} if geometry is None else geometry
    return {"type": "Feature", "geometry": geometry, "properties": properties or {}, **members}


def polygon(coordinates: Any) -> dict[str, Any]:
    return feature({"type": "Polygon", "coordinates": coordinates})


async def problem(gateway: Gateway, method: str, path: str, status: int, code: str, **request: Any) -> dict[str, Any]:
    """The problem that a request meets, after checking that it is one."""
    async with gateway.http() as http:
        answer = await http.request(method, path, **request)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json()
    ProblemDetails.model_validate(body)
    assert (body["status"], body["code"], body["instance"]) == (status, code, path.partition("?")[0])
    assert body["detail"]
    assert "\n" not in body["detail"]
    return body


FENCES = {
    "not a feature": ({"type": "FeatureCollection", "features": []}, "malformed"),
    "no geometry": ({"type": "Feature", "properties": {}}, "missing"),
    "geometry of another type": (feature({"type": "MultiPoint", "coordinates": [[9, 53]]}), "unsupported_geometry"),
    "coordinates are text": (polygon("here"), "malformed"),
    "a number is text": (polygon([[["9", 53], [10, 53], [10, 54], ["9", 53]]]), "malformed"),
    "self-crossing": (polygon([[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]), "self_crossing"),
    "not closed": (polygon([SQUARE[:-1]]), "not_closed"),
    "two points": (polygon([[[9, 53], [10, 53], [9, 53]]]), "too_few_points"),
    "no area": (polygon([[[9, 53], [10, 53], [11, 53], [9, 53]]]), "zero_area"),
    "beyond the pole": (polygon([[[9, 53], [10, 53], [10, 91], [9, 53]]]), "coordinate_out_of_range"),
    "a circle without radius": (feature({"type": "Point", "coordinates": [9, 53]}), "bad_radius"),
    "a circle of no size": (feature({"type": "Point", "coordinates": [9, 53]}, {"radius_m": 0}), "bad_radius"),
    "a corridor without width": (feature({"type": "LineString", "coordinates": [[9, 53], [10, 53]]}), "bad_half_width"),
    "bad rule": (feature(properties={"enter_fixes": 0}), "bad_crossing_rule"),
    "bad labels": (feature(properties={"labels": {"a": 1}}), "malformed"),
}  # fmt: skip


async def test_bad_fences_are_refused_with_their_reason(gateway: Gateway) -> None:
    for name, (body, code) in FENCES.items():
        found = await problem(gateway, "PUT", "/v1/geofences/yard", 422, code, json=body)
        assert found["title"] == "Unprocessable Content", name
        await problem(gateway, "POST", "/v1/geofences", 422, code, json={**body, "id": "yard"})
    assert gateway.world.fences["acme"] == {}


async def test_bad_ids_of_fences(gateway: Gateway) -> None:
    await problem(gateway, "PUT", "/v1/geofences/a%20b", 422, "bad_id", json=feature())
    await problem(gateway, "PUT", "/v1/geofences/yard", 422, "id_mismatch", json=feature(id="other"))
    await problem(gateway, "POST", "/v1/geofences", 422, "bad_id", json=feature(id=["x"]))
    await problem(gateway, "GET", "/v1/geofences/" + "x" * 129, 422, "invalid_request")


@pytest.mark.parametrize("path", ["/v1/geofences", "/v1/shipments", "/v1/devices"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"a": NaN}' + b"{", b"[" * 200_000, b'{"a": 1} trailing', b"'single'"],
    ids=["empty", "cut", "not UTF-8", "two", "deep", "trailing", "quotes"],
)
async def test_what_is_not_json(gateway: Gateway, path: str, content: bytes) -> None:
    expected = (422, "invalid_request") if content == b"" and path != "/v1/geofences" else (400, "malformed_json")
    await problem(gateway, "POST", path, *expected, content=content, headers={"Content-Type": "application/json"})


async def test_json_that_is_no_object(gateway: Gateway) -> None:
    await problem(gateway, "POST", "/v1/geofences", 422, "malformed", json=[1])
    await problem(gateway, "POST", "/v1/shipments", 422, "invalid_request", json=[1])
    await problem(gateway, "POST", "/v1/geofences", 400, "malformed_json", content=b'{"x": NaN}',
                  headers={"Content-Type": "application/json"})  # fmt: skip


async def test_a_body_must_say_that_it_is_json(gateway: Gateway) -> None:
    for path in ("/v1/geofences", "/v1/shipments", "/v1/devices"):
        for media_type in ("text/plain", "application/x-www-form-urlencoded", ""):
            content = json.dumps(feature()).encode()
            await problem(
                gateway, "POST", path, 415, "unsupported_media_type", content=content,
                headers={"Content-Type": media_type},
            )  # fmt: skip


async def test_a_body_too_large(gateway: Gateway) -> None:
    large = b'"' + b"x" * (4 * 1024 * 1024) + b'"'
    await problem(gateway, "POST", "/v1/geofences", 413, "body_too_large", content=large)


async def test_a_body_too_large_that_does_not_tell_its_length(gateway: Gateway) -> None:
    async def pieces():
        for _ in range(80):
            yield b"x" * 65_536

    await problem(gateway, "POST", "/v1/geofences", 413, "body_too_large", content=pieces())


async def test_the_largest_body_is_taken(start: Start) -> None:
    async with start(max_body_bytes=2_000) as gateway:
        for padding, status in ((2_000, 201), (2_001, 413)):
            content = json.dumps(feature(id=f"of-{padding}")).encode().ljust(padding)
            async with gateway.http() as http:
                answer = await http.post(
                    "/v1/geofences", content=content, headers={"Content-Type": "application/geo+json"}
                )
            assert answer.status_code == status, answer.text


SHIPMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no stops": ({"device_id": "t", "stops": []}, "#/stops"),
    "no device": ({"stops": [STOP]}, "#/device_id"),
    "unknown field": ({"device_id": "t", "stops": [STOP], "colour": "red"}, "#/colour"),
    "latitude": ({"device_id": "t", "stops": [{**STOP, "latitude_deg": 91}]}, "#/stops/0/latitude_deg"),
    "wrong type": ({"device_id": "t", "stops": [{**STOP, "longitude_deg": "east"}]}, "#/stops/0/longitude_deg"),
    "time without offset": (
        {"device_id": "t", "stops": [{**STOP, "planned_arrival_at": "2022-01-03T00:00:00"}]},
        "#/stops/0/planned_arrival_at",
    ),
    "quantity": ({"device_id": "t", "stops": [STOP], "limits": [{"quantity": "beauty"}]}, "#/limits/0/quantity"),
    "epc": ({"device_id": "t", "stops": [STOP], "handling_units": [{"epc": "xyz"}]}, "#/handling_units/0/epc"),
    "half a route": ({"device_id": "t", "stops": [STOP], "route_longitude_deg": [1.0]}, "#"),
}


async def test_bad_shipments_say_where(gateway: Gateway) -> None:
    for name, (body, pointer) in SHIPMENTS.items():
        found = await problem(gateway, "POST", "/v1/shipments", 422, "invalid_request", json=body)
        assert pointer in [error.get("pointer") for error in found["errors"]], (name, found)
    assert gateway.world.shipments["acme"] == {}


async def test_not_a_number_is_no_coordinate(gateway: Gateway) -> None:
    content = b'{"device_id": "t", "stops": [{"longitude_deg": NaN, "latitude_deg": 1}]}'
    async with gateway.http() as http:
        answer = await http.post("/v1/shipments", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert gateway.world.shipments["acme"] == {}


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/devices?limit=0", "limit"),
        ("/v1/devices?limit=many", "limit"),
        ("/v1/devices?page=2", "page"),
        ("/v1/positions?limit=5001", "limit"),
        ("/v1/events?kind=party", "kind"),
        ("/v1/events?from=yesterday", "from"),
        ("/v1/events?from=2022-01-03", "from"),
        ("/v1/events?from=1641168000", "from"),
        ("/v1/devices/truck-1/track?until=2022-01-03T00:00:00", "until"),
        ("/v1/devices/truck-1/track?all_verdicts=maybe", "all_verdicts"),
        ("/v1/shipments?status=lost", "status.0"),
        ("/v1/dead-letters/seven", "dead_letter_id"),
        ("/v1/dead-letters/-1", "dead_letter_id"),
        ("/v1/dead-letters/99999999999999999999", "dead_letter_id"),
    ],
)
async def test_bad_parameters_are_named(gateway: Gateway, path: str, parameter: str) -> None:
    found = await problem(gateway, "GET", path, 422, "invalid_request")
    assert [error["parameter"] for error in found["errors"]] == [parameter]


async def test_a_period_that_ends_before_it_begins(gateway: Gateway) -> None:
    path = "/v1/devices/truck-1/track?from=2022-01-03T00:00:00Z&until=2022-01-02T23:59:59Z"
    await problem(gateway, "GET", path, 422, "bad_period")


async def test_unknown_paths_and_methods(gateway: Gateway) -> None:
    await problem(gateway, "GET", "/v1/trucks", 404, "no_such_path")
    await problem(gateway, "GET", "/v1", 404, "no_such_path")
    await problem(gateway, "PATCH", "/v1/devices", 405, "method_not_allowed")
    await problem(gateway, "GET", "/v1/dead-letters/7/replay", 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (NotFound("no such thing", code="unknown_thing"), 404, "unknown_thing"),
        (Invalid("not so", code="wrong_somehow"), 422, "wrong_somehow"),
        (Conflict("not now"), 409, "conflict"),
        (Forbidden("not you"), 403, "forbidden"),
        (Unauthenticated("who?"), 401, "unauthenticated"),
        (Unavailable("later", code="log_unavailable"), 503, "log_unavailable"),
        (Exhausted("slower"), 429, "exhausted"),
    ],
)
async def test_what_a_service_means_is_passed_on(gateway: Gateway, raised: Any, status: int, code: str) -> None:
    gateway.world.fail = raised
    found = await problem(gateway, "GET", "/v1/devices", status, code)
    assert found["detail"] == str(raised)


async def test_what_a_service_fails_of_is_not_the_callers_business(gateway: Gateway) -> None:
    gateway.world.fail = ZeroDivisionError("a secret of the inside")  # type: ignore[assignment]
    found = await problem(gateway, "GET", "/v1/devices", 503, "service_failed")
    assert "secret" not in found["detail"]


async def test_a_service_that_is_away_or_slow(start: Start) -> None:
    async with start(ingest_address="127.0.0.1:1", call_timeout_s=0.3) as gateway:
        async with gateway.http() as http:
            answer = await http.get("/v1/devices")
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert answer.headers["retry-after"] == "1"
        gateway.world.delay_s = 5.0
        await problem(gateway, "GET", "/v1/positions", 504, "service_timeout")
