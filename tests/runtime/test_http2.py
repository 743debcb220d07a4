"""The server's end of an HTTP/2 connection against a client that obeys, one that does not, and bytes at random."""

from __future__ import annotations

import itertools
from typing import Any, Final

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from h2.errors import ErrorCodes
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.grpc_streams.http2 import (
    CONNECTION_WINDOW,
    MAX_STREAMS,
    STREAM_WINDOW,
    Ended,
    Event,
    Http2Connection,
    Opened,
    Received,
    Reset,
    Sent,
    Stream,
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST: Final = [(":method", "POST"), (":scheme", "http"), (":authority", "here"), (":path", "/a/b")]
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:end]))
        data = data[end:]
    return found


class Pair:
    """A server's end, and h2 as the client. The clock stands, unless a test moves it."""

    def __init__(self) -> None:
        self.server = Http2Connection()
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.client.initiate_connection()
        self.now_s = 0.0
        self.told: list[Event] = []
        self.heard: list[Any] = []
        self.exchange()

    def give(self, data: bytes) -> list[Event]:
        events = self.server.receive(data, self.now_s)
        self.told += events
        return events

    def exchange(self) -> None:
        """Until neither has anything to say."""
        while True:
            events = self.give(self.client.data_to_send())
            out = self.server.output()
            if not out and not events:
                return
            self.heard += self.client.receive_data(out)

    def open(self, number: int = 1, **more: Any) -> Stream:
        self.client.send_headers(number, REQUEST, **more)
        self.exchange()
        opened = [event for event in self.told if isinstance(event, Opened)][-1]
        assert (b":path", b"/a/b") in opened.headers
        return opened.stream

    def last_words(self) -> ErrorCodes:
        """The code of the GOAWAY that the server ends the connection with."""
        assert self.server.is_closed
        (code,) = [payload[4:8] for kind, _, _, payload in frames(self.server.output()) if kind == GOAWAY]
        return ErrorCodes(int.from_bytes(code, "big"))


def test_a_request_and_its_answer() -> None:
    pair = Pair()
    stream = pair.open()
    pair.client.send_data(1, b"hello", end_stream=True)
    pair.exchange()
    assert pair.told[-2:] == [Received(stream, b"hello"), Ended(stream)]
    pair.server.answer(stream, [(b":status", b"200")])
    assert pair.server.send(stream, b"good day")
    pair.server.end(stream, [(b"grpc-status", b"0")])
    assert pair.server.streams == ()
    pair.exchange()
    kinds = [type(event) for event in pair.heard]
    assert kinds[-4:] == [
        h2.events.ResponseReceived,
        h2.events.DataReceived,
        h2.events.TrailersReceived,
        h2.events.StreamEnded,
    ]
    assert pair.heard[-3].data == b"good day"


def test_an_end_before_the_request_has_ended_tells_the_client_to_stop() -> None:
    pair = Pair()
    stream = pair.open()
    pair.server.end(stream, [(b":status", b"200"), (b"grpc-status", b"7")])
    pair.exchange()
    assert isinstance(pair.heard[-1], h2.events.StreamReset)
    assert pair.heard[-1].error_code == ErrorCodes.NO_ERROR
    # What was on its way meanwhile harms nothing, and is given back.
    before = pair.client.outbound_flow_control_window
    for _ in range(4):
        pair.give(frame(DATA, 0, 1, bytes(16_384)))
        pair.server.output()
    assert not pair.server.is_closed
    assert pair.open(3).number == 3
    assert pair.client.outbound_flow_control_window >= before


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 10_000])
def test_bytes_may_come_in_any_pieces(size: int) -> None:
    whole = Pair()
    for number in (1, 3):
        whole.client.send_headers(number, [*REQUEST, ("x", "y" * 30_000)])
        for length in (0, 10, 1000):
            whole.client.send_data(number, b"z" * length, pad_length=5 if length == 10 else None)
    whole.client.ping(b"12345678")
    whole.client.send_data(1, b"", end_stream=True)
    whole.client.reset_stream(3)
    said = whole.client.data_to_send()
    wanted = whole.give(said)
    pieces = Pair()
    for at in range(0, len(said), size):
        pieces.give(said[at : at + size])
    got = pieces.told
    assert [type(event) for event in got] == [type(event) for event in wanted]
    assert [event.data for event in got if isinstance(event, Received)] == [
        event.data for event in wanted if isinstance(event, Received)
    ]
    assert [type(event) for event in wanted] == [Opened, Received, Received, Opened, Received, Received, Ended, Reset]
    assert pieces.server.output() == whole.server.output()


