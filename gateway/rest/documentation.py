"""What every route says of itself in OpenAPI: its problems, and that lists come in pages."""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, TypeVar

import pydantic
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema
from starlette.responses import Response

from gateway.json_view import time_us
from gateway.problems import MEDIA_TYPE, details

_MEANINGS: Final = {
    400: ("malformed_json", "The form of the request is wrong: JSON that is none, a cursor of another query."),
    401: ("token_missing", "No token, or one that does not hold."),
    403: ("role_not_allowed", "The token's role does not allow it."),
    404: ("not_found", "There is none, or it is another tenant's."),
    409: ("conflict", "It does not fit what is there."),
    412: ("version_conflict", "Somebody else was faster: the version is no longer the stored one."),
    413: ("body_too_large", "The body has more bytes than allowed."),
    415: ("unsupported_media_type", "The body does not say it is JSON."),
    422: ("invalid_request", "The content of the request is wrong; `code` and `errors` say how."),
    429: ("exhausted", "Too much is open already; wait for it."),
    503: ("service_unavailable", "A service does not answer; try again."),
    504: ("service_timeout", "A service takes too long."),
}


def problems(*more: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what all have, those of a route with a body, and `more`."""
    statuses = sorted({400, 401, 403, 422, 503, 504, *more, *((413, 415) if body else ())})
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    code, meaning = _MEANINGS[status]
    example = details(status, code, meaning, None)
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {"description": meaning, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


class GeoJsonResponse(Response):
    """For OpenAPI: the answer is GeoJSON."""

    media_type = "application/geo+json"


class Shown(pydantic.BaseModel):
    """A model of an answer."""

    model_config = ConfigDict(extra="forbid")


class Given(pydantic.BaseModel):
    """A model of a request: unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PageQuery(Given):
    """Which page of a list."""

    limit: int = Field(100, ge=1, le=1_000, description="At most so many.")
    cursor: str | None = Field(None, max_length=1_000, description="`next_cursor` of the page before.")


Item = TypeVar("Item")


class Page(Shown, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(description="For the next page; null on the last.")


def _parse_time(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError("a time is an RFC 3339 string")  # noqa: TRY004 - pydantic knows ValueError
    return time_us(value)


TimeUs = Annotated[
    int,
    BeforeValidator(_parse_time),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2022-01-03T00:00:00Z"]}),
]
"""A time as RFC 3339 outside, microseconds since the epoch inside."""

TimeText = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time in an answer."""

DeviceId = Annotated[str, Field(min_length=1, max_length=256)]
