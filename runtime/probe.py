"""A small HTTP server beside a process: /metrics, /healthz (alive), /readyz (its parts answer)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from runtime import http_server

Check = Callable[[], Awaitable[str | None]]
"""Says what is wrong, in one line, or None."""

_CHECK_SECONDS = 2.0


async def run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    """What is wrong, by the name of the check; empty when nothing is. A check that takes too long has failed."""

    async def one(check: Check) -> str | None:
        try:
            return await asyncio.wait_for(check(), _CHECK_SECONDS)
        except TimeoutError:
            return f"no answer in {_CHECK_SECONDS:g} s"

    answers = await asyncio.gather(*(one(check) for check in checks.values()))
    return {name: answer for name, answer in zip(checks, answers, strict=True) if answer is not None}


def routes(checks: Mapping[str, Check]) -> list[Route]:
    """The three routes, for a process that has an HTTP server of its own."""

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        wrong = await run_checks(checks)
        body: dict[str, Any] = {"ready": not wrong, "wrong": wrong}
        return JSONResponse(body, status_code=503 if wrong else 200)

    return [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]


@contextlib.asynccontextmanager
async def serving(host: str, port: int, checks: Mapping[str, Check]) -> AsyncIterator[None]:
    """Serves the three routes while the context lasts; port 0 serves nothing. Raises FatalError."""
    if port == 0:
        yield
        return
    async with http_server.serving(Starlette(routes=routes(checks)), host, port, lifespan="off"):
        yield
