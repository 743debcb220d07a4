"""A gateway on a real port, with false services behind it and a real Redis beside it."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import redis.asyncio as redis
import websockets
from websockets.asyncio.client import ClientConnection

from gateway.__main__ import serving_options
from gateway.app import create_app
from gateway.live.hub import Hub
from gateway.settings import GatewaySettings
from gateway.upstream import Upstream
from runtime import http_server, redis_client
from runtime.tokens import KeyPair, Role, load_or_create_keys
from tests.gateway import fakes
from tests.gateway.fakes import World


class Gateway:
    """One running gateway and the world behind it."""

    def __init__(self, world: World, keys: KeyPair, hub: Hub, port: int, publisher: redis.Redis) -> None:
        self.world = world
        self.keys = keys
        self.hub = hub
        self.port = port
        self.publisher = publisher
        self.url = f"http://127.0.0.1:{port}"

    def token(self, role: Role = Role.ADMIN, tenant: str = "acme", lifetime_s: float = 600.0) -> str:
        return self.keys.issuer.issue("somebody", tenant, role, lifetime_s)

    def http(self, role: Role | None = Role.ADMIN, tenant: str = "acme") -> httpx.AsyncClient:
        headers = {} if role is None else {"Authorization": f"Bearer {self.token(role, tenant)}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, verify=False)

    def socket(self, token: str | None = None, **options: Any) -> Any:
        """A connection that is to be entered; `token` travels as a subprotocol, as browsers send it."""
        options.setdefault("close_timeout", 1.0)
        options.setdefault("subprotocols", ["drover.live.v1", "bearer." + (token or self.token(Role.VIEWER))])
        return websockets.connect(f"ws://127.0.0.1:{self.port}/v1/live", max_size=None, compression=None, **options)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def keys(tmp_path: pathlib.Path) -> KeyPair:
    return load_or_create_keys(tmp_path)


@pytest.fixture
def start(keys: KeyPair) -> Start:
    """Starts a gateway with settings of one's own; without a Redis, which REST does not need, it hears nothing."""

    @contextlib.asynccontextmanager
    async def starting(redis_url: str | None = None, **changes: Any) -> AsyncIterator[Gateway]:
        world = World()
        publisher = redis_client.connect(redis_url or "redis://127.0.0.1:1/0")
        client = None if redis_url is None else redis_client.connect(redis_url)
        async with (
            contextlib.aclosing(publisher),
            contextlib.aclosing(client or publisher),
            fakes.serving(world, keys.verifier) as address,
        ):
            settings = GatewaySettings(
                port=0,
                **{
                    "ingest_address": address,
                    "tracking_address": address,
                    "shipment_address": address,
                    "frame_interval_s": 0.05,
                    **changes,
                },
            )
            async with Upstream(settings, keys.issuer) as upstream:
                hub = Hub(settings, client, upstream)
                app = create_app(settings, keys, upstream, hub, {"tracking": upstream.tracking_wrong})
                async with (
                    hub.running(),
                    http_server.serving(app, "127.0.0.1", 0, **serving_options(settings)) as port,
                ):
                    yield Gateway(world, keys, hub, port, publisher)
                    hub.stopping.set()

    return starting


@pytest.fixture
async def gateway(start: Start) -> AsyncIterator[Gateway]:
    """A gateway without Redis: enough for REST."""
    async with start() as running:
        yield running


@pytest.fixture
async def live(start: Start, redis_url: str) -> AsyncIterator[Gateway]:
    """A gateway with Redis."""
    async with start(redis_url) as running:
        yield running


async def next_text(socket: ClientConnection) -> str:
    """The next text; frames are passed over."""
    while True:
        message = await socket.recv()
        if isinstance(message, str):
            return message


async def next_frame(socket: ClientConnection) -> bytes:
    """The next binary frame; texts are passed over."""
    while True:
        message = await socket.recv()
        if isinstance(message, bytes):
            return message
