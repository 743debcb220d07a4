"""Page tokens: where the next page of a list begins, opaque to callers, refused when it is not ours."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from runtime.problems import Invalid


class InvalidPageToken(Invalid):
    """A page token that was not given for this list."""

    code = "invalid_page_token"


def encode(listed: str, key: tuple[int | str, ...]) -> str:
    """The token of the page after `key` in the list named `listed`."""
    return base64.urlsafe_b64encode(json.dumps([listed, *key], separators=(",", ":")).encode()).decode().rstrip("=")


def decode(listed: str, token: str, *types: type) -> tuple[Any, ...] | None:
    """The key of a token, of these types; None for the first page. Integers fit 64 bits. Raises InvalidPageToken."""
    if not token:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidPageToken("the page token is not one of ours") from error
    if not isinstance(found, list) or found[:1] != [listed] or [type(part) for part in found[1:]] != list(types):
        raise InvalidPageToken("the page token belongs to another list")
    if any(isinstance(part, int) and not -(2**63) <= part < 2**63 for part in found):
        raise InvalidPageToken("the page token is not one of ours")
    return tuple(found[1:])
