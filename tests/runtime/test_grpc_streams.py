"""The server of gRPC streams, with grpcio's own clients and with some that are odd."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import grpc
import h2.config
import h2.connection
import h2.events
import pytest

from runtime.grpc_client import channel, metadata, problem_of
from runtime.grpc_server import MAX_MESSAGE_BYTES, Doorkeeper, caller, require
from runtime.grpc_streams import peer as peer_module
from runtime.grpc_streams.call import Call
from runtime.grpc_streams.liveness import Limits
from runtime.grpc_streams.server import GrpcStreamServer
from runtime.problems import Conflict, Exhausted, FatalError, Forbidden, NotFound, Unauthenticated, Unavailable
from runtime.tokens import KeyPair, Role, load_or_create_keys
from tests.servers.certificates import Authority

PATIENCE_S: Final = 60.0
PATIENT: Final = Limits()


class Missing(NotFound):
    code = "no_such_thing"


async def _whoami(request: bytes, _context: Any) -> bytes:
    match request:
        case b"missing":
            raise Missing("there is no thing: 100 % – none")
        case b"admin":
            require(Role.ADMIN)
        case b"bug":
            raise ZeroDivisionError
        case b"never":
            await asyncio.Event().wait()
    who = caller()
    return f"{who.subject}/{who.tenant}/{who.role.value}".encode()


def _add(server: grpc.aio.Server) -> None:
    handlers = {"WhoAmI": grpc.unary_unary_rpc_method_handler(_whoami)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", handlers)])
    registering: Any = server
    registering.add_registered_method_handlers("test.Test", handlers)


class Echo:
    """Says what it hears; some words are special."""

    def __init__(self, call: Call, made: list[Echo]) -> None:
        if call.caller.role is Role.VIEWER:
            raise Forbidden("not for viewers")
        self.call = call
        self.heard: list[bytes] = []
        self.is_ready = True
        self.is_lost = False
        self.is_flooding = False
        self.sent = 0
        made.append(self)

    def received(self, message: bytes) -> bool:
        if not self.is_ready:
            return False
        self.heard.append(message)
        match message:
            case b"conflict":
                self.call.end(Conflict("not now"))
            case b"flood":
                self.is_flooding = True
                self.cleared()
            case _:
                self.call.send(message)
        return True

    def ended(self) -> None:
        self.call.end()

    def cleared(self) -> None:
        while self.is_flooding:
            self.sent += 1
            if not self.call.send(bytes(10_000)):
                return
            if self.sent >= 5_000:
                self.call.end()
                return

    def lost(self) -> None:
        self.is_lost = True


class At(NamedTuple):
    """A running server."""

    server: GrpcStreamServer
    keys: KeyPair
    echoes: list[Echo]

    def metadata(self, role: Role = Role.ADMIN) -> Any:
        return metadata(self.keys.issuer.issue("ada", "acme", role, 60))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@contextlib.asynccontextmanager
async def serving(
    folder: pathlib.Path, grace_s: float = 0.1, tls: ssl.SSLContext | None = None, limits: Limits = PATIENT
) -> AsyncIterator[At]:
    keys = load_or_create_keys(folder)
    echoes: list[Echo] = []
    methods: dict[str, Any] = {"/test.Test/Echo": lambda call: Echo(call, echoes)}
    async with GrpcStreamServer(
        "127.0.0.1:0", Doorkeeper(keys.verifier), methods, [_add], tls=tls, grace_s=grace_s, limits=limits
    ) as server:
        yield At(server, keys, echoes)


@pytest.fixture
async def at(tmp_path: pathlib.Path) -> AsyncIterator[At]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def link(at: At) -> AsyncIterator[grpc.aio.Channel]:
    async with channel(at.address) as made:
        yield made


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - what is waited for are plain values of the server
            await asyncio.sleep(0.01)


async def test_handlers_of_single_requests_know_who_calls(at: At, link: grpc.aio.Channel) -> None:
    whoami = link.unary_unary("/test.Test/WhoAmI")
    user = at.keys.issuer.issue("ada", "acme", Role.VIEWER, 60)
    assert await whoami(b"", metadata=metadata(user)) == b"ada/acme/viewer"
    service = at.keys.issuer.issue("gateway", "", Role.SERVICE, 60)
    assert await whoami(b"admin", metadata=metadata(service, "other")) == b"gateway/other/service"


@pytest.mark.parametrize(
    ("request_bytes", "kind", "code"),
    [(b"missing", NotFound, "no_such_thing"), (b"admin", Forbidden, "role_not_allowed")],
)
async def test_problems_come_back_as_they_were(
    at: At, link: grpc.aio.Channel, request_bytes: bytes, kind: type[Exception], code: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await link.unary_unary("/test.Test/WhoAmI")(request_bytes, metadata=at.metadata(Role.VIEWER))
    problem = problem_of(caught.value)
    assert isinstance(problem, kind)
    assert problem.code == code
    if kind is NotFound:
        assert str(problem) == "there is no thing: 100 % – none"


async def test_a_handler_that_fails_fails_its_call_only(at: At, link: grpc.aio.Channel) -> None:
    whoami = link.unary_unary("/test.Test/WhoAmI")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await whoami(b"bug", metadata=at.metadata())
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert await whoami(b"", metadata=at.metadata()) == b"ada/acme/admin"


@pytest.mark.parametrize("requests", [[], [b"a", b"b"]])
async def test_a_single_request_is_one(at: At, link: grpc.aio.Channel, requests: list[bytes]) -> None:
    call: Any = link.stream_unary("/test.Test/WhoAmI")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(iter(requests), metadata=at.metadata())
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_no_token_no_call(link: grpc.aio.Channel) -> None:
    for given in ((), (("authorization", "Basic xyz"),), metadata("forged")):
        for path in ("/test.Test/WhoAmI", "/test.Test/Echo"):
            call: Any = link.stream_stream(path)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(metadata=given).read()
            assert isinstance(problem_of(caught.value), Unauthenticated)


async def test_streams(at: At, link: grpc.aio.Channel) -> None:
    stream: Any = link.stream_stream("/test.Test/Echo")(metadata=at.metadata())
    sizes = (0, 1, 100_000, 3_000_000, 5)
    for size in sizes:
        await stream.write(bytes(size))
        assert len(await stream.read()) == size
    await stream.write(b"conflict")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert isinstance(problem_of(caught.value), Conflict)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await link.stream_stream("/test.Test/Echo")(metadata=at.metadata(Role.VIEWER)).read()
    assert isinstance(problem_of(caught.value), Forbidden)


async def test_many_streams_of_one_connection(at: At, link: grpc.aio.Channel) -> None:
    """More than may be open at once: the client waits with the rest."""
    call: Any = link.stream_stream("/test.Test/Echo")

    async def one(number: int) -> None:
        words = [f"{number}-{word}".encode() for word in range(3)]
        assert [word async for word in call(iter(words), metadata=at.metadata())] == words

    await asyncio.gather(*(one(number) for number in range(1_200)))
    assert len(at.echoes) == 1_200


async def test_the_other_client_of_grpcio(at: At) -> None:
    def talk() -> list[bytes]:
        with grpc.insecure_channel(at.address) as blocking:
            call: Any = blocking.stream_stream("/test.Test/Echo")
            return list(call(iter([b"a", b"b"]), metadata=at.metadata(), timeout=PATIENCE_S))

    assert await asyncio.to_thread(talk) == [b"a", b"b"]


async def test_an_unknown_method(at: At, link: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await link.unary_unary("/test.Test/Nothing")(b"", metadata=at.metadata())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_compressed_messages_are_refused_properly(at: At) -> None:
    async with grpc.aio.insecure_channel(at.address, compression=grpc.Compression.Gzip) as link:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await link.unary_unary("/test.Test/WhoAmI")(bytes(1000), metadata=at.metadata())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_that_is_too_long(at: At) -> None:
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(at.address, options=options) as link:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await link.unary_unary("/test.Test/WhoAmI")(bytes(MAX_MESSAGE_BYTES + 1), metadata=at.metadata())
        assert isinstance(problem_of(caught.value), Exhausted)


@pytest.mark.parametrize("path", ["/test.Test/WhoAmI", "/test.Test/Echo"])
async def test_deadlines(at: At, link: grpc.aio.Channel, path: str) -> None:
    call: Any = link.stream_stream(path)(metadata=at.metadata(), timeout=0.3)
    await call.write(b"never")
    if path.endswith("Echo"):
        assert await call.read() == b"never"
    else:
        await call.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: not at.server._calls)


async def test_what_is_held_back_comes_later_and_is_bounded(at: At, link: grpc.aio.Channel) -> None:
    stream: Any = link.stream_stream("/test.Test/Echo")(metadata=at.metadata())
    await stream.write(b"first")
    assert await stream.read() == b"first"
    (echo,) = at.echoes
    echo.is_ready = False
    message = bytes(10_000)
    written = 0

    async def write() -> None:
        nonlocal written
        for _ in range(200):
            await stream.write(message)
            written += 1
        await stream.done_writing()

    writing = asyncio.create_task(write())
    await until(lambda: echo.call._held >= 250_000)
    assert echo.call._held <= 256 * 1024
    assert written < 200
    echo.is_ready = True
    echo.call.resume()
    assert [await stream.read() for _ in range(200)] == [message] * 200
    assert await stream.read() is grpc.aio.EOF
    await writing


async def test_a_client_that_goes_away_is_noticed(at: At) -> None:
    async with channel(at.address) as link:
        stream: Any = link.stream_stream("/test.Test/Echo")(metadata=at.metadata())
        await stream.write(b"x")
        await stream.read()
        stream.cancel()
        await until(lambda: at.echoes[0].is_lost)
        waiting: Any = link.unary_unary("/test.Test/WhoAmI")(b"never", metadata=at.metadata())
        await until(lambda: at.server._tasks)
        waiting.cancel()
        await until(lambda: not at.server._tasks)
    async with odd(at) as client:
        client.request(at)
        client.http2.send_data(1, b"\0\0\0\0\1x")
        await client.until(h2.events.DataReceived)
        assert not at.echoes[1].is_lost
    await until(lambda: at.echoes[1].is_lost)


async def test_stopping_lets_calls_end_and_then_cuts_them_off(tmp_path: pathlib.Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path, grace_s=PATIENCE_S))
        link = await stack.enter_async_context(channel(server.address))
        stream: Any = link.stream_stream("/test.Test/Echo")(metadata=server.metadata())
        await stream.write(b"x")
        assert await stream.read() == b"x"
        leaving = asyncio.create_task(server.server.__aexit__(None, None, None))
        await until(lambda: not server.server._listener.is_serving())
        assert not leaving.done()
        await stream.write(b"y")
        assert await stream.read() == b"y"
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        await leaving
        assert (await stream.code()) is grpc.StatusCode.OK
    async with serving(tmp_path, grace_s=0.05) as server, channel(server.address) as link:
        stream = link.stream_stream("/test.Test/Echo")(metadata=server.metadata())
        await stream.write(b"x")
        await stream.read()
        await server.server.__aexit__(None, None, None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert isinstance(problem_of(caught.value), Unavailable)
        assert server.echoes[-1].is_lost


class Odd:
    """A client that speaks HTTP/2 by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http2.initiate_connection()
        self.events: list[Any] = []

    def request(self, at: At, number: int = 1, **changed: str) -> None:
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":authority": "here",
            ":path": "/test.Test/Echo",
            "content-type": "application/grpc",
        }
        fields |= dict(at.metadata()) | {name.replace("_", "-"): value for name, value in changed.items()}
        fields[":method"] = fields.pop("method", fields[":method"])
        self.http2.send_headers(number, [*fields.items()])

    async def until(self, kind: type[Any]) -> Any:
        """The first event of this kind."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self.writer.write(self.http2.data_to_send())
                found = [event for event in self.events if isinstance(event, kind)]
                if found:
                    return found[0]
                data = await self._reader.read(2**16)
                assert data, "the server hung up"
                self.events += self.http2.receive_data(data)


@contextlib.asynccontextmanager
async def odd(at: At) -> AsyncIterator[Odd]:
    reader, writer = await asyncio.open_connection("127.0.0.1", at.server.port)
    try:
        yield Odd(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"method": "GET"}, "405"),
        ({"content_type": "text/plain"}, "415"),
        ({"content_type": "application/grpcx"}, "415"),
        ({"content_type": "application/grpc+proto"}, "200"),
        ({"content_type": "application/grpc;x=y"}, "200"),
    ],
)
async def test_what_is_not_grpc(at: At, changed: dict[str, str], status: str) -> None:
    async with odd(at) as client:
        client.request(at, **changed)
        client.http2.send_data(1, b"\0\0\0\0\1x")
        headers = dict((await client.until(h2.events.ResponseReceived)).headers)
        assert headers[":status"] == status


@pytest.mark.parametrize(
    ("changed", "body", "status"),
    [
        ({"grpc_timeout": "soon"}, b"", "13"),
        ({}, b"\1\0\0\0\1x", "13"),
        ({}, b"\0\0\0", "13"),
        ({"grpc_encoding": "snappy"}, b"\1\0\0\0\1x", "12"),
        ({"grpc_encoding": "identity"}, b"\0\0\0\0\1x", "0"),
    ],
)
async def test_calls_that_are_odd(at: At, changed: dict[str, str], body: bytes, status: str) -> None:
    async with odd(at) as client:
        client.request(at, **changed)
        client.http2.send_data(1, body, end_stream=True)
        await client.until(h2.events.StreamEnded)
        told = [dict(event.headers) for event in client.events if hasattr(event, "headers")]
        assert told[-1]["grpc-status"] == status


async def test_the_server_ends_what_takes_too_long(at: At) -> None:
    async with odd(at) as client:
        client.request(at, grpc_timeout="50m")
        await client.until(h2.events.StreamReset)
        told = [dict(event.headers) for event in client.events if hasattr(event, "headers")]
        assert told[-1]["grpc-status"] == "4"
        assert at.echoes[0].is_lost


async def test_a_client_that_does_not_read_is_not_sent_more(at: At) -> None:
    async with odd(at) as client:
        client.http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        client.http2.increment_flow_control_window(2**31 - 70_000)
        client.request(at)
        client.http2.send_data(1, b"\0\0\0\0\5flood")
        client.writer.write(client.http2.data_to_send())
        await until(lambda: at.echoes and at.echoes[0].sent and not next(iter(at.server._peers)).is_writable)
        assert at.echoes[0].sent < 2_500  # what Linux takes into its buffers, and no more
        await client.until(h2.events.StreamEnded)
        assert sum(len(e.data) for e in client.events if isinstance(e, h2.events.DataReceived)) == 5_000 * 10_005


async def test_garbage_ends_its_own_connection(at: At, link: grpc.aio.Channel) -> None:
    stream: Any = link.stream_stream("/test.Test/Echo")(metadata=at.metadata())
    await stream.write(b"x")
    await stream.read()
    for garbage in (
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + 3 * bytes(range(256)),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", at.server.port)
        writer.write(garbage)
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.read())[3] == 4  # its settings, perhaps a farewell, and the end
        writer.close()
    await stream.write(b"y")
    assert await stream.read() == b"y"


async def test_who_does_not_greet_is_let_go(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "GREETING_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", at.server.port)
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(PATIENCE_S):
            await reader.read()
    writer.close()
    await until(lambda: not at.server._peers)


async def test_tls_without_http2_is_not_served(tmp_path: pathlib.Path) -> None:
    authority = Authority(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(*authority.issue("server", "server"))
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    trusting.check_hostname = False
    async with serving(tmp_path, tls=context) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port, ssl=trusting)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "nowhere", "unix:/tmp/x", "127.0.0.1:"])
async def test_addresses_that_cannot_be_used(at: At, address: str) -> None:
    for each in (address, at.address):
        with pytest.raises(FatalError, match=f"cannot listen on {each}"):
            async with GrpcStreamServer(each, Doorkeeper(at.keys.verifier), {}):
                pass


def test_handlers_that_stream_are_not_taken_for_single_ones(tmp_path: pathlib.Path) -> None:
    def add(server: Any) -> None:
        server.add_registered_method_handlers("a.B", {"C": grpc.stream_stream_rpc_method_handler(_whoami)})

    with pytest.raises(TypeError, match=r"a\.B\.C streams"):
        GrpcStreamServer("127.0.0.1:0", Doorkeeper(load_or_create_keys(tmp_path).verifier), {}, [add])
