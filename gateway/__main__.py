"""`python -m gateway`: wires the gateway and runs it. Nothing connects before `main`."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from gateway.app import create_app
from gateway.live.hub import Hub
from gateway.live.websocket_protocol import ObservedWebSocketProtocol
from gateway.settings import GatewaySettings
from gateway.upstream import Upstream
from gateway.warm_up import warm_up
from runtime import http_server, process, redis_client
from runtime.process import Stop
from runtime.settings import CommonSettings
from runtime.tokens import load_or_create_keys

log = structlog.get_logger()


async def main(stop: Stop, common: CommonSettings, settings: GatewaySettings) -> None:
    """Serves until asked to stop. Redis and the services may come and go; /readyz says whether they are there."""
    warm_up()
    keys = load_or_create_keys(common.data_dir)
    client = redis_client.connect(common.redis_url.get_secret_value())

    async def redis_wrong() -> str | None:
        try:
            await client.ping()
        except redis_client.AWAY as error:
            return f"cannot reach Redis: {error}"
        return None

    try:
        async with Upstream(settings, keys.issuer) as upstream:
            hub = Hub(settings, client, upstream)
            checks = {"redis": redis_wrong, "tracking": upstream.tracking_wrong}
            app = create_app(settings, keys, upstream, hub, checks)
            async with (
                hub.running(),
                http_server.serving(app, settings.host, settings.port, **serving_options(settings)) as port,
            ):
                log.info("ready", http=f"{settings.host}:{port}")
                await stop.wait()
                await say_goodbye(hub, settings.stop_grace_s)
    finally:
        await client.aclose()


def serving_options(settings: GatewaySettings) -> dict[str, Any]:
    """How uvicorn serves. Frames are not compressed: they are columns of floats, and a thousand clients are waiting."""
    return {
        "lifespan": "off",
        "access_log": False,
        "server_header": False,
        "ws": ObservedWebSocketProtocol,
        "ws_max_size": settings.max_message_bytes,
        "ws_ping_interval": settings.ping_interval_s,
        "ws_ping_timeout": settings.ping_interval_s,
        "ws_per_message_deflate": False,
    }


async def say_goodbye(hub: Hub, grace_s: float) -> None:
    """Closes every WebSocket with 1001; returns when all are gone, or after `grace_s`."""
    hub.stopping.set()
    try:
        await asyncio.wait_for(hub.nobody.wait(), grace_s)
    except TimeoutError:
        log.warning("clients did not leave in time", clients=hub.client_count)


if __name__ == "__main__":
    process.run_with_settings("gateway", "gateway", GatewaySettings, main)
