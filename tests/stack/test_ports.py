"""Ports that the stack and the tests choose: no connection's near end takes one before its server listens."""

from __future__ import annotations

import pathlib
import socket

import pytest

from runtime.problems import FatalError
from stack import ports


def test_a_free_port_is_below_those_of_near_ends_and_never_given_twice() -> None:
    chosen = [ports.any_free() for _ in range(50)]
    assert len(set(chosen)) == 50
    assert all(10_000 <= port < ports._first_ephemeral() for port in chosen)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        assert near.getsockname()[1] >= ports._first_ephemeral()


def test_a_port_that_somebody_listens_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(FatalError, match="no port between"):
        ports.any_free()


def test_the_system_says_where_near_ends_begin(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    said = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "_EPHEMERAL", said)
    assert ports._first_ephemeral() == 49_152
    said.write_text("20000\t60999\n")
    assert ports._first_ephemeral() == 20_000
    said.write_text("1024\t65535\n")
    assert ports._first_ephemeral() > 11_000
