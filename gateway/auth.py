"""Who calls: every path under /v1 needs a token but those named here, so that a new route cannot forget it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends, Security
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.problems import answer
from runtime.problems import Forbidden
from runtime.tokens import Caller, InvalidToken, Role, Verifier

PUBLIC: Final = frozenset({"/v1/demo-session", "/v1/map-settings"})
READERS: Final = (Role.VIEWER, Role.DISPATCHER, Role.ADMIN)
EDITORS: Final = (Role.DISPATCHER, Role.ADMIN)


class RoleNotAllowed(Forbidden):
    """A token whose role may not do this."""

    code = "role_not_allowed"


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """A caller and its token, which goes along to the services."""

    caller: Caller
    token: str = dataclasses.field(repr=False)


def bearer_token(authorization: str | None) -> str:
    """The token in an Authorization header. Raises InvalidToken."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken("the request carries no bearer token", code="token_missing")
    return token.strip()


def check_role(caller: Caller, roles: tuple[Role, ...]) -> None:
    """Raises RoleNotAllowed."""
    if caller.role not in roles:
        allowed = ", ".join(role.value for role in roles)
        raise RoleNotAllowed(f"this needs the role {allowed}; the token has {caller.role.value}")


class Authentication:
    """ASGI: checks the token of every HTTP request under /v1 before anything of its body is read."""

    def __init__(self, app: ASGIApp, verifier: Verifier) -> None:
        self._app = app
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server for every connection."""
        path: str = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/v1/") and path not in PUBLIC and scope["method"] != "OPTIONS":
            try:
                token = bearer_token(Headers(scope=scope).get("authorization"))
                scope.setdefault("state", {})["session"] = Session(self._verifier.verify(token), token)
            except InvalidToken as error:
                await answer(error, path)(scope, receive, send)
                return
        await self._app(scope, receive, send)


_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="bearer", bearerFormat="JWT", description="EdDSA JWT; `drover token` issues one."
)


def _allowing(roles: tuple[Role, ...]) -> Callable[..., Session]:
    def session(request: Request, _: Annotated[object, Security(_BEARER)]) -> Session:
        found: Session = request.state.session
        check_role(found.caller, roles)
        return found

    return session


Reader = Annotated[Session, Depends(_allowing(READERS))]
Editor = Annotated[Session, Depends(_allowing(EDITORS))]
Administrator = Annotated[Session, Depends(_allowing((Role.ADMIN,)))]
