"""Load for `benchmarks.mqtt_ingest`: publishes frames encoded beforehand, as fast as a broker takes them.

    python -m benchmarks.mqtt_load PORT COUNT QOS

Waits for a line on standard input, sends COUNT positions of `DEVICES` devices at QoS 0 or 1, and ends when the broker
has acknowledged all of them. Every message has the same length, so that a subscriber can find its way without parsing.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

from drover.telemetry.v1.reading_pb2 import Position

DEVICES = 1000
TENANT = "bench"
FILTER = f"drover/v1/{TENANT}/+/position"
FIRST_SEQUENCE = 1 << 21  # so that all sequences have as many bytes


def device_id(number: int) -> str:
    return f"vehicle-{number:04d}"


def connect(port: int, client_id: str, *, version: int, session_s: int = 0) -> socket.socket:
    """A connection that has its CONNACK. `version` is 4 (MQTT 3.1.1) or 5."""
    identity = struct.pack("!H", len(client_id)) + client_id.encode()
    properties = b"\x08\x11" + struct.pack("!I", session_s) + b"\x21\xff\xff" if version == 5 else b""
    body = b"\x00\x04MQTT" + bytes([version, 2]) + b"\x00\x00" + properties + identity
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"\x10" + bytes([len(body)]) + body)
    head = connection.recv(2)
    assert head[0] == 0x20, head
    rest = connection.recv(head[1])
    assert rest[1] == 0, rest
    return connection


def encode(count: int, qos: int) -> bytes:
    """The PUBLISH packets, one after another."""
    now_us = time.time_ns() // 1000
    packets: list[bytes] = []
    for index in range(count):
        topic = f"drover/v1/{TENANT}/{device_id(index % DEVICES)}/position".encode()
        payload = Position(
            observed_at_us=now_us - (count - index),
            latitude_deg=52.5 + index * 1e-7,
            longitude_deg=13.4 + index * 1e-7,
            speed_mps=13.9,
            heading_deg=271.0,
            accuracy_m=4.0,
            satellites=9,
            sequence=FIRST_SEQUENCE + index,
        ).SerializeToString()
        packet_id = struct.pack("!H", index % 65_535 + 1) if qos else b""
        length = 2 + len(topic) + len(packet_id) + len(payload)
        assert length < 128, length
        packets.append(bytes([0x30 | qos << 1, length]) + struct.pack("!H", len(topic)) + topic + packet_id + payload)
    assert len({len(packet) for packet in packets}) == 1
    return b"".join(packets)


def publish(connection: socket.socket, packets: bytes, acks_wanted: int) -> None:
    """Sends, and reads away what the broker answers until it has answered all."""
    connection.setblocking(False)
    rest = memoryview(packets)
    got = 0
    while rest or got < acks_wanted * 4:
        readable, writable, _ = select.select([connection], [connection] if rest else [], [])
        if readable:
            got += len(connection.recv(1 << 18))
        if writable:
            rest = rest[connection.send(rest[: 1 << 18]) :]
    connection.setblocking(True)


def main() -> None:
    port, count, qos = (int(argument) for argument in sys.argv[1:])
    packets = encode(count, qos)
    connection = connect(port, "load", version=4)
    print("ready", flush=True)
    sys.stdin.readline()
    publish(connection, packets, count if qos else 0)
    connection.sendall(b"\xe0\x00")
    connection.close()


if __name__ == "__main__":
    main()
