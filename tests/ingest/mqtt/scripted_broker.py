"""A broker that does what a test tells it, byte by byte; and a sink that takes messages when a test lets it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping

from ingest.messages import Messages, payload, topic
from ingest.mqtt.source import Broker, MqttOptions, MqttSource
from ingest.reasons import Rejection
from runtime.process import Stop

PATIENCE_S = 30.0


class Gate:
    """A sink. `taken` holds (topic, payload) of all messages that came; none is durable while the gate is closed."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, bytes]] = []
        self.refused: list[Rejection] = []
        self.batches = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: BaseException | None = None

    async def accept(self, messages: Messages) -> None:
        self.batches += 1
        self.taken += [(topic(messages, i), payload(messages, i)) for i in range(len(messages.topic_start))]
        await self.open.wait()
        if self.error is not None:
            raise self.error

    async def accept_and_tell(self, messages: Messages, refused: Mapping[int, Rejection]) -> None:
        self.refused += refused.values()
        await self.accept(messages)

    async def has(self, count: int) -> None:
        """Returns when so many messages came."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.taken) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


class Peer:
    """One connection of a client to the scripted broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.connect = b""
        self.is_gone = False

    @property
    def is_version_5(self) -> bool:
        return self.connect[8] == 5

    async def packet(self) -> bytes:
        """The next packet that the client sends. b"" at the end."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.read(1)
            if not head:
                return b""
            length, shift, size = 0, 0, b""
            while not size or size[-1] & 0x80:
                size += await self.reader.readexactly(1)
                length |= (size[-1] & 0x7F) << shift
                shift += 7
            return head + size + await self.reader.readexactly(length)

    async def answers(self, data: bytes) -> bytes:
        """Sends, then reads as many bytes as are expected to come: all that come within a moment."""
        self.writer.write(data)
        await self.writer.drain()
        return await self.silence()

    async def silence(self, seconds: float = 0.15) -> bytes:
        """What comes until nothing came for so long."""
        got = b""
        while True:
            try:
                more = await asyncio.wait_for(self.reader.read(65_536), seconds)
            except TimeoutError:
                return got
            except ConnectionResetError:  # what was sent to a client that left unread
                more = b""
            if not more:
                self.is_gone = True
                return got
            got += more

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def greet(self) -> None:
        """Answers CONNECT."""
        self.connect = await self.packet()
        assert self.connect[0] == 0x10
        self.send(b"\x20\x03\x00\x00\x00" if self.is_version_5 else b"\x20\x02\x00\x00")

    async def serve(self) -> None:
        """Answers CONNECT and one SUBSCRIBE."""
        await self.greet()
        subscribe = await self.packet()
        assert subscribe[0] == 0x82
        packet_id = subscribe[2:4]
        self.send(b"\x90\x04" + packet_id + b"\x00\x01" if self.is_version_5 else b"\x90\x03" + packet_id + b"\x01")

    async def hang_up(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class ScriptedBroker:
    """Connections come out of `next_peer`, in order."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.port = 0

    async def next_peer(self) -> Peer:
        async with asyncio.timeout(PATIENCE_S):
            return await self._peers.get()

    def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers.put_nowait(Peer(reader, writer))


@contextlib.asynccontextmanager
async def scripted_broker(tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    peers: list[Peer] = []
    arrived = broker._arrived

    def remember(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(Peer(reader, writer))
        arrived(reader, writer)

    server = await asyncio.start_server(remember, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        for peer in peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0)


class Running:
    """A source and what it runs with."""

    def __init__(self, source: MqttSource, task: asyncio.Task[None], stop: Stop) -> None:
        self.source = source
        self.task = task
        self.stop = stop

    async def subscribed(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.source.wrong is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.task


@contextlib.asynccontextmanager
async def running(
    port: int, sink: Gate, *, filters: tuple[str, ...] = ("t/#",), tls: ssl.SSLContext | None = None, **options: object
) -> AsyncIterator[Running]:
    """A source that reads from `port`. It is stopped at the end, without much patience."""
    chosen = MqttOptions(**({"client_id": "test", "version": "5", "drain_s": 0.2, "gather_s": 0.0} | options))  # type: ignore[arg-type]
    source = MqttSource(Broker("127.0.0.1", port, None, None, tls), filters, sink, chosen)
    stop = Stop()
    task = asyncio.create_task(source.run(stop))
    try:
        yield Running(source, task, stop)
    finally:
        stop.set()
        sink.open.set()
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
        task.cancel()
        assert done, "the source did not stop"
