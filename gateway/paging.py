"""Cursors: a service's page token, bound to the query that it belongs to."""

from __future__ import annotations

import base64
import binascii
import hashlib

from gateway.problems import MalformedRequest

_CHECK_BYTES = 6


class BadCursor(MalformedRequest):
    """A cursor that this query never gave."""

    code = "bad_cursor"


def _check(token: bytes, query: str) -> bytes:
    return hashlib.blake2b(token + b"\0" + query.encode(), digest_size=_CHECK_BYTES).digest()


def cursor(page_token: str, query: str) -> str | None:
    """What a client gives back for the next page; None after the last. `query` says, in any form, what was asked.

    The check guards against mistakes, not against malice: the service looks at every token itself.
    """
    if not page_token:
        return None
    token = page_token.encode()
    return base64.urlsafe_b64encode(_check(token, query) + token).rstrip(b"=").decode()


def page_token(cursor_text: str | None, query: str) -> str:
    """The service's token in a cursor; empty for the first page. Raises BadCursor."""
    if cursor_text is None:
        return ""
    try:
        raw = base64.b64decode(cursor_text + "=" * (-len(cursor_text) % 4), altchars=b"-_", validate=True)
        token = raw[_CHECK_BYTES:]
        if len(raw) <= _CHECK_BYTES or raw[:_CHECK_BYTES] != _check(token, query):
            raise BadCursor("the cursor does not belong to this query")
        return token.decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise BadCursor("the cursor is not one of ours") from error
