"""Which ports the stack listens on: one that a person asked for, or none; a default moves on where it is taken."""

from __future__ import annotations

import pathlib
import secrets
import socket
from collections.abc import Callable
from typing import Final

from runtime.problems import FatalError

_LOWEST: Final = 10_000
_EPHEMERAL: Final = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: Final[set[int]] = set()
"""By `any_free` of this process: never twice."""


def _first_ephemeral() -> int:
    """The lowest port of those for the near ends of connections: Linux says; elsewhere it is what IANA says."""
    first = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 49_152
    return first if first > _LOWEST + 1_000 else 32_768


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def any_free() -> int:
    """A free port, below those that the system gives to the near ends of connections: one of these would be free now,
    and perhaps taken by some client's connection before the server that is to listen there has started.
    """
    ports = range(_LOWEST, _first_ephemeral())
    for _ in range(1_000):
        port = ports[secrets.randbelow(len(ports))]
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise FatalError(f"no port between {ports.start} and {ports.stop} is free")


def exact(port: int, what: str, option: str) -> int:
    """This port and no other. Raises FatalError, naming the option that chooses another."""
    if port == 0:
        return any_free()
    if not is_free(port):
        raise FatalError(f"port {port} for {what} is taken; choose another with {option}")
    return port


def chosen(asked: int | None, default: int, what: str, option: str, say: Callable[[str], None]) -> int:
    """The port asked for, or the default, or, when only the default is taken, the next free one, and then says so."""
    if asked is not None:
        return exact(asked, what, option)
    if is_free(default):
        return default
    port = next((port for port in range(default + 1, default + 50) if is_free(port)), None) or any_free()
    say(f"port {default} is taken, so {what} is at {port}")
    return port
