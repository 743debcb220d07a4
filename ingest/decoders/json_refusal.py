"""Why a JSON payload was not understood: what msgspec raises, as a reason."""

from __future__ import annotations

from typing import Final

import msgspec

from ingest.reasons import Reason, Rejection

JSON_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that a `msgspec.json.Decoder` raises. A few kilobytes of brackets are a RecursionError, in fields unread too."""

_OUT_OF_RANGE: Final = ("Expected `int` >=", "Expected `int` <=", "Integer value out of range", "Number out of range")


def refusal(error: Exception) -> Rejection:
    """The reason for one of JSON_ERRORS."""
    detail = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Rejection(Reason.MALFORMED, detail)
    # msgspec tells these apart from a wrong type in words only.
    if detail.startswith("Object missing required field"):
        return Rejection(Reason.MISSING_FIELD, detail)
    return Rejection(Reason.VALUE_OUT_OF_RANGE if detail.startswith(_OUT_OF_RANGE) else Reason.MALFORMED, detail)
