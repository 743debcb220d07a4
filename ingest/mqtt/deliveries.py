"""Batches of one connection on their way: given to the sink in order, acknowledged in order once they are durable.

The queue is bounded by the window, which stops the reading that fills it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from ingest.fault_points import reach
from ingest.messages import Messages
from ingest.mqtt.frames import ACK_BYTES
from ingest.mqtt.window import Window
from ingest.reasons import Rejection
from runtime.metrics import Counter
from runtime.problems import Unavailable

_ACKNOWLEDGED: Final = Counter("drover_ingest_mqtt_acknowledged", "MQTT messages acknowledged to brokers.")


class Sink(Protocol):
    """Where messages go: the pipeline. Both return when all messages are durable; what raises was not."""

    async def accept(self, messages: Messages) -> None:
        """Takes what can be taken, and keeps what cannot as dead letters."""

    async def accept_and_tell(self, messages: Messages, refused: Mapping[int, Rejection]) -> object:
        """The same for messages some of which, by index, the source itself does not let in."""


class Delivery:
    """Messages of one read, and what to answer when they are durable. Until `release` is called their buffer stays."""

    __slots__ = ("acks", "is_durable", "messages", "refused", "release", "size")

    def __init__(
        self,
        messages: Messages,
        acks: bytes,
        size: int,
        release: Callable[[], None],
        refused: Mapping[int, Rejection] | None = None,
    ) -> None:
        self.messages = messages
        self.acks = acks
        self.size = size
        self.release = release
        self.refused = refused
        self.is_durable = False


class Deliveries:
    """What a connection has read and not acknowledged.

    `send` sends acknowledgements, and says whether it could; `on_failure` is told what the sink raised, `on_stop` that
    the sink is closing.
    """

    def __init__(
        self,
        sink: Sink,
        window: Window,
        *,
        send: Callable[[bytes], bool],
        on_failure: Callable[[BaseException], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._sink: Final = sink
        self._window: Final = window
        self._send: Final = send
        self._on_failure: Final = on_failure
        self._on_stop: Final = on_stop
        self._queue: Final[deque[Delivery]] = deque()
        self._tasks: Final[set[asyncio.Task[None]]] = set()

    def add(self, delivery: Delivery) -> None:
        """Sends a delivery on its way."""
        self._queue.append(delivery)
        self._window.enter(len(delivery.messages.topic_start), delivery.size)
        task = self._loop.create_task(self._make_durable(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self, seconds: float) -> None:
        """Waits so long at most until all deliveries are durable, and acknowledges what is."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        self._acknowledge()

    async def _make_durable(self, delivery: Delivery) -> None:
        try:
            if delivery.refused is None:
                await self._sink.accept(delivery.messages)
            else:
                await self._sink.accept_and_tell(delivery.messages, delivery.refused)
        except Unavailable:
            self._on_stop()  # ingest is stopping: never to be acknowledged, to be sent again to whoever comes next
        except Exception as error:  # noqa: BLE001 - a bug; it ends the process by way of the source
            self._on_failure(error)
        else:
            delivery.is_durable = True
            if self._queue[0] is delivery:
                self._loop.call_soon(self._acknowledge)
        finally:
            delivery.release()
            self._window.leave(len(delivery.messages.topic_start), delivery.size)

    def _acknowledge(self) -> None:
        """Answers, in one write, for all deliveries from the oldest on that are durable."""
        parts: list[bytes] = []
        while self._queue and self._queue[0].is_durable:
            parts.append(self._queue.popleft().acks)
        acks = b"".join(parts)
        if acks:
            reach("before_ack")
            if self._send(acks):
                reach("after_ack")
                _ACKNOWLEDGED.inc(len(acks) // ACK_BYTES)