def test_what_the_server_takes_is_what_it_credits() -> None:
    pair = Pair()
    stream = pair.open()
    assert pair.client.local_flow_control_window(1) == min(STREAM_WINDOW, CONNECTION_WINDOW)
    pieces = STREAM_WINDOW // 16_384
    for _ in range(pieces):
        pair.client.send_data(1, bytes(16_384))
    pair.exchange()
    assert pair.client.local_flow_control_window(1) == 0
    for _ in range(pieces):
        pair.server.credit(stream, 16_384)
    pair.exchange()
    assert pair.client.local_flow_control_window(1) == STREAM_WINDOW
    # Padding is nothing that anybody waits for.
    pair.client.send_data(1, b"x", pad_length=255)
    for _ in range(STREAM_WINDOW // 400):
        pair.client.send_data(1, b"x", pad_length=255)
        pair.exchange()
    assert pair.client.local_flow_control_window(1) > STREAM_WINDOW // 4


def test_a_stream_that_goes_gives_back_what_it_held_of_the_connection() -> None:
    pair = Pair()
    for number in range(1, 41, 2):
        pair.open(number)
        for _ in range(STREAM_WINDOW // 16_384):
            pair.client.send_data(number, bytes(16_384))
        pair.client.reset_stream(number)
        pair.exchange()
    assert not pair.server.is_closed
    assert pair.client.outbound_flow_control_window >= CONNECTION_WINDOW // 2


@pytest.mark.parametrize("data", [frame(DATA, 0, 1, bytes(16_384)), frame(DATA, 8, 1, b"\xff" + bytes(16_383))])
def test_more_than_a_window_is_refused(data: bytes) -> None:
    pair = Pair()
    pair.open()
    events = [event for _ in range(STREAM_WINDOW // 16_384 + 1) for event in pair.give(data)]
    assert [type(event) for event in events] == [Received] * (STREAM_WINDOW // 16_384) + [Reset]
    assert (RST_STREAM, ErrorCodes.FLOW_CONTROL_ERROR.to_bytes(4, "big")) in [
        (kind, payload) for kind, _, _, payload in frames(pair.server.output())
    ]


def test_more_than_the_connection_s_window_ends_it() -> None:
    pair = Pair()
    for number in range(1, 11, 2):
        pair.open(number)
        for _ in range(STREAM_WINDOW // 16_384):
            pair.give(frame(DATA, 0, number, bytes(16_384)))
    assert pair.last_words() == ErrorCodes.FLOW_CONTROL_ERROR
    assert [event.stream.number for event in pair.told if isinstance(event, Reset)] == [1, 3, 5, 7, 9]
    assert pair.give(b"anything") == []


def test_answers_wait_for_windows_and_trailers_for_them() -> None:
    pair = Pair()
    first, second = pair.open(1), pair.open(3)
    for stream in (first, second):
        pair.server.answer(stream, [(b":status", b"200")])
    assert not pair.server.send(first, b"a" * 70_000)
    assert not pair.server.send(second, b"b")
    pair.server.end(first, [(b"grpc-status", b"0")])
    pair.exchange()
    got = [event for event in pair.heard if isinstance(event, h2.events.DataReceived)]
    assert sum(len(event.data) for event in got) == 65_535
    assert max(len(event.data) for event in got) == 16_384
    pair.client.acknowledge_received_data(65_535, 1)
    pair.exchange()
    body = b"".join(event.data for event in pair.heard if isinstance(event, h2.events.DataReceived))
    assert (body.count(b"a"), body.count(b"b")) == (70_000, 1)
    assert Sent(second) in pair.told
    assert any(isinstance(event, h2.events.TrailersReceived) for event in pair.heard)
    assert pair.server.streams == (second,)


def test_windows_change_with_the_settings_of_the_client() -> None:
    pair = Pair()
    stream = pair.open()
    pair.server.answer(stream, [(b":status", b"200")])
    pair.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
    pair.exchange()
    assert not pair.server.send(stream, b"x" * 30)
    pair.exchange()
    assert stream.unsent == b"x" * 20
    pair.client.update_settings(
        {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2, h2.settings.SettingCodes.MAX_FRAME_SIZE: 2**20}
    )
    pair.exchange()
    assert stream.send_window == -8
    pair.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**20})
    pair.exchange()
    assert Sent(stream) in pair.told
    pair.server.send(stream, bytes(20_000))
    assert len(pair.server.output()) == 9 + 20_000


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), ErrorCodes.FLOW_CONTROL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, bytes(3)), ErrorCodes.FRAME_SIZE_ERROR),
        (
            frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") + frame(SETTINGS, 0, 0, b"\x00\x04\x7f\xff\xff\xff"),
            ErrorCodes.FLOW_CONTROL_ERROR,
        ),
        (frame(SETTINGS, 0, 0, b"\x00\x04\xff\xff\xff\xff"), ErrorCodes.FLOW_CONTROL_ERROR),
        (frame(SETTINGS, 0, 0, b"\x00\x05\x00\x00\x00\x01"), ErrorCodes.PROTOCOL_ERROR),
        (frame(DATA, 8, 1, b"\x05abcd"), ErrorCodes.PROTOCOL_ERROR),
        (frame(DATA, 8, 1, b""), None),
        (frame(DATA, 0, 0, b"x"), ErrorCodes.PROTOCOL_ERROR),
        (frame(DATA, 0, 9, b"x"), ErrorCodes.PROTOCOL_ERROR),
        (b"\x00\x40\x01" + frame(DATA, 0, 1)[3:], ErrorCodes.FRAME_SIZE_ERROR),
        (frame(HEADERS, 0, 3, b"\x82") + frame(DATA, 0, 1, b"x"), ErrorCodes.PROTOCOL_ERROR),
        (frame(HEADERS, 0, 3, b"\x82") + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), ErrorCodes.PROTOCOL_ERROR),
        (frame(HEADERS, 4, 3, b"\xff\xff\xff\xff\xff\xff"), None),
        (frame(HEADERS, 4, 3, b"\x82"), ErrorCodes.PROTOCOL_ERROR),
        (frame(HEADERS, 4, 2, b"\x82"), ErrorCodes.PROTOCOL_ERROR),
        (frame(PUSH_PROMISE, 4, 1, b"\0\0\0\2\x82"), ErrorCodes.PROTOCOL_ERROR),
        (frame(CONTINUATION, 4, 1, b"\x82"), ErrorCodes.PROTOCOL_ERROR),
        (frame(PING, 0, 1, bytes(8)), ErrorCodes.PROTOCOL_ERROR),
        (frame(PING, 0, 0, bytes(7)), ErrorCodes.FRAME_SIZE_ERROR),
        (frame(GOAWAY, 0, 0, bytes(7)), None),
        (frame(GOAWAY, 0, 1, bytes(8)), ErrorCodes.PROTOCOL_ERROR),
    ],
)
def test_what_ends_a_connection(bad: bytes, code: ErrorCodes | None) -> None:
    pair = Pair()
    stream = pair.open()
    pair.give(bad)
    said = pair.last_words()
    if code is not None:
        assert said in {code, ErrorCodes.PROTOCOL_ERROR}
    assert said != ErrorCodes.NO_ERROR
    assert pair.told[-1] == Reset(stream)


