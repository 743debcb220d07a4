"""A real Mosquitto, configured to lose nothing."""

from __future__ import annotations

import pathlib
import socket
from collections.abc import Iterator

import pytest

from tests.servers.process import ServerProcess, executable, free_port


class Mosquitto(ServerProcess):
    """Listens on `host`:`port`; `config` is the path of its configuration."""

    host = "127.0.0.1"

    def __init__(self, folder: pathlib.Path, extra: str = "allow_anonymous true\n") -> None:
        self.port = free_port()
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} {self.host}\n"
            "persistence true\n"
            f"persistence_location {folder}/\n"
            "autosave_interval 1\n"
            "max_queued_messages 0\n"
            "max_inflight_messages 0\n"
            "set_tcp_nodelay true\n" + extra
        )
        super().__init__([executable("mosquitto"), "-c", str(self.config)], folder, self._accepts)
        folder.chmod(0o777)  # as root, mosquitto drops to its own user

    def _accepts(self) -> bool:
        with socket.create_connection((self.host, self.port), 1.0):
            return True


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """One broker for the session; tests use client ids and topics of their own."""
    server = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    server.start()
    yield server
    server.stop()
