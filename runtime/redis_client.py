"""A Redis client with timeouts, and the wait for a server that is starting."""

from __future__ import annotations

import asyncio
from typing import Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

AWAY: Final = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, OSError)
"""What the client raises while the server cannot be reached or is loading; trying again may help."""


def connect(url: str, *, max_connections: int = 32) -> redis.Redis:
    """A client for `url`. Nothing connects before the first command. Commands are not repeated by themselves: only the
    caller knows whether repeating one is harmless.
    """
    client: redis.Redis = redis.from_url(
        url,
        max_connections=max_connections,
        socket_connect_timeout=5.0,
        socket_timeout=30.0,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), 0),
        decode_responses=False,
    )
    return client


async def wait_ready(client: redis.Redis, *, seconds: float = 30.0) -> None:
    """Returns when the server answers. Raises the last connection error after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            await client.ping()
        except AWAY:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return
