"""JSON as readers of tags send it: one object, an array of them (webhooks), or one after the other (streams)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

Event = TypeVar("Event", bound=msgspec.Struct)

AwareTime = Annotated[dt.datetime, Meta(tz=True)]
"""RFC 3339 with an offset; nanoseconds are rounded to microseconds. Without an offset it is refused, not guessed."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_SPACE: Final = b" \t\r\n"


def time_us(moment: dt.datetime) -> int:
    """Microseconds since the epoch of an AwareTime."""
    return (moment - _EPOCH) // _MICROSECOND


class Events(Generic[Event]):
    """Decodes all objects of a payload. Objects of a stream stand on lines of their own; empty lines keep it alive."""

    def __init__(self, event: type[Event]) -> None:
        # Strict: a number is no time, because nothing says what it counts.
        self._lines: Final = msgspec.json.Decoder(event).decode_lines
        self._array: Final = msgspec.json.Decoder(list[event]).decode  # type: ignore[valid-type]

    def decode(self, payload: bytes) -> list[Event]:
        """In the order sent. Raises JSON_ERRORS."""
        if payload.lstrip(_SPACE).startswith(b"["):
            return self._array(payload)
        return self._lines(payload)
