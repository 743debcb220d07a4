"""What browsers are told to refuse."""

from __future__ import annotations

import urllib.parse

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def content_security_policy(tile_url: str | None) -> str:
    """Everything from here only, no inline scripts. MapLibre starts its worker from a blob; tiles come from their
    server. Styles set by scripts are allowed: MapLibre and deck.gl place elements so.
    """
    tiles = ""
    if tile_url is not None:
        parts = urllib.parse.urlsplit(tile_url)
        # `{s}` in a host stands for several.
        tiles = f" {parts.scheme}://{parts.netloc.replace('{s}', '*')}"
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self' blob:",
            "child-src blob:",
            f"connect-src 'self'{tiles}",
            f"img-src 'self' data: blob:{tiles}",
            "style-src 'self' 'unsafe-inline'",
            "font-src 'self' data:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


class SecurityHeaders:
    """ASGI: adds them to every HTTP answer."""

    def __init__(self, app: ASGIApp, tile_url: str | None) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": content_security_policy(tile_url),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "strict-origin-when-cross-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=(self)",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server for every connection."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send if scope["type"] != "http" else send_with_headers)
