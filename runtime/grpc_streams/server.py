"""The server: sockets, TLS, who calls, which method, and an end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, cast

import grpc

from runtime.grpc_server import Doorkeeper
from runtime.grpc_streams.call import ANSWER_HEADERS, Call, Receiver, trailers_of
from runtime.grpc_streams.framing import FramingError, timeout_s, trailers
from runtime.grpc_streams.http2 import Ended, Event, Headers, Http2Connection, Opened, Received, Reset, Sent, Stream
from runtime.grpc_streams.unary import Handlers, UnaryCall
from runtime.metrics import Gauge
from runtime.problems import FatalError, Problem

Method = Callable[[Call], Receiver]
"""Begins to serve a call. Raises a Problem to refuse it."""

_CONNECTIONS: Final = Gauge("drover_grpc_connections", "Connections open to the server of gRPC streams.")

_GREETING_S: Final = 20.0
_FAREWELL_S: Final = 1.0
# grpcio's own client, told so while it is writing the first message, says INTERNAL instead of what it was told (one in
# ten, if refused at once). Besides, whoever tries tokens waits.
_REFUSAL_S: Final = 0.02
_BACKLOG: Final = 4096
# A device that has vanished is noticed after three minutes, whatever its stream has to say.
_TCP_OPTIONS: Final = (
    ("TCP_KEEPIDLE", 120),
    ("TCP_KEEPINTVL", 20),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 60_000),
    ("TCP_NODELAY", 1),
)


class GrpcStreamServer:
    """A server on `address` (host:port), as an async context.

    `methods` serve streams, by path; `services` add their handlers of single requests. With `tls`, HTTP/2 has to be
    agreed on by ALPN. Raises FatalError when the address is taken. `port` is the port bound, for an address that ended
    in :0. Leaving the context lets calls end for `grace_s` seconds, and cuts them off then.
    """

    def __init__(
        self,
        address: str,
        doorkeeper: Doorkeeper,
        methods: Mapping[str, Method],
        services: Iterable[Callable[[grpc.aio.Server], None]] = (),
        *,
        tls: ssl.SSLContext | None = None,
        grace_s: float = 5.0,
    ) -> None:
        self._address: Final = address
        self._doorkeeper: Final = doorkeeper
        self._tls: Final = tls
        self._grace_s: Final = grace_s
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        handlers = Handlers()
        for add in services:
            add(cast("grpc.aio.Server", handlers))
        self._methods: Final[dict[bytes, Method]] = {path.encode(): method for path, method in methods.items()}
        for path, handler in handlers.by_path.items():
            self._methods[path.encode()] = self._unary(handler)
        self._lines: Final[set[_Line]] = set()
        self._unflushed: Final[set[_Line]] = set()
        self._calls: Final[set[Call]] = set()
        self._changed: Final = asyncio.Event()
        self.port = 0

    def _unary(self, handler: grpc.RpcMethodHandler[Any, Any]) -> Method:
        return lambda call: UnaryCall(call, handler, self._tasks)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        listening = _listening(self._address)
        self._listener = await self._loop.create_server(
            lambda: _Line(self), sock=listening, ssl=self._tls, backlog=_BACKLOG
        )
        self.port = listening.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for line in tuple(self._lines):
            line.go_away()
        await self._until(lambda: not self._calls, self._grace_s)
        for line in tuple(self._lines):
            line.close()
        await self._until(lambda: not self._lines, _FAREWELL_S)
        for line in tuple(self._lines):
            line.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _until(self, is_so: Callable[[], bool], at_most_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while not is_so():
                    self._changed.clear()
                    await self._changed.wait()

    def enter(self, line: _Line) -> None:
        """A connection."""
        self._lines.add(line)
        _CONNECTIONS.set(len(self._lines))

    def leave(self, line: _Line) -> None:
        """It is lost."""
        self._lines.discard(line)
        self._unflushed.discard(line)
        _CONNECTIONS.set(len(self._lines))
        self._changed.set()

    def flush_soon(self, line: _Line) -> None:
        """One write a connection for all that is sent in a turn of the loop."""
        if not self._unflushed:
            self._loop.call_soon(self._flush)
        self._unflushed.add(line)

    def _flush(self) -> None:
        unflushed = tuple(self._unflushed)
        self._unflushed.clear()
        for line in unflushed:
            line.flush()

    def open(self, line: _Line, stream: Stream, headers: Headers) -> None:
        """A request begins."""
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        media = fields.get("content-type", "").partition(";")[0]
        if fields.get(":method") != "POST":
            line.http2.end(stream, ((b":status", b"405"),))
        elif media != "application/grpc" and not media.startswith("application/grpc+"):
            line.http2.end(stream, ((b":status", b"415"),))
        else:
            refusal = self._serve(line, stream, fields)
            if refusal is not None:
                self._loop.call_later(_REFUSAL_S, line.refuse, stream, refusal)

    def _serve(self, line: _Line, stream: Stream, fields: Mapping[str, str]) -> Headers | None:
        method = self._methods.get(fields[":path"].encode("latin-1"))
        if method is None:
            return trailers(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")
        if fields.get("grpc-encoding", "identity") != "identity":
            accepted = ((b"grpc-accept-encoding", b"identity"),)
            return trailers(grpc.StatusCode.UNIMPLEMENTED, "messages may not be compressed", accepted)
        within_s = None
        if "grpc-timeout" in fields:
            try:
                within_s = timeout_s(fields["grpc-timeout"].encode("latin-1"))
            except FramingError as error:
                return trailers(error.status, str(error))
        try:
            caller = self._doorkeeper.admit(fields, line.common_names)
            call = Call(line, stream, caller, self._over)
            call.receiver = method(call)
        except Problem as problem:
            return trailers_of(problem)
        self._calls.add(call)
        stream.user = call
        if within_s is not None:
            call.deadline = self._loop.call_later(within_s, call.expire)
        return None

    def _over(self, call: Call) -> None:
        self._calls.discard(call)
        if not self._calls:
            self._changed.set()


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: GrpcStreamServer) -> None:
        self._server: Final = server
        self._loop: Final = asyncio.get_running_loop()
        self.http2 = Http2Connection()
        self.is_writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio, with TLS after the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.enter(self)
        self._greeting = self._loop.call_later(_GREETING_S, self._await_no_longer)
        secure: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secure is not None and secure.selected_alpn_protocol() != "h2":
            self._transport.close()
            return
        connected: socket.socket = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _TCP_OPTIONS:
            if hasattr(socket, name):  # not on every system
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self.flush()

    def _await_no_longer(self) -> None:
        if not self.http2.has_greeted:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        for event in self.http2.receive(data, self._loop.time()):
            self._tell(event)
        self.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """Called by asyncio."""
        self._greeting.cancel()
        for event in self.http2.lose():
            self._tell(event)
        self._server.leave(self)

    def _tell(self, event: Event) -> None:
        call: Call | None = event.stream.user
        if isinstance(event, Opened):
            self._server.open(self, event.stream, event.headers)
        elif call is None:  # refused
            pass
        elif isinstance(event, Received):
            call.take(event.data)
        elif isinstance(event, Ended):
            call.take_end()
        elif isinstance(event, Reset):
            call.lose()
        elif isinstance(event, Sent):
            call.clear()

    def pause_writing(self) -> None:
        """Called by asyncio: the peer does not read. What it sends would only make more that it does not read."""
        self.is_writable = False
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self.is_writable = True
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        for stream in self.http2.streams:
            call: Call | None = stream.user
            if call is not None:
                call.clear()
        self.flush_soon()

    def flush_soon(self) -> None:
        """See `Line`."""
        self._server.flush_soon(self)

    def flush(self) -> None:
        """Writes what there is."""
        out = self.http2.output()
        if self._transport.is_closing():
            return
        if out:
            self._transport.write(out)
        if self.http2.is_closed or (self.http2.is_leaving and not self.http2.streams):
            self._transport.close()

    def refuse(self, stream: Stream, refusal: Headers) -> None:
        """Ends a call that nobody serves."""
        self.http2.end(stream, (*ANSWER_HEADERS, *refusal))
        self.flush()

    def common_names(self) -> Sequence[str]:
        """Of the certificate that the peer showed, and that was found good."""
        shown: Mapping[str, Any] = self._transport.get_extra_info("peercert") or {}
        return [value for names in shown.get("subject", ()) for name, value in names if name == "commonName"]

    def go_away(self) -> None:
        """Asks the peer to open no more streams."""
        self.http2.go_away()
        self.flush()

    def close(self) -> None:
        """Ends the connection, after what is written."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Ends it at once."""
        self._transport.abort()


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_v6 = ":" in host
    refused = f"cannot listen on {address}: the port is taken or the address is not ours"
    if not port.isdecimal() or int(port) >= 2**16:  # create_server would leave its socket open
        raise FatalError(refused)
    try:
        return socket.create_server(
            (host, int(port)),
            family=socket.AF_INET6 if is_v6 else socket.AF_INET,
            backlog=_BACKLOG,
            dualstack_ipv6=is_v6 and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise FatalError(refused) from error
