"""The application: routes and what every request passes through."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from gateway import openapi, page, problems
from gateway.auth import Authentication
from gateway.live.hub import Hub
from gateway.live.socket import LiveEndpoint
from gateway.request_body import RequestBody
from gateway.request_metrics import RequestMetrics
from gateway.rest import (
    commands,
    dead_letters,
    devices,
    events,
    explanations,
    geofences,
    journeys,
    positions,
    proximities,
    session,
    shipments,
)
from gateway.security_headers import SecurityHeaders
from gateway.settings import GatewaySettings
from gateway.upstream import Upstream
from runtime import probe
from runtime.tokens import KeyPair


def create_app(
    settings: GatewaySettings, keys: KeyPair, upstream: Upstream, hub: Hub, checks: Mapping[str, probe.Check]
) -> FastAPI:
    """The ASGI application. What it is given lives as long as it does, and is not closed by it."""
    app = FastAPI(
        version=importlib.metadata.version("drover"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.issuer = keys.issuer
    app.state.upstream = upstream
    rooms = (
        devices, commands, positions, journeys, geofences, proximities, shipments, events, explanations, dead_letters,
        session,
    )  # fmt: skip
    for room in rooms:
        app.include_router(room.router)
    app.add_api_websocket_route("/v1/live", LiveEndpoint(settings, keys.verifier, hub, upstream).serve)
    app.router.routes.extend(probe.routes(checks))
    app.router.routes.append(page.route())
    problems.install(app)
    openapi.install(app)

    # The last one added is the first one passed.
    app.add_middleware(RequestBody, max_bytes=settings.max_body_bytes)
    app.add_middleware(Authentication, verifier=keys.verifier)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key"],
            expose_headers=["ETag", "Location", "Retry-After"],
        )
    app.add_middleware(SecurityHeaders, tile_url=settings.tile_url)
    app.add_middleware(RequestMetrics)
    return app
