"""Handlers of single requests, as generated code adds them to a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import structlog
from google.protobuf.message import DecodeError

from runtime.grpc_server import acting_as
from runtime.grpc_streams.call import Call
from runtime.problems import Invalid, Problem

log = structlog.get_logger()


class Handlers:
    """Stands where generated code expects a server, and keeps what it is given, by path.

    Only handlers of one request and one answer; they get no context, and those of this project use none.
    """

    def __init__(self) -> None:
        self.by_path: Final[dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Generated code gives the same handlers twice; this way they have no names."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """The handlers of a service. Raises TypeError for one that streams."""
        for name, handler in handlers.items():
            if handler.unary_unary is None:
                raise TypeError(f"{service}.{name} streams: it must be given as a method of its own")
            self.by_path[f"/{service}/{name}"] = handler


class UnaryCall:
    """A receiver that takes one message and answers with one."""

    def __init__(self, call: Call, handler: grpc.RpcMethodHandler[Any, Any], tasks: set[asyncio.Task[None]]) -> None:
        self._call: Final = call
        self._handler: Final = handler
        self._tasks: Final = tasks
        self._request: bytes | None = None
        self._task: asyncio.Task[None] | None = None

    def received(self, message: bytes) -> bool:
        """The request."""
        if self._request is None:
            self._request = message
        else:
            self._call.fail(grpc.StatusCode.INTERNAL, "more than one request")
        return True

    def ended(self) -> None:
        """Now it is known that there is one."""
        if self._request is None:
            self._call.fail(grpc.StatusCode.INTERNAL, "no request")
            return
        self._task = asyncio.get_running_loop().create_task(
            self._answer(self._request), context=acting_as(self._call.caller)
        )
        self._tasks.add(self._task)
        self._task.add_done_callback(self._done)

    def cleared(self) -> None:
        """Nothing waits for it: there is one answer."""

    def lost(self) -> None:
        """Nobody waits for the answer."""
        if self._task is not None:
            self._task.cancel()

    async def _answer(self, data: bytes) -> None:
        deserialize: Callable[[bytes], Any] = self._handler.request_deserializer or bytes
        serialize: Callable[[Any], bytes] = self._handler.response_serializer or bytes
        behaviour: Any = self._handler.unary_unary
        try:
            try:
                request = deserialize(data)
            except DecodeError as error:
                raise Invalid("the bytes are not a request of this method", code="malformed_request") from error
            answering: Awaitable[Any] = behaviour(request, None)
            answer = await answering
        except Problem as problem:
            self._call.end(problem)
            return
        self._call.send(serialize(answer))
        self._call.end()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("a handler failed", exc_info=error)
            self._call.fail(grpc.StatusCode.UNKNOWN, "the handler failed")
