"""A gRPC server that knows who calls: tokens are checked before a handler runs, domain errors become status codes here
and nowhere else.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
import structlog

from runtime.problems import FatalError, Forbidden, Kind, Problem
from runtime.tokens import Caller, InvalidToken, Role, Verifier

log = structlog.get_logger()

STATUS_OF: Final[dict[Kind, grpc.StatusCode]] = {
    "not_found": grpc.StatusCode.NOT_FOUND,
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "conflict": grpc.StatusCode.FAILED_PRECONDITION,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
}
PROBLEM_KEY: Final = "drover-problem"
TENANT_KEY: Final = "drover-tenant"
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024

OfCertificate = Callable[[str], Caller]
"""Who the common name of a client's certificate speaks for. Raises InvalidToken."""
Check = Callable[[Caller], None]
"""Raises a Problem for a caller whose token or certificate is sound and no longer good."""

_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")


def caller() -> Caller:
    """Who calls; for a service, with the tenant it acts for. Only inside a handler."""
    return _caller.get()


def acting_as(who: Caller) -> contextvars.Context:
    """A context in which `caller` is `who`: for a server that runs handlers by itself."""
    context = contextvars.copy_context()
    context.run(_caller.set, who)
    return context


def require(*roles: Role) -> Caller:
    """The caller, if it has one of the roles or is a service. Raises Forbidden."""
    return require_of(_caller.get(), *roles)


def require_of(who: Caller, *roles: Role) -> Caller:
    """`who`, if it has one of the roles or is a service. Raises Forbidden."""
    if who.role is not Role.SERVICE and who.role not in roles:
        allowed = ", ".join(role.value for role in roles)
        raise Forbidden(f"this needs the role {allowed}; the token has {who.role.value}", code="role_not_allowed")
    return who


class Doorkeeper:
    """Says who calls, from what a call carries."""

    def __init__(
        self, verifier: Verifier, of_certificate: OfCertificate | None = None, check: Check | None = None
    ) -> None:
        self._verifier = verifier
        self._of_certificate = of_certificate
        self._check = check

    def admit(self, metadata: Mapping[str, str], common_names: Callable[[], Sequence[str]]) -> Caller:
        """The caller; `common_names` are those of the client's certificate. Raises Problems."""
        who = self._holder(metadata.get("authorization", ""), common_names)
        if self._check is not None:
            self._check(who)
        if who.role is Role.SERVICE:
            return Caller(who.subject, metadata.get(TENANT_KEY, ""), who.role, who.expires_at_s)
        return who

    def _holder(self, authorization: str, common_names: Callable[[], Sequence[str]]) -> Caller:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token:
            return self._verifier.verify(token)
        if self._of_certificate is not None and not authorization:
            names = common_names()
            if len(names) == 1:
                return self._of_certificate(names[0])
        raise InvalidToken("the call carries no bearer token", code="token_missing")


class _Guard(grpc.aio.ServerInterceptor):
    """Checks the token of every call, tells handlers who calls, and turns Problems into status codes."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper

    def _authenticate(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        return self._doorkeeper.admit(
            metadata,
            lambda: [name.decode(errors="replace") for name in context.auth_context().get("x509_common_name", ())],
        )

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Called by grpc for every call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        if handler.response_streaming:
            behaviour = handler.stream_stream or handler.unary_stream
            wrap = (
                grpc.stream_stream_rpc_method_handler if handler.stream_stream else grpc.unary_stream_rpc_method_handler
            )
            guarded: Any = self._streaming(behaviour)
        else:
            behaviour = handler.stream_unary or handler.unary_unary
            wrap = grpc.stream_unary_rpc_method_handler if handler.stream_unary else grpc.unary_unary_rpc_method_handler
            guarded = self._unary(behaviour)
        return wrap(guarded, handler.request_deserializer, handler.response_serializer)

    def _unary(self, behaviour: Any) -> Callable[[Any, Any], Awaitable[Any]]:
        async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                _caller.set(self._authenticate(context))
                return await behaviour(request, context)
            except Problem as problem:
                await _abort(context, problem)

        return guarded

    def _streaming(self, behaviour: Any) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                _caller.set(self._authenticate(context))
                answers = behaviour(request, context)
                if inspect.isawaitable(answers):
                    await answers
                    return
                async for answer in answers:
                    yield answer
            except Problem as problem:
                await _abort(context, problem)

        return guarded


async def _abort(context: grpc.aio.ServicerContext[Any, Any], problem: Problem) -> None:
    await context.abort(STATUS_OF[problem.kind], str(problem), ((PROBLEM_KEY, problem.code),))


class GrpcServer:
    """A server on `address` (host:port), as an async context. `services` add themselves to the server.

    With `of_certificate`, a call without a token is its client certificate's; `credentials` must then ask for one.
    Raises FatalError when the address is taken. `port` is the port bound, for an address that ended in :0.
    """

    def __init__(
        self,
        address: str,
        verifier: Verifier,
        services: Iterable[Callable[[grpc.aio.Server], None]],
        *,
        credentials: grpc.ServerCredentials | None = None,
        of_certificate: OfCertificate | None = None,
        check: Check | None = None,
        grace_s: float = 5.0,
    ) -> None:
        self._address = address
        self._services = list(services)
        self._credentials = credentials
        self._guard = _Guard(Doorkeeper(verifier, of_certificate, check))
        self._grace_s = grace_s
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(
            interceptors=[self._guard],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        for add in self._services:
            add(self._server)
        try:
            if self._credentials is None:
                self.port = self._server.add_insecure_port(self._address)
            else:
                self.port = self._server.add_secure_port(self._address, self._credentials)
        except RuntimeError as error:
            raise FatalError(
                f"cannot listen on {self._address}: the port is taken or the address is not ours"
            ) from error
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(self._grace_s)
