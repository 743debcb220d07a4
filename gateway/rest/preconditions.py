"""If-Match and If-None-Match: edits that hold only for the version that the caller knows."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from gateway.problems import MalformedRequest, PreconditionFailed
from runtime.problems import NotFound


class BadPrecondition(MalformedRequest):
    """An If-Match that is no version."""

    code = "bad_if_match"


async def matched_version(if_match: str, stored: Callable[[], Awaitable[int]], what: str) -> int:
    """The version that If-Match asks for; of `*`, the stored one. Raises PreconditionFailed, BadPrecondition."""
    if if_match.strip() == "*":
        try:
            return await stored()
        except NotFound as error:
            raise PreconditionFailed(f"there is no such {what}") from error
    found = re.fullmatch(r'\s*"([1-9][0-9]{0,18})"\s*', if_match)
    if found is None:
        raise BadPrecondition('If-Match is one version as the ETag gave it, for instance "3", or *')
    return int(found[1])


async def expected_version(
    if_match: str | None, if_none_match: str | None, stored: Callable[[], Awaitable[int]], what: str
) -> int | None:
    """The version that an edit asks for, 0 for none; None if it asks for nothing. Raises as `matched_version`."""
    if if_match is not None:
        return await matched_version(if_match, stored, what)
    if if_none_match is None:
        return None
    if if_none_match.strip() != "*":
        raise BadPrecondition("If-None-Match is * or nothing")
    return 0
