"""uvicorn inside a process that has its own signals and its own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

from runtime.problems import FatalError


class _Server(uvicorn.Server):
    """Leaves signals to runtime.process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises FatalError when the port is taken or the address is not ours."""
    try:
        return socket.create_server(
            (host, port), backlog=1024, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise FatalError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


@contextlib.asynccontextmanager
async def serving(app: Any, host: str, port: int, **options: Any) -> AsyncIterator[int]:
    """Serves an ASGI application while the context lasts; gives the port bound. `options` are uvicorn's."""
    listening = bind(host, port)
    bound: int = listening.getsockname()[1]
    server = _Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5, **options))
    task = asyncio.create_task(server.serve([listening]))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn offers no event to wait for
            await asyncio.sleep(0.005)
        yield bound
    finally:
        server.should_exit = True
        await task
        listening.close()
