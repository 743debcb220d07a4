"""The live map's files, as `make web` built them."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Final

from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER: Final = pathlib.Path(__file__).parent / "live_map" / "dist"


class _Files(StaticFiles):
    """Names under assets/ carry a hash of their content and are kept for good; the rest is asked for again."""

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Called by StaticFiles for each file."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        hashed = pathlib.Path(full_path).parent.name == "assets"
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return answer


class _PageMount(Mount):
    """Everything but /v1, where an unknown path or method is the API's to answer."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Called by the router."""
        path: str = scope.get("path", "")
        if path == "/v1" or path.startswith("/v1/") or scope["type"] != "http":
            return Match.NONE, {}
        return super().matches(scope)


def route(folder: pathlib.Path = FOLDER) -> BaseRoute:
    """The page at `/`; while it is not built, a line that says so."""
    if (folder / "index.html").is_file():
        return _PageMount("/", _Files(directory=folder, html=True), name="page")

    async def missing(_: object) -> Response:
        return PlainTextResponse("the live map is not built: run `make web`\n", 503)

    return Route("/", missing)
