"""From read buffer to log, native messages cost no Python: neither calls nor objects depend on how many there are."""

from __future__ import annotations

import pathlib
import sys
from types import FrameType
from typing import Any

import numpy as np

from ingest.messages import Messages
from ingest.mqtt.frames import find_packets, room_for
from ingest.mqtt.outbox import Outbox
from tests.ingest import readings
from tests.ingest.decoders.allocations import counted_allocations
from tests.ingest.mqtt.naive_mqtt import publish
from tests.ingest.rig import NOW_US, FakeLog, running
from tracking_core.columns import count

DEVICES = 7
ROOM = room_for(10_000)


def read_buffer(messages: int) -> bytes:
    """What a broker sends: positions, samples, tag reads and batches of some devices."""
    kinds = {
        "position": readings.position(speed_mps=3.0).SerializeToString(),
        "sensor": readings.sensor().SerializeToString(),
        "tag": readings.tag().SerializeToString(),
        "batch": readings.batch(readings.position(), readings.sensor(), readings.tag()).SerializeToString(),
    }
    names = list(kinds)
    return b"".join(
        publish(
            f"drover/v1/acme/truck-{n % DEVICES}/{names[n % 4]}".encode(), kinds[names[n % 4]], qos=1, packet_id=n + 1
        )
        for n in range(messages)
    )


def messages_in(data: bytes) -> Messages:
    buffer = np.frombuffer(data, np.uint8)
    found = find_packets(buffer, 0, len(buffer), False, 10_000, ROOM)
    columns = [column[: found.publishes].copy() for column in ROOM[:4]]
    return Messages(buffer, columns[0], columns[1], columns[2], columns[3], NOW_US, "mqtt", Outbox(10))


async def test_calls_do_not_depend_on_the_number_of_messages(tmp_path: pathlib.Path) -> None:
    calls: list[str] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            calls.append(frame.f_code.co_qualname)
        elif event == "c_call":
            calls.append(argument.__qualname__)

    log = FakeLog(partitions=1)
    async with running(tmp_path, log, flush_readings=1) as rig:
        await rig.provision(*(f"truck-{n}" for n in range(DEVICES)))
        await rig.pipeline.accept(messages_in(read_buffer(4 * DEVICES)))  # topics are learnt, kernels compiled
        before = count(log.readings)
        made: dict[int, list[str]] = {}
        for number in (1000, 8000):
            data = read_buffer(number)
            calls.clear()
            sys.setprofile(watch)
            try:
                messages = messages_in(data)
                known, strangers = rig.pipeline._addresses.look_up(messages, {})
                submitted = rig.pipeline._submit(known, is_replay=False)
            finally:
                sys.setprofile(None)
            made[number] = list(calls)
            assert strangers is None
            await submitted.appended
        assert count(log.readings) - before == 9000 + 2 * 9000 // 4
    assert made[8000] == made[1000]
    assert 0 < len(made[1000]) < 500


async def test_allocations_do_not_depend_on_the_number_of_messages(tmp_path: pathlib.Path) -> None:
    """From the read buffer to the appended block. About 880 for any batch; other tasks and threads may add some.

    An object for each message of one of the four kinds would be 750 more.
    """
    log = FakeLog(partitions=1)
    async with running(tmp_path, log, flush_readings=1) as rig:
        await rig.provision(*(f"truck-{n}" for n in range(DEVICES)))
        buffers = {number: read_buffer(number) for number in (1000, 4000)}
        for data in buffers.values():
            await rig.pipeline.accept(messages_in(data))  # topics are learnt, kernels compiled
        made: dict[int, int] = {}
        for number, data in buffers.items():
            with counted_allocations() as allocations:
                await rig.pipeline.accept(messages_in(data))
            made[number] = int(allocations[0])
        assert count(log.readings) == 2 * (1000 + 4000) * 3 // 2
    assert made[1000] > 0
    assert made[4000] - made[1000] < 500


def test_one_object_a_message_is_seen() -> None:
    data = read_buffer(1000)
    with counted_allocations() as allocations:
        for at in range(1000):
            data[at : at + 10]
    assert allocations[0] >= 1000
