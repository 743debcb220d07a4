"""A TCP proxy that behaves as bad networks do: slow, sliced, cut off, or silent without a word."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from stack.ports import any_free

_READ_BYTES: Final = 65_536
_MOST_PIECES: Final = 200
"""Of one read: to send megabytes byte by byte would be a test of patience."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Weather(NamedTuple):
    """How connections are while it lasts."""

    delay_s: float = 0.0
    """Added to every read."""
    bytes_per_s: float = 0.0
    """At most, in each direction of each connection; 0 is no limit."""
    largest_piece: int = 0
    """What is read goes on in pieces of 1 to so many bytes; 0 leaves it whole."""
    is_silent: bool = False
    """Half-open: bytes vanish, in both directions, and nobody is told. Connections that lost some are reset after."""


FAIR: Final = Weather()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    if raw.fileno() != -1:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class _Connection:
    """One client, and the server on its behalf."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers: Final = (client, server)
        self.has_lost_bytes = False

    def cut(self, *, is_reset: bool) -> None:
        """Ends it: by RST, which may overtake bytes on their way, or by FIN, which does not."""
        for writer in self.writers:
            if is_reset:
                _reset(writer)
            else:
                writer.close()


class FaultProxy:
    """Listens on `port` and passes on to `target_port` of this machine, in the present `weather`."""

    def __init__(self, target_port: int, seed: int = 0) -> None:
        self.port = any_free()
        self._target_port: Final = target_port
        self._chance: Final = random.Random(seed)
        self._connections: Final[set[_Connection]] = set()
        self._weather = FAIR
        self._tasks: Final[set[asyncio.Task[None]]] = set()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    @property
    def weather(self) -> Weather:
        """What to do to bytes that come from now on."""
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        if not weather.is_silent:
            for connection in list(self._connections):
                if connection.has_lost_bytes:
                    connection.cut(is_reset=True)

    def cut(self, *, is_reset: bool) -> int:
        """Ends all connections there are; returns how many."""
        cut = list(self._connections)
        for connection in cut:
            connection.cut(is_reset=is_reset)
        return len(cut)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[FaultProxy]:
        """Listens while the context lasts."""
        server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, limit=_READ_BYTES)
        try:
            yield self
        finally:
            server.close()
            self.cut(is_reset=True)
            while self._tasks:
                await asyncio.wait(self._tasks)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port, limit=_READ_BYTES)
        except OSError:
            _reset(writer)
            await _closed(writer)
            return
        connection = _Connection(writer, to_server)
        self._connections.add(connection)
        for each in connection.writers:
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass_on(connection, reader, to_server))
                ways.create_task(self._pass_on(connection, from_server, writer))
        finally:
            self._connections.discard(connection)
            for each in connection.writers:
                await _closed(each)

    async def _pass_on(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                weather = self._weather
                if weather.is_silent or connection.has_lost_bytes:
                    connection.has_lost_bytes = True
                    continue
                if weather.delay_s:
                    await asyncio.sleep(weather.delay_s)
                for piece in self._pieces(data, weather):
                    writer.write(piece)
                    await writer.drain()
                    # A throttle holds only as long as its weather: nobody waits for a storm that is over.
                    if weather.bytes_per_s and self._weather is weather:
                        await asyncio.sleep(len(piece) / weather.bytes_per_s)
                    elif len(piece) < len(data):
                        await asyncio.sleep(0)
        # The other way may have bytes yet: a half-closed connection is a connection.
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()

    def _pieces(self, data: bytes, weather: Weather) -> list[bytes]:
        size = weather.largest_piece or (max(1, int(weather.bytes_per_s / 20)) if weather.bytes_per_s else 0)
        if not size:
            return [data]
        pieces: list[bytes] = []
        at = 0
        while at < len(data) and len(pieces) < _MOST_PIECES:
            step = self._chance.randint(1, size) if weather.largest_piece else size
            pieces.append(data[at : at + step])
            at += step
        return [*pieces, data[at:]] if at < len(data) else pieces
