"""A real Redis with the append-only file on."""

from __future__ import annotations

import pathlib
import socket
from collections.abc import Iterator
from typing import Final

import pytest

from stack.ports import any_free
from tests.servers.process import ServerProcess, executable

SHIPPED: Final = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "redis.conf"


class RedisServer(ServerProcess):
    """Has the shipped configuration; only port and folder are the test's. `url` names its database 0."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.port = any_free()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = [executable("redis-server"), str(SHIPPED), "--port", str(self.port), "--dir", str(folder)]
        super().__init__(command, folder, self._pings)

    def _pings(self) -> bool:
        return self.command_line("PING") == "+PONG"

    def command_line(self, text: str) -> str:
        """The first line of the answer to an inline command."""
        with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            connection.sendall(text.encode() + b"\r\n")
            return connection.recv(4096).split(b"\r\n")[0].decode()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the session. Tests that kill it start it again; tests that need it empty take `redis_url`."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of a Redis that is empty."""
    assert redis_server.command_line("FLUSHALL") == "+OK"
    return redis_server.url
