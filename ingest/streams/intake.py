"""Requests of all gRPC streams, settled together: one decoding for whatever came in a millisecond.

Ten thousand streams of one small batch each would otherwise cost ten thousand calls of every kernel.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

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

_GATHER_S: Final = 0.001


class MalformedRequestError(Invalid):
    """Bytes that are not a StreamRequest: nothing in them can be told from anything else, so the stream ends."""

    code = "malformed_request"


class Receipt(NamedTuple):
    """A request that is durable, but for what it was told."""

    batch_number: int
    rejections: list[RejectionMessage]


class _Submitted(NamedTuple):
    request: bytes
    sender: Caller
    settled: asyncio.Future[Receipt]


class GrpcIntake:
    """One for all streams. What is a bug ends the task group, and with it the process."""

    def __init__(self, pipeline: Pipeline, tasks: asyncio.TaskGroup, *, high_water_bytes: int) -> None:
        self._pipeline: Final = pipeline
        self._high_water_bytes: Final = high_water_bytes
        self._in_flight_bytes = 0
        self._room: Final = asyncio.Event()
        self._room.set()
        self._gathered: list[_Submitted] = []
        self._tasks: Final = tasks

    async def has_room(self) -> None:
        """Returns when another request may be read: fewer bytes are in flight than the high-water mark."""
        await self._room.wait()

    def submit(self, request: bytes, sender: Caller) -> asyncio.Future[Receipt]:
        """Takes a request. The future raises MalformedRequestError, or Unavailable when ingest stops before it is
        durable.
        """
        if not self._gathered:
            self._tasks.create_task(self._settle_soon())
        settled: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._gathered.append(_Submitted(request, sender, settled))
        self._change_in_flight(len(request))
        return settled

    def _change_in_flight(self, by: int) -> None:
        self._in_flight_bytes += by
        _IN_FLIGHT.set(self._in_flight_bytes)
        if self._in_flight_bytes < self._high_water_bytes:
            self._room.set()
        else:
            self._room.clear()

    async def _settle_soon(self) -> None:
        # A task that sleeps, not a timer that makes one: the task group waits for it, also when it is about to end.
        await asyncio.sleep(_GATHER_S)
        gathered, self._gathered = self._gathered, []
        await self._settle(gathered)

    async def _settle(self, gathered: Sequence[_Submitted]) -> None:
        try:
            receipts = await self._settled(gathered)
        except Unavailable as problem:
            receipts = [problem] * len(gathered)
        finally:
            self._change_in_flight(-sum(len(each.request) for each in gathered))
        for each, receipt in zip(gathered, receipts, strict=True):
            if each.settled.done():  # its stream is gone
                continue
            if isinstance(receipt, Receipt):
                each.settled.set_result(receipt)
            else:
                each.settled.set_exception(receipt)

    async def _settled(self, gathered: Sequence[_Submitted]) -> list[Receipt | MalformedRequestError | Unavailable]:
        requests = take_apart([each.request for each in gathered])
        request_of: list[int] = requests.request.tolist()
        ids = _ids(requests)
        messages, refused = _messages(requests, ids, [gathered[request].sender for request in request_of])
        outcome = await self._pipeline.accept_and_tell(messages, refused)
        receipts: list[Receipt | MalformedRequestError | Unavailable] = [
            Receipt(number, []) if is_sound else MalformedRequestError("the bytes are not a StreamRequest")
            for number, is_sound in zip(requests.batch_number.tolist(), requests.is_sound.tolist(), strict=True)
        ]
        for refusal in outcome.refusals:
            receipt = receipts[request_of[refusal.message]]
            assert isinstance(receipt, Receipt)
            receipt.rejections.append(
                RejectionMessage(
                    batch_number=receipt.batch_number,
                    device_id=ids[refusal.message].decode(errors="backslashreplace"),
                    reason=refusal.reason.slug,
                    count=refusal.readings,
                )
            )
        return receipts


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
