"""JSON of any make: an object, or an array of objects, whose fields a topic rule maps to ours.

The option `fields` says what is what (`ingest/field_mapping.py`); `observed_at_us` and `sequence` can be mapped too.
A time in a number wants the scale that makes it microseconds: 1000000 for seconds. If no time is mapped, one object was
observed when its message was received: a message that comes twice is then two readings. Several objects were not all
observed at once, and are refused without times of their own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.decoders.mapped_fields import MappedFields
from ingest.decoders.signature import Decode
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule

_decode_json: Final = msgspec.json.Decoder(dict[str, Any] | list[dict[str, Any]]).decode


def decoder(rule: TopicRule) -> Decode:
    """The decoder of one rule, with its `fields`."""
    fields = MappedFields(rule.fields)

    def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
        try:
            message = _decode_json(payload)
        except JSON_ERRORS as error:
            return refusal(error)
        objects = message if isinstance(message, list) else [message]
        if not objects:
            return Rejection(Reason.EMPTY, "an array without objects")
        return fields.readings(objects, received_at_us if len(objects) == 1 else None, None)

    return decode
