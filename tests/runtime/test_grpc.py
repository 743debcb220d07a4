"""Server and client together: tokens, tenants, problems there and back."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from runtime.grpc_client import channel, metadata, problem_of
from runtime.grpc_server import GrpcServer, caller, require
from runtime.problems import Conflict, FatalError, Forbidden, NotFound, Unauthenticated, Unavailable
from runtime.tokens import KeyPair, Role, load_or_create_keys


class Missing(NotFound):
    code = "no_such_thing"


async def _whoami(request: bytes, _context: Any) -> bytes:
    if request == b"missing":
        raise Missing("there is no thing")
    if request == b"admin":
        require(Role.ADMIN)
    if request == b"bug":
        raise ZeroDivisionError
    who = caller()
    return f"{who.subject}/{who.tenant}/{who.role.value}".encode()


async def _echo(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        if request == b"conflict":
            raise Conflict("not now")
        yield f"{caller().tenant}:".encode() + request


def _add(server: grpc.aio.Server) -> None:
    handlers = {
        "WhoAmI": grpc.unary_unary_rpc_method_handler(_whoami),
        "Echo": grpc.stream_stream_rpc_method_handler(_echo),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", handlers)])


@pytest.fixture
def keys(tmp_path: pathlib.Path) -> KeyPair:
    return load_or_create_keys(tmp_path)


@pytest.fixture
async def port(keys: KeyPair) -> AsyncIterator[int]:
    async with GrpcServer("127.0.0.1:0", keys.verifier, [_add], grace_s=0.1) as server:
        yield server.port


async def test_handlers_know_who_calls(keys: KeyPair, port: int) -> None:
    async with channel(f"127.0.0.1:{port}") as link:
        whoami = link.unary_unary("/test.Test/WhoAmI")
        user = keys.issuer.issue("ada", "acme", Role.VIEWER, 60)
        assert await whoami(b"", metadata=metadata(user)) == b"ada/acme/viewer"
        assert await whoami(b"", metadata=metadata(user, "other")) == b"ada/acme/viewer"  # a user cannot choose
        service = keys.issuer.issue("gateway", "", Role.SERVICE, 60)
        assert await whoami(b"admin", metadata=metadata(service, "other")) == b"gateway/other/service"


@pytest.mark.parametrize(
    ("request_bytes", "kind", "code"),
    [
        (b"missing", NotFound, "no_such_thing"),
        (b"admin", Forbidden, "role_not_allowed"),
        (b"bug", Unavailable, "service_failed"),
    ],
)
async def test_problems_come_back_as_they_were(
    keys: KeyPair, port: int, request_bytes: bytes, kind: type[Exception], code: str
) -> None:
    token = keys.issuer.issue("ada", "acme", Role.VIEWER, 60)
    async with channel(f"127.0.0.1:{port}") as link:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await link.unary_unary("/test.Test/WhoAmI")(request_bytes, metadata=metadata(token))
        problem = problem_of(caught.value)
        assert isinstance(problem, kind)
        assert problem.code == code


async def test_no_token_no_call(port: int) -> None:
    async with channel(f"127.0.0.1:{port}") as link:
        for given in ((), (("authorization", "Basic xyz"),), metadata("forged")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await link.unary_unary("/test.Test/WhoAmI")(b"", metadata=given)
            assert isinstance(problem_of(caught.value), Unauthenticated)
            stream = link.stream_stream("/test.Test/Echo")(metadata=given)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert isinstance(problem_of(caught.value), Unauthenticated)


async def test_streams_are_guarded_too(keys: KeyPair, port: int) -> None:
    token = keys.issuer.issue("ada", "acme", Role.VIEWER, 60)
    async with channel(f"127.0.0.1:{port}") as link:
        stream = link.stream_stream("/test.Test/Echo")(metadata=metadata(token))
        await stream.write(b"one")
        assert await stream.read() == b"acme:one"
        await stream.write(b"conflict")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert isinstance(problem_of(caught.value), Conflict)


async def test_a_peer_that_is_away_is_unavailable(keys: KeyPair) -> None:
    async with channel("127.0.0.1:1") as link:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await link.unary_unary("/test.Test/WhoAmI")(b"", timeout=2)
        assert problem_of(caught.value).code in {"service_unavailable", "service_failed"}


async def test_a_taken_port_is_one_clear_line(keys: KeyPair, port: int) -> None:
    with pytest.raises(FatalError, match=f"cannot listen on 127.0.0.1:{port}"):
        async with GrpcServer(f"127.0.0.1:{port}", keys.verifier, []):
            pass
