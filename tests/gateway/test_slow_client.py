"""A client that does not read: it costs what any other costs, delays nobody, and is cut off in the end."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import time

import pytest
from websockets.asyncio.client import ClientConnection

from gateway.live.frames import unpack
from gateway.metrics import CLIENTS_CUT, FRAMES_DROPPED
from tests.gateway.conftest import Gateway, Start, next_frame
from tests.gateway.test_live import EVERYTHING, columns, event, fleet, publish, say

pytestmark = pytest.mark.server

DEVICES = 2_000


async def _stop_reading(client: ClientConnection) -> None:
    """Leaves everything in the kernel, and lets the kernel hold little."""
    client.transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 65_536)
    client.transport.pause_reading()


async def _drive(gateway: Gateway, fast: ClientConnection, seconds: int) -> list[float]:
    """Moves the whole fleet `seconds` times, and returns how long the fast client waited for each."""
    waits = []
    for second in range(1, seconds + 1):
        started = time.monotonic()
        await publish(
            gateway,
            "drover.live.0",
            columns([(n, second, n / 100 + second / 1e6, 53.0) for n in range(1, DEVICES + 1)]),
        )
        async with asyncio.timeout(10):
            frame = unpack(await next_frame(fast))
        assert len(frame.device_number) == DEVICES
        waits.append(time.monotonic() - started)
    return waits


async def test_a_slow_client_delays_nobody_and_comes_back_to_the_present(start: Start, redis_url: str) -> None:
    async with start(redis_url, write_buffer_bytes=32_768, frame_interval_s=0.02) as gateway:
        fleet(gateway, DEVICES)
        async with gateway.socket() as slow, gateway.socket() as fast:
            for each in (slow, fast):
                await say(each, EVERYTHING)
                unpack(await next_frame(each))
            await _stop_reading(slow)
            before = FRAMES_DROPPED._value.get()
            waits = await _drive(gateway, fast, 60)
            assert sorted(waits)[len(waits) // 2] < 0.5
            dropped = FRAMES_DROPPED._value.get()
            slow.transport.resume_reading()
            longitude, received, last = 0.0, 0, -1
            async with asyncio.timeout(10):
                while longitude < 1 / 100 + 60 / 1e6:
                    frame = unpack(await next_frame(slow))
                    assert frame.sequence > last
                    last = frame.sequence
                    longitude = float(frame.longitude_deg[frame.device_number == 1][0])
                    received += 1
            # 60 frames of 80 KB were due; two buffers and a frame or two are all that ever waited.
            assert received < 30
            assert FRAMES_DROPPED._value.get() - before >= 60 - received - 5
            assert dropped - before <= 60


async def test_a_slow_client_is_told_what_it_missed(start: Start, redis_url: str) -> None:
    async with start(redis_url, write_buffer_bytes=8_192, event_queue=16) as gateway:
        fleet(gateway, 1)
        async with gateway.socket() as slow, gateway.socket() as fast:
            for each in (slow, fast):
                await say(each, EVERYTHING)
                unpack(await next_frame(each))
            await _stop_reading(slow)
            for number in range(400):
                await publish(gateway, "drover.alerts.acme.geofence_entered", event(number))
                await fast.recv()  # the fast one has each at once
            slow.transport.resume_reading()
            heard: list[int] = []
            missed = 0
            async with asyncio.timeout(10):
                while not heard or heard[-1] != 399:
                    message = json.loads(await slow.recv())
                    if message["type"] == "events_missed":
                        missed += message["count"]
                    elif message["type"] == "event":
                        heard.append(int(message["event"]["event_id"][1:]))
            assert heard == sorted(heard)
            assert missed > 0
            assert len(heard) + missed == 400


async def test_a_client_that_never_reads_is_cut(start: Start, redis_url: str) -> None:
    async with start(redis_url, write_buffer_bytes=8_192, stall_timeout_s=0.5) as gateway:
        fleet(gateway, DEVICES)
        before = CLIENTS_CUT.labels("stalled")._value.get()
        async with gateway.socket() as slow, gateway.socket() as fast:
            for each in (slow, fast):
                await say(each, EVERYTHING)
                unpack(await next_frame(each))
            await _stop_reading(slow)
            await _drive(gateway, fast, 10)
            async with asyncio.timeout(10):
                while gateway.hub.client_count > 1:  # noqa: ASYNC110 - the hub tells only when all have left
                    await asyncio.sleep(0.05)
        assert CLIENTS_CUT.labels("stalled")._value.get() - before == 1


async def test_a_client_that_never_reads_does_not_hold_up_the_goodbye(start: Start, redis_url: str) -> None:
    async with start(redis_url, write_buffer_bytes=8_192) as gateway:
        fleet(gateway, DEVICES)
        async with gateway.socket() as slow, gateway.socket() as fast:
            for each in (slow, fast):
                await say(each, EVERYTHING)
                unpack(await next_frame(each))
            await _stop_reading(slow)
            await _drive(gateway, fast, 10)
            gateway.hub.stopping.set()
            async with asyncio.timeout(4):
                await gateway.hub.nobody.wait()
