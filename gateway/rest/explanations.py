"""/v1/devices/{id}/explain: why a device has the events it has at a fence, or has none."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from drover.api.tracking.v1.tracking_service_pb2 import ExplainRequest
from gateway.auth import Reader
from gateway.json_view import explanation, json_response
from gateway.rest.context import Services
from gateway.rest.documentation import DeviceId, Given, Shown, TimeText, TimeUs, problems
from gateway.rest.events import EventView

router = APIRouter(prefix="/v1", tags=["explanations"])

MINUTE_US = 60_000_000


class RuleView(Shown):
    """When evidence becomes an event, with defaults written out."""

    enter_fixes: int | None
    exit_fixes: int | None
    confirm_after_us: int | None
    exit_margin_m: float | None
    accuracy_cap_m: float | None


class VersionView(Shown):
    """A version of the fence that held then."""

    version: int
    made_at: TimeText
    deleted: bool
    fence_name: str
    crossing: RuleView | None = Field(description="null for a deletion.")
    shape_changed: bool = Field(description="Whether the shape is another than before.")
    made_meanwhile: bool = Field(description="Whether it was made between the fixes, and not before them.")
    text: str = Field(description="What the edit did, if it was made meanwhile.")


class FixView(Shown):
    """One fix, and what it did."""

    observed_at: TimeText
    received_at: TimeText
    latitude_deg: float | None
    longitude_deg: float | None
    accuracy_m: float | None
    verdict: str = Field(examples=["ok"])
    distance_m: float | None = Field(description="To the boundary, negative inside; null where there is none to tell.")
    doubt_m: float | None = Field(description="Only from farther outside than this would it speak for out.")
    fence_version: int
    evidence: str = Field(examples=["in", "out", "nothing"])
    reason: str = Field(
        examples=["inside", "beyond_doubt", "within_margin", "within_accuracy", "not_counted", "no_fence"]
    )
    state_before: str = Field(examples=["unknown", "out", "pending_in", "in", "pending_out"])
    state_after: str = Field(examples=["in"])
    pending_fixes: int = Field(description="So many fixes in a row spoke against the state, ...")
    needed_fixes: int = Field(description="... of so many that are needed; 0 while nothing is pending or confirmed.")
    crossed_at: TimeText | None = Field(description="The crossing noted for an event to come.")
    arrived_late: bool = Field(description="Received after a counted fix that is newer.")
    passed_through: bool = Field(description="The straight way to it led through the fence; both ends lie outside.")
    unseen: str = Field(
        description="Why that is not told.", examples=["", "not_asked", "too_long_ago", "too_far", "not_active"]
    )
    speed_mps: float | None = Field(
        description="As measured or derived; null where unknown, or where it does not count."
    )
    text: str = Field(examples=["45 m inside: speaks for in; confirms the entry of 10:05:20"])
    event_kind: str = Field(description="The event that it confirmed; empty for none.")


class ExplainedEventView(Shown):
    """An event that was told, or that the stored fixes say should have been."""

    kind: str = Field(examples=["geofence_entered"])
    observed_at: TimeText
    confirmed_at: TimeText
    accord: str = Field(
        examples=["agrees"],
        description="How told and stored go together: agrees, differs, not_told (the fixes say it), not_found (they do "
        "not), withdrawn, or not_followed (of a kind that is shown as it was told).",
    )
    revisions: list[EventView] = Field(description="What was told of it, oldest first.")
    text: str


class NearestView(Shown):
    """Where it came nearest, of the fixes that count."""

    observed_at: TimeText
    distance_m: float


class ExplanationView(Shown):
    """Why a device has the events it has at a fence round a time, or has none."""

    device_id: str
    fence_id: str
    fence_name: str
    at: TimeText
    # `from` is a word of Python's.
    from_: TimeText = Field(alias="from")
    until: TimeText
    answer: list[str] = Field(
        description="In sentences, the most important first; times are UTC.",
        examples=[["At 2026-01-02 10:02:00 UTC truck-7 counted as inside “Port”."]],
    )
    state_at: str = Field(examples=["in"])
    start_basis: str = Field(
        examples=["event"], description="How the first state was found: first_fix, event, or first_stored_fix."
    )
    versions: list[VersionView]
    fixes: list[FixView]
    events: list[ExplainedEventView]
    nearest: NearestView | None
    cut: bool = Field(description="Whether there were more fixes: those nearest to the time are here.")


class ExplainQuery(Given):
    """What is asked about."""

    fence: str = Field(min_length=1, max_length=128, description="Its id.")
    at_us: TimeUs = Field(alias="at", description="By the device's clock.")
    minutes: int = Field(30, ge=1, le=1_440, description="How far round it to look, to each side.")


@router.get("/devices/{device_id}/explain", response_model=ExplanationView, responses=problems(404))
async def explain(
    session: Reader, services: Services, device_id: DeviceId, asked: Annotated[ExplainQuery, Query()]
) -> Response:
    """Why a device has the events it has at a fence round a time, or has none: which fixes were seen and what each
    said, how the state moved, and what was told, amended or withdrawn.
    """
    answer = await services.call(
        services.tracking.Explain,
        ExplainRequest(
            device_id=device_id, fence_id=asked.fence, at_us=asked.at_us, window_us=asked.minutes * MINUTE_US
        ),
        session.token,
    )
    return json_response(explanation(answer.explanation))