def test_what_ends_a_stream_alone() -> None:
    pair = Pair()
    one, other = pair.open(1), pair.open(3)
    pair.give(frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"))
    assert pair.told[-1] == Reset(one)
    pair.client.end_stream(3)
    pair.exchange()
    pair.give(frame(DATA, 0, 3, b"and more"))
    assert pair.told[-1] == Reset(other)
    assert not pair.server.is_closed
    codes = [payload for kind, _, _, payload in frames(pair.server.output()) if kind == RST_STREAM]
    assert codes[-1] == ErrorCodes.STREAM_CLOSED.to_bytes(4, "big")


def test_no_preface_no_connection() -> None:
    server = Http2Connection()
    assert not server.has_greeted
    assert server.receive(b"GET / HTTP/1.1\r\n\r\n", 0.0) == []
    assert server.is_closed


def test_no_more_streams_than_were_offered() -> None:
    pair = Pair()
    for index in range(MAX_STREAMS):
        pair.client.send_headers(2 * index + 1, REQUEST)
    pair.exchange()
    assert len(pair.server.streams) == MAX_STREAMS
    assert pair.client.remote_settings.max_concurrent_streams == MAX_STREAMS
    with pytest.raises(h2.exceptions.TooManyStreamsError):
        pair.client.send_headers(2 * MAX_STREAMS + 1, REQUEST)
    # One that does not care what was offered. Three fields are in the static table, the path in the client's own.
    pair.give(frame(HEADERS, 4, 2 * MAX_STREAMS + 1, b"\x83\x86\x41\x01x\x44\x01/"))
    assert pair.server.is_closed


@pytest.mark.parametrize(
    "flood",
    [
        frame(PING, 0, 0, bytes(8)),
        frame(SETTINGS, 0, 0),
        frame(DATA, 0, 1),
        frame(PRIORITY, 0, 5, b"\0\0\0\0\0"),
        frame(GOAWAY, 0, 0, bytes(8)),
        frame(0x77, 0, 0, b"unknown"),
    ],
)
def test_a_peer_that_only_costs_is_sent_away(flood: bytes) -> None:
    pair = Pair()
    pair.open()
    for _ in range(3_000):
        pair.give(flood)
        if pair.server.is_closed:
            break
    assert pair.last_words() == ErrorCodes.ENHANCE_YOUR_CALM
    slow = Pair()
    slow.open()
    for _ in range(5_000):
        slow.now_s += 0.02
        slow.give(flood)
    assert not slow.server.is_closed


def test_streams_reset_as_soon_as_opened() -> None:
    pair = Pair()
    for number in itertools.count(1, 2):
        pair.client.send_headers(number, REQUEST)
        pair.client.reset_stream(number)
        pair.give(pair.client.data_to_send())
        if pair.server.is_closed:
            break
        assert number < 6_000
    assert pair.last_words() == ErrorCodes.ENHANCE_YOUR_CALM


def test_header_blocks_have_an_end() -> None:
    pair = Pair()
    pair.give(frame(HEADERS, 0, 1, b"\x82"))
    for _ in range(70):
        pair.give(frame(CONTINUATION, 0, 1, bytes(16_000)))
    assert pair.server.is_closed
    bomb = Pair()
    # One entry of 4,000 bytes, and 60,000 references to it.
    bomb.give(frame(HEADERS, 0, 1, b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4_000 + b"\xbe" * 8_000))
    bomb.give(frame(CONTINUATION, 4, 1, b"\xbe" * 16_000))
    assert bomb.server.is_closed


def test_a_client_that_leaves_is_answered_to_the_end() -> None:
    pair = Pair()
    stream = pair.open()
    pair.give(frame(GOAWAY, 0, 0, bytes(8)))
    assert pair.server.is_leaving
    pair.give(frame(DATA, 1, 1, b"x"))
    assert pair.told[-2:] == [Received(stream, b"x"), Ended(stream)]
    pair.server.answer(stream, [(b":status", b"200")])
    pair.server.end(stream, [(b"grpc-status", b"0")])
    assert [kind for kind, *_ in frames(pair.server.output())] == [HEADERS, HEADERS]


def test_a_server_that_leaves_says_so_and_goes_on() -> None:
    pair = Pair()
    pair.open()
    pair.server.go_away()
    ((kind, _, number, payload),) = frames(pair.server.output())
    assert (kind, number, payload) == (GOAWAY, 0, b"\x7f\xff\xff\xff\0\0\0\0")
    pair.client.send_headers(3, REQUEST)
    pair.exchange()
    assert len(pair.server.streams) == 2


def test_content_length_is_taken_for_what_it_is_worth() -> None:
    pair = Pair()
    pair.client.send_headers(1, [*REQUEST, ("content-length", "5")])
    pair.client.send_data(1, b"hello", end_stream=True)
    pair.exchange()
    stream = pair.server.streams[0]
    assert pair.told[-2:] == [Received(stream, b"hello"), Ended(stream)]
    pair.server.end(stream, [(b":status", b"200")])
    pair.exchange()
    assert pair.open(3).number == 3


def test_nothing_is_sent_on_a_stream_that_is_gone() -> None:
    pair = Pair()
    stream = pair.open()
    pair.client.reset_stream(1)
    pair.exchange()
    assert pair.told[-1] == Reset(stream)
    pair.server.answer(stream, [(b":status", b"200")])
    assert pair.server.send(stream, b"x")
    pair.server.credit(stream, 1)
    pair.server.reset(stream, ErrorCodes.CANCEL)
    pair.server.end(stream, [(b"grpc-status", b"0")])
    assert pair.server.output() == b""


def test_a_lost_connection_takes_its_streams_with_it() -> None:
    pair = Pair()
    streams = [pair.open(1), pair.open(3)]
    assert pair.server.lose() == [Reset(stream) for stream in streams]
    assert pair.server.streams == ()


def _trailers_and_more() -> Any:
    number = st.sampled_from([0, 1, 3, 5, 7, 2, 2**31 - 1])
    block = st.sampled_from(
        [
            b"",
            b"\x83\x86\x41\x01x\x44\x01/",
            b"\x83\x86\x41\x01x",
            b"\x3f\xe1\x1f\x83\x86\x41\x01x\x44\x01/",
            b"\xff\x80",
        ]
    )
    payload = st.one_of(st.binary(max_size=40), block, st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4, "big")))
    kind = st.one_of(st.integers(0, 9), st.just(DATA), st.just(HEADERS), st.just(200))
    return st.builds(frame, kind, st.sampled_from([0, 1, 4, 5, 8, 9, 12, 13, 0x20, 0x25, 255]), number, payload)


