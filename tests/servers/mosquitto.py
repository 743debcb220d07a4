"""A real Mosquitto, configured to lose nothing."""

from __future__ import annotations

import getpass
import pathlib
import re
import socket
from collections.abc import Iterator
from typing import Final, Self

import pytest

from stack.ports import any_free
from tests.servers.process import ServerProcess, executable

SHIPPED: Final = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "mosquitto.conf"

_AS_WE_ARE: Final = f"user {getpass.getuser()}\n"
"""As root, it would become another user, who may not come into the folders of tests, and silently save nothing."""


class Mosquitto(ServerProcess):
    """Listens on `host`:`port`; `config` is the path of its configuration, `saved` that of what it keeps on disk."""

    host = "127.0.0.1"

    def __init__(self, folder: pathlib.Path, extra: str = "allow_anonymous true\n") -> None:
        self.port = any_free()
        self.config = folder / "mosquitto.conf"
        self.saved = folder / "mosquitto.db"
        self.config.write_text(
            f"listener {self.port} {self.host}\n"
            "persistence true\n"
            f"persistence_location {folder}/\n"
            "autosave_interval 1\n"
            "max_queued_messages 0\n"
            "max_inflight_messages 0\n"
            "set_tcp_nodelay true\n" + extra + ("" if re.search("^user ", extra, re.MULTILINE) else _AS_WE_ARE)
        )
        super().__init__([executable("mosquitto"), "-c", str(self.config)], folder, self._accepts)

    @classmethod
    def as_shipped(cls, folder: pathlib.Path) -> Self:
        """With deploy/mosquitto.conf: only port and folder are the test's."""
        made = cls(folder)
        text = SHIPPED.read_text()
        for line, ours in (
            (r"listener 1883 127\.0\.0\.1", f"listener {made.port} {made.host}"),
            (r"persistence_location .*", f"persistence_location {folder}/"),
        ):
            text, found = re.subn(f"^{line}$", ours, text, flags=re.MULTILINE)
            assert found == 1, line
        made.config.write_text(text + _AS_WE_ARE)
        return made

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
