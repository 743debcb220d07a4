"""The server: sockets, TLS, who calls, which method, and an end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self, cast

import grpc
import structlog

from runtime.grpc_server import Doorkeeper
from runtime.grpc_streams.call import Call, Receiver, trailers_of
from runtime.grpc_streams.framing import FramingError, timeout_s, trailers
from runtime.grpc_streams.http2 import Headers, Stream
from runtime.grpc_streams.liveness import Limits
from runtime.grpc_streams.peer import FAREWELL_S, GREETING_S, Peer
from runtime.grpc_streams.unary import Handlers, UnaryCall
from runtime.metrics import Gauge
from runtime.problems import FatalError, Problem, Unavailable

log = structlog.get_logger()

Method = Callable[[Call], Receiver]
"""Begins to serve a call. Raises a Problem to refuse it."""

_CONNECTIONS: Final = Gauge("drover_grpc_connections", "Connections open to servers of gRPC streams.")

_TOO_MANY: Final = "the server has as many connections as it may have: use fewer, or try again later"
# grpcio's own client, told so while it is writing the first message, says INTERNAL instead of what it was told (one in
# ten, if refused at once). Besides, whoever tries tokens waits.
_REFUSAL_S: Final = 0.02
_BACKLOG: Final = 4096
# Above the bound on connections so many more are let in to be told so; what comes beyond them is cut off.
_AT_THE_DOOR: Final = 64
_OTHER_FILES: Final = 256
_LOOK_S: Final = (0.01, 5.0)
"""How often connections are looked at, at least and at most."""


class GrpcStreamServer:
    """A server on `address` (host:port), as an async context.

    `methods` serve streams, by path; `services` add their handlers of single requests. With `tls`, HTTP/2 has to be
    agreed on by ALPN. Raises FatalError when the address is taken. `port` is the port bound, for an address that ended
    in :0. Leaving the context lets calls end for `grace_s` seconds, and cuts them off then.

    Calls of connections beyond `limits.max_connections`, or beyond what files the process may open, are answered with
    UNAVAILABLE and the code `too_many_connections`.
    """

    def __init__(
        self,
        address: str,
        doorkeeper: Doorkeeper,
        methods: Mapping[str, Method],
        services: Iterable[Callable[[grpc.aio.Server], None]] = (),
        *,
        tls: ssl.SSLContext | None = None,
        grace_s: float = 5.0,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.limits: Final = limits
        self._most = limits.max_connections
        self._address: Final = address
        self._doorkeeper: Final = doorkeeper
        self._tls: Final = tls
        self._grace_s: Final = grace_s
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        handlers = Handlers()
        for add in services:
            add(cast("grpc.aio.Server", handlers))
        self._methods: Final[dict[bytes, Method]] = {path.encode(): method for path, method in methods.items()}
        for path, handler in handlers.by_path.items():
            self._methods[path.encode()] = self._unary(handler)
        self._peers: Final[set[Peer]] = set()
        self._admitted = 0
        self._unflushed: Final[set[Peer]] = set()
        self._calls: Final[set[Call]] = set()
        self._changed: Final = asyncio.Event()
        self.port = 0

    def _unary(self, handler: grpc.RpcMethodHandler[Any, Any]) -> Method:
        return lambda call: UnaryCall(call, handler, self._tasks)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._most = _connections_allowed(self.limits.max_connections)
        listening = _listening(self._address)
        self._listener = await self._loop.create_server(
            lambda: Peer(self),
            sock=listening,
            ssl=self._tls,
            backlog=_BACKLOG,
            ssl_handshake_timeout=GREETING_S if self._tls else None,
        )
        self.port = listening.getsockname()[1]
        self._looking = self._loop.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._looking.cancel()
        self._listener.close()
        for peer in tuple(self._peers):
            peer.go_away()
        await self._until(lambda: not self._calls, self._grace_s)
        # Callers that were asked to go away close by themselves. A connection that we close while they still send is
        # reset, and takes along what they have not read yet: the last receipts.
        await self._until(lambda: not self._peers, FAREWELL_S)
        for peer in tuple(self._peers):
            peer.close()
        await self._until(lambda: not self._peers, FAREWELL_S)
        for peer in tuple(self._peers):
            peer.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _until(self, is_so: Callable[[], bool], at_most_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while not is_so():
                    self._changed.clear()
                    await self._changed.wait()

    async def _look(self) -> None:
        """Ends connections that nobody uses, and finds those whose peer is gone."""
        shortest_s = min(self.limits.idle_s, self.limits.ping_after_s, self.limits.ping_timeout_s)
        every_s = min(max(shortest_s / 4, _LOOK_S[0]), _LOOK_S[1])
        while True:
            looked_s = self._loop.time()
            await asyncio.sleep(every_s)
            now_s = self._loop.time()
            if now_s - looked_s > 2 * every_s:
                continue  # we were busy: what the peers said meanwhile has not been read yet
            for peer in tuple(self._peers):
                peer.look(now_s)

    def enter(self, peer: Peer) -> bool:
        """A connection. False when there are too many to let it in: it is ended at once."""
        if len(self._peers) >= self._most + _AT_THE_DOOR:
            return False
        peer.is_too_many = self._admitted >= self._most
        self._admitted += not peer.is_too_many
        self._peers.add(peer)
        _CONNECTIONS.inc()
        return True

    def leave(self, peer: Peer) -> None:
        """It is lost."""
        if peer in self._peers:
            self._peers.discard(peer)
            self._admitted -= not peer.is_too_many
            _CONNECTIONS.dec()
        self._unflushed.discard(peer)
        self._changed.set()

    def flush_soon(self, peer: Peer) -> None:
        """One write a connection for all that is sent in a turn of the loop."""
        if not self._unflushed:
            self._loop.call_soon(self._flush)
        self._unflushed.add(peer)

    def _flush(self) -> None:
        unflushed = tuple(self._unflushed)
        self._unflushed.clear()
        for peer in unflushed:
            peer.flush()

    def open(self, peer: Peer, stream: Stream, headers: Headers) -> None:
        """A request begins."""
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        media = fields.get("content-type", "").partition(";")[0]
        if fields.get(":method") != "POST":
            peer.http2.end(stream, ((b":status", b"405"),))
        elif media != "application/grpc" and not media.startswith("application/grpc+"):
            peer.http2.end(stream, ((b":status", b"415"),))
        else:
            refusal = self._serve(peer, stream, fields)
            if refusal is not None:
                self._loop.call_later(_REFUSAL_S, peer.refuse, stream, refusal)

    def _serve(self, peer: Peer, stream: Stream, fields: Mapping[str, str]) -> Headers | None:
        if peer.is_too_many:
            return trailers_of(Unavailable(_TOO_MANY, code="too_many_connections"))
        method = self._methods.get(fields[":path"].encode("latin-1"))
        if method is None:
            return trailers(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")
        if fields.get("grpc-encoding", "identity") != "identity":
            accepted = ((b"grpc-accept-encoding", b"identity"),)
            return trailers(grpc.StatusCode.UNIMPLEMENTED, "messages may not be compressed", accepted)
        within_s = None
        if "grpc-timeout" in fields:
            try:
                within_s = timeout_s(fields["grpc-timeout"].encode("latin-1"))
            except FramingError as error:
                return trailers(error.status, str(error))
        try:
            caller = self._doorkeeper.admit(fields, peer.common_names)
            call = Call(peer, stream, caller, self._over)
            call.receiver = method(call)
        except Problem as problem:
            return trailers_of(problem)
        self._calls.add(call)
        stream.user = call
        if within_s is not None:
            call.deadline = self._loop.call_later(within_s, call.expire)
        return None

    def _over(self, call: Call) -> None:
        self._calls.discard(call)
        if not self._calls:
            self._changed.set()


def _connections_allowed(wanted: int) -> int:
    """As many as wanted, and as the process may have files open for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, files - _OTHER_FILES))
    if allowed < wanted:
        log.warning("fewer connections than wanted: the limit of open files", wanted=wanted, allowed=allowed)
    return allowed


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_v6 = ":" in host
    refused = f"cannot listen on {address}: the port is taken or the address is not ours"
    if not port.isdecimal() or int(port) >= 2**16:  # create_server would leave its socket open
        raise FatalError(refused)
    try:
        return socket.create_server(
            (host, int(port)),
            family=socket.AF_INET6 if is_v6 else socket.AF_INET,
            backlog=_BACKLOG,
            dualstack_ipv6=is_v6 and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise FatalError(refused) from error