@settings(max_examples=300, deadline=None)
@given(st.lists(_trailers_and_more(), max_size=30), st.binary(max_size=20), st.data())
@example([frame(HEADERS, 4, 1, b"\x83\x86\x41\x01x\x44\x01/"), frame(HEADERS, 4, 1, b"\x83")], b"", None)
def test_never_an_exception_whatever_comes(sent: list[bytes], rest: bytes, data: Any) -> None:
    server = Http2Connection()
    server.receive(PREFACE + frame(SETTINGS, 0, 0), 0.0)
    open_streams: list[Stream] = []
    for piece in [*sent, rest]:
        for event in server.receive(piece, 0.0):
            if isinstance(event, Opened):
                open_streams.append(event.stream)
            elif isinstance(event, Received):
                server.credit(event.stream, len(event.data))
            elif isinstance(event, Reset):
                open_streams.remove(event.stream)
        if data is not None and open_streams and not server.is_closed:
            stream = data.draw(st.sampled_from(open_streams))
            match data.draw(st.integers(0, 3)):
                case 0:
                    server.reset(stream, ErrorCodes.CANCEL)
                    open_streams.remove(stream)
                case 1:
                    server.end(stream, [(b":status", b"200"), (b"grpc-status", b"0")])
                    if not stream.unsent:
                        open_streams.remove(stream)
        frames(server.output())
    assert server.is_closed or {stream.number for stream in server.streams} >= {
        stream.number for stream in open_streams
    }


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"", PREFACE]), st.binary(max_size=200))
def test_never_an_exception_for_any_bytes(greeting: bytes, data: bytes) -> None:
    server = Http2Connection()
    server.receive(greeting + data, 0.0)
    frames(server.output())
