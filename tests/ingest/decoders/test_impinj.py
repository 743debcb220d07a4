"""Impinj readers: events as their interface describes them, one, many and streamed, and anything at all."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import ReadingBatch, TagRead
from ingest.decoders.impinj import decode
from ingest.reasons import Reason, Rejection

EPC = bytes.fromhex("3074257BF7194E4000001A85")
# Impinj IoT device interface, schemas ReaderEvent and TagInventoryEvent, every field of a preset that asks for all.
TAG = {
    "epc": "MHQle_cZTkAAABqF", "epcHex": "3074257BF7194E4000001A85", "tid": "4oARkaUDAGXybMv_",
    "tidHex": "E2801191A5030065F26CCBFF", "pc": "MAA=", "antennaPort": 3, "antennaName": "Dock",
    "peakRssiCdbm": -5325, "frequency": 866900, "transmitPowerCdbm": 3150, "phaseAngle": 12.5,
    "lastSeenTime": "2026-02-26T17:13:37.432087177Z",
}  # fmt: skip
EVENT = {"timestamp": "2026-02-26T17:13:38.5Z", "hostname": "impinj-14-a1-b2", "eventType": "tagInventory"}
SEEN_US = 1_772_126_017_432_087
SENT_US = 1_772_126_018_500_000


def event(**tag: object) -> dict[str, object]:
    return EVENT | {"tagInventoryEvent": {name: value for name, value in (TAG | tag).items() if value is not None}}


def decoded(message: object) -> ReadingBatch | Rejection:
    return decode("impinj/dock-3", json.dumps(message).encode(), 0)


def sound(message: object) -> list[TagRead]:
    readings = decoded(message)
    assert isinstance(readings, ReadingBatch), readings
    assert not readings.positions
    assert not readings.sensors
    return list(readings.tags)


def test_every_field() -> None:
    (read,) = sound(event())
    assert (read.observed_at_us, read.sent_at_us) == (SEEN_US, SENT_US)
    assert (read.epc, read.antenna, read.rssi_dbm) == (EPC, 3, -53.25)
    assert not read.HasField("sequence")


@pytest.mark.parametrize("text", ["MHQle_cZTkAAABqF", "MHQle/cZTkAAABqF"])
def test_an_epc_in_base64(text: str) -> None:
    assert sound(event(epcHex=None, epc=text))[0].epc == EPC


@given(st.binary(min_size=1, max_size=16))
def test_base64_with_and_without_padding(epc: bytes) -> None:
    text = base64.urlsafe_b64encode(epc).decode()
    for each in (text, text.rstrip("=")):
        assert sound(event(epcHex=None, epc=each))[0].epc == epc


def test_the_least_that_a_preset_may_send() -> None:
    (read,) = sound(EVENT | {"tagInventoryEvent": {"epc": TAG["epc"]}})
    assert (read.observed_at_us, read.epc, read.antenna) == (SENT_US, EPC, 0)
    assert not read.HasField("rssi_dbm")
    assert not read.HasField("sent_at_us")


def test_without_an_outer_timestamp() -> None:
    (read,) = sound({"eventType": "tagInventory", "tagInventoryEvent": TAG})
    assert read.observed_at_us == SEEN_US
    assert not read.HasField("sent_at_us")


def test_one_many_and_streamed() -> None:
    events = [event(antennaPort=number) for number in range(1, 4)] + [EVENT | {"eventType": "inventoryStatus"}]
    as_array = json.dumps(events).encode()
    as_lines = b"\r\n".join(json.dumps(each).encode() + b"\n" for each in events)
    as_page = b"\n".join(json.dumps(each, indent=2).encode() for each in events)
    for payload in (as_array, b" \n" + as_array, as_lines, b"\n\n" + as_lines + b"\n", as_page):
        readings = decode("", payload, 0)
        assert isinstance(readings, ReadingBatch)
        assert [read.antenna for read in readings.tags] == [1, 2, 3]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (event(epc=None, epcHex=None), Reason.MISSING_FIELD),  # a TID is no EPC
        (event(epcHex="30Z4"), Reason.BAD_EPC),
        (event(epcHex="307"), Reason.BAD_EPC),
        (event(epcHex="30 74"), Reason.BAD_EPC),
        (event(epcHex="ä"), Reason.BAD_EPC),
        (event(epcHex=None, epc="M"), Reason.BAD_EPC),
        (event(epcHex=None, epc="MHQ!"), Reason.BAD_EPC),
        (event(epcHex=None, epc="MHQlä"), Reason.BAD_EPC),
        ({"eventType": "tagInventory", "tagInventoryEvent": {"epc": "MHQl"}}, Reason.MISSING_FIELD),
        (EVENT, Reason.MISSING_FIELD),
        ({}, Reason.MISSING_FIELD),
        ([event(), {}], Reason.MISSING_FIELD),
        (event(antennaPort=-1), Reason.VALUE_OUT_OF_RANGE),
        (event(lastSeenTime="2026-02-26T17:13:37"), Reason.MALFORMED),  # no offset: whose clock would it be?
        (event(lastSeenTime=1_772_126_017), Reason.MALFORMED),
        ([], Reason.EMPTY),
        ("text", Reason.MALFORMED),
        (EVENT | {"eventType": "gpiTransition", "gpiTransitionEvent": {"gpi": 1}}, Reason.NOT_A_READING),
        ([EVENT | {"eventType": "inventoryStatus"}, EVENT | {"eventType": "diagnostic"}], Reason.NOT_A_READING),
    ],
)
def test_reasons(message: object, reason: Reason) -> None:
    answer = decoded(message)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


@pytest.mark.parametrize("payload", [b'{"eventType"', b'{"eventType": "x"},\n{}', b'[{"eventType": "x"}', b"\xff"])
def test_what_is_no_json(payload: bytes) -> None:
    assert isinstance(decode("", payload, 0), Rejection)


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())
_TIMES = st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat())


@given(
    st.dictionaries(st.sampled_from(sorted(TAG)), _ANY | _TIMES),
    st.dictionaries(st.sampled_from(["timestamp", "eventType", "tagInventoryEvent"]), _ANY | _TIMES),
)
def test_any_values_give_readings_or_a_reason(tag: dict[str, object], outer: dict[str, object]) -> None:
    assert isinstance(decoded(event(**tag) | outer), ReadingBatch | Rejection)
