"""The batcher: what goes in comes out once, in order, announced, and only then is anybody told."""

from __future__ import annotations

import asyncio
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from ingest.batcher import Batcher, LogUnavailableError
from ingest.devices.device_name import DeviceName
from ingest.partitioning import partition_rows, split
from tests.ingest.rig import NOW_US, FakeLog, announced_in, readings_of, running
from tracking_core.block import EntryKind
from tracking_core.columns import Readings, count, empty_positions, empty_sensors, empty_tags


def fixes(devices: list[int], first_sequence: int = 0) -> Readings:
    """One fix a device named, numbered in order."""
    positions = empty_positions(len(devices))
    for column in positions:
        column[:] = 0
    positions.device[:] = devices
    positions.sequence[:] = np.arange(first_sequence, first_sequence + len(devices))
    positions.received_at_us[:] = NOW_US
    return Readings(positions, empty_sensors(), empty_tags())


async def _add(batcher: Batcher, readings: Readings) -> None:
    await batcher.has_room()
    await batcher.submit(readings)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50), st.integers(1, 7))
def test_rows_by_partition_equal_a_naive_sort(devices: list[int], partitions: int) -> None:
    order, offsets = partition_rows(np.array(devices, np.uint32), partitions)
    assert order.tolist() == sorted(range(len(devices)), key=lambda row: devices[row] % partitions)
    for partition in range(partitions):
        rows = order[offsets[partition] : offsets[partition + 1]].tolist()
        assert rows == [row for row, device in enumerate(devices) if device % partitions == partition]


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(1, 4))
def test_split_keeps_every_reading_once_and_in_order(devices: list[int], partitions: int) -> None:
    parts = split(fixes(devices), partitions)
    assert sum(count(part) for _, part in parts) == len(devices)
    for partition, part in parts:
        assert part.positions.sequence.tolist() == [n for n, d in enumerate(devices) if d % partitions == partition]
        assert set((part.positions.device % partitions).tolist()) == {partition}


async def test_a_device_is_announced_before_its_first_block_and_once(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    async with running(tmp_path, log) as rig:
        numbers = await rig.provision("a", "b", "c")
        await _add(rig.batcher, fixes(numbers[:2]))
        await _add(rig.batcher, fixes(numbers))
        assert sorted(announced_in(log.entries)) == [(0, "acme", "a"), (1, "acme", "b"), (2, "acme", "c")]
        for append in log.appends:
            kinds = [entry.kind for entry in append]
            assert kinds == sorted(kinds, key=lambda kind: kind != EntryKind.ANNOUNCEMENT)
        for entry in log.entries:
            assert all(number % 4 == entry.partition for number, _, _ in announced_in([entry]))
        await rig.registry.provision(DeviceName("acme", "b"), "Lorry B")
        await _add(rig.batcher, fixes(numbers))
        assert len(announced_in(log.entries)) == 4


async def test_a_failed_append_announces_again(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    async with running(tmp_path, log) as rig:
        numbers = await rig.provision("a")
        log.failures.append(RedisConnectionError("gone"))
        await _add(rig.batcher, fixes(numbers))
        assert announced_in(log.entries) == [(0, "acme", "a")]
        assert count(log.readings) == 1


@pytest.mark.parametrize("failure", [RedisConnectionError("gone"), ResponseError("MISCONF no space"), TimeoutError()])
async def test_nothing_is_told_before_it_is_in_the_log(tmp_path: pathlib.Path, failure: Exception) -> None:
    log = FakeLog()
    log.always = failure
    async with running(tmp_path, log) as rig:
        numbers = await rig.provision("a")
        adding = asyncio.create_task(_add(rig.batcher, fixes(numbers)))
        await asyncio.sleep(0.1)
        assert not adding.done()
        assert rig.batcher.wrong is not None
        log.always = None
        await asyncio.wait_for(adding, 5)
        assert rig.batcher.wrong is None
        assert count(log.readings) == 1


async def test_one_append_at_a_time_in_the_order_of_arrival(tmp_path: pathlib.Path) -> None:
    log = FakeLog(partitions=2)
    async with running(tmp_path, log, flush_readings=5, queue_readings=20) as rig:
        numbers = await rig.provision("a", "b", "c")
        await asyncio.gather(*(_add(rig.batcher, fixes(numbers, 3 * n)) for n in range(100)))
        assert log.most_in_flight == 1
        for number in numbers:
            positions = log.readings.positions
            assert positions.sequence[positions.device == number].tolist() == list(range(number, 300, 3))


async def test_the_queue_is_bounded(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    log.gate.clear()
    async with running(tmp_path, log, flush_readings=10, queue_readings=30) as rig:
        numbers = await rig.provision("a")
        adding = [asyncio.create_task(_add(rig.batcher, fixes(numbers * 10))) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert rig.batcher.queued == 30
        log.gate.set()
        await asyncio.gather(*adding)
        assert rig.batcher.queued == 0
        assert count(log.readings) == 200


async def test_closing_appends_what_is_queued_and_refuses_more(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    log.gate.clear()
    async with running(tmp_path, log, flush_readings=1) as rig:
        numbers = await rig.provision("a")
        adding = [asyncio.create_task(_add(rig.batcher, fixes(numbers))) for _ in range(3)]
        await asyncio.sleep(0.02)
        rig.batcher.close()
        with pytest.raises(LogUnavailableError):
            await _add(rig.batcher, fixes(numbers))
        log.gate.set()
        await asyncio.gather(*adding)
        assert count(log.readings) == 3


async def test_giving_up_tells_everybody_that_nothing_was_appended(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    log.always = RedisConnectionError("gone")
    async with running(tmp_path, log, flush_readings=1, queue_readings=2) as rig:
        numbers = await rig.provision("a")
        adding = [asyncio.create_task(_add(rig.batcher, fixes(numbers))) for _ in range(5)]
        await asyncio.sleep(0.05)
        rig.batcher.give_up()
        answers = await asyncio.gather(*adding, return_exceptions=True)
        assert [type(answer) for answer in answers] == [LogUnavailableError] * 5
        assert readings_of(log.entries).positions.device.tolist() == []


async def test_giving_up_ends_an_append_that_gets_no_answer(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    log.gate.clear()
    async with running(tmp_path, log) as rig:
        adding = asyncio.create_task(_add(rig.batcher, fixes(await rig.provision("a"))))
        async with asyncio.timeout(30):
            while not log.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        rig.batcher.give_up()
        rig.batcher.give_up()
        with pytest.raises(LogUnavailableError):
            await asyncio.wait_for(adding, 30)
