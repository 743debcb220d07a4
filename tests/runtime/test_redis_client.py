"""The client against a real Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop
from redis.exceptions import ResponseError

from runtime import redis_client
from tests.servers.fault_proxy import FaultProxy
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.server


async def test_a_cancellation_is_never_swallowed(redis_url: str) -> None:
    """A task that is always about to send ends when it is cancelled, whatever the moment."""
    async with redis_client.connect(redis_url) as client:

        async def busy() -> None:
            while True:
                await client.ping()

        for number in range(300):
            task = asyncio.create_task(busy())
            for _ in range(number % 30):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=2)
            assert done, f"cancelled after {number % 30} turns of the loop, it runs on"


@pytest.mark.parametrize("way", ["plain", "transaction", "script"])
async def test_a_full_server_is_one_to_wait_for(redis_server: RedisServer, redis_url: str, way: str) -> None:
    async with redis_client.connect(redis_url) as client:

        async def write() -> object:
            if way == "script":
                return await client.eval("return redis.call('XADD', KEYS[1], '*', 'k', 'v')", 1, "full")
            if way == "plain":
                return await client.xadd("full", {"k": "v"})
            pipeline = client.pipeline(transaction=True)
            pipeline.xadd("full", {"k": "v"})
            return await pipeline.execute()

        redis_server.command_line("CONFIG SET maxmemory 1")
        try:
            with pytest.raises(redis_client.RefusedError, match=r"maxmemory|OOM"):
                await write()
        finally:
            redis_server.command_line("CONFIG SET maxmemory 0")
        assert await client.xlen("full") == 0
        await write()
        with pytest.raises(ResponseError, match="WRONGTYPE") as error:
            await client.incr("full")
        assert not isinstance(error.value, redis_client.AWAY)


def test_a_connection_reset_under_the_hand_is_a_server_that_is_away(redis_server: RedisServer) -> None:
    """With the event loop of our processes, which has an error of its own for it."""

    async def send_on_a_closed_one() -> None:
        async with (
            FaultProxy(redis_server.port).serving() as proxy,
            redis_client.connect(f"redis://127.0.0.1:{proxy.port}/0") as client,
        ):
            connection: Any = await client.connection_pool.get_connection()
            proxy.cut(is_reset=True)
            async with asyncio.timeout(30):
                while "closed=True" not in repr(connection._writer.transport):  # noqa: ASYNC110
                    await asyncio.sleep(0)
            with pytest.raises(redis_client.AWAY):
                await connection.send_command("PING")
            await connection.disconnect()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_on_a_closed_one())


async def test_blocking_reads_outlast_idle_times(redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        assert await client.xread({"nothing": "0-0"}, block=50) in ([], {}, None)
        assert await client.ping()
