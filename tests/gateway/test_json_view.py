"""Protos as JSON."""

from __future__ import annotations

import datetime as dt
from typing import get_args

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from drover.api.ingest.v1 import ingest_service_pb2
from drover.api.tracking.v1 import tracking_service_pb2
from drover.shipment.v1 import shipment_pb2
from drover.tracking.v1 import event_pb2
from gateway import json_view
from gateway.rest import shipments
from gateway.rest.events import Kind

MICROSECONDS = st.integers(
    min_value=int(dt.datetime(1, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000,
    max_value=int(dt.datetime(9999, 12, 31, tzinfo=dt.UTC).timestamp()) * 1_000_000,
)


@given(MICROSECONDS)
def test_times_go_out_and_in(time_us: int) -> None:
    text = json_view.time_text(time_us)
    assert len(text) == len("2022-01-03T00:00:00.000000Z")
    assert json_view.time_us(text) == time_us


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t01:00:00.5+01:00", 500_000),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2022-01-03T00:00:00.1234567Z", 1_641_168_000_123_456),
    ],
)
def test_times_as_rfc_3339_allows(text: str, time_us: int) -> None:
    assert json_view.time_us(text) == time_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2022-01-03",
        "2022-01-03T00:00:00",
        "2022-13-03T00:00:00Z",
        "20220103T000000Z",
        "2022-01-03T25:00:00Z",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        json_view.time_us(text)


def _messages() -> list[Descriptor]:
    modules = (ingest_service_pb2, tracking_service_pb2, shipment_pb2, event_pb2)
    return [message for module in modules for message in module.DESCRIPTOR.message_types_by_name.values()]


def test_every_time_is_shown_as_one() -> None:
    """A new `_us` field must be told apart: time or duration."""
    for message in _messages():
        for field in message.fields:
            if field.name.endswith("_us") and field.name not in json_view.DURATIONS:
                name, write = json_view._scalar(field)
                assert name.endswith("_at") or name in {"at", "from", "until"}, f"{message.name}.{field.name}"
                assert write is json_view.time_text
    assert not set(json_view._TIMES) & json_view.DURATIONS


def test_every_enum_loses_its_prefix() -> None:
    seen = set()
    for message in _messages():
        for field in message.fields:
            if field.type == FieldDescriptor.TYPE_ENUM:
                assert field.enum_type is not None
                names = [json_view.enum_name(field.enum_type, number) for number in field.enum_type.values_by_number]
                assert "unspecified" in names
                for number, name in zip(field.enum_type.values_by_number, names, strict=True):
                    assert json_view.enum_number(field.enum_type, name) == number
                seen.add(field.enum_type.name)
    assert {"Verdict", "Severity", "ShipmentStatus", "Quantity"} <= seen


def test_a_number_of_tomorrow() -> None:
    verdicts = event_pb2.DESCRIPTOR.enum_types_by_name["Verdict"]
    assert json_view.enum_name(verdicts, 99) == "unknown_99"
    assert json_view.enum_number(verdicts, "beautiful") is None


def test_a_kind_of_tomorrow_is_null_and_empty() -> None:
    shown = json_view.event(event_pb2.TrackingEvent(event_id="x"))
    assert (shown["kind"], shown["details"]) == (None, {})


def test_every_kind_of_event_is_documented() -> None:
    kinds = {field.name for field in event_pb2.TrackingEvent.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert set(get_args(Kind)) == kinds


def test_every_quantity_and_status_is_documented() -> None:
    for known, enum in ((shipments.Quantity, shipments._QUANTITIES), (shipments.Status, shipments._STATUSES)):
        names = {json_view.enum_name(enum, number) for number in enum.values_by_number}
        assert set(get_args(known)) == names - {"unspecified"}
