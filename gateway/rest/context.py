"""What routes need of the process: the services and the settings."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from gateway.settings import GatewaySettings
from gateway.upstream import Upstream


def _upstream(request: Request) -> Upstream:
    found: Upstream = request.app.state.upstream
    return found


def _settings(request: Request) -> GatewaySettings:
    found: GatewaySettings = request.app.state.settings
    return found


Services = Annotated[Upstream, Depends(_upstream)]
CurrentSettings = Annotated[GatewaySettings, Depends(_settings)]
