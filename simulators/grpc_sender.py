"""Sends over gRPC: batches up, cumulative receipts down."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import grpc
import structlog

from drover.api.ingest.v1 import ingest_service_pb2 as pb
from drover.api.ingest.v1 import ingest_service_pb2_grpc
from drover.telemetry.v1 import reading_pb2
from runtime import grpc_client
from runtime.problems import Forbidden, Invalid, Problem, Unauthenticated
from simulators.sender import Receipts, count

log = structlog.get_logger()

_RETRY_S: Final = 0.5


class GrpcSender:
    """See Sender. Fills batches of `batch` readings; at most `window` batches wait for their receipt."""

    def __init__(self, *, batch: int, window: int) -> None:
        self.receipts = Receipts()
        self._batch = batch
        self._window = window
        self._filling = pb.StreamRequest()
        self._filled = 0
        self._unacknowledged: deque[tuple[pb.StreamRequest, int]] = deque()
        self._unsent = 0
        """How many at the end of `_unacknowledged` have not gone out on this stream."""
        self._changed = asyncio.Condition()
        self._refused: Problem | None = None

    async def send(self, device_id: str, readings: reading_pb2.ReadingBatch) -> None:
        """See Sender."""
        last = self._filling.devices[-1] if self._filling.devices else None
        if last is not None and last.device_id == device_id:
            last.readings.MergeFrom(readings)
        else:
            self._filling.devices.add(device_id=device_id, readings=readings)
        number = count(readings)
        self._filled += number
        self.receipts.sent += number
        if self._filled >= self._batch:
            await self.flush()

    async def flush(self) -> None:
        """See Sender. Raises the Problem with which the server refused the stream for good."""
        if not self._filled:
            return
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._unacknowledged) < self._window or self._refused is not None)
            if self._refused is not None:
                raise self._refused
            self._unacknowledged.append((self._filling, self._filled))
            self._unsent += 1
            self._changed.notify_all()
        self._filling = pb.StreamRequest()
        self._filled = 0

    async def drain(self) -> None:
        """See Sender."""
        await self.flush()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._unacknowledged or self._refused is not None)
        if self._refused is not None:
            raise self._refused

    async def run(self, stub: ingest_service_pb2_grpc.TelemetryIngestAsyncStub, token: str) -> None:
        """Streams until the connection breaks, with grpc.aio.AioRpcError."""
        self.receipts.resent += sum(number for _, number in list(self._unacknowledged)[: -self._unsent or None])
        self._unsent = len(self._unacknowledged)
        acknowledged = 0

        async def requests() -> AsyncIterator[pb.StreamRequest]:
            number = 0
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: self._unsent > 0)
                    request = self._unacknowledged[-self._unsent][0]
                    self._unsent -= 1
                number += 1
                request.batch_number = number
                yield request

        async for answer in stub.Stream(requests(), metadata=grpc_client.metadata(token)):
            for rejection in answer.rejections:
                self.receipts.rejected[rejection.reason] += rejection.count
            async with self._changed:
                while acknowledged < answer.acked_through:
                    self.receipts.acknowledged += self._unacknowledged.popleft()[1]
                    acknowledged += 1
                self._changed.notify_all()

    async def refuse(self, problem: Problem) -> None:
        """The server will never take this: whoever waits is told."""
        async with self._changed:
            self._refused = problem
            self._changed.notify_all()


@contextlib.asynccontextmanager
async def connected(
    address: str, token: Callable[[], str], *, batch: int = 100, window: int = 64
) -> AsyncIterator[GrpcSender]:
    """A sender that reconnects for as long as the context lasts. `address` is host:port."""
    sender = GrpcSender(batch=batch, window=window)

    async def keep_connected(link: grpc.aio.Channel) -> None:
        stub = ingest_service_pb2_grpc.TelemetryIngestStub(link)
        while True:
            try:
                await sender.run(stub, token())
            except grpc.aio.AioRpcError as broken:
                problem = grpc_client.problem_of(broken)
                if isinstance(problem, Unauthenticated | Forbidden | Invalid):
                    await sender.refuse(problem)
                    return
                log.warning("gRPC stream broke; trying again", error=str(problem))
            await asyncio.sleep(_RETRY_S)

    async with grpc_client.channel(address) as link:
        task = asyncio.create_task(keep_connected(link))
        try:
            yield sender
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
