"""One connection of the server: its bytes to HTTP/2, its streams to calls, and the patience with it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

from runtime.grpc_streams.call import ANSWER_HEADERS, Call
from runtime.grpc_streams.http2 import Ended, Event, Headers, Http2Connection, Opened, Received, Reset, Sent, Stream
from runtime.grpc_streams.liveness import Limits, Liveness, Verdict
from runtime.metrics import Counter

_ENDED: Final = Counter("drover_grpc_connections_ended", "Connections that the server ended, by why.", ["why"])
_PINGS: Final = Counter("drover_grpc_pings", "Pings to peers that had been silent.")

GREETING_S: Final = 20.0
FAREWELL_S: Final = 1.0
# A device that has vanished is noticed after three minutes, whatever its stream has to say.
_TCP_OPTIONS: Final = (
    ("TCP_KEEPIDLE", 120),
    ("TCP_KEEPINTVL", 20),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 60_000),
    ("TCP_NODELAY", 1),
)


class Server(Protocol):
    """Whose connection it is."""

    @property
    def limits(self) -> Limits:
        """What it puts up with."""

    def enter(self, peer: Peer) -> bool:
        """A connection. False when there is no room for it at all: it is cut off."""

    def leave(self, peer: Peer) -> None:
        """It is lost."""

    def open(self, peer: Peer, stream: Stream, headers: Headers) -> None:
        """A request begins."""

    def flush_soon(self, peer: Peer) -> None:
        """There is something to write at the end of this turn of the loop."""


class Peer(asyncio.Protocol):
    """One connection; the `Line` of its calls."""

    def __init__(self, server: Server) -> None:
        self._server: Final = server
        self._loop: Final = asyncio.get_running_loop()
        self.http2 = Http2Connection()
        self.is_writable = True
        self.is_too_many = False
        self._is_retiring = False
        self._liveness: Final = Liveness(server.limits, self._loop.time())
        self._greeting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio, with TLS after the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.enter(self):
            self._abort("too_many")
            return
        self._greeting = self._loop.call_later(GREETING_S, self._await_no_longer)
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
            self._abort("no_greeting")
        elif self.is_too_many and not self.http2.has_streams:
            self._retire("too_many")

    def _abort(self, why: str) -> None:
        _ENDED.labels(why).inc()
        self._transport.abort()

    def _retire(self, why: str) -> None:
        """Asks the peer to open no more streams, and ends the connection once there are none."""
        if self._is_retiring:
            return
        self._is_retiring = True
        _ENDED.labels(why).inc()
        self.go_away()
        self._loop.call_later(FAREWELL_S, self._leave)  # a call may be on its way to us

    def _leave(self) -> None:
        self.http2.is_leaving = True
        self.flush()

    def look(self, now_s: float) -> None:
        """Ends the connection if nobody uses it or nobody is there."""
        if not self.http2.has_greeted or not self.is_writable:
            return  # there are other patiences for those
        match self._liveness.judge(now_s, has_calls=self.http2.has_streams):
            case Verdict.PING:
                _PINGS.inc()
                self.http2.ping()
                self.flush()
            case Verdict.IDLE:
                self._retire("idle")
            case Verdict.DEAD:
                self._abort("unanswered")
            case Verdict.KEEP:
                pass

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        now_s = self._loop.time()
        events = self.http2.receive(data, now_s)
        self._liveness.hear(now_s, is_use=bool(events))
        for event in events:
            self._tell(event)
        self.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """Called by asyncio."""
        if self._greeting is not None:
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
        if self.is_too_many:
            self._retire("too_many")
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
