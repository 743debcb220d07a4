"""/v1/demo-session and /v1/map-settings: what the page asks before it has a token."""

from __future__ import annotations

import ipaddress
from typing import Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.json_view import json_response
from gateway.rest.context import CurrentSettings
from gateway.rest.documentation import Shown, problems
from gateway.settings import GatewaySettings
from runtime.problems import NotFound
from runtime.tokens import Issuer, Role

router = APIRouter(prefix="/v1", tags=["page"])

_LIFETIME_S = 3600.0


class NoDemo(NotFound):
    """There is no demo session here."""

    code = "no_demo_session"


class DemoSessionView(Shown):
    """A token for the demo."""

    token: str
    tenant: str
    role: Literal["dispatcher"]


class MapSettingsView(Shown):
    """How the base map is drawn."""

    tile_url: str | None
    attribution: str


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, can only mean this machine."""
    host = host.strip("[]").lower().rstrip(".")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """A Host header without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


def demo_allowed(settings: GatewaySettings, request: Request) -> bool:
    """Only when asked for, only when we listen on loopback, and only when the browser means loopback: a web page whose
    name was made to point here (DNS rebinding) sends its own name as Host. A page of another site may not ask either.
    """
    if settings.demo_tenant is None or not is_loopback(settings.host):
        return False
    headers = request.headers
    if not is_loopback(host_name(headers.get("host", ""))):
        return False
    return headers.get("sec-fetch-site", "none") in {"same-origin", "none"} and "x-forwarded-for" not in headers


@router.get("/demo-session", response_model=DemoSessionView, responses={404: problems(404)[404]})
async def demo_session(request: Request, settings: CurrentSettings) -> Response:
    """A dispatcher's token for the demo's tenant; a 404 everywhere but in a demo on this machine."""
    if not demo_allowed(settings, request):
        raise NoDemo("there is no demo session here")
    issuer: Issuer = request.app.state.issuer
    assert settings.demo_tenant is not None
    token = issuer.issue("demo", settings.demo_tenant, Role.DISPATCHER, _LIFETIME_S)
    return json_response(
        {"token": token, "tenant": settings.demo_tenant, "role": Role.DISPATCHER.value},
        headers={"Cache-Control": "no-store"},
    )


@router.get("/map-settings", response_model=MapSettingsView)
async def map_settings(settings: CurrentSettings) -> Response:
    """The base map; public, like the page."""
    return json_response({"tile_url": settings.tile_url, "attribution": settings.tile_attribution})
