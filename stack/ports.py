"""Which ports the stack listens on: one that a person asked for, or none; a default moves on where it is taken."""

from __future__ import annotations

import socket
from collections.abc import Callable

from runtime.problems import FatalError


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
    """A port that the system finds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
