"""Domain errors: small classes that carry data. `grpc_server` makes status codes of them, the gateway HTTP problems."""

from __future__ import annotations

from typing import ClassVar, Literal

Kind = Literal["not_found", "invalid", "conflict", "forbidden", "unavailable", "unauthenticated", "exhausted"]


class Problem(Exception):
    """What a caller did or asked that cannot be, or a peer that is away.

    Subclasses set `kind`, which decides the status, and `code`, a slug that programs may rely on. The message is one
    line for a person.
    """

    kind: ClassVar[Kind] = "invalid"
    code: str = "invalid"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class NotFound(Problem):
    """The thing named does not exist for this caller."""

    kind = "not_found"
    code = "not_found"


class Invalid(Problem):
    """The request itself is wrong."""

    kind = "invalid"
    code = "invalid"


class Conflict(Problem):
    """The request is right but does not fit the present state."""

    kind = "conflict"
    code = "conflict"


class Forbidden(Problem):
    """The caller's role does not allow it."""

    kind = "forbidden"
    code = "forbidden"


class Unauthenticated(Problem):
    """No token, or one that does not hold."""

    kind = "unauthenticated"
    code = "unauthenticated"


class Unavailable(Problem):
    """A part that is needed does not answer now; trying again may help."""

    kind = "unavailable"
    code = "unavailable"


class Exhausted(Problem):
    """More than is allowed at once."""

    kind = "exhausted"
    code = "exhausted"


BY_KIND: dict[Kind, type[Problem]] = {
    problem.kind: problem
    for problem in (NotFound, Invalid, Conflict, Forbidden, Unauthenticated, Unavailable, Exhausted)
}


class FatalError(Exception):
    """A condition that only a person can mend: shown as one line, and the process ends with exit code 1."""
