"""`TelemetryIngest.Stream`: batches up, receipts down.

Bytes are taken through as they are. A stream has at most `WINDOW` batches in flight; beyond it, and while all streams
together are past the high-water mark, nothing is read, and HTTP/2 flow control holds the sender.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from drover.api.ingest.v1.ingest_service_pb2 import StreamResponse
from ingest.devices.device_name import is_tenant
from ingest.fault_points import reach
from ingest.streams.intake import GrpcIntake, Receipt, Submitted
from runtime.grpc_server import require_of
from runtime.grpc_streams.call import Call
from runtime.metrics import Gauge
from runtime.problems import Invalid, Problem, Unauthenticated, Unavailable
from runtime.tokens import Caller, Role

_STREAMS: Final = Gauge("drover_ingest_grpc_streams", "gRPC streams open.")

PATH: Final = "/drover.api.ingest.v1.TelemetryIngest/Stream"

WINDOW: Final = 64
"""Batches of one stream in flight."""


class BatchOutOfOrderError(Invalid):
    """A batch number that is not one more than the last."""

    code = "batch_out_of_order"


class GrpcSource:
    """The method, to be given to a server at `PATH`."""

    def __init__(self, intake: GrpcIntake, check: Callable[[Caller], None]) -> None:
        """`check` raises a Problem for a caller that is no longer good: streams may last for months."""
        self.intake: Final = intake
        self.check: Final = check
        self._open: Final[set[_Stream]] = set()
        self.is_closing = False
        self._acks = 0

    def open(self, call: Call) -> _Stream:
        """Serves a call. Raises Problems for one that may not send."""
        sender = require_of(call.caller, Role.DEVICE, Role.FORWARDER, Role.ADMIN)
        if not is_tenant(sender.tenant):
            raise Invalid("the call names no tenant", code="tenant_missing")
        if self.is_closing:
            raise _stopping()
        stream = _Stream(self, call)
        self._open.add(stream)
        _STREAMS.set(len(self._open))
        return stream

    def forget(self, stream: _Stream) -> None:
        """It is over."""
        self.intake.forget(stream)
        self._open.discard(stream)
        _STREAMS.set(len(self._open))

    def acknowledged(self) -> None:
        """A receipt was sent."""
        if not self._acks:
            # What is sent in this turn of the loop is written at its end, and that was asked for before this.
            asyncio.get_running_loop().call_soon(self._reach_after_ack)
        self._acks += 1

    def _reach_after_ack(self) -> None:
        acks, self._acks = self._acks, 0
        for _ in range(acks):
            reach("after_ack")

    def close(self) -> None:
        """Reads nothing more; streams end, with UNAVAILABLE, once what was read is settled and acknowledged."""
        self.is_closing = True
        for stream in tuple(self._open):
            stream.stop(_stopping())


class _Stream:
    """One call: a receiver to its server, a sender to the intake."""

    __slots__ = (
        "_acked_through",
        "_call",
        "_ending",
        "_in_flight",
        "_is_clear",
        "_problem",
        "_source",
        "_waits",
        "caller",
    )

    def __init__(self, source: GrpcSource, call: Call) -> None:
        self._source: Final = source
        self._call: Final = call
        self.caller: Final = call.caller
        self._in_flight: Final[deque[Submitted]] = deque()
        """Read and not acknowledged, in order."""
        self._acked_through = 0
        self._is_clear = True
        self._waits = False
        """For room in the intake."""
        self._ending = False
        self._problem: Problem | None = None
        """Why nothing more is read, where the sender is to be told."""

    def received(self, message: bytes) -> bool:
        """A batch; not now, if as many as may be are in flight."""
        if len(self._in_flight) >= WINDOW:
            return False
        if not self._source.intake.admits(self):
            self._waits = True
            return False
        try:
            self._source.check(self.caller)
        except Unauthenticated as problem:
            self.stop(problem)
        else:
            self._in_flight.append(self._source.intake.submit(message, self))
        return True

    def has_room(self) -> None:
        """The intake admits more."""
        self._waits = False
        if not self._ending:
            self._call.resume()

    def ended(self) -> None:
        """There are no more batches."""
        self._ending = True
        self._end_if_settled()

    def stop(self, problem: Problem) -> None:
        """Reads nothing more, and ends the call with `problem` once all that was read is settled."""
        self._ending = True
        self._problem = self._problem or problem
        self._call.pause()
        self._end_if_settled()

    def lost(self) -> None:
        """The caller is gone. What it sent is still settled."""
        self._forget()

    def cleared(self) -> None:
        """Receipts can be sent again."""
        self._is_clear = True
        self.settled()

    def settled(self) -> None:
        """Answers with one receipt for all batches that are settled in order."""
        if not self._is_clear or self._call.is_over or not self._in_flight or self._in_flight[0].settlement is None:
            return
        response, problem = self._respond()
        if response.acked_through > self._acked_through:
            self._acked_through = response.acked_through
            reach("before_ack")
            self._is_clear = self._call.send(response.SerializeToString())
            self._source.acknowledged()
        if problem is not None:
            self._end(problem)
        elif self._ending:
            self._end_if_settled()
        elif not self._waits:
            self._call.resume()

    def _respond(self) -> tuple[StreamResponse, Problem | None]:
        """What is acknowledged, and what ends the stream after it."""
        response = StreamResponse(acked_through=self._acked_through)
        while self._in_flight and (settlement := self._in_flight[0].settlement) is not None:
            self._in_flight.popleft()
            if not isinstance(settlement, Receipt):
                return response, settlement
            wanted = response.acked_through + 1
            if settlement.batch_number != wanted:
                return response, BatchOutOfOrderError(f"batch {settlement.batch_number} came where {wanted} was due")
            response.acked_through = wanted
            response.rejections.extend(settlement.rejections)
        return response, None

    def _end_if_settled(self) -> None:
        if self._ending and not self._in_flight:
            self._end(self._problem)

    def _end(self, problem: Problem | None) -> None:
        self._forget()
        self._call.end(problem)

    def _forget(self) -> None:
        self._ending = True
        self._in_flight.clear()
        self._source.forget(self)


def _stopping() -> Unavailable:
    return Unavailable("ingest is stopping", code="stopping")
