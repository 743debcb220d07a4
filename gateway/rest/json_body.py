"""A request's body as plain JSON values, for what pydantic does not check: GeoJSON has its own module."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Depends
from starlette.requests import Request

from gateway.problems import MalformedRequest
from runtime.problems import Invalid


class MalformedJson(MalformedRequest):
    """A body that is not JSON."""

    code = "malformed_json"


async def _object(request: Request) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJson(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Invalid("the body is not a JSON object", code="malformed")
    return value


JsonObject = Annotated[dict[str, Any], Depends(_object)]
