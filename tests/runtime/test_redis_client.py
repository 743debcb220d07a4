"""The client against a real Redis."""

from __future__ import annotations

import asyncio

import pytest

from runtime import redis_client

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


async def test_blocking_reads_outlast_idle_times(redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        assert await client.xread({"nothing": "0-0"}, block=50) in ([], {}, None)
        assert await client.ping()
