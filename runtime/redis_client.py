"""A Redis client with timeouts, and the wait for a server that is starting."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, MasterDownError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from runtime.problems import FatalError
from runtime.process import Stop


class RefusedError(ResponseError):
    """The server answers, and takes no writes: its disk or its memory is full, or it is no master. In its own words."""


AWAY: Final = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, RefusedError, OSError)
"""What the client raises while the server cannot be reached, is loading, or refuses; trying again may help."""

_REFUSALS: Final = (OutOfMemoryError, ReadOnlyError, MasterDownError)
_REFUSAL_CODES: Final = ("MISCONF ", "OOM ", "READONLY ", "NOREPLICAS ")
"""As they stand also in the middle of what a script says that failed for one of them."""


class _Connection:
    """Mixed into redis-py's."""

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002
        """Sends under `asyncio.timeout`. redis-py sends under `asyncio.wait_for`, which before Python 3.12 can swallow
        a cancellation that comes just as the bytes are out: the task would run on, and its process would never end.

        Raises ConnectionError where uvloop says RuntimeError: on a connection that the server has just closed.
        """
        timeout_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(timeout_s):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except RuntimeError as error:
            if "closed" not in str(error):
                raise
            raise RedisConnectionError(str(error)) from error
        finally:
            self.socket_timeout = timeout_s

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        """Raises RefusedError for what time or a person may mend."""
        try:
            return await super().read_response(*arguments, **named)  # type: ignore[misc]
        except ResponseError as error:
            if isinstance(error, _REFUSALS) or any(code in str(error) for code in _REFUSAL_CODES):
                raise RefusedError(str(error)) from error
            raise


def connect(url: str, *, max_connections: int = 32) -> redis.Redis:
    """A client for `url`. Nothing connects before the first command. Commands are not repeated by themselves: only the
    caller knows whether repeating one is harmless.
    """
    pool = redis.ConnectionPool.from_url(
        url,
        max_connections=max_connections,
        socket_connect_timeout=5.0,
        socket_timeout=30.0,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), 0),
        decode_responses=False,
    )
    pool.connection_class = type("Connection", (_Connection, pool.connection_class), {})
    return redis.Redis.from_pool(pool)


async def trouble(client: redis.Redis) -> str | None:
    """Why the server cannot be used now, in one line; None when it answers. A readiness check."""
    try:
        await client.ping()
    except AWAY as error:
        return f"Redis cannot be used: {error}"
    return None


async def wait_ready(client: redis.Redis, stop: Stop, *, seconds: float = 60.0) -> bool:
    """Waits for a server that is starting; False when asked to stop meanwhile. Raises FatalError after `seconds`."""
    deadline_s = asyncio.get_running_loop().time() + seconds
    while not stop.is_set():
        wrong = await trouble(client)
        if wrong is None:
            return True
        if asyncio.get_running_loop().time() > deadline_s:
            raise FatalError(wrong)
        await stop.wait_for(0.1)
    return False
