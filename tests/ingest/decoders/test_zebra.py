"""Zebra readers: tag data of fixed readers and sleds, with much and with little in it, and anything at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import ReadingBatch, TagRead
from ingest.decoders.zebra import decode
from ingest.reasons import Reason, Rejection

# Zebra IoT Connector, RAW MQTT payload schemas, tag data event, with all that "Configure TagStorage" can ask for.
DATA = {
    "eventNum": 1201, "format": "epc", "idHex": "317a7202cc164ba20b000000", "antenna": 2, "channel": 866.3,
    "peakRssi": -47, "phase": 12.5, "reads": 4, "PC": "3000", "CRC": "1a2b", "TID": "e280119120006d3f",
    "hostName": "FX9600ABCDEF",
}  # fmt: skip
SEEN_US = 1_772_126_017_432_000


def event(kind: str | None = "SIMPLE", **data: object) -> dict[str, object]:
    body = {name: value for name, value in (DATA | data).items() if value is not None}
    outer = {} if kind is None else {"type": kind}
    return {"data": body, "timestamp": "2026-02-26T17:13:37.432+0000", **outer}


def decoded(message: object) -> ReadingBatch | Rejection:
    return decode("zebra/dock-3/data", json.dumps(message).encode(), 0)


def sound(message: object) -> list[TagRead]:
    readings = decoded(message)
    assert isinstance(readings, ReadingBatch), readings
    return list(readings.tags)


@pytest.mark.parametrize("kind", ["SIMPLE", "INVENTORY", "PORTAL", "CONVEYOR", "CUSTOM", None])
def test_every_field(kind: str | None) -> None:
    (read,) = sound(event(kind))
    assert read.observed_at_us == SEEN_US
    assert (read.epc.hex(), read.antenna, read.rssi_dbm) == (DATA["idHex"], 2, -47)
    assert not read.HasField("sequence"), "eventNum begins anew with each inventory"
    assert not read.HasField("sent_at_us")


def test_only_the_number_and_the_epc() -> None:
    (read,) = sound({"data": {"eventNum": 1, "idHex": "30"}, "timestamp": "2026-02-26T17:13:37.432Z", "type": "SIMPLE"})
    assert (read.observed_at_us, read.epc, read.antenna) == (SEEN_US, b"\x30", 0)
    assert not read.HasField("rssi_dbm")


def test_an_array_and_what_is_no_tag_in_it() -> None:
    assert [read.antenna for read in sound([event(antenna=1), {"type": "heartbeat"}, event(antenna=4)])] == [1, 4]


# "RFD40 / RFD90 MQTT API Reference", dataEVT.
SLED_TAG = {
    "EPCid": "3074257BF7194E4000001A85", "EPC": "E2F030003074257BF7194E4000001A85", "TID": "E2003412013BFD00",
    "channel": 911.75, "eventNum": 1, "format": "epc", "peakRssi": -39, "phase": 0, "seenCount": 1,
    "lastSeenTime": 1_772_126_016_999, "accessResults": ["READ-EPC-SUCCESS"],
}  # fmt: skip


def of_sled(*tags: dict[str, object]) -> dict[str, object]:
    return {"type": "BALANCED_PERFORMANCE", "timestamp": "2026-02-26T17:13:37.432Z", "data": {"tagData": tags}}


def test_a_sled_sends_a_list() -> None:
    bare = {"EPCid": SLED_TAG["EPCid"], "eventNum": 2}
    first, second = sound(of_sled(SLED_TAG, bare))
    assert (first.observed_at_us, first.sent_at_us) == (1_772_126_016_999_000, SEEN_US)
    assert (first.epc.hex().upper(), first.antenna, first.rssi_dbm) == (SLED_TAG["EPCid"], 0, -39)
    assert (second.observed_at_us, second.epc) == (SEEN_US, first.epc)
    assert not second.HasField("sent_at_us")
    assert not second.HasField("rssi_dbm")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (event(idHex=None), Reason.MISSING_FIELD),
        ({"data": {"eventNum": 7}, "timestamp": "2026-02-26T17:13:37.432Z", "type": "SIMPLE"}, Reason.MISSING_FIELD),
        ({"type": "SIMPLE"}, Reason.MISSING_FIELD),
        ({"data": DATA, "type": "SIMPLE"}, Reason.MISSING_FIELD),
        ({}, Reason.MISSING_FIELD),
        (event(idHex="31 7a"), Reason.BAD_EPC),
        (event(idHex="0x31"), Reason.BAD_EPC),
        (event(antenna=-1), Reason.VALUE_OUT_OF_RANGE),
        (event(antenna="left"), Reason.MALFORMED),
        (event() | {"timestamp": "2026-02-26 17:13"}, Reason.MALFORMED),
        (of_sled(SLED_TAG, {"EPC": "30", "eventNum": 2}), Reason.MISSING_FIELD),
        (of_sled({"EPCid": "3"}), Reason.BAD_EPC),
        (of_sled({"EPCid": "30", "lastSeenTime": 2**63}), Reason.VALUE_OUT_OF_RANGE),
        (of_sled(), Reason.NOT_A_READING),
        ({"type": "FAST_READ", "data": {"barcodeData": [{"decodedBarcode": "1"}]}}, Reason.NOT_A_READING),
        ([], Reason.EMPTY),
        (event("DIRECTIONALITY", idHex=None), Reason.NOT_A_READING),
        ({"type": "heartbeat", "timestamp": 12, "data": [1]}, Reason.NOT_A_READING),  # their fields may be anything
        ([{"type": "gpi", "data": "x"}, {"type": "error"}], Reason.NOT_A_READING),
        ([{"type": "gpi", "data": "x"}, event()], Reason.MALFORMED),
    ],
)
def test_reasons(message: object, reason: Reason) -> None:
    answer = decoded(message)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())


@given(
    st.dictionaries(st.sampled_from(sorted(DATA)), _ANY),
    st.dictionaries(st.sampled_from(["timestamp", "type", "data"]), _ANY),
)
def test_any_values_give_readings_or_a_reason(data: dict[str, object], outer: dict[str, object]) -> None:
    assert isinstance(decoded(event(**data) | outer), ReadingBatch | Rejection)
    assert isinstance(decoded([event(**data), outer]), ReadingBatch | Rejection)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(SLED_TAG)), _ANY), max_size=3))
def test_any_values_of_a_sled(tags: list[dict[str, object]]) -> None:
    assert isinstance(decoded(of_sled(*tags)), ReadingBatch | Rejection)
