"""/v1/dead-letters: what ingest could not take."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.ingest.v1.ingest_service_pb2 import (
    GetDeadLetterRequest,
    ListDeadLettersRequest,
    ReplayDeadLetterRequest,
)
from gateway.auth import Administrator, Reader
from gateway.json_view import json_response, view
from gateway.paging import cursor, page_token
from gateway.rest.context import Services
from gateway.rest.documentation import Page, PageQuery, Shown, TimeText, problems

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

DeadLetterId = Annotated[int, Path(ge=0, lt=2**63)]


class DeadLetterView(Shown):
    """A message that could not be taken, and why."""

    dead_letter_id: int
    tenant: str
    source: str = Field(examples=["mqtt"])
    topic: str
    reason: str = Field(examples=["truncated"])
    detail: str
    payload_base64: str = Field(description="As received, cut after 64 KiB.")
    payload_bytes: int = Field(description="The whole length.")
    received_at: TimeText
    replayed_at: TimeText | None


class ReplayView(Shown):
    """What became of a replay."""

    accepted: int = Field(description="Readings now in the log.")
    reason: str = Field(description="Why it failed again; empty when it did not.")


class DeadLettersQuery(PageQuery):
    """Which dead letters."""

    reason: str = Field("", max_length=64, description="Only with this reason.")


@router.get("", response_model=Page[DeadLetterView], responses=problems())
async def list_dead_letters(
    session: Reader, services: Services, letters: Annotated[DeadLettersQuery, Query()]
) -> Response:
    """Dead letters, newest first."""
    query = f"dead letters {letters.reason}"
    answer = await services.call(
        services.dead_letters.ListDeadLetters,
        ListDeadLettersRequest(
            page_size=letters.limit, page_token=page_token(letters.cursor, query), reason=letters.reason
        ),
        session.token,
    )
    items = [view(letter) for letter in answer.dead_letters]
    return json_response({"items": items, "next_cursor": cursor(answer.next_page_token, query)})


@router.get("/{dead_letter_id}", response_model=DeadLetterView, responses=problems(404))
async def get_dead_letter(session: Reader, services: Services, dead_letter_id: DeadLetterId) -> Response:
    """One dead letter."""
    answer = await services.call(
        services.dead_letters.GetDeadLetter, GetDeadLetterRequest(dead_letter_id=dead_letter_id), session.token
    )
    return json_response(view(answer.dead_letter))


@router.post("/{dead_letter_id}/replay", response_model=ReplayView, responses=problems(404, 409))
async def replay_dead_letter(session: Administrator, services: Services, dead_letter_id: DeadLetterId) -> Response:
    """Sends the stored bytes through the decoders again."""
    answer = await services.call(
        services.dead_letters.ReplayDeadLetter, ReplayDeadLetterRequest(dead_letter_id=dead_letter_id), session.token
    )
    return json_response(view(answer))
