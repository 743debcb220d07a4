"""Channels to our own services: a token on every call, and their status codes turned back into Problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc

from runtime.grpc_server import MAX_MESSAGE_BYTES, PROBLEM_KEY, STATUS_OF, TENANT_KEY
from runtime.problems import BY_KIND, Problem, Unavailable

_KIND_OF: Final = {status: kind for kind, status in STATUS_OF.items()}


def channel(address: str, *, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A channel to host:port. It connects when used, and again by itself after a break."""
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def metadata(token: str, tenant: str | None = None) -> tuple[tuple[str, str], ...]:
    """What a call carries: the token, and for a service token the tenant it acts for."""
    pairs = (("authorization", f"Bearer {token}"),)
    return pairs if tenant is None else (*pairs, (TENANT_KEY, tenant))


class ServiceCalls:
    """The metadata of one process calling another for a tenant."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(self, tenant: str) -> tuple[tuple[str, str], ...]:
        """For a call that acts for `tenant`."""
        return metadata(self._token(), tenant)


def problem_of(error: grpc.aio.AioRpcError) -> Problem:
    """The Problem that the server meant; Unavailable for a peer that did not answer, whatever the reason."""
    kind = _KIND_OF.get(error.code())
    details = error.details() or error.code().name.lower()
    if kind is None:
        return Unavailable(f"the service failed: {details}", code="service_failed")
    trailing: Any = error.trailing_metadata() or ()
    codes = [value for key, value in trailing if key == PROBLEM_KEY and isinstance(value, str)]
    if not codes and kind == "unavailable":
        return Unavailable("the service does not answer", code="service_unavailable")
    return BY_KIND[kind](details, code=codes[0] if codes else None)
