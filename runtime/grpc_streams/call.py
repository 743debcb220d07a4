"""One call: messages in order, held back while they are not wanted, and how it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import grpc

from runtime.grpc_server import PROBLEM_KEY, STATUS_OF
from runtime.grpc_streams.framing import FramingError, MessageBuffer, framed, trailers
from runtime.grpc_streams.http2 import Headers, Http2Connection, Stream
from runtime.problems import Problem
from runtime.tokens import Caller

ANSWER_HEADERS: Final[Headers] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_MUCH: Final = 64 * 1024


def trailers_of(problem: Problem) -> Headers:
    """How a call ends that a Problem ends; grpc_client.problem_of makes it a Problem again."""
    return trailers(STATUS_OF[problem.kind], str(problem), ((PROBLEM_KEY.encode(), problem.code.encode()),))


class Receiver(Protocol):
    """Who serves a call, and is told what comes."""

    def received(self, message: bytes) -> bool:
        """The next message. False puts it back and pauses the call: it is given again after `resume`."""

    def ended(self) -> None:
        """There are no more messages; the answer may go on."""

    def cleared(self) -> None:
        """What `send` said would have to wait is on its way."""

    def lost(self) -> None:
        """The caller is gone, or gave up; nothing can be told it any more."""


class Line(Protocol):
    """The connection that a call came by."""

    http2: Http2Connection
    is_writable: bool

    def flush(self) -> None:
        """What was sent goes out now."""

    def flush_soon(self) -> None:
        """What was sent goes out with whatever else is sent in this turn of the loop."""


class Call:
    """As its receiver sees it. Nothing that it does has an effect once the call is over."""

    __slots__ = (
        "_buffer",
        "_has_ended",
        "_held",
        "_is_answered",
        "_line",
        "_messages",
        "_stream",
        "caller",
        "deadline",
        "is_over",
        "is_paused",
        "on_over",
        "receiver",
    )

    def __init__(self, line: Line, stream: Stream, caller: Caller, on_over: Callable[[Call], None]) -> None:
        self._line: Final = line
        self._stream: Final = stream
        self._buffer: Final = MessageBuffer()
        self._messages: Final[deque[bytes]] = deque()
        """Those that came while paused: no more than a stream's window holds."""
        self._held = 0
        """Bytes of the window that are not given back, because the call is paused."""
        self._has_ended = False
        self._is_answered = False
        self.caller: Final = caller
        self.on_over: Final = on_over
        self.receiver: Receiver | None = None
        self.deadline: asyncio.TimerHandle | None = None
        self.is_paused = False
        self.is_over = False

    def take(self, data: bytes) -> None:
        """A part of the request's body."""
        if self.is_over:
            return
        try:
            messages = self._buffer.put(data)
        except FramingError as error:
            self._fail(error)
            return
        self._messages.extend(messages)
        self._held += len(data)
        self._deliver()

    def take_end(self) -> None:
        """The request's body is complete."""
        self._has_ended = True
        if self._buffer.is_empty:
            self._deliver()
        elif not self.is_over:
            self._fail(FramingError(grpc.StatusCode.INTERNAL, "the request ends within a message"))

    def _deliver(self) -> None:
        receiver = self.receiver
        assert receiver is not None
        while self._messages and not self.is_paused and not self.is_over:
            message = self._messages.popleft()
            if not receiver.received(message):
                self._messages.appendleft(message)
                self.is_paused = True
        if self.is_paused or self.is_over:
            return
        if self._held:
            self._line.http2.credit(self._stream, self._held)
            self._held = 0
        if self._has_ended:
            self._has_ended = False
            receiver.ended()

    def pause(self) -> None:
        """No more messages; beyond a window of bytes flow control holds the sender."""
        self.is_paused = True

    def resume(self) -> None:
        """Messages again, those that came meanwhile at once."""
        if self.is_paused:
            self.is_paused = False
            self._deliver()
            self._line.flush_soon()

    def send(self, message: bytes) -> bool:
        """False when it has to wait: send nothing more before `cleared`."""
        if self.is_over:
            return True
        http2 = self._line.http2
        if not self._is_answered:
            self._is_answered = True
            http2.answer(self._stream, ANSWER_HEADERS)
        is_sent = http2.send(self._stream, framed(message))
        if http2.unwritten < _MUCH:
            self._line.flush_soon()
        else:  # only what is written can be found too much for a client that does not read
            self._line.flush()
        return is_sent and self._line.is_writable

    def end(self, problem: Problem | None = None) -> None:
        """Ends the call; with OK, or with what was wrong."""
        self._end(trailers(grpc.StatusCode.OK) if problem is None else trailers_of(problem))

    def fail(self, status: grpc.StatusCode, message: str) -> None:
        """Ends the call with a status that is not of a Problem."""
        self._end(trailers(status, message))

    def _fail(self, error: FramingError) -> None:
        self.fail(error.status, str(error))
        assert self.receiver is not None
        self.receiver.lost()

    def expire(self) -> None:
        """The caller does not wait any longer."""
        self._fail(FramingError(grpc.StatusCode.DEADLINE_EXCEEDED, "the time that the call had is over"))

    def lose(self) -> None:
        """The stream is gone."""
        if not self.is_over:
            self._set_over()
            assert self.receiver is not None
            self.receiver.lost()

    def clear(self) -> None:
        """Nothing is in the way of more answers."""
        if not self.is_over and self._line.is_writable:
            assert self.receiver is not None
            self.receiver.cleared()

    def _end(self, ends: Headers) -> None:
        if self.is_over:
            return
        self._set_over()
        self._line.http2.end(self._stream, ends if self._is_answered else (*ANSWER_HEADERS, *ends))
        self._line.flush_soon()

    def _set_over(self) -> None:
        self.is_over = True
        self._messages.clear()
        if self.deadline is not None:
            self.deadline.cancel()
        self.on_over(self)
