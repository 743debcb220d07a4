"""Reads the stream of tracking events as the group `shipment`: bytes to event to handler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import redis.asyncio as redis

from runtime.event_stream import EventConsumer
from services.shipment import handlers, wire
from services.shipment.ports import Ports
from services.shipment.settings import ShipmentSettings

STREAM: Final = "drover:events"
GROUP: Final = "shipment"


def events_consumer(client: redis.Redis, ports: Ports, settings: ShipmentSettings) -> EventConsumer:
    """The consumer; its `run` reads, its `replay_dead` tries once more what was given up."""

    async def handle(entries: Sequence[bytes]) -> None:
        events = [event for data in entries if (event := wire.event_of(data)) is not None]
        if events:
            await handlers.handle_events(events, ports)

    return EventConsumer(client, STREAM, GROUP, settings.consumer, handle, tries=settings.event_tries)
