"""The proxy does to connections what the fault tests say it does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.servers.fault_proxy import FAIR, FaultProxy, Weather

DATA = bytes(range(256)) * 8


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    await _close(writer)


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """Before a server that answers with what it is sent."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with FaultProxy(server.sockets[0].getsockname()[1], seed=1).serving() as made:
        yield made
    server.close()
    await server.wait_closed()


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def sends_and_gets(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(30):
            assert await self.reader.readexactly(len(data)) == data


async def _connect(proxy: FaultProxy) -> Peer:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
    await peer.sends_and_gets(b"hello")
    return peer


@pytest.mark.parametrize("weather", [FAIR, Weather(delay_s=0.01), Weather(largest_piece=3), Weather(bytes_per_s=1e5)])
async def test_bytes_come_through_in_order(proxy: FaultProxy, weather: Weather) -> None:
    peer = await _connect(proxy)
    proxy.weather = weather
    await peer.sends_and_gets(DATA)
    await _close(peer.writer)


async def test_bytes_come_in_pieces_drawn_from_the_seed(proxy: FaultProxy) -> None:
    pieces = proxy._pieces(DATA[:100], Weather(largest_piece=7))
    assert b"".join(pieces) == DATA[:100]
    assert {len(piece) for piece in pieces} > {1, 7}
    assert pieces == FaultProxy(0, seed=1)._pieces(DATA[:100], Weather(largest_piece=7))


async def test_a_reset_is_an_error_and_an_end_is_none(proxy: FaultProxy) -> None:
    first, second = await _connect(proxy), await _connect(proxy)
    assert proxy.cut(is_reset=True) == 2
    for peer in (first, second):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(peer.reader.read(1), 30)
        await _close(peer.writer)
    third = await _connect(proxy)
    assert proxy.cut(is_reset=False) == 1
    assert await asyncio.wait_for(third.reader.read(1), 30) == b""
    await _close(third.writer)


async def test_what_vanished_never_comes_and_the_connection_is_reset_after(proxy: FaultProxy) -> None:
    silenced, idle = await _connect(proxy), await _connect(proxy)
    proxy.weather = Weather(is_silent=True)
    silenced.writer.write(DATA)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(silenced.reader.read(1), 0.1)
    proxy.weather = FAIR
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(silenced.reader.read(1), 30)
    await idle.sends_and_gets(DATA)
    for peer in (silenced, idle):
        await _close(peer.writer)


async def test_a_server_that_is_away_is_a_reset() -> None:
    async with FaultProxy(1).serving() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 30)
        await _close(writer)
