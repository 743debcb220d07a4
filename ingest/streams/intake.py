"""Requests of all gRPC streams, settled together: one decoding for whatever came in a few milliseconds.

Ten thousand streams of one small batch each would otherwise cost ten thousand calls of every kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from drover.api.ingest.v1.ingest_service_pb2 import Rejection as RejectionMessage
from ingest.messages import Messages
from ingest.pipeline import Pipeline
from ingest.reasons import Reason, Rejection
from ingest.streams.requests import Requests, take_apart
from runtime.metrics import Gauge
from runtime.problems import Invalid, Unavailable
from runtime.tokens import Caller, Role

_IN_FLIGHT: Final = Gauge("drover_ingest_grpc_in_flight_bytes", "Bytes of gRPC requests that are not settled.")

# With a millisecond the fixed cost of a round, about 0.4 ms, was a third of all work at ten thousand batches a second.
_GATHER_S: Final = 0.004
# Large batches have their work in the bytes: nothing is won by letting more of them wait.
_GATHER_BYTES: Final = 128 * 1024


class MalformedRequestError(Invalid):
    """Bytes that are not a StreamRequest: nothing in them can be told from anything else, so the stream ends."""

    code = "malformed_request"


class Receipt(NamedTuple):
    """A request that is durable, but for what it was told."""

    batch_number: int
    rejections: list[RejectionMessage]


Settlement = Receipt | MalformedRequestError | Unavailable
"""What a request came to; Unavailable when ingest stopped before it was durable."""


class Sender(Protocol):
    """Where requests come from."""

    @property
    def caller(self) -> Caller:
        """In whose name."""

    def settled(self) -> None:
        """One or more of its requests have a settlement now."""

    def has_room(self) -> None:
        """More may be submitted: it was told to wait."""


class Submitted:
    """A request on its way."""

    __slots__ = ("request", "sender", "settlement")

    def __init__(self, request: bytes, sender: Sender) -> None:
        self.request: Final = request
        self.sender: Final = sender
        self.settlement: Settlement | None = None


class GrpcIntake:
    """One for all streams. What is a bug ends the task group, and with it the process."""

    def __init__(self, pipeline: Pipeline, tasks: asyncio.TaskGroup, *, high_water_bytes: int) -> None:
        self._pipeline: Final = pipeline
        self._high_water_bytes: Final = high_water_bytes
        self._in_flight_bytes = 0
        self._waiting: Final[dict[Sender, None]] = {}
        self._gathered: list[Submitted] = []
        self._gathered_bytes = 0
        self._is_enough: Final = asyncio.Event()
        self._tasks: Final = tasks

    def submit(self, request: bytes, sender: Sender) -> Submitted:
        """Takes a request."""
        if not self._gathered:
            self._tasks.create_task(self._settle_soon())
        submitted = Submitted(request, sender)
        self._gathered.append(submitted)
        self._gathered_bytes += len(request)
        if self._gathered_bytes >= _GATHER_BYTES:
            self._is_enough.set()
        self._in_flight_bytes += len(request)
        return submitted

    def admits(self, sender: Sender) -> bool:
        """Whether another request may be read: fewer bytes are in flight than the high-water mark.

        If not, `sender.has_room` is called, once, when it may: first come, first in.
        """
        if self._in_flight_bytes < self._high_water_bytes:
            return True
        self._waiting[sender] = None
        return False

    def forget(self, sender: Sender) -> None:
        """It is gone, and does not wait any more."""
        self._waiting.pop(sender, None)

    async def _settle_soon(self) -> None:
        # A task that waits, not a timer that makes one: the task group waits for it, also when it is about to end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_S):
                await self._is_enough.wait()
        gathered, self._gathered = self._gathered, []
        size, self._gathered_bytes = self._gathered_bytes, 0
        self._is_enough.clear()
        _IN_FLIGHT.set(self._in_flight_bytes)
        try:
            await self._settle(gathered)
        finally:
            self._in_flight_bytes -= size
            _IN_FLIGHT.set(self._in_flight_bytes)
        for sender in {each.sender: None for each in gathered}:
            sender.settled()
        while self._waiting and self._in_flight_bytes < self._high_water_bytes:
            first = next(iter(self._waiting))
            del self._waiting[first]
            first.has_room()

    async def _settle(self, gathered: Sequence[Submitted]) -> None:
        requests = take_apart([each.request for each in gathered])
        request_of: list[int] = requests.request.tolist()
        ids = _ids(requests)
        messages, refused = _messages(requests, ids, [gathered[request].sender.caller for request in request_of])
        try:
            outcome = await self._pipeline.accept_and_tell(messages, refused)
        except Unavailable as problem:
            for each in gathered:
                each.settlement = problem
            return
        for each, number, is_sound in zip(
            gathered, requests.batch_number.tolist(), requests.is_sound.tolist(), strict=True
        ):
            each.settlement = (
                Receipt(number, []) if is_sound else MalformedRequestError("the bytes are not a StreamRequest")
            )
        for refusal in outcome.refusals:
            receipt = gathered[request_of[refusal.message]].settlement
            assert isinstance(receipt, Receipt)
            receipt.rejections.append(
                RejectionMessage(
                    batch_number=receipt.batch_number,
                    device_id=ids[refusal.message].decode(errors="backslashreplace"),
                    reason=refusal.reason.slug,
                    count=refusal.readings,
                )
            )


def _ids(requests: Requests) -> list[bytes]:
    buffer = requests.buffer.tobytes()
    offsets = zip(requests.id_start.tolist(), requests.id_end.tolist(), strict=True)
    return [buffer[start:end] for start, end in offsets]


def _messages(
    requests: Requests, ids: Sequence[bytes], senders: Sequence[Caller]
) -> tuple[Messages, dict[int, Rejection]]:
    """The devices' readings as messages of the topic `batch`, and those that their sender may not send."""
    prefixes = {sender.tenant: f"drover/v1/{sender.tenant}/".encode() for sender in senders}
    topics = [b"%b%b/batch" % (prefixes[sender.tenant], name) for sender, name in zip(senders, ids, strict=True)]
    refused: dict[int, Rejection] = {}
    for row, (sender, name) in enumerate(zip(senders, ids, strict=True)):
        if sender.role is Role.DEVICE and name != sender.subject.encode():
            refused[row] = Rejection(Reason.FORBIDDEN, f"{sender.subject} sent for another device")
        elif b"/" in name:  # it would be another topic
            refused[row] = Rejection(Reason.BAD_DEVICE_ID)
    lengths = np.array([len(topic) for topic in topics], np.int64)
    topic_end = len(requests.buffer) + np.cumsum(lengths)
    messages = Messages(
        np.concatenate((requests.buffer, np.frombuffer(b"".join(topics), np.uint8))),
        topic_end - lengths,
        topic_end,
        requests.readings_start,
        requests.readings_end,
        time.time_ns() // 1000,
        "grpc",
    )
    return messages, refused
