"""The Things Stack v3: what LoRaWAN devices sent, as its MQTT server publishes it in JSON.

Source: The Things Stack, "MQTT Server" and "Data Formats". Topic: `v3/{application}@{tenant}/devices/{device}/up`. Its
server knows QoS 0 only: what is sent while ingest is away is lost.

- `uplink_message.decoded_payload` is what a payload formatter made of the bytes, and has no schema: the option `fields`
  maps it (`ingest/field_mapping.py`). Where there is none, an uplink with `frm_payload` is refused, and kept; one
  without (MAC commands only) carries no reading.
- `received_at` is the time. `f_cnt` is the running number; empty fields are left out, so without it, it is 0.
- `uplink_message.locations` is not read. `user` is a pin that a person put on a map. Other services' locations, and
  `frm-payload` too, come from a store in which the Application Server keeps the last location of each service: it
  sends them with every uplink, also with one that says nothing about the place, and without their time. Where this
  uplink did bring `frm-payload`, it was made of `decoded_payload`, which is read.
- `rx_metadata[].location` is where a gateway stands. It never becomes the device's position.
- A `simulated` uplink was typed in by a person. It carries no reading, and so do joins, downlinks, service data and
  solved locations.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.json_events import AwareTime, time_us
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.decoders.mapped_fields import MappedFields
from ingest.decoders.signature import Decode
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule


class _Uplink(msgspec.Struct):
    counter: Annotated[int, Meta(ge=0, le=2**32 - 1)] = field(name="f_cnt", default=0)
    data: str | None = field(name="frm_payload", default=None)
    decoded: Any = field(name="decoded_payload", default=None)


class _Message(msgspec.Struct):
    received_at: AwareTime | None = None
    simulated: bool = False
    uplink: _Uplink | None = field(name="uplink_message", default=None)
    ids: msgspec.Raw | UnsetType = field(name="end_device_ids", default=UNSET)


_decode_message: Final = msgspec.json.Decoder(_Message).decode


def decoder(rule: TopicRule) -> Decode:
    """The decoder of one rule, with its `fields`."""
    fields = MappedFields(rule.fields)

    def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
        try:
            message = _decode_message(payload)
        except JSON_ERRORS as error:
            return refusal(error)
        uplink = message.uplink
        if uplink is None:
            if message.ids is UNSET:
                return Rejection(Reason.MISSING_FIELD, "neither uplink_message nor end_device_ids")
            return Rejection(Reason.NOT_A_READING, "no uplink")
        if message.simulated:
            return Rejection(Reason.NOT_A_READING, "simulated")
        if uplink.decoded is None:
            if uplink.data:
                return Rejection(Reason.MISSING_FIELD, "decoded_payload is missing: there is no payload formatter")
            return Rejection(Reason.NOT_A_READING, "an uplink without a payload")
        if message.received_at is None:
            return Rejection(Reason.MISSING_FIELD, "received_at is missing")
        return fields.readings([uplink.decoded], time_us(message.received_at), uplink.counter)

    return decode
