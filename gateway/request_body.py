"""What every request body must be: no longer than allowed, and JSON."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import BodyTooLarge, MalformedRequest, UnsupportedMediaType, answer


class BadContentLength(MalformedRequest):
    """A Content-Length that is not a number."""

    code = "bad_content_length"


_NOT_JSON: Final = UnsupportedMediaType("send JSON, and say so: Content-Type: application/json")


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


class RequestBody:
    """ASGI: answers 413 to a body longer than `max_bytes`, at once when its length is told, else when it is reached.

    Answers 415 to one that does not say it is JSON; a browser then asks before it sends one for a page of another site.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server for every connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "0")
        if not told.isascii() or not told.isdigit():
            await answer(BadContentLength("the Content-Length is not a number"), scope["path"])(scope, receive, send)
            return
        too_large = BodyTooLarge(f"the body has more than {self._max_bytes} bytes")
        if int(told) > self._max_bytes:
            await answer(too_large, scope["path"])(scope, receive, send)
            return
        # Read here and not by the framework, which would take an error of ours for one of its own.
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                await answer(too_large, scope["path"])(scope, receive, send)
                return
        if body and not _is_json(Headers(scope=scope).get("content-type", "")):
            await answer(_NOT_JSON, scope["path"])(scope, receive, send)
            return
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replayed() -> Message:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = whole, None
            return message

        await self._app(scope, replayed, send)
