"""A client that publishes at QoS 1 and writes down when what was acknowledged to it.

It speaks MQTT 5, in which the broker says with the acknowledgement when nobody is subscribed; that counts as none. What
is not acknowledged when a connection ends is sent again on the next one, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Final

from tests.chaos.readings import Message
from tests.chaos.schedule import LOAD_S

_WINDOW: Final = 500
_PAUSE_S: Final = 0.05
_CONNACK: Final = 0x20
PUBACK: Final = 0x40
_NO_SUBSCRIBER: Final = 0x10


def text(value: bytes) -> bytes:
    """A string of MQTT."""
    return len(value).to_bytes(2, "big") + value


def packet(first: int, body: bytes) -> bytes:
    """A packet with its length."""
    size, length = len(body), b""
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def connect_packet(client_id: str, *, clean_start: bool = True, expiry_s: int = 0) -> bytes:
    """CONNECT of MQTT 5."""
    properties = b"\x11" + expiry_s.to_bytes(4, "big")
    flags = 0x02 if clean_start else 0x00
    body = text(b"MQTT") + bytes([5, flags]) + b"\x00\x3c" + bytes([len(properties)]) + properties
    return packet(0x10, body + text(client_id.encode()))


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The first byte of a packet, and its body. Raises OSError or IncompleteReadError."""
    first = (await reader.readexactly(1))[0]
    size = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first, await reader.readexactly(size)


def number_of(body: bytes) -> int:
    """The number of the message that a PUBACK is for."""
    return int.from_bytes(body[:2], "big") - 1


class MqttSender:
    """Publishes `messages` of a tenant, spread over the time of the load; `run` ends when all are acknowledged."""

    answer_s = 20.0
    """Without any answer for so long, it connects anew."""

    def __init__(self, port: int, client_id: str, tenant: str, messages: Sequence[Message]) -> None:
        self._port: Final = port
        self._client_id: Final = client_id
        self.tenant: Final = tenant
        self.messages: Final = messages
        self.acknowledged_at_s: Final[dict[int, float]] = {}
        """By the number of the message, when the broker did: seconds since 1970."""
        self.settled: Final[set[int]] = set()
        """Messages that need not be sent again."""
        self.unheard = 0
        """How often the broker said that nobody is subscribed."""

    async def run(self) -> None:
        """Connects as often as it takes."""
        started_s = time.monotonic()
        while len(self.settled) < len(self.messages):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await self._connection(started_s)
            await asyncio.sleep(_PAUSE_S)

    async def _connection(self, started_s: float) -> None:
        async with asyncio.timeout(self.answer_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(connect_packet(self._client_id))
            async with asyncio.timeout(self.answer_s):
                first, body = await read_packet(reader)
                assert first == _CONNACK
                assert body[1] == 0, f"refused: {body[1]}"
                await self.begin(reader, writer)
            sending = asyncio.create_task(self._send(writer, started_s))
            try:
                while len(self.settled) < len(self.messages):
                    async with asyncio.timeout(self.answer_s):
                        first, body = await read_packet(reader)
                    if not self.hear(first, body, writer):
                        return  # and once more, when somebody is subscribed
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _send(self, writer: asyncio.StreamWriter, started_s: float) -> None:
        pending = [n for n in range(len(self.messages)) if n not in self.settled]
        for position, number in enumerate(pending):
            due_s = started_s + LOAD_S * number / len(self.messages)
            latest = pending[max(0, position - _WINDOW) : position]
            while (wait_s := due_s - time.monotonic()) > 0 or self._is_full(latest):  # noqa: ASYNC110
                await asyncio.sleep(max(wait_s, 0.005))
            topic = f"drover/v1/{self.tenant}/{self.messages[number].device_id}/batch".encode()
            head = text(topic) + (number + 1).to_bytes(2, "big") + b"\x00"
            writer.write(packet(0x32, head + self.encode(number)))
            await writer.drain()

    def _is_full(self, latest: Sequence[int]) -> bool:
        return len(latest) == _WINDOW and latest[0] not in self.acknowledged_at_s

    def encode(self, number: int) -> bytes:
        """The payload of a message."""
        return self.messages[number].encode().SerializeToString()

    async def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What to say first on a connection: nothing."""

    def hear(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Takes a packet; False when it is better to begin anew."""
        assert first == PUBACK, f"packet {first:#x}"
        if not self.hear_acknowledgement(body):
            return False
        self.settled.add(number_of(body))
        return True

    def hear_acknowledgement(self, body: bytes) -> bool:
        """Takes a PUBACK; False when it says that nobody is subscribed."""
        reason = body[2] if len(body) > 2 else 0
        if reason == _NO_SUBSCRIBER:
            self.unheard += 1
            return False
        assert reason == 0, f"reason {reason:#x}"
        self.acknowledged_at_s.setdefault(number_of(body), time.time())
        return True
