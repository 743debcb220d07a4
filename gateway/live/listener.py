"""Redis pub/sub, heard for as long as the gateway lives: what comes on which channel, and when there was a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import redis.asyncio as redis
import structlog

from gateway.metrics import PUBSUB_CONNECTIONS
from runtime.redis_client import AWAY

log = structlog.get_logger()

LIVE: Final = "drover.live."
ALERTS: Final = "drover.alerts."
DEFINITIONS: Final = "drover.definitions."
SHIPMENTS: Final = "drover.shipments."
_PATTERNS: Final = tuple(topic + "*" for topic in (LIVE, ALERTS, DEFINITIONS, SHIPMENTS))
_BURST: Final = 32
_QUIET_S: Final = 5.0


class Hear(Protocol):
    """Takes one message."""

    def __call__(self, channel: str, data: bytes, /) -> None:
        """One message."""


async def listen(client: redis.Redis, hear: Hear, connected: Callable[[], None]) -> None:
    """Calls `hear` for every message; never returns.

    `connected` is called each time the subscription stands, the first time too: whatever was published before that is
    lost, and must be fetched. Redis away is waited for.
    """
    delay_s = 0.05
    while True:
        pubsub = client.pubsub()
        try:
            await pubsub.psubscribe(*_PATTERNS)
            confirmed = 0
            heard = 0
            while True:
                message = await pubsub.get_message(timeout=_QUIET_S)
                if message is None:
                    continue
                if message["type"] == "psubscribe":
                    confirmed += 1
                    if confirmed == len(_PATTERNS):
                        delay_s = 0.05
                        PUBSUB_CONNECTIONS.inc()
                        connected()
                elif message["type"] == "pmessage":
                    hear(message["channel"].decode(), message["data"])
                    heard += 1
                    if heard % _BURST == 0:
                        await asyncio.sleep(0)  # a full socket buffer must not keep clients waiting
        except AWAY as error:
            log.warning("pub/sub is away", reason=str(error), retry_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(2.0, delay_s * 2)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
