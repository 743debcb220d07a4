"""Why a message was not taken: small numbers that kernels can return, names for counters, words for people."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class Reason(enum.IntEnum):
    """Numbers are stable within a process only; what is stored and counted is `slug`."""

    OK = 0
    TRUNCATED = 1
    MALFORMED = 2
    MISSING_FIELD = 3
    NOT_FINITE = 4
    COORDINATE_OUT_OF_RANGE = 5
    UNKNOWN_DEVICE = 6
    UNKNOWN_TOPIC = 7
    TOO_LARGE = 8
    BAD_EPC = 9
    CLOCK_UNSET = 10
    CLOCK_FUTURE = 11
    UNKNOWN_TYPE = 12
    EMPTY = 13
    NO_LOCATION = 14
    BAD_ENCODING = 15
    FORBIDDEN = 16
    BAD_DEVICE_ID = 17
    VALUE_OUT_OF_RANGE = 18
    NOT_A_READING = 19
    NO_BIRTH = 20

    @property
    def text(self) -> str:
        """One line for a person."""
        return _TEXTS[self]

    @property
    def slug(self) -> str:
        """The name in counters, tables and APIs, for instance `unknown_device`."""
        return self.name.lower()

    @property
    def is_kept(self) -> bool:
        """Whether the message goes to the dead letters.

        One without a reading is only counted; one that the sender may not send is refused to its face: kept, it could
        be replayed by someone who may.
        """
        return self not in {Reason.OK, Reason.NOT_A_READING, Reason.FORBIDDEN}


_TEXTS: Final = {
    Reason.OK: "taken",
    Reason.TRUNCATED: "the message ends in the middle of a field",
    Reason.MALFORMED: "the bytes are not of the format that the topic promises",
    Reason.MISSING_FIELD: "a required field is missing",
    Reason.NOT_FINITE: "a number is NaN or infinite where a value is required",
    Reason.COORDINATE_OUT_OF_RANGE: "latitude beyond 90 or longitude beyond 180 degrees",
    Reason.UNKNOWN_DEVICE: "the device is not provisioned",
    Reason.UNKNOWN_TOPIC: "no topic rule matches",
    Reason.TOO_LARGE: "the message is larger than the limit, or has more parts",
    Reason.BAD_EPC: "an EPC has 1 to 16 bytes",
    Reason.CLOCK_UNSET: "observed before the year 2000: the clock of the device was not set",
    Reason.CLOCK_FUTURE: "observed more than a day after it was received: the clock of the device is wrong",
    Reason.UNKNOWN_TYPE: "a type or quantity that this version does not know",
    Reason.EMPTY: "the message is empty",
    Reason.NO_LOCATION: "a location message without a location",
    Reason.BAD_ENCODING: "text that is not UTF-8",
    Reason.FORBIDDEN: "the sender may not send for this device",
    Reason.BAD_DEVICE_ID: "a device id is 1 to 64, a tenant 1 to 128, of letters, digits and _ - . :",
    Reason.VALUE_OUT_OF_RANGE: "a number does not fit its column",
    Reason.NOT_A_READING: "a sound message that carries no reading, such as a last will",
    Reason.NO_BIRTH: "it means nothing without a birth message that was not seen; a rebirth was asked for",
}


class Rejection(NamedTuple):
    """Why, and one line of detail for a person."""

    reason: Reason
    detail: str = ""
    payload_bytes: int | None = None
    """How long the payload was, where its source kept only the beginning of it."""
