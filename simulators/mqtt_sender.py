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
        # Events and not a condition: one wake-up a message, thousands of times a second.
        self._has_room = asyncio.Event()
        self._has_work = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

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
        while len(self._waiting) + len(self._in_flight) >= self._window:
            self._has_room.clear()
            await self._has_room.wait()
        self._waiting.append(_Unacknowledged(topic, payload, readings))
        self.receipts.sent += readings
        self._is_idle.clear()
        self._has_work.set()

    async def flush(self) -> None:
        """Nothing is held back."""

    async def drain(self) -> None:
        """See Sender."""
        await self._is_idle.wait()

    async def run(self, client: aiomqtt.Client) -> None:
        """Publishes over one connection until it breaks, with aiomqtt.MqttError."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._has_work.wait()
                while self._waiting:
                    message = self._waiting.popleft()
                    ticket = self._next
                    self._next += 1
                    self._in_flight[ticket] = message
                    group.create_task(self._publish(client, ticket, message))
                self._has_work.clear()
                await asyncio.sleep(0)

    async def _publish(self, client: aiomqtt.Client, ticket: int, message: _Unacknowledged) -> None:
        await client.publish(message.topic, message.payload, qos=1, timeout=60.0)
        del self._in_flight[ticket]
        self.receipts.acknowledged += message.readings
        self._has_room.set()
        if not self._in_flight and not self._waiting:
            self._is_idle.set()

    def take_back(self) -> None:
        """After a break: what was in flight goes first, in its order."""
        again = [self._in_flight[ticket] for ticket in sorted(self._in_flight)]
        self._in_flight.clear()
        self._waiting.extendleft(reversed(again))
        self.receipts.resent += sum(message.readings for message in again)
        if self._waiting:
            self._has_work.set()


@contextlib.asynccontextmanager
async def connected(
    url: str, tenant: str, client_id: str, *, window: int = 200, batched: bool = False
) -> AsyncIterator[MqttSender]:
    """A sender that reconnects for as long as the context lasts. `url` is mqtt://[user:password@]host[:port]."""
    # Each publish of aiomqtt looks through all that are pending: a window of thousands is slower than one of hundreds.
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
