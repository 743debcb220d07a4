"""Finds MQTT packets in a buffer, all of them in one call: where topics and payloads stand, and the bytes to answer.

Source: MQTT 3.1.1 and 5.0, sections 2.1 (fixed header), 3.3 (PUBLISH), 3.4 (PUBACK), 3.5 (PUBREC). The kernels read
`buffer[at:end]` only, keep no state, and never raise: bytes that are not MQTT are MALFORMED.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import numpy as np

from geofence.kernel import kernel
from tracking_core.columns import I64, U8

MAX_HEADER_BYTES: Final = 5
"""A packet's type, and its length in at most four bytes."""
ACK_BYTES: Final = 4
"""A PUBACK or PUBREC without reason code or properties, which is the same in 3.1.1 and 5.0."""


class State(enum.IntEnum):
    """Why the search ended."""

    NEEDS_MORE = 0
    """All complete packets were found."""
    FULL = 1
    """There is no room for another: take what was found, and search on from there."""
    TOO_LARGE = 2
    """The packet at hand is a PUBLISH that is larger than the limit."""
    MALFORMED = 3
    """The bytes at hand are no packet that a broker may send."""


class Found(NamedTuple):
    """Room for what a search finds. PUBLISH packets fill the first four, one row each; all columns have one length.

    `acks` has ACK_BYTES for each packet of QoS 1 or 2, in order of arrival; `other_start` and `other_end` bound the
    packets that are no PUBLISH.
    """

    topic_start: I64
    topic_end: I64
    payload_start: I64
    payload_end: I64
    acks: U8
    other_start: I64
    other_end: I64


class Search(NamedTuple):
    """How a search ended. `at` is where the first packet begins that was not found; `packet_end` where that will end,
    or 0 while its length is not known.
    """

    state: int
    at: int
    packet_end: int
    publishes: int
    ack_bytes: int
    others: int


class Publish(NamedTuple):
    """Where a PUBLISH has its topic and its payload, and what its QoS asks for. `topic_start` is 0 if malformed."""

    topic_start: int
    topic_end: int
    payload_start: int
    qos: int
    packet_id: int


_NEEDS_MORE: Final = int(State.NEEDS_MORE)
_FULL: Final = int(State.FULL)
_TOO_LARGE: Final = int(State.TOO_LARGE)
_MALFORMED: Final = int(State.MALFORMED)

_PUBLISH: Final = 3
_PUBACK_BYTE: Final = 0x40
_PUBREC_BYTE: Final = 0x50
_NOTHING: Final = Publish(0, 0, 0, 0, 0)


def room_for(publishes: int) -> Found:
    """Room for so many PUBLISH packets, and as many others."""
    offsets = (np.empty(publishes, np.int64) for _ in range(6))
    topic_start, topic_end, payload_start, payload_end, other_start, other_end = offsets
    acks = np.empty(publishes * ACK_BYTES, np.uint8)
    return Found(topic_start, topic_end, payload_start, payload_end, acks, other_start, other_end)


@kernel
def byte_at(buffer: U8, at: int) -> int:
    """One byte, signed: numba makes a float of what mixes signed and unsigned numbers."""
    return int(np.int64(buffer[at]))


@kernel
def read_length(buffer: U8, at: int, end: int) -> tuple[int, int]:
    """The "remaining length" at `at`, and where it ends: 0 when it is not complete, -1 when it has a fifth byte."""
    length = 0
    for index in range(4):
        if at + index >= end:
            return 0, 0
        byte = byte_at(buffer, at + index)
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return length, at + index + 1
    return 0, -1


@kernel
def read_publish(buffer: U8, start: int, body: int, end: int, is_version_5: bool) -> Publish:  # noqa: FBT001
    """The PUBLISH packet `buffer[start:end]` whose variable header begins at `body`.

    Only topic, packet identifier and the length of the properties are read, 65,542 bytes from `body` at most: the rest
    need not be there yet. Properties are passed over; a topic alias instead of a topic is malformed, as we allow none.
    """
    qos = byte_at(buffer, start) >> 1 & 3
    if qos == 3 or end - body < 2:
        return _NOTHING
    topic_start = body + 2
    at = topic_start + (byte_at(buffer, body) << 8 | byte_at(buffer, body + 1))
    topic_end = at
    if topic_end == topic_start or at + (2 if qos else 0) > end:
        return _NOTHING
    packet_id = 0
    if qos:
        packet_id = byte_at(buffer, at) << 8 | byte_at(buffer, at + 1)
        at += 2
        if packet_id == 0:
            return _NOTHING
    if is_version_5:
        length, at = read_length(buffer, at, end)
        if at <= 0 or length > end - at:
            return _NOTHING
        at += length
    return Publish(topic_start, topic_end, at, qos, packet_id)


@kernel
def write_ack(publish: Publish, acks: U8, at: int) -> int:
    """Writes the answer to a PUBLISH to `acks[at:]`; how many bytes that is.

    PUBACK for QoS 1. PUBREC for QoS 2, which we never ask for but an older session of our name may have: what follows,
    PUBREL, is for paho to answer, and the message itself was taken as at QoS 1. Nothing for QoS 0.
    """
    if publish.qos == 0:
        return 0
    acks[at] = _PUBACK_BYTE if publish.qos == 1 else _PUBREC_BYTE
    acks[at + 1] = 2
    acks[at + 2] = publish.packet_id >> 8
    acks[at + 3] = publish.packet_id & 0xFF
    return ACK_BYTES


def ack_of(publish: Publish) -> bytes:
    """The answer to one PUBLISH."""
    acks = np.zeros(ACK_BYTES, np.uint8)
    return acks[: write_ack(publish, acks, 0)].tobytes()


@kernel
def find_packets(
    buffer: U8,
    at: int,
    end: int,
    is_version_5: bool,  # noqa: FBT001
    max_packet_bytes: int,
    found: Found,
) -> Search:
    """Finds all complete packets in `buffer[at:end]` that are not larger than `max_packet_bytes`; fills `found`."""
    publishes, ack_bytes, others = 0, 0, 0
    state, packet_end = _NEEDS_MORE, 0
    while at < end:
        packet_end = 0
        length, body = read_length(buffer, at + 1, end)
        if body < 0:
            state = _MALFORMED
            break
        if body == 0:
            break
        packet_end = body + length
        is_publish = buffer[at] >> 4 == _PUBLISH
        if packet_end - at > max_packet_bytes:
            state = _TOO_LARGE if is_publish else _MALFORMED
            break
        if packet_end > end:
            break
        if publishes == len(found.topic_start) or others == len(found.other_start):
            state = _FULL
            break
        if is_publish:
            publish = read_publish(buffer, at, body, packet_end, is_version_5)
            if publish.topic_start == 0:
                state = _MALFORMED
                break
            found.topic_start[publishes] = publish.topic_start
            found.topic_end[publishes] = publish.topic_end
            found.payload_start[publishes] = publish.payload_start
            found.payload_end[publishes] = packet_end
            publishes += 1
            ack_bytes += write_ack(publish, found.acks, ack_bytes)
        else:
            found.other_start[others] = at
            found.other_end[others] = packet_end
            others += 1
        at = packet_end
        packet_end = 0
    return Search(state, at, packet_end, publishes, ack_bytes, others)
