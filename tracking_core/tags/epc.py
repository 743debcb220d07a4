"""Electronic product codes of 96 bits, to and from GS1 pure identities: `urn:epc:id:sgtin:0614141.812345.6789`.

Source: GS1 EPC Tag Data Standard 1.13, sections 6.3 (URIs), 14.6.1 (SGTIN-96), 14.6.2 (SSCC-96) and 14.6.4 (GRAI-96),
with their partition tables. All of them are an 8-bit header, a 3-bit filter (which readers sort by; no part of the
identity), a 3-bit partition that says how company prefix and reference share what follows, these two, and a serial:

- SGTIN, trade items: header 0x30, 44 bits of prefix and reference (indicator digit first), 38 bits of serial;
- SSCC, logistic units: header 0x31, 58 bits (extension digit first), 24 bits that are zero;
- GRAI, returnable assets: header 0x33, 44 bits of prefix and asset type, 38 bits of serial.

Company prefixes and references have a fixed number of digits, so leading zeros count; the serial of a 96-bit code is a
number without them. Tags also carry codes of other lengths and schemes, and what is no EPC at all: those have no
identity here, and stay the bytes that they are.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_BYTES: Final = 12
_PREFIX: Final = "urn:epc:id:"
_COMPANY_BITS: Final = (40, 37, 34, 30, 27, 24, 20)
_MOST_COMPANY_DIGITS: Final = 12
"""Of partition 0; each further partition has one less."""
_FILTERS: Final = 8


class _Scheme(NamedTuple):
    """`bits` of company prefix and reference together; `digits` of both together."""

    header: int
    bits: int
    digits: int
    serial_bits: int
    has_serial: bool


_SCHEMES: Final = {
    "sgtin": _Scheme(0x30, 44, 13, 38, has_serial=True),
    "sscc": _Scheme(0x31, 58, 17, 24, has_serial=False),
    "grai": _Scheme(0x33, 44, 12, 38, has_serial=True),
}
_BY_HEADER: Final = {scheme.header: (name, scheme) for name, scheme in _SCHEMES.items()}


class Epc(NamedTuple):
    """An identity. `reference` has as many digits as the company prefix leaves: none for a GRAI with a prefix of 12."""

    scheme: str
    """`sgtin`, `sscc` or `grai`."""
    company_prefix: str
    """6 to 12 digits."""
    reference: str
    """Item reference, serial reference or asset type; the indicator or extension digit comes first."""
    serial: int | None
    """Below 2^38; None for an SSCC, whose reference is its serial."""

    @property
    def uri(self) -> str:
        """The pure identity."""
        serial = "" if self.serial is None else f".{self.serial}"
        return f"{_PREFIX}{self.scheme}:{self.company_prefix}.{self.reference}{serial}"


class Tag(NamedTuple):
    """What a tag of 96 bits says."""

    epc: Epc
    filter_value: int
    """0 to 7; what each means depends on the scheme, see section 10 of the standard."""


def decode(data: bytes) -> Tag | None:
    """What the bytes of a tag say, or None where they are no valid SGTIN-96, SSCC-96 or GRAI-96."""
    found = _BY_HEADER.get(data[0]) if len(data) == _BYTES else None
    if found is None:
        return None
    name, scheme = found
    number = int.from_bytes(data, "big")
    partition = number >> 82 & 7
    if partition >= len(_COMPANY_BITS):
        return None
    reference_bits = scheme.bits - _COMPANY_BITS[partition]
    company_digits = _MOST_COMPANY_DIGITS - partition
    reference_digits = scheme.digits - company_digits
    serial = number & (1 << scheme.serial_bits) - 1
    reference = number >> scheme.serial_bits & (1 << reference_bits) - 1
    company = number >> scheme.serial_bits + reference_bits & (1 << _COMPANY_BITS[partition]) - 1
    if company >= 10**company_digits or reference >= 10**reference_digits or (serial and not scheme.has_serial):
        return None
    epc = Epc(
        name,
        f"{company:0{company_digits}}",
        f"{reference:0{reference_digits}}" if reference_digits else "",
        serial if scheme.has_serial else None,
    )
    return Tag(epc, number >> 85 & 7)


def encode(tag: Tag) -> bytes:
    """The 12 bytes of a tag. Raises ValueError for what does not fit 96 bits."""
    epc, filter_value = tag
    scheme = _SCHEMES.get(epc.scheme)
    if scheme is None:
        raise ValueError(f"scheme {epc.scheme!r} is none of {', '.join(_SCHEMES)}")
    partition = _MOST_COMPANY_DIGITS - len(epc.company_prefix)
    if not (0 <= partition < len(_COMPANY_BITS) and _is_digits(epc.company_prefix)):
        raise ValueError("a company prefix has 6 to 12 digits")
    reference_digits = scheme.digits - len(epc.company_prefix)
    if len(epc.reference) != reference_digits or not (_is_digits(epc.reference) or not reference_digits):
        raise ValueError(f"after a prefix of {len(epc.company_prefix)} digits come {reference_digits}")
    if (epc.serial is not None) != scheme.has_serial or not 0 <= (epc.serial or 0) < 1 << scheme.serial_bits:
        raise ValueError(f"{epc.scheme}: a serial number below 2^38" if scheme.has_serial else "an SSCC has no serial")
    if not 0 <= filter_value < _FILTERS:
        raise ValueError("a filter value is 0 to 7")
    number = scheme.header << 6 | filter_value << 3 | partition
    number = number << _COMPANY_BITS[partition] | int(epc.company_prefix)
    number = number << scheme.bits - _COMPANY_BITS[partition] | int(epc.reference or "0")
    return (number << scheme.serial_bits | (epc.serial or 0)).to_bytes(_BYTES, "big")


def parse_uri(uri: str) -> Epc:
    """The identity that a URI names, if 96 bits can hold it. Raises ValueError."""
    name, colon, body = uri.removeprefix(_PREFIX).partition(":")
    if not uri.startswith(_PREFIX) or not colon or name not in _SCHEMES:
        raise ValueError(f"{uri[:100]!r} is no {_PREFIX}sgtin, sscc or grai")
    parts = body.split(".")
    if len(parts) != (3 if _SCHEMES[name].has_serial else 2):
        raise ValueError(f"{uri[:100]!r} has too few or too many parts")
    if len(parts) == 2:
        epc = Epc(name, parts[0], parts[1], None)
    else:
        serial = parts[2]
        # 38 bits are at most 12 digits; "007" is another serial than "7", and only longer codes can hold it.
        if not _is_digits(serial) or len(serial) > 12 or (serial != "0" and serial.startswith("0")):
            raise ValueError(f"{uri[:100]!r} has a serial that 96 bits cannot hold")
        epc = Epc(name, parts[0], parts[1], int(serial))
    encode(Tag(epc, 0))
    return epc


def uri_of(data: bytes) -> str | None:
    """The pure identity of a tag's bytes, or None where they have none."""
    tag = decode(data)
    return None if tag is None else tag.epc.uri


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
