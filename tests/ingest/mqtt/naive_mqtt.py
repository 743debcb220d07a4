"""Slow, obvious MQTT: packets made and taken apart one by one, as the specification reads."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Packet(NamedTuple):
    """A PUBLISH; or another packet, whose bytes are in `other`."""

    topic: bytes = b""
    payload: bytes = b""
    qos: int = 0
    packet_id: int = 0
    other: bytes = b""


def length_of(number: int) -> bytes:
    """Section 2.1.4: seven bits a byte, least first."""
    encoded = bytearray()
    while True:
        number, rest = divmod(number, 128)
        encoded.append(rest | (0x80 if number else 0))
        if not number:
            return bytes(encoded)


def publish(
    topic: bytes, payload: bytes, *, qos: int = 0, packet_id: int = 1, properties: bytes | None = None, flags: int = 0
) -> bytes:
    """A PUBLISH; of MQTT 5 when `properties` are given, which may be empty."""
    body = struct.pack("!H", len(topic)) + topic
    if qos:
        body += struct.pack("!H", packet_id)
    if properties is not None:
        body += length_of(len(properties)) + properties
    body += payload
    return bytes([0x30 | qos << 1 | flags]) + length_of(len(body)) + body


def packets(stream: bytes, *, is_version_5: bool) -> list[Packet]:
    """All packets of a sound and complete stream."""
    found: list[Packet] = []
    while stream:
        length, after = _length(stream, 1)
        packet, stream = stream[: after + length], stream[after + length :]
        if packet[0] >> 4 != 3:
            found.append(Packet(other=packet))
            continue
        qos = packet[0] >> 1 & 3
        (topic_length,) = struct.unpack_from("!H", packet, after)
        at = after + 2 + topic_length
        topic = packet[after + 2 : at]
        packet_id = 0
        if qos:
            (packet_id,) = struct.unpack_from("!H", packet, at)
            at += 2
        if is_version_5:
            properties, at = _length(packet, at)
            at += properties
        found.append(Packet(topic, packet[at:], qos, packet_id))
    return found


def acks(found: list[Packet]) -> bytes:
    """What a receiver answers first."""
    return b"".join(
        bytes([0x40 if packet.qos == 1 else 0x50, 2]) + struct.pack("!H", packet.packet_id)
        for packet in found
        if packet.qos
    )


def _length(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for index in range(4):
        number += (data[at + index] & 127) * 128**index
        if data[at + index] < 128:
            return number, at + index + 1
    raise ValueError("a length has four bytes at most")
