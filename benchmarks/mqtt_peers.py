"""The peers in `benchmarks.mqtt_ingest`, each in a process of its own.

    python -m benchmarks.mqtt_peers {null|aiomqtt} PORT COUNT QOS

Prints `loaded`, waits for a line on standard input, subscribes and prints `ready`; then, after COUNT messages, one JSON
object: the seconds between the first message and the last, and the processor time since `ready`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import aiomqtt
import numpy as np

from benchmarks.mqtt_load import FILTER, connect

GATHER_S = 0.004


class Watch:
    """Says what a subscriber has to say on standard output."""

    def __init__(self) -> None:
        print("loaded", flush=True)
        sys.stdin.readline()
        self._cpu_s = 0.0

    def ready(self) -> None:
        self._cpu_s = self._spent_s()
        print("ready", flush=True)

    def report(self, first_s: float, last_s: float) -> None:
        print(json.dumps({"seconds": last_s - first_s, "cpu_s": self._spent_s() - self._cpu_s}), flush=True)

    @staticmethod
    def _spent_s() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime


def null(watch: Watch, port: int, count: int, qos: int) -> None:
    """Reads, and acknowledges at fixed distances; looks at nothing else.

    It leaves the socket alone for `GATHER_S` after each read, as ours does: without that it wakes for every few packets
    that the broker writes, takes processor time from the broker, and is the easier peer to beat.
    """
    connection = connect(port, "null", version=5)
    subscribe = b"\x00\x01\x00" + len(FILTER).to_bytes(2, "big") + FILTER.encode() + bytes([qos])
    connection.sendall(b"\x82" + bytes([len(subscribe)]) + subscribe)
    assert connection.recv(64)[0] == 0x90
    watch.ready()
    buffer = np.empty(1 << 20, np.uint8)
    filled = 0
    packets = 0
    first_s = 0.0
    packet_bytes = 0
    while packets < count:
        filled += connection.recv_into(buffer.data[filled : filled + (1 << 18)])
        first_s = first_s or time.perf_counter()
        packet_bytes = packet_bytes or int(buffer[1]) + 2
        whole = filled // packet_bytes
        if qos:
            id_at = 4 + (int(buffer[2]) << 8 | int(buffer[3]))
            rows = buffer[: whole * packet_bytes].reshape(whole, packet_bytes)
            acks = np.empty((whole, 4), np.uint8)
            acks[:, :2] = 0x40, 2
            acks[:, 2:] = rows[:, id_at : id_at + 2]
            connection.sendall(acks.tobytes())
        packets += whole
        if packets < count:
            time.sleep(GATHER_S)
        rest = filled - whole * packet_bytes
        buffer[:rest] = buffer[whole * packet_bytes : filled]
        filled = rest
    watch.report(first_s, time.perf_counter())


async def stock(watch: Watch, port: int, count: int, qos: int) -> None:
    """Stock aiomqtt as its documentation shows it."""
    async with aiomqtt.Client("127.0.0.1", port, identifier="stock", protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(FILTER, qos=qos)
        watch.ready()
        first_s = 0.0
        got = 0
        async for _ in client.messages:
            first_s = first_s or time.perf_counter()
            got += 1
            if got == count:
                break
        watch.report(first_s, time.perf_counter())


def main() -> None:
    name, port, count, qos = sys.argv[1], *(int(argument) for argument in sys.argv[2:])
    watch = Watch()
    if name == "null":
        null(watch, port, count, qos)
    else:
        asyncio.run(stock(watch, port, count, qos))


if __name__ == "__main__":
    main()
