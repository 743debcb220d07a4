"""Why a message was not taken: small numbers that kernels can return, names for counters, words for people."""

from __future__ import annotations

import enum


class Reason(enum.IntEnum):
    """Numbers are stable within a process only; what is stored and counted is `slug`."""

    text: str
    """One line for a person."""

    def __new__(cls, number: int, text: str) -> Reason:
        """An IntEnum member with words."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.text = text
        return member

    OK = 0, "taken"
    TRUNCATED = 1, "the message ends in the middle of a field"
    MALFORMED = 2, "the bytes are not of the format that the topic promises"
    MISSING_FIELD = 3, "a required field is missing"
    NOT_FINITE = 4, "a number is NaN or infinite where a value is required"
    COORDINATE_OUT_OF_RANGE = 5, "latitude beyond 90 or longitude beyond 180 degrees"
    UNKNOWN_DEVICE = 6, "the device is not provisioned"
    UNKNOWN_TOPIC = 7, "no topic rule matches"
    TOO_LARGE = 8, "the message is larger than the limit"
    BAD_EPC = 9, "an EPC has 1 to 16 bytes"
    CLOCK_UNSET = 10, "observed before the year 2000: the clock of the device was not set"
    CLOCK_FUTURE = 11, "observed more than a day after it was received: the clock of the device is wrong"
    UNKNOWN_TYPE = 12, "a type or quantity that this version does not know"
    EMPTY = 13, "the message is empty"
    NO_LOCATION = 14, "a location message without a location"
    BAD_ENCODING = 15, "text that is not UTF-8"
    FORBIDDEN = 16, "the sender may not send for this device"
    BAD_DEVICE_ID = 17, "a device id is 1 to 64, a tenant 1 to 128, of letters, digits and _ - . :"
    VALUE_OUT_OF_RANGE = 18, "a number does not fit its column"
    NOT_A_READING = 19, "a sound message that carries no reading, such as a last will"

    @property
    def slug(self) -> str:
        """The name in counters, tables and APIs, for instance `unknown_device`."""
        return self.name.lower()

    @property
    def is_kept(self) -> bool:
        """Whether the message goes to the dead letters; those without a reading are only counted."""
        return self not in {Reason.OK, Reason.NOT_A_READING}
