"""The demo session exists only where no stranger can reach it; the page is served, and told what it may load."""

from __future__ import annotations

import pathlib
import socket as sockets

import httpx
import pytest
from starlette.applications import Starlette

from gateway import page
from gateway.rest.session import host_name, is_loopback
from gateway.security_headers import content_security_policy
from runtime.tokens import Role
from tests.gateway.conftest import Start


async def test_without_a_demo_tenant_there_is_no_session(start: Start) -> None:
    async with start() as gateway, gateway.http(None) as http:
        answer = await http.get("/v1/demo-session")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_demo_session")


async def test_a_demo_session_is_a_dispatchers(start: Start) -> None:
    async with start(demo_tenant="acme") as gateway:
        async with gateway.http(None) as http:
            answer = await http.get("/v1/demo-session")
        session = answer.json()
        caller = gateway.keys.verifier.verify(session["token"])
        assert (caller.tenant, caller.role) == (session["tenant"], session["role"]) == ("acme", Role.DISPATCHER)
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "10.0.0.1"},
        {"Host": "0.0.0.0"},
        {"Host": "[::2]:8000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Forwarded-For": "192.0.2.1"},
    ],
)
async def test_a_page_of_another_name_gets_no_session(start: Start, headers: dict[str, str]) -> None:
    async with start(demo_tenant="acme") as gateway, gateway.http(None) as http:
        answer = await http.get("/v1/demo-session", headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:8000", "127.0.0.2", "LOCALHOST", "localhost."])
async def test_every_name_of_this_machine_gets_one(start: Start, host: str) -> None:
    async with start(demo_tenant="acme") as gateway, gateway.http(None) as http:
        answer = await http.get("/v1/demo-session", headers={"Host": host, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_a_server_that_others_reach_gives_none(start: Start, host: str) -> None:
    async with start(demo_tenant="acme", host=host) as gateway, gateway.http(None) as http:
        assert (await http.get("/v1/demo-session")).status_code == 404


async def test_a_request_without_host_gets_none(start: Start) -> None:
    async with start(demo_tenant="acme") as gateway:
        with sockets.create_connection(("127.0.0.1", gateway.port)) as connection:
            connection.settimeout(5)
            import asyncio

            def ask() -> bytes:
                connection.sendall(b"GET /v1/demo-session HTTP/1.0\r\n\r\n")
                return connection.recv(4096)

            assert b" 200 " not in (await asyncio.to_thread(ask)).split(b"\r\n")[0]


def test_host_headers() -> None:
    assert host_name("localhost:80") == "localhost"
    assert host_name("[::1]:80") == "[::1]"
    assert is_loopback("[::1]")
    assert not is_loopback("")


async def test_map_settings(start: Start) -> None:
    tiles = "https://{s}.tiles.example/{z}/{x}/{y}.png"
    async with start(tile_url=tiles, tile_attribution="© somebody") as gateway, gateway.http(None) as http:
        answer = await http.get("/v1/map-settings")
    assert answer.json() == {"tile_url": tiles, "attribution": "© somebody"}
    policy = answer.headers["content-security-policy"]
    assert "connect-src 'self' https://*.tiles.example;" in policy
    assert "img-src 'self' data: blob: https://*.tiles.example;" in policy


async def test_every_answer_has_the_headers(start: Start) -> None:
    async with start() as gateway, gateway.http(None) as http:
        for path in ("/", "/v1/devices", "/v1/map-settings", "/openapi.json", "/nothing"):
            headers = (await http.get(path)).headers
            assert headers["content-security-policy"] == content_security_policy(None), path
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"


def test_scripts_come_from_here_only() -> None:
    directives = dict(each.split(" ", 1) for each in content_security_policy(None).split("; "))
    assert directives["script-src"] == "'self'"
    assert directives["worker-src"] == "'self' blob:"
    assert directives["default-src"] == "'none'"


async def test_other_origins_are_allowed_only_by_setting(start: Start) -> None:
    origin = {"Origin": "https://map.example"}
    async with start() as gateway, gateway.http() as http:
        assert "access-control-allow-origin" not in (await http.get("/v1/devices", headers=origin)).headers
    async with start(allowed_origins=["https://map.example"]) as gateway, gateway.http() as http:
        asked = {
            **origin,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization,if-match",
        }
        assert (await http.options("/v1/geofences/yard", headers=asked)).status_code == 200
        answer = await http.get("/v1/devices", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://map.example"
        refused = await http.get("/v1/devices", headers={**origin, "Authorization": ""})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://map.example")


async def _page(folder: pathlib.Path, path: str) -> httpx.Response:
    app = Starlette(routes=[page.route(folder)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t", verify=False) as http:
        return await http.get(path)


async def test_the_page(tmp_path: pathlib.Path) -> None:
    assert (await _page(tmp_path, "/")).status_code == 503
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets" / "index-abc.js").write_text("1")
    index = await _page(tmp_path, "/")
    assert (index.text, index.headers["cache-control"]) == ("<!doctype html>", "no-cache")
    script = await _page(tmp_path, "/assets/index-abc.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await _page(tmp_path, "/../pyproject.toml")).status_code == 404
    assert (await _page(tmp_path, "/v1/x")).status_code == 404


async def test_metrics_and_health(start: Start) -> None:
    async with start() as gateway, gateway.http(None) as http:
        async with gateway.http() as caller:
            await caller.get("/v1/devices/nobody")
        assert (await http.get("/healthz")).text == "ok\n"
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "wrong": {}})
        metrics = (await http.get("/metrics")).text
    line = 'drover_gateway_request_seconds_count{method="GET",route="/v1/devices/{device_id}",status="404"}'
    assert line in metrics
    for name in ("live_clients_count", "live_frames_total", "live_sent_bytes_total", "live_frames_dropped_total"):
        assert f"drover_gateway_{name}" in metrics


async def test_not_ready_without_the_tracking_service(start: Start) -> None:
    async with start(tracking_address="127.0.0.1:1") as gateway, gateway.http(None) as http:
        ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()["wrong"]) == (503, {"tracking": "the tracking service does not answer"})
