"""The one place that reaches inside aiomqtt and paho: their session stays, the socket is read and acknowledged by us.

aiomqtt connects, authenticates, subscribes, pings and disconnects through a paho client, whose socket it watches from
the event loop. `SocketTap` takes over the reading: it gives the owner every byte, and gives paho back those packets
that are paho's, by standing where paho reads from its socket. What it needs of private names, and why no public one
will do, is docs/adr/0004-private-hooks-in-aiomqtt.md; `check_internals` finds out at start whether they are still so.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import inspect
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import aiomqtt
import paho.mqtt.client as paho

from runtime.problems import FatalError

_PUBACK: Final = 0x40
_PINGRESP: Final = b"\xd0\x00"
_SUCCESS: Final = paho.MQTT_ERR_SUCCESS


def check_internals() -> None:
    """Raises FatalError, in one line, when aiomqtt or paho are not inside as `SocketTap` needs them to be."""
    wrong = next(_differences(), None)
    if wrong is not None:
        versions = " and ".join(f"{name} {importlib.metadata.version(name)}" for name in ("aiomqtt", "paho-mqtt"))
        raise FatalError(f"{versions} cannot be used: {wrong}; install aiomqtt>=2.5.1,<3 with paho-mqtt>=2.1,<2.3")


def _differences() -> Any:
    for name, parameters in (
        ("_sock_recv", ["self", "bufsize"]),
        ("_packet_queue", ["self", "command", "packet", "mid", "qos", "info"]),
        ("loop_read", ["self", "max_packets"]),
    ):
        method = getattr(paho.Client, name, None)
        if method is None or list(inspect.signature(method).parameters) != parameters:
            yield f"paho's Client.{name} does not take {', '.join(parameters[1:])}"
    for owner, name, called in (
        (paho.Client, "_packet_read", "_sock_recv"),
        (paho.Client, "loop_read", "_packet_read"),
        (paho.Client, "_packet_queue", "_out_packet"),
        (paho.Client, "want_write", "_out_packet"),
        (paho.Client, "_handle_pingresp", "_ping_t"),
        (aiomqtt.Client, "_on_socket_open", "call_soon_threadsafe"),
        (aiomqtt.Client, "_on_socket_close", "remove_reader"),
        (aiomqtt.Client, "__init__", "on_socket_open"),
        (aiomqtt.Client, "__init__", "_client"),
    ):
        method = getattr(owner, name, None)
        if method is None or called not in method.__code__.co_names:
            yield f"{owner.__module__}'s Client.{name} does not use {called}"


def paho_of(client: aiomqtt.Client) -> paho.Client:
    """The paho client under an aiomqtt client."""
    return client._client  # noqa: SLF001


class SocketTap:
    """The socket of an aiomqtt client that has not connected yet, read by `on_readable` instead of by paho.

    `on_readable` is called in the event loop when there may be bytes; it takes them with `receive_into`, and hands
    whole packets that are not its own to `give_back`. `on_closed` is called once, when the socket closes, whoever
    closes it. All of it belongs to one connection: after it, `send` and the others do nothing.
    """

    def __init__(self, client: aiomqtt.Client, on_readable: Callable[[], None], on_closed: Callable[[], None]) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._paho: Final = paho_of(client)
        self._on_readable: Final = on_readable
        self._on_closed: Final = on_closed
        self._aiomqtt_opened: Final[Any] = self._paho.on_socket_open
        self._aiomqtt_closed: Final[Any] = self._paho.on_socket_close
        self._socket: socket.socket | None = None
        self._was_closed = False
        self._is_reading = False
        self._for_paho = b""
        self._is_at_end = False
        self._paho.on_socket_open = self._opened
        self._paho.on_socket_close = self._closed
        self._paho._sock_recv = self._paho_receives  # type: ignore[method-assign]  # noqa: SLF001

    @property
    def is_open(self) -> bool:
        """Whether there is a socket."""
        return self._socket is not None

    @property
    def has_hidden_bytes(self) -> bool:
        """Whether TLS has decrypted bytes that the event loop does not know of."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def receive_into(self, view: memoryview) -> int:
        """Receives into `view`; how many bytes: 0 at the end of the stream, -1 when there are none now.

        Raises OSError when the connection is broken.
        """
        if self._socket is None:
            return -1
        received = 0
        try:
            received = self._socket.recv_into(view)
            # TLS gives one record of at most 16 KiB a call.
            while isinstance(self._socket, ssl.SSLSocket) and 0 < received < len(view):
                more = self._socket.recv_into(view[received:])
                if more == 0:
                    break  # the end is seen again at the next call
                received += more
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return received or -1
        return received

    def give_back(self, packets: bytes) -> None:
        """Lets paho handle whole packets, as if it had read them from the socket."""
        self._for_paho = packets
        while self._for_paho and self._socket is not None:
            if self._paho.loop_read() != _SUCCESS:
                break
        self._for_paho = b""

    def forgive_ping(self) -> None:
        """Lets paho believe that its ping was answered: the answer may wait behind bytes that we do not read now."""
        self.give_back(_PINGRESP)

    def end(self) -> None:
        """Lets paho find the connection lost, which closes it and tells aiomqtt."""
        if self._socket is not None:
            self._is_at_end = True
            # aiomqtt then asks how its connecting ended, which raises where we have cancelled that.
            with contextlib.suppress(asyncio.CancelledError):
                self._paho.loop_read()

    def send(self, packets: bytes) -> bool:
        """Sends packets, in order and without mixing with what paho sends: at once as far as the socket takes them, the
        rest through paho's queue. Returns whether there was a connection to send them on.
        """
        if self._socket is None:
            return False
        sent = 0
        if not self._paho.want_write():
            try:
                sent = self._socket.send(packets)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                sent = 0
            except OSError:
                self.end()
                return False
        if sent < len(packets):
            self._paho._packet_queue(_PUBACK, packets[sent:], 0, 1)  # noqa: SLF001
        return True

    def pause(self) -> None:
        """No more `on_readable` until `resume`."""
        if self._is_reading and self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._is_reading = False

    def resume(self) -> None:
        """Calls `on_readable` again when there may be bytes."""
        if not self._is_reading and self._socket is not None:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)
            self._is_reading = True

    def _opened(self, client: paho.Client, userdata: Any, opened: Any) -> None:
        """Called by paho in the thread that connects, before it sends CONNECT.

        aiomqtt adds its reader and its keep-alive task; ours takes the reader's place right after, and nothing can
        have been read between: there is no answer before CONNECT.
        """
        self._aiomqtt_opened(client, userdata, opened)
        self._loop.call_soon_threadsafe(self._take_over, opened)

    def _take_over(self, opened: socket.socket) -> None:
        if opened.fileno() == -1:
            self._was_closed = True
            self._on_closed()
            return
        self._socket = opened
        self.resume()

    def _closed(self, client: paho.Client, userdata: Any, closing: Any) -> None:
        """Called by paho right before it closes the socket, in the event loop."""
        self._aiomqtt_closed(client, userdata, closing)
        self._socket = None
        self._is_reading = False
        if not self._was_closed:
            self._was_closed = True
            self._on_closed()

    def _paho_receives(self, bufsize: int) -> bytes:
        """In place of paho's read from the socket."""
        if self._is_at_end:
            return b""
        if not self._for_paho:
            raise BlockingIOError
        data, self._for_paho = self._for_paho[:bufsize], self._for_paho[bufsize:]
        return data
