"""The OpenAPI document: what FastAPI finds in the routes, and the problems they share."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gateway.problems import ProblemDetails

_DESCRIPTION: Final = """\
Devices, positions, geofences, shipments and events of a logistics network.

Times are RFC 3339 in UTC with microseconds. Lists come in pages: give `next_cursor` back as `cursor`. Errors are
problem details (RFC 9457) with a stable `code`. Live positions and events come over the WebSocket `/v1/live`
(docs/live-protocol.md).
"""
_TEMPLATE: Final = "#/components/schemas/{model}"


def install(app: FastAPI) -> None:
    """Makes the application serve the completed document; it is built on first use."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title="Drover", version=app.version, description=_DESCRIPTION, routes=app.routes, tags=app.openapi_tags
            )
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            problem = ProblemDetails.model_json_schema(ref_template=_TEMPLATE)
            components.update(problem.pop("$defs", {}))
            components["ProblemDetails"] = problem
            for unused in ("HTTPValidationError", "ValidationError"):
                components.pop(unused, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
