from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest

from ingest.mqtt.hooks import SocketTap, check_internals
from runtime.problems import FatalError


def test_the_installed_versions_can_be_used() -> None:
    check_internals()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (paho.Client, "_sock_recv"),
        (paho.Client, "_packet_queue"),
        (paho.Client, "_packet_read"),
        (aiomqtt.Client, "_on_socket_open"),
        (aiomqtt.Client, "_on_socket_close"),
    ],
)
def test_other_internals_are_said_in_one_line(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    monkeypatch.delattr(owner, name)
    with pytest.raises(FatalError, match=rf"aiomqtt [\d.]+ and paho-mqtt [\d.]+ cannot be used: .*{name}") as error:
        check_internals()
    assert "\n" not in str(error.value)


def test_a_method_with_another_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paho.Client, "_packet_queue", lambda self, packet: None)
    with pytest.raises(FatalError, match="_packet_queue does not take command, packet, mid, qos, info"):
        check_internals()


class Stingy:
    """A socket that takes three bytes, then none for once, and so on."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._takes = True

    def send(self, data: bytes) -> int:
        self._takes = not self._takes
        if self._takes:
            raise BlockingIOError
        return self._inner.send(bytes(data)[:3])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_acknowledgements_and_pings_do_not_mix_however_little_the_socket_takes() -> None:
    """What is sent in part goes on where it stopped, before anything of paho's, and the other way round."""
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    client = aiomqtt.Client("nowhere")
    tap = SocketTap(client, lambda: None, lambda: None)
    session: Any = client._client
    session._sock = tap._socket = Stingy(ours)
    expected = b""
    got = b""
    loop = asyncio.get_running_loop()
    for n in range(1, 40):
        acks = b"".join(b"\x40\x02" + (100 * n + i).to_bytes(2, "big") for i in range(n % 7 + 1))
        tap.send(acks)
        expected += acks
        if n % 3 == 0:
            session._send_pingreq()
            expected += b"\xc0\x00"
        if n % 5 == 0:
            await asyncio.sleep(0.001)
    async with asyncio.timeout(10):
        while len(got) < len(expected):
            got += await loop.sock_recv(theirs, 65_536)
    assert got == expected
    assert not session.want_write()
    session._sock = tap._socket = None
    loop.remove_writer(ours.fileno())
    ours.close()
    theirs.close()


async def test_after_the_end_nothing_is_sent_or_read() -> None:
    closed: list[int] = []
    client = aiomqtt.Client("nowhere")
    tap = SocketTap(client, lambda: None, lambda: closed.append(1))
    assert not tap.is_open
    tap.send(b"\x40\x02\x00\x01")
    tap.give_back(b"\xd0\x00")
    tap.end()
    tap.pause()
    tap.resume()
    assert tap.receive_into(memoryview(bytearray(10))) == -1
    assert not client._client.want_write()
    assert closed == []
