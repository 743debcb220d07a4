"""The log against a real Redis: what is appended is read, in order, once."""

from __future__ import annotations

import pytest

from runtime import redis_client
from runtime.partitioned_log import START, Append, RedisStreamLog, offset_key
from runtime.problems import FatalError
from runtime.process import Stop
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.server


async def test_reads_what_was_appended_in_order(redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        log = RedisStreamLog(client, 3)
        offsets = await log.append([Append(n % 2, n + 1, bytes([n]) * n) for n in range(20)])
        entries = await log.read_from({0: START, 1: START, 2: START}, max_entries=100)
        assert len(entries) == 20
        for partition in (0, 1):
            mine = [entry for entry in entries if entry.partition == partition]
            assert [entry.kind for entry in mine] == [n + 1 for n in range(20) if n % 2 == partition]
            assert [entry.payload for entry in mine] == [bytes([n]) * n for n in range(20) if n % 2 == partition]
            assert [entry.offset for entry in mine] == [offsets[n] for n in range(20) if n % 2 == partition]
            assert [entry.offset for entry in mine] == sorted((entry.offset for entry in mine), key=offset_key)
        rest = await log.read_from({0: offsets[10]}, max_entries=2)
        assert [entry.payload for entry in rest] == [bytes([12]) * 12, bytes([14]) * 14]
        assert await log.read_from({2: START}, wait_ms=10) == []
        assert await log.end(1) == offsets[19]
        assert await log.end(2) == START
        assert await log.length(0) == 10


async def test_trim_keeps_what_comes_after(redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        log = RedisStreamLog(client, 1)
        offsets = [(await log.append([Append(0, 1, b"x")]))[0] for _ in range(500)]
        await log.trim(0, offsets[400])
        kept = [entry.offset for entry in await log.read_from({0: START}, max_entries=1000)]
        assert kept[-100:] == offsets[400:]
        assert len(kept) < 500


async def test_the_number_of_partitions_is_fixed(redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        await RedisStreamLog(client, 3).check_partitions()
        await RedisStreamLog(client, 3).check_partitions()
        with pytest.raises(FatalError, match="set partitions = 3"):
            await RedisStreamLog(client, 4).check_partitions()


async def test_answered_appends_survive_kill_9(redis_server: RedisServer, redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        log = RedisStreamLog(client, 2)
        offsets = [(await log.append([Append(n % 2, 1, b"%d" % n)]))[0] for n in range(200)]
        redis_server.kill()
        with pytest.raises(redis_client.AWAY):
            await log.append([Append(0, 1, b"lost")])
        redis_server.start()
        assert await redis_client.wait_ready(client, Stop())
        entries = await log.read_from({0: START, 1: START}, max_entries=1000)
        assert {entry.offset for entry in entries} == set(offsets)
