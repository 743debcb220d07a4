"""The server's side of a WebSocket, with its write buffer in sight.

ASGI lets an application send and wait, but not ask whether the client has read what was sent before. `Flow` can be
asked; so frames are made for those who will read them, and only then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Final

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_EXTENSION: Final = "drover.flow"


class Flow:
    """How far a client is behind in reading."""

    def __init__(self, transport: asyncio.WriteTransport, writable: asyncio.Event) -> None:
        self._transport = transport
        self._writable = writable

    def limit(self, buffer_bytes: int) -> None:
        """Bounds what waits unsent: in the process, and as much again in the kernel, whose own bound is megabytes:
        minutes of frames that a slow client would have to read before it came to the present.
        """
        self._transport.set_write_buffer_limits(high=buffer_bytes)
        handle = self._transport.get_extra_info("socket")
        if handle is not None:
            with contextlib.suppress(OSError), socket.socket(fileno=socket.dup(handle.fileno())) as twin:
                twin.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)

    async def drained(self, seconds: float) -> bool:
        """Waits until less than the limit waits unsent; False when that took longer than `seconds`."""
        if self._writable.is_set():
            return True
        try:
            await asyncio.wait_for(self._writable.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def cut(self) -> None:
        """Ends the connection at once: a client that reads nothing would not read a goodbye either."""
        self._transport.abort()


class ObservedWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol; it puts a Flow into the scope. Reaches inside: `writable` and `scope` are uvicorn's own."""

    def handle_connect(self, event: Any) -> None:
        """Called when the handshake's request is complete; the application's task has not run yet."""
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][_EXTENSION] = Flow(self.transport, self.writable)


def flow_of(scope: Scope) -> Flow | None:
    """The Flow of a connection; None on a server that is not ours, as in a test without sockets."""
    found: Flow | None = scope.get("extensions", {}).get(_EXTENSION)
    return found
