"""The one place where errors become HTTP problem details (RFC 9457)."""

from __future__ import annotations

import http
import urllib.parse
from collections.abc import Sequence
from typing import Any, Final

import grpc
import pydantic
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.json_view import Json, encode
from geofence.validation import InvalidFence
from runtime.grpc_client import problem_of
from runtime.problems import Conflict, Exhausted, Forbidden, Invalid, Kind, NotFound, Problem, Unavailable

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final[dict[Kind, int]] = {
    "not_found": 404,
    "invalid": 422,
    "conflict": 409,
    "forbidden": 403,
    "unavailable": 503,
    "unauthenticated": 401,
    "exhausted": 429,
}
_TITLES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}


class MalformedRequest(Invalid):
    """Not even the form is right: JSON that is none, a cursor we never gave."""

    status = 400


class BodyTooLarge(Invalid):
    """More bytes than `max_body_bytes`."""

    status = 413
    code = "body_too_large"


class UnsupportedMediaType(Invalid):
    """A body that does not say it is JSON."""

    status = 415
    code = "unsupported_media_type"


class PreconditionFailed(Conflict):
    """Somebody else was faster: the version in If-Match is no longer the stored one."""

    status = 412
    code = "version_conflict"


class ServiceTimeout(Unavailable):
    """A service took longer than `call_timeout_s`."""

    status = 504
    code = "service_timeout"


class UnknownDevices(NotFound):
    """Devices that the tenant does not have."""

    code = "unknown_device"


class TooManyDevices(Exhausted):
    """A subscription that names more devices than `max_devices`."""

    code = "too_many_devices"


class OriginNotAllowed(Forbidden):
    """A web page of an origin that is not in `allowed_origins`."""

    code = "origin_not_allowed"


class ProblemError(pydantic.BaseModel):
    """One thing that is wrong with a request."""

    code: str
    detail: str
    pointer: str | None = pydantic.Field(None, description="Where in the body, a JSON Pointer (RFC 6901) fragment.")
    parameter: str | None = pydantic.Field(None, description="Which parameter of path, query or header.")


class ProblemDetails(pydantic.BaseModel):
    """An error as RFC 9457 writes it. Programs may rely on `status` and `code`."""

    type: str = "about:blank"
    title: str
    status: int
    code: str = pydantic.Field(description="A slug that stays the same.")
    detail: str = pydantic.Field(description="One line for a person.")
    instance: str | None = pydantic.Field(None, description="The path that was asked.")
    errors: list[ProblemError] | None = None


def status_of(problem: Problem) -> int:
    """The HTTP status of a problem."""
    status: int | None = getattr(problem, "status", None)
    return _STATUS[problem.kind] if status is None else status


def details(status: int, code: str, detail: str, path: str | None, errors: list[Json] | None = None) -> Json:
    """The members of problem details; `errors` only when there are any."""
    members: Json = {
        "type": "about:blank",
        "title": _TITLES.get(status) or http.HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if path is not None:
        members["instance"] = urllib.parse.quote(path, safe="/:@!$&'()*+,;=~")
    if errors:
        members["errors"] = errors
    return members


def details_of(problem: Problem, path: str | None = None) -> Json:
    """A problem's details."""
    return details(status_of(problem), problem.code, str(problem), path)


def _answer(members: Json) -> Response:
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    match members["status"]:
        case 401:
            headers["WWW-Authenticate"] = 'Bearer realm="drover"'
        case 429 | 503:
            headers["Retry-After"] = "1"
    return Response(encode(members), members["status"], headers, media_type=MEDIA_TYPE)


def answer(problem: Problem, path: str) -> Response:
    """The HTTP answer to a problem."""
    return _answer(details_of(problem, path))


def from_rpc(error: grpc.aio.AioRpcError) -> Problem:
    """What a service meant by its status. What it failed of inside is logged, and none of the caller's business."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServiceTimeout("the service takes too long to answer")
    problem = problem_of(error)
    if problem.code == "service_failed":
        log.warning("a service failed", status=error.code().name, details=error.details())
        return Unavailable("the service failed", code="service_failed")
    return problem


def from_fence(error: InvalidFence) -> Problem:
    """Why a fence cannot be: its reason is the code."""
    return Invalid(str(error), code=error.reason)


def validation_errors(errors: Sequence[Any]) -> list[Json]:
    """What pydantic found, as members of `errors`. What was sent is not repeated: it may be secret or huge."""
    found: list[Json] = []
    for error in errors[:20]:
        place, *path = (error["loc"] or ("body",)) if error.get("loc") else ("body",)
        one: Json = {"code": error["type"], "detail": error["msg"]}
        if place in {"query", "path", "header", "cookie"}:
            one["parameter"] = ".".join(map(str, path))
        else:
            one["pointer"] = "#" + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
        found.append(one)
    return found


def _invalid_request(path: str, errors: Sequence[Any]) -> Json:
    if any(error["type"] == "json_invalid" for error in errors):
        return details(400, "malformed_json", "the body is not JSON", path)
    found = validation_errors(errors)
    first = found[0]
    where = first.get("parameter") or first.get("pointer") or ""
    return details(422, "invalid_request", f"{where}: {first['detail']}", path, found)


def message_problem(error: pydantic.ValidationError) -> Json:
    """What is wrong with a WebSocket client's message."""
    errors = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False, include_input=False)]
    if any(one["type"] == "json_invalid" for one in errors):
        return details(400, "malformed_json", "the message is not JSON", None)
    found = validation_errors(errors)
    return details(422, "invalid_request", f"{found[0]['pointer']}: {found[0]['detail']}", None, found)


def install(app: FastAPI) -> None:
    """Makes the application answer every error as a problem."""

    async def problem(request: Request, error: Problem) -> Response:
        return answer(error, request.url.path)

    async def fence(request: Request, error: InvalidFence) -> Response:
        return answer(from_fence(error), request.url.path)

    async def validation(request: Request, error: RequestValidationError) -> Response:
        return _answer(_invalid_request(request.url.path, error.errors()))

    async def http_error(request: Request, error: HTTPException) -> Response:
        codes = {404: "no_such_path", 405: "method_not_allowed", 400: "malformed_json"}
        code = codes.get(error.status_code, http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"))
        found = _answer(details(error.status_code, code, str(error.detail), request.url.path))
        found.headers.update(error.headers or {})
        return found

    async def bug(request: Request, error: Exception) -> Response:
        log.error("bug in a request", method=request.method, path=request.url.path, exc_info=error)
        return _answer(details(500, "internal", "the gateway failed; this is a bug", request.url.path))

    handlers: dict[Any, Any] = {
        Problem: problem,
        InvalidFence: fence,
        RequestValidationError: validation,
        HTTPException: http_error,
        Exception: bug,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
