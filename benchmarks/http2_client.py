"""An HTTP/2 connection that opens gRPC streams and costs little: the load's end, so that the server's can be measured.

It keeps what RFC 9113 asks of a client: both windows, settings, pings, header compression (by the library hpack). What
a server of streams has no reason to send (padding, header blocks in pieces, resets, pushes) ends the benchmark.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from typing import Final

import hpack

_DATA: Final = 0
_HEADERS: Final = 1
_SETTINGS: Final = 4
_PING: Final = 6
_WINDOW_UPDATE: Final = 8
_END_STREAM: Final = 1
_END_HEADERS: Final = 4
_ACK: Final = 1
_MAX_STREAMS: Final = 3
_INITIAL_WINDOW: Final = 4
_DEFAULT_WINDOW: Final = 65_535
_OUR_WINDOW: Final = 2**20
_READ: Final = 2**18


class BrokenError(Exception):
    """The server ended what it should have held, or said what it should not."""


class Stream:
    """One call."""

    __slots__ = ("ended", "index", "number", "received", "window")

    def __init__(self, index: int, number: int, window: int) -> None:
        self.index: Final = index
        self.number: Final = number
        self.window = window
        self.received = 0
        self.ended: dict[str, str] | None = None
        """The trailers."""


class Connection:
    """A connection to 127.0.0.1. `flush` writes, `read` gives the messages that came."""

    def __init__(self, port: int, path: str, token: str) -> None:
        self.socket: Final = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.max_streams = 2**31
        self._streams: Final[dict[int, Stream]] = {}
        self._waiting: Final[deque[tuple[Stream, bytes]]] = deque()
        self._decoder: Final = hpack.Decoder()
        self._encoder: Final = hpack.Encoder()
        self._fields: Final = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", f"127.0.0.1:{port}"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("authorization", f"Bearer {token}"),
        ]
        self._in = b""
        self._out = bytearray(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b"\0\2\0\0\0\0"))
        self._out += _window_update(0, _OUR_WINDOW - _DEFAULT_WINDOW)
        self._window = _DEFAULT_WINDOW
        self._initial_window = _DEFAULT_WINDOW
        self._received = 0

    def open(self, index: int) -> Stream:
        """Begins a call."""
        stream = Stream(index, 2 * len(self._streams) + 1, self._initial_window)
        self._streams[stream.number] = stream
        self._out += _frame(_HEADERS, _END_HEADERS, stream.number, self._encoder.encode(self._fields))
        return stream

    def send(self, stream: Stream, message: bytes) -> None:
        """A message, at once if the windows let it, and as a frame of its own."""
        self._waiting.append((stream, b"\0" + len(message).to_bytes(4, "big") + message))
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            stream, data = self._waiting[0]
            if len(data) > stream.window or len(data) > self._window:
                return
            self._waiting.popleft()
            stream.window -= len(data)
            self._window -= len(data)
            self._out += _frame(_DATA, 0, stream.number, data)

    def end(self, stream: Stream) -> None:
        """No more messages."""
        self._out += _frame(_DATA, _END_STREAM, stream.number)

    def flush(self) -> None:
        """Writes what the socket takes."""
        if self._out:
            try:
                del self._out[: self.socket.send(self._out)]
            except BlockingIOError:
                return

    def read(self) -> list[tuple[Stream, bytes]]:
        """What has come. Raises BrokenError."""
        data = self.socket.recv(_READ)
        if not data:
            raise BrokenError("the server hung up")
        data = self._in + data if self._in else data
        messages: list[tuple[Stream, bytes]] = []
        at = 0
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            number = int.from_bytes(data[at + 5 : at + 9], "big")
            self._take(data[at + 3], data[at + 4], number, data[at + 9 : end], messages)
            at = end
        self._in = data[at:]
        self.flush()
        return messages

    def _take(self, kind: int, flags: int, number: int, payload: bytes, messages: list[tuple[Stream, bytes]]) -> None:
        if kind == _DATA and flags == 0:
            stream = self._streams[number]
            messages += [(stream, message) for message in _messages(payload)]
            self._credit(stream, len(payload))
        elif kind == _HEADERS and flags & ~_END_STREAM == _END_HEADERS:
            fields = dict(self._decoder.decode(payload))
            if flags & _END_STREAM:
                self._streams[number].ended = {str(name): str(value) for name, value in fields.items()}
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._take_settings(payload)
        elif kind == _PING:
            if not flags & _ACK:
                self._out += _frame(_PING, _ACK, 0, payload)
        elif kind == _WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if number:
                self._streams[number].window += more
            else:
                self._window += more
            self._send_waiting()
        else:
            raise BrokenError(f"a frame of kind {kind} with the flags {flags} on stream {number}: {payload!r}")

    def _credit(self, stream: Stream, size: int) -> None:
        stream.received += size
        self._received += size
        if stream.received * 2 > _DEFAULT_WINDOW:
            self._out += _window_update(stream.number, stream.received)
            stream.received = 0
        if self._received * 2 > _OUR_WINDOW:
            self._out += _window_update(0, self._received)
            self._received = 0

    def _take_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            name, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
            if name == _MAX_STREAMS:
                self.max_streams = value
            elif name == _INITIAL_WINDOW:
                for stream in self._streams.values():
                    stream.window += value - self._initial_window
                self._initial_window = value
        self._out += _frame(_SETTINGS, _ACK, 0)
        self._send_waiting()


def _messages(payload: bytes) -> Sequence[bytes]:
    """Those of one frame: a receipt is never cut here, since it is shorter than any window."""
    found: list[bytes] = []
    at = 0
    while at < len(payload):
        end = at + 5 + int.from_bytes(payload[at + 1 : at + 5], "big")
        if payload[at] or end > len(payload):
            raise BrokenError("a message that is compressed, or in pieces")
        found.append(payload[at + 5 : end])
        at = end
    return found


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (len(payload) << 48 | kind << 40 | flags << 32 | stream).to_bytes(9, "big") + payload


def _window_update(stream: int, more: int) -> bytes:
    return _frame(_WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))
