"""What ingest sends to devices through one broker: receipts, commands, requests for a rebirth.

One queue for all, in order, over all connections of a source. What the broker has not answered when a connection ends
goes out again on the next one, so that a message may come twice. The queue is bounded: when it is full, its oldest
message is dropped and counted, since the newest is what a device still waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final, Protocol

import structlog

from runtime.metrics import Counter, Gauge

log = structlog.get_logger()

_DEPTH: Final = Gauge("drover_ingest_outbox_messages", "Messages to devices that brokers have not confirmed.")
_SENT: Final = Counter("drover_ingest_outbox_sent", "Messages to devices that brokers confirmed.")
_DROPPED: Final = Counter("drover_ingest_outbox_dropped", "Messages to devices that were dropped.", ["reason"])

_NOBODY_SUBSCRIBED: Final = 0x10
_FAILURE_CODE: Final = 0x80


class NotConnectedError(Exception):
    """There is no connection to the broker, or it ended before the broker answered."""


class OutboxFullError(Exception):
    """Too much waits for the broker: the message was dropped."""


class PublishRefusedError(Exception):
    """The broker did not take a message."""

    def __init__(self, topic: str, code: int) -> None:
        super().__init__(f"the broker refused what was published to {topic}: reason code {code:#04x}")
        self.topic = topic
        self.code = code


class Way(Protocol):
    """A connection to publish on: `Publisher`."""

    window: int

    def publish(self, topic: str, payload: bytes, qos: int, expiry_s: int | None) -> asyncio.Future[int]:
        """Sends; the future has the broker's reason code, or raises when the connection ends before."""


class _Outgoing:
    """A message, and who waits for it; nobody does for most."""

    __slots__ = ("expiry_s", "payload", "qos", "topic", "waiter")

    def __init__(
        self, topic: str, payload: bytes, qos: int, expiry_s: int | None, waiter: asyncio.Future[bool] | None
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.expiry_s = expiry_s
        self.waiter = waiter

    def fail(self, error: Exception) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error)


class Outbox:
    """Sends on the way that is open now, as many at once as it takes, the rest in order behind them."""

    def __init__(self, max_messages: int) -> None:
        self._max_messages: Final = max_messages
        self._queue: Final[deque[_Outgoing]] = deque()
        self._under_way: Final[dict[asyncio.Future[int], _Outgoing]] = {}
        self._way: Way | None = None
        self._is_warned = False
        self._depth = 0
        self._at_rest: Final = asyncio.Event()
        self._at_rest.set()

    def __len__(self) -> int:
        return len(self._queue) + len(self._under_way)

    def put(self, topic: str, payload: bytes, *, qos: int = 1, expiry_s: int | None = None) -> None:
        """Sends a message as soon as that can be, for nobody to wait for. With room on the way it stands before
        whatever is sent on the same connection after this returns: acknowledgements too. `expiry_s` is how long the
        broker keeps it, where MQTT 5 is spoken.
        """
        self._add(_Outgoing(topic, payload, qos, expiry_s, None))

    async def send(self, topic: str, payload: bytes, *, qos: int = 1, expiry_s: int | None = None) -> bool:
        """Sends a message on the present connection; whether somebody is subscribed to its topic, as far as the broker
        says (MQTT 5 brokers may, others never do: True).

        Raises NotConnectedError, OutboxFullError and PublishRefusedError. After the first, the broker may have it.
        """
        if self._way is None:
            raise NotConnectedError("not connected to the broker")
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._add(_Outgoing(topic, payload, qos, expiry_s, waiter))
        return await waiter

    def open(self, way: Way) -> None:
        """There is a connection. What waits goes out."""
        self._way = way
        self._is_warned = False
        self._pump()
        self._changed()

    def shut(self) -> None:
        """The connection is gone. What it had not confirmed waits for the next, before all else, unless somebody
        waited for it: they are told.
        """
        self._way = None
        unanswered, kept = list(self._under_way.values()), [*self._queue]
        self._under_way.clear()
        self._queue.clear()
        for outgoing in (*unanswered, *kept):
            if outgoing.waiter is None:
                self._queue.append(outgoing)
            else:
                outgoing.fail(NotConnectedError("the connection to the broker ended"))
        self._changed()

    async def settle(self, seconds: float) -> None:
        """Waits so long at most until the broker has confirmed everything, or the connection is gone."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._at_rest.wait(), seconds)
        if len(self):
            log.warning("messages to devices are left unconfirmed", messages=len(self))

    def _add(self, outgoing: _Outgoing) -> None:
        self._queue.append(outgoing)
        self._pump()
        while self._queue and len(self) > self._max_messages:
            dropped = self._queue.popleft()
            dropped.fail(OutboxFullError("too many messages wait for the broker"))
            _DROPPED.labels("full").inc()
        self._changed()

    def _pump(self) -> None:
        way = self._way
        while way is not None and self._queue and len(self._under_way) < way.window:
            outgoing = self._queue.popleft()
            answer = way.publish(outgoing.topic, outgoing.payload, outgoing.qos, outgoing.expiry_s)
            self._under_way[answer] = outgoing
            answer.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[int]) -> None:
        error = answer.exception()
        outgoing = self._under_way.get(answer)
        if outgoing is None or error is not None:
            return  # the connection ended, or is about to be found so: `shut` sees to what was under way
        del self._under_way[answer]
        code = answer.result()
        if code >= _FAILURE_CODE:
            self._refused(outgoing, code)
        else:
            _SENT.inc()
            if outgoing.waiter is not None and not outgoing.waiter.done():
                outgoing.waiter.set_result(code != _NOBODY_SUBSCRIBED)
        self._pump()
        self._changed()

    def _refused(self, outgoing: _Outgoing, code: int) -> None:
        refusal = PublishRefusedError(outgoing.topic, code)
        _DROPPED.labels("refused").inc()
        if not self._is_warned:  # once a connection: a broker that refuses one refuses thousands
            self._is_warned = True
            log.warning("the broker refuses messages to devices", error=str(refusal))
        outgoing.fail(refusal)

    def _changed(self) -> None:
        _DEPTH.inc(len(self) - self._depth)  # of all outboxes of the process
        self._depth = len(self)
        if self._depth and self._way is not None:
            self._at_rest.clear()
        else:
            self._at_rest.set()
