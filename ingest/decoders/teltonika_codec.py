"""Teltonika AVL packets in bytes: Codec 8, 8 Extended and 16, over MQTT as they are or with the frame of TCP.

Source: Teltonika Telematics wiki, "Teltonika Data Sending Protocols", sections "Codec 8", "Codec 8 Extended" and
"Codec 16". A packet is the codec's number, the count of records, the records, and the count again. The frame of TCP is
four zero bytes, the length of the packet, the packet, and its CRC-16/IBM as 32 bits. Everything is big-endian.

A record is u64 milliseconds, u8 priority, i32 longitude and latitude in 1e-7 degrees, i16 altitude in metres, u16
angle, u8 satellites, u16 speed in km/h, then the IO elements: which of them caused the record, how many there are, and
groups of values of 1, 2, 4 and 8 bytes, each a count and pairs of id and value. Codec 8 counts and names in bytes; 8
Extended in two bytes, and adds a group whose values bring their length; Codec 16 names in two bytes, and says why the
record was made.

A packet is taken whole or not at all: a count that does not come out makes every offset after it doubtful. The codecs
of commands and their answers (12 to 15) carry no reading. The frame of UDP is not spoken here.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.crc16 import crc16
from ingest.decoders.teltonika_record import ELEMENTS, MAX_TIME_MS, GpsElement, add_position, add_sample
from ingest.reasons import Reason, Rejection

_PREAMBLE: Final = bytes(4)
_FRAME_HEAD: Final = struct.Struct(">II")
_FRAME_TAIL: Final = struct.Struct(">I")
_GPS: Final = struct.Struct(">QBiihHBH")
_LEAST_BYTES: Final = 3
_COMMANDS: Final = frozenset({0x0C, 0x0D, 0x0E, 0x0F})


class _Codec(NamedTuple):
    """`head` are the bytes from the record's cause to the number of its elements, which is the last field."""

    head: struct.Struct
    counter: struct.Struct
    pairs: tuple[struct.Struct, ...]
    has_long_values: bool


def _pairs(avl_id: str) -> tuple[struct.Struct, ...]:
    return tuple(struct.Struct(f">{avl_id}{value}") for value in "BHIQ")


_ONE_BYTE: Final = struct.Struct(">B")
_TWO_BYTES: Final = struct.Struct(">H")
_LONG_VALUE: Final = struct.Struct(">HH")
_CODECS: Final = {
    0x08: _Codec(struct.Struct(">BB"), _ONE_BYTE, _pairs("B"), has_long_values=False),
    0x8E: _Codec(struct.Struct(">HH"), _TWO_BYTES, _pairs("H"), has_long_values=True),
    0x10: _Codec(struct.Struct(">HBB"), _ONE_BYTE, _pairs("H"), has_long_values=False),
}


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail)


def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
    """One packet: a fix for each record, and a sample for each of its IO elements that is a quantity of ours."""
    try:
        return _readings(_unframed(payload) if payload.startswith(_PREAMBLE) else payload)
    except _Refused as refused:
        return refused.rejection
    except struct.error:
        return Rejection(Reason.TRUNCATED, "the packet ends within a record")


def _unframed(frame: bytes) -> bytes:
    if len(frame) < _FRAME_HEAD.size:
        raise _Refused(Reason.TRUNCATED, "the frame ends within its head")
    length = _FRAME_HEAD.unpack_from(frame)[1]
    missing = _FRAME_HEAD.size + length + _FRAME_TAIL.size - len(frame)
    if missing > 0:
        raise _Refused(Reason.TRUNCATED, f"{missing} bytes of the frame are missing")
    if missing < 0:
        raise _Refused(Reason.MALFORMED, f"{-missing} bytes after the frame")
    packet = frame[_FRAME_HEAD.size : -_FRAME_TAIL.size]
    said, found = _FRAME_TAIL.unpack_from(frame, _FRAME_HEAD.size + length)[0], crc16(np.frombuffer(packet, np.uint8))
    if said != found:
        raise _Refused(Reason.MALFORMED, f"check sum {found:#06x}, the frame says {said:#06x}")
    return packet


def _readings(packet: bytes) -> ReadingBatch:
    if len(packet) < _LEAST_BYTES:
        raise _Refused(Reason.TRUNCATED, "the packet ends within its head")
    if packet[0] in _COMMANDS:
        raise _Refused(Reason.NOT_A_READING, f"codec {packet[0]}: a command or its answer")
    codec = _CODECS.get(packet[0])
    if codec is None:
        raise _Refused(Reason.UNKNOWN_TYPE, f"codec {packet[0]:#04x}")
    count, at = packet[1], 2
    batch = ReadingBatch()
    for _ in range(count):
        time_ms = _add_fix(packet, at, batch)
        at = _add_elements(packet, at + _GPS.size, codec, time_ms * 1000, batch)
    if at == len(packet):
        raise _Refused(Reason.TRUNCATED, "the count at the end is missing")
    if packet[at] != count:
        raise _Refused(Reason.MALFORMED, f"{count} records by the head, {packet[at]} by the end")
    if at + 1 != len(packet):
        raise _Refused(Reason.MALFORMED, f"{len(packet) - at - 1} bytes after the packet")
    if not count:
        raise _Refused(Reason.EMPTY, "a packet without records")
    return batch


def _add_fix(packet: bytes, at: int, batch: ReadingBatch) -> int:
    """Returns the time of the record, in milliseconds. Raises struct.error at the end of the packet."""
    time_ms, _, longitude, latitude, altitude_m, angle_deg, satellites, speed_kmh = _GPS.unpack_from(packet, at)
    if time_ms > MAX_TIME_MS:
        raise _Refused(Reason.VALUE_OUT_OF_RANGE, f"{time_ms} milliseconds")
    element = GpsElement(time_ms, latitude / 1e7, longitude / 1e7, altitude_m, angle_deg, satellites, speed_kmh)
    add_position(batch, element)
    return int(time_ms)


def _add_elements(packet: bytes, at: int, codec: _Codec, observed_at_us: int, batch: ReadingBatch) -> int:
    """Returns where the next record begins. Raises struct.error at the end of the packet."""
    total = codec.head.unpack_from(packet, at)[-1]
    at += codec.head.size
    counted = 0
    # A record has an element once. Of one that says it again and again, the last counts: three bytes must not each
    # time become a sample.
    found: dict[int, int] = {}
    for pair in codec.pairs:
        count = codec.counter.unpack_from(packet, at)[0]
        start = at + codec.counter.size
        at = start + count * pair.size
        if at > len(packet):
            raise _Refused(Reason.TRUNCATED, "the packet ends within an element")
        counted += count
        found |= {avl_id: value for avl_id, value in pair.iter_unpack(packet[start:at]) if avl_id in ELEMENTS}
    if codec.has_long_values:
        count = codec.counter.unpack_from(packet, at)[0]
        at += codec.counter.size
        counted += count
        for _ in range(count):
            at += _LONG_VALUE.size + _LONG_VALUE.unpack_from(packet, at)[1]
        if at > len(packet):
            raise _Refused(Reason.TRUNCATED, "the packet ends within an element")
    if counted != total:
        raise _Refused(Reason.MALFORMED, f"{total} elements by the head of a record, {counted} by its groups")
    for avl_id, value in found.items():
        add_sample(batch, avl_id, value, observed_at_us)
    return at
