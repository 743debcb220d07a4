"""The server's end of one HTTP/2 connection, without I/O: bytes in, events out.

The library h2 keeps the protocol: preface, settings, header blocks, the states of streams, pings, what is an error and
of which kind. Two frames do not pass through it where they belong to an open stream: DATA, and the WINDOW_UPDATE of its
answers. They are nearly all there is when ten thousand devices send a batch a second; a batch and its receipt take 3 us
here, and 13 in h2. So the windows of both directions are kept here, and h2 never sees them used. docs/adr/0010.

A peer that sends what costs much and brings nothing (resets, pings, settings, empty DATA) is sent away after
`_BURST` of them, and past `_REFILL_PER_S` in the long run; header blocks are bounded by h2 (64 frames, 64 KiB decoded).

RFC 9113; the numbers of sections are its.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event as LibraryEvent
from h2.events import RemoteSettingsChanged, RequestReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

Headers = Sequence[tuple[bytes, bytes]]

MAX_STREAMS: Final = 1_000
"""Open at once on one connection; a gRPC client waits with what is more, or takes another connection."""
STREAM_WINDOW: Final = 256 * 1024
CONNECTION_WINDOW: Final = 1024 * 1024
"""Bytes that may be on their way, or taken in and not yet credited."""

_PREFACE: Final = 24
_HEADER: Final = 9
_MAX_FRAME: Final = 16_384
_DEFAULT_WINDOW: Final = 65_535
_MOST: Final = 2**31 - 1
_BURST: Final = 2_000
_REFILL_PER_S: Final = 100.0

_DATA: Final = 0
_HEADERS: Final = 1
_PUSH_PROMISE: Final = 5
_GOAWAY: Final = 7
_WINDOW_UPDATE: Final = 8
_CONTINUATION: Final = 9
_OPENS_OR_CONTINUES: Final = frozenset({_HEADERS, _PUSH_PROMISE, _CONTINUATION})
_END_STREAM: Final = 1
_END_HEADERS: Final = 4
_PADDED: Final = 8


class Stream:
    """A request and its answer."""

    __slots__ = (
        "has_ended",
        "has_length",
        "number",
        "owed",
        "receive_window",
        "send_window",
        "trailers",
        "uncredited",
        "unsent",
        "user",
    )

    def __init__(self, number: int, send_window: int, *, has_length: bool, user: Any = None) -> None:
        self.number: Final = number
        self.send_window = send_window
        self.receive_window = STREAM_WINDOW
        self.uncredited = 0
        """Bytes received that are not credited."""
        self.owed = 0
        """Bytes credited of which the peer has not been told."""
        self.unsent = b""
        self.trailers: Headers | None = None
        self.has_ended = False
        """The peer sends no more."""
        self.has_length = has_length
        self.user = user
        """Whatever belongs to the stream."""


class Opened(NamedTuple):
    """A request begins."""

    stream: Stream
    headers: Headers


class Received(NamedTuple):
    """A part of its body. To be credited once there is room for more."""

    stream: Stream
    data: bytes


class Ended(NamedTuple):
    """The body is complete."""

    stream: Stream


class Reset(NamedTuple):
    """The stream is gone, and nothing more can be sent on it."""

    stream: Stream


class Sent(NamedTuple):
    """What had to wait for a window is on its way."""

    stream: Stream


Event = Opened | Received | Ended | Reset | Sent


class _Away(Exception):
    """The connection ends, with this code."""

    def __init__(self, code: ErrorCodes) -> None:
        super().__init__(code.name)
        self.code = code


class Http2Connection:
    """One connection. After `receive`, and after anything that sends, `output` is to be written.

    When `is_closed`, what `output` then gives is the last of it.
    """

    def __init__(self) -> None:
        self._library: Final = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._library.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_FRAME_SIZE: _MAX_FRAME,
                SettingCodes.MAX_HEADER_LIST_SIZE: 65_536,
            },
        )
        self._library.initiate_connection()
        self.unwritten = 0
        """Bytes of answers in what `output` will give."""
        self._out: Final[list[bytes]] = [self._library.data_to_send()]
        self._out.append(_window_update(0, CONNECTION_WINDOW - _DEFAULT_WINDOW))
        self._partial = b""
        self._preface_left = _PREFACE
        self._is_in_headers = False
        self._streams: Final[dict[int, Stream]] = {}
        self._blocked: Final[dict[int, Stream]] = {}
        """Those with something unsent."""
        self._receive_window = CONNECTION_WINDOW
        self._owed = 0
        self._send_window = _DEFAULT_WINDOW
        self._initial_send_window = _DEFAULT_WINDOW
        self._max_frame = _MAX_FRAME
        self._patience = float(_BURST)
        self._heard_s: float | None = None
        self.is_closed = False
        self.is_leaving = False
        """The peer opens no more streams."""

    @property
    def streams(self) -> Sequence[Stream]:
        """Those that are open, in either direction."""
        return tuple(self._streams.values())

    @property
    def has_streams(self) -> bool:
        """Whether any is open."""
        return bool(self._streams)

    @property
    def has_greeted(self) -> bool:
        """The peer has shown that it speaks HTTP/2."""
        return self._preface_left == 0

    def receive(self, data: bytes, now_s: float) -> list[Event]:
        """What the bytes mean. Never raises, whatever they are; `now_s` is of a monotonic clock."""
        events: list[Event] = []
        if self.is_closed:
            return events
        if self._heard_s is not None:
            self._patience = min(float(_BURST), self._patience + _REFILL_PER_S * (now_s - self._heard_s))
        self._heard_s = now_s
        try:
            self._receive(self._partial + data if self._partial else data, events)
        except ProtocolError:
            self._take_output()  # h2 has said GOAWAY
            self._close(events)
        except _Away as away:
            self._out.append(_go_away(away.code))
            self._close(events)
        return events

    def _receive(self, data: bytes, events: list[Event]) -> None:
        at = 0
        if self._preface_left:
            at = min(self._preface_left, len(data))
            self._preface_left -= at
            self._hand_over(data[:at], events)
        streams = self._streams
        size = len(data)
        while size - at >= _HEADER:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > _MAX_FRAME:  # h2 would wait for the whole of it
                raise _Away(ErrorCodes.FRAME_SIZE_ERROR)
            end = at + _HEADER + length
            if end > size:
                break
            kind = data[at + 3]
            if kind == _DATA and not self._is_in_headers:
                stream = streams.get(int.from_bytes(data[at + 5 : at + 9], "big") & _MOST)
                if stream is not None and self._receive_data(stream, data[at + 4], data[at + _HEADER : end], events):
                    at = end
                    continue
            self._receive_other(kind, data[at:end], events)
            at = end
        self._partial = data[at:]

    def _receive_data(self, stream: Stream, flags: int, data: bytes, events: list[Event]) -> bool:
        """False when the frame is malformed: h2 has the right words for it."""
        length = len(data)
        if flags & _PADDED:
            if not data or data[0] >= length:
                return False
            data = data[1 : length - data[0]]
        self._receive_window -= length
        if self._receive_window < 0:
            raise _Away(ErrorCodes.FLOW_CONTROL_ERROR)
        stream.receive_window -= length
        stream.uncredited += length
        if stream.has_ended or stream.receive_window < 0:
            code = ErrorCodes.STREAM_CLOSED if stream.has_ended else ErrorCodes.FLOW_CONTROL_ERROR
            self.reset(stream, code)
            events.append(Reset(stream))
            return True
        if length > len(data):
            self.credit(stream, length - len(data))
        if data:
            events.append(Received(stream, data))
        elif not flags & _END_STREAM:
            self._lose_patience()
        if flags & _END_STREAM:
            stream.has_ended = True
            if not stream.has_length:  # h2 would compare it with what it saw, which is nothing
                self._hand_over(_frame(_DATA, _END_STREAM, stream.number), events)
            events.append(Ended(stream))
        return True

    def _receive_other(self, kind: int, frame: bytes, events: list[Event]) -> None:
        number = int.from_bytes(frame[5:9], "big") & _MOST
        if not self._is_in_headers:
            if kind == _WINDOW_UPDATE and self._receive_window_update(number, frame, events):
                return
            if kind == _GOAWAY and number == 0 and len(frame) >= _HEADER + 8:
                # h2 would send nothing more, and answers are still due.
                self.is_leaving = True
                self._lose_patience()
                return
        if kind not in _OPENS_OR_CONTINUES:
            self._lose_patience()
        else:
            self._is_in_headers = not frame[4] & _END_HEADERS
        self._hand_over(frame, events)

    def _receive_window_update(self, number: int, frame: bytes, events: list[Event]) -> bool:
        stream = self._streams.get(number)
        more = int.from_bytes(frame[_HEADER:], "big") & _MOST
        if len(frame) != _HEADER + 4 or more == 0 or (number and stream is None):
            return False
        if stream is None:
            self._send_window += more
            if self._send_window > _MOST:
                raise _Away(ErrorCodes.FLOW_CONTROL_ERROR)
            for blocked in tuple(self._blocked.values()):
                self._push(blocked, events)
        else:
            stream.send_window += more
            if stream.send_window > _MOST:
                self.reset(stream, ErrorCodes.FLOW_CONTROL_ERROR)
                events.append(Reset(stream))
            elif stream.unsent:
                self._push(stream, events)
        return True

    def _lose_patience(self) -> None:
        self._patience -= 1
        if self._patience < 0:
            raise _Away(ErrorCodes.ENHANCE_YOUR_CALM)

    def _hand_over(self, data: bytes, events: list[Event]) -> None:
        found: list[LibraryEvent] = self._library.receive_data(data)
        self._take_output()
        for event in found:
            if isinstance(event, RequestReceived):
                headers: Any = event.headers
                has_length = any(name == b"content-length" for name, _ in headers)
                opened = Stream(event.stream_id, self._initial_send_window, has_length=has_length)
                self._streams[opened.number] = opened
                events.append(Opened(opened, headers))
            elif isinstance(event, RemoteSettingsChanged):
                self._change_settings(event, events)
            elif isinstance(event, (StreamEnded, StreamReset, TrailersReceived)):
                self._end_or_lose(event, events)

    def _end_or_lose(self, event: StreamEnded | StreamReset | TrailersReceived, events: list[Event]) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        if isinstance(event, StreamReset):
            self._forget(stream)
            events.append(Reset(stream))
        elif isinstance(event, StreamEnded) and not stream.has_ended:  # with its headers, or with trailers
            stream.has_ended = True
            events.append(Ended(stream))

    def _change_settings(self, event: RemoteSettingsChanged, events: list[Event]) -> None:
        changed = event.changed_settings
        if SettingCodes.MAX_FRAME_SIZE in changed:
            self._max_frame = changed[SettingCodes.MAX_FRAME_SIZE].new_value
        if SettingCodes.INITIAL_WINDOW_SIZE in changed:
            more = changed[SettingCodes.INITIAL_WINDOW_SIZE].new_value - self._initial_send_window
            self._initial_send_window += more
            for stream in self.streams:  # 6.9.2
                stream.send_window += more
                if stream.send_window > _MOST:
                    raise _Away(ErrorCodes.FLOW_CONTROL_ERROR)
                if stream.unsent:
                    self._push(stream, events)

    def credit(self, stream: Stream, size: int) -> None:
        """There is room for `size` more bytes of what was received."""
        if stream.number not in self._streams:
            return
        stream.uncredited -= size
        self._credit_connection(size)
        stream.owed += size
        if stream.owed * 2 >= STREAM_WINDOW and not stream.has_ended:
            self._out.append(_window_update(stream.number, stream.owed))
            stream.receive_window += stream.owed
            stream.owed = 0

    def _credit_connection(self, size: int) -> None:
        self._owed += size
        if not self.is_closed and self._owed * 2 >= CONNECTION_WINDOW:
            self._out.append(_window_update(0, self._owed))
            self._receive_window += self._owed
            self._owed = 0

    def answer(self, stream: Stream, headers: Headers) -> None:
        """The headers of a stream's answer. As with all that sends: nothing happens when the stream is gone."""
        if stream.number in self._streams:
            self._library.send_headers(stream.number, headers)
            self._take_output()

    def send(self, stream: Stream, data: bytes) -> bool:
        """A part of the answer's body. False when a part of it has to wait for a window: `Sent` will tell."""
        if stream.number not in self._streams:
            return True
        stream.unsent += data
        self._push(stream, None)
        return not stream.unsent

    def _push(self, stream: Stream, events: list[Event] | None) -> None:
        unsent = stream.unsent
        at = 0
        while at < len(unsent):
            size = min(len(unsent) - at, stream.send_window, self._send_window, self._max_frame)
            if size <= 0:
                break
            self._out.append(_frame(_DATA, 0, stream.number, unsent[at : at + size]))
            stream.send_window -= size
            self._send_window -= size
            self.unwritten += size
            at += size
        stream.unsent = unsent[at:]
        if stream.unsent:
            self._blocked[stream.number] = stream
            return
        self._blocked.pop(stream.number, None)
        if stream.trailers is not None:
            self._finish(stream, stream.trailers)
        if events is not None:
            events.append(Sent(stream))

    def end(self, stream: Stream, trailers: Headers) -> None:
        """Ends the answer, after what is unsent; without `answer` before, the trailers are all of it."""
        if stream.unsent:
            stream.trailers = trailers
        elif stream.number in self._streams:
            self._finish(stream, trailers)

    def _finish(self, stream: Stream, trailers: Headers) -> None:
        self._library.send_headers(stream.number, trailers, end_stream=True)
        if not stream.has_ended or stream.has_length:  # 8.1: the rest of the request is not wanted
            self._library.reset_stream(stream.number, ErrorCodes.NO_ERROR)
        self._take_output()
        self._forget(stream)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """Ends the stream at once; no event tells of it."""
        if stream.number not in self._streams:
            return
        self._library.reset_stream(stream.number, code)
        self._take_output()
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)
        self._blocked.pop(stream.number, None)
        self._credit_connection(stream.uncredited)
        stream.uncredited = 0
        stream.unsent = b""

    def go_away(self) -> None:
        """Tells the peer to open no more streams here; those that it opens meanwhile still come (6.8)."""
        self._out.append(_go_away(ErrorCodes.NO_ERROR))

    def ping(self) -> None:
        """Asks the peer for a sign of life; its answer tells nothing but that it lives."""
        if not self.is_closed:
            self._library.ping(bytes(8))
            self._take_output()

    def lose(self) -> list[Event]:
        """The connection is lost: what becomes of its streams."""
        events: list[Event] = []
        self._close(events)
        return events

    def _close(self, events: list[Event]) -> None:
        self.is_closed = True
        self._partial = b""
        for stream in self.streams:
            self._forget(stream)
            events.append(Reset(stream))

    def _take_output(self) -> None:
        said = self._library.data_to_send()
        if said:
            self._out.append(said)

    def output(self) -> bytes:
        """What is to be written."""
        out = b"".join(self._out)
        self._out.clear()
        self.unwritten = 0
        return out


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (len(payload) << 48 | kind << 40 | flags << 32 | stream).to_bytes(_HEADER, "big") + payload


def _window_update(stream: int, more: int) -> bytes:
    return _frame(_WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def _go_away(code: ErrorCodes) -> bytes:
    return _frame(_GOAWAY, 0, 0, _MOST.to_bytes(4, "big") + code.to_bytes(4, "big"))
