"""The port Hints over Redis pub/sub: `drover.shipments.{tenant}` carries the Shipment. Who misses one asks again."""

from __future__ import annotations

import redis.asyncio as redis
import structlog

from runtime.metrics import Counter
from runtime.redis_client import AWAY
from services.shipment import wire
from services.shipment.model import Shipment

log = structlog.get_logger()

LOST = Counter("drover_shipment_hints_lost_total", "Hints not published because Redis was away")


class RedisHints:
    """See ports.Hints."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def shipment_changed(self, shipment: Shipment) -> None:
        """See ports.Hints. The truth is in SQL, so a Redis that is away costs the hint and nothing more."""
        message = wire.to_proto(shipment).SerializeToString()
        try:
            await self._client.publish(f"drover.shipments.{shipment.tenant}", message)
        except AWAY as error:
            LOST.inc()
            log.debug("hint lost", shipment=shipment.shipment_id, reason=str(error))
