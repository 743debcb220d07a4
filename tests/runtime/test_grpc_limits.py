"""What the server of gRPC streams does not put up with: idle connections, too many of them, peers that are gone."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import resource
import ssl
from collections.abc import Iterator
from typing import Any

import grpc
import h2.events
import pytest
from h2.errors import ErrorCodes
from prometheus_client import REGISTRY

from runtime.grpc_client import channel, problem_of
from runtime.grpc_streams import peer as peer_module
from runtime.grpc_streams import server as server_module
from runtime.grpc_streams.liveness import Limits
from runtime.problems import Unavailable
from tests.runtime.test_grpc_streams import PATIENCE_S, At, odd, serving, until
from tests.servers.certificates import Authority

WHOAMI = "/test.Test/WhoAmI"
ECHO = "/test.Test/Echo"


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def ended(why: str) -> float:
    return counted("drover_grpc_connections_ended_total", why=why)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "FAREWELL_S", 0.3)


@contextlib.contextmanager
def files(allowed: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def alone(at: At) -> grpc.aio.Channel:
    """A channel that shares its connection with no other."""
    return grpc.aio.insecure_channel(at.address, options=[("grpc.use_local_subchannel_pool", 1)])


async def say(at: At, link: grpc.aio.Channel) -> Any:
    return await link.unary_unary(WHOAMI)(b"", metadata=at.metadata(), timeout=PATIENCE_S)


async def test_a_client_without_calls_is_asked_to_leave_and_comes_back_by_itself(tmp_path: pathlib.Path) -> None:
    before = ended("idle")
    async with serving(tmp_path, limits=Limits(idle_s=0.2)) as at, channel(at.address) as link:
        for _ in range(3):
            assert await say(at, link) == b"ada/acme/admin"
            await until(lambda: not at.server._peers)
    assert ended("idle") >= before + 3


async def test_a_stream_that_is_open_is_a_use_however_quiet(tmp_path: pathlib.Path) -> None:
    before = ended("idle")
    async with serving(tmp_path, limits=Limits(idle_s=0.1)) as at, channel(at.address) as link:
        stream: Any = link.stream_stream(ECHO)(metadata=at.metadata())
        await stream.write(b"x")
        assert await stream.read() == b"x"
        async with alone(at) as other:  # whose connections come and go meanwhile
            for number in range(3):
                await say(at, other)
                await until(lambda number=number: ended("idle") > before + number and len(at.server._peers) == 1)  # type: ignore[misc]
        assert len(at.server._peers) == 1
        await stream.write(b"y")
        assert await stream.read() == b"y"


async def test_who_greets_and_then_says_nothing_is_told_and_let_go(tmp_path: pathlib.Path) -> None:
    async with serving(tmp_path, limits=Limits(idle_s=0.1)) as at, odd(at) as client:
        farewell = await client.until(h2.events.ConnectionTerminated)
        assert farewell.error_code == ErrorCodes.NO_ERROR
        await until(lambda: not at.server._peers)


async def test_a_call_that_crosses_the_farewell_is_served(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_module, "FAREWELL_S", PATIENCE_S)
    async with serving(tmp_path, limits=Limits(idle_s=0.1)) as at, odd(at) as client:
        client.writer.write(client.http2.data_to_send())
        await until(lambda: any(peer._is_retiring for peer in at.server._peers))
        client.request(at)
        client.http2.send_data(1, b"\0\0\0\0\1x", end_stream=True)
        client.writer.write(client.http2.data_to_send())  # not having read the farewell
        data = b""
        async with asyncio.timeout(PATIENCE_S):
            while b"grpc-status" not in data and b"\0\0\0\0\1x" not in data:
                data += await client._reader.read(2**16)
        for peer in at.server._peers:
            peer._leave()
        await until(lambda: not at.server._peers)


async def test_beyond_the_bound_a_call_is_answered_and_the_rest_goes_on(tmp_path: pathlib.Path) -> None:
    before = ended("too_many")
    async with (
        serving(tmp_path, limits=Limits(max_connections=2)) as at,
        alone(at) as first,
        alone(at) as second,
        alone(at) as third,
    ):
        for link in (first, second):
            await say(at, link)
        for path in (WHOAMI, ECHO):
            call: Any = third.stream_stream(path)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(iter([b"x"]), metadata=at.metadata(), timeout=PATIENCE_S).read()
            problem = problem_of(caught.value)
            assert isinstance(problem, Unavailable)
            assert problem.code == "too_many_connections"
            assert "as many connections as it may have" in str(problem)
        assert await say(at, first) == b"ada/acme/admin"
        assert at.server._admitted == 2
        await first.close()
        await until(lambda: at.server._admitted == 1)
        await until(lambda: len(at.server._peers) == 1)
        assert await say(at, third) == b"ada/acme/admin"
        assert at.server._admitted == 2
    assert ended("too_many") >= before + 1


async def test_who_is_too_many_and_does_not_ask_has_no_place_for_long(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_module, "GREETING_S", 0.1)
    monkeypatch.setattr(server_module, "_AT_THE_DOOR", 1)
    async with serving(tmp_path, limits=Limits(max_connections=1)) as at, channel(at.address) as link:
        await say(at, link)
        before = ended("too_many")
        async with odd(at) as one:
            one.writer.write(one.http2.data_to_send())
            await until(lambda: len(at.server._peers) == 2)
            reader, writer = await asyncio.open_connection("127.0.0.1", at.server.port)
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(PATIENCE_S):
                    assert await reader.read() == b""  # not even a place at the door
            writer.close()
            await one.until(h2.events.ConnectionTerminated)
            await until(lambda: len(at.server._peers) == 1)
        assert ended("too_many") == before + 2
        assert await say(at, link) == b"ada/acme/admin"


async def test_no_more_connections_than_files(tmp_path: pathlib.Path) -> None:
    with files(server_module._OTHER_FILES + 1):
        async with serving(tmp_path) as at, alone(at) as first, alone(at) as second:
            await say(at, first)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await say(at, second)
            assert problem_of(caught.value).code == "too_many_connections"


async def test_a_quiet_client_of_grpcio_answers_pings_and_stays(tmp_path: pathlib.Path) -> None:
    before = counted("drover_grpc_pings_total")
    limits = Limits(ping_after_s=0.05, ping_timeout_s=PATIENCE_S)
    async with serving(tmp_path, limits=limits) as at, channel(at.address) as link:
        stream: Any = link.stream_stream(ECHO)(metadata=at.metadata())
        await stream.write(b"x")
        assert await stream.read() == b"x"
        await until(lambda: counted("drover_grpc_pings_total") >= before + 5)  # each but the first after an answer
        await stream.write(b"y")
        assert await stream.read() == b"y"
        assert len(at.echoes) == 1


async def test_a_peer_that_is_gone_behind_a_proxy_is_found(tmp_path: pathlib.Path) -> None:
    """Its connection stands, and takes what is sent; nobody answers."""
    before = ended("unanswered")
    limits = Limits(ping_after_s=0.1, ping_timeout_s=0.2)
    async with serving(tmp_path, limits=limits) as at, odd(at) as client:
        client.request(at)
        client.http2.send_data(1, b"\0\0\0\0\1x")
        await client.until(h2.events.DataReceived)
        await until(lambda: at.echoes[0].is_lost)
        await until(lambda: not at.server._peers)
    assert ended("unanswered") == before + 1


async def test_over_tls(tmp_path: pathlib.Path) -> None:
    authority = Authority(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(*authority.issue("server", "server"))
    trusted = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    limits = Limits(idle_s=0.2, max_connections=1)
    async with serving(tmp_path, tls=context, limits=limits) as at, channel(at.address, credentials=trusted) as link:
        assert await say(at, link) == b"ada/acme/admin"
        await until(lambda: not at.server._peers)
        assert await say(at, link) == b"ada/acme/admin"
