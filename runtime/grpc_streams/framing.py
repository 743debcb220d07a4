"""What gRPC puts into HTTP/2: messages with their length, time-outs, statuses.

After "gRPC over HTTP2" (PROTOCOL-HTTP2.md of grpc).
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from typing import Final

import grpc

from runtime.grpc_server import MAX_MESSAGE_BYTES

_PREFIX: Final = 5
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# Printable ASCII without the percent sign stands for itself.
_SAFE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class FramingError(Exception):
    """Bytes that are no messages of this call."""

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status


class MessageBuffer:
    """Bytes of a stream that are not yet a whole message."""

    __slots__ = ("_held", "_needed")

    def __init__(self) -> None:
        self._held: bytearray | bytes = b""
        self._needed = _PREFIX

    @property
    def is_empty(self) -> bool:
        """No message is begun."""
        return not self._held

    def put(self, data: bytes) -> list[bytes]:
        """The messages that are complete with `data`. Raises FramingError."""
        if self._held:
            # Not a list of parts: a peer that sends single bytes would make an object of each.
            self._held += data
            if len(self._held) < self._needed:
                return []
            data = bytes(self._held)
        at = 0
        self._needed = _PREFIX
        messages: list[bytes] = []
        while len(data) - at >= _PREFIX:
            self._needed = _PREFIX + _length(data, at)
            if len(data) - at < self._needed:
                break
            messages.append(data[at + _PREFIX : at + self._needed])
            at += self._needed
            self._needed = _PREFIX
        self._held = bytearray(data[at:]) if at < len(data) else b""
        return messages


def _length(data: bytes, at: int) -> int:
    if data[at] != 0:
        if data[at] == 1:
            raise FramingError(grpc.StatusCode.INTERNAL, "a compressed message, and the call names no encoding")
        raise FramingError(grpc.StatusCode.INTERNAL, f"a message with the flag {data[at]}")
    length = int.from_bytes(data[at + 1 : at + _PREFIX], "big")
    if length > MAX_MESSAGE_BYTES:
        raise FramingError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"a message of {length} bytes, and {MAX_MESSAGE_BYTES} are allowed"
        )
    return length


def framed(message: bytes) -> bytes:
    """A message as it is sent: not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def timeout_s(value: bytes) -> float:
    """Of the header `grpc-timeout`. Raises FramingError."""
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise FramingError(grpc.StatusCode.INTERNAL, "grpc-timeout is not one")
    return int(match[1]) * _SECONDS[match[2]]


def trailers(
    status: grpc.StatusCode, message: str = "", more: Iterable[tuple[bytes, bytes]] = ()
) -> list[tuple[bytes, bytes]]:
    """How a call ends."""
    code: int = status.value[0]
    ends = [(b"grpc-status", str(code).encode())]
    if message:
        ends.append((b"grpc-message", urllib.parse.quote(message, safe=_SAFE).strip().encode()))
    return [*ends, *more]
