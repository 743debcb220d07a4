"""A client that streams batches over gRPC, keeps them until their receipt, and sends them again after a break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import grpc

from drover.api.ingest.v1 import ingest_service_pb2 as pb
from runtime.grpc_client import metadata
from tests.chaos.readings import Message
from tests.chaos.schedule import LOAD_S

_PAUSE_S: Final = 0.05
_WINDOW: Final = 64


class GrpcSender:
    """Streams `messages`, spread over the time of the load; `run` ends when all are acknowledged, or at `give_up`.

    A thread's work and not a task's: when a server ends a stream under a write, the client of grpc.aio drops the status
    and the receipts that have come.
    """

    def __init__(self, port: int, token: Callable[[], str], messages: Sequence[Message]) -> None:
        self._port: Final = port
        self._token: Final = token
        self.messages: Final = messages
        self.acknowledged = 0
        """So many of the first messages."""
        self.refused: list[str] = []
        self._given_up: Final = threading.Event()

    def give_up(self) -> None:
        """Lets `run` end."""
        self._given_up.set()

    def run(self) -> None:
        """Streams as often as it takes."""
        started_s = time.monotonic()
        while self.acknowledged < len(self.messages) and not self._given_up.is_set():
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.keepalive_time_ms", 10_000)]
            with grpc.insecure_channel(f"127.0.0.1:{self._port}", options=options) as channel:
                self._stream(channel, started_s)
            time.sleep(_PAUSE_S)

    def _stream(self, channel: grpc.Channel, started_s: float) -> None:
        first = self.acknowledged
        is_over = threading.Event()

        def requests() -> Iterator[pb.StreamRequest]:
            for number in range(first, len(self.messages)):
                due_s = started_s + LOAD_S * number / len(self.messages)
                while (wait_s := due_s - time.monotonic()) > 0 or number - self.acknowledged >= _WINDOW:
                    if is_over.wait(max(wait_s, 0.005)):
                        return
                message = self.messages[number]
                device = pb.DeviceReadings(device_id=message.device_id, readings=message.encode())
                yield pb.StreamRequest(batch_number=number - first + 1, devices=[device])

        call = channel.stream_stream(
            "/drover.api.ingest.v1.TelemetryIngest/Stream",
            request_serializer=pb.StreamRequest.SerializeToString,
            response_deserializer=pb.StreamResponse.FromString,
        )(requests(), metadata=metadata(self._token()), timeout=60.0)
        watching = threading.Thread(target=lambda: self._cancel_when_given_up(call, is_over))
        watching.start()
        try:
            for answer in call:
                self.refused += [rejection.reason for rejection in answer.rejections]
                self.acknowledged = first + answer.acked_through
        except grpc.RpcError as error:
            if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                self.refused.append(str(error.details()))
        finally:
            is_over.set()
            watching.join()

    def _cancel_when_given_up(self, call: grpc.Call, is_over: threading.Event) -> None:
        while not is_over.wait(0.1):
            if self._given_up.is_set():
                call.cancel()
                return
