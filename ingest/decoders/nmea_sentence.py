"""NMEA 0183 sentences: found in bytes, and proved by their checksum.

Source: NMEA 0183, section 5.3, as repeated in the open descriptions of the protocol: `$` or `!`, an address of a talker
and a formatter, fields between commas, `*`, and the exclusive or of all between as two hexadecimal digits. What stands
outside of sentences (line ends, TAG blocks, noise of a serial line) is passed over. Early versions allowed sentences
without a checksum: they cannot be told from broken ones, and are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

# A start cannot stand within a sentence, so that no byte is looked at twice.
_SENTENCE: Final = re.compile(rb"([$!])([^$!*\r\n]*)(?:\*([0-9A-Fa-f]{2}))?")
_ADDRESS_LENGTH: Final = 5


class Sentence(NamedTuple):
    """One sentence whose checksum is right."""

    formatter: str
    """What it says, for instance RMC, whoever the talker; empty for proprietary and encapsulated (`!`) sentences."""
    fields: list[str]
    """Those behind the address."""


class Broken(NamedTuple):
    """What begins as a sentence and is none."""

    detail: str


def sentences(data: bytes) -> Iterator[Sentence | Broken]:
    """All sentences, in order. Linear in the length of `data`."""
    for match in _SENTENCE.finditer(data):
        start, body, said = match.groups()
        if said is None:
            yield Broken(f"no checksum: {body[:80]!r}")
            continue
        checksum = int(np.bitwise_xor.reduce(np.frombuffer(body, np.uint8))) if body else 0
        if checksum != int(said, 16):
            yield Broken(f"checksum {checksum:02X}, not {said.decode().upper()}: {body[:80]!r}")
            continue
        address, *fields = body.decode("latin-1").split(",")
        is_standard = start == b"$" and len(address) == _ADDRESS_LENGTH and address[0] != "P"
        yield Sentence(address[2:] if is_standard else "", fields)
