"""`TelemetryIngest.Stream`: batches up, receipts down.

Bytes are taken through as they are. A stream has at most `WINDOW` batches in flight; beyond it, and while all streams
together are past the high-water mark, nothing is read, and HTTP/2 flow control holds the sender.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc

from drover.api.ingest.v1.ingest_service_pb2 import StreamResponse
from ingest.devices.device_name import is_tenant
from ingest.fault_points import reach
from ingest.streams.intake import GrpcIntake, Receipt
from runtime.grpc_server import require
from runtime.metrics import Gauge
from runtime.problems import Invalid, Problem, Unauthenticated, Unavailable
from runtime.tokens import Caller, Role

_STREAMS: Final = Gauge("drover_ingest_grpc_streams", "gRPC streams open.")

_FAREWELL_S: Final = 1.0

WINDOW: Final = 64
"""Batches of one stream in flight."""


class BatchOutOfOrderError(Invalid):
    """A batch number that is not one more than the last."""

    code = "batch_out_of_order"


class _InFlight:
    """The batches of a stream that are read and not acknowledged, in order."""

    def __init__(self) -> None:
        self._receipts: Final[deque[asyncio.Future[Receipt]]] = deque()
        self._changed: Final = asyncio.Event()
        self._slots: Final = asyncio.Semaphore(WINDOW)
        self._is_ended = False
        self.problem: Problem | None = None
        """Why nothing more is read, where the sender is to be told."""

    async def has_slot(self) -> None:
        """Returns when another batch may be read; it takes the slot."""
        await self._slots.acquire()

    def put(self, receipt: asyncio.Future[Receipt]) -> None:
        """One more batch."""
        self._receipts.append(receipt)
        self._changed.set()

    def end(self) -> None:
        """No more batches."""
        self._is_ended = True
        self._changed.set()

    async def next(self) -> bool:
        """Waits until the oldest batch is settled; False when there is none and will be none."""
        while not self._receipts:
            if self._is_ended:
                return False
            self._changed.clear()
            await self._changed.wait()
        # `asyncio.wait`, which would not raise what the batch came to, takes a quarter of the time of a quiet stream.
        with contextlib.suppress(Problem):
            await self._receipts[0]
        return True

    def pop_settled(self) -> asyncio.Future[Receipt] | None:
        """The oldest batch, if it is settled."""
        if not self._receipts or not self._receipts[0].done():
            return None
        self._slots.release()
        return self._receipts.popleft()


class GrpcSource:
    """The service. `add` puts it on a server."""

    def __init__(self, intake: GrpcIntake, check: Callable[[Caller], None]) -> None:
        """`check` raises a Problem for a caller that is no longer good: streams may last for months."""
        self._intake: Final = intake
        self._check: Final = check
        self._open: Final[set[_InFlight]] = set()
        """What each open stream has in flight."""
        self._is_closing = False

    def add(self, server: grpc.aio.Server) -> None:
        """Serves bytes in: no request is ever made an object."""
        handler: Any = grpc.stream_stream_rpc_method_handler(
            self.stream, request_deserializer=None, response_serializer=StreamResponse.SerializeToString
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("drover.api.ingest.v1.TelemetryIngest", {"Stream": handler}),)
        )

    def close(self) -> None:
        """Reads nothing more; streams end, with UNAVAILABLE, once what was read is settled and acknowledged."""
        self._is_closing = True
        for in_flight in self._open:
            in_flight.end()

    async def stream(
        self, requests: AsyncIterator[bytes], _context: grpc.aio.ServicerContext[bytes, StreamResponse]
    ) -> AsyncIterator[StreamResponse]:
        """One stream. Raises Problems for what ends it."""
        sender = require(Role.DEVICE, Role.FORWARDER, Role.ADMIN)
        if not is_tenant(sender.tenant):
            raise Invalid("the call names no tenant", code="tenant_missing")
        in_flight = _InFlight()
        reader = asyncio.create_task(self._read(requests, sender, in_flight))
        self._open.add(in_flight)
        try:
            with _STREAMS.track_inprogress():
                acked_through = 0
                while await in_flight.next():
                    response, problem = _respond(in_flight, acked_through)
                    if response.acked_through > acked_through:
                        acked_through = response.acked_through
                        reach("before_ack")
                        yield response
                        reach("after_ack")
                    if problem is not None:
                        raise problem
            if in_flight.problem is not None:
                raise in_flight.problem
            if self._is_closing:
                raise Unavailable("ingest is stopping", code="stopping")
        finally:
            self._open.discard(in_flight)
            # Cancelling a read cancels the call, and the sender would see that instead of the problem that ends it.
            asyncio.get_running_loop().call_later(_FAREWELL_S, reader.cancel)

    async def _read(self, requests: AsyncIterator[bytes], sender: Caller, in_flight: _InFlight) -> None:
        try:
            while not self._is_closing:
                await in_flight.has_slot()
                await self._intake.has_room()
                request = await anext(requests, None)
                if request is None or self._is_closing:
                    return
                self._check(sender)
                in_flight.put(self._intake.submit(request, sender))
        except Unauthenticated as problem:
            in_flight.problem = problem
        finally:
            in_flight.end()


def _respond(in_flight: _InFlight, acked_through: int) -> tuple[StreamResponse, Problem | None]:
    """One response for all batches settled in order, and what ends the stream after it."""
    response = StreamResponse(acked_through=acked_through)
    while (settled := in_flight.pop_settled()) is not None:
        problem = settled.exception()
        if problem is not None:
            if isinstance(problem, Problem):
                return response, problem
            raise problem
        receipt = settled.result()
        if receipt.batch_number != response.acked_through + 1:
            wanted = response.acked_through + 1
            return response, BatchOutOfOrderError(f"batch {receipt.batch_number} came where {wanted} was due")
        response.acked_through = receipt.batch_number
        response.rejections.extend(receipt.rejections)
    return response, None
