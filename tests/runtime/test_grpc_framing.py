"""Messages, time-outs and statuses of gRPC on the wire."""

from __future__ import annotations

import urllib.parse

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.grpc_server import MAX_MESSAGE_BYTES
from runtime.grpc_streams.framing import FramingError, MessageBuffer, framed, timeout_s, trailers


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 200), min_size=1))
def test_messages_come_whole_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(map(framed, messages))
    buffer, got = MessageBuffer(), []
    at = index = 0
    while at < len(wire):
        got += buffer.put(wire[at : at + cuts[index % len(cuts)]])
        at += cuts[index % len(cuts)]
        index += 1
    assert got == messages
    assert buffer.is_empty


def test_a_begun_message_is_not_nothing() -> None:
    buffer = MessageBuffer()
    assert buffer.put(framed(b"abc")[:-1]) == []
    assert not buffer.is_empty
    assert buffer.put(b"c" + framed(b"d")[:2]) == [b"abc"]
    assert not buffer.is_empty
    assert buffer.put(framed(b"d")[2:]) == [b"d"]
    assert buffer.is_empty


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"\1\0\0\0\1x", grpc.StatusCode.INTERNAL),
        (b"\7\0\0\0\1x", grpc.StatusCode.INTERNAL),
        (framed(b"ok") + b"\1\0\0\0\0", grpc.StatusCode.INTERNAL),
        (b"\0\xff\xff\xff\xff", grpc.StatusCode.RESOURCE_EXHAUSTED),
        (b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_what_is_no_message(wire: bytes, status: grpc.StatusCode) -> None:
    with pytest.raises(FramingError) as caught:
        MessageBuffer().put(wire)
    assert caught.value.status is status


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"30S", 30), (b"250m", 0.25), (b"7u", 7e-6), (b"99999999n", 0.1)],
)
def test_timeouts(text: bytes, seconds: float) -> None:
    assert timeout_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", [b"", b"S", b"1", b"1s", b"123456789S", b"-1S", b"1.5S", b" 1S", b"1S\n", "٣S".encode()]
)
def test_what_is_no_timeout(text: bytes) -> None:
    with pytest.raises(FramingError):
        timeout_s(text)


@given(st.text())
def test_any_message_can_stand_in_a_trailer(message: str) -> None:
    fields = dict(trailers(grpc.StatusCode.NOT_FOUND, message, [(b"more", b"x")]))
    assert (fields[b"grpc-status"], fields[b"more"]) == (b"5", b"x")
    told = fields.get(b"grpc-message", b"")
    assert all(0x20 <= code < 0x7F for code in told)
    assert urllib.parse.unquote(told.decode()) == message.encode(errors="replace").decode().strip(" ")
