"""ChirpStack v4: what LoRaWAN devices sent, as its MQTT integration publishes it in JSON.

Source: ChirpStack v4, "Event types" and `integration.proto`. Topic: `application/{id}/device/{devEui}/event/{type}`.

- `up` carries readings, in `object`: what the device profile's codec made of the bytes. Its fields are the codec's own:
  the option `fields` maps them (`ingest/field_mapping.py`). Without a codec there is no `object`, and an uplink with
  `data` is refused, and kept; one without `data` (MAC commands only) carries no reading.
- `time` is when a gateway heard the frame. `fCnt` is the running number: a confirmed frame that is sent again has the
  same one. proto3 leaves out a zero: without `fCnt` it is the first frame.
- `rxInfo[].location` is where the gateway stands. It never becomes the device's position.
- The other events (join, ack, txack, log, status, location, integration) carry no reading.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, field

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.json_events import AwareTime, time_us
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.decoders.mapped_fields import MappedFields
from ingest.decoders.signature import Decode
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule


class _Up(msgspec.Struct):
    time: AwareTime | None = None
    counter: Annotated[int, Meta(ge=0, le=2**32 - 1)] = field(name="fCnt", default=0)
    data: str | None = None
    decoded: Any = field(name="object", default=None)


_decode_up: Final = msgspec.json.Decoder(_Up).decode


def decoder(rule: TopicRule) -> Decode:
    """The decoder of one rule, with its `fields`."""
    fields = MappedFields(rule.fields)

    def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
        kind = _kind(topic)
        if kind != "up":
            return Rejection(Reason.NOT_A_READING, f"event {kind[:100]}")
        try:
            up = _decode_up(payload)
        except JSON_ERRORS as error:
            return refusal(error)
        if up.decoded is None:
            if up.data:
                return Rejection(Reason.MISSING_FIELD, "object is missing: the device profile has no codec")
            return Rejection(Reason.NOT_A_READING, "an uplink without data")
        if up.time is None:
            return Rejection(Reason.MISSING_FIELD, "time is missing")
        return fields.readings([up.decoded], time_us(up.time), up.counter)

    return decode


def _kind(topic: str) -> str:
    """The type of event by the topic; `up` where a bridge has renamed it."""
    levels = topic.split("/")
    return levels[-1] if levels[-2:-1] == ["event"] else "up"
