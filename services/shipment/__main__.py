"""The shipment service: `python -m services.shipment`. Everything is wired here, nothing connects before `serve`.

`python -m services.shipment replay-dead` handles once more the events that were given up, says how many, and ends.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import redis.asyncio as redis
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime import database, grpc_client, probe, redis_client
from runtime.database import create_engine
from runtime.durability import database_losses, log_losses
from runtime.event_stream import EventConsumer
from runtime.grpc_server import GrpcServer
from runtime.migrations import migrate
from runtime.problems import FatalError
from runtime.process import Stop, run_with_settings
from runtime.redis_client import AWAY
from runtime.settings import CommonSettings
from runtime.tokens import KeyPair, ServiceToken, load_or_create_keys
from services.shipment.api import ShipmentsApi
from services.shipment.definition_courier import DefinitionCourier
from services.shipment.events_consumer import events_consumer
from services.shipment.hints import RedisHints
from services.shipment.ports import Ports
from services.shipment.repository import SqlStorage
from services.shipment.settings import ShipmentSettings
from services.shipment.tracking_client import TrackingClient

log = structlog.get_logger()


class Wired(NamedTuple):
    """The parts, connected."""

    keys: KeyPair
    engine: AsyncEngine
    client: redis.Redis
    courier: DefinitionCourier
    ports: Ports
    consumer: EventConsumer


@asynccontextmanager
async def wired(common: CommonSettings, settings: ShipmentSettings) -> AsyncIterator[Wired]:
    """Makes the parts and gives up their connections in the end. Raises FatalError."""
    keys = load_or_create_keys(common.data_dir)
    await migrate(settings.database(common), "services.shipment")
    engine = create_engine(settings.database(common))
    service_calls = grpc_client.ServiceCalls(ServiceToken(keys.issuer, "shipment"))
    try:
        async with (
            redis_client.connect(common.redis_url.get_secret_value()) as client,
            grpc_client.channel(settings.tracking_address) as channel,
        ):
            storage = SqlStorage(engine)
            tracking = TrackingClient(channel, service_calls, timeout_s=settings.call_timeout_s)
            courier = DefinitionCourier(storage, tracking, _now_us)
            ports = Ports(storage, RedisHints(client), _now_us, courier.wake)
            yield Wired(keys, engine, client, courier, ports, events_consumer(client, ports, settings))
    finally:
        await engine.dispose()


async def serve(stop: Stop, common: CommonSettings, settings: ShipmentSettings) -> None:
    """Runs until asked to stop. Redis and the tracking service may come later; the database must be there."""
    async with wired(common, settings) as parts:
        log_losses([await database_losses(parts.engine, "shipment database")])

        checks: dict[str, probe.Check] = {
            "redis": functools.partial(redis_client.trouble, parts.client),
            "database": functools.partial(database.trouble, parts.engine),
        }
        services = [ShipmentsApi(parts.ports).add_to]
        async with (
            probe.serving(settings.probe_host, settings.probe_port, checks),
            asyncio.TaskGroup() as tasks,
            GrpcServer(settings.grpc_address, parts.keys.verifier, services) as server,
        ):
            tasks.create_task(parts.courier.run(stop))
            tasks.create_task(parts.consumer.run(stop))
            log.info("ready", grpc_port=server.port)
            await stop.wait()


async def replay_dead(_stop: Stop, common: CommonSettings, settings: ShipmentSettings) -> None:
    """Handles the dead events once more. Raises FatalError when Redis does not answer."""
    async with wired(common, settings) as parts:
        try:
            replayed = await parts.consumer.replay_dead()
        except AWAY as error:
            raise FatalError(f"Redis does not answer: {error}") from error
        log.info("replayed", **replayed._asdict())


def _now_us() -> int:
    return time.time_ns() // 1000


if __name__ == "__main__":
    run_with_settings(
        "shipment", "shipment", ShipmentSettings, replay_dead if sys.argv[1:] == ["replay-dead"] else serve
    )
