"""`DeadLetters`: proto to store and pipeline, and back."""

from __future__ import annotations

import time
from typing import Final

import grpc

from drover.api.ingest.v1 import ingest_service_pb2 as messages
from drover.api.ingest.v1 import ingest_service_pb2_grpc as services
from ingest.dead_letters.store import DeadLetters, StoredLetter
from ingest.pipeline import Pipeline
from runtime.grpc_server import require
from runtime.problems import Invalid
from runtime.tokens import Caller, Role

_PAGE_SIZE: Final = 100
_MAX_PAGE_SIZE: Final = 1_000
_PAST_ALL: Final = 2**63 - 1


class BadPageTokenError(Invalid):
    """A page token that no page gave."""

    code = "bad_page_token"


class LetterCutError(Invalid):
    """A letter that cannot be replayed, because the end of its payload was not kept."""

    code = "dead_letter_cut"


class DeadLettersService(services.DeadLettersServicer):
    """Dispatchers and admins read and replay the letters of their tenant, and services those of any.

    Letters whose topic names no tenant are shown to `unrouted_tenant`, and to services that name no tenant.
    """

    def __init__(self, store: DeadLetters, pipeline: Pipeline, *, unrouted_tenant: str | None = None) -> None:
        self._store: Final = store
        self._pipeline: Final = pipeline
        self._unrouted_tenant: Final = unrouted_tenant

    def add(self, server: grpc.aio.Server) -> None:
        """Puts the service on a server."""
        services.add_DeadLettersServicer_to_server(self, server)  # type: ignore[no-untyped-call,unused-ignore]

    def _tenants(self, who: Caller) -> list[str]:
        return [who.tenant, ""] if who.tenant == self._unrouted_tenant else [who.tenant]

    async def ListDeadLetters(  # noqa: N802
        self, request: messages.ListDeadLettersRequest, _context: object
    ) -> messages.ListDeadLettersResponse:
        """The newest first; the token of a page is the last id before it. Raises BadPageTokenError."""
        tenants = self._tenants(require(Role.DISPATCHER, Role.ADMIN))
        token = request.page_token
        if token and not (token.isascii() and token.isdigit() and len(token) < 19):
            raise BadPageTokenError("the page token was not given by a page before")
        size = min(request.page_size or _PAGE_SIZE, _MAX_PAGE_SIZE)
        found = await self._store.page(tenants, before_id=int(token or _PAST_ALL), size=size + 1, reason=request.reason)
        return messages.ListDeadLettersResponse(
            dead_letters=[_message(letter) for letter in found[:size]],
            next_page_token=str(found[size - 1].dead_letter_id) if len(found) > size else "",
        )

    async def GetDeadLetter(  # noqa: N802
        self, request: messages.GetDeadLetterRequest, _context: object
    ) -> messages.GetDeadLetterResponse:
        """Raises UnknownDeadLetterError."""
        tenants = self._tenants(require(Role.DISPATCHER, Role.ADMIN))
        letter = await self._store.get(tenants, min(request.dead_letter_id, _PAST_ALL))
        return messages.GetDeadLetterResponse(dead_letter=_message(letter))

    async def ReplayDeadLetter(  # noqa: N802
        self, request: messages.ReplayDeadLetterRequest, _context: object
    ) -> messages.ReplayDeadLetterResponse:
        """Replayed twice, its readings are exact repetitions. Raises UnknownDeadLetterError, LetterCutError."""
        tenants = self._tenants(require(Role.DISPATCHER, Role.ADMIN))
        letter = await self._store.get(tenants, min(request.dead_letter_id, _PAST_ALL))
        if len(letter.payload) < letter.payload_bytes:
            raise LetterCutError(f"only {len(letter.payload)} of {letter.payload_bytes} bytes were kept")
        outcome = await self._pipeline.replay(letter)
        if outcome.accepted:
            await self._store.mark_replayed(letter.dead_letter_id, time.time_ns() // 1000)
        return messages.ReplayDeadLetterResponse(
            accepted=outcome.accepted, reason=outcome.refusals[0].reason.slug if outcome.refusals else ""
        )


def _message(letter: StoredLetter) -> messages.DeadLetter:
    return messages.DeadLetter(
        dead_letter_id=letter.dead_letter_id,
        tenant=letter.tenant,
        source=letter.source,
        topic=letter.topic,
        reason=letter.reason,
        detail=letter.detail,
        payload=letter.payload,
        payload_bytes=letter.payload_bytes,
        received_at_us=letter.received_at_us,
        replayed_at_us=letter.replayed_at_us,
    )
