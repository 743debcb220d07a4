"""Sends over MQTT with QoS 1, as a device would: one message a reading, or a batch."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import aiomqtt
import structlog
from google.protobuf.message import Message

from drover.telemetry.v1 import reading_pb2
from simulators.sender import Receipts, count

log = structlog.get_logger()

_RETRY_S: Final = 0.5


class _Unacknowledged:
    """A message on its way."""

    __slots__ = ("payload", "readings", "topic")

    def __init__(self, topic: str, payload: bytes, readings: int) -> None:
        self.topic = topic
        self.payload = payload
        self.readings = readings


class MqttSender:
    """See Sender. Messages are published in the order of `send`; after a reconnect the unacknowledged ones go first."""

    def __init__(self, tenant: str, *, window: int, batched: bool) -> None:
        self.receipts = Receipts()
        self._tenant = tenant
        self._window = window
        self._batched = batched
        self._waiting: deque[_Unacknowledged] = deque()
        self._in_flight: dict[int, _Unacknowledged] = {}
        self._next = 0
        self._changed = asyncio.Condition()

    async def send(self, device_id: str, readings: reading_pb2.ReadingBatch) -> None:
        """See Sender."""
        base = f"drover/v1/{self._tenant}/{device_id}/"
        if self._batched:
            await self._put(base + "batch", readings, count(readings))
            return
        kinds: list[tuple[str, list[Message]]] = [
            ("position", list(readings.positions)),
            ("sensor", list(readings.sensors)),
            ("tag", list(readings.tags)),
        ]
        for kind, messages in kinds:
            for message in messages:
                await self._put(base + kind, message, 1)

    async def _put(self, topic: str, message: Message, readings: int) -> None:
        await self.send_raw(topic, message.SerializeToString(), readings)

    async def send_raw(self, topic: str, payload: bytes, readings: int = 1) -> None:
        """Any bytes on any topic, for faults."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) + len(self._in_flight) < self._window)
            self._waiting.append(_Unacknowledged(topic, payload, readings))
            self.receipts.sent += readings
            self._changed.notify_all()

    async def flush(self) -> None:
        """Nothing is held back."""

    async def drain(self) -> None:
        """See Sender."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting and not self._in_flight)

    async def run(self, client: aiomqtt.Client) -> None:
        """Publishes over one connection until it breaks, with aiomqtt.MqttError."""
        async with asyncio.TaskGroup() as group:
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: bool(self._waiting))
                    batch = list(self._waiting)
                    self._waiting.clear()
                    tickets = range(self._next, self._next + len(batch))
                    self._next += len(batch)
                    self._in_flight.update(zip(tickets, batch, strict=True))
                for ticket, message in zip(tickets, batch, strict=True):
                    group.create_task(self._publish(client, ticket, message))
                await asyncio.sleep(0)

    async def _publish(self, client: aiomqtt.Client, ticket: int, message: _Unacknowledged) -> None:
        await client.publish(message.topic, message.payload, qos=1, timeout=60.0)
        async with self._changed:
            del self._in_flight[ticket]
            self.receipts.acknowledged += message.readings
            self._changed.notify_all()

    def take_back(self) -> None:
        """After a break: what was in flight goes first, in its order."""
        again = [self._in_flight[ticket] for ticket in sorted(self._in_flight)]
        self._in_flight.clear()
        self._waiting.extendleft(reversed(again))
        self.receipts.resent += sum(message.readings for message in again)


@contextlib.asynccontextmanager
async def connected(
    url: str, tenant: str, client_id: str, *, window: int = 2000, batched: bool = False
) -> AsyncIterator[MqttSender]:
    """A sender that reconnects for as long as the context lasts. `url` is mqtt://[user:password@]host[:port]."""
    parts = urllib.parse.urlsplit(url)
    sender = MqttSender(tenant, window=window, batched=batched)

    async def keep_connected() -> None:
        while True:
            client = aiomqtt.Client(
                parts.hostname or "127.0.0.1",
                parts.port or 1883,
                username=parts.username,
                password=parts.password,
                identifier=client_id,
                protocol=aiomqtt.ProtocolVersion.V311,
                clean_session=True,
                max_inflight_messages=1000,
                max_queued_outgoing_messages=0,
            )
            client.pending_calls_threshold = window  # a full window is how this sender works, nothing to warn of
            try:
                async with client:
                    await sender.run(client)
            except* aiomqtt.MqttError as broken:
                log.warning("MQTT connection broke; trying again", error=str(broken.exceptions[0]))
                sender.take_back()
            await asyncio.sleep(_RETRY_S)

    task = asyncio.create_task(keep_connected())
    try:
        yield sender
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
