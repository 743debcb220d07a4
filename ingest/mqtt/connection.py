"""One connection to a broker, from bytes to batches and from durable batches to acknowledgements.

A connection knows only its own socket: a batch that becomes durable after its connection ended is acknowledged to
nobody, and the broker sends its messages again on the next one. Acknowledgements go out in order of arrival (MQTT 5.0,
4.6), a run of durable batches in one write.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Final

import aiomqtt
import numpy as np
import structlog

from ingest.messages import Messages
from ingest.mqtt.chunks import Chunk, Chunks
from ingest.mqtt.deliveries import Deliveries, Delivery, Sink
from ingest.mqtt.frames import (
    Search,
    State,
    ack_of,
    find_packets,
    read_length,
    read_publish,
    room_for,
)
from ingest.mqtt.hooks import SocketTap
from ingest.mqtt.outbox import Outbox
from ingest.mqtt.window import Window
from ingest.reasons import Reason, Rejection
from runtime.metrics import Counter
from tracking_core.columns import U8

log = structlog.get_logger()

_RECEIVED: Final = Counter("drover_ingest_mqtt_received_bytes", "Bytes received from brokers.")
_TOO_LARGE: Final = Counter("drover_ingest_mqtt_too_large", "Messages cut because they were over the limit.")

_LEAST_READ_BYTES: Final = 64 * 1024
_MOST_READ_BYTES: Final = 256 * 1024
_DISCONNECT: Final = b"\xe0\x00"
_HEADROOM_BYTES: Final = 128 * 1024
"""For topic, header and properties of a message beside its payload."""
_ROOM: Final = room_for(16_384)
"""Used within one call at a time, so that all connections of a process share it."""


class Connection:
    """Reads what a client's socket brings and gives it to `sink`. Must be made before the client connects.

    `on_closed` is called when the socket closes; `on_failure` with what `sink` raised, once. A message larger than
    `max_payload_bytes` is received in pieces, of which only the first so many bytes and one more are kept: enough for
    the sink to see that it is too large.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        sink: Sink,
        window: Window,
        outbox: Outbox,
        *,
        is_version_5: bool,
        max_payload_bytes: int,
        gather_s: float,
        on_closed: Callable[[], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._tap: Final = SocketTap(client, self._read, on_closed)
        self._window: Final = window
        self._outbox: Final = outbox
        self._is_version_5: Final = is_version_5
        self._max_payload_bytes: Final = max_payload_bytes
        self._max_packet_bytes: Final = max_payload_bytes + _HEADROOM_BYTES
        self._gather_s: Final = gather_s
        self._on_failure: Final = on_failure
        self._chunks: Final = Chunks(self._max_packet_bytes + _MOST_READ_BYTES)
        self._deliveries: Final = Deliveries(
            sink, window, send=self._tap.send, on_failure=on_failure, on_stop=self.stop
        )
        self._is_paused = False
        self._is_stopped = False
        self._is_deaf = False
        self._is_leaving = False
        self._was_heard = False
        self._missing = 0  # of the packet whose beginning is in the chunk
        # Of a message that is too large: what is kept of it, and how many bytes of it are still to come.
        self._cut: Delivery | None = None
        self._to_discard = 0

    def pause(self) -> None:
        """Reads no more until `resume`."""
        self._is_paused = True
        self._tap.pause()

    def resume(self) -> None:
        """Reads again, unless it was stopped."""
        if self._is_paused and not self._is_stopped:
            self._is_paused = False
            self._loop.call_soon(self._read)

    def stop(self) -> None:
        """Reads no more; what was read is still acknowledged when it becomes durable."""
        self._is_stopped = True
        self.pause()

    async def drain(self, seconds: float) -> None:
        """Waits so long at most until what was read is durable and acknowledged, and then until what was sent is
        confirmed. Messages that come meanwhile are left to the next connection.
        """
        deadline_s = self._loop.time() + seconds
        self.stop()
        await self._deliveries.settle(seconds)
        if len(self._outbox):
            # Confirmations stand between messages. Those are passed over: unacknowledged, they come again.
            self._is_deaf = True
            self._is_stopped = False
            self.resume()
            await self._outbox.settle(max(0.0, deadline_s - self._loop.time()))
            self.stop()

    def leave(self) -> None:
        """Says DISCONNECT, and reads away what still comes until the broker closes. To close over bytes unread would
        reset the connection, and with it might go the acknowledgements that the broker has not read yet.
        """
        self._is_leaving = True
        self._is_paused = False
        self._tap.send(_DISCONNECT)
        self._tap.resume()

    def abandon(self) -> None:
        """Closes the connection without a word to the broker, if it is still open."""
        self._tap.end()

    def keep_alive(self) -> None:
        """To be called every second or so: a connection that brings bytes, or that we do not read, is not dead."""
        if self._is_paused or self._was_heard:
            self._was_heard = False
            self._tap.forgive_ping()

    def _can_read(self) -> bool:
        return not self._is_paused and self._tap.is_open

    def _read(self) -> None:
        """Called when there may be bytes to read."""
        if not self._can_read():
            return
        if self._is_leaving:
            self._read_away()
            return
        try:
            received, wanted = self._receive()
        except BaseException as error:
            # A bug, which the event loop would only log.
            self._on_failure(error)
            raise
        if not self._can_read():
            return
        if received == wanted or self._tap.has_hidden_bytes:
            self._loop.call_soon(self._read)
        elif received > 0 and self._gather_s > 0.0:
            # A broker under load writes packet by packet. Leaving the socket alone for a moment makes one batch of
            # what would be dozens; a message that comes alone has been read without waiting.
            self._tap.pause()
            self._loop.call_later(self._gather_s, self._read)
        else:
            self._tap.resume()

    def _read_away(self) -> None:
        try:
            received = self._tap.receive_into(self._chunks.make_room(_LEAST_READ_BYTES).view[-_LEAST_READ_BYTES:])
        except OSError:
            received = 0
        if received == 0:
            self._tap.end()

    def _receive(self) -> tuple[int, int]:
        """Takes what the socket has, up to one buffer: how many bytes that was, and how many there was room for."""
        chunk = self._chunks.make_room(max(self._missing, _LEAST_READ_BYTES))
        wanted = min(chunk.room, _MOST_READ_BYTES)
        if self._to_discard:
            wanted = min(wanted, self._to_discard)
        try:
            received = self._tap.receive_into(chunk.view[chunk.filled : chunk.filled + wanted])
        except OSError as error:
            log.warning("the connection to the broker broke", error=str(error))
            received = 0
        if received == 0:
            self._tap.end()
        if received <= 0:
            return 0, wanted
        _RECEIVED.inc(received)
        self._was_heard = True
        if self._to_discard:
            self._discard(received)
        else:
            chunk.filled += received
            self._take(chunk, time.time_ns() // 1000)
        return received, wanted

    def _take(self, chunk: Chunk, received_at_us: int) -> None:
        """Hands on all complete packets of the chunk."""
        buffer = chunk.readable
        while self._tap.is_open:
            search = find_packets(buffer, chunk.taken, chunk.filled, self._is_version_5, self._max_packet_bytes, _ROOM)
            others = [buffer[_ROOM.other_start[i] : _ROOM.other_end[i]].tobytes() for i in range(search.others)]
            if search.publishes:
                self._deliver(self._delivery_of(search, chunk, received_at_us))
            chunk.taken = search.at
            if others:
                self._tap.give_back(b"".join(others))
            self._missing = max(0, search.packet_end - chunk.filled)
            if search.state == State.NEEDS_MORE:
                return
            if search.state == State.MALFORMED:
                self._hang_up(buffer[search.at : chunk.filled])
            elif search.state == State.TOO_LARGE and not self._cut_short(search, chunk, received_at_us):
                return

    def _cut_short(self, search: Search, chunk: Chunk, received_at_us: int) -> bool:
        """Keeps the beginning of a message that is too large, once it is there; returns whether it was."""
        start, end = search.at, search.at + self._max_packet_bytes
        self._missing = max(0, end - chunk.filled)
        if self._missing:
            return False
        buffer = chunk.readable
        _, body = read_length(buffer, start + 1, end)
        publish = read_publish(buffer, start, body, search.packet_end, self._is_version_5)
        if publish.topic_start == 0:
            self._hang_up(buffer[start:end])
            return True
        topic = buffer[publish.topic_start : publish.topic_end].tobytes().decode(errors="backslashreplace")
        log.warning("a message is too large and is cut", topic=topic[:200], packet_bytes=search.packet_end - start)
        _TOO_LARGE.inc()
        # Properties may have any length: then bytes of them stand for a payload that was never kept.
        payload = min(publish.payload_start, end - self._max_payload_bytes - 1)
        offsets = (publish.topic_start, publish.topic_end, payload, payload + self._max_payload_bytes + 1)
        topic_start, topic_end, payload_start, payload_end = np.array(offsets, np.int64).reshape(4, 1)
        messages = Messages(
            buffer, topic_start, topic_end, payload_start, payload_end, received_at_us, "mqtt", self._outbox
        )
        size = search.packet_end - publish.payload_start
        refused = {0: Rejection(Reason.TOO_LARGE, f"{size} bytes", size)}
        self._cut = Delivery(messages, ack_of(publish), end - start, self._holding(chunk), refused)
        chunk.taken = min(search.packet_end, chunk.filled)
        self._to_discard = search.packet_end - chunk.taken
        self._missing = 0
        self._discard(0)
        return self._to_discard == 0

    def _hang_up(self, rest: U8) -> None:
        log.error("the broker sent what is not MQTT, hanging up", first_bytes=rest[:16].tobytes().hex(" "))
        self._tap.end()

    def _discard(self, received: int) -> None:
        """Passes over bytes of a message that is too large. What was kept of it goes on when the last has come: an
        acknowledgement before that would be one for a message that the broker is still sending.
        """
        self._to_discard -= received
        if self._to_discard == 0 and self._cut is not None:
            self._deliver(self._cut)
            self._cut = None

    def _deliver(self, delivery: Delivery) -> None:
        if self._is_deaf:
            delivery.release()
            return
        self._deliveries.add(delivery)
        if self._window.is_full:
            self.pause()

    def _holding(self, chunk: Chunk) -> Callable[[], None]:
        """Keeps a chunk from being used again, until what this returns is called."""
        chunk.users += 1
        return functools.partial(self._chunks.release, chunk)

    def _delivery_of(self, search: Search, chunk: Chunk, received_at_us: int) -> Delivery:
        """The PUBLISH packets of a search, in columns of their own."""
        count = search.publishes
        messages = Messages(
            chunk.readable,
            _ROOM.topic_start[:count].copy(),
            _ROOM.topic_end[:count].copy(),
            _ROOM.payload_start[:count].copy(),
            _ROOM.payload_end[:count].copy(),
            received_at_us,
            "mqtt",
            self._outbox,
        )
        acks = _ROOM.acks[: search.ack_bytes].tobytes()
        return Delivery(messages, acks, search.at - chunk.taken, self._holding(chunk))
