"""EPCs of 96 bits: known answers, every field that is valid, and what is no EPC."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracking_core.tags.epc import Epc, Tag, decode, encode, parse_uri, uri_of

# The first two are known answers of the field. The others are bits put together by hand from the partition tables of
# the Tag Data Standard: its example of a GRAI (6.3.4), a prefix of 12 digits (no digit for the asset type), and zeros.
KNOWN = [
    ("3074257BF7194E4000001A85", "urn:epc:id:sgtin:0614141.812345.6789", 3),
    ("317A7202CC164BA20B000000", "urn:epc:id:sscc:641035.51913662987", 3),
    ("3314257BF40C0E4000000190", "urn:epc:id:grai:0614141.12345.400", 0),
    ("330001265800800000000005", "urn:epc:id:grai:001234567200..5", 0),
    ("301800000000000000000000", "urn:epc:id:sgtin:000000.0000000.0", 0),
]
DIGITS = {"sgtin": 13, "sscc": 17, "grai": 12}


@st.composite
def tags(draw: st.DrawFn) -> Tag:
    """Every valid tag; ends of ranges are as likely as what is between them."""
    scheme = draw(st.sampled_from(sorted(DIGITS)))
    company_digits = draw(st.integers(6, 12))
    reference_digits = DIGITS[scheme] - company_digits
    company = draw(_numbers(10**company_digits))
    reference = draw(_numbers(10**reference_digits))
    serial = None if scheme == "sscc" else draw(_numbers(2**38))
    text = f"{reference:0{reference_digits}}" if reference_digits else ""
    return Tag(Epc(scheme, f"{company:0{company_digits}}", text, serial), draw(st.integers(0, 7)))


def _numbers(below: int) -> st.SearchStrategy[int]:
    return st.integers(0, below - 1) | st.sampled_from([0, below - 1])


@pytest.mark.parametrize(("text", "uri", "filter_value"), KNOWN)
def test_known_answers(text: str, uri: str, filter_value: int) -> None:
    data = bytes.fromhex(text)
    tag = decode(data)
    assert tag is not None
    assert (tag.epc.uri, tag.filter_value) == (uri, filter_value)
    assert encode(Tag(parse_uri(uri), filter_value)) == data
    assert uri_of(data) == uri


@given(tags())
@example(Tag(Epc("grai", "000000000000", "", 0), 0))
@example(Tag(Epc("sgtin", "999999999999", "9", 2**38 - 1), 7))
@example(Tag(Epc("sscc", "999999", "99999999999", None), 7))
def test_every_valid_tag_comes_back(tag: Tag) -> None:
    data = encode(tag)
    assert len(data) == 12
    assert decode(data) == tag
    assert parse_uri(tag.epc.uri) == tag.epc


@given(st.binary(max_size=16) | st.tuples(st.sampled_from([0x30, 0x31, 0x33]), st.binary(min_size=11, max_size=11)).map(
    lambda parts: bytes([parts[0]]) + parts[1]
))  # fmt: skip
def test_any_bytes_are_a_tag_that_encodes_to_them_or_none(data: bytes) -> None:
    tag = decode(data)
    if tag is None:
        assert uri_of(data) is None
    else:
        assert encode(tag) == data
        assert parse_uri(tag.epc.uri) == tag.epc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "3074257BF7194E4000001A",  # too short
        "3074257BF7194E4000001A8500",  # too long
        "E28011606000020497CB0065",  # a TID
        "303C257BF7194E4000001A85",  # partition 7
        "303BFFFFFFFFFFFFFFFFFFFF",  # a company prefix of more digits than its partition allows
        "30180000FFFFFF0000000000",  # an item reference of more than 7 digits
        "317A7202CC164BA20B000001",  # an SSCC whose last 24 bits are not zero
        "330000000000004000000000",  # an asset type where the prefix leaves no digit for one
    ],
)
def test_what_is_no_epc(text: str) -> None:
    assert decode(bytes.fromhex(text)) is None


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "urn:epc:id:sgtin",
        "urn:epc:tag:sgtin-96:3.0614141.812345.6789",
        "urn:epc:id:sgln:0614141.12345.400",
        "urn:epc:id:sgtin:0614141.812345",
        "urn:epc:id:sgtin:0614141.812345.6789.1",
        "urn:epc:id:sgtin:0614141.81234.6789",
        "urn:epc:id:sgtin:06141.81234567.6789",
        "urn:epc:id:sgtin:0614141234567..6789",
        "urn:epc:id:sgtin:0614141.812345.06789",
        "urn:epc:id:sgtin:0614141.812345.",
        "urn:epc:id:sgtin:0614141.812345.6789a",
        "urn:epc:id:sgtin:0614141.812345.274877906944",
        "urn:epc:id:sgtin:0614141.812345." + "1" * 5_000,
        "urn:epc:id:sgtin:０614141.812345.6789",
        "urn:epc:id:sgtin:-614141.812345.6789",
        "urn:epc:id:sscc:641035.51913662987.1",
        "urn:epc:id:sscc:641035.5191366298",
    ],
)
def test_uris_that_96_bits_cannot_hold(uri: str) -> None:
    with pytest.raises(ValueError):
        parse_uri(uri)


@given(st.text() | st.from_regex(r"urn:epc:id:(sgtin|sscc|grai):[0-9.]*", fullmatch=True))
def test_any_uri_has_a_tag_or_is_refused(uri: str) -> None:
    try:
        epc = parse_uri(uri)
    except ValueError:
        return
    assert epc.uri == uri


@pytest.mark.parametrize(
    "tag",
    [
        Tag(Epc("sgtin", "0614141", "812345", None), 0),
        Tag(Epc("sgtin", "0614141", "812345", -1), 0),
        Tag(Epc("sscc", "641035", "51913662987", 0), 0),
        Tag(Epc("sscc", "641035", "51913662987", None), 8),
        Tag(Epc("sgln", "0614141", "12345", 400), 0),
    ],
)
def test_tags_that_96_bits_cannot_hold(tag: Tag) -> None:
    with pytest.raises(ValueError):
        encode(tag)
