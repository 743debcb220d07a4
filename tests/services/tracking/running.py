"""The whole service in this process, with real servers behind it, and somebody who appends to its log."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import redis.asyncio as redis
from pydantic import SecretStr

from drover.api.tracking.v1 import tracking_service_pb2_grpc as pb_grpc
from drover.tracking.v1.definition_pb2 import DeviceAnnounced, DeviceAnnouncements
from runtime import grpc_client, redis_client
from runtime.partitioned_log import Append, RedisStreamLog
from runtime.process import Stop
from runtime.settings import CommonSettings
from runtime.tokens import Role, load_or_create_keys
from services.tracking.__main__ import main
from services.tracking.model import Device
from services.tracking.settings import TrackingSettings
from stack.ports import any_free
from tracking_core.block import EntryKind, pack
from tracking_core.columns import Readings

PARTITIONS = 2


class Running:
    """Stubs that call as `role` of `tenant`, and the log."""

    def __init__(self, channel: grpc.aio.Channel, common: CommonSettings, client: redis.Redis) -> None:
        self.tracking = pb_grpc.TrackingStub(channel)
        self.definitions = pb_grpc.DefinitionsStub(channel)
        self.redis = client
        self.log = RedisStreamLog(client, common.partitions)
        self._issuer = load_or_create_keys(common.data_dir).issuer

    def as_(self, role: Role = Role.ADMIN, tenant: str = "acme") -> tuple[tuple[str, str], ...]:
        """The metadata of a caller."""
        return grpc_client.metadata(self._issuer.issue("tester", tenant, role, 60.0))


def announcement(partition: int, devices: Sequence[Device]) -> Append:
    """The entry that tells who they are."""
    announced = [
        DeviceAnnounced(
            device_number=each.number, tenant=each.tenant, device_id=each.device_id, display_name=each.display_name
        )
        for each in devices
        if each.number % PARTITIONS == partition
    ]
    return Append(partition, EntryKind.ANNOUNCEMENT, DeviceAnnouncements(devices=announced).SerializeToString())


def block(partition: int, batch: Readings) -> Append:
    """The entry of a batch; all its devices are the partition's."""
    return Append(partition, EntryKind.READINGS, pack(batch))


def settings(tmp_path: pathlib.Path, redis_url: str, database_url: str = "", **more: object):
    """For a service of its own."""
    common = CommonSettings(data_dir=tmp_path / "data", redis_url=SecretStr(redis_url), partitions=PARTITIONS)
    tracking = TrackingSettings(
        grpc_address=f"127.0.0.1:{any_free()}",
        database_url=SecretStr(database_url),
        **{"history_flush_ms": 10.0, "tick_interval_s": 0.1, **more},  # type: ignore[arg-type]
    )
    return common, tracking


@asynccontextmanager
async def running(common: CommonSettings, tracking: TrackingSettings) -> AsyncIterator[Running]:
    """The service from its start to a clean stop."""
    stop = Stop()
    service = asyncio.create_task(main(stop, common, tracking))
    client = redis_client.connect(common.redis_url.get_secret_value())
    async with grpc_client.channel(tracking.grpc_address) as channel:
        try:
            connecting = asyncio.create_task(channel.channel_ready())
            await asyncio.wait({connecting, service}, return_when=asyncio.FIRST_COMPLETED, timeout=200)
            if service.done():
                await service
            yield Running(channel, common, client)
        finally:
            stop.set()
            await client.aclose()
            await service
