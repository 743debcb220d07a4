"""What every decoder of a foreign format looks like."""

from __future__ import annotations

from collections.abc import Callable

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.reasons import Rejection
from ingest.settings import TopicRule

Decode = Callable[[str, bytes, int], ReadingBatch | Rejection]
"""`decode(topic, payload, received_at_us)`: readings, or why there are none. Never raises, whatever the bytes."""

MakeDecoder = Callable[[TopicRule], Decode]
"""A decoder for one rule: with the rule's options, and with a memory of its own if it needs one. Raises FatalError,
naming the rule, for options that make no sense."""

Publish = Callable[[str, bytes], None]
"""`publish(topic, payload)`: sends a message to a device, without waiting, and without knowing whether it arrives."""

MakeSpeaker = Callable[[TopicRule, Publish], Decode]
"""As MakeDecoder, for a format that also asks devices for something."""
